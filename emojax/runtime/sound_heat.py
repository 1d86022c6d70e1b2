"""A sound -> a picture of where the network listens: heat over one look's spectrogram."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np

from emojax.errors import UserError
from emojax.runtime.canvas import MARGIN, ROW, begin_copy, fit_layout, wrap_words, write_words
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.heat_colours import FAINTEST, SCALE_HEIGHT, draw_covered, draw_scale, tell
from emojax.runtime.occlusion import (
    HIGHEST,
    Heat,
    find_output,
    occlude,
    spread_falls,
    without_pause,
)
from emojax.video import read_sound

SHARE = 1 / 6
"""Side of the square, as a share of the spectrogram's longer side: half a second of three, and a
quarter of 64 bands."""

_WIDTH = 640


@dataclasses.dataclass(frozen=True)
class SoundHeat(Heat):
    """What covering shows of one look at a sound."""

    spectrogram: np.ndarray
    """uint8 [frequency, time], what the network hears."""
    window_s: tuple[float, float]
    """Beginning and end of the look, in seconds."""


def look_for_sound_heat(
    samples: np.ndarray,
    predictor: ClipPredictor,
    wanted: str = HIGHEST,
    window_s: float | None = None,
    step_s: float | None = None,
) -> Generator[None, None, SoundHeat]:
    """Return what covering shows of that look at a sound which answers most of an output.

    By the sound alone, whatever else the network takes. Yields many times a second, so that
    whoever runs it may let others have a turn.

    Args:
        samples: float32 [samples], -1..1, at the spec's sample rate.
        predictor: of a network that listens.
        wanted: an output's name, or `HIGHEST`.
        window_s: length of a look in seconds; None: the artifact's.
        step_s: from the beginning of one to that of the next; None: the artifact's.

    Raises:
        UserError: the network does not listen or has no such output, or there is no sound.
    """
    spec, settings = predictor.spec, predictor.settings
    find_output(wanted, np.zeros(spec.num_outputs), spec)
    if spec.sound is None:
        raise UserError("this network does not listen: choose another")
    rate_hz = spec.sound.sample_rate_hz
    window_s = settings.window_s if window_s is None else window_s
    step_s = settings.step_s if step_s is None else step_s

    def answer(heard: np.ndarray) -> np.ndarray:
        found = [predictor.predict_clip(None, one) for one in heard]
        return np.stack([one for one in found if one is not None])

    best: tuple[float, np.ndarray, tuple[float, float]] | None = None
    for number in itertools.count():
        begin_s = number * step_s
        piece = samples[round(begin_s * rate_hz) : round((begin_s + window_s) * rate_hz)]
        heard = predictor.listen(piece)
        if heard is None:
            break
        whole = answer(heard[None])[0]
        value = float(whole[find_output(wanted, whole, spec)[0]])
        if best is None or value > best[0]:
            best = value, heard, (begin_s, begin_s + len(piece) / rate_hz)
        if round((begin_s + window_s) * rate_hz) >= len(samples):
            break
        yield
    if best is None:
        raise UserError("there is no sound: record it again")
    _, heard, span_s = best
    # 0 is the floor of a spectrogram: silence.
    occlusion = yield from occlude(heard, answer, 0, SHARE)
    place, output = find_output(wanted, occlusion.whole, spec)
    return SoundHeat(output, place, occlusion, heard, span_s)


def draw_sound_heat(found: SoundHeat, predictor: ClipPredictor) -> np.ndarray:
    """Return the picture of it, blue, green, red, uint8 [height, width, 3].

    Args:
        found: of `look_for_sound_heat`.
        predictor: whose sound it is.
    """
    heat = spread_falls(found.occlusion, found.place)
    top = max(FAINTEST, float(np.abs(heat).max()))
    rows, columns = found.spectrogram.shape
    factor = (_WIDTH - 2 * MARGIN) / columns
    begin_s, end_s = found.window_s
    title = f"{begin_s:.1f} s to {end_s:.1f} s: {found.output} {found.whole:.2f}"
    lines = wrap_words(", ".join(tell(found)), _WIDTH - 2 * MARGIN, 1)
    height = round(rows * factor) + SCALE_HEIGHT + (3 + len(lines)) * ROW
    side = found.occlusion.side
    note = (
        f"A square of {side} x {side} was silenced, place by place, in what the network hears, "
        f"{columns} columns in time, {rows} bands, the highest on top. Orange: silent, the score "
        "falls. Blue: it rises. This is what the network goes by, right or wrong."
    )
    layout = fit_layout(_WIDTH, height, (0, height), 0, predictor.artifact.notice, note)
    canvas, _, _ = begin_copy(np.full((height, _WIDTH, 3), 250, np.uint8), layout)
    write_words(canvas, title, MARGIN, ROW, 1)
    first = round(1.5 * ROW)
    foot = first + draw_covered(
        canvas[first:, MARGIN:], found.spectrogram, found, heat, top, factor, 1
    )
    for number, line in enumerate(lines):
        write_words(canvas, line, MARGIN, foot + (number + 1) * ROW, 1)
    draw_scale(canvas, top, MARGIN, foot + (len(lines) + 0.6) * ROW, _WIDTH / 2, 1)
    return canvas


def write_sound_heat(
    source: Path,
    predictor: ClipPredictor,
    wanted: str,
    to: Path,
    window_s: float | None = None,
    step_s: float | None = None,
) -> None:
    """Write a picture of where the network listens in a file, as PNG.

    Args:
        source: a sound or a video.
        predictor: of a network that listens.
        wanted: an output's name, or `HIGHEST`.
        to: the picture.
        window_s: length of a look in seconds; None: the artifact's.
        step_s: from the beginning of one to that of the next; None: the artifact's.

    Raises:
        UserError: it can't be read, holds no sound, or the network has no such output.
    """
    assert predictor.spec.sound is not None
    samples = read_sound(source, predictor.spec.sound.sample_rate_hz)
    if samples is None or not samples.size:
        raise UserError(f"{source}: --heat is of its sound, and there is none: leave it out")
    found = without_pause(look_for_sound_heat(samples, predictor, wanted, window_s, step_s))
    to.write_bytes(cv2.imencode(".png", draw_sound_heat(found, predictor))[1].tobytes())
