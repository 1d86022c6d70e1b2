"""What is chosen on validation people: temperatures, thresholds, and from where a face is doubtful.

SciPy minimises the negative log-likelihood, scikit-learn draws the precision-recall curves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from sklearn.metrics import f1_score, precision_recall_curve

from emojax.labels import UNKNOWN
from emojax.spec import InputSpec
from emojax.temperature import LARGEST, SMALLEST, Temperatures, scale, scale_group

FEWEST = 20
"""Labelled faces below which nothing is fitted: the temperature stays 1."""

FEWEST_PRESENT = 10
"""Faces with an action unit, and faces without, below which its threshold stays one half."""

WANTED_ACCURACY = 0.9
"""Share of right answers among the faces that are not called uncertain."""

LEAST_CONFIDENCE = 0.5
"""Below it a face is uncertain whatever the people say: all else together is more probable."""

BINS = 15
"""Of the expected calibration error, equally wide, as Guo et al. have them."""

DEFAULT_THRESHOLD = 0.5

_TINY = 1e-12
# scikit-learn's annotation names only the default, "warn".
_ZERO: Any = 0.0


class Labels(NamedTuple):
    """What people say of the faces of a split; -1 is unknown."""

    action_units: np.ndarray  # int [examples, units], 1 present, 0 absent
    emotions: np.ndarray  # int [examples], index of the emotion


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What spec.json carries of it."""

    temperatures: Temperatures
    """Of each group."""
    thresholds: tuple[float, ...]
    """Of each action unit, 0..1, for calibrated probabilities: the largest F1."""
    uncertain_below: float | None
    """Calibrated confidence, 0..1, below which an emotion is uncertain; None without emotions."""
    facts: dict[str, Any]
    """Errors before and after and what is kept, as JSON holds them."""


def expected_calibration_error(
    confidence: Float[np.ndarray, " answers"], right: Bool[np.ndarray, " answers"]
) -> float | None:
    """Return the mean distance of confidence from the share of right answers; None without any.

    Args:
        confidence: 0..1, what an answer says of itself.
        right: whether it was.
    """
    if not len(confidence):
        return None
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    sums = np.bincount(places, confidence.astype(np.float64) - right, minlength=BINS)
    return float(np.abs(sums).sum() / len(confidence))


def calibration_errors(
    labels: Labels, answers: Float[np.ndarray, "examples outputs"], spec: InputSpec
) -> dict[str, float | None]:
    """Return the expected calibration error of each group, None where nothing is labelled.

    Of emotions: the confidence of the highest against how often it is the right one. Of action
    units: each unit's probability against how often it is present, all of them together.
    """
    units, emotions = np.split(answers, [len(spec.action_units)], axis=1)
    known = labels.action_units != UNKNOWN
    confidence, right = _top(labels, emotions)
    return {
        "emotions": expected_calibration_error(confidence, right),
        "action_units": expected_calibration_error(units[known], labels.action_units[known] == 1),
    }


