"""A waveform -> a spectrogram of fixed shape, the same in training and in use.

All arithmetic is numpy's; OpenCV does the resizing. The mel filter bank comes
in as an array: training makes it, the artifact carries it.

Source: the thesis, chapters 4.1 (narrow and wide band) and 5.2.5 (its code).
"""

from __future__ import annotations

import cv2
import numpy as np

from emojax.errors import UserError
from emojax.spec import SpectrogramSpec

_POWER_FLOOR = 1e-10
"""Below this no power is told from silence: -100 dB of a full-scale square."""


THESIS_WINDOW = 256
"""Samples of the window in the thesis's code, which is `scipy.signal.spectrogram`'s default."""


PRESETS: dict[str, SpectrogramSpec] = {
    "log_mel": SpectrogramSpec(),
    "speech": SpectrogramSpec(window_ms=64, hop_ms=16, fft_length=1024, mel_bands=128),
    "narrow": SpectrogramSpec(window_ms=20, mel_bands=None, height=128, width=128),
    "wide": SpectrogramSpec(
        window_ms=3, hop_ms=1, fft_length=256, mel_bands=None, height=128, width=128
    ),
    "thesis": SpectrogramSpec(
        window_ms=16,
        hop_ms=14,
        fft_length=256,
        mel_bands=None,
        decibels=False,
        duration_s=None,
        height=128,
        width=128,
        thesis=True,
    ),
}
"""`log_mel` is the default. Speech: longer windows and twice the bands, squeezed to the same size;
`voices`, which comes with emojax, hears it so. Narrow band: windows of 20 ms; wide band: of 3."""


