from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.signal

from emojax import audio
from emojax.data.mel import make_mel_filters
from emojax.errors import UserError

LOG_MEL = audio.PRESETS["log_mel"]


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """A vowel that glides, with breath: 1.3 s at 16 kHz."""
    rng = np.random.default_rng(0)
    time = np.arange(20800) / 16000
    pitch = 2 * np.pi * np.cumsum(120 + 60 * time) / 16000
    tones = sum(np.sin(k * pitch) / k for k in range(1, 20))
    loudness = np.minimum(1, 8 * time) * np.exp(-time)
    return (0.2 * loudness * tones + 0.001 * rng.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def mel_filters() -> np.ndarray:
    return librosa.filters.mel(sr=16000, n_fft=512, n_mels=64)


def test_windows_are_scipys():
    for length in (48, 256, 401):
        np.testing.assert_allclose(
            audio.hann_window(length), scipy.signal.get_window("hann", length), atol=1e-12
        )
        np.testing.assert_allclose(
            audio.tukey_window(length), scipy.signal.get_window(("tukey", 0.25), length), atol=1e-12
        )


@pytest.mark.parametrize(
    ("window_length", "hop_length", "fft_length"),
    [(320, 160, 512), (48, 16, 256), (400, 160, 512), (512, 100, 512), (401, 77, 512)],
)
def test_power_is_librosas(voice, window_length, hop_length, fft_length):
    window = audio.hann_window(window_length)
    found = audio.power_spectrogram(voice, window, hop_length, fft_length)
    transform = librosa.stft(
        voice.astype(np.float64),
        n_fft=fft_length,
        hop_length=hop_length,
        win_length=window_length,
        pad_mode="constant",
    )
    np.testing.assert_allclose(found, np.abs(transform) ** 2, rtol=1e-9, atol=1e-12)


def test_log_mel_is_librosas(voice, mel_filters):
    found = audio.log_mel(voice, mel_filters, audio.hann_window(400), 160)
    power = librosa.feature.melspectrogram(
        y=voice.astype(np.float64),
        sr=16000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=64,
        pad_mode="constant",
    )
    expected = librosa.power_to_db(power, ref=np.max, top_db=80)[::-1]
    assert found.dtype == np.float32
    assert found.shape == (64, 1 + len(voice) // 160)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert (expected > -80).mean() > 0.5


def test_log_mel_of_real_speech_is_librosas(shared_data, mel_filters):
    from emojax.video import read_sound

    paths = sorted((shared_data / "crema_d").glob("Audio*/*"))
    assert len(paths) == 19
    for path in paths[::4]:
        sound = read_sound(path)
        assert sound is not None
        found = audio.log_mel(sound, mel_filters, audio.hann_window(400), 160)
        power = librosa.feature.melspectrogram(
            y=sound, sr=16000, n_fft=512, win_length=400, hop_length=160, n_mels=64,
            pad_mode="constant",
        )  # fmt: skip
        expected = librosa.power_to_db(power, ref=np.max, top_db=80)[::-1]
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_log_mel_of_real_speech_fits_the_published_pictures(shared_data, mel_filters):
    from emojax.video import read_sound

    published = np.load(shared_data / "crema_d" / "log_mel.npz")
    clips = list(published["clip"])
    paths = [
        path for path in (shared_data / "crema_d" / "AudioWAV").iterdir() if path.stem in clips
    ]
    assert len(paths) > 5
    for path in paths:
        found = audio.spectrogram(read_sound(path), LOG_MEL, mel_filters)
        expected = published["log_mel"][clips.index(path.stem)] / 255
        # Another window and read back from coloured pictures: close, not equal.
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


def test_thesis_spectrogram_is_scipys(voice):
    found = audio.thesis_spectrogram(voice)
    samples = np.round(voice.astype(np.float64) * 32767)
    _, _, density = scipy.signal.spectrogram(samples, 16000)
    expected = density[::-1] / density.max()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-30)


def test_thesis_preset_is_a_cubic_resize_of_it(voice):
    import cv2

    found = audio.spectrogram(voice, audio.PRESETS["thesis"])
    plain = audio.thesis_spectrogram(voice)
    expected = cv2.resize(plain, (128, 128), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", sorted(audio.PRESETS))
@pytest.mark.parametrize("seconds", [0.0001, 0.01, 0.5, 3.0, 7.3])
def test_every_preset_has_its_shape_for_any_length(name, seconds):
    spec = audio.PRESETS[name]
    sound = np.random.default_rng(0).uniform(-1, 1, max(1, int(seconds * 16000)))
    found = audio.spectrogram(sound, spec, make_mel_filters(spec))
    assert found.shape == (spec.height, spec.width)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("name", sorted(audio.PRESETS))
def test_silence_is_zero(name):
    spec = audio.PRESETS[name]
    found = audio.spectrogram(np.zeros(16000), spec, make_mel_filters(spec))
    assert not found.any()


@pytest.mark.parametrize("name", sorted(audio.PRESETS))
@pytest.mark.parametrize(
    ("sound", "found"),
    [
        (np.zeros(0), "without a single sample"),
        (np.zeros((2, 100)), "one channel"),
        (np.array([0.0, np.nan]), "sample 1 is no number"),
        (np.array([np.inf, 0.0]), "sample 0 is no number"),
    ],
)
def test_what_is_no_sound_is_refused(name, sound, found, mel_filters):
    spec = audio.PRESETS[name]
    with pytest.raises(UserError, match=found):
        audio.spectrogram(sound, spec, make_mel_filters(spec))


@pytest.mark.parametrize("name", sorted(audio.PRESETS))
def test_row_0_is_the_highest_frequency(name, mel_filters):
    spec = audio.PRESETS[name]
    filters = make_mel_filters(spec)
    time = np.arange(48000) / 16000
    high = audio.spectrogram(np.sin(2 * np.pi * 7000 * time), spec, filters)
    low = audio.spectrogram(np.sin(2 * np.pi * 300 * time), spec, filters)
    assert high.mean(axis=1).argmax() < spec.height * 0.2
    assert low.mean(axis=1).argmax() > spec.height * 0.8


def test_narrow_band_parts_frequencies_and_wide_band_parts_moments():
    time = np.arange(48000) / 16000
    hum = np.sin(2 * np.pi * 1000 * time) + np.sin(2 * np.pi * 1150 * time)
    clicks = (np.arange(48000) % 128 == 0).astype(float)

    def power(sound: np.ndarray, name: str) -> np.ndarray:
        spec = audio.PRESETS[name]
        window = audio.hann_window(spec.window_length)
        return audio.power_spectrogram(sound, window, spec.hop_length, spec.fft_length)

    def dip_between_tones(name: str) -> float:
        rows = power(hum, name).mean(axis=1)
        step = 16000 / audio.PRESETS[name].fft_length
        return rows[round(1075 / step)] / rows[round(1000 / step)]

    def rise_and_fall(name: str) -> float:
        columns = power(clicks, name).sum(axis=0)[5:-5]
        return columns.max() / columns.mean()

    assert dip_between_tones("narrow") < 0.5 < dip_between_tones("wide")
    assert rise_and_fall("narrow") < 3 < rise_and_fall("wide")


def test_presets_have_the_windows_that_their_names_say():
    assert audio.PRESETS["narrow"].window_length == 320
    assert audio.PRESETS["wide"].window_length == 48
    assert LOG_MEL.window_length == 400
    assert LOG_MEL.hop_length == 160


def test_short_sound_is_followed_by_silence_and_long_sound_is_cut(mel_filters):
    rng = np.random.default_rng(0)
    long = rng.uniform(-1, 1, 80000)
    short = audio.spectrogram(long[:16000], LOG_MEL, mel_filters)
    assert short[:, :30].min() > 0
    assert not short[:, 34:].any()
    np.testing.assert_array_equal(
        audio.spectrogram(long, LOG_MEL, mel_filters),
        audio.spectrogram(long[:48000], LOG_MEL, mel_filters),
    )


def test_loudness_is_taken_out(voice, mel_filters):
    loud = audio.spectrogram(voice, LOG_MEL, mel_filters)
    quiet = audio.spectrogram(voice / 8, LOG_MEL, mel_filters)
    np.testing.assert_allclose(loud, quiet, atol=1e-6)


@pytest.mark.parametrize("name", ["thesis", "log_mel"])
def test_noise_is_one_unit_of_sixteen_bits_and_repeats_with_its_seed(name, mel_filters, voice):
    spec = audio.PRESETS[name]
    filters = make_mel_filters(spec)

    def noisy(seed: int) -> np.ndarray:
        return audio.spectrogram(voice, spec, filters, rng=np.random.default_rng(seed))

    np.testing.assert_array_equal(noisy(0), noisy(0))
    assert (noisy(0) != noisy(1)).any()


def test_noise_is_that_of_one_unit(voice, mel_filters):
    drawn = np.random.default_rng(3).standard_normal(48000)
    padded = np.pad(voice.astype(np.float64), (0, 48000 - len(voice)))
    expected = audio.spectrogram(padded + drawn / 32767, LOG_MEL, mel_filters)
    found = audio.spectrogram(voice, LOG_MEL, mel_filters, rng=np.random.default_rng(3))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_filters_that_do_not_fit_are_refused(voice, mel_filters):
    with pytest.raises(UserError, match=r"found none, wanted shape \(64, 257\)"):
        audio.spectrogram(voice, LOG_MEL)
    with pytest.raises(UserError, match="mel filters"):
        audio.spectrogram(voice, LOG_MEL, mel_filters[:, :-1])
    with pytest.raises(UserError, match="mel filters"):
        audio.log_mel(voice, mel_filters[0], audio.hann_window(400), 160)
    with pytest.raises(UserError, match="longer than the transform"):
        audio.log_mel(voice, mel_filters, audio.hann_window(600), 160)


@pytest.mark.parametrize(
    "fields",
    [
        {"window_ms": 0.0},
        {"window_ms": 40.0},
        {"hop_ms": -1.0},
        {"hop_ms": 0.01},
        {"duration_s": 0.0},
        {"mel_bands": 0},
        {"height": 0},
        {"range_db": 0.0},
    ],
)
def test_specs_that_give_no_spectrogram_are_refused(fields):
    with pytest.raises(UserError, match=next(iter(fields))):
        audio.SpectrogramSpec(**fields)
