"""Several networks on one device: all compile at once, then each is timed while all others rest.

Compiling for a GPU takes minutes of processor time, of which it has a core for each process; a
figure that was taken meanwhile would be of a device that tries out other kernels.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from typing import Any, TypeVar

import jax

from emojax.errors import UserError

Ours = TypeVar("Ours")
Theirs = TypeVar("Theirs")


class Turns:
    """Who may time, of processes that share a device."""

    def __init__(self, context: Any, count: int) -> None:
        self.ready = context.Barrier(count)
        self.lock = context.Lock()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until all have compiled and nobody times."""
        self.ready.wait()
        with self.lock:
            yield


def compile_both(
    what: str, ours: Callable[[], Ours], theirs: Callable[[], Theirs]
) -> tuple[Ours, Theirs]:
    """Return what both return; for a GPU at the same time, and say how long each took.

    PyTorch compiles in processes of its own meanwhile, and XLA in threads.

    Args:
        what: is compiled.
        ours: makes our functions, and calls each once where there is a GPU.
        theirs: the same for PyTorch's.
    """

    def told(whose: str, make: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        made = make()
        seconds = time.perf_counter() - started
        print(f"{what}: {whose} compiled in {seconds:.0f} s", file=sys.stderr, flush=True)
        return made

    if jax.default_backend() == "cpu":
        return ours(), theirs()
    with ThreadPoolExecutor(1) as other:
        mine = other.submit(told, "ours", ours)
        peers = told("timm's", theirs)
        return mine.result(), peers


def call_once(ways: Iterable[Callable[[], object]]) -> None:
    """Compile by a call of each way; on a CPU the round that is not counted does."""
    if jax.default_backend() != "cpu":
        for way in ways:
            way()


Task = Callable[..., Any]
"""Called with arguments and `alone`, a function that returns what is entered for timing."""


def _serve(connection: Any, turns: Turns, task: Task, arguments: Sequence[Any]) -> None:
    try:
        connection.send((True, task(*arguments, turns.alone)))
    except BaseException:
        connection.send((False, traceback.format_exc()))
        raise


def run_together(task: Task, tasks: Sequence[Sequence[Any]]) -> list[Any]:
    """Return what `task(*arguments, alone)` returns for each of the arguments.

    On a CPU, whose cores one network fills, and where there is only one, they run here, one after
    the other.

    Args:
        task: a function of a module; it enters `alone()` when all is compiled, once.
        tasks: arguments of each call; they and what is returned go through pipes.

    Raises:
        UserError: one of the processes failed; what it said stands above.
    """
    if len(tasks) < 2 or jax.default_backend() == "cpu":
        return [task(*arguments, contextlib.nullcontext) for arguments in tasks]
    context = multiprocessing.get_context("spawn")
    turns = Turns(context, len(tasks))
    processes: list[Any] = []
    left: dict[Any, int] = {}
    for place, arguments in enumerate(tasks):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=_serve, args=(theirs, turns, task, arguments)))
        processes[-1].start()
        theirs.close()
        left[ours] = place
    answers: list[Any] = [None] * len(tasks)
    try:
        while left:
            # Whoever ends first is heard first: the others may be waiting for one that is gone.
            heard = wait(list(left))
            for pipe in [pipe for pipe in left if pipe in heard]:
                place = left.pop(pipe)
                answers[place] = _hear(pipe, processes[place])
    finally:
        # Where all went well they have ended.
        for process in processes:
            if left:
                process.terminate()
            process.join()
    return answers


def _hear(pipe: Any, process: Any) -> Any:
    """Return what a process made.

    Raises:
        UserError: it failed; what it said has been printed.
    """
    try:
        done, answer = pipe.recv()
    except EOFError:
        process.join()
        done, answer = False, f"the process ended with status {process.exitcode}"
    if not done:
        print(answer, file=sys.stderr)
        raise UserError("a network could not be timed: what its process said stands above")
    return answer
