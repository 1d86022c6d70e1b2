from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn import metrics as sk

from emojax import metrics, significance
from emojax.labels import SEVEN, UNKNOWN
from emojax.metrics import (
    action_unit_metrics,
    by_group,
    emotion_figures,
    emotion_metrics,
    interval,
    person_weights,
    weighted_confusions,
    weighted_roc_areas,
)

UNITS = ("AU01", "AU12", "AU26")


class Answers(NamedTuple):
    emotion: np.ndarray
    emotion_scores: np.ndarray
    units: np.ndarray
    unit_scores: np.ndarray
    subjects: np.ndarray


@pytest.fixture(scope="module")
def answers() -> Answers:
    """Twelve people with 1 to 23 pictures each, a fifth of the labels unknown, coarse scores."""
    rng = np.random.default_rng(7)
    subjects = rng.permutation(np.repeat(np.arange(12) * 10 + 3, 2 * np.arange(12) + 1))
    count = len(subjects)
    emotion = rng.integers(0, 7, count)
    scores = rng.normal(size=(count, 7)) + 1.5 * np.eye(7)[emotion]
    units = (rng.uniform(size=(count, 3)) < [0.5, 0.25, 0.1]).astype(int)
    # Tenths: every score occurs many times, in both classes.
    unit_scores = np.round(np.clip(rng.normal(0.35 + 0.3 * units, 0.25), 0, 1), 1)
    # Whom nobody coded for a unit is still drawn.
    units[subjects == 113, 2] = UNKNOWN
    return Answers(
        np.where(rng.uniform(size=count) < 0.2, UNKNOWN, emotion),
        scores,
        np.where(rng.uniform(size=(count, 3)) < 0.2, UNKNOWN, units),
        unit_scores,
        subjects,
    )


def drawn_again(weights: np.ndarray, *arrays: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The replicates as they are usually made: an example drawn twice stands there twice."""
    for row in weights:
        yield [np.repeat(array, row.astype(int), axis=0) for array in arrays]


def percentiles(values: list[float], people: int) -> tuple[float, float]:
    """The ends of an interval, as far out as Student's t and the n - 1 of a variance ask."""
    out = t.ppf(0.975, people - 1) * math.sqrt(people / (people - 1))
    return tuple(np.percentile(values, [100 * norm.cdf(-out), 100 * norm.cdf(out)]))


# Weights.


def test_a_replicate_draws_as_many_people_as_there_are(answers: Answers) -> None:
    weights = person_weights(answers.subjects, 500)
    assert weights.shape == (500, len(answers.subjects))
    people, first = np.unique(answers.subjects, return_index=True)
    each = weights[:, first]
    assert (each.sum(axis=1) == len(people)).all()
    for person, column in zip(people, each.T, strict=True):
        theirs = weights[:, answers.subjects == person]
        assert (theirs == column[:, None]).all()
    # Drawn with replacement: mean 1, variance 1 - 1/12; standard errors 0.012 and 0.02.
    assert each.mean() == 1.0
    assert each.var() == pytest.approx(1 - 1 / 12, abs=0.06)
    assert each.mean(axis=0) == pytest.approx(np.ones(12), abs=0.2)


def test_the_seed_decides(answers: Answers) -> None:
    first = person_weights(answers.subjects, 20)
    np.testing.assert_array_equal(first, person_weights(answers.subjects, 20, seed=0))
    assert (first != person_weights(answers.subjects, 20, seed=1)).any()


MANY = 10**9
"""People of whom percentiles need no help."""


def test_interval_of_many_people_is_the_percentiles() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1001.0))
    assert interval(values, MANY) == pytest.approx((25.0, 975.0))


def test_interval_of_few_people_is_further_out() -> None:
    # Of 24, Student's t with 23 degrees of freedom is 2.0687; times sqrt(24 / 23) it is 2.1132,
    # beyond which lie 1.729% of a normal distribution.
    assert interval(np.arange(1001.0), 24) == pytest.approx((17.29, 982.71), abs=0.01)


