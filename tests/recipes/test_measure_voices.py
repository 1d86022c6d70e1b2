"""What is measured of the network for voices: which recordings, and what is refused."""

from __future__ import annotations

import importlib
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emojax.errors import UserError
from emojax.labels import emotion_names


@pytest.fixture
def recipe(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for folder in ("experiments", "experiments/recipes"):
        monkeypatch.syspath_prepend(repository / folder)
    return importlib.import_module("measure_voices")


def speak(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(-9000, 9000, round(16_000 * seconds))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(noise.astype("<i2").tobytes())
    return path


def test_recordings_are_counted_once_and_copies_make_no_people(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "03-01-05-01-01-01-01.wav"
    for folder in ("Actor_01", "audio_speech_actors_01-24/Actor_01"):
        speak(tmp_path / folder / name)
    speak(tmp_path / "Actor_01" / "03-01-05-01-01-01-01 (1).wav")
    speak(tmp_path / "Actor_01" / "03-01-xx-01-01-01-01.wav")
    # Calm, which the network does not answer.
    speak(tmp_path / "Actor_02" / "03-01-02-01-01-01-02.wav")
    ((path, person, emotion),) = recipe.read_ravdess(tmp_path, emotion_names("crema6"))
    assert (path.name, person, emotion) == (name, "01", "anger")
    assert "1 of RAVDESS's 24 people" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no Actor_01/03-01-\.\.wav there"):
        recipe.read_ravdess(tmp_path / "nothing", emotion_names("crema6"))


def test_one_person_has_figures_without_an_interval(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for emotion in ("03", "05"):
        speak(tmp_path / "Actor_01" / f"03-01-{emotion}-01-01-01-01.wav")
    assert recipe.main([f"--ravdess={tmp_path}", f"--out={tmp_path / 'new' / 'voices.json'}"]) == 0
    assert "(too few for an interval)" in capsys.readouterr().out
    assert (tmp_path / "new" / "voices.json").is_file()


def test_a_recording_without_sound_is_named(recipe: Any, tmp_path: Path) -> None:
    path = speak(tmp_path / "Actor_01" / "03-01-05-01-01-01-01.wav", seconds=0)
    with pytest.raises(UserError, match=path.name):
        recipe.main([f"--ravdess={tmp_path}"])


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--wavs=a", "--ravdess=b"], "give both, or neither"),
        (["--spectrograms=a"], "give both, or neither"),
        (
            ["--corruptions", "--wavs=a", "--spectrograms=b"],
            "--corruptions are measured on RAVDESS",
        ),
        ([], "nothing to measure"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    recipe: Any, words: list[str], wanted: str
) -> None:
    with pytest.raises(UserError, match=wanted):
        recipe.main(words)
