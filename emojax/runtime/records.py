"""The Python call: paths and arrays -> records with the names of the table's columns."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from emojax.errors import MissingExtraError, UserError
from emojax.runtime.looking import Looking, look
from emojax.runtime.predictor import Given, Predictor
from emojax.runtime.process import rows_of
from emojax.runtime.rows import Row, Value, column_types
from emojax.runtime.sources import Frame, list_sources, read_source
from emojax.video import BrokenVideoError

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Record(Mapping[str, Value]):
    """A row of the table, read as `record["AU12_p"]` or `record.AU12_p`; None: nothing to say."""

    row: Row
    """The values by the names of their columns."""

    def __getitem__(self, name: str) -> Value:
        return self.row[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.row)

    def __len__(self) -> int:
        return len(self.row)

    def __getattr__(self, name: str) -> Any:
        # While a copy is being made there is no row yet.
        if name != "row" and name in self.row:
            return self.row[name]
        raise AttributeError(f"{name!r} is no column: see the record's keys()")

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self.row]


@dataclasses.dataclass(frozen=True)
class Records(Sequence[Record]):
    """What `Predictor.predict` found, in the order of files, frames and faces."""

    records: tuple[Record, ...]
    """One for each face, and one for each frame without."""
    columns: Mapping[str, type]
    """The columns' names, in their order, and what is in them."""

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Record | Records:
        if isinstance(index, slice):
            return Records(self.records[index], self.columns)
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        faces = sum(bool(record["success"]) for record in self.records)
        return f"<{len(self)} records, {faces} of them faces>"

    def to_dicts(self) -> list[Row]:
        """Return a dictionary for each record, which are the caller's to change."""
        return [dict(record.row) for record in self.records]

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas frame: whole numbers as Int64, so that an empty cell stays empty.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise MissingExtraError("to_pandas()", "table") from None
        frame = pd.DataFrame(self.to_dicts(), columns=list(self.columns))
        kinds = {str: "object", int: "Int64", float: "float64"}
        return frame.astype({name: kinds[kind] for name, kind in self.columns.items()})


def _check_picture(picture: np.ndarray, name: str) -> np.ndarray:
    """Return a picture that a user gave in red, green, blue as everything here has it."""
    channels = picture.shape[2:]
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or channels not in ((), (3,), (4,)):
        remedy = ""
        if picture.dtype.kind == "f":
            remedy = ": of 0..1 take (picture * 255).astype(numpy.uint8)"
        elif picture.ndim == 4:
            remedy = ": of several pictures make a list"
        raise UserError(
            f"{name}: an array of {picture.dtype} {list(picture.shape)}: wanted uint8 "
            f"[height, width, 3] in red, green, blue, or gray [height, width]{remedy}"
        )
    if not picture.size:
        raise UserError(f"{name}: an array of {list(picture.shape)} holds no pixel")
    # Blue, green, red; a transparent channel is dropped, as of a file.
    wide = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    return np.ascontiguousarray(wide[:, :, 2::-1])


def _frames_of(given: Sequence[Given]) -> Iterator[Iterator[Frame]]:
    """Yield the frames of each file and array."""
    arrays = 0
    for one in given:
        if isinstance(one, np.ndarray):
            name = f"array-{arrays}"
            arrays += 1
            yield iter([Frame(Path(name), 0, 0.0, _check_picture(one, name))])
        elif isinstance(one, str | os.PathLike):
            listing = list_sources([one])
            if listing.mistakes:
                raise listing.mistakes[0]
            yield from map(read_source, listing.sources)
        else:
            raise UserError(
                f"{type(one).__name__}: wanted a path, a picture as a NumPy array, or a list of "
                "these"
            )


def predict_records(
    predictor: Predictor,
    given: Given | Sequence[Given],
    every: int = 1,
    detect_every: int = 1,
    smooth_s: float = 0.0,
) -> Records:
    """Return the records of what is given; see `Predictor.predict`."""
    for name, value, least in (
        ("every", every, 1),
        ("detect_every", detect_every, 1),
        ("smooth_s", smooth_s, 0),
    ):
        if not least <= value < np.inf:
            raise UserError(f"{name}={value!r}: wanted {least} or more")
    looking = Looking(every, detect_every, smooth_s)
    several: Any = given if isinstance(given, list | tuple) else [given]
    records: list[Record] = []
    for frames in _frames_of(several):
        try:
            for seen in look(frames, predictor, looking):
                records += map(Record, rows_of(seen, predictor))
        except BrokenVideoError as error:
            warnings.warn(str(error), RuntimeWarning, stacklevel=3)
    return Records(tuple(records), column_types(predictor.spec))
