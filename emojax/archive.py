"""Arrays in a `.npz`, read without pickles and without filling the memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from emojax.errors import UserError
from emojax.files import require_file


def read_arrays(
    path: Path,
    names: Iterable[str] | None,
    what: str,
    largest_bytes: int,
    remedy: str = "copy or export the artifact again",
) -> dict[str, np.ndarray]:
    """Return the arrays of these names that a file holds.

    Args:
        path: the file.
        names: whatever else is in it is not unpacked; None: all that are in it.
        what: the file is, for the message.
        largest_bytes: what its arrays may take, so that a small file can't fill the memory.
        remedy: what to do about a damaged one, for the message.

    Raises:
        UserError: no such file, a damaged one, one that unpacks to more, or a member of these names
            that is no array.
    """
    try:
        # Opened here: NumPy leaves a file open that it can't read.
        with require_file(path, what).open("rb") as content:
            with zipfile.ZipFile(content) as members:
                if sum(member.file_size for member in members.infolist()) > largest_bytes:
                    raise ValueError(f"unpacks to more than {largest_bytes >> 20} MiB")
            content.seek(0)
            with np.load(content, allow_pickle=False) as file:
                wanted = file.files if names is None else [name for name in names if name in file]
                arrays = {name: file[name] for name in wanted}
        # NumPy gives the bytes of a member that is no array.
        if strange := [name for name in arrays if not isinstance(arrays[name], np.ndarray)]:
            raise ValueError(f"{strange[0]!r} is no array")
        return arrays
    except UserError:
        raise
    # A damaged archive can fail in NumPy, in zlib and in zipfile, each with errors of its own.
    except Exception as error:
        raise UserError(f"{path}: can't be read ({error}): {remedy}") from None
