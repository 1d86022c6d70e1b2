"""Figures over people, how sure they are, and whether two networks differ on the same people.

A person is one row of counts, and every figure is computed from the sum of such rows. A bootstrap
replicate draws people with replacement, so it is a sum in which a person counts as often as they
were drawn: one matrix product gives all replicates. Two networks are compared on the same draw of
people, so that what is hard about a person for both of them cancels.

Where people are not known, each picture is one of its own. Then McNemar's exact test is there too:
of the pictures that one network alone gets right, are as many the first's as the second's?

Plain percentiles of few people are too narrow, as a standard deviation with n below it is, and as
1.96 is where Student's t belongs: of 24 simulated people they held the truth in 91 to 93 of 100
sets. Both are put right by taking percentiles further out; `experiments/interval_coverage.py`
counts.

Source: Hesterberg (2015), What teachers should know about the bootstrap, The American Statistician
69 (the expanded percentile interval); Davison and Hinkley (1997), Bootstrap methods and their
application, section 4.4 (the p of a bootstrap); McNemar (1947); Holm (1979).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from scipy.stats import binomtest, norm, t

from emojax.labels import UNKNOWN
from emojax.metrics import Interval, emotion_figures, interval, stretch

REPLICATES = 4000
"""Of a bootstrap: the ends of an interval then lie within 0.2 points of their probability."""

Figure = Callable[[np.ndarray], np.ndarray]
"""Sums of counts, `... classes classes` or `... units 2 2`, to a figure, `...`."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure over people."""

    value: float
    """NaN where it is not defined."""
    interval: Interval | None
    """95%, by bootstrap over people; None where it is not defined."""
    people: int
    """Who were drawn from: all of whom some example is labelled."""
    examples: int
    """Labelled pictures or clips of theirs."""
    replicates: Float[np.ndarray, " replicates"] = dataclasses.field(repr=False)
    """The figure in each draw of people."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """One network's figure less another's, on the same people."""

    value: float
    """First less second."""
    interval: Interval | None
    """95%, by paired bootstrap over people; None where it is not defined."""
    p: float
    """Of no difference, two-sided: below 0.05 where the interval leaves out 0."""
    people: int
    """Who were drawn from."""
    examples: int
    """Labelled pictures or clips of theirs."""


@dataclasses.dataclass(frozen=True)
class McNemar:
    """Pictures that two networks disagree on being right about."""

    first_only: int
    """Right by the first network alone."""
    second_only: int
    """Right by the second network alone."""
    p: float
    """Exact and two-sided: how probable a split as uneven as this one is among equals."""


# Counts of each person.


def emotion_counts(
    truth: Int[np.ndarray, " examples"],
    predicted: Int[np.ndarray, " examples"],
    subjects: Shaped[np.ndarray, " examples"],
    num_classes: int,
) -> Float[np.ndarray, "people classes classes"]:
    """Return a confusion matrix of each person, rows the truth; unknown emotions are left out.

    Args:
        truth: index of the emotion, -1 unknown.
        predicted: index of the emotion that was answered.
        subjects: person of each example, numbers or names.
        num_classes: size of the emotion set.
    """
    people, person = np.unique(subjects, return_inverse=True)
    counts = np.zeros((len(people), num_classes, num_classes))
    known = truth != UNKNOWN
    np.add.at(counts, (person[known], truth[known], predicted[known]), 1.0)
    return counts


def unit_counts(
    truth: Int[np.ndarray, "examples units"],
    present: Bool[np.ndarray, "examples units"],
    subjects: Shaped[np.ndarray, " examples"],
) -> Float[np.ndarray, "people units 2 2"]:
    """Return each person's confusion matrix of each action unit, absent first, rows the truth.

    Args:
        truth: 1 present, 0 absent, -1 unknown (left out).
        present: what was answered.
        subjects: person of each example, numbers or names.
    """
    people, person = np.unique(subjects, return_inverse=True)
    counts = np.zeros((len(people), truth.shape[1], 2, 2))
    example, unit = np.nonzero(truth != UNKNOWN)
    cells = (person[example], unit, truth[example, unit], present[example, unit].astype(int))
    np.add.at(counts, cells, 1.0)
    return counts


# Figures of summed counts.


def accuracy(counts: Float[np.ndarray, "*sums classes classes"]) -> np.ndarray:
    """Return the share of right answers."""
    return emotion_figures(counts)["accuracy"]


def average_recall(counts: Float[np.ndarray, "*sums classes classes"]) -> np.ndarray:
    """Return the mean recall of the emotions that occur."""
    return emotion_figures(counts)["unweighted_average_recall"]


def emotion_f1(counts: Float[np.ndarray, "*sums classes classes"]) -> np.ndarray:
    """Return the mean F1 of the emotions that occur or are answered."""
    return emotion_figures(counts)["macro_f1"]


def unit_accuracies(counts: Float[np.ndarray, "*sums units 2 2"]) -> np.ndarray:
    """Return the share of right answers of each action unit, NaN where it has no label."""
    return accuracy(counts)


def unit_f1(counts: Float[np.ndarray, "*sums units 2 2"]) -> np.ndarray:
    """Return F1 of each action unit, NaN where it is always there or never."""
    hits, support = counts[..., 1, 1], counts[..., 1, :].sum(-1)
    errors = counts[..., 0, 1] + counts[..., 1, 0]
    mixed = (support > 0) & (counts[..., 0, :].sum(-1) > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(mixed, 2 * hits / (2 * hits + errors), np.nan)


def mean_of_units(figure: Figure) -> Figure:
    """Return a figure that is another's mean over the units for which that one is defined."""

    def mean(counts: np.ndarray) -> np.ndarray:
        each = figure(counts)
        defined = np.isfinite(each)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(defined, each, 0.0).sum(-1) / defined.sum(-1)

    return mean


