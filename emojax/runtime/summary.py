"""Rows of a file -> what a study asks of it: means, and episodes of action units and emotions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

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
    are over all rows with a face, and empty where there is none.
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


@dataclasses.dataclass
class _Episode:
    start_s: float
    end_s: float
    peak: float
    peak_s: float


class FileSummary:
    """Takes the rows of one file in their order, and keeps no more than sums and open episodes."""

    def __init__(self, name: str, spec: InputSpec) -> None:
        """Start without rows.

        Args:
            name: of the file, as its rows have it.
            spec: names of the outputs.
        """
        self._name = name
        self._spec = spec
        self._probabilities = (
            *(f"{unit}_p" for unit in spec.action_units),
            *(f"emotion_{emotion}_p" for emotion in spec.emotions),
        )
        self._sums = np.zeros(len(self._probabilities))
        self._num_faces = 0
        self._frames = 0
        self._frames_with_face = 0
        self._ids: set[object] = set()
        self._open: dict[tuple[int, str], _Episode] = {}
        self._episodes: list[Row] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of one frame."""
        if not rows:
            return
        self._frames += 1
        with_face = [row for row in rows if row["success"]]
        self._frames_with_face += bool(with_face)
        time_s = float(rows[0]["timestamp"] or 0.0)
        for row in with_face:
            self._num_faces += 1
            self._sums += [float(row[name] or 0.0) for name in self._probabilities]
            face_id = int(row["face_id"] or 0)
            self._ids.add(face_id)
            for unit in self._spec.action_units:
                if row[f"{unit}_c"]:
                    self._extend(face_id, unit, time_s, float(row[f"{unit}_p"] or 0.0))
            if emotion := row["emotion"]:
                value = float(row[f"emotion_{emotion}_p"] or 0.0)
                self._extend(face_id, str(emotion), time_s, value)
        over = [key for key, one in self._open.items() if time_s - one.end_s > GAP_S]
        for key in over:
            self._end(key)

    def _extend(self, face_id: int, what: str, time_s: float, value: float) -> None:
        episode = self._open.get((face_id, what))
        if episode is not None and time_s - episode.end_s > GAP_S:
            self._end((face_id, what))
            episode = None
        if episode is None:
            self._open[face_id, what] = _Episode(time_s, time_s, value, time_s)
            return
        episode.end_s = time_s
        if value > episode.peak:
            episode.peak, episode.peak_s = value, time_s

    def _end(self, key: tuple[int, str]) -> None:
        episode = self._open.pop(key)
        self._episodes.append(
            {
                "file": self._name,
                "face_id": key[0],
                "what": key[1],
                "start": episode.start_s,
                "end": episode.end_s,
                "peak": episode.peak,
                "peak_time": episode.peak_s,
            }
        )

    def episodes(self) -> list[Row]:
        """Return the episodes, by their beginnings; those that are open end here."""
        for key in list(self._open):
            self._end(key)
        names = [*self._spec.action_units, *self._spec.emotions]
        return sorted(
            self._episodes,
            key=lambda row: (row["start"], row["face_id"], names.index(str(row["what"]))),
        )

    def row(self) -> Row:
        """Return the file's row of the summary."""
        means = self._sums / max(self._num_faces, 1)
        return {
            "file": self._name,
            "frames": self._frames,
            "frames_with_face": self._frames_with_face,
            "face_share": self._frames_with_face / self._frames if self._frames else 0.0,
            "people": len(self._ids),
            **{
                f"{name.removesuffix('_p')}_mean": float(mean) if self._num_faces else None
                for name, mean in zip(self._probabilities, means, strict=True)
            },
        }
