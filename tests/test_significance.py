"""Differences between two networks: against scikit-learn, by hand, and against what has to be."""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_1samp
from sklearn.metrics import accuracy_score, f1_score, recall_score

from emojax import metrics, significance
from emojax.significance import (
    accuracy,
    average_recall,
    bootstrap_p,
    compare,
    draw_people,
    emotion_counts,
    estimate,
    holm,
    interval,
    mcnemar,
    mean_of_units,
    unit_accuracies,
    unit_counts,
    unit_f1,
)

if TYPE_CHECKING:
    from conftest import RunPython

PEOPLE, KINDS, UNITS = 12, 4, 3


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """Two networks on the same pictures; some people are hard for both, some labels unknown."""
    rng = np.random.default_rng(3)
    subjects = np.repeat(100 + 7 * np.arange(PEOPLE), rng.integers(5, 15, PEOPLE))
    count = len(subjects)
    truth = rng.integers(-1, KINDS, count)
    hard = np.repeat(rng.random(PEOPLE), np.unique(subjects, return_counts=True)[1])
    answer = [
        np.where(rng.random(count) < 1 - share * hard, truth, rng.integers(0, KINDS, count))
        for share in (0.6, 0.9)
    ]
    units = rng.integers(-1, 2, (count, UNITS))
    present = [
        rng.random((count, UNITS)) < np.where(units == 1, 0.8, share) for share in (0.2, 0.4)
    ]
    return {
        "subjects": subjects,
        "truth": truth,
        "answers": [np.maximum(part, 0) for part in answer],
        "units": units,
        "present": present,
    }


def drawn_by_hand(subjects: np.ndarray, replicates: int) -> list[np.ndarray]:
    """The examples of each replicate, as if people were copied one by one."""
    people = np.unique(subjects)
    draws = draw_people(len(people), replicates).astype(int)
    return [
        np.concatenate(
            [np.flatnonzero(subjects == who) for who, n in zip(people, row, strict=True)
             for _ in range(n)]
        )
        for row in draws
    ]  # fmt: skip


def test_the_difference_is_that_of_scikit_learn_on_people_copied_by_hand(
    answers: dict[str, Any],
) -> None:
    truth, subjects = answers["truth"], answers["subjects"]
    counts = [emotion_counts(truth, one, subjects, KINDS)[None] for one in answers["answers"]]
    known = truth >= 0

    def by_hand(score: Any, chosen: np.ndarray) -> float:
        rows = chosen[known[chosen]]
        one, other = (score(truth[rows], mine[rows]) for mine in answers["answers"])
        return one - other

    def recall(true: np.ndarray, mine: np.ndarray) -> float:
        return float(
            recall_score(
                true,
                mine,
                labels=np.unique(true),
                average="macro",
                zero_division=0.0,  # pyright: ignore
            )
        )

    replicates = drawn_by_hand(subjects, 60)
    for figure, score in ((accuracy, accuracy_score), (average_recall, recall)):
        found = compare(*counts, figure, replicates=60)
        spread = np.array([by_hand(score, chosen) for chosen in replicates])
        assert found.value == pytest.approx(by_hand(score, np.arange(len(truth))))
        # Of 12 people: Student's t with 11 degrees of freedom, 2.201, times sqrt(12 / 11).
        tail = norm.sf(2.200985 * math.sqrt(12 / 11))
        assert found.interval == pytest.approx(tuple(np.quantile(spread, [tail, 1 - tail])))
        rarer = min((spread <= 0).sum(), (spread >= 0).sum()) + 1
        out = norm.ppf(1 - min(0.5, rarer / 61))
        # Beyond all replicates their share says too little.
        out = max(out, abs(np.mean(spread)) / np.std(spread)) if rarer == 1 else out
        assert found.p == pytest.approx(2 * (1 - t.cdf(out / math.sqrt(12 / 11), 11)))
        assert (found.people, found.examples) == (PEOPLE, known.sum())


