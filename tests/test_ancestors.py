"""Whom a network has seen: by itself, and by those that it was made from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_sets import noise_pictures

from emojax import ancestors
from emojax.ancestors import (
    refuse_evaluation,
    refuse_known_people,
    refuse_seen_people,
    seen_by,
)
from emojax.config import TrainConfig
from emojax.data.shards import MANIFEST, DatasetInfo, dataset_info
from emojax.errors import UserError
from emojax.run import open_run, own_shards
from emojax.shipped import shipped_folder
from emojax.spec import read_json


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Shards of two owners: people called a-.. and b-.., eight pictures in each split."""
    found = {}
    for name in "ab":
        folder = tmp_path_factory.mktemp(name)
        found[name] = noise_pictures(folder, f"{name}-", train=8, validation=8, test=8)
    return found


def begin(folder: Path, data: Path, more: Any = None, **settings: Any) -> str:
    """A run that has begun, as far as others ask it, and its name."""
    info = dataset_info(data)
    config = TrainConfig(**settings)
    open_run(folder, config, info.input_spec, data, info.report["fingerprint"], False, more)
    return str(folder)


@pytest.fixture
def owned(monkeypatch: pytest.MonkeyPatch) -> dict[Path, str]:
    """Who owns the shards of a folder; unset: a manifest."""
    owners: dict[Path, str] = {}

    def own(folder: Path) -> DatasetInfo:
        info = own_shards(folder)
        return dataclasses.replace(info, name=owners.get(info.folder, info.name))

    monkeypatch.setattr(ancestors, "own_shards", own)
    return owners


def info_of(data: Path, owner: str) -> DatasetInfo:
    return dataclasses.replace(dataset_info(data), name=owner)


def test_a_network_has_seen_whom_those_before_it_have(
    sets: dict[str, Path], owned: dict[Path, str], tmp_path: Path
) -> None:
    owned |= {sets["a"]: "mmi", sets["b"]: "crema_d"}
    first = begin(tmp_path / "first", sets["a"])
    second = begin(tmp_path / "second", sets["b"], init=first)
    third = begin(tmp_path / "third", sets["b"], teachers=(second,))
    for name in (second, third):
        seen = seen_by(name)
        assert set(seen.people) == {"mmi", "crema_d"}
        assert "a-train0" in seen.people["mmi"]["train"]
        assert "b-test6" in seen.people["crema_d"]["test"]
        assert seen.untold == []
    # Back on the first one's data, in a fold or in a split of another division.
    people = ["a-train0", "a-new"]
    with pytest.raises(UserError, match="third: was trained on 'a-train0' and 0 others who are"):
        refuse_known_people(third, info_of(sets["a"], "mmi"), people)
    report = {"splits": {"test": {"people": people}}}
    again = dataclasses.replace(info_of(sets["a"], "mmi"), report=report)
    with pytest.raises(UserError, match="third: was trained on 'a-train0' and 0 others, who are"):
        refuse_seen_people(TrainConfig(init=third), again)
    # The same name of another owner is another person.
    refuse_known_people(third, info_of(sets["a"], "ravdess"), people)
    refuse_seen_people(TrainConfig(init=third), dataclasses.replace(again, name="ravdess"))


def test_a_network_that_comes_with_emojax_stays_known_through_a_run_of_one_s_own(
    sets: dict[str, Path], owned: dict[Path, str], tmp_path: Path
) -> None:
    someone = read_json(shipped_folder("voices") / "config.json")["people"][0]
    owned[sets["b"]] = "ravdess"
    second = begin(tmp_path / "b", sets["b"], init="voices")
    with pytest.raises(UserError, match=f"was trained on '{someone}' and 0 others who are tested"):
        refuse_known_people(second, info_of(sets["a"], "crema_d"), [someone, "another"])


def test_ancestors_may_be_deleted_once_a_run_has_begun(
    sets: dict[str, Path], owned: dict[Path, str], tmp_path: Path
) -> None:
    owned[sets["a"]] = "mmi"
    first = begin(tmp_path / "first", sets["a"])
    config = TrainConfig(init=first)
    noted = refuse_seen_people(config, dataset_info(sets["b"])).to_note()
    second = begin(tmp_path / "second", sets["b"], noted, init=first)
    plain = begin(tmp_path / "plain", sets["b"], init=first)
    shutil.rmtree(first)
    assert seen_by(second).untold == []
    assert "a-train0" in seen_by(second).people["mmi"]["train"]
    # It goes on where its shards have moved to, and still knows.
    moved = shutil.copytree(sets["b"], tmp_path / "moved")
    (tmp_path / "second" / "checkpoints").mkdir()
    begin(tmp_path / "second", moved, init=first)
    assert read_json(tmp_path / "second" / "config.json")["data_folder"] == str(moved)
    assert "a-train0" in seen_by(second).people["mmi"]["train"]
    # One that did not note it can't tell any more.
    assert seen_by(plain).untold == [first]
    with pytest.raises(UserError, match=r"plain: it was made from .*first, whose shards are not"):
        refuse_known_people(plain, dataset_info(sets["a"]), ["new"])
    # Of nobody there is nothing to note.
    assert refuse_seen_people(TrainConfig(), dataset_info(sets["b"])).to_note() == {}


