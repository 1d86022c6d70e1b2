"""Which frames stand for a clip, the same in training and in use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def equally_spaced(count: int, wanted: int) -> np.ndarray:
    """Return which of `count` frames to keep, int [min(count, wanted)], first and last included."""
    if wanted == 1:
        return np.array([count // 2])
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(int)


def middle_sample(count: int, wanted: int) -> np.ndarray:
    """Return which of `count` frames a network sees, int [wanted], equally spaced.

    Of the samples that start one frame apart the middle one, as evaluation takes it
    (`data.resident.middle_frames`); of fewer frames than `wanted` some come more than once.
    """
    start = max(count // wanted - 1, 0) // 2
    return np.minimum(np.arange(wanted) * count // wanted + start, max(count - 1, 0))


def sample_clip(count: int, kept: int, wanted: int) -> np.ndarray:
    """Return which of a clip's frames a network sees, int [wanted], by way of those that are kept.

    Args:
        count: frames of the clip.
        kept: frames that shards keep of a clip at most.
        wanted: frames that the network sees.
    """
    there = equally_spaced(count, kept)
    return there[middle_sample(len(there), wanted)]


def nearest_found(found: Sequence[bool]) -> np.ndarray:
    """Return for each frame the nearest one with a face, int [frames]; the earlier of two.

    Args:
        found: of each frame, whether it has a face; one at least.
    """
    places = np.flatnonzero(found)
    return np.array([places[np.argmin(np.abs(places - index))] for index in range(len(found))])