def test_interval_leaves_out_undefined_replicates() -> None:
    values = np.concatenate([np.arange(101.0), np.full(100, np.nan)])
    assert interval(values, MANY) == pytest.approx((2.5, 97.5))


@pytest.mark.parametrize(
    "values", [np.full(10, np.nan), np.r_[1.0, np.full(9, np.nan)], np.array([0.5]), np.zeros(0)]
)
def test_no_interval_where_too_little_is_defined(values: np.ndarray) -> None:
    assert interval(values, MANY) is None


def test_one_person_has_no_interval() -> None:
    assert interval(np.arange(100.0), 1) is None


# Emotions.


def test_confusions_are_scikit_learns(answers: Answers) -> None:
    known = answers.emotion != UNKNOWN
    truth, predicted = answers.emotion[known], answers.emotion_scores[known].argmax(1)
    weights = np.random.default_rng(0).uniform(0, 3, (5, known.sum()))
    found = weighted_confusions(truth, predicted, weights, 8)
    for matrix, row in zip(found, weights, strict=True):
        expected = sk.confusion_matrix(truth, predicted, labels=range(8), sample_weight=row)
        np.testing.assert_allclose(matrix, expected)


def test_emotion_figures_are_scikit_learns(answers: Answers) -> None:
    known = answers.emotion != UNKNOWN
    truth, predicted = answers.emotion[known], answers.emotion_scores[known].argmax(1)
    weights = person_weights(answers.subjects[known], 50)
    found = emotion_figures(weighted_confusions(truth, predicted, weights, 7))
    for replicate, row in enumerate(weights):
        # scikit-learn counts a class of no weight; nobody drew it.
        t, p, w = truth[row > 0], predicted[row > 0], row[row > 0]
        assert set(p) <= set(t)
        expected = {
            "accuracy": sk.accuracy_score(t, p, sample_weight=w),
            "unweighted_average_recall": sk.balanced_accuracy_score(t, p, sample_weight=w),
            "macro_f1": sk.f1_score(t, p, average="macro", sample_weight=w),
        }
        for name, value in expected.items():
            assert found[name][replicate] == pytest.approx(value, abs=1e-12)


def test_emotion_metrics_are_scikit_learns(answers: Answers) -> None:
    known = answers.emotion != UNKNOWN
    truth, predicted = answers.emotion[known], answers.emotion_scores[known].argmax(1)
    found = emotion_metrics(
        answers.emotion, answers.emotion_scores, answers.subjects, SEVEN, replicates=60
    )
    assert 0.3 < known.mean() < 0.9
    assert found["examples"] == known.sum()
    assert found["people"] == len(set(answers.subjects[known]))
    assert found["names"] == list(SEVEN)
    assert found["confusion"] == sk.confusion_matrix(truth, predicted).tolist()
    figures: dict[str, Callable] = {
        "accuracy": sk.accuracy_score,
        "unweighted_average_recall": sk.balanced_accuracy_score,
        "macro_f1": lambda t, p: sk.f1_score(t, p, average="macro"),
    }
    weights = person_weights(answers.subjects[known], 60)
    people = len(set(answers.subjects[known]))
    for name, figure in figures.items():
        assert found[name]["value"] == pytest.approx(figure(truth, predicted), abs=1e-12)
        replicates = [figure(t, p) for t, p in drawn_again(weights, truth, predicted)]
        spread = percentiles(replicates, people)
        assert found[name]["interval"] == pytest.approx(spread, abs=1e-12)


def test_chance_is_the_best_constant_answer() -> None:
    truth = np.array([0, 0, 0, 2, 2, 5, UNKNOWN, UNKNOWN])
    found = emotion_metrics(truth, np.eye(7)[truth.clip(0)], np.arange(8), SEVEN, replicates=2)
    assert found["chance"] == pytest.approx(
        {"accuracy": 3 / 6, "unweighted_average_recall": 1 / 3, "macro_f1": (2 * 3 / (3 + 6)) / 3}
    )
    for name, chance in found["chance"].items():
        constant = [
            emotion_metrics(truth, np.tile(row, (8, 1)), np.arange(8), SEVEN, replicates=2)
            for row in np.eye(7)
        ]
        assert max(answer[name]["value"] for answer in constant) == pytest.approx(chance)


