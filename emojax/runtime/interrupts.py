"""What is done is told, though Ctrl-C ends the work."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import TypeVar

_Result = TypeVar("_Result")


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
