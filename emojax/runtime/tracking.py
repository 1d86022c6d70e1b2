"""Which face of this frame is which of the last, and what was said of it a moment ago."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from emojax.face import Detection, overlap
from emojax.runtime.predictor import FaceResult

_TIME_CONSTANTS = 10
"""After so many of them a past counts for nothing: 5 in 100,000."""


class FaceTracker:
    """Hands out face ids, from 0, by the overlap of boxes from frame to frame."""

    def __init__(self, least_overlap: float = 0.3, patience_s: float = 0.5) -> None:
        """Start without any face.

        Args:
            least_overlap: intersection over union from which two boxes may be one face.
            patience_s: how long a face may be lost, in seconds, before its id is given up.
        """
        self._least_overlap = least_overlap
        self._patience_s = patience_s
        self._seen: dict[int, tuple[Detection, float]] = {}
        self._last_s = -math.inf
        self._next_id = 0

    def update(self, faces: Sequence[Detection], timestamp_s: float) -> list[int]:
        """Return the id of each face of the next frame, in the order given.

        Args:
            faces: the frame's faces, from left to right: new ones are numbered so.
            timestamp_s: when the frame is shown, in seconds.
        """
        self._seen = {
            face_id: (box, last_s)
            for face_id, (box, last_s) in self._seen.items()
            # Where frames are further apart than that: seen in the last one.
            if timestamp_s - last_s <= self._patience_s or last_s >= self._last_s
        }
        self._last_s = timestamp_s
        pairs = sorted(
            (-overlap(face, box), index, face_id)
            for index, face in enumerate(faces)
            for face_id, (box, _) in self._seen.items()
        )
        ids: dict[int, int] = {}
        for negative, index, face_id in pairs:
            free = index not in ids and face_id not in ids.values()
            if free and -negative >= self._least_overlap:
                ids[index] = face_id
        for index in range(len(faces)):
            if index not in ids:
                ids[index] = self._next_id
                self._next_id += 1
        for index, face in enumerate(faces):
            self._seen[ids[index]] = (face, timestamp_s)
        return [ids[index] for index in range(len(faces))]


class Smoother:
    """Smooths each face's probabilities over time: an exponential moving average.

    After `seconds` a change has come through by 1 - 1/e, 63 per cent, at any frame rate.
    """

    def __init__(self, seconds: float) -> None:
        """Start without a past.

        Args:
            seconds: time constant; 0 leaves everything as it is.
        """
        self._seconds = seconds
        self._past: dict[int, tuple[np.ndarray, float]] = {}

    def smooth(
        self, faces: Sequence[FaceResult], face_ids: Sequence[int], timestamp_s: float
    ) -> list[FaceResult]:
        """Return a frame's faces with their averages.

        Args:
            faces: of the frame.
            face_ids: the id of each; a new id starts without a past.
            timestamp_s: when the frame is shown, in seconds.
        """
        if not self._seconds:
            return list(faces)
        # A camera runs for days, and ids do not come back.
        longest_s = _TIME_CONSTANTS * self._seconds
        self._past = {
            face_id: (mean, last_s)
            for face_id, (mean, last_s) in self._past.items()
            if timestamp_s - last_s <= longest_s
        }
        smoothed: list[FaceResult] = []
        for face, face_id in zip(faces, face_ids, strict=True):
            now = np.concatenate([face.action_units, face.emotions])
            before, last_s = self._past.get(face_id, (now, timestamp_s))
            kept = math.exp(-max(timestamp_s - last_s, 0.0) / self._seconds)
            mean = (kept * before + (1 - kept) * now).astype(np.float32)
            self._past[face_id] = (mean, timestamp_s)
            units, emotions = np.split(mean, [len(face.action_units)])
            smoothed.append(dataclasses.replace(face, action_units=units, emotions=emotions))
        return smoothed
