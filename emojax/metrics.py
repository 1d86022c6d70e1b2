"""Figures of merit, and how sure they are. scikit-learn does the arithmetic.

Intervals are 95% intervals of a bootstrap over people: pictures of one person
are no independent draws. A replicate is a weight per person (how often they
were drawn), which every figure takes as a sample weight. `significance` says
why percentiles are taken further out where people are few.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, t
from sklearn import metrics as sk

from emojax.labels import UNKNOWN

REPLICATES = 1000
CONFIDENCE = 0.95
"""Of an interval."""
Interval = tuple[float, float]

# scikit-learn's annotation names only the default, "warn".
_ZERO: Any = 0.0


def person_weights(
    subjects: Int[np.ndarray, " examples"], replicates: int = REPLICATES, seed: int = 0
) -> Float[np.ndarray, "replicates examples"]:
    """Return how often each example counts in each bootstrap replicate over people.

    NaN where there are fewer than two people: nothing is known of their spread.
    """
    people, inverse = np.unique(subjects, return_inverse=True)
    if len(people) < 2:
        # One person has no spread: no figure of a replicate is defined.
        return np.full((replicates, len(subjects)), np.nan)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=replicates)
    return draws[:, inverse].astype(np.float64)


def stretch(people: int) -> float:
    """Return by how much a bootstrap's standard deviation falls short of an unbiased one's."""
    return math.sqrt(people / (people - 1))


# A report has a hundred intervals over the same people.
@functools.lru_cache(maxsize=256)
def _tail(people: int) -> float:
    """Return the share of replicates that lies beyond each end of an interval."""
    return float(norm.sf(stretch(people) * t.isf((1 - CONFIDENCE) / 2, people - 1)))


def interval(spread: Float[np.ndarray, " replicates"], people: int) -> Interval | None:
    """Return the 95% interval of a figure, None where most replicates do not define it.

    Args:
        spread: the figure in each draw of people; one in which it is not defined has NaN.
        people: how many were drawn from, of whom something is labelled.
    """
    defined = spread[np.isfinite(spread)]
    if people < 2 or defined.size < max(2, spread.size // 2):
        return None
    tail = _tail(people)
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def weighted_confusions(
    truth: Int[np.ndarray, " examples"],
    predicted: Int[np.ndarray, " examples"],
    weights: Float[np.ndarray, "replicates examples"],
    num_classes: int,
) -> Float[np.ndarray, "replicates classes classes"]:
    """Return one confusion matrix per replicate, rows the truth."""
    cells = truth * num_classes + predicted
    one_hot = np.eye(num_classes * num_classes)[cells]
    return (weights @ one_hot).reshape(len(weights), num_classes, num_classes)


def _mean_of_defined(values: np.ndarray, axis: int) -> np.ndarray:
    # An emotion or unit may be missing from a replicate: the mean is over the others.
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined, values, 0.0).sum(axis=axis) / defined.sum(axis=axis)


def emotion_figures(
    confusion: Float[np.ndarray, "*replicates classes classes"],
) -> dict[str, np.ndarray]:
    """Return accuracy, unweighted average recall and macro F1 of confusion matrices.

    Recall is averaged over the emotions that occur in the truth, F1 over those
    that occur in the truth or the prediction: what scikit-learn's
    `balanced_accuracy_score` and `f1_score(average="macro")` do.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth, predicted = confusion.sum(-1), confusion.sum(-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(truth > 0, hits / truth, np.nan)
        f1 = np.where(truth + predicted > 0, 2 * hits / (truth + predicted), np.nan)
        accuracy = hits.sum(-1) / truth.sum(-1)
    return {
        "accuracy": accuracy,
        "unweighted_average_recall": _mean_of_defined(recall, -1),
        "macro_f1": _mean_of_defined(f1, -1),
    }


def emotion_metrics(
    truth: Int[np.ndarray, " examples"],
    scores: Float[np.ndarray, "examples classes"],
    subjects: Int[np.ndarray, " examples"],
    names: Sequence[str],
    replicates: int = REPLICATES,
) -> dict[str, Any]:
    """Return accuracy, unweighted average recall, macro F1 with intervals, and the confusion.

    Args:
        truth: index of the emotion, -1 unknown (left out).
        scores: one score per emotion; the largest is the prediction.
        subjects: person of each example.
        names: the emotions, in output order.
        replicates: of the bootstrap over people.
    """
    known = truth != UNKNOWN
    truth, subjects = truth[known], subjects[known]
    people = len(np.unique(subjects))
    result: dict[str, Any] = {
        "examples": int(known.sum()),
        "people": people,
        "names": list(names),
    }
    if not known.any():
        return result
    predicted = scores[known].argmax(axis=1)
    labels = np.arange(len(names))
    seen = np.union1d(truth, predicted)
    points = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "unweighted_average_recall": sk.recall_score(
            truth, predicted, labels=np.unique(truth), average="macro", zero_division=_ZERO
        ),
        "macro_f1": sk.f1_score(
            truth, predicted, labels=seen, average="macro", zero_division=_ZERO
        ),
    }
    weights = person_weights(subjects, replicates)
    spread = emotion_figures(weighted_confusions(truth, predicted, weights, len(names)))
    for name, value in points.items():
        result[name] = {"value": float(value), "interval": interval(spread[name], people)}
    result["confusion"] = sk.confusion_matrix(truth, predicted, labels=labels).tolist()
    classes, most = len(np.unique(truth)), float(np.bincount(truth).max() / truth.size)
    # The best constant answer: always the most frequent emotion.
    result["chance"] = {
        "accuracy": most,
        "unweighted_average_recall": 1.0 / classes,
        "macro_f1": 2 * most / (1 + most) / classes,
    }
    return result


