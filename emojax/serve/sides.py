"""A network for clips that is shown one side alone, and what it hears as a picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from emojax.audio import stored_spectrogram
from emojax.runtime import ClipPredictor
from emojax.serve.refusal import RefusedError
from emojax.video import read_sound

_FEWEST_COLUMNS, _MOST_COLUMNS = 16, 4096
"""Of a picture of a sound."""

Side = Literal["both", "frames", "sound"]
"""What of a clip a network is given."""


class OneSided(ClipPredictor):
    """A predictor that is there already, and that sees or hears only."""

    def __init__(self, whole: ClipPredictor, side: Side) -> None:
        """Take over what is ready.

        Args:
            whole: the predictor; both may not be used at once.
            side: what it is given from now on.

        Raises:
            RefusedError: the network does not have that side (400).
        """
        has = {"frames": whole.settings.sees, "sound": whole.hears, "both": True}
        if not has[side]:
            raise RefusedError(400, f"only={side}: this model has no branch for it: leave it out")
        # The network itself is shared: making it ready again would cost its memory once more.
        vars(self).update(vars(whole))
        self._side = side

    def predict_clip(
        self, crops: np.ndarray | None, spectrogram: np.ndarray | None
    ) -> np.ndarray | None:
        """Return calibrated probabilities from one side; see `ClipPredictor.predict_clip`."""
        return super().predict_clip(
            None if self._side == "sound" else crops,
            None if self._side == "frames" else spectrogram,
        )


def draw_spectrogram(path: Path, predictor: ClipPredictor, name: str) -> bytes:
    """Return PNG of a whole sound as the network hears a clip: gray, the highest frequency on top.

    A column lasts as long as in the network's own spectrogram, and there are as many as the sound
    needs: what is too long for one look is not cut, what is shorter has no silence after it.

    Args:
        path: a video or a sound.
        predictor: of a network that listens.
        name: what the sender calls it.

    Raises:
        UserError: it can't be read.
        RefusedError: there is no sound in it, or the network does not listen (400).
    """
    sound, bank = predictor.spec.sound, predictor.settings.bank
    if sound is None or bank is None:
        raise RefusedError(400, f"{name}: this model does not listen: choose another")
    samples = read_sound(path, sound.sample_rate_hz)
    if samples is None or not samples.size:
        raise RefusedError(400, f"{name}: holds no sound")
    look_s = sound.duration_s or predictor.settings.window_s
    columns = round(sound.width * len(samples) / sound.sample_rate_hz / look_s)
    columns = min(max(columns, _FEWEST_COLUMNS), _MOST_COLUMNS)
    whole = dataclasses.replace(sound, duration_s=None, width=columns)
    heard = stored_spectrogram(samples, whole, bank.mel_filters, bank.window)
    return cv2.imencode(".png", heard)[1].tobytes()
