from __future__ import annotations

import ast
import csv
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.data import build as build_module
from emojax.data import cells
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.cells import Job, Reading, read_into_cell
from emojax.data.shards import FaceArrays, dataset_info, load_split
from emojax.data.splits import SPLITS
from emojax.data.synthetic.layouts import SetSize
from emojax.errors import UserError
from emojax.spec import InputSpec

READY = BuildOptions(faces="ready")
EMOTIONS = ("neutral", "happiness", "contempt")


def _level(person: int, picture: int) -> int:
    """The gray value that identifies a picture of `source`."""
    return 20 + 20 * person + picture


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six people with three flat pictures each, and two files that can't be read."""
    folder = tmp_path / "source"
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "emotion", "AU01", "AU12", "AU12_i", "domain", "note"])
        for person in range(6):
            for picture in range(3):
                name = f"p{person}_{picture}.png"
                level = _level(person, picture)
                cv2.imwrite(str(folder / name), np.full((98, 80), level, np.uint8))
                row = [name, f"P{person}", EMOTIONS[picture], picture % 2, "", 0.5, "FN1", "x"]
                writer.writerow(row)
        writer.writerow(["gone.png", "P0", "neutral", 1, "", "", "FN2", "x"])
        writer.writerow(["text.png", "P1", "neutral", 1, "", "", "FN2", "x"])
    (folder / "text.png").write_text("no picture")
    return folder


def _all(folder: Path) -> dict[str, FaceArrays]:
    return {split: load_split(folder, split) for split in SPLITS}


def _assert_same(first: Path, second: Path) -> None:
    for one, other in zip(_all(first).values(), _all(second).values(), strict=True):
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_a_manifest_becomes_shards_with_its_values(source: Path, tmp_path: Path) -> None:
    out = build_dataset("manifest", source=source, out=tmp_path / "out", options=READY)
    info = dataset_info(out)
    assert info.name == "manifest"
    assert info.input_spec == InputSpec()
    assert info.num_examples == {"train": 12, "validation": 3, "test": 3}
    people: list[str] = []
    for split, arrays in _all(out).items():
        people += arrays.subjects
        assert arrays.faces.shape == (info.num_examples[split], 1, 98, 80)
        for index, path in enumerate(arrays.paths):
            person, picture = int(path[1]), int(path[3])
            assert (arrays.faces[index] == _level(person, picture)).all()
            assert arrays.subjects[arrays.subject[index]] == f"P{person}"
            assert arrays.emotion[index] == (0, 1, -1)[picture]
            assert arrays.action_units[index].tolist() == [picture % 2, *([-1] * 14)]
            assert arrays.intensities[index, 8] == 0.5
            assert arrays.domains[arrays.domain[index]] == "FN1"
        assert arrays.num_frames.tolist() == [1] * len(arrays.paths)
    assert sorted(people) == [f"P{person}" for person in range(6)]


def test_the_report_tells_what_was_left_out_and_why(source: Path, tmp_path: Path) -> None:
    out = build_dataset("manifest", source=source, out=tmp_path / "out", options=READY)
    report = json.loads((out / "report.json").read_text())
    assert (report["rows_read"], report["examples_kept"]) == (20, 18)
    assert report["left_out"] == {"missing file": 1, "unreadable file": 1}
    assert {(file["path"], file["reason"]) for file in report["left_out_files"]} == {
        ("gone.png", "missing file"),
        ("text.png", "unreadable file"),
    }
    assert report["domains"] == {
        "FN1": {"rows_read": 18, "examples_kept": 18},
        "FN2": {"rows_read": 2, "examples_kept": 0},
    }
    assert report["notes"] == [
        "columns that are not known are ignored: note",
        "emotions that the set does not hold count as unknown: 6 contempt",
    ]
    splits = report["splits"].values()
    assert sum(counts["emotions"]["happiness"] for counts in splits) == 6
    assert sum(counts["emotions"]["unknown"] for counts in splits) == 6
    assert sum(counts["action_units"]["AU01"]["present"] for counts in splits) == 6
    assert sum(counts["action_units"]["AU12"]["unknown"] for counts in splits) == 18


def test_any_number_of_workers_gives_the_same(source: Path, tmp_path: Path) -> None:
    one = build_dataset("manifest", source=source, out=tmp_path / "one", options=READY)
    options = BuildOptions(faces="ready", workers=2)
    two = build_dataset("manifest", source=source, out=tmp_path / "two", options=options)
    _assert_same(one, two)
    reports = [json.loads((out / "report.json").read_text()) for out in (one, two)]
    for report in reports:
        del report["workers"], report["seconds"], report["shard_bytes"]
    assert reports[0] == reports[1]


