"""Archives of arrays: what is not asked for stays packed, and what is no array is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from emojax.archive import read_arrays
from emojax.errors import UserError


def write(path: Path, **members: bytes | np.ndarray) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            if isinstance(content, bytes):
                file.writestr(f"{name}.npy", content)
                continue
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, content)
    return path


def test_the_arrays_that_are_asked_for_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", one=np.ones(3), two=np.zeros(2), words=b"no array")
    assert list(read_arrays(path, ("two", "three"), "it", 1 << 20)) == ["two"]
    np.testing.assert_array_equal(read_arrays(path, ["one"], "it", 1 << 20)["one"], np.ones(3))


@pytest.mark.parametrize("names", [None, ["words"]])
def test_a_member_that_is_no_array_is_refused(names: list[str] | None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", one=np.ones(3), words=b"no array")
    with pytest.raises(UserError, match=r"a\.npz: can't be read \('words' is no array\): say so"):
        read_arrays(path, names, "it", 1 << 20, "say so")


def test_what_unpacks_to_more_is_refused_whatever_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", one=np.ones(3), large=np.zeros(1 << 18))
    with pytest.raises(UserError, match="unpacks to more than 1 MiB"):
        read_arrays(path, ["one"], "it", 1 << 20)
