"""RAVDESS's recipe: the silence around an utterance."""

from __future__ import annotations

import importlib
import os
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emojax.errors import UserError
from emojax.shipped import VOICES
from emojax.video import read_sound


@pytest.fixture
def recipe(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for folder in ("experiments", "experiments/recipes"):
        monkeypatch.syspath_prepend(repository / folder)
    yield importlib.import_module("ravdess")
    sys.modules.pop("ravdess")


def utterance(rate_hz: int, before_s: float, speech_s: float, after_s: float) -> np.ndarray:
    """Noise 60 dB below a tone that lasts so long."""
    rng = np.random.default_rng(0)
    length = round((before_s + speech_s + after_s) * rate_hz)
    moments = np.arange(length) / rate_hz
    speaks = (moments >= before_s) & (moments < before_s + speech_s)
    tone = 0.5 * np.sin(2 * np.pi * 300 * moments) * speaks
    return (tone + rng.normal(0, 0.0003, length)).astype(np.float32)


def write(path: Path, sound: np.ndarray, rate_hz: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.round(sound * 32767).astype("<i2").tobytes())
    return path


def test_silence_at_both_ends_is_cut_off_but_for_a_fifth_of_a_second(recipe: Any) -> None:
    rate_hz = recipe.RATE_HZ
    whole = utterance(rate_hz, 1.0, 1.8, 0.9)
    found = recipe.trim(whole)
    assert len(found) / rate_hz == pytest.approx(0.2 + 1.8 + 0.2, abs=0.04)
    begin = round(0.8 * rate_hz)
    np.testing.assert_array_equal(found, whole[begin : begin + len(found)])


def test_nothing_is_cut_off_where_there_is_no_silence(recipe: Any) -> None:
    rate_hz = recipe.RATE_HZ
    spoken = utterance(rate_hz, 0.0, 1.0, 0.1)
    np.testing.assert_array_equal(recipe.trim(spoken), spoken)
    for short in (np.zeros(0, np.float32), np.zeros(5, np.float32), np.zeros(rate_hz, np.float32)):
        np.testing.assert_array_equal(recipe.trim(short), short)


def test_utterances_are_written_once_each(recipe: Any, tmp_path: Path) -> None:
    source, out = tmp_path / "ravdess", tmp_path / "out"
    name = "03-01-06-01-02-01-12.wav"
    sound = utterance(48_000, 1.0, 1.5, 1.0)
    write(source / "Actor_12" / name, sound, 48_000)
    # The owner's second archive holds it too, a song is none of it.
    write(source / "Audio_Speech_Actors_01-24" / "Actor_12" / name, sound, 48_000)
    write(source / "Actor_12" / "03-02-06-01-02-01-12.wav", sound, 48_000)
    assert recipe.write_trimmed(source, out, any_copy=True) == out
    assert [path.relative_to(out).as_posix() for path in out.rglob("*.wav")] == [f"Actor_12/{name}"]
    found = read_sound(out / "Actor_12" / name, recipe.RATE_HZ)
    assert found is not None
    assert len(found) / recipe.RATE_HZ == pytest.approx(1.9, abs=0.05)
    before = (out / "Actor_12" / name).stat().st_mtime_ns
    recipe.write_trimmed(source, out, any_copy=True)
    assert (out / "Actor_12" / name).stat().st_mtime_ns == before


def test_sounds_of_a_source_that_was_given_before_do_not_stay(recipe: Any, tmp_path: Path) -> None:
    first, second, out = (tmp_path / name for name in ("first", "second", "out"))
    loud, quiet = utterance(48_000, 1.0, 1.5, 1.0), utterance(48_000, 1.0, 0.5, 1.0)
    for name in ("Actor_12/03-01-06-01-02-01-12.wav", "Actor_13/03-01-06-01-02-01-13.wav"):
        write(first / name, loud, 48_000)
    write(second / "Actor_12/03-01-06-01-02-01-12.wav", quiet, 48_000)
    recipe.write_trimmed(first, out, any_copy=True)
    recipe.write_trimmed(second, out, any_copy=True)
    (left,) = out.rglob("*.wav")
    found = read_sound(left, recipe.RATE_HZ)
    assert found is not None
    assert len(found) / recipe.RATE_HZ == pytest.approx(0.9, abs=0.05)


def test_sounds_that_were_written_at_another_rate_are_written_again(
    recipe: Any, tmp_path: Path
) -> None:
    source, out = tmp_path / "ravdess", tmp_path / "out"
    path = write(source / "Actor_12/03-01-06-01-02-01-12.wav", utterance(48_000, 1, 1, 1), 48_000)
    recipe.write_trimmed(source, out, any_copy=True)
    old = write(out / "Actor_12/03-01-06-01-02-01-12.wav", utterance(48_000, 0, 1, 0), 48_000)
    os.utime(old, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    recipe.write_trimmed(source, out, any_copy=True)
    with wave.open(str(old)) as file:
        assert file.getframerate() == recipe.RATE_HZ


def test_fewer_utterances_are_taken_only_when_asked_for(recipe: Any, tmp_path: Path) -> None:
    write(tmp_path / "Actor_12/03-01-06-01-02-01-12.wav", utterance(48_000, 1, 1, 1), 48_000)
    with pytest.raises(UserError, match="1 utterances of 1 people; RAVDESS has 1,440 of 24"):
        recipe.write_trimmed(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_speech_is_refused(recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no Actor_01/03-01-\.\.wav there"):
        recipe.write_trimmed(tmp_path, tmp_path / "out")


def test_trainings_start_from_the_network_that_comes_with_emojax(recipe: Any) -> None:
    options = recipe.RecipeOptions(source=Path("ravdess"))
    assert recipe.ravdess_config(options).init == VOICES
    scratch = recipe.RecipeOptions(source=Path("ravdess"), from_scratch=True)
    assert recipe.ravdess_config(scratch).init == ""


@pytest.mark.parametrize("work", ["ravdess", "ravdess/inside", "."])
def test_nothing_is_written_among_the_recordings(recipe: Any, tmp_path: Path, work: str) -> None:
    source = tmp_path / "ravdess"
    spoken = utterance(48_000, 1, 1, 1)
    path = write(source / "Actor_12/03-01-06-01-02-01-12.wav", spoken, 48_000)
    song = write(source / "Actor_12/03-02-06-01-02-01-12.wav", spoken, 48_000)
    before = path.read_bytes()
    with pytest.raises(UserError, match="would lie among it: give --data another folder"):
        recipe.write_trimmed(source, tmp_path / work, any_copy=True)
    assert path.read_bytes() == before
    assert song.is_file()


def test_somebody_elses_folder_is_left_alone(recipe: Any, tmp_path: Path) -> None:
    source, out = tmp_path / "ravdess", tmp_path / "data-source"
    write(source / "Actor_12/03-01-06-01-02-01-12.wav", utterance(48_000, 1, 1, 1), 48_000)
    mine = write(out / "Actor_01/mine.wav", utterance(48_000, 1, 1, 1), 48_000)
    with pytest.raises(UserError, match="data-source: holds something that no recipe has put"):
        recipe.write_trimmed(source, out, any_copy=True)
    assert mine.is_file()


def test_a_sound_that_a_power_cut_emptied_is_written_again(recipe: Any, tmp_path: Path) -> None:
    source, out = tmp_path / "ravdess", tmp_path / "out"
    path = write(source / "Actor_12/03-01-06-01-02-01-12.wav", utterance(48_000, 1, 1, 1), 48_000)
    recipe.write_trimmed(source, out, any_copy=True)
    (written,) = out.rglob("*.wav")
    whole = written.read_bytes()
    written.write_bytes(b"")
    os.utime(written, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    recipe.write_trimmed(source, out, any_copy=True)
    assert written.read_bytes() == whole