def test_the_same_build_is_reused_and_another_replaces_it(source: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", []

    def build(options: BuildOptions = READY) -> str:
        said.clear()
        build_dataset("manifest", source=source, out=out, options=options, say=said.append)
        return " ".join(said)

    assert build() == ""
    assert "reused" in build()
    assert "reused" in build(BuildOptions(faces="ready", workers=2))
    # Another file content, another contract, a shard that is gone: built again.
    cv2.imwrite(str(source / "p0_0.png"), np.full((98, 80), 1, np.uint8))
    assert build() == ""
    equalised = BuildOptions(faces="ready", input_spec=InputSpec(emotions=("happiness",)))
    assert build(equalised) == ""
    assert dataset_info(out).input_spec.emotions == ("happiness",)
    next(out.glob("*train.tfrecord*")).unlink()
    assert build(equalised) == ""
    assert "reused" in build(equalised)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_the_owners_split_is_kept(source: Path, tmp_path: Path) -> None:
    lines = (source / "manifest.csv").read_text().splitlines()
    split = {"P0": "test", "P1": "validation"}
    texts = [lines[0] + ",split"]
    texts += [f"{line},{split.get(line.split(',')[1], 'train')}" for line in lines[1:]]
    (source / "manifest.csv").write_text("\n".join(texts))
    out = build_dataset("manifest", source=source, out=tmp_path / "out", options=READY)
    assert load_split(out, "test").subjects == ("P0",)
    assert load_split(out, "validation").subjects == ("P1",)
    # One more picture of P0, under `train`.
    (source / "manifest.csv").write_text("\n".join([*texts, "x.png,P0,,,,,,,train"]))
    with pytest.raises(UserError, match="person 'P0' stands in train and test"):
        build_dataset("manifest", source=source, out=tmp_path / "other", options=READY)
    assert not (tmp_path / "other").exists()


def test_a_split_that_keeps_nothing_is_left_out_and_noted(source: Path, tmp_path: Path) -> None:
    (source / "manifest.csv").write_text(
        "path,subject,split\np0_0.png,P0,train\ngone.png,P1,test\n"
    )
    out = build_dataset("manifest", source=source, out=tmp_path / "out", options=READY)
    assert dataset_info(out).num_examples == {"train": 1, "validation": 0, "test": 0}
    assert load_split(out, "test").faces.shape == (0, 1, 98, 80)
    assert "no example is left of the split test" in dataset_info(out).report["notes"]


def test_no_example_at_all_is_an_error(source: Path, tmp_path: Path) -> None:
    # Flat pictures hold no face.
    with pytest.raises(UserError, match=r"no example is left: 18 no face, 1 missing file, 1 unre"):
        build_dataset("manifest", source=source, out=tmp_path / "out")
    # What was read is kept: all of it may be right, and the source mended.
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.building", "source"]
    assert _left_in(tmp_path / ".out.building") == ["cells", "lock"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("manifest", "manifest needs --source"), ("ck", "data set 'ck' is not known: use one of")],
)
def test_what_to_build_has_to_be_said(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_dataset(name, out=tmp_path / "out")
    with pytest.raises(UserError, match="synthetic takes no --source"):
        build_dataset("synthetic", source=tmp_path, out=tmp_path / "out")


def test_nothing_but_an_older_build_is_ever_replaced(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds the source .* which the build would"):
        build_dataset("manifest", source=source, out=source, options=READY)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "report.json").write_text("{}")
    with pytest.raises(UserError, match="a folder that is no whole build"):
        build_dataset("manifest", source=source, out=pictures, options=READY)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match="not a folder"):
        build_dataset("manifest", source=source, out=file, options=READY)
    assert file.read_text() == "mine"
    assert (source / "manifest.csv").is_file()


