"""Clips of a face that goes from neutral to a peak, frame by frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from emojax.data.synthetic.domains import Scene, render
from emojax.data.synthetic.people import Person
from emojax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Timeline:
    """How strong the action units are in each frame of a clip."""

    intensities: np.ndarray
    """[frames, 15], 0..1, in the order of `labels.ACTION_UNITS`."""
    onset: int
    """First frame in which the units rise; all before are neutral."""
    apex: int
    """First frame at the peak."""
    offset: int | None
    """First frame in which the units fall; None where the clip ends at its peak."""


def make_timeline(
    rng: np.random.Generator,
    peak: Sequence[float],
    frames: int,
    returns: bool = False,
) -> Timeline:
    """Return a clip's intensities: neutral, onset, apex and, if it returns, offset.

    The first frame is neutral; the last is neutral too if the clip returns, and
    holds the peak otherwise. Units start a little apart, as on a living face.

    Args:
        rng: source of the timing.
        peak: 15 intensities at the apex.
        frames: length of the clip, 6 frames or more.
        returns: whether the face becomes neutral again.

    Raises:
        UserError: fewer than 6 frames.
    """
    if frames < 6:
        raise UserError(f"frames={frames}: a clip from neutral to a peak needs 6 or more")
    onset = max(1, round(frames * rng.uniform(0.08, 0.2)))
    apex = max(onset + 2, round(frames * rng.uniform(0.4, 0.5)))
    offset = min(frames - 2, round(frames * rng.uniform(0.65, 0.75))) if returns else None
    time = np.arange(frames)[:, None]
    lag = rng.uniform(0, 0.25, (1, len(peak))) * (apex - onset)
    # Something moves in the onset frame, so that its number means what it says.
    moving = np.asarray(peak) > 0
    lag -= lag[:, moving].min() if moving.any() else 0
    begin = onset - 1 + lag
    rise = np.clip((time - begin) / (apex - begin), 0, 1)
    course = rise * rise * (3 - 2 * rise)
    if offset is not None:
        fall = np.clip((time - offset + 1) / (frames - offset), 0, 1)
        course = course * (1 - fall * fall * (3 - 2 * fall))
    course[:onset] = 0
    return Timeline(course * np.asarray(peak, dtype=float), onset, apex, offset)


def render_clip(
    person: Person, timeline: Timeline, scene: Scene, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield a clip's frames, uint8 [PICTURE_SIDE, PICTURE_SIDE, 3], blue, green, red.

    Args:
        person: who is drawn.
        timeline: strength of the units in each frame.
        scene: light, camera and background, the same in all frames.
        rng: source of the sensor noise.
    """
    for intensities in timeline.intensities:
        yield render(person, tuple(intensities), scene, rng)
