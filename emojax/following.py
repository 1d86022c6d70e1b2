"""The faces of a recording, frame by frame: looked for near where they were."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from emojax.face import Detection, Detector, HaarDetector, detect_faces, largest, overlap
from emojax.quick_search import search_quickly

REACH = 2.0
"""Side of what is searched, as a multiple of the box's: a face may move by half its width."""
DRIFT = 0.25
"""Way of the face from the middle of what is searched, in widths, after which all is searched."""
SHRINK = 0.75
"""Smallest face looked for, as a share of the box's side."""
MEET = 0.3
"""Intersection over union from which two boxes may be one face, found twice."""
WHOLE_EVERY = 10
"""Frames from one search of everything to the next: a larger face is missed for no longer."""


def make_follower(detect: Detector) -> Callable[[np.ndarray], Detection | None]:
    """Return a function that finds the largest face in each frame of one recording.

    Called with the frames in order, gray, uint8 [height, width]. Around a box there are few places
    and sizes to try, a tenth of what a whole frame has. The whole frame is searched at first, every
    tenth time, where its size has changed, where the face has moved or is gone.

    Args:
        detect: finds the faces in a gray frame.
    """
    # What is searched stays where it is from one search of everything to the next: the cascade
    # looks at every second or third place, others each time it moved, and the box would tremble.
    anchor: Detection | None = None
    size: tuple[int, ...] = ()
    since = 0

    def follow(gray: np.ndarray) -> Detection | None:
        nonlocal anchor, size, since
        since += 1
        if anchor is not None and gray.shape == size and since < WHOLE_EVERY:
            found = find_near(gray, anchor, detect)
            if found is not None and _drift(found, anchor) <= DRIFT:
                return found
        search = search_quickly if size else detect_faces
        anchor, size, since = largest(search(gray, detect)), gray.shape, 0
        return anchor

    return follow


class FaceFollower:
    """Finds all faces in each frame of one recording, most of the time near where they were."""

    def __init__(self, detect: Detector, every: int = WHOLE_EVERY) -> None:
        """Start with nobody in view.

        Args:
            detect: finds the faces in a gray frame.
            every: frames from one search of everything to the next: somebody new is seen at most
                so many frames late. 1 searches everything always.
        """
        self._detect = detect
        self._every = every
        self._anchors: list[Detection] = []
        self._size: tuple[int, ...] = ()
        self._since = 0

    def __call__(self, gray: np.ndarray) -> list[Detection]:
        """Return the faces of the next frame, left to right.

        Everything is searched too where a face has moved far or is gone, where the frame's size has
        changed, and as long as nobody is in view.

        Args:
            gray: uint8 [height, width].
        """
        self._since += 1
        if self._anchors and gray.shape == self._size and self._since < self._every:
            near = [find_near(gray, anchor, self._detect) for anchor in self._anchors]
            found = [
                box
                for box, anchor in zip(near, self._anchors, strict=True)
                if box is not None and _drift(box, anchor) <= DRIFT
            ]
            # Two faces that meet may both be found as the larger of them.
            if len(found) == len(self._anchors) and not _some_meet(found):
                return sorted(found, key=lambda box: box.x)
        # A picture by itself is searched as the data sets' pictures are.
        search = search_quickly if self._size else detect_faces
        self._anchors, self._size, self._since = search(gray, self._detect), gray.shape, 0
        return self._anchors


def _some_meet(boxes: list[Detection]) -> bool:
    pairs = itertools.combinations(boxes, 2)
    return any(overlap(first, second) > MEET for first, second in pairs)


def _drift(box: Detection, anchor: Detection) -> float:
    """Return how far a box's centre is from another's, in widths of the other."""
    across = abs(2 * (box.x - anchor.x) + box.w - anchor.w)
    down = abs(2 * (box.y - anchor.y) + box.h - anchor.h)
    return max(across, down) / (2 * anchor.w)


def find_near(gray: np.ndarray, box: Detection, detect: Detector) -> Detection | None:
    """Return the largest face that lies around a box and is not much smaller, None without one.

    Args:
        gray: uint8 [height, width].
        box: where a face was.
        detect: finds faces; the Haar cascade is told which sizes are worth trying.
    """
    side = max(box.w, box.h)
    reach = round(side * REACH)
    top, left = round(box.y + (box.h - reach) / 2), round(box.x + (box.w - reach) / 2)
    below, beside = max(0, top + reach), max(0, left + reach)
    top, left = max(0, top), max(0, left)
    part = gray[top:below, left:beside]
    if min(part.shape) < side * SHRINK:
        return None
    if isinstance(detect, HaarDetector):
        detect = dataclasses.replace(detect, min_face_share=side * SHRINK / min(part.shape))
    found = largest(detect(part))
    return found and dataclasses.replace(found, x=found.x + left, y=found.y + top)
