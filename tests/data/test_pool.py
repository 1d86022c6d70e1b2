from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from emojax.data.examples import ReadOptions, Rejection, Row
from emojax.data.pool import open_readers
from emojax.errors import UserError
from emojax.spec import InputSpec

ROWS = [
    Row(key=f"{index:03d}", path=Path(f"{index:03d}.png"), subject="Ada") for index in range(70)
]
SPEC = InputSpec()


def _reject(row: Row, input_spec: InputSpec, options: ReadOptions) -> Rejection:
    """Stand in for `read_example`; the earlier rows take longer."""
    time.sleep(0.02 if row.key < "010" else 0)
    return Rejection(row, "no face", f"{cv2.getNumThreads()} threads, process {os.getpid()}")


def _die(row: Row, input_spec: InputSpec, options: ReadOptions) -> Rejection:
    if row.key == "040":
        os._exit(9)
    return _reject(row, input_spec, options)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_rows(workers: int) -> None:
    with open_readers(workers, SPEC, ReadOptions(), _reject) as read:
        first = list(read(ROWS[:20]))
        second = list(read(ROWS[20:]))
    assert [result.row.key for result in first + second] == [row.key for row in ROWS]
    details = {result.detail for result in first + second if isinstance(result, Rejection)}
    assert all(detail.startswith("1 threads") for detail in details)
    assert len(details) == workers


def test_this_process_gets_its_opencv_threads_back() -> None:
    before = cv2.getNumThreads()
    with open_readers(1, SPEC, ReadOptions(), _reject):
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before


def test_a_worker_that_dies_is_a_clear_error() -> None:
    with (
        pytest.raises(UserError, match=r"a worker process died at .*0\d\d\.png or soon after"),
        open_readers(2, SPEC, ReadOptions(), _die) as read,
    ):
        list(read(ROWS))


def test_rows_are_not_read_far_ahead() -> None:
    # Results wait in memory: only so many may be ready before someone takes them.
    taken: list[int] = []

    class Watched(list):
        def __getitem__(self, part):
            if isinstance(part, slice):
                taken.append(part.stop)
            return super().__getitem__(part)

    rows = Watched(ROWS * 10)
    with open_readers(2, SPEC, ReadOptions(), _reject) as read:
        next(read(rows))
    assert max(taken) <= 16 * (2 * 4 + 1)


def test_no_worker_is_no_way_to_read() -> None:
    with (
        pytest.raises(UserError, match="workers=0: wanted 1"),
        open_readers(0, SPEC, ReadOptions()),
    ):
        pass


SLOW_BUILD = """
import sys, time
from test_pool import ROWS, SPEC, ReadOptions, open_readers, _reject
if __name__ == "__main__":
    with open_readers(2, SPEC, ReadOptions(), _reject) as read:
        results = read(ROWS)
        print(next(results).detail.split()[-1], flush=True)
        time.sleep(60)
"""


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def killed_worker(tmp_path: Path) -> Iterator[int]:
    """The process number of a worker whose parent was killed."""
    script = tmp_path / "build.py"
    script.write_text(SLOW_BUILD)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
    ) as build:
        assert build.stdout is not None
        worker = int(build.stdout.readline())
        build.kill()
        yield worker


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_workers_end_when_their_parent_is_killed(killed_worker: int) -> None:
    deadline = time.monotonic() + 10
    while _alive(killed_worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(killed_worker)
