"""What readers ask of a path before they look inside, and files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from emojax.errors import UserError


def require_file(path: str | os.PathLike[str], what: str) -> Path:
    """Return the path of a regular, readable file that is not empty.

    Args:
        path: where it should be.
        what: what should be there, as in "a picture", for the message.

    Raises:
        UserError: nothing is there, or a folder, a device, an empty or a forbidden file.
    """
    found = Path(path)
    try:
        size = found.stat().st_size
        if found.is_dir():
            raise UserError(f"{found}: is a folder, wanted {what}")
        if not found.is_file():
            raise UserError(f"{found}: is no regular file, wanted {what}")
        if size == 0:
            raise UserError(f"{found}: is empty (0 bytes), wanted {what}: copy it again")
        with found.open("rb"):
            pass
    except FileNotFoundError:
        raise UserError(f"{found}: no such file, wanted {what}: check the path") from None
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{found}: can't be read ({reason}), wanted {what}") from None
    return found


NO_ROOM: tuple[int, ...] = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, one's share of it, or what a file may take of it is full."""


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error says that a disk, or what one may use of it, is full."""
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    # TensorStore, which writes checkpoints, tells it in a ValueError's words.
    codes = (f"os_error_code='{code}'" for code in NO_ROOM)
    return any(code in str(error) for code in codes)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def make_place(path: Path) -> None:
    """Make the folder of a file before the work whose outcome it is to hold.

    Raises:
        UserError: a folder is in its place, or nothing can be written there.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, wanted a file: name one in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _aside(path).touch()
        _aside(path).unlink()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{path}: can't be written ({path.parent}: {reason}): choose another place"
        ) from None


LEFT_S = 3600.0
"""Since a half-written file was last written to, after which nobody is at it any more."""


def remove_left(path: Path) -> None:
    """Remove what processes that were killed while they wrote a file have left beside it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        # Whoever has it may be on another machine, so that its number says nothing here.
        with contextlib.suppress(OSError):
            number = left.name.rpartition(".")[2]
            if number.isdecimal() and time.time() - left.stat().st_mtime > LEFT_S:
                left.unlink()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file for what is to stand at a path: whole, or not at all.

    What stood there before does so until the end; two processes that write it do not meet.

    Raises:
        OSError: it can't be written; the error names it.
    """
    # A link stays one: what it leads to is written.
    place = Path(os.path.realpath(path))
    remove_left(place)
    aside = _aside(place)
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(place)
    except OSError as error:
        # Not the name that it has until it is whole, which nobody asked for.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, fields: dict[str, Any]) -> None:
    """Write a JSON file that is there whole or not at all.

    Raises:
        OSError: it can't be written; the error names it.
    """
    text = json.dumps(fields, indent=1, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as file:
        file.write(f"{text}\n".encode())
