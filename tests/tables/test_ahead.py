"""Trainings side by side: what two processes do of what there is, and what stops them."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emojax.errors import UserError
from emojax.tables.ahead import Task, work_ahead


def note(path: Path) -> None:
    """Write which process was here, and on which cores."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    path.write_text(f"{os.getpid()} {cores}")
    print(f"wrote {path.name}")


def meet(mine: Path, other: Path) -> None:
    """Wait for somebody who is at work at the same time."""
    note(mine)
    while not other.exists():
        pass


def linger(mine: Path, other: Path) -> None:
    """Be at work still when somebody else's end is known."""
    while not other.exists():
        pass
    time.sleep(1)
    note(mine)


def refuse(path: Path) -> None:
    """Find a mistake."""
    note(path)
    raise UserError("no such thing: take another")


def vanish(path: Path) -> None:
    """End as a process does that the system takes memory from."""
    note(path)
    os._exit(9)


def task(path: Path, work: functools.partial[None] | None = None) -> Task:
    """Something that writes a file."""
    return Task(path.name, work or functools.partial(note, path), (path,))


def test_two_are_at_work_at_once_and_what_is_done_is_not_done_again(tmp_path: Path):
    first, second, third, done = (tmp_path / name for name in ("a", "b", "c", "done"))
    done.write_text("as it was")
    tasks = [
        task(done),
        task(first, functools.partial(meet, first, second)),
        task(second, functools.partial(meet, second, first)),
        task(third),
    ]
    work_ahead(tasks, 2, tmp_path / "logs", quickly=True)
    assert done.read_text() == "as it was"
    assert third.exists()
    processes, cores = zip(
        *(path.read_text().split(" ", 1) for path in (first, second)), strict=True
    )
    assert len({str(os.getpid()), *processes}) == 3
    if (os.cpu_count() or 1) > 1 and hasattr(os, "sched_getaffinity"):
        mine, others = map(json.loads, cores)
        assert mine
        assert others
        assert not {*mine} & {*others}
    logs = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    assert all(f"wrote {name}" in logs for name in "abc")


@pytest.mark.parametrize("work", [refuse, vanish])
def test_after_a_mistake_what_is_begun_is_finished_and_no_more_is_begun(
    work: Callable[[Path], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    bad, good, late = (tmp_path / name for name in ("bad", "good", "late"))
    tasks = [
        Task("bad", functools.partial(work, bad), (tmp_path / "never",)),
        task(good, functools.partial(linger, good, bad)),
        task(late),
    ]
    work_ahead(tasks, 2, tmp_path / "logs", quickly=True)
    assert good.exists()
    assert not late.exists()
    assert "Traceback" not in capfd.readouterr().err


def test_the_last_one_left_has_its_share_and_no_more(tmp_path: Path):
    only = tmp_path / "only"
    work_ahead([task(only)], 2, tmp_path / "logs", quickly=True)
    cores = json.loads(only.read_text().split(" ", 1)[1])
    if (os.cpu_count() or 1) > 1 and hasattr(os, "sched_getaffinity"):
        assert len(cores) == len(os.sched_getaffinity(0)) // 2


@pytest.mark.parametrize(("workers", "count"), [(1, 5), (2, 0)])
def test_no_process_is_started_for_nothing(workers: int, count: int, tmp_path: Path):
    paths = [tmp_path / f"{number}" for number in range(count)]
    work_ahead([*map(task, paths)], workers, tmp_path / "logs", quickly=False)
    assert not any(path.exists() for path in paths)
    assert not (tmp_path / "logs").exists()
