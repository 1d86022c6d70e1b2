"""What an artifact carries to listen with, held to librosa and to a hostile file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest

from emojax import audio
from emojax.data.mel import make_mel_filters
from emojax.errors import UserError
from emojax.filter_bank import FilterBank, read_filter_bank, write_filter_bank

LOG_MEL = audio.PRESETS["log_mel"]


def written(folder: Path, preset: str = "log_mel") -> FilterBank:
    spec = audio.PRESETS[preset]
    write_filter_bank(folder / "sound.npz", spec, make_mel_filters(spec))
    return read_filter_bank(folder / "sound.npz", spec)


@pytest.fixture
def voice() -> np.ndarray:
    """Three seconds with a gliding pitch, its harmonics, pauses and a little noise."""
    rng = np.random.default_rng(0)
    time = np.arange(48_000) / 16_000
    phase = 2 * np.pi * np.cumsum(140 + 60 * np.sin(3 * time)) / 16_000
    tones = sum(np.sin(number * phase) / number for number in range(1, 20))
    return (0.2 * tones * (np.sin(5 * time) > -0.3) + rng.normal(0, 1e-6, 48_000)).astype("f4")


def test_the_runners_spectrogram_is_librosas(tmp_path: Path, voice: np.ndarray) -> None:
    bank = written(tmp_path)
    assert bank.mel_filters is not None
    found = audio.log_mel(voice, bank.mel_filters, bank.window, LOG_MEL.hop_length, 80.0)
    power = librosa.feature.melspectrogram(
        y=voice.astype(np.float64),
        sr=16_000,
        n_fft=512,
        hop_length=160,
        win_length=400,
        n_mels=64,
        pad_mode="constant",
    )
    expected = librosa.power_to_db(power, ref=np.max, top_db=80.0)[::-1]
    above = expected > -80 + 1e-3
    # Both voice and pauses, which are at the floor.
    assert 0.4 < above.mean() < 0.95
    assert np.abs(found - expected)[above].max() < 1e-3


@pytest.mark.parametrize("preset", audio.PRESETS)
def test_the_runner_makes_what_shards_hold(preset: str, tmp_path: Path, voice: np.ndarray) -> None:
    spec, bank = audio.PRESETS[preset], written(tmp_path, preset)
    np.testing.assert_array_equal(
        audio.stored_spectrogram(voice, spec, bank.mel_filters, bank.window),
        audio.stored_spectrogram(voice, spec, make_mel_filters(spec)),
    )
    # The window that is carried is the one that is used.
    other = audio.stored_spectrogram(voice, spec, bank.mel_filters, bank.window**4)
    assert (other != audio.stored_spectrogram(voice, spec, bank.mel_filters, bank.window)).any()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"window": None}, "'window': wanted float64"),
        ({"window": np.ones(399)}, r"float64 \[399\]"),
        ({"window": np.full(400, np.nan)}, "'window' holds no numbers"),
        ({"mel_filters": None}, "'mel_filters': wanted float32"),
        ({"mel_filters": np.zeros((64, 257))}, r"float64 \[64, 257\]"),
        ({"mel_filters": np.array([{}], object)}, "can't be read"),
    ],
)
def test_other_arrays_are_refused(changes: dict[str, Any], found: str, tmp_path: Path) -> None:
    bank = written(tmp_path)
    arrays = {**bank._asdict(), **changes}
    path = tmp_path / "other.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(UserError, match=found) as caught:
        read_filter_bank(path, LOG_MEL)
    assert "other.npz" in str(caught.value)
    assert "\n" not in str(caught.value)