def test_units_are_those_of_scikit_learn(answers: dict[str, Any]) -> None:
    units, subjects, present = answers["units"], answers["subjects"], answers["present"][0]
    counts = unit_counts(units, present, subjects)
    columns = [units[:, unit] >= 0 for unit in range(UNITS)]
    f1 = [f1_score(units[k, u], present[k, u]) for u, k in enumerate(columns)]
    right = [accuracy_score(units[k, u], present[k, u]) for u, k in enumerate(columns)]
    np.testing.assert_allclose(unit_f1(counts.sum(axis=0)), f1)
    np.testing.assert_allclose(unit_accuracies(counts.sum(axis=0)), right)
    assert estimate(counts[None], mean_of_units(unit_f1)).value == pytest.approx(np.mean(f1))
    # One that never occurs has no F1, and the mean is over the others.
    counts[:, 1, 1] = 0
    assert np.isnan(unit_f1(counts.sum(axis=0)))[1]
    assert estimate(counts[None], mean_of_units(unit_f1)).value == pytest.approx(
        np.mean([f1[0], f1[2]])
    )


def test_an_estimate_is_what_a_report_of_one_run_says(answers: dict[str, Any]) -> None:
    truth, subjects, mine = answers["truth"], answers["subjects"], answers["answers"][1]
    counts = emotion_counts(truth, mine, subjects, KINDS)[None]
    report = metrics.emotion_metrics(truth, np.eye(KINDS)[mine], subjects, "abcd", replicates=500)
    for figure, name in ((accuracy, "accuracy"), (average_recall, "unweighted_average_recall")):
        found = estimate(counts, figure, replicates=500)
        assert found.value == pytest.approx(report[name]["value"])
        assert found.interval == pytest.approx(report[name]["interval"])
    units, present = answers["units"], answers["present"][1]
    found = estimate(
        unit_counts(units, present, subjects)[None], mean_of_units(unit_accuracies), replicates=500
    )
    right = metrics.action_unit_metrics(
        units, present.astype(float), subjects, "abc", replicates=500
    )
    assert found.interval == pytest.approx(right["macro_accuracy"]["interval"])


def test_seeds_are_averaged_and_people_are_drawn_once_for_all(answers: dict[str, Any]) -> None:
    truth, subjects = answers["truth"], answers["subjects"]
    one, other = (emotion_counts(truth, mine, subjects, KINDS) for mine in answers["answers"])
    both = estimate(np.stack([one, other]), accuracy)
    parts = [estimate(part[None], accuracy) for part in (one, other)]
    assert both.value == pytest.approx(np.mean([part.value for part in parts]))
    np.testing.assert_allclose(both.replicates, np.mean([p.replicates for p in parts], axis=0))
    # A network is no better than itself, whatever the draw.
    same = compare(np.stack([one, other]), np.stack([other, one]), accuracy)
    assert same.value == pytest.approx(0)
    assert same.interval == pytest.approx((0, 0))
    assert same.p > 0.99


def test_pairing_takes_out_what_is_hard_for_both(answers: dict[str, Any]) -> None:
    truth, subjects = answers["truth"], answers["subjects"]
    one, other = (emotion_counts(truth, mine, subjects, KINDS) for mine in answers["answers"])
    first, second = estimate(one[None], accuracy), estimate(other[None], accuracy)
    apart = np.std(first.replicates - np.random.default_rng(0).permutation(second.replicates))
    assert np.std(first.replicates - second.replicates) < 0.8 * apart
    found = compare(one[None], other[None], accuracy)
    swapped = compare(other[None], one[None], accuracy)
    assert found.interval is not None
    assert swapped.interval is not None
    assert (found.value, *found.interval) == pytest.approx(
        (-swapped.value, -swapped.interval[1], -swapped.interval[0])
    )
    assert found.p == swapped.p


def test_people_who_agree_with_themselves_are_less_sure_than_pictures() -> None:
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(20), 30)
    # Ten people are read, ten are not.
    truth = rng.integers(0, 2, 600)
    mine = np.where(subjects % 2 == 0, truth, 1 - truth)
    by_person = estimate(emotion_counts(truth, mine, subjects, 2)[None], accuracy)
    by_picture = estimate(emotion_counts(truth, mine, np.arange(600), 2)[None], accuracy)
    # sqrt(30) times, since a person's thirty pictures are one.
    ratio = by_person.replicates.std() / by_picture.replicates.std()
    assert ratio == pytest.approx(math.sqrt(30), rel=0.05)
    assert by_person.interval is not None
    assert by_picture.interval is not None
    widths = [high - low for low, high in (by_person.interval, by_picture.interval)]
    # Twenty people who are right or wrong have few values between them.
    assert 4 < widths[0] / widths[1] < 7


