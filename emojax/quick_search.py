"""All faces of a recording's frame in half the time: coarsely first, then closely where it matters.

The cascade's time goes into the smallest faces. A frame made so small that they fill the cascade's
own window is searched in every second place, and one window that takes something for a face is
enough; only around it the frame itself is searched, as the detector searches a whole one. What no
coarse window sees is missed, which docs/performance.md has figures of.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from emojax.face import (
    Detection,
    Detector,
    HaarDetector,
    detect_faces,
    left_to_right,
    scaled,
    shrunk,
    without_overlaps,
)

_WINDOW = 24
"""Side of the cascade's own window, in pixels."""
_SCALE_FACTOR = 1.2
"""Of the coarse search; with 1.25 one of thirty faces is lost."""
_WORTH_IT = 0.8
"""Share of a frame's size above which it is searched at once: there is too little to save."""
_REACH = 2.0
"""Side of what is searched closely, as a multiple of the coarse box's."""
_SMALLEST = 0.5
"""Smallest face looked for closely, as a share of the coarse box's side: smaller windows agree on a
face too, and without them its box would be a twentieth wider."""
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
    places = _look_coarsely(gray, smallest)
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
    share = _WINDOW / smallest
    coarse = HaarDetector(_SCALE_FACTOR, min_neighbours=1, min_face_share=0, min_size=_WINDOW)
    return [scaled(box, 1 / share) for box in coarse(shrunk(gray, share))]


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
