"""A network for clips that is shown one side alone, and what it hears as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import numpy as np

from emojax.audio import stored_spectrogram
from emojax.runtime import ClipPredictor
from emojax.runtime.sound_heat import draw_sound_heat, look_for_sound_heat
from emojax.serve.limits import Limits
from emojax.serve.refusal import RefusedError
from emojax.serve.uploaded import Uploaded, check_header, check_length, encode_png
from emojax.video import sound_pieces

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


def read_heard(path: Path, predictor: ClipPredictor, name: str, limits: Limits) -> np.ndarray:
    """Return the sound of a file, float32 [samples], for a network that listens.

    Args:
        path: a video or a sound.
        predictor: the network.
        name: what the sender calls the file.
        limits: how long it may be.

    Raises:
        UserError: it can't be read.
        RefusedError: the network does not listen, there is no sound (400), or too much (413).
    """
    sound = predictor.spec.sound
    if sound is None:
        raise RefusedError(400, f"{name}: this model does not listen: choose another")
    check_header(path, limits)
    pieces, count = [], 0
    # What a header says of a sound's length is not to be relied on.
    for piece in sound_pieces(path, sound.sample_rate_hz):
        pieces.append(piece)
        count += len(piece)
        check_length(count / sound.sample_rate_hz, limits)
    if not count:
        raise RefusedError(400, f"{name}: holds no sound")
    return np.concatenate(pieces)


def draw_spectrogram(path: Path, predictor: ClipPredictor, name: str, limits: Limits) -> bytes:
    """Return PNG of a whole sound as the network hears a clip: gray, the highest frequency on top.

    A column lasts as long as in the network's own spectrogram, and there are as many as the sound
    needs: what is too long for one look is not cut, what is shorter has no silence after it.

    Args:
        path: a video or a sound.
        predictor: of a network that listens.
        name: what the sender calls it.
        limits: how long it may be.

    Raises:
        UserError: it can't be read.
        RefusedError: the network does not listen, there is no sound (400), or too much (413).
    """
    samples = read_heard(path, predictor, name, limits)
    sound, bank = predictor.spec.sound, predictor.settings.bank
    assert sound is not None
    assert bank is not None
    look_s = sound.duration_s or predictor.settings.window_s
    columns = round(sound.width * len(samples) / sound.sample_rate_hz / look_s)
    columns = min(max(columns, _FEWEST_COLUMNS), _MOST_COLUMNS)
    whole = dataclasses.replace(sound, duration_s=None, width=columns)
    heard = stored_spectrogram(samples, whole, bank.mel_filters, bank.window)
    return encode_png(heard)


def find_sound_heat(
    path: Path, found: Uploaded, predictor: ClipPredictor, limits: Limits, wanted: str
) -> Generator[None, None, None]:
    """Add a picture of where the network listens, some squares at a time.

    Args:
        path: a video or a sound.
        found: takes it.
        predictor: of a network that listens.
        limits: how long the sound may be.
        wanted: an output's name, or `occlusion.HIGHEST`.

    Raises:
        UserError: it can't be read, or the network has no such output.
        RefusedError: the network does not listen, there is no sound (400), or too much (413).
    """
    samples = read_heard(path, predictor, found.name, limits)
    heat = yield from look_for_sound_heat(samples, predictor, wanted)
    found.heat = [heat]
    found.copy = encode_png(draw_sound_heat(heat, predictor))
