"""Arrays that took long to make, in a file that tells what they were made from."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emojax.errors import UserError
from emojax.files import remove_left, whole_file


def damaged(path: Path, error: Exception) -> UserError:
    """Return what is said of a file that can't be read."""
    return UserError(f"{path}: can't be read ({error}): remove it, it is made again")


def keep_arrays(path: Path, arrays: Mapping[str, Any], about: dict[str, Any]) -> None:
    """Write arrays by name; the file is there whole or not at all.

    Args:
        path: of the file, `.npz`.
        arrays: to be kept, and tuples of texts or numbers, which come back as arrays.
        about: what they come from, as JSON holds it; `kept_arrays` compares it.
    """
    columns = {name: np.asarray(values) for name, values in arrays.items()}
    columns["about"] = np.array(json.dumps(about, sort_keys=True))
    with whole_file(path) as file:
        np.savez(file, **columns)  # pyright: ignore[reportArgumentType]
    # What a kill left of an older version's.
    path.with_suffix(".part").unlink(missing_ok=True)


def kept_arrays(path: Path, about: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Return what `keep_arrays` wrote, None where nothing was.

    Raises:
        UserError: the file is damaged, or of something else.
    """
    if not path.exists():
        return None
    # It is written once: a later writing would not come to it.
    remove_left(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            columns = {name: kept[name] for name in kept.files}
        found = json.loads(str(columns.pop("about")))
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from None
    if found != json.loads(json.dumps(about)):
        raise UserError(f"{path}: is of other settings or other data: choose another --out")
    return columns
