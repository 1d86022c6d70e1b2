"""Several networks on one device: all compile at once, then each is timed while all others rest.

Compiling for a GPU takes minutes of processor time, of which it has a core for each process; a
figure that was taken meanwhile would be of a device that tries out other kernels.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from emojax.errors import UserError


class Turns:
    """Who may time, of processes that share a device."""

    def __init__(self, context: Any, count: int) -> None:
        self.ready = context.Barrier(count)
        self.lock = context.Lock()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until all have compiled and nobody times.

        Raises:
            threading.BrokenBarrierError: another process failed.
        """
        self.ready.wait()
        with self.lock:
            yield


Task = Callable[..., Any]
"""Called with arguments and `alone`, a function that returns what is entered for timing."""


def _serve(connection: Any, turns: Turns, task: Task, arguments: Sequence[Any]) -> None:
    # The others live in the same memory.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    try:
        connection.send((True, task(*arguments, turns.alone)))
    except BaseException:
        turns.ready.abort()
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
    pipes = []
    for arguments in tasks:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, turns, task, arguments))
        process.start()
        theirs.close()
        pipes.append((process, ours))
    answers = []
    for process, pipe in pipes:
        try:
            answers.append(pipe.recv())
        except EOFError:
            turns.ready.abort()
            answers.append((False, f"the process ended with status {process.exitcode}"))
        process.join()
    for done, answer in answers:
        if not done and "BrokenBarrierError" not in answer:
            print(answer, file=sys.stderr)
    if not all(done for done, _ in answers):
        raise UserError("a network could not be timed: what its process said stands above")
    return [answer for _, answer in answers]
