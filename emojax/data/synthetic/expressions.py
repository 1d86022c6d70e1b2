"""Which action units a picture shows: emotions by their prototypes, and free combinations."""

from __future__ import annotations

import dataclasses

import numpy as np

from emojax.labels import ACTION_UNITS, PROTOTYPES, SEVEN, emotion_from_action_units

LOWEST_INTENSITY = 0.2
"""Intensity of the weakest unit that counts as present (a FACS trace)."""

# Units that pull the same skin opposite ways, or that hide each other.
_OPPOSED: tuple[tuple[int, int], ...] = (
    (2, 9),
    (5, 6),
    (5, 9),
    (6, 20),
    (9, 20),
    (10, 17),
    (10, 23),
    (10, 26),
    (12, 15),
    (12, 17),
    (12, 20),
    (12, 23),
    (15, 20),
    (15, 26),
    (16, 17),
    (16, 20),
    (16, 23),
    (16, 26),
    (17, 20),
    (17, 26),
    (20, 23),
    (23, 26),
)

# What a prototype may lose and still be that emotion alone, and what may join it.
_DROPPED: dict[str, tuple[int, ...]] = {
    "sadness": (4,),
    "surprise": (5,),
    "fear": (5, 7, 26),
    "disgust": (16,),
    "anger": (5, 7),
}
_ADDED: dict[str, tuple[int, ...]] = {
    "happiness": (10, 26),
    "sadness": (17,),
    "disgust": (10,),
    "anger": (17,),
}
_SHARE_DROPPED = 0.12
_SHARE_ADDED = 0.3

# Units that few or no prototypes hold come more often alone, so that each of
# the 15 has enough positives for its F1 to mean something.
_FREE_WEIGHT: dict[int, float] = {2: 1.0, 6: 1.2, 10: 2.0, 15: 1.0, 16: 1.6, 17: 2.0, 20: 1.8}
_FREE_WEIGHT |= {9: 1.4, 12: 1.2, 23: 1.6, 7: 0.9, 26: 1.0, 1: 0.6, 4: 0.5, 5: 0.7}


@dataclasses.dataclass(frozen=True)
class Expression:
    """What a face shows."""

    emotion: str
    """One of `labels.SEVEN`, empty where no emotion is meant."""
    intensities: tuple[float, ...]
    """15 values, 0 (absent) or 0.2..1, in the order of `labels.ACTION_UNITS`."""

    @property
    def present(self) -> tuple[int, ...]:
        """FACS numbers of the units that are there."""
        return tuple(
            number
            for number, value in zip(ACTION_UNITS, self.intensities, strict=True)
            if value > 0
        )


def compatible(first: int, second: int) -> bool:
    """Return whether two action units, by FACS number, can show on one face."""
    return (first, second) not in _OPPOSED and (second, first) not in _OPPOSED


def _with_intensities(
    rng: np.random.Generator, emotion: str, present: set[int], level: float
) -> Expression:
    drawn = np.clip(rng.normal(level, 0.15, len(ACTION_UNITS)), LOWEST_INTENSITY, 1.0)
    return Expression(
        emotion,
        tuple(
            round(float(value), 3) if number in present else 0.0
            for number, value in zip(ACTION_UNITS, drawn, strict=True)
        ),
    )


def sample_emotion(rng: np.random.Generator, emotion: str) -> Expression:
    """Return an emotion's face: its EMFACS prototype with natural variation.

    One unit is missing in a small share where the rest is still that emotion,
    and one that goes with it joins now and then; the labels tell what is drawn.

    Args:
        rng: source of the variation.
        emotion: one of `labels.SEVEN`.
    """
    present = set(PROTOTYPES[emotion])
    if emotion in _DROPPED and rng.random() < _SHARE_DROPPED:
        present.discard(int(rng.choice(_DROPPED[emotion])))
    elif emotion in _ADDED and rng.random() < _SHARE_ADDED:
        present.add(int(rng.choice(_ADDED[emotion])))
    assert emotion_from_action_units(sorted(present)) == emotion
    return _with_intensities(rng, emotion, present, float(rng.uniform(0.2, 0.95)))


def sample_free(rng: np.random.Generator) -> Expression:
    """Return a face with 1 to 4 compatible action units.

    Its emotion is empty, unless the units happen to be an emotion's prototype.
    """
    wanted = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.3, 0.3, 0.15]))
    weights = np.array([_FREE_WEIGHT[number] for number in ACTION_UNITS])
    present: set[int] = set()
    for unit in rng.choice(
        ACTION_UNITS, len(ACTION_UNITS), replace=False, p=weights / weights.sum()
    ):
        if len(present) < wanted and all(compatible(int(unit), other) for other in present):
            present.add(int(unit))
    emotion = next((name for name in SEVEN if set(PROTOTYPES[name]) == present), "")
    return _with_intensities(rng, emotion, present, float(rng.uniform(0.2, 0.95)))


def sample_expression(rng: np.random.Generator, emotion: str | None = None) -> Expression:
    """Return an emotion's face, or a free combination of action units for None."""
    return sample_free(rng) if emotion is None else sample_emotion(rng, emotion)
