"""Which of an owner's recordings can be read at all, before any is opened by a decoder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from emojax.data.builders.owner_files import OUTSIDE, lies_inside

_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_BYTES = 1024


class Problem(NamedTuple):
    """Why a recording can't be read."""

    reason: str
    """What to count it under."""
    detail: str
    """The full sentence."""


def find_problem(path: Path, home: Path) -> Problem | None:
    """Return why a recording can't be read; None where a decoder may try.

    Args:
        path: the recording.
        home: the resolved folder that it has to lie in.
    """
    if not lies_inside(path, home):
        detail = f"{path}: a link that leads out of {home}: put the file itself there"
        return Problem(OUTSIDE, detail)
    if not path.is_file():
        return Problem("missing file", f"{path}: is no file: copy it again")
    if _is_pointer(path):
        detail = f"{path}: a pointer of Git LFS, not the recording: run  git lfs pull  there"
        return Problem("not downloaded", detail)
    return None


def show_path(path: Path) -> str:
    """Return a path as a report can hold it: a name may hold line breaks, or bytes of no text."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def _is_pointer(path: Path) -> bool:
    """Return whether Git left a line of text in place of the recording."""
    try:
        if path.stat().st_size > _POINTER_BYTES:
            return False
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False
