"""Which people train and which test: nobody ever stands on both sides.

A face recognised from training is not an emotion recognised. Every function
here divides people, never pictures, and `assert_disjoint` refuses a division
in which somebody crosses.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from emojax.errors import UserError

SPLITS: tuple[str, ...] = ("train", "validation", "test")
"""Names of the splits, in the order in which they are built and shown."""

DEFAULT_FRACTIONS: dict[str, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Share of the pictures that each split aims at where the owner gives no split."""


@dataclasses.dataclass(frozen=True)
class Fold:
    """One training of a cross-validation, as a paper can cite it."""

    name: str
    """`leave_1001` or `fold_03`."""
    train: tuple[str, ...]
    """People who train, sorted."""
    test: tuple[str, ...]
    """People who are tested, sorted; none of them trains."""


def assert_disjoint(splits: Mapping[str, Iterable[str]], source: str = "the splits") -> None:
    """Return nothing where each person stands in one split only.

    Args:
        splits: the people of each split, repetitions allowed.
        source: where the splits come from, for the message.

    Raises:
        UserError: somebody stands in two; the message names the person and both.
    """
    homes: dict[str, list[str]] = {}
    for split, people in splits.items():
        for person in set(people):
            homes.setdefault(person, []).append(split)
    crossing = {person: names for person, names in sorted(homes.items()) if len(names) > 1}
    if crossing:
        person, names = next(iter(crossing.items()))
        more = f" (and {len(crossing) - 1} more people)" if len(crossing) > 1 else ""
        raise UserError(
            f"{source}: person {person!r} stands in {' and '.join(names)}{more}: "
            "put all pictures of a person into one split"
        )


def split_by_subject(
    subjects: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
    strata: Sequence[Hashable] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Return the people of each split, sorted; the same for the same arguments.

    People are dealt one by one, those with many pictures first, each to the
    split that it brings closest to its share of pictures and of every stratum.

    Args:
        subjects: the person on each picture.
        fractions: share of the pictures by split; above 0, sum 1.
        seed: orders people who have equally many pictures.
        strata: what to keep in proportion, one per picture, such as the label.

    Raises:
        UserError: fewer people than splits, or fractions that don't add up.
    """
    if any(not share > 0 for share in fractions.values()) or not np.isclose(
        sum(fractions.values()), 1.0
    ):
        raise UserError(f"split fractions {dict(fractions)}: wanted shares above 0 that sum to 1")
    people = sorted(set(subjects))
    if len(people) < len(fractions):
        raise UserError(
            f"{len(people)} people can't fill {len(fractions)} splits "
            f"({', '.join(fractions)}): add people, or name each row's split yourself"
        )
    counts = _strata_counts(people, subjects, strata)
    names = list(fractions)
    dealt = _deal(counts, np.array([fractions[name] for name in names]), seed)
    result = {
        name: tuple(person for person, home in zip(people, dealt, strict=True) if home == index)
        for index, name in enumerate(names)
    }
    assert_disjoint(result)
    return result


def leave_one_subject_out(subjects: Iterable[str]) -> Iterator[Fold]:
    """Return one fold per person, in the order of their names.

    Raises:
        UserError: fewer than two people.
    """
    people = tuple(sorted(set(subjects)))
    if len(people) < 2:
        raise UserError(f"leave one subject out needs two people or more, found {len(people)}")
    for person in people:
        train = tuple(other for other in people if other != person)
        yield Fold(name=f"leave_{person}", train=train, test=(person,))


def k_folds_by_subject(
    subjects: Sequence[str], k: int, seed: int, strata: Sequence[Hashable] | None = None
) -> tuple[Fold, ...]:
    """Return k folds; every person is tested in exactly one of them.

    Args:
        subjects: the person on each picture.
        k: number of folds, 2 or more.
        seed: orders people who have equally many pictures.
        strata: what to keep in proportion, one per picture.

    Raises:
        UserError: k below 2, or fewer people than folds.
    """
    if k < 2:
        raise UserError(f"{k} folds: wanted 2 or more")
    people = len(set(subjects))
    if people < k:
        raise UserError(f"{people} people can't fill {k} folds: wanted {people} or fewer")
    parts = split_by_subject(subjects, {f"fold_{i:02d}": 1 / k for i in range(k)}, seed, strata)
    everybody = set(itertools.chain.from_iterable(parts.values()))
    return tuple(
        Fold(name=name, train=tuple(sorted(everybody - set(test))), test=test)
        for name, test in parts.items()
    )


def _strata_counts(
    people: Sequence[str], subjects: Sequence[str], strata: Sequence[Hashable] | None
) -> np.ndarray:
    """Return pictures per person, float [people, 1 + strata]; column 0 counts all of them."""
    rows = {person: index for index, person in enumerate(people)}
    columns: dict[Hashable, int] = {}
    pairs: collections.Counter[tuple[int, int]] = collections.Counter()
    for index, person in enumerate(subjects):
        pairs[rows[person], 0] += 1
        if strata is not None:
            column = columns.setdefault(strata[index], len(columns) + 1)
            pairs[rows[person], column] += 1
    counts = np.zeros((len(people), len(columns) + 1))
    for place, number in pairs.items():
        counts[place] = number
    return counts


def _deal(counts: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Return the split of each person, int [people]."""
    totals = counts.sum(axis=0)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    order = shuffled[np.argsort(-counts[shuffled, 0], kind="stable")]
    held = np.zeros((len(shares), counts.shape[1]))
    members = np.zeros(len(shares), int)
    dealt = np.zeros(len(counts), int)
    for turn, person in enumerate(order):
        # How full each split would be, relative to what it should hold.
        filled = (held + counts[person]) / (shares[:, None] * totals)
        score = (filled * counts[person]).sum(axis=1)
        empty = members == 0
        if empty.sum() >= len(order) - turn:
            # The last people: no split may stay without anybody.
            score[~empty] = np.inf
        home = int(np.argmin(score))
        dealt[person] = home
        held[home] += counts[person]
        members[home] += 1
    return dealt