def test_a_build_in_which_somebody_keeps_something_is_reused_and_not_replaced(
    source: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "out", []
    build_dataset("manifest", source=source, out=out, options=READY)
    (out / "notes.txt").write_text("mine")
    build_dataset("manifest", source=source, out=out, options=READY, say=said.append)
    assert "reused" in said[0]
    with pytest.raises(UserError, match=r"holds 'notes\.txt', which is no part of a build"):
        build_dataset(
            "manifest", source=source, out=out, options=dataclasses.replace(READY, seed=1)
        )
    assert (out / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_files_with_the_same_bytes_stand_in_one_split(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    names = [f"{number:02d}.png" for number in range(12)]
    for number, name in enumerate(names):
        # Four files of each of three pictures.
        cv2.imwrite(str(source / name), np.full((98, 80), 60 * (1 + number % 3), np.uint8))
    manifest = source / "manifest.csv"
    manifest.write_text("\n".join(["path", *names, "gone_1.png", "gone_2.png", "gone_3.png"]))
    options = dataclasses.replace(READY, own_groups=True)
    out = build_dataset("manifest", source=source, out=tmp_path / "out", options=options)
    report = dataset_info(out).report
    # What can't be read is alike in nothing.
    assert report["same_bytes"] == [names[start::3] for start in range(3)]
    assert any("12 files have the same bytes as another" in note for note in report["notes"])
    shown = [set(np.unique(load_split(out, split).faces)) for split in SPLITS]
    assert shown[0].isdisjoint(shown[1] | shown[2])
    assert shown[1].isdisjoint(shown[2])
    assert report["source"] == str(manifest)
    # Whoever names the splits has named them.
    owners = [f"{name},{('train', 'test')[number % 2]}" for number, name in enumerate(names)]
    manifest.write_text("\n".join(["path,split", *owners]))
    out = build_dataset("manifest", source=source, out=tmp_path / "owners", options=options)
    assert dataset_info(out).report["same_bytes"] == []
    assert dataset_info(out).num_examples == {"train": 6, "validation": 0, "test": 6}


def test_a_failed_build_leaves_the_older_one(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = build_dataset("manifest", source=source, out=tmp_path / "out", options=READY)
    before = load_split(out, "train")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "report.json")

    monkeypatch.setattr(build_module, "write_json", fail)
    with pytest.raises(OSError, match="No space left"):
        build_dataset(
            "manifest", source=source, out=out, options=BuildOptions(faces="ready", seed=1)
        )
    np.testing.assert_array_equal(load_split(out, "train").faces, before.faces)
    # What was read already is kept for when there is room again, and nothing else.
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.building", "out", "source"]
    work = tmp_path / ".out.building"
    assert sorted(path.name for path in work.iterdir()) == ["cells", "lock"]
    monkeypatch.undo()
    said: list[str] = []
    again = BuildOptions(faces="ready", seed=1)
    build_dataset("manifest", source=source, out=out, options=again, say=said.append)
    assert said == ["20 of 20 files were read by a build that was stopped: kept"]
    assert not work.exists()


def test_a_build_killed_between_the_renames_is_put_right(source: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", []
    build_dataset("manifest", source=source, out=out, options=READY)
    # As SIGKILL leaves it: the older build set aside, the new one not yet in its place.
    out.rename(tmp_path / ".out.replaced")
    (tmp_path / ".out.building" / "tfds" / "junk").mkdir(parents=True)
    build_dataset("manifest", source=source, out=out, options=READY, say=said.append)
    assert "reused" in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_a_link_to_the_output_folder_is_followed(source: Path, tmp_path: Path) -> None:
    real, out, said = tmp_path / "disk" / "shards", tmp_path / "out", []
    real.mkdir(parents=True)
    out.symlink_to(real)

    def build(**changed: int) -> None:
        options = BuildOptions(faces="ready", **changed)
        build_dataset("manifest", source=source, out=out, options=options, say=said.append)

    for seed in (0, 1):
        build(seed=seed)
        assert out.readlink() == real
        assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "out", "source"]
        assert [path.name for path in real.parent.iterdir()] == ["shards"]
    # As SIGKILL leaves it between the renames, and what an emojax that renamed links left.
    real.rename(real.with_name(".shards.replaced"))
    build(seed=1)
    real.with_name(".shards.replaced").symlink_to(tmp_path / "source")
    build(seed=1)
    assert len(said) == 2
    assert all("reused" in line for line in said)
    assert [path.name for path in real.parent.iterdir()] == ["shards"]
    assert (source / "manifest.csv").is_file()
    # A disk that is not there is not made up for.
    out.unlink()
    out.symlink_to(tmp_path / "not" / "mounted")
    with pytest.raises(UserError, match="not a folder"):
        build()


def _left_in(work: Path) -> list[str]:
    return sorted(path.name for path in work.iterdir())


def _stopped_build(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stop a build when all is read; return the folder of its cells."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "report.json")

    with monkeypatch.context() as patch:
        patch.setattr(build_module, "write_json", fail)
        with pytest.raises(OSError, match="No space left"):
            build_dataset("manifest", source=source, out=out, options=READY)
    return out.with_name(f".{out.name}.building") / "cells"


def test_a_mistake_deletes_nothing_that_a_stopped_build_had_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    folder = _stopped_build(source, out, monkeypatch)
    before = _left_in(folder)
    assert len(before) == 2
    with pytest.raises(UserError, match="typo"):
        build_dataset("manifest", source=tmp_path / "typo", out=out, options=READY)
    assert _left_in(folder) == before
    # Where nothing was read nothing stays.
    with pytest.raises(UserError, match="typo"):
        build_dataset("manifest", source=tmp_path / "typo", out=tmp_path / "new", options=READY)
    assert not (tmp_path / ".new.building").exists()


@pytest.mark.parametrize("damage", ["emptied", "cut", "changed"])
def test_a_damaged_cell_alone_is_read_again(
    damage: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _stopped_build(source, tmp_path / "out", monkeypatch)
    # Sixteen pictures are together in one, four in the other.
    cell = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(cell.read_bytes())
    content[len(content) // 2] ^= 1
    end = {"emptied": 0, "cut": len(content) // 2, "changed": len(content)}[damage]
    cell.write_bytes(content[:end])
    said: list[str] = []
    out = build_dataset(
        "manifest", source=source, out=tmp_path / "out", options=READY, say=said.append
    )
    assert said == ["4 of 20 files were read by a build that was stopped: kept"]
    assert sum(dataset_info(out).num_examples.values()) == 18


def test_a_build_that_lost_a_file_to_its_reader_is_tried_again_when_that_is_asked_for(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, said = tmp_path / "out", []

    def lose_one(reading: Reading, job: Job, *_: object) -> None:
        read_into_cell(reading, job, {0: "its reader did not come back for 900 s"})

    def build(retry: bool = False) -> str:
        options = dataclasses.replace(READY, retry=retry)
        build_dataset("manifest", source=source, out=out, options=options, say=said.append)
        return dataset_info(out).report["fingerprint"]

    with monkeypatch.context() as patch:
        patch.setattr(build_module, "read_into_cell", lose_one)
        lost = build()
    assert dataset_info(out).report["left_out"]["broken reader"] == 2
    # A training takes what is there: to read it again would take as long each time.
    assert build() == lost
    assert "reused" in said.pop()
    whole = build(retry=True)
    assert "broken reader" not in dataset_info(out).report["left_out"]
    assert said == []
    # Of other examples: a run on the first ones does not go on with these.
    assert whole != lost
    assert build(retry=True) == whole
    assert "reused" in said[0]


# Where faces and sounds come from, but neither what they are nor which are kept.
DECIDES_NOTHING = {"errors.py", "files.py", "version.py"}


@pytest.mark.parametrize("named", [cells._CODE, build_module._CODE])
def test_all_code_that_decides_what_a_file_gives_names_its_result(named: tuple[str, ...]) -> None:
    package = Path(cells.__file__).parents[1]
    reached, waiting = set(), {"data/examples.py", "data/sound.py"}
    while waiting:
        place = waiting.pop()
        reached.add(place)
        for node in ast.walk(ast.parse((package / place).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("emojax"):
                home = "/".join((node.module or "").split(".")[1:])
                told = {
                    f"{home}.py",
                    *(f"{home}/{name.name}.py".lstrip("/") for name in node.names),
                }
                waiting |= {path for path in told if (package / path).is_file()} - reached
    labels = {"data/rows.py", "labels.py"}
    missing = reached - set(named) - DECIDES_NOTHING
    assert missing <= (labels if named is cells._CODE else set())
    assert {"face.py", "audio.py", "data/frames.py"} < reached


def test_synthetic_people_go_the_same_way(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    options = BuildOptions(size=SetSize(train=2, validation=1, test=1, pictures=2))
    out = build_dataset("synthetic", out=tmp_path / "out", options=options)
    info = dataset_info(out)
    assert info.name == "synthetic"
    assert info.report["rows_read"] == 4 * 4 * 2
    assert info.report["examples_kept"] >= 0.9 * 4 * 4 * 2
    assert [len(load_split(out, split).subjects) for split in SPLITS] == [2, 1, 1]
    # The kept source says the same of each face as the shards do.
    with (out / "source" / "manifest.csv").open() as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    arrays = load_split(out, "train")
    for index, path in enumerate(arrays.paths):
        known = [int(rows[path][name]) for name in info.input_spec.action_units]
        assert arrays.action_units[index].tolist() == known
        graded = [float(rows[path][f"{name}_i"]) for name in info.input_spec.action_units]
        np.testing.assert_allclose(arrays.intensities[index], graded, rtol=1e-6)
        assert arrays.domains[arrays.domain[index]] == rows[path]["domain"]
    # TFDS and TensorFlow say nothing on the way.
    written = capfd.readouterr()
    assert written.out == ""
    assert "oneDNN" not in written.err
    assert "Generating" not in written.err
