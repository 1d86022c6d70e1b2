"""What a network answered: kept whole, and neutral where all else is low."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_up_study import make_outcome
from sklearn.metrics import accuracy_score, confusion_matrix

from emojax.errors import UserError
from emojax.labels import SEVEN
from emojax.tables.outcome import (
    Outcome,
    answer_neutral,
    choose_neutral_threshold,
    common_examples,
    load_outcomes,
    save_outcomes,
)


@pytest.fixture
def six() -> Outcome:
    """Of a network without neutral: a neutral face has the number 6."""
    outcome = make_outcome(1)
    order = [1, 2, 3, 4, 5, 6, 0]
    places = np.array([*(order.index(number) for number in range(7)), -1])
    return dataclasses.replace(
        outcome,
        emotion=places[outcome.emotion],
        emotion_scores=np.round(outcome.emotion_scores[:, 1:], 2),
        emotions=SEVEN[1:],
    )


def test_the_threshold_is_the_best_that_any_search_finds(six: Outcome) -> None:
    def right_with(threshold: float) -> float:
        known = six.emotion >= 0
        highest = six.emotion_scores.max(axis=1)
        said = np.where(highest < threshold, 6, six.emotion_scores.argmax(axis=1))
        return float((said == six.emotion)[known].mean())

    found = choose_neutral_threshold(six)
    every = [right_with(threshold) for threshold in np.linspace(0, 1, 1001)]
    assert right_with(found) == max(every)
    assert right_with(found) > right_with(0.0)


def test_neutral_is_answered_where_all_else_is_low(six: Outcome) -> None:
    seven = answer_neutral(six, 0.805, SEVEN)
    low = (six.emotion_scores < np.float32(0.805)).all(axis=1)
    assert 0 < low.sum() < len(low)
    np.testing.assert_array_equal(seven.answered == 0, low)
    others = six.emotion_scores.argmax(axis=1) + 1
    np.testing.assert_array_equal(seven.answered[~low], others[~low])
    np.testing.assert_array_equal(seven.emotion, make_outcome(1).emotion)
    assert seven.emotions == SEVEN


def test_a_face_that_nobody_labelled_teaches_no_threshold(six: Outcome) -> None:
    unknown = dataclasses.replace(six, emotion=np.full_like(six.emotion, -1))
    assert choose_neutral_threshold(unknown) == 0.5


def test_counts_are_scikit_learns() -> None:
    outcome = make_outcome(2)
    known = outcome.emotion >= 0
    total = outcome.emotion_counts().sum(axis=0)
    truth, said = outcome.emotion[known], outcome.answered[known]
    np.testing.assert_array_equal(total, confusion_matrix(truth, said, labels=range(7)))
    assert outcome.right[known].mean() == pytest.approx(accuracy_score(truth, said))
    assert not outcome.right[~known].any()
    assert outcome.emotion_counts().shape[0] == len(np.unique(outcome.subject))


def test_people_are_known_where_somebody_named_them() -> None:
    some = make_outcome(0).select(np.arange(4))

    def known(*people: str) -> bool:
        return dataclasses.replace(some, subject=np.array(people)).people_are_known

    assert known("a", "a", "b", "b")
    # A picture each, of people with names.
    assert known("a", "b", "c", "d")
    assert not known("0000.png", "0001.png", "0002.png", "0003.png")
    # Parts of two files.
    parts = np.array(["x.avi#0-1", "x.avi#1-2", "y#1.avi#0-", "y#1.avi"])
    some = dataclasses.replace(some, path=parts)
    assert not known("x.avi", "x.avi", "y#1.avi", "y#1.avi")
    assert known("x.av", "x.avi", "y#1.avi", "y#1.avi")


def test_networks_are_compared_on_what_both_have_seen() -> None:
    one, other = make_outcome(1), make_outcome(2)
    part = other.select(np.random.default_rng(0).permutation(len(other.path))[:50])
    left, right = common_examples([one, part])
    np.testing.assert_array_equal(left.path, right.path)
    assert sorted(part.path) == left.path.tolist()
    np.testing.assert_array_equal(left.emotion, right.emotion)


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    path, about = tmp_path / "answers.npz", {"config": {"seed": 0, "blocks": (1, 2)}}
    assert load_outcomes(path, about) is None
    wanted = {"test": make_outcome(1), "validation": make_outcome(2)}
    save_outcomes(path, wanted, about)
    found = load_outcomes(path, about)
    assert found is not None
    assert list(found) == ["test", "validation"]
    for name, outcome in wanted.items():
        for field in dataclasses.fields(outcome):
            np.testing.assert_array_equal(
                getattr(found[name], field.name), getattr(outcome, field.name)
            )
        assert found[name].emotions == SEVEN
    assert [left.name for left in tmp_path.iterdir()] == ["answers.npz"]
    with pytest.raises(UserError, match="of other settings or other data: choose another --out"):
        load_outcomes(path, {"config": {"seed": 1, "blocks": (1, 2)}})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"{}"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"answers\.npz: can't be read .* it is made again"):
        load_outcomes(path, {})
