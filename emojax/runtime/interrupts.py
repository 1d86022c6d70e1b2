"""Ctrl-C waits for the end of what must not stop half-way."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


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
