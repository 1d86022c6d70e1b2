from __future__ import annotations

import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from emojax.runtime.sound_track import SoundTrack
from emojax.video import read_sound


@pytest.fixture
def sound(tmp_path):
    """Five seconds of noise at 22 kHz, so that it is resampled, in many pieces."""
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(22050)
        noise = np.random.default_rng(0).normal(0, 3000, (5 * 22050, 2))
        file.writeframes(noise.astype(np.int16).tobytes())
    return path


def test_stretches_are_those_of_the_whole_sound(sound):
    whole = read_sound(sound, 16000)
    assert whole is not None
    track = SoundTrack(sound, 16000)
    for begin_s in (0.0, 0.25, 0.25, 1.3, 3.9):
        found = track.take(begin_s, begin_s + 1)
        np.testing.assert_array_equal(
            found, whole[round(16000 * begin_s) : round(16000 * (begin_s + 1))]
        )
        assert track.reaches(begin_s + 1)
    # What lies behind is forgotten, and the end is known.
    assert len(track._held) < 2 * 16000
    np.testing.assert_array_equal(track.take(4.5, 5.5), whole[72000:])
    assert not track.reaches(5.5)
    assert track.take(7, 8).size == 0
    assert track.problem is None


def test_a_sound_that_can_not_be_read_is_a_problem_and_silence(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    track = SoundTrack(tmp_path / "a.wav", 16000)
    assert track.take(0, 1).size == 0
    assert "a.wav" in str(track.problem)


def test_there_is_nothing_before_a_sound_that_starts_later(tmp_path):
    path = tmp_path / "late.mka"
    with av.open(str(path), "w", format="matroska") as target:
        stream = target.add_stream("pcm_s16le", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.full((1, 16000), 99, np.int16), "s16", "mono")
        frame.sample_rate, frame.time_base, frame.pts = 16000, Fraction(1, 16000), 24000
        target.mux(stream.encode(frame))
        target.mux(stream.encode())
    track = SoundTrack(path, 16000)
    assert track.take(0, 1).size == track.take(0.5, 1.5).size == 0
    assert track.starts_after(1.5)
    assert not track.starts_after(1.6)
    found = track.take(1, 2)
    assert found.size == 16000
    assert not found[:8000].any()
    assert found[8000:].all()


def test_silence_that_was_recorded_is_sound(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(2 * 16000))
    track = SoundTrack(tmp_path / "a.wav", 16000)
    assert track.take(0, 0.5).size == 8000
    assert not track.starts_after(0.5)