def hann_window(length: int) -> np.ndarray:
    """Return a periodic Hann window, float64 [length]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def tukey_window(length: int, share: float = 0.25) -> np.ndarray:
    """Return a periodic Tukey window, float64 [length]: flat, with cosine ends.

    Args:
        length: samples.
        share: part of the window, 0..1, that the two ends take together.
    """
    place = np.arange(length) * 2 / (share * length)
    end = np.minimum(place, 2 / share - place)
    return np.where(end < 1, 0.5 - 0.5 * np.cos(np.pi * end), 1.0)


def check_waveform(waveform: np.ndarray) -> np.ndarray:
    """Return a waveform in float64.

    Raises:
        UserError: no sample, more than one channel, or a value that is no number.
    """
    samples = np.asarray(waveform)
    if samples.ndim != 1:
        raise UserError(f"sound of shape {samples.shape}: wanted one channel, [samples]")
    if samples.size == 0:
        raise UserError("sound without a single sample: leave the sound out instead")
    samples = samples.astype(np.float64)
    if not np.isfinite(samples).all():
        bad = int(np.argmin(np.isfinite(samples)))
        raise UserError(f"sound whose sample {bad} is no number ({samples[bad]}): record it again")
    return samples


def frame_signal(samples: np.ndarray, length: int, hop_length: int) -> np.ndarray:
    """Return overlapping pieces, [frames, length], without a copy; what is left over is dropped.

    Sound shorter than one piece is padded with zeros at its end.
    """
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::hop_length]


def power_spectrogram(
    waveform: np.ndarray, window: np.ndarray, hop_length: int, fft_length: int
) -> np.ndarray:
    """Return the power of a short-time Fourier transform, frames centred on their time.

    Half a transform of silence is put before and behind the sound, so that
    frame k stands at sample k * hop_length. Works in pieces: the memory it
    needs follows the result, not the overlap.

    Args:
        waveform: [samples], one channel, usually -1..1.
        window: [window_length], at most `fft_length`; it is centred in the transform.
        hop_length: samples between two frames.
        fft_length: samples of the transform.

    Returns:
        float64 [fft_length // 2 + 1, 1 + samples // hop_length], row 0 the
        frequency 0.

    Raises:
        UserError: no sound in it, see `check_waveform`.
    """
    samples = np.pad(check_waveform(waveform), fft_length // 2)
    before = (fft_length - len(window)) // 2
    padded = np.pad(window, (before, fft_length - len(window) - before))
    frames = frame_signal(samples, fft_length, hop_length)
    pieces = [
        np.abs(np.fft.rfft(frames[start : start + 1024] * padded)) ** 2
        for start in range(0, len(frames), 1024)
    ]
    return np.concatenate(pieces).T


def power_to_db(power: np.ndarray, range_db: float = 80.0) -> np.ndarray:
    """Return decibels below the maximum, -range_db..0, of the same shape.

    Silence, which has no maximum, is at the floor everywhere.
    """
    peak = max(float(power.max(initial=0.0)), _POWER_FLOOR)
    levels = 10 * np.log10(np.maximum(power, _POWER_FLOOR) / peak)
    if peak <= _POWER_FLOOR:
        return np.full_like(levels, -range_db)
    return np.maximum(levels, -range_db)


def log_mel(
    waveform: np.ndarray,
    mel_filters: np.ndarray,
    window: np.ndarray,
    hop_length: int,
    range_db: float = 80.0,
) -> np.ndarray:
    """Return a log-mel spectrogram in decibels below its maximum, row 0 the highest band.

    Args:
        waveform: [samples], one channel.
        mel_filters: [bands, fft_length // 2 + 1], row 0 the lowest band.
        window: [window_length].
        hop_length: samples between two frames.
        range_db: the floor lies this far below the maximum.

    Returns:
        float32 [bands, 1 + samples // hop_length], -range_db..0.

    Raises:
        UserError: no sound in it, or a filter bank of another shape.
    """
    if mel_filters.ndim != 2 or mel_filters.shape[1] < 2:
        raise UserError(f"mel filters of shape {mel_filters.shape}: wanted [bands, frequencies]")
    fft_length = 2 * (mel_filters.shape[1] - 1)
    if len(window) > fft_length:
        raise UserError(
            f"a window of {len(window)} samples is longer than the transform of {fft_length} "
            "that the mel filters are made for"
        )
    power = power_spectrogram(waveform, window, hop_length, fft_length)
    levels = power_to_db(mel_filters.astype(np.float64) @ power, range_db)
    return levels[::-1].astype(np.float32)


def thesis_spectrogram(
    waveform: np.ndarray,
    rng: np.random.Generator | None = None,
    window: np.ndarray | None = None,
) -> np.ndarray:
    """Return the spectrogram of the thesis's code, before it is resized.

    What `scipy.signal.spectrogram` does by default on 16-bit samples: windows
    of 256 samples (Tukey, 0.25), 32 of them shared with the next window, the
    mean of each taken off, spectral density, linear; then upside down and
    divided by its maximum. Sound shorter than a window is padded with zeros;
    silence gives zeros.

    Args:
        waveform: [samples], -1..1, 16 kHz.
        rng: where one is given, Gaussian noise of one unit of the 16-bit
            samples is added, as the code does in training.
        window: float64 [256]; None: the Tukey window.

    Returns:
        float32 [129, frames], 0..1, row 0 the highest frequency.

    Raises:
        UserError: no sound in it, see `check_waveform`.
    """
    samples = np.round(check_waveform(waveform) * 32767)
    if rng is not None:
        samples = samples + rng.standard_normal(len(samples))
    frames = frame_signal(samples, THESIS_WINDOW, THESIS_WINDOW - 32)
    frames = frames - frames.mean(axis=1, keepdims=True)
    window = tukey_window(THESIS_WINDOW) if window is None else window
    density = np.abs(np.fft.rfft(frames * window)) ** 2
    # One-sided: all but the frequency 0 and the last stand for two. The constant
    # factor 1 / (rate * sum(window ** 2)) falls out with the maximum.
    density[:, 1:-1] *= 2
    peak = density.max()
    flipped = density.T[::-1]
    return (flipped / peak if peak > 0 else np.zeros_like(flipped)).astype(np.float32)


def _fit_duration(samples: np.ndarray, wanted: int) -> np.ndarray:
    return np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))


def make_window(spec: SpectrogramSpec) -> np.ndarray:
    """Return the window that a spectrogram is made with, float64 [window length]."""
    return tukey_window(THESIS_WINDOW) if spec.thesis else hann_window(spec.window_length)


def stored_spectrogram(
    waveform: np.ndarray,
    spec: SpectrogramSpec,
    mel_filters: np.ndarray | None = None,
    window: np.ndarray | None = None,
) -> np.ndarray:
    """Return the network's view of a sound as shards keep it, uint8 [height, width], 0..255.

    Arguments and errors are those of `spectrogram`.
    """
    return np.rint(255 * spectrogram(waveform, spec, mel_filters, window=window)).astype(np.uint8)


def spectrogram(
    waveform: np.ndarray,
    spec: SpectrogramSpec,
    mel_filters: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
    window: np.ndarray | None = None,
) -> np.ndarray:
    """Return the network's view of a sound.

    Args:
        waveform: [samples], -1..1, at `spec.sample_rate_hz`.
        spec: one of `PRESETS`, or another.
        mel_filters: [spec.mel_bands, spec.fft_length // 2 + 1], row 0 the lowest
            band; needed where the spec has mel bands.
        rng: adds Gaussian noise of one unit of 16-bit samples, for training.
        window: as an artifact carries it; None: that of `make_window`.

    Returns:
        float32 [spec.height, spec.width], 0..1, row 0 the highest frequency,
        column 0 the beginning. 1 is the sound's own maximum; silence is 0.

    Raises:
        UserError: no sample, a sample that is no number, or filters that don't fit.
    """
    waveform = np.asarray(waveform)
    if spec.duration_s is None:
        samples = check_waveform(waveform)
    else:
        wanted = max(1, round(spec.duration_s * spec.sample_rate_hz))
        # Before it is float64: a recording of hours would fill the memory for a few seconds of it.
        held = waveform[:wanted] if waveform.ndim == 1 else waveform
        samples = _fit_duration(check_waveform(held), wanted)
    window = make_window(spec) if window is None else window
    if spec.thesis:
        picture = thesis_spectrogram(samples, rng, window)
        size = (spec.width, spec.height)
        return np.clip(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), 0.0, 1.0)
    if rng is not None:
        samples = samples + rng.standard_normal(len(samples)) / 32767
    if spec.mel_bands is not None:
        wanted = (spec.mel_bands, spec.fft_length // 2 + 1)
        if mel_filters is None or mel_filters.shape != wanted:
            found = "none" if mel_filters is None else f"shape {mel_filters.shape}"
            raise UserError(f"mel filters: found {found}, wanted shape {wanted}")
        power = mel_filters @ power_spectrogram(samples, window, spec.hop_length, spec.fft_length)
    else:
        power = power_spectrogram(samples, window, spec.hop_length, spec.fft_length)
    if spec.decibels:
        picture = 1 + power_to_db(power, spec.range_db) / spec.range_db
    else:
        picture = power / max(float(power.max()), _POWER_FLOOR)
    picture = np.ascontiguousarray(picture[::-1]).astype(np.float32)
    return _resize(picture, spec)


def _resize(picture: np.ndarray, spec: SpectrogramSpec) -> np.ndarray:
    # Each axis by itself: averaging where it shrinks, or lines between the kept ones are lost.
    for height, width in ((spec.height, picture.shape[1]), (spec.height, spec.width)):
        shrinks = height <= picture.shape[0] and width <= picture.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        picture = cv2.resize(picture, (width, height), interpolation=method)
    return picture
