from __future__ import annotations

import collections
import csv
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import emojax
from emojax.commands.data import folds as command
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.folds import (
    Labelled,
    folds_sha256,
    folds_table,
    leave_one_out,
    load_folds,
    make_folds,
    read_labelled,
)
from emojax.data.shards import DatasetInfo, dataset_info
from emojax.data.splits import Fold
from emojax.errors import UserError

PEOPLE = [f"P{number}" for number in range(8)]
# Four people show anger twice, four happiness twice; everybody one picture without a label.
EMOTION = {person: "anger" if number < 4 else "happiness" for number, person in enumerate(PEOPLE)}


def write_source(folder: Path) -> Path:
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "emotion", "domain"])
        for person in PEOPLE:
            for picture, emotion in enumerate((EMOTION[person], EMOTION[person], "")):
                name = f"{person}_{picture}.png"
                cv2.imwrite(str(folder / name), np.full((98, 80), 50, np.uint8))
                writer.writerow([name, person, emotion, "FN1"])
    return folder


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> DatasetInfo:
    folder = tmp_path_factory.mktemp("folds")
    source = write_source(folder / "source")
    options = BuildOptions(faces="ready")
    return dataset_info(
        build_dataset("manifest", source=source, out=folder / "built", options=options)
    )


def write(folder: Path, fields: dict[str, Any]) -> Path:
    path = folder / "folds.json"
    path.write_text(json.dumps(fields))
    return path


def resign(fields: dict[str, Any]) -> dict[str, Any]:
    """The same fields with the digest that fits their folds, as a careful forger writes them."""
    folds = [Fold(f["name"], tuple(f["train"]), tuple(f["test"])) for f in fields["folds"]]
    return {**fields, "sha256": folds_sha256(folds)}


def test_all_splits_are_read_in_one_order(info: DatasetInfo) -> None:
    assert [example.subject for example in read_labelled(info)] == sorted(PEOPLE * 3)
    assert read_labelled(info)[:3] == [
        Labelled("P0", "anger", "FN1"),
        Labelled("P0", "anger", "FN1"),
        Labelled("P0", "unknown", "FN1"),
    ]


def test_k_folds_say_what_is_in_them(info: DatasetInfo) -> None:
    fields = make_folds(info, k=4, seed=3)
    assert {name: fields[name] for name in ("version", "dataset", "emojax")} == {
        "version": 1,
        "dataset": "manifest",
        "emojax": emojax.__version__,
    }
    assert fields["fingerprint"] == info.report["fingerprint"] != ""
    assert fields["rule"] == {
        "kind": "k_folds",
        "k": 4,
        "seed": 3,
        "strata": ["emotion", "domain"],
    }
    assert (fields["people"], fields["examples"]) == (8, 24)
    assert [fold["name"] for fold in fields["folds"]] == [
        "fold_00",
        "fold_01",
        "fold_02",
        "fold_03",
    ]
    for fold in fields["folds"]:
        # One angry and one happy person each: that is what the strata are for.
        assert sorted(EMOTION[person] for person in fold["test"]) == ["anger", "happiness"]
        assert fold["train"] == sorted(set(PEOPLE) - set(fold["test"]))
        assert (fold["train_examples"], fold["test_examples"]) == (18, 6)
        assert {name: count for name, count in fold["test_emotions"].items() if count} == {
            "anger": 2,
            "happiness": 2,
            "unknown": 2,
        }
    tested = [person for fold in fields["folds"] for person in fold["test"]]
    assert sorted(tested) == PEOPLE


def test_leave_one_out_tests_each_person_alone(info: DatasetInfo) -> None:
    fields = make_folds(info)
    assert fields["rule"] == {"kind": "leave_one_subject_out"}
    assert [(fold["name"], fold["test"]) for fold in fields["folds"]] == [
        (f"leave_{person}", [person]) for person in PEOPLE
    ]
    assert fields["folds"][5]["test_emotions"]["happiness"] == 2
    assert fields["folds"][5]["test_emotions"]["anger"] == 0
    assert fields["folds"][5]["train_examples"] == 21


def test_files_with_the_same_bytes_are_tested_together(info: DatasetInfo) -> None:
    # As a build with --own-groups tells of them; P9 gave no example.
    alike = [["P0", "P5", "P9"], ["P1", "P2"]]
    copied = dataclasses.replace(info, report={**info.report, "same_bytes": alike})
    for fields in (make_folds(copied, k=3), make_folds(copied)):
        tested = [fold["test"] for fold in fields["folds"]]
        assert sorted(person for people in tested for person in people) == PEOPLE
        for pair in ({"P0", "P5"}, {"P1", "P2"}):
            assert [len(pair & {*people}) for people in tested if pair & {*people}] == [2]
        for fold in fields["folds"]:
            assert fold["train"] == sorted(set(PEOPLE) - set(fold["test"]))
    assert [(fold["name"], fold["test"]) for fold in fields["folds"]][:2] == [
        ("leave_P0", ["P0", "P5"]),
        ("leave_P1", ["P1", "P2"]),
    ]
    assert len(fields["folds"]) == 6
    assert fields["folds"][0]["test_examples"] == 6


