"""Jobs worked off by several processes that may crash or hang without ending the build.

Reading files and finding faces takes nearly all of a build's time and shares
nothing between files, so it is the part that is spread. A decoder that takes its
process down over one file, or never comes back from it, costs that file: the
worker is replaced, and the job done again without it.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import SpawnProcess
from typing import Any

import cv2

from emojax.data.cells import Job
from emojax.data.claim import StoppedError
from emojax.errors import UserError

Work = Callable[[Job, dict[int, str], Callable[[int], object]], None]
"""Does a job: `(job, lost, tell)`, as `cells.read_into_cell` has it."""

PATIENCE_S = 900.0
"""Seconds without a frame after which a file counts as one that its reader never comes back from.

A long video on a slow disk takes more than that as a whole, and is read well."""


def work_off(
    jobs: Sequence[Job], work: Work, workers: int, patience_s: float = PATIENCE_S
) -> Iterator[Job]:
    """Yield each job when it is done, OpenCV at one thread wherever it is done.

    Args:
        jobs: what there is to do.
        work: does one; picklable.
        workers: processes; 0 works in this one, where a crash is this one's crash.
        patience_s: longest time without a word from `work`.

    Raises:
        UserError: fewer than no workers, or `work` raised it.
        StoppedError: workers die whatever they are given.
        OSError: `work` raised it: no room on the disk.
    """
    if workers < 0:
        raise UserError(f"workers={workers}: wanted 0 or more")
    if workers == 0 or not jobs:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            for job in jobs:
                work(job, {}, lambda _: None)
                yield job
        finally:
            cv2.setNumThreads(threads)
        return
    waiting = collections.deque(_Task(job) for job in jobs)
    crew = [_Worker(work) for _ in range(min(workers, len(jobs)))]
    try:
        yield from _supervise(crew, waiting, work, patience_s)
    finally:
        for worker in crew:
            worker.end()


@dataclasses.dataclass
class _Task:
    job: Job
    lost: dict[int, str] = dataclasses.field(default_factory=dict)


class _Worker:
    """A process, what it is at, and since when."""

    def __init__(self, work: Work) -> None:
        # Not fork: TensorFlow's threads would be copied in the middle of what they do.
        context = multiprocessing.get_context("spawn")
        self.line, far_end = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(far_end, work), daemon=True
        )
        self.process.start()
        # Only the worker holds its end: a dead one is seen as a closed line.
        far_end.close()
        self.task: _Task | None = None
        self.part = 0
        self.since = 0.0

    def give(self, task: _Task) -> None:
        self.task, self.part, self.since = task, 0, time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            self.line.send((task.job, task.lost))

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.line.close()


def _supervise(
    crew: list[_Worker], waiting: collections.deque[_Task], work: Work, patience_s: float
) -> Iterator[Job]:
    while True:
        for worker in crew:
            if worker.task is None and waiting:
                worker.give(waiting.popleft())
        busy = {worker.line: worker for worker in crew if worker.task is not None}
        if not busy:
            return
        deadline = min(worker.since for worker in busy.values()) + patience_s
        ready = multiprocessing.connection.wait(list(busy), max(0.0, deadline - time.monotonic()))
        for line in ready:
            worker = busy[line]  # pyright: ignore[reportArgumentType]
            assert worker.task is not None
            try:
                word, value = worker.line.recv()
            except (EOFError, OSError):
                ended = worker.process.join(5) or worker.process.exitcode
                waiting.appendleft(_without_part(worker, f"its reader crashed (status {ended})"))
                _replace(crew, worker, work)
                continue
            if word == "at":
                worker.part, worker.since = value, time.monotonic()
            elif word == "done":
                job, worker.task = worker.task.job, None
                yield job
            else:
                raise value
        for worker in busy.values():
            if worker.task is not None and time.monotonic() - worker.since > patience_s:
                what = f"its reader did not come back for {patience_s:g} s"
                waiting.appendleft(_without_part(worker, what))
                _replace(crew, worker, work)


def _without_part(worker: _Worker, what: str) -> _Task:
    """Return the task of a worker that is lost, without the part that it was at."""
    task = worker.task
    assert task is not None
    if worker.part in task.lost:
        raise StoppedError(
            f"{task.job.rows[0].path}: {what} though nothing is left to read: "
            "check the machine's memory and disk"
        )
    return _Task(task.job, {**task.lost, worker.part: what})


def _replace(crew: list[_Worker], worker: _Worker, work: Work) -> None:
    worker.task = None
    worker.end()
    crew[crew.index(worker)] = _Worker(work)


def _serve(line: Any, work: Work) -> None:
    """Do what comes down the line, in a process of its own, until it closes."""
    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole process group: the parent alone says so and tidies up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    while True:
        try:
            job, lost = line.recv()
        except EOFError:
            return
        try:
            work(job, lost, lambda part: line.send(("at", part)))
            line.send(("done", None))
        except (UserError, OSError) as error:
            line.send(("failed", error))


def end_with_parent() -> None:
    """End this process when its parent is gone: a killed build leaves nobody behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