def test_runs_that_start_from_each_other_and_notes_that_are_damaged_end(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    begin(tmp_path / "one", sets["a"], init=other)
    begin(tmp_path / "other", sets["b"], init=one)
    assert seen_by(one).untold == []
    assert {"a-train0", "b-train0"} <= seen_by(one).people["manifest"]["train"]
    path = tmp_path / "one" / "config.json"
    for damaged in (3, [], {}, {"people": 3, "untold": []}, {"people": {"a": 3}, "untold": []}):
        path.write_text(json.dumps(read_json(path) | {"ancestors": damaged}))
        assert {"a-train0", "b-train0"} <= seen_by(one).people["manifest"]["train"]


def test_nobody_is_reported_on_who_was_trained_on_before(
    sets: dict[str, Path],
    owned: dict[Path, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = begin(tmp_path / "first", sets["a"])
    report = {"splits": {"test": {"people": {"new": 1, "a-train0": 1}}}}
    data = dataclasses.replace(dataset_info(sets["b"]), report=report)
    config = TrainConfig(init=first)
    both = (config, TrainConfig(teachers=(first,)))
    # In another manifest the name may be another person's.
    for changed in both:
        refuse_seen_people(changed, data)
        assert "names that are in `test` here too" in capsys.readouterr().err
    owned[sets["a"]] = "crema_d"
    for changed in both:
        with pytest.raises(UserError, match=r"first: was trained on .*, who are in `test` here"):
            refuse_seen_people(changed, dataclasses.replace(data, name="crema_d"))
    # In the sets of two owners a name is two people.
    refuse_seen_people(config, dataclasses.replace(data, name="mmi"))
    assert capsys.readouterr().err == ""
    # On the same data its test people are new to it; its validation people where they are
    # reported on, too.
    for split in ("test", "validation"):
        own = dataclasses.replace(config, report_on=split)
        refuse_seen_people(own, info_of(sets["a"], "crema_d"))
    assert capsys.readouterr().err == ""
    # A model that comes with emojax, whose shards stayed where it was made.
    refuse_seen_people(TrainConfig(init="faces"), data)
    assert "faces: its shards are not here, so nobody knows" in capsys.readouterr().err


def test_nobody_is_evaluated_on_who_was_trained_on(
    sets: dict[str, Path], owned: dict[Path, str], tmp_path: Path, capsys: Any
) -> None:
    run = begin(tmp_path / "run", sets["a"])

    def other(owner: str, *people: str) -> DatasetInfo:
        report = {"splits": {"test": {"people": people}}}
        return dataclasses.replace(info_of(sets["a"], owner), report=report)

    owned[sets["a"]] = "mmi"
    for seen in ("a-train0", "a-validation0"):
        with pytest.raises(UserError, match=f"run: was trained on '{seen}' and 0 .* leave --data"):
            refuse_evaluation(run, other("mmi", "a-new", seen), "test")
    # Its own test people, and another owner's.
    refuse_evaluation(run, other("mmi", "a-new", "a-test0"), "test")
    refuse_evaluation(run, other("crema_d", "a-train0"), "test")
    assert capsys.readouterr().err == ""
    refuse_evaluation(run, other(MANIFEST, "a-train0"), "test")
    assert "in `test` of" in capsys.readouterr().err


def test_where_nobody_knows_whom_a_network_has_seen_evaluating_it_says_so(
    sets: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = begin(tmp_path / "first", shutil.copytree(sets["a"], tmp_path / "shards"))
    second = begin(tmp_path / "second", sets["b"], init=first)
    info = dataset_info(sets["a"])
    info = dataclasses.replace(info, report={"splits": {"test": {"people": ["new", "b-train0"]}}})
    for name in (first, second):
        refuse_evaluation(name, info, "test")
        assert "nobody knows" not in capsys.readouterr().err
    shutil.rmtree(tmp_path / "shards")
    unknown = f"so nobody knows whether it has seen the people in `test` of {info.folder}"
    too_good = "figures on them may be too good"
    refuse_evaluation(first, info, "test")
    told = f"{first}: its shards are not here, {unknown}: {too_good}\n"
    assert capsys.readouterr().err == told
    # Both doubts, in one line.
    refuse_evaluation(second, info, "test")
    told = f"{second}: was trained on 'b-train0' and 0 others, names that are in `test` of "
    made = f"{info.folder} too, and it was made from {first}, whose shards are not here, {unknown}"
    assert capsys.readouterr().err == f"{told}{made}: {too_good}\n"
