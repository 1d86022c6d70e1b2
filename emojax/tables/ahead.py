"""Trainings side by side on a CPU, ahead of the tables that want them.

Compiling a network fills one core, and a step of few pictures hardly fills two: several processes,
each with its share of the cores, are done sooner than one after the other with all of them. What
they train is kept in the runs' own files, where the tables find it done; what was left undone,
the tables do themselves, and there a mistake is told.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from emojax.compiler import compiled_quickly
from emojax.data.pool import end_with_parent
from emojax.errors import UserError
from emojax.memory import keep_freed_memory
from emojax.stopping import StopTraining, signals_interrupt

PATIENCE_S = 60.0
"""How long a process that was told to stop may take for its step and its checkpoint."""


@dataclasses.dataclass(frozen=True)
class Task:
    """Something to be trained."""

    title: str
    """What it is, for people."""
    work: Callable[[], object]
    """Does it; what it returns is thrown away. Picklable."""
    kept: tuple[Path, ...]
    """Files that are all there once it is done."""

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return all(path.exists() for path in self.kept)


def work_ahead(tasks: Sequence[Task], workers: int, logs: Path, *, quickly: bool) -> None:
    """Do what is not done yet, as long as all goes well.

    The first mistake ends it; what others are at is finished.

    Args:
        tasks: what there is to do, in the order in which it is begun.
        workers: processes; fewer than two are not worth it, and nothing is done.
        logs: folder for what each process prints.
        quickly: whether programs are optimised less, see `compiler.compiled_quickly`.
    """
    waiting = [task for task in tasks if not task.done]
    if workers < 2 or not waiting:
        return
    logs.mkdir(parents=True, exist_ok=True)
    count = min(workers, len(waiting))
    print(f"{len(waiting)} trainings, {count} at a time: see {logs}/worker-*.log", flush=True)
    with tempfile.TemporaryDirectory(prefix="emojax-compiled-") as cache:
        crew: list[_Worker] = []
        try:
            # The last one left has no more cores than the first had: they decide about rounding.
            crew = [_Worker((place, workers), logs, cache, quickly) for place in range(count)]
            _supervise(crew, waiting)
        finally:
            for worker in crew:
                worker.stop()
            for worker in crew:
                worker.end()


class _Worker:
    """A process, and what it is at."""

    def __init__(self, share: tuple[int, int], logs: Path, cache: str, quickly: bool) -> None:
        # Not fork: JAX's threads don't outlive one.
        context = multiprocessing.get_context("spawn")
        self.line, far_end = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(far_end, share, logs, cache, quickly), daemon=True
        )
        self.process.start()
        # Only the worker holds its end: a dead one is seen as a closed line.
        far_end.close()
        self.task: Task | None = None

    def give(self, task: Task) -> None:
        self.task = task
        with contextlib.suppress(BrokenPipeError):
            self.line.send(task.work)

    def stop(self) -> None:
        if self.task is not None:
            self.process.terminate()
        self.line.close()

    def end(self) -> None:
        self.process.join(PATIENCE_S)
        self.process.kill()
        self.process.join()


def _supervise(crew: Sequence[_Worker], waiting: list[Task]) -> None:
    with tqdm(total=len(waiting), desc="trainings", unit="run", disable=None) as bar:
        while True:
            for worker in crew:
                if worker.task is None and waiting:
                    worker.give(waiting.pop(0))
            busy = {worker.line: worker for worker in crew if worker.task is not None}
            if not busy:
                return
            bar.set_postfix_str("; ".join(str(w.task and w.task.title) for w in busy.values()))
            for line in multiprocessing.connection.wait(list(busy)):
                worker = busy[line]  # pyright: ignore[reportArgumentType]
                try:
                    went_well = worker.line.recv()
                except (EOFError, OSError):
                    went_well = False
                worker.task = None
                if went_well:
                    bar.update()
                else:
                    waiting.clear()


def _serve(line: Any, share: tuple[int, int], logs: Path, cache: str, quickly: bool) -> None:
    """Do what comes down the line, in a process of its own, until it closes."""
    _keep_to_share(*share)
    _print_into(logs / f"worker-{share[0]}.log")
    threading.Thread(target=end_with_parent, daemon=True).start()
    keep_freed_memory()
    if not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", cache)
    # Whoever is stopped ends as after its work: what is cut off leaves locks behind.
    with (
        contextlib.suppress(KeyboardInterrupt, StopTraining),
        signals_interrupt(),
        compiled_quickly() if quickly else contextlib.nullcontext(),
    ):
        for work in _arriving(line):
            went_well = _go_well(work)
            # Whoever would want to know may be gone.
            with contextlib.suppress(ConnectionError):
                line.send(went_well)


def _arriving(line: Any) -> Iterator[Callable[[], object]]:
    while True:
        try:
            work = line.recv()
        except (EOFError, ConnectionError):
            return
        yield work


def _go_well(work: Callable[[], object]) -> bool:
    try:
        work()
    except UserError as error:
        print(error, flush=True)
        return False
    return True


def count_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _keep_to_share(place: int, count: int) -> None:
    """Leave this process its share of the cores, before XLA counts them."""
    # macOS and Windows have no such call: there the processes share all cores.
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        # As many for each, though one be left over: whoever does a task, it is the same.
        mine = cores[place::count][: len(cores) // count]
        os.sched_setaffinity(0, mine or cores)


def _print_into(path: Path) -> None:
    """Let all that this process prints, its libraries included, go into a file."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())
    os.close(log)
    print(f"process {os.getpid()}", flush=True)
