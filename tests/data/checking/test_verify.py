from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.commands.data.verify import Verify, run
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.builders import BUILDERS
from emojax.data.checking.duplicates import Example, Pair
from emojax.data.checking.sanity import PROBLEMS
from emojax.data.checking.verify import (
    Verdict,
    check_checksums,
    check_expected,
    check_keys,
    check_pairs,
    check_people,
    verify,
)
from emojax.data.rows import Expected
from emojax.data.shards import dataset_info
from emojax.errors import UserError

SPLITS = ("train", "train", "train", "train", "validation", "test")


def _pictures(folder: Path, seed: int, repeat: bool) -> Path:
    """A manifest of six people with two pictures each; `repeat` puts copies and a blank in."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    pictures = {}
    for person in range(6):
        for picture in range(2):
            coarse = rng.integers(0, 256, (12, 10), np.uint8)
            crop = cv2.resize(coarse, (80, 98), interpolation=cv2.INTER_CUBIC)
            pictures[f"p{person}_{picture}.png"] = crop
    if repeat:
        pictures["p5_0.png"] = pictures["p0_0.png"]
        pictures["p4_1.png"] = (pictures["p1_1.png"] * 0.6).astype(np.uint8)
        pictures["p2_0.png"] = np.full((98, 80), 7, np.uint8)
    lines = ["path,subject,emotion,split"]
    for name, crop in pictures.items():
        assert cv2.imwrite(str(folder / name), crop)
        person = int(name[1])
        lines.append(
            f"{name},P{person},{('fear', 'anger')[(person + int(name[3])) % 2]},{SPLITS[person]}"
        )
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = _pictures(tmp_path_factory.mktemp("clean") / "source", 0, repeat=False)
    options = BuildOptions(faces="ready")
    return build_dataset("manifest", source=folder, out=folder.parent / "out", options=options)


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = _pictures(tmp_path_factory.mktemp("repeated") / "source", 1, repeat=True)
    options = BuildOptions(faces="ready")
    return build_dataset("manifest", source=folder, out=folder.parent / "out", options=options)


@pytest.fixture
def copy(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "copy"))


def _found(verdict: Verdict) -> dict[str, str]:
    return {check.name: check.found for check in verdict.checks if check.holds is False}


def test_nothing_is_found_in_a_set_without_fault(
    clean: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "duplicates.png").write_bytes(b"of an older set")
    assert run(Verify(str(clean), out=tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    marks = {line.split("  ")[0]: line for line in lines}
    assert list(marks) == [
        *("shards", "expected counts", "checksums", "people", "names", *PROBLEMS, "classes"),
        *("exact copies", "near copies", "mirrored copies", "copies across", "labels of copies"),
    ]
    assert marks["expected counts"].split()[2:5] == ["-", "12", "rows,"]
    assert "; train 8, validation 2, test 2; nobody says how many" in marks["expected counts"]
    assert "in train/validation/test: fear 4/1/1; anger 4/1/1" in marks["classes"]
    assert marks["blank"].endswith("ok     no example of 12 has a face of one gray value")
    assert not any("FOUND" in line for line in lines)
    # The header alone, and no picture of what another set held.
    assert len((tmp_path / "duplicates.csv").read_text().splitlines()) == 1
    assert not (tmp_path / "duplicates.png").exists()


def test_copies_and_a_blank_are_found_counted_and_shown(
    repeated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Verify(str(repeated))) == 1
    text = capsys.readouterr().out
    assert f"{repeated / 'duplicates.csv'}: all pairs" in text
    found = _found(verify(repeated))
    assert found == {
        "blank": "1 of 12 examples have a face of one gray value: p2_0.png, ..",
        "exact copies": "1 pairs (the same pixels): 1 train-test",
        "near copies": "1 pairs (likeness of 0.75 or more): 1 train-validation",
        "copies across": "1 of 2 in test (50.0%) have one in train; "
        "1 of 2 in validation (50.0%) have one in train",
        "labels of copies": "2 pairs of copies have two emotions, 1 of them the same pixels",
    }
    with (repeated / "duplicates.csv").open() as file:
        pairs = {
            (line["kind"], *sorted((line["path_1"], line["path_2"])), line["conflict"])
            for line in csv.DictReader(file)
        }
    assert pairs == {
        ("exact", "p0_0.png", "p5_0.png", "1"),
        ("near", "p1_1.png", "p4_1.png", "1"),
    }
    sheet = cv2.imread(str(repeated / "duplicates.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None
    first = cv2.imread(str(repeated.parent / "source" / "p0_0.png"), cv2.IMREAD_GRAYSCALE)
    assert first is not None
    np.testing.assert_array_equal(sheet[38:136, 4:84], first)
    np.testing.assert_array_equal(sheet[38:136, 84:164], first)
    # What a stricter person calls no copy.
    assert "near copies" not in _found(verify(repeated, near=1.0))


def test_shards_that_are_gone_or_changed_are_found(copy: Path) -> None:
    (shard,) = copy.glob("*test.tfrecord*")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    # Its length is right, its content is not.
    found = _found(verify(copy))
    assert list(found) == ["reading"]
    assert "a shard of test is missing, truncated or altered" in found["reading"]
    shard.write_bytes(data[:-9])
    found = _found(verify(copy))
    assert (
        f"{shard.name} has {len(data) - 9} bytes, report.json says {len(data)}" in found["shards"]
    )
    shard.unlink()
    assert (
        f"{shard.name} has no bytes, report.json says {len(data)}" in _found(verify(copy))["shards"]
    )
    assert run(Verify(str(copy))) == 1


def _rewrite(folder: Path, **fields: object) -> None:
    report = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**report, **fields}))


def test_counts_are_held_against_the_owners(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(expected: Expected) -> tuple[bool | None, str]:
        monkeypatch.setattr(BUILDERS["manifest"], "EXPECTED", expected)
        return check_expected(dataset_info(copy))[1:]

    exact = {"train": 8, "validation": 2, "test": 2}
    holds, found = said(Expected(12, 6, exact))
    assert (holds, found) == (
        True,
        "12 rows, 0 left out, 6 people; train 8, validation 2, test 2",
    )
    assert said(Expected(12, None))[0] is True
    assert said(Expected(13, 6)) == (False, f"{found}; its owner says 13 rows")
    assert said(Expected(12, 7)) == (False, f"{found}; its owner says 7 people")
    holds, found = said(Expected(12, None, {"train": 7, "validation": 3, "test": 2}))
    assert holds is False
    assert found.endswith("its owner says train 7, validation 3, test 2")
    # One row was left out and said so; another one that somebody added does not count.
    _rewrite(copy, rows_read=16, left_out={"no face": 1, "augmented copy": 3})
    holds, found = said(Expected(13, 6, {"train": 8, "validation": 2, "test": 3}))
    assert holds is True
    assert found.startswith("13 rows, 1 left out, 6 people")
    assert said(Expected(13, 6, {"train": 9, "validation": 2, "test": 3}))[0] is False
    # Nor do strangers' files, whatever was wrong with them.
    strangers = {"foreign name": 1, "unknown label": 2, "split in doubt": 4}
    _rewrite(copy, rows_read=13 + 7, left_out={"no face": 1, **strangers})
    holds, found = said(Expected(13, 6, {"train": 8, "validation": 2, "test": 3}))
    assert (holds, found[:22]) == (True, "13 rows, 1 left out, 6")
    # The report against the shards' own record.
    _rewrite(copy, rows_read=13, left_out={})
    assert "but report.json counts" in said(Expected(13, 6))[1]


@pytest.mark.parametrize(
    "fields", [{"splits": 3}, {"left_out": None}, {"rows_read": "x"}, {"splits": {"train": {}}}]
)
def test_a_report_that_is_none_is_one_line(fields: dict[str, object], copy: Path) -> None:
    _rewrite(copy, **fields)
    with pytest.raises(UserError, match=r"report\.json: not what a build writes"):
        verify(copy)


def test_class_counts_are_held_against_the_report(copy: Path) -> None:
    report = json.loads((copy / "report.json").read_text())
    report["splits"]["train"]["emotions"]["fear"] = 5
    (copy / "report.json").write_text(json.dumps(report))
    assert "in train/validation/test: fear 4/1/1" in _found(verify(copy))["classes"]


def test_checksums_are_compared_where_the_owner_publishes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_checksums("manifest", None)[1] is None
    holds, found = check_checksums("manifest", tmp_path)[1:]
    assert holds is None
    assert found.endswith(f"is known: --source {tmp_path} is compared with nothing")
    table = {"a/b.csv": hashlib.sha256(b"mine").hexdigest().upper(), "c.csv": "0" * 64}
    monkeypatch.setattr(BUILDERS["manifest"], "CHECKSUMS", table, raising=False)
    assert "2 published: --source DIR" in check_checksums("manifest", None).found
    assert check_checksums("manifest", tmp_path)[1] is None
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.csv").write_bytes(b"mine")
    assert check_checksums("manifest", tmp_path)[1:] == (
        True,
        "1 of 2 published files are there and are the owner's",
    )
    (tmp_path / "c.csv").write_bytes(b"changed")
    holds, found = check_checksums("manifest", tmp_path)[1:]
    assert (holds, found) == (
        False,
        f"{tmp_path / 'c.csv'} is not the owner's file: fetch it again",
    )


def test_a_person_in_two_splits_and_a_name_on_two_examples_are_found() -> None:
    one = Example("train", "a", "P1", "")
    assert check_people([one, Example("train", "b", "P1", "")]).holds
    check = check_people([one, Example("test", "b", "P1", ""), Example("test", "c", "P2", "")])
    assert check[1:] == (
        False,
        "1 of 2 stand in more than one split, 'P1' in train and test",
    )
    assert check_keys([one, Example("test", "a", "P2", "")])[1:] == (
        False,
        "'a' stands 2 times in the set",
    )


def test_copies_that_cannot_be_told_are_said_to_be_so() -> None:
    examples = [Example("train", "a", "P1", "fear"), Example("train", "b", "P2", "fear")]
    checks = check_pairs([Pair("exact", 1.0, 0, 1)], examples, None)
    assert [check.holds for check in checks] == [False, None, None, True, True]
    assert "strangers are as alike as copies would be" in checks[1].found
    assert [check.holds for check in check_pairs([], examples, 0.9)] == [True] * 5


def test_an_emotion_that_is_tested_has_to_be_trained(tmp_path: Path) -> None:
    source = _pictures(tmp_path / "source", 2, repeat=False)
    text = (source / "manifest.csv").read_text().replace("p5_0.png,P5,anger", "p5_0.png,P5,sadness")
    (source / "manifest.csv").write_text(text)
    options = BuildOptions(faces="ready")
    out = build_dataset("manifest", source=source, out=tmp_path / "out", options=options)
    found = _found(verify(out))
    assert list(found) == ["classes"]
    assert found["classes"].startswith(
        "no sadness in train; in train/validation/test: sadness 0/0/1"
    )


def test_what_is_no_set_is_refused(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a data set of emojax"):
        verify(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        run(Verify(str(tmp_path / "nothing")))
    for near in (0.0, 1.5, float("nan")):
        with pytest.raises(
            UserError, match=r"wanted a likeness above 0 and up to 1, such as 0\.75"
        ):
            verify(clean, near=near)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="choose another --out"):
        verify(clean, out=tmp_path / "file")


def test_a_name_means_the_set_in_data_whatever_lies_under_it(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").symlink_to(clean)
    # The owner's files.
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    run(Verify("mine", out=tmp_path / "found"))
    assert list((tmp_path / "mine").iterdir()) == []
