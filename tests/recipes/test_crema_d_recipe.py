"""The recipe of the network for voices: what it takes for its data, and what it makes of it."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emojax.data.shards import dataset_info, load_split
from emojax.errors import UserError
from emojax.spec import read_json

CLIPS = [
    f"{actor}_{sentence}_{emotion}_XX"
    for actor in (1001, 1002, 1003, 1004)
    for sentence in ("IEO", "DFA")
    for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
]


@pytest.fixture
def recipe(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for folder in ("experiments", "experiments/recipes"):
        monkeypatch.syspath_prepend(repository / folder)
    yield importlib.import_module("crema_d")
    sys.modules.pop("crema_d")


def write(path: Path, **changes: Any) -> Path:
    pictures = np.random.default_rng(0).integers(0, 256, (len(CLIPS), 64, 96), np.uint8)
    pictures[:, :, 80:] = 2
    arrays = {"clip": np.array(CLIPS), "log_mel": pictures, **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_spectrograms_are_read_in_the_order_of_their_names(recipe: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz")
    first = recipe.read_voices(path)
    assert first.clips == sorted(CLIPS)
    with np.load(path) as held:
        backwards = {"clip": held["clip"][::-1], "log_mel": held["log_mel"][::-1]}
        wrong = held["log_mel"][::-1]
    assert recipe.read_voices(write(tmp_path / "b.npz", **backwards)).sha256() == first.sha256()
    assert recipe.read_voices(write(tmp_path / "c.npz", log_mel=wrong)).sha256() != first.sha256()
    # A name that the owner mended in 2022.
    old = [*CLIPS[:-1], "1040_ITH_SAD_X"]
    assert "1040_ITH_SAD_XX" in recipe.read_voices(write(tmp_path / "d.npz", clip=old)).clips


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clip": None}, "no array 'clip': wanted clip"),
        ({"log_mel": np.zeros((48, 64, 95), np.uint8)}, r"log_mel is uint8 \[48, 64, 95\]: wanted"),
        ({"log_mel": np.zeros((48, 64, 96))}, r"log_mel is float64 \[48, 64, 96\]: wanted"),
        ({"clip": np.array(["my voice", *CLIPS[1:]])}, "'my voice' is no clip of CREMA-D's"),
        ({"clip": np.array([CLIPS[1], *CLIPS[1:]])}, "1 clips are there twice"),
        ({"clip": np.array(CLIPS[0])}, r"clip is of shape \[\]: wanted clip"),
    ],
)
def test_what_is_no_set_of_spectrograms_is_refused(
    recipe: Any, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        recipe.check_source(write(tmp_path / "voices.npz", **changes), any_copy=True)


def test_another_copy_is_taken_only_when_asked_for(recipe: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "voices.npz")
    with pytest.raises(UserError, match="use --any-copy"):
        recipe.check_source(path, any_copy=False)
    assert "48 clips, 4 people" in recipe.check_source(path, any_copy=True)
    (tmp_path / "AudioWAV").mkdir()
    # As a clone is before  git lfs pull.
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    (tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_text(pointer)
    with pytest.raises(UserError, match=r"0 recordings AudioWAV/\*.wav; CREMA-D has 7,442"):
        recipe.check_source(tmp_path, any_copy=False)
    # None at all is no copy.
    with pytest.raises(UserError, match=r"1001_DFA_ANG_XX\.wav: a pointer of Git LFS"):
        recipe.check_source(tmp_path, any_copy=True)
    with pytest.raises(UserError, match="no such file or folder"):
        recipe.check_source(tmp_path / "nothing", any_copy=False)


def test_the_shards_hold_what_was_given_and_the_floor_as_silence(
    recipe: Any, tmp_path: Path
) -> None:
    source = write(tmp_path / "voices.npz")
    options = recipe.RecipeOptions(source=source, data=tmp_path / "data", workers=0)
    data = recipe.build(options)
    with (tmp_path / "data-source" / "manifest.csv").open(newline="") as file:
        rows = {row["spectrogram_path"]: row for row in csv.DictReader(file)}
    assert rows["1003_DFA_FEA_XX.npy"]["emotion"] == "fear"
    assert dataset_info(data).input_spec.sound == recipe.PRESETS["speech"]
    voices = recipe.read_voices(source)
    train, validation = load_split(data, "train"), load_split(data, "validation")
    assert (len(train.emotion), len(validation.emotion)) == (36, 12)
    assert set(train.subjects).isdisjoint(validation.subjects)
    for arrays in (train, validation):
        assert arrays.has_sound.all()
        assert not arrays.num_frames.any()
        for path, picture in zip(arrays.paths, arrays.spectrograms, strict=True):
            wanted = voices.pictures[voices.clips.index(Path(path).stem)]
            np.testing.assert_array_equal(picture, np.where(wanted <= 2, 0, wanted))


def test_recordings_are_built_as_spectrograms_are(recipe: Any, tmp_path: Path) -> None:
    source = tmp_path / "CREMA-D"
    for folder in ("AudioWAV", "VideoFlash"):
        (source / folder).mkdir(parents=True)
    noise = np.random.default_rng(0).integers(-9000, 9000, 16_000).astype("<i2")
    for clip in CLIPS:
        with wave.open(str(source / "AudioWAV" / f"{clip}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(noise.tobytes())
        # Never opened: the network only listens.
        (source / "VideoFlash" / f"{clip}.flv").write_bytes(b"no video")
    options = recipe.RecipeOptions(source=source, data=tmp_path / "data", workers=0, any_copy=True)
    data = recipe.build(options)
    train, validation = load_split(data, "train"), load_split(data, "validation")
    assert (len(train.emotion), len(validation.emotion)) == (36, 12)
    assert not train.num_frames.any()
    assert train.has_sound.all()
    # By the same person as from spectrograms.
    other = recipe.RecipeOptions(
        source=write(tmp_path / "voices.npz"), data=tmp_path / "other", workers=0
    )
    assert set(load_split(recipe.build(other), "validation").subjects) == set(validation.subjects)


@pytest.mark.slow
def test_the_whole_recipe_goes_from_data_to_an_artifact_that_hears(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = recipe.RecipeOptions(
        source=write(tmp_path / "voices.npz"),
        data=tmp_path / "data",
        out=tmp_path / "runs",
        epochs=1,
        folds=2,
        workers=0,
        any_copy=True,
    )
    recipe.cook(options)
    folds = read_json(tmp_path / "runs" / "folds" / "results.json")
    assert folds["test"]["overall"]["examples"] == 48
    spec = read_json(tmp_path / "runs" / "artifact" / "spec.json")
    assert spec["looks_at"] == "clip"
    assert spec["clip"]["sees"] is False
    capsys.readouterr()
    # Given again, nothing is trained.
    recipe.cook(dataclasses.replace(options))
    assert "already trained" in capsys.readouterr().out
