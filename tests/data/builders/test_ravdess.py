"""RAVDESS's folders as rows: speech once, whatever is there of it, and no song."""

from __future__ import annotations

import os
import wave
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from emojax.data.build import build_dataset
from emojax.data.builders.ravdess import Ravdess
from emojax.data.rows import Request, Source
from emojax.data.shards import dataset_info, load_split
from emojax.errors import UserError


def put(source: Path, *names: str, content: bytes = b"recording") -> None:
    for name in names:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read(source: Path) -> Source:
    return Ravdess.read_source(source, Request(source / "work"))


def speech_of(actor: int) -> Iterator[str]:
    """Yield the names of the 60 sounds that the owner publishes of an actor."""
    for emotion, intensity, statement, repetition in product(range(1, 9), (1, 2), (1, 2), (1, 2)):
        if (emotion, intensity) != (1, 2):
            name = f"03-01-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}"
            yield f"Actor_{actor:02}/{name}.wav"


def test_the_whole_set(tmp_path: Path) -> None:
    for actor in range(1, 25):
        put(tmp_path, *speech_of(actor))
    found = read(tmp_path)
    assert Ravdess.EXPECTED is not None
    assert len(found.rows) == Ravdess.EXPECTED.rows == 1440
    assert len({row.subject for row in found.rows}) == Ravdess.EXPECTED.people == 24
    assert Counter(row.emotion for row in found.rows) == {
        "neutral": 96,
        **dict.fromkeys(("calm", "happiness", "sadness", "anger", "fear"), 192),
        **dict.fromkeys(("disgust", "surprise"), 192),
    }
    assert Counter(row.level for row in found.rows) == {"normal": 768, "strong": 672}
    assert found.left_out == ()
    assert [who["sex"] for who in found.people.values()] == ["male", "female"] * 12
    assert list(found.people) == [f"Actor_{actor:02}" for actor in range(1, 25)]


def test_names_are_read(tmp_path: Path) -> None:
    put(tmp_path, "Actor_12/03-01-06-02-02-01-12.wav", "Actor_03/03-01-02-01-01-02-03.wav")
    calm, afraid = read(tmp_path).rows
    assert (calm.subject, calm.emotion, calm.level) == ("Actor_03", "calm", "normal")
    assert (afraid.subject, afraid.emotion, afraid.level) == ("Actor_12", "fear", "strong")
    assert afraid.key == "Actor_12/03-01-06-02-02-01-12.wav"
    assert (afraid.path, afraid.domain, afraid.split) == (None, "", "")
    assert afraid.audio_path == tmp_path / "Actor_12" / "03-01-06-02-02-01-12.wav"


def test_one_utterance_in_three_modalities_is_one_row(tmp_path: Path) -> None:
    for name in ("01-{}.mp4", "02-{}.mp4", "03-{}.wav"):
        put(tmp_path, "Actor_01/" + name.format("01-03-01-01-01-01"))
    put(tmp_path, "Actor_01/01-01-04-01-01-01-01.mp4")
    put(tmp_path, "Actor_01/02-01-05-01-01-01-01.mp4", "Actor_01/03-01-05-01-01-01-01.wav")
    put(tmp_path, "Actor_01/02-01-06-01-01-01-01.mp4")
    put(tmp_path, "Actor_01/03-01-07-01-01-01-01.wav")
    names = [
        tuple(file.name[:5] if file else None for file in (row.path, row.audio_path))
        for row in read(tmp_path).rows
    ]
    assert names == [
        ("01-01", "03-01"),
        ("01-01", None),
        ("02-01", "03-01"),
        ("02-01", None),
        (None, "03-01"),
    ]
    assert read(tmp_path).facts == {
        "utterances_with_video": 4,
        "utterances_of_sound_alone": 1,
        "song_files": 0,
        "second_copies": 0,
    }


def test_song_is_left_out_with_a_note(tmp_path: Path) -> None:
    put(tmp_path, "Actor_01/03-01-03-01-01-01-01.wav", "Actor_01/03-02-03-01-01-01-01.wav")
    put(tmp_path, "Actor_01/01-02-03-01-01-01-01.mp4")
    found = read(tmp_path)
    assert [row.key for row in found.rows] == ["Actor_01/03-01-03-01-01-01-01.wav"]
    assert "2 files of song are left out: only speech is read" in found.notes
    assert found.facts["song_files"] == 2


def test_folders_one_level_down_and_a_second_copy(tmp_path: Path) -> None:
    # As the owner's archives unpack, each into a folder of its own name.
    put(tmp_path, "Audio_Speech_Actors_01-24/Actor_02/03-01-03-01-01-01-02.wav")
    put(tmp_path, "Video_Speech_Actor_02/Actor_02/01-01-03-01-01-01-02.mp4")
    (row,) = read(tmp_path).rows
    assert row.key == "Actor_02/01-01-03-01-01-01-02.mp4"
    assert row.audio_path is not None
    # As Kaggle's copy has it: all folders, and all of them again in another.
    both = tmp_path / "kaggle"
    for outer in ("", "audio_speech_actors_01-24/"):
        put(both, *(f"{outer}{name}" for name in speech_of(2)))
    found = read(both)
    assert len(found.rows) == 60
    assert all(row.audio_path == both / row.key for row in found.rows)
    assert "60 files are there a second time: counted once" in found.notes
    # Nothing is looked for two folders down.
    put(tmp_path, "deep/er/still/Actor_01/03-01-03-01-01-01-01.wav")
    with pytest.raises(UserError, match="no folder Actor_01"):
        read(tmp_path / "deep")


