"""Ctrl-C waits for the end of what must not stop half-way."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator, Iterator
from types import FrameType
from typing import TypeVar

_Result = TypeVar("_Result")


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Return a context at whose end a Ctrl-C arrives that came inside.

    A file that FFmpeg is writing stays broken if its writing stops in the middle, and a frame's
    row and its annotated picture belong together. Outside of the main thread, which alone hears
    Ctrl-C, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if not callable(before):
        # Ignored, the system's own way, or a handler that is not Python's: nothing is raised here.
        yield
        return
    came: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _, frame: came.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(signal.SIGINT, came[0])


def what_waits(
    results: Generator[_Result, None, None], stop: KeyboardInterrupt
) -> Iterator[_Result]:
    """Yield what a generator still has on its way when a Ctrl-C ends the loop over it.

    It is told of the Ctrl-C, as if that had come while it was at work itself.

    Args:
        results: the generator; it may have ended, by that Ctrl-C or otherwise.
        stop: what ended the loop, to be raised again by who calls this.
    """
    with contextlib.suppress(KeyboardInterrupt):
        yield results.throw(stop)
        yield from results
