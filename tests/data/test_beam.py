"""The build on Beam runners: the same function, the same examples in the same order."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_build_killed import assert_same_examples

from emojax.data.beam import parse_options
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.shards import dataset_info
from emojax.errors import UserError

DIRECT = "runner=DirectRunner direct_num_workers=2 direct_running_mode=multi_processing"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy pictures of eight people, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "emotion"])
        for number in range(96):
            name = f"{number}.png"
            cv2.imwrite(str(folder / name), rng.integers(0, 256, (98, 80)).astype(np.uint8))
            writer.writerow([name, f"P{number % 8}", "fear"])
        writer.writerow(["text.png", "P0", "fear"])
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def plain(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "out"
    return build_dataset("manifest", source=source, out=out, options=BuildOptions(faces="ready"))


def test_flags_are_taken_with_or_without_dashes() -> None:
    for text in (
        "runner=DirectRunner direct_num_workers=3",
        "--runner=DirectRunner --direct_num_workers=3",
    ):
        options = parse_options(text).get_all_options()
        assert (options["runner"], options["direct_num_workers"]) == ("DirectRunner", 3)


@pytest.mark.parametrize("text", ["", "direct_num_workers=2", "runner", "runner='Direct"])
def test_flags_without_a_runner_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--beam"):
        parse_options(text)


def _build(source: Path, out: Path, flags: str) -> subprocess.CompletedProcess[str]:
    words = ["data", "build", "manifest", "--source", source, "--out", out, "--faces", "ready"]
    command = [sys.executable, "-m", "emojax", *words, "--beam", flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_two_processes_of_the_direct_runner(source: Path, plain: Path, tmp_path: Path) -> None:
    built = _build(source, tmp_path / "out", DIRECT)
    assert built.returncode == 0, built.stderr[-2000:]
    assert_same_examples(tmp_path / "out", plain)
    report, known = (dataset_info(out).report for out in (tmp_path / "out", plain))
    assert report["left_out_files"] == known["left_out_files"]
    assert report["splits"] == known["splits"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.slow
def test_the_portable_local_job_service(source: Path, plain: Path, tmp_path: Path) -> None:
    # How Flink and Spark are spoken to: a job server, and workers that it is told of.
    port_file, service = tmp_path / "port", "apache_beam.runners.portability.local_job_service_main"
    command = [sys.executable, "-m", service, "--port_file", port_file]
    with subprocess.Popen(
        [*command, "--staging_dir", tmp_path / "staging"], stderr=subprocess.DEVNULL
    ) as server:
        try:
            deadline = time.monotonic() + 60
            while not (port_file.exists() and port_file.read_text()):
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            port = port_file.read_text()
            runner = f"runner=PortableRunner job_endpoint=localhost:{port}"
            built = _build(source, tmp_path / "out", f"{runner} environment_type=LOOPBACK")
        finally:
            server.terminate()
    assert built.returncode == 0, built.stderr[-2000:]
    assert_same_examples(tmp_path / "out", plain)


@pytest.mark.slow
def test_a_runner_that_is_not_there_is_one_line(source: Path, tmp_path: Path) -> None:
    flags = "runner=PortableRunner job_endpoint=localhost:1 environment_type=LOOPBACK"
    built = _build(source, tmp_path / "out", f"{flags} job_server_timeout=3")
    assert built.returncode == 2
    line = built.stderr.strip().splitlines()[-1]
    assert line.startswith("emojax data: error: --beam")
    assert "the pipeline failed" in line
