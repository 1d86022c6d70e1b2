"""The same work in one process or in several, results in the order of the tasks."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2
from tqdm import tqdm

from emojax.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    title: str,
    progress: bool = True,
) -> Iterator[Result]:
    """Yield the function's results in the order of the tasks.

    Args:
        function: importable by name, since workers are started afresh.
        tasks: what it is called with, one each.
        workers: number of processes; 1 works in this one.
        title: what the progress bar says.
        progress: whether there is a bar, on stderr.

    Raises:
        UserError: fewer than one worker, or a worker that died.
    """
    if workers < 1:
        raise UserError(f"workers={workers}: wanted 1 or more")
    bar = functools.partial(tqdm, total=len(tasks), desc=title, disable=not progress)
    if workers == 1 or len(tasks) < 2:
        yield from bar(map(function, tasks))
        return
    # Fresh processes, not forks: a fork of a process that has started JAX or
    # TensorFlow inherits their locks and may never come back.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,))
    try:
        yield from bar(pool.map(function, tasks))
    except BrokenProcessPool:
        raise UserError(
            f"{title}: a worker process ended early (out of memory?): use fewer workers"
        ) from None
    finally:
        # After Ctrl-C or an error, what has not begun must not hold up the end.
        pool.shutdown(cancel_futures=True)