def test_who_has_no_label_is_not_among_the_people(answers: dict[str, Any]) -> None:
    truth = np.where(answers["subjects"] < 100 + 7 * 4, answers["truth"], -1)
    counts = [
        emotion_counts(truth, answer, answers["subjects"], KINDS)[None]
        for answer in answers["answers"]
    ]
    assert counts[0].shape[1] == PEOPLE
    labelled = [one[:, :4] for one in counts]
    for found, wanted in (
        (estimate(counts[0], accuracy), estimate(labelled[0], accuracy)),
        (compare(*counts, accuracy), compare(*labelled, accuracy)),
    ):
        assert found.people == 4
        assert (found.value, found.interval) == (wanted.value, wanted.interval)


def test_of_nobody_there_is_no_figure() -> None:
    found = estimate(np.zeros((1, 0, KINDS, KINDS)), accuracy)
    assert np.isnan(found.value)
    assert (found.interval, found.people, found.examples) == (None, 0, 0)


def test_one_person_has_no_spread() -> None:
    counts = np.array([[[[3.0, 1.0], [0.0, 2.0]]]])
    found = estimate(counts, accuracy)
    assert (found.value, found.interval, found.people) == (pytest.approx(5 / 6), None, 1)
    assert math.isnan(compare(counts, counts, accuracy).p)


def test_other_people_are_refused(answers: dict[str, Any]) -> None:
    truth, subjects, mine = answers["truth"], answers["subjects"], answers["answers"][0]
    counts = emotion_counts(truth, mine, subjects, KINDS)[None]
    with pytest.raises(ValueError, match="other people"):
        compare(counts, counts[:, :-1], accuracy)
    with pytest.raises(ValueError, match="same examples"):
        compare(counts, counts[:, ::-1], accuracy)


MANY = 10**6
"""People of whom percentiles need no help."""


def test_p_says_no_less_than_the_replicates_can() -> None:
    assert bootstrap_p(np.full(999, 0.1), MANY) == pytest.approx(2 / 1000, rel=1e-3)
    assert bootstrap_p(np.array([-1.0, 1.0, 2.0, np.nan]), MANY) == pytest.approx(1.0)
    spread = np.random.default_rng(0).normal(2.2, 1, 100_000)
    # Of a normal distribution: what a z test says.
    z_test = math.erfc(2.2 / math.sqrt(2))
    assert bootstrap_p(spread, MANY) == pytest.approx(z_test, rel=0.05)


@pytest.mark.parametrize("people", [8, 16, 60])
def test_beyond_all_replicates_p_goes_on_as_students_does(people: int) -> None:
    rng = np.random.default_rng(people)
    values = rng.normal(4, 1, people)
    spread = rng.normal(values.mean(), values.std() / math.sqrt(people), 4000)
    wanted = ttest_1samp(values, 0).pvalue
    assert wanted < 1e-4
    found = bootstrap_p(spread, people)
    assert math.log(found) == pytest.approx(math.log(wanted), rel=0.05)
    assert bootstrap_p(-spread, people) == found


@pytest.mark.parametrize("people", [5, 24, 60])
def test_of_few_people_a_mean_has_students_interval_and_p(people: int) -> None:
    rng = np.random.default_rng(people)
    values = rng.normal(0.3, 1, people)
    deviation = values.std(ddof=1) / math.sqrt(people)
    # What a bootstrap of a mean comes to: a normal distribution, and n below the variance.
    spread = rng.normal(values.mean(), values.std() / math.sqrt(people), 400_000)
    wanted = values.mean() + deviation * t.ppf([0.025, 0.975], people - 1)
    assert interval(spread, people) == pytest.approx(tuple(wanted), abs=0.02)
    assert bootstrap_p(spread, people) == pytest.approx(ttest_1samp(values, 0).pvalue, rel=0.05)


