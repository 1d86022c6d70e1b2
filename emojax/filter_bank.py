"""The mel filter bank and the window that travel with an artifact that listens.

The runner makes its spectrograms of them with `audio.spectrogram`, as training does, and needs no
package that knows how they are made. `sound.npz` holds `window` (float64 [window length]) and, for
a spectrogram with mel bands, `mel_filters` (float32 [bands, frequencies], row 0 the lowest band).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emojax.archive import read_arrays
from emojax.audio import THESIS_WINDOW, make_window
from emojax.errors import UserError
from emojax.spec import SpectrogramSpec

SOUND = "sound.npz"
"""The file's name in an artifact."""

REFERENCE = "maximum"
"""What 0 dB is: each sound's own maximum."""

LARGEST_BYTES = 64 << 20
"""What its arrays may take."""


class FilterBank(NamedTuple):
    """What a spectrogram is made with."""

    window: np.ndarray  # float64 [window length]
    mel_filters: np.ndarray | None  # float32 [bands, frequencies]; None without mel bands


def write_filter_bank(path: Path, spec: SpectrogramSpec, mel_filters: np.ndarray | None) -> None:
    """Write the file.

    Args:
        path: where it goes.
        spec: how the spectrogram is made.
        mel_filters: float32 [bands, frequencies], None for a spectrogram without mel bands.
    """
    arrays: dict[str, Any] = {"window": make_window(spec)}
    if mel_filters is not None:
        arrays["mel_filters"] = mel_filters
    np.savez_compressed(path, **arrays)


def read_filter_bank(path: Path, spec: SpectrogramSpec) -> FilterBank:
    """Return what the file holds, checked against the spec.

    Raises:
        UserError: no such file, a damaged one, or arrays that are not the spec's.
    """
    length = THESIS_WINDOW if spec.thesis else spec.window_length
    forms: dict[str, tuple[type, tuple[int, ...]]] = {"window": (np.float64, (length,))}
    if spec.mel_bands is not None:
        forms["mel_filters"] = (np.float32, (spec.mel_bands, spec.fft_length // 2 + 1))
    arrays = read_arrays(path, forms, "an artifact's mel filters and window", LARGEST_BYTES)
    for name, (dtype, shape) in forms.items():
        found = arrays.get(name)
        if found is None or found.dtype != dtype or found.shape != shape:
            what = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise UserError(
                f"{path}: {name!r}: wanted {np.dtype(dtype)} {list(shape)}, found {what}: "
                "export the artifact again"
            )
        if not np.isfinite(found).all():
            raise UserError(f"{path}: {name!r} holds no numbers: export the artifact again")
    return FilterBank(arrays["window"], arrays.get("mel_filters"))
