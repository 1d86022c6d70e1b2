"""A build's hold on its output folder: a work folder beside it, and an exchange at the end.

The result appears under its own name only when it is whole. A build that is
killed leaves the older result untouched, and in the work folder what the next
one can go on from.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emojax.data.shards import DESCRIPTION_FILES, REPORT_FILE
from emojax.errors import UserError
from emojax.spec import read_json

CELLS = "cells"
"""Folder of what is read already; `data/cells.py` writes it."""

SOURCE = "source"
"""Folder of what was drawn or unpacked; kept where a marker says that it is whole."""

FOLDS = "folds.json"
"""What `emojax data folds` calls its file; a build that replaces another takes it over."""

# What a build of any version leaves in its folder, with what `emojax data inspect`, `verify` and
# `folds` put beside it, and macOS wherever somebody has looked.
_OURS = re.compile(
    r"dataset_info\.json|features\.json|metadata\.json|LICENSE"
    r"|[a-z0-9_]+-(train|validation|test)\.tfrecord-[0-9]{5}-of-[0-9]{5}"
    r"|input_spec\.json|people\.json|report\.json|report\.html"
    r"|contact_sheet\.png|duplicates\.csv|duplicates\.png|folds\.json|\.DS_Store"
)


class OccupiedError(UserError):
    """A folder that a build must not replace."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}: {remedy}")
        self.found = found
        """What is in the way; callers without an `--out` have another remedy."""


def check_place(out: Path, source: Path | None = None) -> None:
    """Refuse to build where there is anything but an older build, or where the source lies.

    Args:
        out: folder to write.
        source: what is built from; None where it is drawn.

    Raises:
        OccupiedError: a file, a folder that is no build, or the source is in it.
    """
    if source is not None and _followed(source).is_relative_to(_followed(out)):
        raise OccupiedError(
            f"{out}: holds the source {source}, which the build would replace",
            "choose another --out",
        )
    if out.is_dir():
        if any(out.iterdir()) and not _is_build(out):
            stranger = _first_stranger(out)
            found = "a folder that is no whole build of emojax"
            if stranger is not None:
                found = f"a folder with other things in it, {stranger!r} among them"
            raise OccupiedError(f"{out}: {found}", "move it away, or choose another --out")
    elif out.is_symlink() and _beside(out, "replaced").is_dir():
        # Killed between the two renames: the older build is put back where the link leads.
        return
    elif out.exists() or out.is_symlink():
        raise OccupiedError(f"{out}: not a folder", "choose another --out")


def check_replaceable(out: Path) -> None:
    """Refuse to replace an older build in which somebody keeps something else.

    Raises:
        OccupiedError: it holds what no build writes, or it is no build.
    """
    check_place(out)
    stranger = _first_stranger(out) if out.is_dir() else None
    if stranger is not None:
        raise OccupiedError(
            f"{out}: holds {stranger!r}, which is no part of a build and would be lost",
            "move it away, or choose another --out",
        )


def _is_build(folder: Path) -> bool:
    """Return whether a folder holds a build; one that is damaged is to be built again."""
    return all((folder / name).is_file() for name in DESCRIPTION_FILES) and isinstance(
        report_of(folder).get("fingerprint"), str
    )


def report_of(folder: Path) -> dict[str, Any]:
    """Return what a build's `report.json` says; nothing where it can't be read."""
    try:
        return read_json(folder / REPORT_FILE)
    except (UserError, RecursionError):
        return {}


def _first_stranger(folder: Path) -> str | None:
    """Return the first name in a folder that no build gives, None where there is none."""
    for entry in sorted(folder.iterdir()):
        if entry.name == SOURCE and entry.is_dir() and not entry.is_symlink():
            # What was drawn; of other sets it can only be somebody's own.
            if report_of(folder).get("name") == "synthetic":
                continue
        elif _OURS.fullmatch(entry.name) and entry.is_file():
            continue
        return entry.name
    return None


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
    """Exchange the older build for the new one; at each moment one of the two is whole.

    Raises:
        OccupiedError: meanwhile somebody has put something else into the folder.
    """
    check_replaceable(out)
    if (out / FOLDS).is_file():
        # Somebody may cite them, and they hold for the new build where it has the same people.
        shutil.copy2(out / FOLDS, shards / FOLDS)
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
