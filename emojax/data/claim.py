"""A build's hold on its output folder: a work folder beside it, and an exchange at the end.

The result appears under its own name only when it is whole. A build that is
killed leaves the older result untouched, and in the work folder what the next
one can go on from.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from emojax.data.shards import REPORT_FILE
from emojax.errors import UserError

CELLS = "cells"
"""Folder of what is read already; `data/cells.py` writes it."""

SOURCE = "source"
"""Folder of what was drawn or unpacked; kept where a marker says that it is whole."""


def check_replaceable(out: Path) -> None:
    """Refuse to build over anything but an older build.

    Raises:
        UserError: a file, or a folder with other things in it.
    """
    if out.is_dir():
        if any(out.iterdir()) and not (out / REPORT_FILE).is_file():
            raise UserError(f"{out}: a folder with other things in it: choose another --out")
    elif out.is_symlink() and _beside(out, "replaced").is_dir():
        # Killed between the two renames: the older build is put back where the link leads.
        return
    elif out.exists() or out.is_symlink():
        raise UserError(f"{out}: not a folder: choose another --out")


class StoppedError(UserError):
    """A build that can't go on now, through no mistake in its source."""


@contextlib.contextmanager
def claimed(out: Path) -> Iterator[Path]:
    """Return a work folder beside `out`, this build's alone while it lasts.

    Of an earlier build that was stopped it holds the cells and what was drawn or
    unpacked whole, nothing else. It is removed at the end; after anything that stops the
    build (no room on the disk, Ctrl-C, a Beam runner that failed, a source that is
    misspelt) what is worth it stays. Where `out` is a link, beside is where it leads.

    The claim is a file lock, which the system drops when its owner dies.

    Raises:
        UserError: another build of the same folder is running.
    """
    work = _beside(out, "building")
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{out}: another build of it is running: wait for its end") from None
        _tidy(work)
        if os.path.lexists(_beside(out, "replaced")):
            _restore(out)
        try:
            yield work
        except BaseException:
            _tidy(work)
            if [leftover.name for leftover in work.iterdir()] == ["lock"]:
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)


def is_whole(folder: Path, fingerprint: str) -> bool:
    """Return whether `mark_whole` has said so of a folder under the same fingerprint."""
    marker = _marker(folder)
    return folder.is_dir() and marker.is_file() and marker.read_text() == fingerprint


def mark_whole(folder: Path, fingerprint: str) -> None:
    """Say that a folder in the work folder is finished, and what it was made from."""
    aside = folder.with_name(f".{folder.name}.marker")
    aside.write_text(fingerprint)
    aside.replace(_marker(folder))


def put_in_place(shards: Path, out: Path) -> None:
    """Exchange the older build for the new one; at each moment one of the two is whole."""
    for file in shards.iterdir():
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
    # The folder itself: of a link, only the link would be renamed.
    place, replaced = _followed(out), _beside(out, "replaced")
    if place.exists():
        place.rename(replaced)
    shards.rename(place)
    shutil.rmtree(replaced, ignore_errors=True)


def _marker(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.whole")


def _tidy(work: Path) -> None:
    """Remove what a stopped build left and nobody can go on from."""
    kept = {"lock", CELLS}
    if _marker(work / SOURCE).is_file():
        kept |= {SOURCE, _marker(work / SOURCE).name}
    for leftover in work.iterdir():
        if leftover.name in kept:
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _beside(out: Path, role: str) -> Path:
    place = _followed(out)
    return place.with_name(f".{place.name}.{role}")


def _followed(out: Path) -> Path:
    return Path(os.path.realpath(out))


def _restore(out: Path) -> None:
    """Tidy up after a build that was killed between the two renames, or just after them."""
    place, replaced = _followed(out), _beside(out, "replaced")
    if not place.exists():
        replaced.rename(place)
    elif replaced.is_symlink():
        replaced.unlink()
    else:
        shutil.rmtree(replaced)
