"""A person's neutral face, and how far what is seen is from it.

People differ in how their faces look at rest: the brows of one are another's frown. A difference
from the same person's neutral face says more of what they do than the probability alone.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from emojax.errors import UserError
from emojax.runtime.rows import Row
from emojax.spec import InputSpec

_FIRST = re.compile(r"first:(\d+(?:\.\d+)?)s")


@dataclasses.dataclass(frozen=True)
class Neutral:
    """Where the neutral face comes from: one of the two is given."""

    seconds: float | None = None
    """Each face's own first seconds in a video."""
    means: Mapping[str, float] | None = None
    """Mean probabilities by the names of `probability_names`, the same for all faces."""


def parse_seconds(text: str) -> float | None:
    """Return the seconds of `first:2s`; None where the text is something else: a file.

    Raises:
        UserError: it begins like that and goes on otherwise, or has no seconds.
    """
    if not text.startswith("first:"):
        return None
    found = _FIRST.fullmatch(text)
    if found is None or not float(found[1]) > 0:
        raise UserError(f"--neutral {text}: wanted seconds above 0, such as first:2s, or a file")
    return float(found[1])


def probability_names(spec: InputSpec) -> tuple[str, ...]:
    """Return the table's columns that hold probabilities, in the order of the outputs."""
    return tuple(f"{name}_p" for name in spec.output_names)


def difference_types(spec: InputSpec) -> dict[str, type]:
    """Return the added columns: `AU01_d` .., `emotion_neutral_d` .., -1..1."""
    return {f"{name}_d": float for name in spec.output_names}


def _probabilities(row: Row, names: Sequence[str]) -> np.ndarray:
    return np.array([row[name] for name in names], np.float64)


def mean_probabilities(rows: Iterable[Row], spec: InputSpec, source: str) -> dict[str, float]:
    """Return the mean probabilities of all faces.

    Args:
        rows: of the neutral file; those without a face are passed over.
        spec: names of the outputs.
        source: the file, for the message.

    Raises:
        UserError: there is no face.
    """
    names = probability_names(spec)
    total, count = np.zeros(len(names)), 0
    for row in rows:
        if row["success"]:
            total += _probabilities(row, names)
            count += 1
    if not count:
        raise UserError(f"{source}: no face in it: give a picture or a video of a neutral face")
    return dict(zip(names, (total / count).tolist(), strict=True))


@dataclasses.dataclass
class _Start:
    """The first seconds of a face."""

    start_s: float
    total: np.ndarray
    count: int = 0


class Differences:
    """Adds to the rows of one file how far each face is from its neutral one.

    A face's first seconds have to be over before anything can be subtracted: so long are its rows
    held back, and those of others that came after, since their order stays.
    """

    def __init__(self, spec: InputSpec, neutral: Neutral, is_video: bool) -> None:
        """Start without rows.

        Args:
            spec: names of the outputs.
            neutral: where the neutral face comes from.
            is_video: a picture has no first seconds: there the new cells stay empty.
        """
        self._names = probability_names(spec)
        self._columns = tuple(difference_types(spec))
        self._neutral = neutral
        self._is_video = is_video
        self._starts: dict[int, _Start] = {}
        self._waiting: collections.deque[Row] = collections.deque()
        self._fixed: np.ndarray | None = None
        if neutral.means is not None:
            self._fixed = np.array([neutral.means[name] for name in self._names])

    def add(self, rows: Sequence[Row]) -> list[Row]:
        """Take the rows of the next frame, and return those that are ready, with the new cells."""
        seconds = self._neutral.seconds
        if seconds is None or not self._is_video:
            return [self._finish(row) for row in rows]
        for row in rows:
            self._waiting.append(row)
            if row["success"]:
                time_s = float(row["timestamp"] or 0.0)
                start = self._start(row)
                if time_s - start.start_s < seconds:
                    start.total += _probabilities(row, self._names)
                    start.count += 1
        now_s = float(rows[0]["timestamp"] or 0.0) if rows else 0.0
        ready = []
        while self._waiting:
            row = self._waiting[0]
            if row["success"] and now_s - self._start(row).start_s < seconds:
                break
            ready.append(self._finish(self._waiting.popleft()))
        return ready

    def rest(self) -> list[Row]:
        """Return the rows that were held back: nothing comes after them."""
        rows = [self._finish(row) for row in self._waiting]
        self._waiting.clear()
        return rows

    def _start(self, row: Row) -> _Start:
        face_id = int(row["face_id"] or 0)
        if face_id not in self._starts:
            empty = np.zeros(len(self._names))
            self._starts[face_id] = _Start(float(row["timestamp"] or 0.0), empty)
        return self._starts[face_id]

    def _finish(self, row: Row) -> Row:
        empty: Row = dict.fromkeys(self._columns)
        if not row["success"] or (self._fixed is None and not self._is_video):
            return row | empty
        base = self._fixed
        if base is None:
            start = self._start(row)
            base = start.total / start.count
        values = _probabilities(row, self._names) - base
        return row | dict(zip(self._columns, values.tolist(), strict=True))
