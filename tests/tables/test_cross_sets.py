"""From one data set to another: labels by name, nobody twice, and figures over what both have."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_up_study import make_outcome, make_study
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, f1_score, recall_score
from small_sets import noise_pictures

from emojax.config import TrainConfig, network_spec
from emojax.data.shards import dataset_info, load_split, load_whole
from emojax.errors import UserError
from emojax.evaluate import Predictions
from emojax.labels import EMOTION_SETS, SEVEN
from emojax.spec import InputSpec
from emojax.tables import cross as cross_module
from emojax.tables.cross import (
    Crossed,
    Home,
    answer_elsewhere,
    as_named,
    cross,
    cross_rows,
    cross_table,
    shared_names,
)
from emojax.tables.outcome import Outcome, renumber, restrict
from emojax.tables.table import to_markdown
from emojax.tables.trained import Trained

CK8 = EMOTION_SETS["ck8"]
FEWER = ("anger", "happiness", "neutral", "fear")
UNITS = ("AU12", "AU01")


# Labels by name.


def test_labels_keep_their_names() -> None:
    index = np.array([0, 6, -1, 3, 2, 1])
    found = renumber(index, SEVEN, FEWER)
    for old, new in zip(index, found, strict=True):
        name = SEVEN[old] if old >= 0 else None
        assert (FEWER[new] if new >= 0 else None) == (name if name in FEWER else None)


def test_an_outcome_of_fewer_names_answers_with_the_highest_of_them() -> None:
    whole = make_outcome(0)
    part = restrict(whole, FEWER, UNITS)
    for place in range(len(whole.path)):
        name = SEVEN[whole.emotion[place]] if whole.emotion[place] >= 0 else None
        wanted = FEWER.index(name) if name in FEWER else -1
        assert part.emotion[place] == wanted
        best = max(FEWER, key=lambda one: whole.emotion_scores[place, SEVEN.index(one)])
        assert FEWER[part.answered[place]] == best
    for column, unit in enumerate(UNITS):
        old = whole.units.index(unit)
        np.testing.assert_array_equal(part.action_units[:, column], whole.action_units[:, old])
        np.testing.assert_array_equal(part.unit_scores[:, column], whole.unit_scores[:, old])


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pictures(tmp_path_factory.mktemp("away"), people="b", train=8, test=14)


def test_a_network_is_shown_labels_in_its_own_words(away: Path) -> None:
    arrays, shards = load_split(away, "test"), dataset_info(away).input_spec
    spec = InputSpec(emotions=FEWER, action_units=("AU26", "AU06"))
    found = as_named(arrays, shards, spec)
    for old, new in zip(arrays.emotion, found.emotion, strict=True):
        assert new == (FEWER.index(SEVEN[old]) if SEVEN[old] in FEWER else -1)
    six = arrays.action_units[:, shards.action_units.index("AU06")]
    assert set(six) == {0, 1}
    np.testing.assert_array_equal(found.action_units[:, 1], six)
    assert (found.action_units[:, 0] == -1).all()
    # What a set never names is unknown, and so is what it names and nobody labelled.
    wide = as_named(arrays, shards.replace(action_units=("AU06",)), InputSpec(emotions=CK8))
    assert {CK8[new] for new in wide.emotion} == set(SEVEN)


# Who is asked.


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """People whom each network was asked about; it says of every picture that it is happy."""
    found: list[list[str]] = []

    def predict(_: Any, arrays: Any) -> Predictions:
        found.append([arrays.subjects[index] for index in arrays.subject])
        count = len(arrays.emotion)
        scores = np.zeros((count, 7), np.float32)
        scores[:, SEVEN.index("happiness")] = 1
        return Predictions(np.full((count, 15), 0.7, np.float32), scores, 0.0)

    spec = network_spec(TrainConfig(), InputSpec())
    network = SimpleNamespace(config=TrainConfig(), spec=spec, variables={})
    monkeypatch.setattr(cross_module, "load_network", lambda folder: network)
    monkeypatch.setattr(cross_module, "make_run_predictor", lambda *_: predict)
    return found


def make_trained(folder: Path, **changes: Any) -> Trained:
    (known,) = make_study().runs["resnet18", "E1"]
    folder.mkdir(parents=True, exist_ok=True)
    return dataclasses.replace(known, folder=folder, config=TrainConfig(), **changes)


def test_nobody_whom_the_network_has_seen_is_asked_about(
    away: Path, asked: list[list[str]], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # One owner, and the home's training people are called as some of the others.
    (tmp_path / "set").mkdir()
    home = noise_pictures(tmp_path / "set", people="b", train=3, validation=2, test=2)
    everybody = answer_elsewhere(make_trained(tmp_path / "1"), home, away, everybody=True)
    seen = {"btrain0", "btrain1", "btrain2"}
    assert seen < {*load_whole(away).subjects}
    assert set(everybody.subject) == set(load_whole(away).subjects) - seen == set(asked[0])
    test = answer_elsewhere(make_trained(tmp_path / "2"), home, away, everybody=False)
    assert set(test.subject) == set(load_split(away, "test").subjects)


def test_two_sets_of_the_same_people_have_nobody_to_ask_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real predictor, which has nothing to put together then.
    home, away = (tmp_path / name for name in ("home", "away"))
    for folder in (home, away):
        folder.mkdir()
        noise_pictures(folder, people="b", train=7)
    config = TrainConfig(model="ar1")
    spec = network_spec(config, dataset_info(away / "out").input_spec)
    network = SimpleNamespace(config=config, spec=spec, variables={})
    monkeypatch.setattr(cross_module, "load_network", lambda folder: network)
    trained = make_trained(tmp_path / "run")
    found, notes = cross([Home(home / "out", {"ar1": [trained]}), Home(away / "out", {})])
    assert found == []
    reason = "nobody, or no label, that a network of the one can be tested by."
    assert notes == [f"out to out, ar1: {reason}"]


def test_answers_are_asked_for_once(away: Path, asked: list[list[str]], tmp_path: Path) -> None:
    trained = make_trained(tmp_path / "run")
    first = answer_elsewhere(trained, away, away, everybody=False)
    again = answer_elsewhere(trained, away, away, everybody=False)
    assert len(asked) == 1
    for field in dataclasses.fields(Outcome):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    with pytest.raises(UserError, match="other settings or other data"):
        answer_elsewhere(trained, away, away, everybody=True)


def test_sets_that_share_nothing_are_named(
    away: Path, asked: list[list[str]], tmp_path: Path
) -> None:
    trained = make_trained(tmp_path / "run")
    none = dataclasses.replace(
        trained.test,
        emotion=np.full_like(trained.test.emotion, -1),
        action_units=np.full_like(trained.test.action_units, -1),
    )
    unlabelled = dataclasses.replace(trained, test=none, validation=none)
    other = away.with_name("other")
    if not other.exists():
        other.symlink_to(away)
    found, notes = cross([Home(away, {"ar1": [unlabelled]}), Home(other, {})])
    assert found == []
    assert notes == ["out to other, ar1: nobody, or no label, that a network of the one can be "
                     "tested by."]  # fmt: skip
    (crossed,), _ = cross([Home(away, {"ar1": [trained]}), Home(other, {})])
    # Noise has AU06 alone.
    assert crossed.answers[0].units == ("AU06",)
    assert crossed.there == []
    deaf = dataclasses.replace(trained, config=TrainConfig(model="ar5"))
    assert "this network listens" in cross([Home(away, {"ar5": [deaf]}), Home(other, {})])[1][0]


# Figures.


@pytest.fixture(scope="module")
def crossed() -> Crossed:
    def of(seed: int, skill: float) -> Outcome:
        return restrict(make_outcome(seed, skill), FEWER, UNITS)

    there = of(3, 0.9)
    # In another order: pairs go by the picture, not by the place.
    back = there.select(np.arange(len(there.path))[::-1])
    return Crossed("resnet18", "one", "other", [of(1, 0.1), of(2, 0.3)], [back], [of(5, 0.5)])


def test_figures_are_scikit_learns_over_the_shared_names(crossed: Crossed) -> None:
    rows = {row["figure"]: row for row in cross_rows(crossed)}

    def figures(outcome: Outcome) -> dict[str, float]:
        known = outcome.emotion >= 0
        truth, said = outcome.emotion[known], outcome.answered[known]
        units = [
            f1_score(column[column >= 0], scores[column >= 0] >= 0.5)
            for column, scores in zip(outcome.action_units.T, outcome.unit_scores.T, strict=True)
        ]
        return {
            "emotion accuracy": float(accuracy_score(truth, said)),
            "emotion UAR": float(recall_score(truth, said, average="macro")),
            "emotion macro F1": float(f1_score(truth, said, average="macro")),
            "AU macro F1": float(np.mean(units)),
        }

    ours = [figures(one) for one in crossed.answers]
    theirs, home = figures(crossed.there[0]), figures(crossed.at_home[0])
    assert list(rows) == list(theirs)
    for name, row in rows.items():
        value = np.mean([one[name] for one in ours])
        assert row["value"] == pytest.approx(value)
        assert row["there"] == pytest.approx(theirs[name])
        assert row["gap"] == pytest.approx(value - theirs[name])
        assert row["at_home"] == pytest.approx(home[name])
        low, high = row["gap_interval"]
        assert low < row["gap"] < high
        assert (row["people"], row["seeds"]) == (8, 2)
        assert row["names"] == (4 if "emotion" in name else 2)
    assert rows["emotion accuracy"]["gap"] < 0
    assert rows["emotion accuracy"]["p"] < 0.05


def test_chance_is_one_constant_answer(crossed: Crossed) -> None:
    rows = {row["figure"]: row for row in cross_rows(crossed)}
    outcome = crossed.answers[0]
    truth = outcome.emotion[outcome.emotion >= 0]
    said = DummyClassifier(strategy="most_frequent").fit(truth, truth).predict(truth)
    assert rows["emotion accuracy"]["chance"] == pytest.approx(accuracy_score(truth, said))
    assert rows["emotion UAR"]["chance"] == pytest.approx(1 / 4)
    assert rows["emotion macro F1"]["chance"] == pytest.approx(
        f1_score(truth, said, average="macro", zero_division=0.0)  # pyright: ignore[reportArgumentType]
    )
    units = [f1_score(one[one >= 0], np.ones((one >= 0).sum())) for one in outcome.action_units.T]
    assert rows["AU macro F1"]["chance"] == pytest.approx(np.mean(units))


def test_names_are_shared_where_both_sets_have_labels() -> None:
    one = restrict(make_outcome(0), ("fear", "anger", "neutral"), ("AU01", "AU02"))
    sad = dataclasses.replace(one, emotion=np.where(one.emotion == 1, -1, one.emotion))
    blind = dataclasses.replace(one, action_units=np.where([True, False], -1, one.action_units))
    assert shared_names([one], [one]) == (one.emotions, one.units)
    assert shared_names([one], [sad])[0] == ("fear", "neutral")
    assert shared_names([blind], [one])[1] == ("AU02",)


def test_a_set_that_was_not_trained_on_has_no_difference(crossed: Crossed) -> None:
    alone = dataclasses.replace(crossed, there=[])
    rows = cross_rows(alone)
    assert all("gap" not in row and row["value"] > 0 for row in rows)
    table = cross_table([alone], ["a note"], ["a command"])
    assert "gap" not in {column.key for column in table.shown}
    assert table.notes[0] == "a note"
    assert "second data set: absent" in cross_table([], [], []).rows[0]["home"]


def test_pictures_are_not_called_people_where_people_are_unknown(crossed: Crossed) -> None:
    note = "other: who is on a picture is not known"
    known = cross_table([crossed], [], [])
    assert {row["people"] for row in known.rows} == {8}
    assert note not in to_markdown(known)
    alone = [dataclasses.replace(one, subject=one.path) for one in crossed.answers]
    there = [dataclasses.replace(one, subject=one.path) for one in crossed.there]
    table = cross_table([dataclasses.replace(crossed, answers=alone, there=there)], [], [])
    assert {row["people"] for row in table.rows} == {None}
    assert note in to_markdown(table)
