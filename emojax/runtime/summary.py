"""Rows of a file -> what a study asks of it: means, and episodes of action units and emotions."""

from __future__ import annotations

import array
import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from emojax.labels import PROTOTYPES
from emojax.runtime.rows import Row
from emojax.spec import InputSpec

GAP_S = 0.2
"""An episode that stops for less goes on: a blink of the detector or of a threshold is no end.
Where frames are further apart than that, it goes on if it was there in the last one."""

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


@dataclasses.dataclass
class _Episode:
    start_s: float
    end_s: float
    peak: float
    peak_s: float
    frames: int = 1
    present: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


class _Ended:
    """Episodes that are over, 60 bytes each: an hour's recording may have a hundred thousand."""

    def __init__(self, spec: InputSpec) -> None:
        self._units = spec.action_units
        self._names = (*spec.action_units, *spec.emotions)
        self._places = array.array("q")  # face id, place of the name, frames
        self._figures = array.array("d")  # start, end, peak, its time
        self._often = bytearray()  # a bit for each action unit
        self._often_bytes = -(-len(self._units) // 8)

    def add(self, face_id: int, what: str, episode: _Episode) -> None:
        self._places.extend((face_id, self._names.index(what), episode.frames))
        self._figures.extend((episode.start_s, episode.end_s, episode.peak, episode.peak_s))
        bits = sum(
            1 << place
            for place, unit in enumerate(self._units)
            if 2 * episode.present[unit] >= episode.frames
        )
        self._often += bits.to_bytes(self._often_bytes, "little")

    def order(self) -> list[int]:
        """Return their numbers, by their beginnings."""
        return sorted(
            range(len(self._places) // 3),
            key=lambda at: (self._figures[4 * at], *self._places[3 * at : 3 * at + 2]),
        )

    def what(self, number: int) -> str:
        return self._names[self._places[3 * number + 1]]

    def episode_row(self, number: int) -> Row:
        """Return what stands of one in the table of episodes, but for the file."""
        figures = self._figures[4 * number : 4 * number + 4]
        return {
            "face_id": _id_cell(self._places[3 * number]),
            "what": self.what(number),
            **dict(zip(("start", "end", "peak", "peak_time"), figures, strict=True)),
        }

    def cue_row(self, number: int) -> Row:
        """Return what stands of an emotion's in the table of cues, but for the file."""
        at = number * self._often_bytes
        bits = int.from_bytes(self._often[at : at + self._often_bytes], "little")
        often = {unit for place, unit in enumerate(self._units) if bits >> place & 1}
        emotion = self.what(number)
        expected = self._known(PROTOTYPES[emotion])
        others = {unit for units in PROTOTYPES.values() for unit in self._known(units)}
        return {
            "face_id": _id_cell(self._places[3 * number]),
            "emotion": emotion,
            "start": self._figures[4 * number],
            "end": self._figures[4 * number + 1],
            "frames": self._places[3 * number + 2],
            "expected": self._joined(expected),
            "missing": self._joined(expected - often),
            "contradicting": self._joined((often & others) - expected),
        }

    def _known(self, units: Iterable[int]) -> set[str]:
        return {f"AU{unit:02d}" for unit in units} & set(self._units)

    def _joined(self, units: set[str]) -> str:
        return " ".join(unit for unit in self._units if unit in units)


class FileSummary:
    """Takes the rows of one file in their order, and keeps sums and episodes, no rows."""

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
        self._time_s = self._previous_s = -math.inf
        self._open: dict[tuple[int, str], _Episode] = {}
        self._ended = _Ended(spec)

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of one frame."""
        if not rows:
            return
        self._frames += 1
        self._frames_with_face += any(row["success"] for row in rows)
        time_s = self.last_s = float(rows[0]["timestamp"] or 0.0)
        self._previous_s, self._time_s = self._time_s, time_s
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
        over = [key for key, one in self._open.items() if self._is_over(one)]
        for key in over:
            self._end(key)

    def _extend(self, face_id: int, what: str, time_s: float, value: float) -> _Episode:
        episode = self._open.get((face_id, what))
        if episode is not None and self._is_over(episode):
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

    def _is_over(self, episode: _Episode) -> bool:
        """Return whether an episode was over before this frame."""
        return self._time_s - episode.end_s > GAP_S and episode.end_s < self._previous_s

    def _end(self, key: tuple[int, str]) -> None:
        self._ended.add(*key, self._open.pop(key))

    def _end_all(self) -> None:
        for key in list(self._open):
            self._end(key)

    def episodes(self) -> list[Row]:
        """Return the episodes, by their beginnings; those that are open end here."""
        self._end_all()
        return [
            {"file": self._name, **self._ended.episode_row(number)}
            for number in self._ended.order()
        ]

    def cues(self) -> list[Row]:
        """Return which action units of each stretch's emotion are missing or belong to others.

        By their beginnings; stretches that are open end here.
        """
        self._end_all()
        return [
            {"file": self._name, **self._ended.cue_row(number)}
            for number in self._ended.order()
            if self._spec.action_units and self._ended.what(number) in PROTOTYPES
        ]

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
