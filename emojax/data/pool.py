"""Rows read by several processes, results in the rows' order.

Finding faces takes nearly all of a build's time and shares nothing between
files, so it is the part that is spread. The same results come in the same
order for any number of workers.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

import cv2

from emojax.data.examples import Example, ReadOptions, read_example
from emojax.data.rows import Rejection, Row
from emojax.errors import UserError
from emojax.spec import InputSpec

Read = Callable[[Sequence[Row]], Iterator[Example | Rejection]]
"""Turns rows into results, one each, in the rows' order."""

_PICTURES_AT_ONCE = 16
_CHUNKS_AHEAD = 4


@contextlib.contextmanager
def open_readers(
    workers: int, input_spec: InputSpec, options: ReadOptions, read_row: Callable = read_example
) -> Iterator[Read]:
    """Return a function that reads rows with so many processes, OpenCV at one thread in each.

    Args:
        workers: processes; 1 reads in this one.
        input_spec: how faces are cut.
        options: how files are read.
        read_row: does the work, `read_example` outside tests; importable by name.

    Raises:
        UserError: (while reading) a worker process died.
    """
    if workers < 1:
        raise UserError(f"workers={workers}: wanted 1 or more")
    if workers == 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield lambda rows: (read_row(row, input_spec, options) for row in rows)
        finally:
            cv2.setNumThreads(threads)
        return
    executor = concurrent.futures.ProcessPoolExecutor(
        workers,
        # Not fork: TensorFlow's threads would be copied in the middle of what they do.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    size = _PICTURES_AT_ONCE if options.max_frames == 1 else 1
    ahead = workers * _CHUNKS_AHEAD
    try:
        yield lambda rows: _read_ahead(executor, rows, size, ahead, input_spec, options, read_row)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _read_ahead(
    executor: concurrent.futures.Executor,
    rows: Sequence[Row],
    size: int,
    ahead: int,
    input_spec: InputSpec,
    options: ReadOptions,
    read_row: Callable,
) -> Iterator[Example | Rejection]:
    """Yield results in order, never more than `ahead` chunks before their reader."""
    chunks = (rows[start : start + size] for start in range(0, len(rows), size))
    waiting: collections.deque[tuple[concurrent.futures.Future, Sequence[Row]]] = (
        collections.deque()
    )
    near = "the start"
    while True:
        try:
            while len(waiting) < ahead and (chunk := next(chunks, None)):
                job = executor.submit(_read_chunk, chunk, input_spec, options, read_row)
                waiting.append((job, chunk))
            if not waiting:
                return
            job, chunk = waiting.popleft()
            near = str(chunk[0].path)
            results = job.result()
        except BrokenProcessPool:
            raise UserError(
                f"a worker process died at {near} or soon after (killed, or out of memory): "
                "run the build again with fewer workers"
            ) from None
        yield from results


def _read_chunk(
    rows: Sequence[Row], input_spec: InputSpec, options: ReadOptions, read_row: Callable
) -> list[Example | Rejection]:
    return [read_row(row, input_spec, options) for row in rows]


def _start_worker() -> None:
    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole process group: the parent alone says so and tidies up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone: a killed build leaves nobody behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
