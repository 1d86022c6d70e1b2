from __future__ import annotations

import librosa
import numpy as np
import pytest

from emojax.data.synthetic.people import Person, make_person
from emojax.data.synthetic.voice import SAMPLE_RATE_HZ, make_voice


def speak(person: Person, emotion: str, seed: int = 0, seconds: float = 2.0) -> np.ndarray:
    return make_voice(np.random.default_rng(seed), person, emotion, seconds)


def median_pitch_hz(sound: np.ndarray) -> float:
    pitch = librosa.yin(sound.astype(np.float32), fmin=60, fmax=500, sr=SAMPLE_RATE_HZ)
    level = librosa.feature.rms(y=sound.astype(np.float32))[0, : len(pitch)]
    return float(np.median(pitch[level > 0.3 * level.max()]))


def level_db(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(sound.astype(float) ** 2)))


def test_a_voice_is_mono_sound_of_the_length_asked_for() -> None:
    sound = speak(make_person(0, 0), "happiness", seconds=1.5)
    assert sound.dtype == np.int16
    assert sound.shape == (24_000,)
    assert 1000 < np.abs(sound.astype(int)).max() < 32_767
    np.testing.assert_array_equal(sound, speak(make_person(0, 0), "happiness", seconds=1.5))
    assert (sound != speak(make_person(0, 0), "happiness", seed=1, seconds=1.5)).any()


def test_pitch_is_the_persons_own() -> None:
    people = [make_person(0, index) for index in range(8)]
    heard = [median_pitch_hz(speak(person, "neutral")) for person in people]
    for person, pitch in zip(people, heard, strict=True):
        assert pitch == pytest.approx(person.voice_hz, rel=0.25)


def test_emotions_move_pitch_and_level_as_voices_do() -> None:
    people = [make_person(0, index) for index in range(6)]

    def mean(measure, emotion: str) -> float:
        return float(np.mean([measure(speak(person, emotion)) for person in people]))

    assert mean(median_pitch_hz, "fear") > 1.2 * mean(median_pitch_hz, "neutral")
    assert mean(median_pitch_hz, "sadness") < mean(median_pitch_hz, "happiness")
    assert mean(level_db, "anger") > mean(level_db, "neutral") + 3
    assert mean(level_db, "sadness") < mean(level_db, "neutral") - 3


def test_strength_zero_is_neutral() -> None:
    person = make_person(0, 2)
    calm = make_voice(np.random.default_rng(3), person, "anger", 1.0, strength=0.0)
    np.testing.assert_array_equal(calm, speak(person, "neutral", seed=3, seconds=1.0))
