"""All faces of a recording's frame in half the time: coarsely first, then closely where it matters.

A frame is made so small that the smallest faces fill the cascade's own window, where it looks in
every second place, and smaller by half again for faces of twice the size, and so on. One window
that takes something for a face is enough; only around it the frame itself is searched, as the
detector searches a whole one.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from emojax.face import (
    Detection,
    Detector,
    HaarDetector,
    detect_faces,
    left_to_right,
    load_cascade,
    scaled,
    shrunk,
    without_overlaps,
)

_WINDOW = 24
"""Side of the cascade's own window, in pixels."""
_SCALE_FACTOR = 1.2
"""Of the coarse search; with 1.25 one of thirty faces is lost."""
_ALIKE = 0.2
"""How far windows may differ that are taken for one place, as OpenCV groups them."""
_WORTH_IT = 0.8
"""Share of a frame's size above which it is searched at once: there is too little to save."""
_REACH = 2.0
"""Side of what is searched closely, as a multiple of the coarse box's."""
_SMALLEST = 0.6
"""Smallest face looked for closely, as a share of the coarse box's side. Smaller windows agree on a
face too: from 0.65 on boxes become wider, and differ more from those of a whole search."""
_GRID = 8
"""Pixels to which the places of close searches are rounded: where they move with a coarse box, the
cascade looks elsewhere in every frame, and the face's box trembles."""


def search_quickly(gray: np.ndarray, detect: Detector) -> list[Detection]:
    """Return the faces of a frame, left to right.

    Args:
        gray: uint8 [height, width].
        detect: what finds faces; another one than the Haar cascade searches everything.
    """
    if not isinstance(detect, HaarDetector):
        return detect_faces(gray, detect)
    gray, share = detect.shrink(gray)
    smallest = detect.smallest_in(gray)
    if min(gray.shape) < smallest:
        return []
    if smallest * _WORTH_IT < _WINDOW:
        return [scaled(box, 1 / share) for box in detect(gray)]
    places = _without_those_seen_anyway(_look_coarsely(gray, smallest))
    # Windows to look through go with the area searched over that of the smallest face.
    if len(places) * (_REACH / _SMALLEST) ** 2 > gray.size / smallest**2:
        # A crowd: all at once costs less.
        return [scaled(box, 1 / share) for box in detect(gray)]
    found = [box for place in places for box in _around(gray, place, detect)]
    # Two coarse boxes may lead to the same face.
    faces = without_overlaps([(0, box) for box in found])
    return left_to_right([scaled(box, 1 / share) for box in faces])


def _look_coarsely(gray: np.ndarray, smallest: int) -> list[Detection]:
    """Return squares of a frame in which a face may be, from a side of `smallest` pixels on."""
    found: list[list[int]] = []
    share = _WINDOW / smallest
    # In a frame of half the size a face of twice the size is looked for: the cascade takes every
    # second place up to twice its own window, and every single one from there on.
    while min(gray.shape) * share >= _WINDOW:
        windows = load_cascade().detectMultiScale(
            shrunk(gray, share),
            scaleFactor=_SCALE_FACTOR,
            minNeighbors=0,
            minSize=(_WINDOW, _WINDOW),
            maxSize=(2 * _WINDOW - 1, 2 * _WINDOW - 1),
        )
        found += [[round(side / share) for side in window] for window in np.asarray(windows)]
        share /= 2
    # Each twice: a group of one is a group.
    boxes, _ = cv2.groupRectangles(found * 2, 1, _ALIKE)
    return [Detection(*box) for box in np.asarray(boxes).tolist()]


def _without_those_seen_anyway(places: list[Detection]) -> list[Detection]:
    """Return the places that are not searched closely, at their size, around a larger one."""
    kept: list[Detection] = []
    for place in sorted(places, key=lambda place: (-place.w, place.x, place.y)):
        if not any(_sees(other, place) for other in kept):
            kept.append(place)
    return kept


def _sees(larger: Detection, place: Detection) -> bool:
    off = max(
        abs(2 * (place.x - larger.x) + place.w - larger.w),
        abs(2 * (place.y - larger.y) + place.h - larger.h),
    )
    return place.w >= larger.w * _SMALLEST and off + place.w <= larger.w * _REACH


def _around(gray: np.ndarray, place: Detection, detect: HaarDetector) -> list[Detection]:
    """Return the faces of about a square's size around it, in pixels of the frame."""
    reach = round(place.w * _REACH)
    left, top = (
        max(0, round(middle - reach / 2)) // _GRID * _GRID
        for middle in (place.x + place.w / 2, place.y + place.h / 2)
    )
    part = gray[top : top + reach + _GRID, left : left + reach + _GRID]
    least = max(detect.smallest_in(gray), round(place.w * _SMALLEST))
    near = dataclasses.replace(detect, min_face_share=0.0, min_size=least)
    return [dataclasses.replace(box, x=box.x + left, y=box.y + top) for box in near(part)]
