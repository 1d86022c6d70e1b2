from __future__ import annotations

import numpy as np
import pytest

from emojax.data.splits import (
    assert_disjoint,
    k_folds_by_subject,
    leave_one_subject_out,
    split_by_subject,
)
from emojax.errors import UserError

FRACTIONS = {"train": 0.7, "validation": 0.15, "test": 0.15}


def _people(count: int, pictures: int) -> list[str]:
    return [f"P{person:03d}" for person in range(count) for _ in range(pictures)]


def test_a_person_in_two_splits_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"mine\.csv: person 'Ada' stands in train and test: put"):
        assert_disjoint({"train": ["Ada", "Bob"], "test": ["Eve", "Ada"]}, "mine.csv")


def test_every_crossing_person_is_counted() -> None:
    with pytest.raises(UserError, match="and 1 more people"):
        assert_disjoint({"train": ["Ada", "Bob"], "test": ["Bob", "Ada"]})


def test_disjoint_people_pass() -> None:
    assert_disjoint({"train": ["Ada", "Ada"], "test": ["Eve"], "validation": []})


def test_everybody_has_one_home_and_shares_are_met() -> None:
    subjects = _people(100, 3)
    splits = split_by_subject(subjects, FRACTIONS, seed=0)
    assert {name: len(people) for name, people in splits.items()} == {
        "train": 70,
        "validation": 15,
        "test": 15,
    }
    assert sorted(person for people in splits.values() for person in people) == sorted(
        set(subjects)
    )


def test_the_seed_decides_and_nothing_else() -> None:
    subjects = _people(30, 2)
    first = split_by_subject(subjects, FRACTIONS, seed=1)
    assert split_by_subject(list(reversed(subjects)), FRACTIONS, seed=1) == first
    assert split_by_subject(subjects, FRACTIONS, seed=2) != first


def test_shares_count_pictures_not_people() -> None:
    # One person has half of all pictures: alone, they nearly fill the training split.
    subjects = ["big"] * 100 + _people(100, 1)
    splits = split_by_subject(subjects, {"train": 0.5, "test": 0.5}, seed=0)
    home = next(people for people in splits.values() if "big" in people)
    assert len(home) == 1


def test_strata_are_kept_in_proportion() -> None:
    # Twenty people show anger only, eighty happiness only.
    subjects = _people(100, 2)
    strata = ["anger" if subject < "P020" else "happiness" for subject in subjects]
    splits = split_by_subject(subjects, FRACTIONS, seed=3, strata=strata)
    angry = {name: sum(person < "P020" for person in people) for name, people in splits.items()}
    assert angry == {"train": 14, "validation": 3, "test": 3}


def test_no_split_stays_empty() -> None:
    splits = split_by_subject(["a"] * 50 + ["b", "c"], FRACTIONS, seed=0)
    assert sorted(map(len, splits.values())) == [1, 1, 1]


def test_a_small_share_still_gets_a_person() -> None:
    splits = split_by_subject(_people(5, 1), {"train": 0.98, "test": 0.02}, seed=0)
    assert {name: len(people) for name, people in splits.items()} == {"train": 4, "test": 1}


def test_too_few_people_are_refused() -> None:
    with pytest.raises(UserError, match="2 people can't fill 3 splits"):
        split_by_subject(["a", "b"], FRACTIONS, seed=0)


@pytest.mark.parametrize("fractions", [{"train": 0.9, "test": 0.2}, {"train": 1.0, "test": 0.0}])
def test_fractions_that_do_not_add_up_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(UserError, match="sum to 1"):
        split_by_subject(_people(5, 1), fractions, seed=0)


def test_leave_one_subject_out_tests_each_person_once() -> None:
    folds = list(leave_one_subject_out(["c", "a", "b", "a"]))
    assert [(fold.name, fold.train, fold.test) for fold in folds] == [
        ("leave_a", ("b", "c"), ("a",)),
        ("leave_b", ("a", "c"), ("b",)),
        ("leave_c", ("a", "b"), ("c",)),
    ]
    with pytest.raises(UserError, match="found 1"):
        list(leave_one_subject_out(["a", "a"]))


def test_k_folds_divide_the_people() -> None:
    folds = k_folds_by_subject(_people(23, 2), k=5, seed=0)
    tested = [person for fold in folds for person in fold.test]
    assert sorted(tested) == sorted(set(_people(23, 1)))
    assert sorted(len(fold.test) for fold in folds) == [4, 4, 5, 5, 5]
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
        assert len(fold.train) + len(fold.test) == 23
    with pytest.raises(UserError, match="wanted 2 or more"):
        k_folds_by_subject(["a", "b"], k=1, seed=0)
    with pytest.raises(UserError, match=r"^3 people can't fill 200 folds: wanted 3 or fewer$"):
        k_folds_by_subject(_people(3, 2), k=200, seed=0)


def test_dealing_is_close_to_the_best_random_draw() -> None:
    # Against 200 random divisions: no worse in label proportions than the best of them.
    rng = np.random.default_rng(0)
    subjects = _people(40, 5)
    strata = rng.integers(0, 7, len(subjects)).tolist()
    labels = np.array(strata)
    owners = np.array(subjects)

    def error(test: tuple[str, ...]) -> float:
        counts = np.bincount(labels[np.isin(owners, test)], minlength=7)
        return float(np.abs(counts - 0.15 * np.bincount(labels, minlength=7)).sum())

    people = np.unique(owners)
    drawn = [error(tuple(rng.choice(people, 6, replace=False))) for _ in range(200)]
    ours = error(split_by_subject(subjects, FRACTIONS, seed=0, strata=strata)["test"])
    assert ours < np.median(drawn)
