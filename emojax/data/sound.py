"""The sound of one row, as the spectrogram that its shard holds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from emojax import audio, video
from emojax.data.mel import make_mel_filters
from emojax.errors import UserError
from emojax.spec import SpectrogramSpec


class Sound(NamedTuple):
    """A spectrogram, or the reason why there is none."""

    spectrogram: np.ndarray  # uint8 [height, width], 0..255 for 0..1; zeros without sound
    has_sound: bool
    problem: str  # what was wrong with a sound that is named or recorded; empty where all is well


def read_spectrogram(
    path: Path | None, start_s: float | None, end_s: float | None, spec: SpectrogramSpec
) -> Sound:
    """Return the spectrogram of a sound file's or a clip's part.

    Nothing here is a reason to lose the picture: what can't be read is silence with a
    flag and a sentence.

    Args:
        path: the file, None where there is none to be looked for.
        start_s: first moment that counts, in seconds; None: the beginning.
        end_s: last moment that counts; None: the end.
        spec: how the spectrogram is made.
    """
    silence = np.zeros((spec.height, spec.width), np.uint8)
    if path is None:
        return Sound(silence, False, "")
    try:
        samples = video.read_sound(path, spec.sample_rate_hz)
        if samples is None:
            return Sound(silence, False, "")
        first = round((start_s or 0.0) * spec.sample_rate_hz)
        last = None if end_s is None else round(end_s * spec.sample_rate_hz)
        samples = samples[first:last]
        if samples.size == 0:
            return Sound(silence, False, f"{path}: no sound in the part that is asked for")
        picture = audio.spectrogram(samples, spec, make_mel_filters(spec))
    except (UserError, OSError, MemoryError) as error:
        return Sound(silence, False, str(error))
    return Sound(np.round(picture * 255).astype(np.uint8), True, "")
