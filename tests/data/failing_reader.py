"""A reader that does at some files what a decoder may do: crash, raise, never come back.

Alone in its file, because each new worker imports it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from emojax.data.cells import Job, Reading, read_into_cell


def read_or_fail(
    reading: Reading,
    job: Job,
    lost: dict[int, str] | None = None,
    tell: Callable[[int], object] = lambda _: None,
) -> None:
    """Do what `read_into_cell` does, but fail at files that are called after a failure."""

    def tell_and_fail(part: int) -> None:
        tell(part)
        name = job.rows[part].key
        if name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        elif name.startswith("abort"):
            os.abort()
        elif name.startswith("raise"):
            raise RuntimeError("nobody expected this")
        elif name.startswith("hang"):
            time.sleep(600)

    read_into_cell(reading, job, lost, tell_and_fail)