def test_folds_that_separate_files_with_the_same_bytes_are_refused(
    info: DatasetInfo, tmp_path: Path
) -> None:
    alike = [["P9"], ["P1", "P2", "P9"], ["P0", "P5"]]
    apart = write(tmp_path, make_folds(info))
    words = (
        "leave_P1 tests 'P1' and trains on 'P2', whose files have the same bytes: write it again"
    )
    with pytest.raises(UserError, match=f"{words} with  emojax data folds,  which tests them"):
        load_folds(apart, PEOPLE, alike)
    copied = dataclasses.replace(info, report={**info.report, "same_bytes": alike})
    for fields in (make_folds(copied), make_folds(copied, k=3)):
        assert load_folds(write(tmp_path, fields), PEOPLE, alike)


def test_people_of_whom_some_are_not_asked_about_are_left_out_as_the_others(
    info: DatasetInfo,
) -> None:
    alike = [["P0", "P5"], ["P1", "P2"]]
    copied = dataclasses.replace(info, report={**info.report, "same_bytes": alike})
    folds = leave_one_out(copied, ["P5", "P2", "P1", "P7", "P7"])
    assert [(fold.name, fold.test, fold.train) for fold in folds] == [
        ("leave_P1", ("P1", "P2"), ("P5", "P7")),
        ("leave_P5", ("P5",), ("P1", "P2", "P7")),
        ("leave_P7", ("P7",), ("P1", "P2", "P5")),
    ]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_can_t_be_one_is_refused(info: DatasetInfo, seed: int) -> None:
    with pytest.raises(UserError, match=rf"seed={seed}: wanted 0 \.\. 4294967295"):
        make_folds(info, k=2, seed=seed)


def test_the_digest_is_that_of_the_canonical_folds(info: DatasetInfo) -> None:
    fields = make_folds(info, k=2)
    # As the module says it, written by hand.
    folds = []
    for fold in fields["folds"]:
        test, train = (
            ",".join(f'"{person}"' for person in fold[side]) for side in ("test", "train")
        )
        folds.append(f'{{"name":"{fold["name"]}","test":[{test}],"train":[{train}]}}')
    canonical = f"[{','.join(folds)}]"
    assert fields["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()
    assert make_folds(info, k=4)["sha256"] != fields["sha256"]


def test_the_digest_of_known_folds_never_changes() -> None:
    folds = [Fold("fold_00", ("b",), ("a", "Ș")), Fold("fold_01", ("a", "Ș"), ("b",))]
    assert folds_sha256(folds) == (
        "d27a278a59407419ff51719b035eeb3e6abfa478fde6f35ba39ba8e6c9917a82"
    )


def test_folds_do_not_depend_on_the_order_of_examples(
    info: DatasetInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make_folds(info, k=3)
    import emojax.data.folds as module

    read = module.read_batches

    def backwards(info: DatasetInfo, split: str, columns: Any) -> Any:
        for batch in reversed(list(read(info, split, columns))):
            yield {name: column[::-1] for name, column in batch.items()}

    monkeypatch.setattr(module, "read_batches", backwards)
    assert make_folds(info, k=3) == before


def test_folds_come_back_as_they_were_written(info: DatasetInfo, tmp_path: Path) -> None:
    fields = make_folds(info, k=4)
    folds = load_folds(write(tmp_path, fields), PEOPLE * 3)
    assert [fold.name for fold in folds] == ["fold_00", "fold_01", "fold_02", "fold_03"]
    assert [list(fold.test) for fold in folds] == [fold["test"] for fold in fields["folds"]]
    assert [list(fold.train) for fold in folds] == [fold["train"] for fold in fields["folds"]]


def test_a_leak_is_refused_by_name(info: DatasetInfo, tmp_path: Path) -> None:
    fields = make_folds(info, k=4)
    person = fields["folds"][1]["test"][0]
    fields["folds"][1]["train"].append(person)
    path = write(tmp_path, resign(fields))
    with pytest.raises(
        UserError, match=rf"folds\.json: fold_01: person '{person}' stands in train and test"
    ):
        load_folds(path, PEOPLE)


def test_folds_that_were_changed_are_refused(info: DatasetInfo, tmp_path: Path) -> None:
    fields = make_folds(info, k=4)
    # Two people change places: nothing leaks, and yet it is another experiment.
    first, second = fields["folds"][0], fields["folds"][1]
    first["test"], second["test"] = second["test"], first["test"]
    first["train"], second["train"] = second["train"], first["train"]
    with pytest.raises(UserError, match="the folds are not those that it was written with"):
        load_folds(write(tmp_path, fields), PEOPLE)
    del fields["sha256"]
    with pytest.raises(UserError, match="the file says None"):
        load_folds(write(tmp_path, fields), PEOPLE)


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ([*PEOPLE, "P8"], "fold_00 lacks people whom the data holds: 1, the first 'P8'"),
        (PEOPLE[2:], "fold_00 names people whom the data does not hold: 2, the first 'P0'"),
        ([], "names people whom the data does not hold: 8"),
    ],
)
def test_folds_of_other_people_are_refused(
    info: DatasetInfo, tmp_path: Path, people: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_folds(write(tmp_path, make_folds(info, k=4)), people)


def _without_a_fold(fields: dict[str, Any]) -> None:
    del fields["folds"][0]


def _tested_twice(fields: dict[str, Any]) -> None:
    fields["folds"].append({**fields["folds"][0], "name": "again"})


def _twice_in_a_list(fields: dict[str, Any]) -> None:
    fields["folds"][0]["test"].append(fields["folds"][0]["test"][0])


def _empty_side(fields: dict[str, Any]) -> None:
    fields["folds"][0]["train"] = []


def _one_name(fields: dict[str, Any]) -> None:
    fields["folds"][0]["name"] = "fold_01"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_a_fold, "is tested in 0 folds, wanted 1"),
        (_tested_twice, "is tested in 2 folds, wanted 1"),
        (_twice_in_a_list, "test names somebody twice"),
        (_empty_side, "train lists no people"),
        (_one_name, "two folds have one name"),
    ],
)
def test_folds_that_are_no_cross_validation_are_refused(
    info: DatasetInfo, tmp_path: Path, change: Any, message: str
) -> None:
    fields = make_folds(info, k=4)
    change(fields)
    with pytest.raises(UserError, match=message):
        load_folds(write(tmp_path, resign(fields)), PEOPLE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\0\1\2", "not JSON"),
        ("[]", "wanted a JSON object"),
        ("{}", "version None of folds"),
        ('{"version": 99}', "version 99 of folds, this emojax reads 1"),
        ('{"version": 1, "folds": {}}', "no list of folds"),
        ('{"version": 1, "folds": [3]}', "fold 0 has no name"),
        ('{"version": 1, "folds": [{"name": "a", "test": "P1"}]}', "train lists no people"),
        ('{"version": 1, "folds": [{"name": "a", "train": [1], "test": []}]}', "lists no people"),
        ("[" * 200_000, "nested too deep"),
    ],
)
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "folds.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        load_folds(path, PEOPLE)
    assert str(path) in str(raised.value)
    with pytest.raises(UserError, match="no such file"):
        load_folds(tmp_path / "gone.json", PEOPLE)


