"""The mel filter bank, made once by librosa: shards and artifacts are read without it."""

from __future__ import annotations

import functools

import librosa
import numpy as np

from emojax.spec import SpectrogramSpec


@functools.lru_cache(maxsize=8)
def make_mel_filters(spec: SpectrogramSpec) -> np.ndarray | None:
    """Return the filter bank of a spectrogram, None for one without mel bands.

    Returns:
        float32 [mel_bands, fft_length // 2 + 1], row 0 the lowest band: librosa's default,
        Slaney's scale and area.
    """
    if spec.mel_bands is None:
        return None
    return librosa.filters.mel(sr=spec.sample_rate_hz, n_fft=spec.fft_length, n_mels=spec.mel_bands)