# How sure.


AT_A_TIME = 1 << 22
"""Counts of draws that are wide, 8 bytes each, while they are drawn and while they are summed."""

MANY_DRAWS = 1 << 26
"""Counts of draws, a byte each, from which on those of one number of people alone are kept."""


def _blocks(people: int, replicates: int) -> Iterator[slice]:
    """Yield the replicates in parts of at most `AT_A_TIME` counts."""
    size = max(1, AT_A_TIME // people)
    for start in range(0, replicates, size):
        yield slice(start, min(start + size, replicates))


def _draw(people: int, replicates: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shares = np.full(people, 1 / people)
    # One of ever so many people is 256 times in a draw with a probability below 1e-500.
    draws = np.empty((replicates, people), np.uint8)
    for block in _blocks(people, replicates):
        draws[block] = rng.multinomial(people, shares, size=block.stop - block.start)
    draws.flags.writeable = False
    return draws


_draw_some = functools.lru_cache(maxsize=4)(_draw)
_draw_many = functools.lru_cache(maxsize=1)(_draw)


def draw_people(
    people: int, replicates: int = REPLICATES, seed: int = 0
) -> UInt8[np.ndarray, "replicates people"]:
    """Return how often each person is in each draw of as many people, with replacement.

    Every figure over the same number of people is over the same draws.
    """
    draw = _draw_many if people * replicates >= MANY_DRAWS else _draw_some
    return draw(people, replicates, seed)


def _sum_draws(draws: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the counts of each draw's people, [replicates, ...].

    Args:
        draws: [replicates, people].
        counts: [people, ...].
    """
    replicates, people = draws.shape
    flat = counts.reshape(people, -1)
    sums = np.empty((replicates, flat.shape[1]))
    for block in _blocks(people, replicates):
        # Whole numbers, whose sums are exact in whatever order.
        sums[block] = draws[block].astype(np.float64) @ flat
    return sums.reshape(replicates, *counts.shape[1:])


def bootstrap_p(differences: Float[np.ndarray, " replicates"], people: int) -> float:
    """Return the two-sided p of no difference, from replicates of a difference.

    The share of replicates on the rarer side of 0, those at 0 on both sides, and one added above
    and below; as far out as in `interval`. Where 0 lies beyond all replicates their share says
    only that p is small, and a table's many comparisons need to know how small: there 0 lies as
    many standard deviations out as a normal distribution's tail says, if that is further.

    Args:
        differences: in each draw of people.
        people: how many were drawn from.
    """
    defined = differences[np.isfinite(differences)]
    if people < 2 or not defined.size:
        return math.nan
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    far = norm.isf(min(0.5, (rarer + 1) / (len(defined) + 1)))
    # A network that is as much better for everybody has no deviation, and no tail either.
    if not rarer and (deviation := defined.std()) > 1e-12 * abs(defined).max():
        far = max(far, abs(defined.mean()) / deviation)
    return float(2 * t.sf(far / stretch(people), people - 1))


def _over_draws(
    counts: np.ndarray, figure: Figure, replicates: int, seed: int
) -> tuple[float, np.ndarray]:
    """Return a figure over everybody and in each draw, its mean over the seeds of a training.

    Args:
        counts: [seeds, people, ...].
        figure: of summed counts.
        replicates: how many draws.
        seed: of the draws.
    """
    people = counts.shape[1]
    everybody = float(np.mean(figure(counts.sum(axis=1))))
    if people < 2:
        # One person has no spread.
        return everybody, np.full(replicates, np.nan)
    draws = draw_people(people, replicates, seed)
    return everybody, np.mean([figure(_sum_draws(draws, one)) for one in counts], axis=0)


def _labelled(counts: np.ndarray) -> np.ndarray:
    """Return which people have a label, bool [people]: nobody else says anything of a figure."""
    return counts[0].any(axis=tuple(range(1, counts[0].ndim)))


def _examples(counts: np.ndarray) -> int:
    # A unit or an emotion each: the unit with the most labels tells how many pictures there are.
    return int(counts[0].sum(axis=(0, -1, -2)).max()) if counts.size else 0


def estimate(
    counts: Float[np.ndarray, "seeds people *cells"],
    figure: Figure,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Estimate:
    """Return a figure over people with its interval.

    Args:
        counts: of each person, by `emotion_counts` or `unit_counts`, for each seed of the training;
            the figure is the mean over seeds, and the interval is over people alone.
        figure: of summed counts, one number.
        replicates: of the bootstrap.
        seed: of the draws.
    """
    counts = counts[:, _labelled(counts)]
    value, spread = _over_draws(counts, figure, replicates, seed)
    people = counts.shape[1]
    return Estimate(value, interval(spread, people), people, _examples(counts), spread)


def compare(
    first: Float[np.ndarray, "seeds people *cells"],
    second: Float[np.ndarray, "others somebody *same"],
    figure: Figure,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Difference:
    """Return how much better the first network is than the second on the same people.

    Args:
        first: counts of each person, for each seed of its training.
        second: counts of the same people in the same order.
        figure: of summed counts, one number, the larger the better.
        replicates: of the bootstrap.
        seed: of the draws.

    Raises:
        ValueError: the networks saw other people, or other labels of theirs.
    """
    labels = [counts[0].sum(axis=-1) for counts in (first, second)]
    if labels[0].shape != labels[1].shape or not np.array_equal(*labels):
        raise ValueError(
            "two networks on other people, or on other labels of theirs: a paired comparison "
            "needs both networks' answers to the same examples"
        )
    there = _labelled(first)
    first, second = first[:, there], second[:, there]
    one, draws = _over_draws(first, figure, replicates, seed)
    other, others = _over_draws(second, figure, replicates, seed)
    spread = draws - others
    people = first.shape[1]
    span = interval(spread, people)
    p = bootstrap_p(spread, people) if span else math.nan
    return Difference(one - other, span, p, people, _examples(first))


def mcnemar(
    first_right: Bool[np.ndarray, " examples"], second_right: Bool[np.ndarray, " examples"]
) -> McNemar:
    """Return McNemar's exact test: for pictures that are independent of each other.

    Args:
        first_right: whether the first network's answer is right.
        second_right: the second's, to the same pictures.
    """
    first_only = int((first_right & ~second_right).sum())
    second_only = int((second_right & ~first_right).sum())
    disagreed = first_only + second_only
    p = binomtest(first_only, disagreed, 0.5).pvalue if disagreed else 1.0
    return McNemar(first_only, second_only, float(p))


def holm(values: Sequence[float]) -> list[float]:
    """Return p of each of several comparisons, adjusted for there being several; NaN stays NaN."""
    known = [place for place, p in enumerate(values) if np.isfinite(p)]
    adjusted, largest = list(values), 0.0
    for rank, place in enumerate(sorted(known, key=lambda place: values[place])):
        largest = max(largest, min(1.0, (len(known) - rank) * values[place]))
        adjusted[place] = largest
    return adjusted