def test_an_emotion_that_nobody_shows(answers: Answers) -> None:
    # Fear (4) is predicted now and then, and never true: no recall, an F1 of 0.
    truth = np.where(answers.emotion == 4, UNKNOWN, answers.emotion)
    known = truth != UNKNOWN
    predicted = answers.emotion_scores.argmax(1)
    assert (predicted[known] == 4).any()
    found = emotion_metrics(truth, answers.emotion_scores, answers.subjects, SEVEN, replicates=50)
    recall = [(predicted[truth == k] == k).mean() for k in (0, 1, 2, 3, 5, 6)]
    assert found["unweighted_average_recall"]["value"] == pytest.approx(np.mean(recall))
    f1 = [
        2
        * ((truth == k) & (predicted == k)).sum()
        / ((truth == k).sum() + (known & (predicted == k)).sum())
        for k in range(7)
    ]
    assert f1[4] == 0.0
    assert found["macro_f1"]["value"] == pytest.approx(np.mean(f1))
    assert found["chance"]["unweighted_average_recall"] == pytest.approx(1 / 6)
    weights = person_weights(answers.subjects[known], 50)
    replicates = [
        sk.f1_score(t, p, average="macro")
        for t, p in drawn_again(weights, truth[known], predicted[known])
    ]
    spread = percentiles(replicates, len(set(answers.subjects[known])))
    assert found["macro_f1"]["interval"] == pytest.approx(spread, abs=1e-12)
    # An emotion that is neither true nor predicted is in no mean.
    never = np.where(np.arange(7) == 4, -np.inf, answers.emotion_scores)
    without = emotion_metrics(truth, never, answers.subjects, SEVEN, replicates=2)
    expected = sk.f1_score(truth[known], never[known].argmax(1), average="macro")
    assert without["macro_f1"]["value"] == pytest.approx(expected)
    assert np.array(without["confusion"]).shape == (7, 7)
    assert not np.array(without["confusion"])[4].any()


def test_no_known_emotion_at_all() -> None:
    found = emotion_metrics(
        np.full(4, UNKNOWN), np.zeros((4, 7)), np.arange(4), SEVEN, replicates=10
    )
    assert found == {"examples": 0, "people": 0, "names": list(SEVEN)}


def test_pictures_of_one_person_are_no_independent_draws() -> None:
    # 20 people with 30 pictures each; half of the people are always read right.
    subjects = np.repeat(np.arange(20), 30)
    truth = np.tile(np.arange(3), 200)
    right = subjects % 2 == 0
    scores = np.eye(7)[np.where(right, truth, (truth + 1) % 3)]

    def width(people: np.ndarray) -> float:
        figure = emotion_metrics(truth, scores, people, SEVEN)["accuracy"]
        assert figure["value"] == 0.5
        assert figure["interval"][0] < 0.5 < figure["interval"][1]
        return figure["interval"][1] - figure["interval"][0]

    # A share of 0.5 in n draws: 2 t sqrt(0.25 / (n - 1)), which 1000 replicates know to 5%.
    assert width(subjects) == pytest.approx(2 * 2.093 * np.sqrt(0.25 / 19), rel=0.15)
    assert width(np.arange(600)) == pytest.approx(2 * 1.964 * np.sqrt(0.25 / 599), rel=0.15)


