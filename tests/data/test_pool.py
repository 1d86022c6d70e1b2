from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from emojax.data.cells import Job
from emojax.data.pool import work_off
from emojax.data.rows import Row
from emojax.errors import UserError

Tell = Callable[[int], object]


def _job(number: int, folder: Path) -> Job:
    rows = (Row(key=str(part), path=folder / f"{number}", subject="Ada") for part in range(3))
    return Job(f"{number:03d}", tuple(rows))


def _note(job: Job, lost: dict[int, str], tell: Tell) -> None:
    """Leave a file that says who did the job, and what was left out."""
    for part, row in enumerate(job.rows):
        if part in lost:
            continue
        tell(part)
        assert row.path is not None
        with row.path.open("a") as file:
            file.write(f"{part} {os.getpid()} {cv2.getNumThreads()}\n")
    if lost:
        path = job.rows[0].path
        assert path is not None
        (path.parent / f"lost{job.name}").write_text(str(lost))


def _crash_at_4_1(job: Job, lost: dict[int, str], tell: Tell) -> None:
    if job.name == "004" and 1 not in lost:
        tell(1)
        os.kill(os.getpid(), signal.SIGSEGV)
    _note(job, lost, tell)


def _hang_at_2_2(job: Job, lost: dict[int, str], tell: Tell) -> None:
    if job.name == "002" and 2 not in lost:
        tell(2)
        time.sleep(3600)
    _note(job, lost, tell)


def _no_room(job: Job, lost: dict[int, str], tell: Tell) -> None:
    if job.name == "003":
        raise OSError(28, "No space left on device", "cell")


def _always_crash(job: Job, lost: dict[int, str], tell: Tell) -> None:
    os._exit(9)


def _parts_done(folder: Path, number: int) -> list[int]:
    return [int(line.split()[0]) for line in (folder / str(number)).read_text().splitlines()]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_job_is_done_once_with_one_opencv_thread(tmp_path: Path, workers: int) -> None:
    before = cv2.getNumThreads()
    jobs = [_job(number, tmp_path) for number in range(12)]
    done = [job.name for job in work_off(jobs, _note, workers)]
    assert sorted(done) == [job.name for job in jobs]
    texts = [(tmp_path / str(number)).read_text() for number in range(12)]
    lines = [line.split() for text in texts for line in text.splitlines()]
    assert len(lines) == 36
    assert {threads for *_, threads in lines} == {"1"}
    processes = {int(process) for _, process, _ in lines}
    assert len(processes) == max(workers, 1)
    assert (os.getpid() in processes) == (workers == 0)
    assert cv2.getNumThreads() == before


def test_a_crash_costs_the_part_that_crashed(tmp_path: Path) -> None:
    jobs = [_job(number, tmp_path) for number in range(8)]
    done = [job.name for job in work_off(jobs, _crash_at_4_1, 2)]
    assert sorted(done) == [job.name for job in jobs]
    assert _parts_done(tmp_path, 4) == [0, 2]
    assert all(_parts_done(tmp_path, number) == [0, 1, 2] for number in range(8) if number != 4)
    assert "its reader crashed (status -11)" in (tmp_path / "lost004").read_text()


def test_a_worker_that_never_comes_back_is_replaced(tmp_path: Path) -> None:
    jobs = [_job(number, tmp_path) for number in range(4)]
    done = [job.name for job in work_off(jobs, _hang_at_2_2, 1, patience_s=3.0)]
    assert done == [job.name for job in jobs]
    assert _parts_done(tmp_path, 2) == [0, 1]
    assert "did not come back for 3 s" in (tmp_path / "lost002").read_text()


@pytest.mark.parametrize("workers", [0, 1])
def test_no_room_ends_the_work_with_its_own_error(tmp_path: Path, workers: int) -> None:
    done = []
    with pytest.raises(OSError, match="No space left"):
        done.extend(
            job.name
            for job in work_off([_job(number, tmp_path) for number in range(6)], _no_room, workers)
        )


def test_a_worker_that_only_ever_dies_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its reader crashed \(status 9\) though nothing is left"):
        list(work_off([_job(0, tmp_path)], _always_crash, 1))


def test_less_than_no_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="workers=-1: wanted 0 or more"):
        list(work_off([_job(0, tmp_path)], _note, -1))


ORPHANS = """
import sys, time
from pathlib import Path
from emojax.data.cells import Job
from emojax.data.pool import work_off
from emojax.data.rows import Row

def slow(job, lost, tell):
    Path(job.name).touch()
    time.sleep(60)

if __name__ == "__main__":
    jobs = [Job(str(n), (Row(key="a", path=Path("a"), subject="a"),)) for n in range(4)]
    list(work_off(jobs, slow, 2))
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_killed_parent_leaves_no_worker_behind(tmp_path: Path) -> None:
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    with subprocess.Popen([sys.executable, script], cwd=tmp_path) as parent:
        deadline = time.monotonic() + 60
        while not ((tmp_path / "0").exists() and (tmp_path / "1").exists()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.kill()
    deadline = time.monotonic() + 20
    while any(_lives(int(child)) for child in children):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] not in "ZX"
    except OSError:
        return False
