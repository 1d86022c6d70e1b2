"""Builds stopped by SIGKILL at random moments, gone on with, and compared with one that was not."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.data.build import BuildOptions, build_dataset
from emojax.data.shards import load_split
from emojax.data.splits import SPLITS
from emojax.errors import UserError

# Processes that are killed: `make slow` has the time.
pytestmark = pytest.mark.slow

PEOPLE, PICTURES = 8, 10

BUILD = """
import sys, time
from pathlib import Path
from emojax.data import build

def slowly(reading, job, lost=None, tell=lambda _: None):
    time.sleep(0.25)
    with open(sys.argv[3], "a") as log:
        log.write(job.name + "\\n")
    plain(reading, job, lost, tell)

plain, build.read_into_cell = build.read_into_cell, slowly

if __name__ == "__main__":
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    options = build.BuildOptions(faces="ready", workers=int(sys.argv[4]))
    build.build_dataset("manifest", source=source, out=out, options=options)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty noisy pictures and one that can't be read."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "emotion"])
        for person in range(PEOPLE):
            for picture in range(PICTURES):
                name = f"p{person}_{picture}.png"
                cv2.imwrite(str(folder / name), rng.integers(0, 256, (98, 80)).astype(np.uint8))
                writer.writerow([name, f"P{person}", "fear"])
        writer.writerow(["text.png", "P0", "fear"])
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def unbroken(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "out"
    return build_dataset("manifest", source=source, out=out, options=BuildOptions(faces="ready"))


def assert_same_examples(one: Path, other: Path) -> None:
    """Check that two builds hold the same examples in the same order, decoded."""
    for split in SPLITS:
        first, second = load_split(one, split), load_split(other, split)
        for name, value in vars(first).items():
            np.testing.assert_array_equal(value, getattr(second, name), err_msg=name)


@pytest.mark.parametrize(("workers", "seed"), [(0, 0), (2, 1)])
def test_three_kills_change_nothing_and_lose_nothing(
    source: Path, unbroken: Path, tmp_path: Path, workers: int, seed: int
) -> None:
    moments = random.Random(seed)
    out, log, script = tmp_path / "out", tmp_path / "log", tmp_path / "build.py"
    script.write_text(BUILD)
    command = [sys.executable, script, source, out, log, str(workers)]
    cells = tmp_path / ".out.building" / "cells"
    times: dict[str, int] = {}
    for kill in range(3):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as build:
            # Once more is finished than before: a kill earlier than that would prove little.
            deadline = time.monotonic() + 60
            while len(list(cells.glob("*.npz"))) < kill + 1:
                assert build.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.25))
            build.send_signal(signal.SIGKILL)
        assert not out.exists()
        finished = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.npz")}
        # What an earlier try had finished was not written again.
        assert times.items() <= finished.items()
        times = finished
    (tmp_path / ".out.building" / "tfds" / "junk").mkdir(parents=True)
    last = subprocess.run(command, check=True, capture_output=True, text=True)
    kept = json.loads((out / "report.json").read_text())["rows_from_a_stopped_build"]
    assert kept >= 16
    assert f"{kept} of 81 files were read by a build that was stopped: kept" in last.stdout
    done = log.read_text().split()
    # Only what was under way when it was killed, one job a worker and kill, is done twice.
    assert len(set(done)) == 6
    assert len(done) <= 6 + 3 * max(workers, 1)
    assert_same_examples(out, unbroken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build.py", "log", "out"]


def test_a_running_build_is_not_disturbed_and_the_older_one_stays(
    source: Path, unbroken: Path, tmp_path: Path
) -> None:
    out, script = tmp_path / "out", tmp_path / "build.py"
    options = BuildOptions(faces="ready", seed=1)
    build_dataset("manifest", source=source, out=out, options=options)
    before = load_split(out, "train")
    script.write_text(BUILD)
    with subprocess.Popen([sys.executable, script, source, out, tmp_path / "log", "0"]) as killed:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.building/cells/*.npz")):
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(UserError, match="another build of it is running"):
            build_dataset("manifest", source=source, out=out, options=options)
        killed.send_signal(signal.SIGKILL)
    np.testing.assert_array_equal(load_split(out, "train").faces, before.faces)
