"""An owner's folders and label files, read as what a stranger may have written.

Label files are small: what is larger is refused before it is read. A link that
leads out of the owner's folder is refused too, so that a downloaded folder
can't point a build at other files of the machine.
"""

from __future__ import annotations

import os
from pathlib import Path

from emojax.errors import UserError
from emojax.files import require_file

OUTSIDE = "outside the source"
"""What a file is counted under that a link leads out to: it is never opened."""

MAX_LABEL_BYTES = 4 * 2**20
"""Size from which a label file is none; the largest that owners publish have some 50 KB."""


def list_names(folder: Path) -> list[str]:
    """Return what is in a folder, sorted; nothing where it is none or can't be listed."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def lies_inside(path: Path, home: Path) -> bool:
    """Return whether a path still lies in `home` once all links are followed.

    Args:
        path: a file or folder; it need not be there.
        home: a folder without links in its path (`Path.resolve`).
    """
    return Path(os.path.realpath(path)).is_relative_to(home)


def read_label_file(path: Path, home: Path, limit: int = MAX_LABEL_BYTES) -> bytes:
    """Return the content of a label file, never more than `limit` bytes.

    Args:
        path: the file.
        home: the resolved folder that it has to lie in.
        limit: size in bytes from which it is refused.

    Raises:
        UserError: it leads out of its folder, is missing, empty, no file, too large
            or can't be read.
    """
    if not lies_inside(path, home):
        raise UserError(f"{path}: a link that leads out of {home}: put the file itself there")
    try:
        with require_file(path, "a label file").open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}): copy it again") from None
    if len(content) > limit:
        raise UserError(f"{path}: over {limit} bytes, label files are far smaller: copy it again")
    return content


def read_label_lines(path: Path, home: Path, limit: int = MAX_LABEL_BYTES) -> list[str]:
    """Return the lines of a label file that is plain text; see `read_label_file`.

    Raises:
        UserError: also where it is no ASCII text.
    """
    content = read_label_file(path, home, limit)
    try:
        return content.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: no text (byte {error.start} is {content[error.start]:#04x}): copy it again"
        ) from None
