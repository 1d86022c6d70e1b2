"""The command of a process that Ctrl-C reaches, wherever the tests run."""

from __future__ import annotations

import sys
from pathlib import Path

# In the process itself: what is done between fork and exec would run in a fork of the tests', and
# JAX's threads don't outlive one. In the background SIGINT is ignored, and so it is inherited.
_BEGIN = """
import os, resource, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
limit = int(sys.argv[1])
if limit >= 0:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def own_process(*words: str | Path, limit: int | None = None) -> list[str]:
    """`python WORDS` as arguments of `subprocess`; no file may grow beyond `limit` bytes."""
    return [
        *(sys.executable, "-c", _BEGIN, str(-1 if limit is None else limit)),
        *map(str, words),
    ]