def test_what_is_none_of_the_owner_s_files_is_left_out(tmp_path: Path) -> None:
    wrong = {
        "03-01-09-01-01-01-01.wav": "no name of RAVDESS's",
        "03-01-03-01-01-01-25.wav": "no name of RAVDESS's",
        "03-01-03-01-03-01-01.wav": "no name of RAVDESS's",
        "03-01-03-01-01-01.wav": "no name of RAVDESS's",
        "03-01-01-02-01-01-01.wav": "neutral was never acted strongly",
        "01-01-03-01-01-01-01.wav": "modality 01 is published as .mp4",
        "03-01-03-01-01-01-02.wav": "names actor 02 and lies in Actor_01",
        "03-01-03-01-01-01-0\u0661.wav": "no name of RAVDESS's",
    }
    put(tmp_path, *(f"Actor_01/{name}" for name in wrong))
    put(tmp_path, "Actor_01/caf\udce9\n.wav")
    wrong[r"caf\udce9\n.wav"] = "no name of RAVDESS's"
    put(tmp_path, "Actor_01/03-01-03-01-01-01-01.WAV", "Actor_01/notes.txt", "Actor_01/.a.wav")
    put(tmp_path, "Actor_25/03-01-03-01-01-01-25.wav", "actors.txt")
    found = read(tmp_path)
    assert [row.key for row in found.rows] == ["Actor_01/03-01-03-01-01-01-01.WAV"]
    assert {one.reason for one in found.left_out} == {"foreign name"}
    details = {Path(one.row.key).name: one.detail for one in found.left_out}
    assert details.keys() == wrong.keys()
    assert all(detail.isprintable() for detail in details.values())
    assert all(sentence in details[name] for name, sentence in wrong.items())
    assert "2 files in the actors' folders are no recordings: ignored" in found.notes


def test_what_can_t_be_read_is_told_apart(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n"
    source = tmp_path / "ravdess"
    put(source, "Actor_01/03-01-03-01-01-01-01.wav", content=pointer)
    put(source, "Actor_01/01-01-04-01-01-01-01.mp4", content=pointer)
    put(source, "Actor_01/03-01-04-01-01-01-01.wav")
    put(tmp_path, "elsewhere.wav")
    os.symlink(tmp_path / "elsewhere.wav", source / "Actor_01" / "03-01-05-01-01-01-01.wav")
    found = read(source)
    assert [row.key for row in found.rows] == ["Actor_01/03-01-04-01-01-01-01.wav"]
    assert {one.row.key[9:14]: one.reason for one in found.left_out} == {
        "03-01": "outside the source"
    }
    assert sorted(one.reason for one in found.left_out) == ["not downloaded", "outside the source"]
    assert "1 files can't be read; another file of the utterance stands in" in found.notes
    (passed_over,) = found.facts["files_passed_over"]
    assert "Actor_01/01-01-04-01-01-01-01.mp4: a pointer of Git LFS" in passed_over


def test_another_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "Actor_1/03-01-03-01-01-01-01.wav")
    with pytest.raises(UserError, match=r"no folder Actor_01 \.\. Actor_24 there"):
        read(tmp_path)


def test_rows_do_not_depend_on_the_order_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for outer in ("a/", "b/"):
        put(tmp_path, *(outer + name for name in speech_of(2)), *(outer + n for n in speech_of(1)))
    first = read(tmp_path)
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed(path)[::-1])
    assert read(tmp_path) == first


def write_tone(path: Path, hertz: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(4800) / 48_000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(np.round(9000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes())


def test_a_build_of_sounds(tmp_path: Path) -> None:
    source = tmp_path / "ravdess"
    for actor in range(1, 5):
        for name in list(speech_of(actor))[:12]:
            write_tone(source / name, 200 * actor)
    broken = source / "Actor_01" / "03-01-08-01-01-01-01.wav"
    broken.write_bytes(b"RIFF1234WAVE")
    out = build_dataset("ravdess", source=source, out=tmp_path / "out", say=lambda line: None)
    info = dataset_info(out)
    assert info.input_spec.emotions[-1] == "calm"
    assert info.report["examples_kept"] == 48
    assert info.report["left_out"] == {"no sound": 1}
    train = load_split(out, "train")
    assert set(train.levels) == {"normal", "strong"}
    calm = info.input_spec.emotions.index("calm")
    assert {
        path[15:17] for path, found in zip(train.paths, train.emotion, strict=True) if found == calm
    } == {"02"}
