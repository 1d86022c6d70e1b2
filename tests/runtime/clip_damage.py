"""What is wrong with an artifact for clips alone: how they are taken, and how their sound is."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
from archive_damage import npz, read_spec, write_archive, write_spec
from odd_values import ODD
from tiny_clip import LOG_MEL

from emojax.audio import THESIS_WINDOW
from emojax.errors import UserError
from emojax.filter_bank import SOUND
from emojax.spec import SpectrogramSpec


def other_clip(folder: Path, rng: random.Random) -> str:
    """How clips are taken out of a video."""
    fields = read_spec(folder)
    near = {
        "window_s": (0.05, 0.049, 0.25, 0.3, 1, 60, 60.1, 1e9),
        "step_s": (0.05, 0.049, 0.1, 0.9999, 1, 1.1, 1e-9),
        "kept_frames": (1, 2, 3, 10_000, 10_001),
        "sees": (False,),
    }
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(list(near))
        fields["clip"][name] = rng.choice(rng.choice((near[name], near[name], ODD)))
    write_spec(folder, fields)
    return str(fields["clip"])[:200]


def fitting_sound(folder: Path, rng: random.Random) -> str:
    """Other spectrograms of the same size, with a window and filters that fit them."""
    fields = read_spec(folder)
    sound = dataclasses.asdict(LOG_MEL)
    choices = {
        "window_ms": (1e-3, 0.125, 1, 20, 32, 1000, 4000),
        "hop_ms": (1e-9, 1e-3, 0.0625, 1, 1e5, 1e300),
        "fft_length": (2, 3, 400, 511, 1024, 2**16, 2**17),
        "mel_bands": (None, 1, 2, 63, 1000, 10**6),
        "decibels": (False,),
        "range_db": (1e-300, 1e-6, 1e300),
        "duration_s": (None, 1e-9, 1e-3, 60, 3600, 3601),
        "sample_rate_hz": (1, 100, 8000, 16000.5, 44100, 192_000, 10**6, 10**9, 10**300),
        "thesis": (True,),
    }
    for name in rng.sample(list(choices), rng.choice((1, 2, 2, 3, 4))):
        sound[name] = rng.choice((*choices[name], *choices[name], rng.choice(ODD)))
    fields["input"]["sound"] = sound
    write_spec(folder, fields)
    try:
        spec = SpectrogramSpec(**sound)
        length = THESIS_WINDOW if spec.thesis else spec.window_length
        arrays = {"window": np.ones(length, np.float64)}
        if spec.mel_bands is not None and spec.mel_bands * spec.fft_length < 1 << 22:
            shape = (spec.mel_bands, spec.fft_length // 2 + 1)
            arrays["mel_filters"] = np.full(shape, 1e-3, np.float32)
    except (UserError, TypeError, ValueError, OverflowError):
        # It is refused for what spec.json says.
        return str(sound)[:300]
    write_archive(folder, fields, SOUND, npz(arrays))
    return str(sound)[:300]
