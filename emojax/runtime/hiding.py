"""Faces made unrecognisable in annotated copies, between the frames in which they are found too."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from emojax.face import Detection, Detector, HaarDetector, overlap, to_gray
from emojax.runtime.rows import Seen
from emojax.runtime.tracking import FaceTracker

BEFORE_S = 0.5
"""A face is hidden so long before it is found first: as long is every frame held back."""
AFTER_S = 1.0
"""A face is hidden so long after it was found last, where it is not found again sooner."""
BESIDE, ABOVE, BELOW = 0.25, 0.4, 0.25
"""What is hidden around a box, as shares of its side: ears, forehead and hair, chin."""
SPREAD_PER_S = 1.0
"""Shares of the box's side by which more is hidden for each second since a face was found."""
TRACK_BY = 5
"""Boxes are compared at so many times their side: a lost face may turn up two widths away."""
LEAST_OVERLAP = 0.3
"""Intersection over union from which two boxes of one frame are one face."""
CELLS = 6
"""What is left of a hidden part: so many colours across its shorter side."""
WINDOWS = 4
"""Haar windows that have to agree here: to hide too much costs less than to show a face."""
LEAST_SHARE = 0.05
"""Side of the smallest face that is looked for here, as a share of the frame's shorter side."""


class _Box(NamedTuple):
    """Edges in pixels, of the frame or outside."""

    left: float
    top: float
    right: float
    bottom: float


def _around(face: Detection, seconds: float) -> _Box:
    """Return what is hidden of a face that was found so many seconds away."""
    more = SPREAD_PER_S * seconds
    return _Box(
        face.x - (BESIDE + more) * face.w,
        face.y - (ABOVE + more) * face.h,
        face.x + (1 + BESIDE + more) * face.w,
        face.y + (1 + BELOW + more) * face.h,
    )


def _enlarged(face: Detection) -> Detection:
    """Return a box about the same centre, by which two frames' faces are taken for one."""
    more_w, more_h = ((TRACK_BY - 1) * side // 2 for side in (face.w, face.h))
    return Detection(face.x - more_w, face.y - more_h, TRACK_BY * face.w, TRACK_BY * face.h)


def _about_both(first: Detection, second: Detection) -> Detection:
    """Return the box about two boxes."""
    left, top = min(first.x, second.x), min(first.y, second.y)
    right = max(first.x + first.w, second.x + second.w)
    bottom = max(first.y + first.h, second.y + second.h)
    return Detection(left, top, right - left, bottom - top)


def _merged(boxes: Sequence[Detection]) -> list[Detection]:
    """Return one box for each face of a frame: that about all that were found of it."""
    merged: list[Detection] = []
    for box in boxes:
        for place, other in enumerate(merged):
            if overlap(box, other) >= LEAST_OVERLAP:
                merged[place] = _about_both(box, other)
                break
        else:
            merged.append(box)
    return merged


def _between(before: _Box, after: _Box, share: float) -> _Box:
    return _Box(*(a + share * (b - a) for a, b in zip(before, after, strict=True)))


def hide(picture: np.ndarray, boxes: Sequence[tuple[float, float, float, float]]) -> np.ndarray:
    """Return a copy in which a few smoothed colours are left of each box.

    Args:
        picture: uint8 [height, width, 3].
        boxes: left, top, right, bottom, in pixels; they may reach out of the picture.
    """
    hidden = picture.copy()
    rows, columns = picture.shape[:2]
    for box in boxes:
        left, top = (max(0, int(np.floor(edge))) for edge in box[:2])
        right, bottom = min(columns, int(np.ceil(box[2]))), min(rows, int(np.ceil(box[3])))
        if left >= right or top >= bottom:
            continue
        part = hidden[top:bottom, left:right]
        height, width = part.shape[:2]
        cell = max(1.0, min(height, width) / CELLS)
        size = (max(1, round(width / cell)), max(1, round(height / cell)))
        few = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        part[:] = cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR)
    return hidden


class FaceHider:
    """Takes the frames of one file, and gives them back with their faces hidden, a little later.

    What is hidden follows tracks of its own, from a more easily satisfied detector than the
    table's. It is a help and no guarantee: a face that is not found within a second before and
    half a second after (turned away, tilted, covered, too small) is shown.
    """

    def __init__(self, detector: Detector) -> None:
        """Start without frames.

        Args:
            detector: the table's.
        """
        if isinstance(detector, HaarDetector):
            detector = dataclasses.replace(
                detector,
                min_neighbours=min(WINDOWS, detector.min_neighbours),
                min_face_share=min(LEAST_SHARE, detector.min_face_share),
            )
        self._detect = detector
        self._tracker = FaceTracker(patience_s=BEFORE_S + AFTER_S)
        self._waiting: collections.deque[Seen] = collections.deque()
        self._tracks: dict[int, collections.deque[tuple[float, Detection]]] = {}

    def add(self, seen: Seen) -> Iterator[Seen]:
        """Take the next frame, and yield those whose time has come, with their faces hidden."""
        now_s = seen.frame.timestamp_s
        # The table's boxes too: they may come from where the face was, without a search.
        boxes = [face.detection for face in seen.faces]
        boxes = _merged([*boxes, *self._detect(to_gray(seen.frame.picture))])
        # All at once: two neighbours, whose enlarged boxes overlap, never share a track.
        tracks = self._tracker.update([_enlarged(box) for box in boxes], now_s)
        for track, box in zip(tracks, boxes, strict=True):
            self._tracks.setdefault(track, collections.deque()).append((now_s, box))
        self._waiting.append(seen)
        while now_s - self._waiting[0].frame.timestamp_s >= BEFORE_S:
            yield self._hidden(self._waiting.popleft())

    def rest(self) -> Iterator[Seen]:
        """Yield the frames that were held back: nothing comes after them."""
        while self._waiting:
            yield self._hidden(self._waiting.popleft())

    def _hidden(self, seen: Seen) -> Seen:
        time_s = seen.frame.timestamp_s
        boxes: list[_Box] = []
        for key, track in list(self._tracks.items()):
            while len(track) > 1 and track[1][0] < time_s:
                track.popleft()
            if track[-1][0] < time_s - AFTER_S:
                del self._tracks[key]
                continue
            boxes += _boxes_at(track, time_s)
        picture = hide(seen.frame.picture, boxes)
        return seen._replace(frame=dataclasses.replace(seen.frame, picture=picture))


def _boxes_at(track: Sequence[tuple[float, Detection]], time_s: float) -> list[_Box]:
    """Return what is hidden of a track at a time.

    Args:
        track: when it was found, and where; in the order of time.
        time_s: of the frame, in seconds.
    """
    now = [_around(box, 0.0) for when, box in track if when == time_s]
    if now:
        return now
    before = next(((when, box) for when, box in reversed(track) if when < time_s), None)
    after = next(((when, box) for when, box in track if when > time_s), None)
    if before and time_s - before[0] > AFTER_S:
        before = None
    if after and after[0] - time_s > BEFORE_S:
        after = None
    hidden = [_around(box, abs(time_s - when)) for when, box in filter(None, (before, after))]
    if before and after:
        share = (time_s - before[0]) / (after[0] - before[0])
        gap = min(time_s - before[0], after[0] - time_s)
        hidden.append(_between(_around(before[1], gap), _around(after[1], gap), share))
    return hidden