def _top(labels: Labels, emotions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest score of each labelled face, and whether it is the right one's."""
    if not emotions.shape[1]:
        return np.empty(0), np.empty(0, bool)
    known = labels.emotions != UNKNOWN
    scores = emotions[known]
    return scores.max(axis=1), scores.argmax(axis=1) == labels.emotions[known]


def fit_temperature(
    probabilities: Float[np.ndarray, "examples outputs"],
    truth: Int[np.ndarray, "examples outputs"],
    activation: str,
) -> float:
    """Return the temperature with the least negative log-likelihood.

    Args:
        probabilities: at temperature 1.
        truth: 1, 0, or -1 unknown; of a softmax one 1 in each row, or nothing known.
        activation: `sigmoid` or `softmax`.
    """
    if (truth != UNKNOWN).any(axis=1).sum() < FEWEST:
        return 1.0
    counted = truth == 1 if activation == "softmax" else truth != UNKNOWN

    def loss(logarithm: float) -> float:
        scaled = scale_group(probabilities.astype(np.float64), activation, np.exp(logarithm))
        likelihood = np.where(truth == 1, scaled, 1 - scaled)[counted]
        return -float(np.log(np.maximum(likelihood, _TINY)).mean())

    bounds = (np.log(SMALLEST), np.log(LARGEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    return round(float(np.exp(found.x)), 4)


def choose_threshold(
    truth: Int[np.ndarray, " examples"], scores: Float[np.ndarray, " examples"]
) -> float:
    """Return the threshold of an action unit with the largest F1, one half where labels are few.

    It lies between two scores that were seen, in their middle but for the rounding, also as a
    float32, in which it is compared with the scores.

    Args:
        truth: 1 present, 0 absent, -1 unknown.
        scores: probabilities.
    """
    known = truth != UNKNOWN
    truth, scores = truth[known], scores[known].astype(np.float32).astype(np.float64)
    if min((truth == 1).sum(), (truth == 0).sum()) < FEWEST_PRESENT:
        return DEFAULT_THRESHOLD
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    both = np.maximum(precision + recall, _TINY)
    best = int((2 * precision * recall / both)[:-1].argmax())
    below = scores[scores < thresholds[best]]
    # Where a network tells nothing of a unit, F1 is best when all faces have it (Lipton, Elkan and
    # Naryanaswamy 2014): that is no answer.
    if not below.size:
        return DEFAULT_THRESHOLD
    low, high = float(below.max()), float(thresholds[best])
    return next(value for value in _between(low, high) if low < float(np.float32(value)) <= high)


def _between(low: float, high: float) -> Iterator[float]:
    """Yield the middle with four digits after the point, with more, with all, and the upper end."""
    middle = (low + high) / 2
    yield from (round(middle, digits) for digits in range(4, 17))
    yield middle
    # Of float32 neighbours the middle is one of the two, and may be the lower.
    yield high


def choose_certainty(
    confidence: Float[np.ndarray, " examples"], right: Bool[np.ndarray, " examples"]
) -> float:
    """Return the confidence below which an emotion is uncertain.

    The lowest from which on `WANTED_ACCURACY` of the faces are right, and `LEAST_CONFIDENCE` at
    least; that too where no confidence, kept by `FEWEST` faces, reaches the accuracy.

    Args:
        confidence: of the highest emotion, calibrated.
        right: whether it was.
    """
    order = np.argsort(-confidence, kind="stable")
    descending = confidence[order]
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    # A threshold keeps all the faces of one confidence or none.
    last_of_its_kind = np.append(descending[1:] != descending[:-1], True)[: len(order)]
    good = (accuracy >= WANTED_ACCURACY) & last_of_its_kind
    good[: FEWEST - 1] = False
    if not good.any():
        return LEAST_CONFIDENCE
    # Rounded down, or the face that decided it would be below.
    lowest = np.floor(float(descending[np.flatnonzero(good)[-1]]) * 1e4) / 1e4
    return max(LEAST_CONFIDENCE, float(lowest))


def calibrate(
    labels: Labels, answers: Float[np.ndarray, "examples outputs"], spec: InputSpec
) -> Calibration:
    """Return what validation people teach about a network's answers.

    Args:
        labels: what people say.
        answers: probabilities as the network gives them.
        spec: names the outputs and their activations.
    """
    units, emotions = np.split(answers, [len(spec.action_units)], axis=1)
    known = labels.emotions[:, None] != UNKNOWN
    one_hot = np.where(known, labels.emotions[:, None] == np.arange(emotions.shape[1]), UNKNOWN)
    temperatures = Temperatures(
        action_units=fit_temperature(units, labels.action_units, spec.action_unit_activation),
        emotions=fit_temperature(emotions, one_hot.astype(int), spec.emotion_activation),
    )
    scaled = scale(answers, spec, temperatures)
    scaled_units, scaled_emotions = np.split(scaled, [len(spec.action_units)], axis=1)
    confidence, right = _top(labels, scaled_emotions)
    uncertain_below = choose_certainty(confidence, right) if spec.emotions else None
    facts: dict[str, Any] = {
        "expected_calibration_error": errors_before_and_after(labels, answers, spec, temperatures)
    }
    if len(confidence):
        kept = confidence >= uncertain_below
        facts["certain"] = {
            "wanted_accuracy": WANTED_ACCURACY,
            "accuracy": float(right[kept].mean()) if kept.any() else None,
            "share": float(kept.mean()),
        }
    return Calibration(
        temperatures=temperatures,
        thresholds=tuple(
            choose_threshold(truth, score)
            for truth, score in zip(labels.action_units.T, scaled_units.T, strict=True)
        ),
        uncertain_below=uncertain_below,
        facts=facts,
    )


def errors_before_and_after(
    labels: Labels,
    answers: Float[np.ndarray, "examples outputs"],
    spec: InputSpec,
    temperatures: Temperatures,
) -> dict[str, dict[str, float | None]]:
    """Return each group's expected calibration error without and with its temperature."""
    before = calibration_errors(labels, answers, spec)
    after = calibration_errors(labels, scale(answers, spec, temperatures), spec)
    return {group: {"before": before[group], "after": after[group]} for group in before}


def macro_f1(
    truth: Int[np.ndarray, "examples units"],
    scores: Float[np.ndarray, "examples units"],
    thresholds: Sequence[float],
) -> float | None:
    """Return the mean F1 of the units that are there on some faces and not on others.

    Args:
        truth: 1 present, 0 absent, -1 unknown (left out unit by unit).
        scores: probabilities.
        thresholds: of each unit, from which on it is present.
    """
    values = []
    for label, score, threshold in zip(truth.T, scores.T, thresholds, strict=True):
        known = label != UNKNOWN
        if len(np.unique(label[known])) == 2:
            found = (score[known] >= np.float32(threshold)).astype(int)
            values.append(f1_score(label[known].astype(int), found, zero_division=_ZERO))
    return float(np.mean(values)) if values else None