def weighted_roc_areas(
    truth: Int[np.ndarray, " examples"],
    scores: Float[np.ndarray, " examples"],
    weights: Float[np.ndarray, "replicates examples"],
) -> Float[np.ndarray, " replicates"]:
    """Return the area under the ROC curve in each replicate; NaN where one class is missing.

    The weighted Mann-Whitney statistic, ties counted half: one sort serves all
    replicates, where `roc_auc_score(sample_weight=...)` would sort each time.
    """
    order = np.argsort(scores, kind="stable")
    sorted_truth = truth[order].astype(bool)
    sorted_weights = weights[:, order]
    _, starts = np.unique(scores[order], return_index=True)
    positive = np.add.reduceat(sorted_weights * sorted_truth, starts, axis=1)
    negative = np.add.reduceat(sorted_weights * ~sorted_truth, starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, wins / pairs, np.nan)


def _unit_replicates(
    truth: np.ndarray, scores: np.ndarray, weights: np.ndarray, threshold: float
) -> dict[str, np.ndarray]:
    confusion = weighted_confusions(truth, (scores >= threshold).astype(int), weights, 2)
    hits = confusion[:, 1, 1]
    errors = confusion[:, 0, 1] + confusion[:, 1, 0]
    # As `significance.unit_f1`: where nobody who is drawn shows the unit, or everybody, is no F1.
    mixed = (confusion.sum(axis=2) > 0).all(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(mixed, 2 * hits / (2 * hits + errors), np.nan)
        accuracy = 1.0 - errors / confusion.sum(axis=(1, 2))
    return {"accuracy": accuracy, "f1": f1, "roc_area": weighted_roc_areas(truth, scores, weights)}


def action_unit_metrics(
    truth: Int[np.ndarray, "examples units"],
    scores: Float[np.ndarray, "examples units"],
    subjects: Int[np.ndarray, " examples"],
    names: Sequence[str],
    threshold: float = 0.5,
    replicates: int = REPLICATES,
) -> dict[str, Any]:
    """Return accuracy, F1, ROC area and support per action unit, their means, and intervals.

    Accuracy is the thesis's |label - prediction| < delta with delta 0.5, which
    for probabilities and a threshold of 0.5 is the usual share of right answers.
    F1 and ROC area are undefined (left out) where a unit never occurs or always does,
    and such a unit is left out of the means; in a replicate likewise.

    Args:
        truth: 1 present, 0 absent, -1 unknown (left out unit by unit).
        scores: probabilities.
        subjects: person of each example.
        names: the units, in output order.
        threshold: a unit is predicted from this probability on.
        replicates: of the bootstrap over people.
    """
    weights = person_weights(subjects, replicates)
    units: dict[str, Any] = {}
    spreads: dict[str, list[np.ndarray]] = {"accuracy": [], "f1": [], "roc_area": []}
    for column, name in enumerate(names):
        known = truth[:, column] != UNKNOWN
        label, score = truth[known, column], scores[known, column]
        row: dict[str, Any] = {"examples": int(known.sum()), "support": int(label.sum())}
        units[name] = row
        if not known.any():
            continue
        people = len(np.unique(subjects[known]))
        predicted = (score >= threshold).astype(int)
        spread = _unit_replicates(label, score, weights[:, known], threshold)
        points: dict[str, float] = {"accuracy": float(sk.accuracy_score(label, predicted))}
        if 0 < row["support"] < row["examples"]:
            points["f1"] = float(sk.f1_score(label, predicted, zero_division=_ZERO))
            points["roc_area"] = float(sk.roc_auc_score(label, score))
        for figure, value in points.items():
            row[figure] = {"value": value, "interval": interval(spread[figure], people)}
            spreads[figure].append(spread[figure])
        share = row["support"] / row["examples"]
        # The best that a constant answer gets: all present for F1, the majority for accuracy.
        row["chance"] = {
            "accuracy": max(share, 1 - share),
            "f1": 2 * share / (1 + share),
            "roc_area": 0.5,
        }
    result: dict[str, Any] = {"people": len(np.unique(subjects)), "units": units}
    labelled = len(np.unique(subjects[(truth != UNKNOWN).any(axis=1)]))
    for figure, replicated in spreads.items():
        if replicated:
            rows = [row for row in units.values() if figure in row]
            result[f"macro_{figure}"] = {
                "value": float(np.mean([row[figure]["value"] for row in rows])),
                "interval": interval(_mean_of_defined(np.stack(replicated), 0), labelled),
                "chance": float(np.mean([row["chance"][figure] for row in rows])),
            }
    return result


def by_group(
    groups: Int[np.ndarray, " examples"],
    names: Sequence[str],
    compute: Callable[[np.ndarray], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Return `compute(mask)` for every group that has examples, by name."""
    return {
        name: compute(groups == index)
        for index, name in enumerate(names)
        if (groups == index).any()
    }
