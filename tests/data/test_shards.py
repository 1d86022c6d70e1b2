from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from emojax.data import summary
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.shards import DatasetInfo, dataset_info, load_split, read_batches
from emojax.data.summary import contact_sheet, counts_table, people_table
from emojax.errors import UserError
from emojax.spec import InputSpec

PICTURES = 300

# TFDS 4.9 asks protobuf in a way that protobuf 6 deprecates.
tfds_reads = pytest.mark.filterwarnings(r"ignore:label\(\) is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of noise pictures of three people, more than one batch of them to train on."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    lines = ["path,subject,emotion,AU06,AU06_confidence,emotion_confidence,split"]
    for index in range(PICTURES):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 256, (98, 80), np.uint8))
        split = "train" if index < 290 else "validation"
        person = f"{split}{index % 2}"
        lines.append(f"{index}.png,{person},fear,{index % 2},0.25,0.5,{split}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    options = BuildOptions(faces="ready")
    return build_dataset("manifest", source=folder, out=folder / "out", options=options)


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


@tfds_reads
def test_whole_batches_give_what_tfds_reads_one_by_one(built: Path) -> None:
    arrays = load_split(built, "train")
    read_config = tfds.ReadConfig(interleave_cycle_length=1)
    builder = tfds.builder_from_directory(built)
    reference = list(
        tfds.as_numpy(builder.as_dataset(split="train", read_config=read_config))  # pyright: ignore
    )
    assert len(reference) == len(arrays.faces) == 290
    for name in ("faces", "num_frames", "timestamps", "success", "emotion", "action_units"):
        expected = np.stack([example[name] for example in reference])
        np.testing.assert_array_equal(getattr(arrays, name), expected, err_msg=name)
    for name in ("emotion_confidence", "intensities", "action_unit_confidence"):
        expected = np.stack([example[name] for example in reference])
        np.testing.assert_array_equal(getattr(arrays, name), expected, err_msg=name)
    assert list(arrays.paths) == [example["path"].decode() for example in reference]
    names = [arrays.subjects[index] for index in arrays.subject]
    assert names == [example["subject"].decode() for example in reference]


def test_columns_have_their_types(built: Path) -> None:
    arrays = load_split(built, "train")
    types = {
        name: str(value.dtype) for name, value in vars(arrays).items() if hasattr(value, "dtype")
    }
    assert types == {
        "faces": "uint8",
        "spectrograms": "uint8",
        "has_sound": "uint8",
        "num_frames": "int32",
        "timestamps": "float32",
        "success": "uint8",
        "emotion": "int32",
        "emotion_confidence": "float32",
        "votes": "int32",
        "votes_total": "int32",
        "action_units": "int32",
        "intensities": "float32",
        "action_unit_confidence": "float32",
        "subject": "int32",
        "domain": "int32",
    }
    assert set(arrays.emotion_confidence.tolist()) == {0.5}
    assert arrays.action_unit_confidence[0, 4] == 0.25


def test_only_the_asked_columns_are_parsed(built: Path) -> None:
    batches = list(read_batches(dataset_info(built), "validation", ("subject", "emotion")))
    assert [set(batch) for batch in batches] == [{"subject", "emotion"}]
    assert sorted(set(batches[0]["subject"].tolist())) == ["validation0", "validation1"]


def test_a_missing_folder_and_a_strange_one_are_named(built: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder: build it with"):
        load_split(tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match=r"not a data set of emojax \(dataset_info\.json is miss"):
        load_split(tmp_path, "train")
    with pytest.raises(UserError, match="split 'dev': use train, validation, test"):
        load_split(built, "dev")


def test_a_split_without_examples_is_empty(built: Path) -> None:
    arrays = load_split(built, "test")
    assert arrays.faces.shape == (0, 1, 98, 80)
    assert arrays.subjects == arrays.paths == ()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone", "shorter"])
def test_a_damaged_shard_is_an_error_never_fewer_examples(copy: Path, damage: str) -> None:
    (shard,) = copy.glob("*train.tfrecord*")
    content = bytearray(shard.read_bytes())
    if damage == "truncated":
        shard.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
        shard.write_bytes(content)
    elif damage == "gone":
        shard.unlink()
    else:
        # Cut exactly between two records: only the count can tell.
        length = int.from_bytes(content[:8], "little") + 16
        shard.write_bytes(content[:length])
    with pytest.raises(UserError, match="build the data set again") as caught:
        load_split(copy, "train")
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "input_spec.json"])
def test_a_damaged_description_is_an_error(copy: Path, name: str) -> None:
    (copy / name).write_text('{"splits": 3')
    with pytest.raises(UserError, match=r"copy.*json"):
        load_split(copy, "train")


def test_shards_cut_for_another_contract_are_refused(built: Path) -> None:
    with pytest.raises(UserError, match=r"built with crop_scale=1\.0, wanted 1\.2"):
        load_split(built, "train", InputSpec(crop_scale=1.2))
    # What is applied after reading may differ.
    load_split(built, "train", InputSpec(emotion_activation="softmax"))


@tfds_reads
def test_the_spec_travels_with_the_shards(built: Path) -> None:
    assert json.loads((built / "input_spec.json").read_text())["height"] == 98
    builder = tfds.builder_from_directory(built)
    assert builder.info.metadata is not None
    assert builder.info.metadata["input_spec"]["width"] == 80


def test_the_table_counts_labels(built: Path) -> None:
    rows = {
        line.rsplit(maxsplit=2)[0].strip(): line.split()[-2:]
        for line in counts_table(dataset_info(built)).splitlines()
    }
    assert rows["examples"] == ["290", "10"]
    assert rows["people"] == ["2", "2"]
    assert rows["fear"] == ["290", "10"]
    assert rows["AU06 present/known"] == ["145/290", "5/10"]
    assert rows["AU12 present/known"] == ["0/0", "0/0"]


def test_a_name_that_would_move_the_cursor_is_quoted(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = summary.read_batches

    def renamed(info: DatasetInfo, split: str, columns: Sequence[str]) -> Iterator[Any]:
        for batch in read(info, split, columns):
            named = {name: f"{name}\x1b[2J" for name in ("subject", "domain") if name in batch}
            count = len(batch["emotion"])
            yield batch | {name: np.array([text] * count) for name, text in named.items()}

    monkeypatch.setattr(summary, "read_batches", renamed)
    info = dataset_info(built)
    for table, shown in (
        (counts_table, r"domain 'domain\x1b[2J'"),
        (people_table, r"'subject\x1b[2J'"),
    ):
        text = table(info)
        assert "\x1b" not in text
        assert shown in text


def test_the_sheet_shows_the_faces_of_each_label(built: Path) -> None:
    info = dataset_info(built)
    sheet = contact_sheet(info, faces_per_row=3)
    # Two labels occur: fear and AU06.
    assert sheet.shape == (22 + 2 * 100, 150 + 3 * 82)
    shown = sheet[22 : 22 + 98, 150 : 150 + 80]
    faces = np.concatenate([load_split(built, split).faces[:, 0] for split in ("train",)])
    assert any(np.array_equal(shown, face) for face in faces)
