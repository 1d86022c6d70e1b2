"""The largest face of a recording, frame by frame: looked for near where it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from emojax.face import Detection, Detector, HaarDetector, largest

REACH = 2.0
"""Side of what is searched, as a multiple of the box's: a face may move by half its width."""
DRIFT = 0.25
"""Way of the face from the middle of what is searched, in widths, after which all is searched."""
SHRINK = 0.75
"""Smallest face looked for, as a share of the box's side."""
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
        anchor, size, since = largest(detect(gray)), gray.shape, 0
        return anchor

    return follow


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