def test_too_many_people_are_not_left_out_one_by_one(
    info: DatasetInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emojax.data.folds.MAX_LEFT_OUT", 7)
    with pytest.raises(UserError, match=r"8 people are too many .* --k"):
        make_folds(info)
    with pytest.raises(UserError, match="8 people can't fill 9 folds: wanted 8"):
        make_folds(info, k=9)


def test_the_table_is_short_and_safe(info: DatasetInfo) -> None:
    fields = make_folds(info, k=4)
    lines = folds_table(fields).splitlines()
    assert lines[0].split() == [
        *("fold", "train", "people", "examples", "test", "people", "examples"),
        *("happiness", "anger", "unknown"),
    ]
    assert lines[1].split() == ["fold_00", "6", "18", "2", "6", "2", "2", "2"]
    assert folds_table(fields, most=1).splitlines()[2] == "... and 3 more"
    fields["folds"][0]["name"] = "leave_\x1b[2J"
    assert "\x1b" not in folds_table(fields)


def test_the_command_writes_the_same_bytes_and_replaces_nothing_else(
    info: DatasetInfo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "folds.json"
    asked = command.Folds(str(info.folder), k=4, out=out)
    assert command.run(asked) == 0
    written = capsys.readouterr().out
    fields = json.loads(out.read_text())
    assert f"{out}: 4 folds of 8 people, 24 examples\nsha256 {fields['sha256']}\n" in written
    before = out.read_bytes()
    assert command.run(asked) == 0
    assert out.read_bytes() == before
    assert str(tmp_path) not in out.read_text()
    with pytest.raises(UserError, match="is there already and holds something else"):
        command.run(command.Folds(str(info.folder), leave_one_out=True, out=out))
    assert out.read_bytes() == before
    assert collections.Counter(path.name for path in tmp_path.iterdir()) == {"folds.json": 1}


def test_a_name_is_looked_for_under_data(
    info: DatasetInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").symlink_to(info.folder)
    monkeypatch.chdir(tmp_path)
    assert command.run(command.Folds("mine", leave_one_out=True)) == 0
    assert len(load_folds(tmp_path / "folds.json", PEOPLE)) == 8
    with pytest.raises(UserError, match="other: no such folder"):
        command.run(command.Folds("other", k=2, out=tmp_path / "other.json"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "found neither"),
        ({"k": 5, "leave_one_out": True}, "found both"),
        ({"leave_one_out": True, "seed": 1}, "--seed belongs to --k"),
        ({"k": 1}, "1 folds: wanted 2 or more"),
    ],
)
def test_how_to_divide_has_to_be_said(
    info: DatasetInfo, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        command.run(command.Folds(str(info.folder), out=tmp_path / "folds.json", **asked))
    assert list(tmp_path.iterdir()) == []
