"""`experiments/tables.py` as a person calls it: what it refuses, what a kill leaves."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from own_process import own_process
from small_sets import noise_pictures

if TYPE_CHECKING:
    from conftest import RunPython

SCRIPT = "experiments/tables.py"
PATIENCE_S = 1800
"""How long a process may take: a minute, where nothing else runs."""


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["6.10"], "table '6.10' is not known: use 6.1, 6.2"),
        (["6.1", "--data", "nowhere"], "nowhere: no such data set"),
        (["6.1", "--networks", "vgg"], "networks ['vgg']: use some of resnet18"),
        (["6.1", "--seeds", "0", "0"], "seeds=(0, 0): wanted one or more, each once"),
        (["6.1", "--seeds", "-1"], "seed=-1: wanted 0 .. 4294967295"),
        (["6.8", "--folds", "0"], "folds=0: wanted 2 or more"),
        (
            ["6.1", "--data", "alice/clips/manifest.csv", "bob/clips/manifest.csv"],
            "bob/clips/manifest.csv: two sets that would both be called clips-sound",
        ),
        (["6.1", "--data", "a/faces", "b/faces"], "a/faces and b/faces: two sets"),
        (["6.9", "--data", "typo/tabulatedVotes.csv"], "typo/tabulatedVotes.csv"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], wanted: str, run_python: RunPython, tmp_path: Path
) -> None:
    done = run_python(Path(SCRIPT).resolve(), *words, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("tables.py: error: ")
    assert wanted in done.stderr
    assert done.stderr.count("\n") == 1


def test_people_alone_need_no_training(run_python: RunPython, tmp_path: Path) -> None:
    done = run_python(SCRIPT, "6.9", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "tables" / "6.9.md").read_text()
    assert "CREMA-D: absent, see below" in text
    assert "--data=CREMA-D" in text
    assert (tmp_path / "out" / "index.html").is_file()


# A real training, stopped.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pictures(tmp_path_factory.mktemp("set"), train=64, validation=21, test=28)


def _command(data: Path, repository: Path, jobs: int) -> list[str]:
    words = ["6.1", "--small", "--networks", "resnet18", "--epochs=2", f"--data={data}"]
    return own_process(repository / SCRIPT, *words, f"--jobs={jobs}")


@pytest.fixture
def command(data: Path, repository: Path) -> list[str]:
    return _command(data, repository, jobs=1)


@pytest.fixture
def two_at_once(data: Path, repository: Path) -> list[str]:
    return _command(data, repository, jobs=2)


def _figures(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").glob("*.csv"))}


def _finish(command: list[str], out: Path) -> None:
    done = subprocess.run(
        [*command, f"--out={out}"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_kill_costs_nothing_that_was_done_and_changes_no_figure(
    command: list[str], tmp_path: Path
) -> None:
    out, whole = tmp_path / "killed", tmp_path / "whole"
    first, second = (out / "runs" / f"out-resnet18-E{number}-0" for number in (1, 2))
    with subprocess.Popen(
        [*command, f"--out={out}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        end = time.monotonic() + PATIENCE_S
        # The first training is done, and the second has begun.
        while not (second / "config.json").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (first / "answers.npz").exists()
    assert not (second / "answers.npz").exists()
    assert not (out / "index.html").exists()
    kept = {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()}
    # What it was trained with is not even there any more: it can't be done again.
    shutil.rmtree(first / "checkpoints")
    _finish(command, out)
    assert not (first / "checkpoints").exists()
    for path, written in kept.items():
        if path.exists():
            assert path.stat().st_mtime_ns == written, path
    _finish(command, whole)
    figures = _figures(out)
    assert set(figures) == {"6.1.csv", "calibration.csv"}
    assert figures == _figures(whole)
    assert (out / "index.html").stat().st_size > 50_000


def _is_alive(process: int) -> bool:
    try:
        # Of a zombie nothing is left but its number: whoever adopted it has not asked yet.
        return not Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are seen in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nobody_trains_on_when_two_at_once_are_stopped(
    number: signal.Signals, two_at_once: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    runs = [out / "runs" / f"out-resnet18-E{protocol}-0" for protocol in (1, 2)]
    with subprocess.Popen(
        [*two_at_once, f"--out={out}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        end = time.monotonic() + PATIENCE_S
        while not all((run / "config.json").exists() for run in runs):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (-signal.SIGKILL, 128 + number)
    logs = sorted((out / "logs").iterdir())
    workers = [int(log.read_text().split()[1]) for log in logs]
    assert len(workers) == 2
    end = time.monotonic() + 10
    while any(map(_is_alive, workers)):
        assert time.monotonic() < end
        time.sleep(0.1)
    if number != signal.SIGKILL:
        assert "Traceback" not in said + "".join(log.read_text() for log in logs)
        assert "what was already written is kept" in said
        return
    whole = tmp_path / "whole"
    _finish(two_at_once, out)
    _finish(two_at_once, whole)
    assert set(_figures(out)) == {"6.1.csv", "calibration.csv"}
    assert _figures(out) == _figures(whole)
