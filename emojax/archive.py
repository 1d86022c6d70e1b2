"""Arrays in a `.npz`, read without pickles and without filling the memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from emojax.errors import UserError
from emojax.files import require_file


def read_arrays(
    path: Path, names: Iterable[str], what: str, largest_bytes: int
) -> dict[str, np.ndarray]:
    """Return the arrays of these names that a file holds.

    Args:
        path: the file.
        names: whatever else is in it is not unpacked.
        what: the file is, for the message.
        largest_bytes: what its arrays may take, so that a small file can't fill the memory.

    Raises:
        UserError: no such file, a damaged one, or one that unpacks to more.
    """
    try:
        with zipfile.ZipFile(require_file(path, what)) as members:
            if sum(member.file_size for member in members.infolist()) > largest_bytes:
                raise ValueError(f"unpacks to more than {largest_bytes >> 20} MiB")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file}
    except UserError:
        raise
    # A damaged archive can fail in NumPy, in zlib and in zipfile, each with errors of its own.
    except Exception as error:
        raise UserError(
            f"{path}: can't be read ({error}): copy or export the artifact again"
        ) from None
