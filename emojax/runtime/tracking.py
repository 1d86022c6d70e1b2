"""Which face of this frame is which of the last: an id that stays while a face is in view."""

from __future__ import annotations

from collections.abc import Sequence

from emojax.face import Detection, overlap


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
            if timestamp_s - last_s <= self._patience_s
        }
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
