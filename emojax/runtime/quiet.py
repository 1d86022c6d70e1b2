"""A terminal on which only we write: the native libraries' own chatter is left out."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Return a context in which native code's messages go nowhere and Python's still arrive.

    libjpeg, LiteRT and others write to the file descriptor itself, past every
    logging switch; what is wrong with a file is ours to say, in one line.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    python_stderr = sys.stderr
    try:
        # Where something else (a test, a notebook) has taken over sys.stderr, it keeps it.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if sys.stderr.fileno() == 2:
                sys.stderr = os.fdopen(
                    os.dup(terminal), "w", buffering=1, encoding="utf-8", errors="backslashreplace"
                )
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        if sys.stderr is not python_stderr:
            sys.stderr.close()
            sys.stderr = python_stderr
        os.dup2(terminal, 2)
        os.close(terminal)