def test_the_interval_leaves_out_0_where_p_is_below_a_twentieth() -> None:
    rng = np.random.default_rng(0)
    for shift in np.linspace(1.5, 3, 16):
        spread = rng.normal(shift, 1, 4000)
        span = interval(spread, 24)
        assert span is not None
        # At the very end of the interval the one that is added decides.
        if abs(span[0]) > 0.02:
            assert (span[0] > 0) == (bootstrap_p(spread, 24) < 0.05)


@pytest.mark.parametrize(("one", "other"), [(9, 2), (3, 3), (0, 6), (15, 21)])
def test_mcnemar_counts_the_binomial(one: int, other: int) -> None:
    first = np.array([True] * (5 + one) + [False] * (other + 4))
    second = np.array([True] * 5 + [False] * one + [True] * other + [False] * 4)
    found = mcnemar(first, second)
    assert (found.first_only, found.second_only) == (one, other)
    total = one + other
    tail = sum(math.comb(total, k) for k in range(min(one, other) + 1)) / 2**total
    assert found.p == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_of_networks_that_agree() -> None:
    right = np.array([True, False])
    assert mcnemar(right, right).p == 1.0


def test_holm_by_hand() -> None:
    nan = float("nan")
    assert holm([0.01, 0.04, 0.03, nan]) == pytest.approx([0.03, 0.06, 0.06, nan], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize("block", [1, 100, 1 << 22])
def test_draws_in_parts_are_those_of_one_draw(
    block: int, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = emotion_counts(answers["truth"], answers["answers"][0], answers["subjects"], KINDS)
    counts = counts[counts.any(axis=(1, 2))]
    people = len(counts)
    shares = np.full(people, 1 / people)
    wanted = np.random.default_rng(block).multinomial(people, shares, size=55)
    monkeypatch.setattr(significance, "AT_A_TIME", block)
    np.testing.assert_array_equal(draw_people(people, 55, block), wanted)
    sums = (wanted.astype(np.float64) @ counts.reshape(people, -1)).reshape(-1, KINDS, KINDS)
    found = estimate(counts[None], average_recall, 55, block)
    np.testing.assert_array_equal(found.replicates, average_recall(sums))


def test_draws_of_many_people_take_a_byte_each_and_are_kept_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draws = draw_people(5000, 40)
    assert (draws.nbytes, draws.flags.writeable) == (5000 * 40, False)
    assert draw_people(5000, 40) is draws
    monkeypatch.setattr(significance, "MANY_DRAWS", 5000 * 40)
    many = [draw_people(people, 40) for people in (5000, 5001)]
    assert draw_people(5001, 40) is many[1]
    assert draw_people(5000, 40) is not many[0]
    # Nothing that is wide is held while they are made and summed.
    monkeypatch.setattr(significance, "AT_A_TIME", 1 << 15)
    counts = np.zeros((1, 20_000, 2, 2))
    counts[0, :, 0] = 1
    tracemalloc.start()
    try:
        estimate(counts, accuracy, 400)
        assert tracemalloc.get_traced_memory()[1] < 2 * 20_000 * 400
    finally:
        tracemalloc.stop()


def test_it_is_fast() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 20, (2, 1, 100, 7, 7)).astype(float)
    # The sums of rows are the labels, which both networks share.
    counts[1] = counts[0, ..., ::-1]
    started = time.process_time()
    for _ in range(5):
        compare(counts[0], counts[1], average_recall)
    # 0.1 s each where nothing else runs; a loop over replicates and pictures takes seconds.
    assert time.process_time() - started < 5


@pytest.mark.release
def test_intervals_hold_the_truth_as_often_as_they_say(run_python: RunPython) -> None:
    done = run_python("experiments/interval_coverage.py", "--json", timeout=1200)
    assert done.returncode == 0, done.stderr
    shares = json.loads(done.stdout)
    assert len(shares["60"]) == 6
    for figure, share in shares["60"].items():
        assert 0.93 <= share <= 0.97, figure
    # Of few people too little is known of their spread: reported, and no worse than this.
    assert min(shares["24"].values()) > 0.915


@pytest.mark.parametrize("flags", [("--people", "1"), ("--replicates", "1")])
def test_a_coverage_of_nothing_is_refused(flags: tuple[str, ...], run_python: RunPython) -> None:
    done = run_python("experiments/interval_coverage.py", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("interval_coverage.py: ")
    assert "wanted 2 or more" in done.stderr