# Action units.


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_roc_areas_are_scikit_learns(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    truth = rng.integers(0, 2, 200)
    scores = np.round(rng.normal(0.4 + 0.2 * truth, 0.3), decimals)
    weights = np.vstack(
        [np.ones(200), rng.uniform(0, 5, (10, 200)), rng.integers(0, 3, (10, 200)).astype(float)]
    )
    assert (len(np.unique(scores)) == 200) == (decimals == 8)
    found = weighted_roc_areas(truth, scores, weights)
    expected = [sk.roc_auc_score(truth, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_roc_area_needs_both_classes() -> None:
    truth = np.array([0, 0, 1, 1])
    scores = np.array([0.1, 0.6, 0.4, 0.9])
    weights = np.array([[1.0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 2]])
    found = weighted_roc_areas(truth, scores, weights)
    np.testing.assert_array_equal(found, [0.75, np.nan, np.nan, np.nan, 1.0])


def defined(figure: Callable, truth: np.ndarray, answer: np.ndarray) -> float:
    """The figure of a replicate, NaN where the draw left it without a meaning."""
    if truth.size == 0:
        return np.nan
    if figure in (sk.roc_auc_score, sk.f1_score) and len(set(truth)) < 2:
        return np.nan
    return float(figure(truth, answer))


def test_action_unit_metrics_are_scikit_learns(answers: Answers) -> None:
    found = action_unit_metrics(
        answers.units, answers.unit_scores, answers.subjects, UNITS, replicates=60
    )
    weights = person_weights(answers.subjects, 60)
    spreads: dict[str, list[list[float]]] = {"accuracy": [], "f1": [], "roc_area": []}
    assert found["people"] == 12
    for column, name in enumerate(UNITS):
        known = answers.units[:, column] != UNKNOWN
        # Whom nobody coded for the unit says nothing about it.
        people = len(set(answers.subjects[known]))
        assert people == (11 if name == "AU26" else 12)
        truth, score = answers.units[known, column], answers.unit_scores[known, column]
        row = found["units"][name]
        assert row["examples"] == known.sum()
        assert row["support"] == (truth == 1).sum()
        figures: dict[str, tuple[Callable, np.ndarray]] = {
            "accuracy": (sk.accuracy_score, (score >= 0.5).astype(int)),
            "f1": (sk.f1_score, (score >= 0.5).astype(int)),
            "roc_area": (sk.roc_auc_score, score),
        }
        for figure, (function, answer) in figures.items():
            assert row[figure]["value"] == pytest.approx(function(truth, answer), abs=1e-12)
            replicates = [
                defined(function, t, a) for t, a in drawn_again(weights[:, known], truth, answer)
            ]
            spreads[figure].append(replicates)
            spread = percentiles([value for value in replicates if np.isfinite(value)], people)
            assert row[figure]["interval"] == pytest.approx(spread, abs=1e-12)
    for figure, replicates in spreads.items():
        values = [found["units"][name][figure]["value"] for name in UNITS]
        assert found[f"macro_{figure}"]["value"] == pytest.approx(np.mean(values))
        spread = percentiles(list(np.nanmean(replicates, axis=0)), 12)
        assert found[f"macro_{figure}"]["interval"] == pytest.approx(spread, abs=1e-12)


def test_accuracy_is_the_thesis_s_with_delta_one_half(answers: Answers) -> None:
    found = action_unit_metrics(
        answers.units, answers.unit_scores, answers.subjects, UNITS, replicates=2
    )
    for column, name in enumerate(UNITS):
        known = answers.units[:, column] != UNKNOWN
        label, score = answers.units[known, column], answers.unit_scores[known, column]
        # At exactly 0.5 the thesis's inequality calls both answers wrong; ours is "present".
        close = (np.abs(label - score) < 0.5) | ((score == 0.5) & (label == 1))
        assert found["units"][name]["accuracy"]["value"] == pytest.approx(close.mean())


def test_the_threshold_counts_as_present() -> None:
    truth = np.array([[1], [1], [0], [0]])
    scores = np.array([[0.3], [0.29], [0.3], [0.29]])
    found = action_unit_metrics(truth, scores, np.arange(4), ["AU01"], threshold=0.3, replicates=2)
    assert found["units"]["AU01"]["accuracy"]["value"] == 0.5
    assert found["units"]["AU01"]["f1"]["value"] == 0.5


def test_unit_chance_is_the_best_constant_answer() -> None:
    truth = np.array([[1, 1]] * 3 + [[0, 1]] * 5 + [[UNKNOWN, 0]] * 2)
    scores = np.zeros(truth.shape)

    def metrics(scores: np.ndarray) -> dict[str, Any]:
        return action_unit_metrics(truth, scores, np.arange(10), ["AU01", "AU12"], replicates=2)

    units = metrics(scores)["units"]
    assert units["AU01"]["chance"]["accuracy"] == 5 / 8
    assert units["AU12"]["chance"]["accuracy"] == 8 / 10
    present = metrics(np.ones(truth.shape))
    for name in units:
        expected = present["units"][name]["f1"]["value"]
        assert units[name]["chance"]["f1"] == pytest.approx(expected)
        assert units[name]["chance"]["roc_area"] == present["units"][name]["roc_area"]["value"]
    assert present["macro_f1"]["chance"] == pytest.approx(present["macro_f1"]["value"])


@pytest.mark.parametrize("label", [0, 1])
def test_a_unit_that_is_always_the_same_has_no_f1_and_no_roc(label: int, answers: Answers) -> None:
    truth = answers.units.copy()
    truth[:, 1] = np.where(truth[:, 1] == UNKNOWN, UNKNOWN, label)
    whole = action_unit_metrics(truth, answers.unit_scores, answers.subjects, UNITS, replicates=20)
    row = whole["units"]["AU12"]
    assert row.get("f1") is None
    assert row.get("roc_area") is None
    assert row["support"] == label * row["examples"] > -1
    others = action_unit_metrics(
        truth[:, [0, 2]],
        answers.unit_scores[:, [0, 2]],
        answers.subjects,
        ["AU01", "AU26"],
        replicates=20,
    )
    for figure in ("macro_f1", "macro_roc_area"):
        assert whole[figure] == others[figure]
    # How often it is rightly called absent is still a figure.
    assert 0 < row["accuracy"]["value"] < 1


def test_a_unit_that_nobody_coded(answers: Answers) -> None:
    truth = answers.units.copy()
    truth[:, 2] = UNKNOWN
    found = action_unit_metrics(truth, answers.unit_scores, answers.subjects, UNITS, replicates=20)
    assert found["units"]["AU26"] == {"examples": 0, "support": 0}
    two = [found["units"][name]["accuracy"]["value"] for name in UNITS[:2]]
    assert found["macro_accuracy"]["value"] == pytest.approx(np.mean(two))


def test_nothing_coded_at_all(answers: Answers) -> None:
    truth = np.full_like(answers.units, UNKNOWN)
    found = action_unit_metrics(truth, answers.unit_scores, answers.subjects, UNITS, replicates=5)
    assert set(found) == {"people", "units"}


def test_a_unit_that_few_people_were_coded_for() -> None:
    # Most replicates draw none of the two coders' subjects, some one, some both.
    truth = np.array([[1, 0], [0, 1], [0, 1], [1, 0], *[[UNKNOWN, 1]] * 3, *[[UNKNOWN, 0]] * 3])
    scores = np.array([[0.9, 0.2], [0.2, 0.8], [0.6, 0.7], [0.8, 0.4], *[[0.5, 0.6]] * 6])
    subjects = np.array([0, 0, 1, 1, 2, 3, 4, 2, 3, 4])
    found = action_unit_metrics(truth, scores, subjects, ["AU01", "AU12"], replicates=200)
    row = found["units"]["AU01"]["accuracy"]
    assert row["value"] == 0.75
    # Only the first, both, or only the second: 1, 0.75 or 0.5.
    assert row["interval"] == (0.5, 1.0)
    assert found["macro_accuracy"]["interval"] is not None


def test_a_unit_that_one_person_was_coded_for_has_no_interval(answers: Answers) -> None:
    truth = answers.units.copy()
    truth[answers.subjects != 113, 0] = UNKNOWN
    found = action_unit_metrics(truth, answers.unit_scores, answers.subjects, UNITS, replicates=50)
    assert found["units"]["AU01"]["accuracy"]["interval"] is None
    assert found["units"]["AU12"]["accuracy"]["interval"] is not None


def test_a_rare_unit_has_a_spread_where_it_was_drawn() -> None:
    # One person of five shows it: a third of the replicates hold no positive.
    truth = np.repeat([[1], [0], [0], [0], [0]], 4, axis=0)
    scores = np.random.default_rng(0).uniform(0, 1, (20, 1))
    found = action_unit_metrics(truth, scores, np.repeat(np.arange(5), 4), ["AU09"], replicates=300)
    low, high = found["units"]["AU09"]["roc_area"]["interval"]
    assert 0 <= low < found["units"]["AU09"]["roc_area"]["value"] < high <= 1


def test_a_draw_without_a_rare_unit_has_no_f1() -> None:
    # One of eight shows AU09, and another is taken for it; one alone does not show AU25.
    truth = np.repeat([[1, 0], *[[0, 1]] * 7], 4, axis=0)
    scores = np.repeat([[0.9, 0.9], [0.8, 0.2], *[[0.1, 0.6], [0.1, 0.2]] * 3], 4, axis=0)
    subjects = np.repeat(np.arange(8), 4)
    found = action_unit_metrics(truth, scores, subjects, ["AU09", "AU25"], replicates=500)
    low, high = found["units"]["AU09"]["f1"]["interval"]
    # Whoever shows it is always found: 0 would be a draw that they are not in.
    assert 0 < low < found["units"]["AU09"]["f1"]["value"] < high
    # The same people, drawn as the tables draw them.
    counts = significance.unit_counts(truth, scores >= 0.5, subjects)[None]
    for place, name in enumerate(("AU09", "AU25")):
        wanted = significance.estimate(
            counts[:, :, [place]], lambda sums: significance.unit_f1(sums)[..., 0], replicates=500
        )
        assert found["units"][name]["f1"]["interval"] == pytest.approx(wanted.interval, abs=1e-12)
    wanted = significance.estimate(
        counts, significance.mean_of_units(significance.unit_f1), replicates=500
    )
    assert found["macro_f1"]["interval"] == pytest.approx(wanted.interval, abs=1e-12)


def test_a_unit_that_no_draw_defines_has_a_figure_and_no_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The one who shows it is in no draw.
    monkeypatch.setattr(metrics, "person_weights", lambda *_: np.tile([0.0, 2.0], (20, 1)))
    truth = np.array([[1], [0]])
    found = action_unit_metrics(truth, truth.astype(float), np.arange(2), ["AU09"])
    assert found["units"]["AU09"]["f1"] == {"value": 1.0, "interval": None}
    assert (found["macro_f1"]["value"], found["macro_f1"]["interval"]) == (1.0, None)
    assert found["macro_accuracy"]["interval"] == (1.0, 1.0)


def test_one_person_has_figures_and_no_interval(answers: Answers) -> None:
    alone = np.zeros_like(answers.subjects)
    emotion = emotion_metrics(answers.emotion, answers.emotion_scores, alone, SEVEN, 20)
    units = action_unit_metrics(answers.units, answers.unit_scores, alone, UNITS, replicates=20)
    assert emotion["people"] == units["people"] == 1
    many = emotion_metrics(answers.emotion, answers.emotion_scores, answers.subjects, SEVEN, 20)
    assert emotion["accuracy"]["value"] == many["accuracy"]["value"]
    assert emotion["accuracy"]["interval"] is None
    assert units["macro_f1"]["interval"] is None
    assert units["units"]["AU01"]["roc_area"]["interval"] is None


def test_figures_are_plain_numbers(answers: Answers) -> None:
    # They go into JSON, which knows no NumPy.
    found = {
        "emotion": emotion_metrics(
            answers.emotion, answers.emotion_scores, answers.subjects, SEVEN, 5
        ),
        "units": action_unit_metrics(
            answers.units, answers.unit_scores, answers.subjects, UNITS, replicates=5
        ),
    }

    def leaves(value: Any) -> Iterator[Any]:
        if isinstance(value, dict | list | tuple):
            for item in value.values() if isinstance(value, dict) else value:
                yield from leaves(item)
        else:
            yield value

    assert {type(leaf) for leaf in leaves(found)} <= {int, float, str, type(None)}


def test_by_group_is_each_group_by_itself() -> None:
    groups = np.array([0, 2, 0, 2, 2])
    found = by_group(
        groups, ["S1", "S2", "S3"], lambda mask: {"places": np.flatnonzero(mask).tolist()}
    )
    assert found == {"S1": {"places": [0, 2]}, "S3": {"places": [1, 3, 4]}}
