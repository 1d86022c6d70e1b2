"""Rows of a file -> what a study asks of it: means, and episodes of action units and emotions."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from emojax.labels import PROTOTYPES
from emojax.runtime.rows import Row
from emojax.spec import InputSpec

GAP_S = 0.2
"""An episode that stops for less goes on: a blink of the detector or of a threshold is no end."""

EPISODE_COLUMNS: dict[str, type] = {
    "file": str,
    "face_id": int,
    "what": str,
    "start": float,
    "end": float,
    "peak": float,
    "peak_time": float,
}
"""`what` is an action unit that is present (`AU12`) or the emotion that is highest; `start` and
`end` are the first and the last frame of it, in seconds; `peak` its highest probability."""


def summary_types(spec: InputSpec) -> dict[str, type]:
    """Return the summary's columns: a row a file.

    `face_share` is the share of frames with a face, `people` the number of face ids; the means
    are over all rows with probabilities, and empty where there is none: rows with a face, and of
    a network that listens those without one too. Of a sound, frames are the clips taken from it.
    """
    return {
        "file": str,
        "frames": int,
        "frames_with_face": int,
        "face_share": float,
        "people": int,
        **{f"{name}_mean": float for name in spec.action_units},
        **{f"emotion_{name}_mean": float for name in spec.emotions},
    }


CUE_COLUMNS: dict[str, type] = {
    "file": str,
    "face_id": int,
    "emotion": str,
    "start": float,
    "end": float,
    "frames": int,
    "expected": str,
    "missing": str,
    "contradicting": str,
}
"""Of a stretch in which an emotion is the highest: the action units of its EMFACS prototype
(`labels.PROTOTYPES`), those of them that were there in fewer than half of its frames, and those
that were there in half of them or more and belong to other emotions only. A smile without AU06 is
such a row. It is evidence about action units, as the network saw them: a missing one can be the
light, the pose, the threshold, or a face that has its own way. It says nothing of whether anybody
feels what they show."""


_NOBODY = -1
"""Whose episodes those are that are only heard: nobody's face has that id."""


def _id_cell(face_id: int) -> int | None:
    return None if face_id == _NOBODY else face_id


def _id_order(row: Row) -> int:
    return _NOBODY if row["face_id"] is None else int(row["face_id"])


def _names(units: Iterable[int], spec: InputSpec) -> set[str]:
    return {f"AU{unit:02d}" for unit in units} & set(spec.action_units)


@dataclasses.dataclass
class _Episode:
    start_s: float
    end_s: float
    peak: float
    peak_s: float
    frames: int = 1
    present: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


class FileSummary:
    """Takes the rows of one file in their order, and keeps no more than sums and open episodes."""

    def __init__(self, name: str, spec: InputSpec, is_sound: bool = False) -> None:
        """Start without rows.

        Args:
            name: of the file, as its rows have it.
            spec: names of the outputs.
            is_sound: a row is a window of a sound, and lasts to its end.
        """
        self._is_sound = is_sound
        self._name = name
        self._spec = spec
        self._probabilities = (
            *(f"{unit}_p" for unit in spec.action_units),
            *(f"emotion_{emotion}_p" for emotion in spec.emotions),
        )
        self._sums = np.zeros(len(self._probabilities))
        self._answers = 0
        self._frames = 0
        self._frames_with_face = 0
        self._ids: set[object] = set()
        self.last_s = 0.0
        """When the last frame is shown, in seconds."""
        self._open: dict[tuple[int, str], _Episode] = {}
        self._episodes: list[Row] = []
        self._cues: list[Row] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of one frame."""
        if not rows:
            return
        self._frames += 1
        self._frames_with_face += any(row["success"] for row in rows)
        time_s = self.last_s = float(rows[0]["timestamp"] or 0.0)
        if self._is_sound:
            self.last_s = float(rows[0]["window_end"] or time_s)
        for row in rows:
            if row[self._probabilities[0]] is None:
                continue
            self._answers += 1
            self._sums += [float(row[name] or 0.0) for name in self._probabilities]
            face_id = _NOBODY if row["face_id"] is None else int(row["face_id"])
            self._ids |= {face_id} - {_NOBODY}
            present = [unit for unit in self._spec.action_units if row[f"{unit}_c"]]
            for unit in present:
                self._extend(face_id, unit, time_s, float(row[f"{unit}_p"] or 0.0))
            if emotion := row["emotion"]:
                value = float(row[f"emotion_{emotion}_p"] or 0.0)
                self._extend(face_id, str(emotion), time_s, value).present.update(present)
        over = [key for key, one in self._open.items() if time_s - one.end_s > GAP_S]
        for key in over:
            self._end(key)

    def _extend(self, face_id: int, what: str, time_s: float, value: float) -> _Episode:
        episode = self._open.get((face_id, what))
        if episode is not None and time_s - episode.end_s > GAP_S:
            self._end((face_id, what))
            episode = None
        if episode is None:
            episode = self._open[face_id, what] = _Episode(time_s, self.last_s, value, time_s)
            return episode
        episode.end_s = self.last_s
        episode.frames += 1
        if value > episode.peak:
            episode.peak, episode.peak_s = value, time_s
        return episode

    def _end(self, key: tuple[int, str]) -> None:
        episode = self._open.pop(key)
        self._episodes.append(
            {
                "file": self._name,
                "face_id": _id_cell(key[0]),
                "what": key[1],
                "start": episode.start_s,
                "end": episode.end_s,
                "peak": episode.peak,
                "peak_time": episode.peak_s,
            }
        )
        if self._spec.action_units and key[1] in PROTOTYPES:
            self._cues.append(self._cue(key, episode))

    def _cue(self, key: tuple[int, str], episode: _Episode) -> Row:
        expected = _names(PROTOTYPES[key[1]], self._spec)
        others = {unit for units in PROTOTYPES.values() for unit in _names(units, self._spec)}
        often = {unit for unit, count in episode.present.items() if 2 * count >= episode.frames}

        def joined(units: Iterable[str]) -> str:
            return " ".join(unit for unit in self._spec.action_units if unit in set(units))

        return {
            "file": self._name,
            "face_id": _id_cell(key[0]),
            "emotion": key[1],
            "start": episode.start_s,
            "end": episode.end_s,
            "frames": episode.frames,
            "expected": joined(expected),
            "missing": joined(expected - often),
            "contradicting": joined((often & others) - expected),
        }

    def episodes(self) -> list[Row]:
        """Return the episodes, by their beginnings; those that are open end here."""
        for key in list(self._open):
            self._end(key)
        names = [*self._spec.action_units, *self._spec.emotions]
        return sorted(
            self._episodes,
            key=lambda row: (row["start"], _id_order(row), names.index(str(row["what"]))),
        )

    def cues(self) -> list[Row]:
        """Return which action units of each stretch's emotion are missing or belong to others.

        By their beginnings; stretches that are open end here.
        """
        self.episodes()
        return sorted(self._cues, key=lambda row: (row["start"], _id_order(row), row["end"]))

    def row(self) -> Row:
        """Return the file's row of the summary."""
        means = self._sums / max(self._answers, 1)
        return {
            "file": self._name,
            "frames": self._frames,
            "frames_with_face": self._frames_with_face,
            "face_share": self._frames_with_face / self._frames if self._frames else 0.0,
            "people": len(self._ids),
            **{
                f"{name.removesuffix('_p')}_mean": float(mean) if self._answers else None
                for name, mean in zip(self._probabilities, means, strict=True)
            },
        }
