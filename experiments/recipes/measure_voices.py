r"""Measure the network for voices on people and a microphone that it never heard, and under noise.

RAVDESS's speech is another set, with other actors, sentences and recordings: of its eight
emotions the six that the network answers are asked for (1,056 utterances of 24 people), through
the runner itself. A file's answer is the mean over its windows, as `emojax predict` writes it into
summary.csv. With --corruptions also under noise, on a telephone, clipped, in a room, faster and
slower, each at five strengths. With --wavs and --spectrograms, recordings are compared with ready
spectrograms of the same clips: does the runner hear what the network was trained on?

RAVDESS is CC BY-NC-SA 4.0 and at https://zenodo.org/records/1188976.

Example:
  python experiments/recipes/measure_voices.py --ravdess ravdess/ --corruptions --out voices.json \
      --wavs CREMA-D/AudioWAV --spectrograms log_mel.npz
"""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.signal
import tyro
from crema_d import floor_at_silence, read_voices
from measured import print_figures, recalls
from tqdm import tqdm

from emojax.cli import run_guarded
from emojax.data.crema_d_votes import parse_clip_name
from emojax.errors import UserError
from emojax.files import make_place, write_json
from emojax.labels import RAVDESS_EMOTIONS
from emojax.metrics import emotion_metrics
from emojax.runtime import load_artifact
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.shipped import find_model
from emojax.version import __version__
from emojax.video import read_sound

Waveform = np.ndarray
"""float32 [samples], one channel, -1..1."""


@dataclasses.dataclass(frozen=True)
class MeasureOptions:
    """What is measured on what."""

    ravdess: Path | None = None
    """The folder that holds Actor_01 .. Actor_24."""
    model: str = "voices"
    """The artifact, or the name of one that comes with emojax."""
    precision: Literal["float32", "float16", "int8"] | None = None
    """What the network computes in; unset: what the artifact names."""
    corruptions: bool = False
    """Also measure under corruptions; 25 times the work."""
    wavs: Path | None = None
    """Folder of CREMA-D recordings, to be compared with --spectrograms."""
    spectrograms: Path | None = None
    """The `.npz` that experiments/recipes/crema_d.py takes."""
    out: Path | None = None
    """Write the figures here, as JSON."""


PEOPLE = 24
"""Whom the owner recorded."""

_UTTERANCE = re.compile(r"03-01-(\d\d)-\d\d-\d\d-\d\d-(\d\d)")
"""A recording of speech: its emotion and its person."""


def _noise(sound: Waveform, decibels: float, rate_hz: int) -> Waveform:
    del rate_hz
    # The same noise on every sound would be a pattern; the sound itself seeds it.
    rng = np.random.default_rng(int(np.abs(sound).sum() * 1e3))
    power = np.mean(sound**2)
    return sound + rng.normal(0, np.sqrt(power / 10 ** (decibels / 10)), len(sound))


def _telephone(sound: Waveform, highest_hz: float, rate_hz: int) -> Waveform:
    band = scipy.signal.butter(6, (200, highest_hz), "bandpass", fs=rate_hz, output="sos")
    return np.asarray(scipy.signal.sosfilt(band, sound))


def _clip(sound: Waveform, share: float, rate_hz: int) -> Waveform:
    del rate_hz
    limit = share * np.abs(sound).max()
    return np.clip(sound, -limit, limit)


def _room(sound: Waveform, decay_s: float, rate_hz: int) -> Waveform:
    """Return a sound in a room whose echo is 60 dB down after so many seconds."""
    moments = np.arange(round(decay_s * rate_hz)) / rate_hz
    echo = np.random.default_rng(0).normal(size=len(moments)) * 10 ** (-3 * moments / decay_s)
    echo *= 0.5 / np.sqrt(np.sum(echo**2))
    return sound + scipy.signal.fftconvolve(sound, echo)[: len(sound)]


def _speed(sound: Waveform, factor: float, rate_hz: int) -> Waveform:
    """Return a sound played so many times as fast, its pitch with it."""
    del rate_hz
    return np.asarray(scipy.signal.resample(sound, round(len(sound) / factor)))


Corruption = Callable[[Waveform, float, int], Waveform]
"""`(sound, strength, samples per second)` to another sound."""

CORRUPTIONS: Mapping[str, tuple[Corruption, str, tuple[float, ...]]] = {
    "noise": (_noise, "decibels of the voice above it", (30, 20, 15, 10, 5)),
    "telephone": (_telephone, "highest hertz", (7000, 4000, 3400, 2500, 1500)),
    "clipped": (_clip, "of the peak", (0.7, 0.5, 0.3, 0.2, 0.1)),
    "room": (_room, "seconds of echo", (0.2, 0.4, 0.6, 0.9, 1.3)),
    "speed": (_speed, "times as fast", (0.9, 1.1, 0.8, 1.25, 1.5)),
}
"""What is done to a sound, what the numbers mean, and five of them from weak to strong."""


def read_ravdess(folder: Path, emotions: tuple[str, ...]) -> list[tuple[Path, str, str]]:
    """Return the recordings of these emotions: file, person, emotion.

    Raises:
        UserError: the folder holds none.
    """
    # The owner's archives unpack into each other: what is there twice is taken once.
    found: dict[str, tuple[Path, str, str]] = {}
    for path in sorted(folder.glob("**/03-01-*.wav")):
        fields = _UTTERANCE.fullmatch(path.stem)
        emotion = RAVDESS_EMOTIONS.get(int(fields[1]), "") if fields else ""
        if fields and emotion in emotions:
            found[path.name] = (path, fields[2], emotion)
    if not found:
        raise UserError(
            f"{folder}: no Actor_01/03-01-..wav there: give RAVDESS's speech, unpacked from "
            "https://zenodo.org/records/1188976"
        )
    people = {person for _, person, _ in found.values()}
    if len(people) < PEOPLE:
        print(f"{folder}: {len(people)} of RAVDESS's {PEOPLE} people", flush=True)
    return list(found.values())


def hear(predictor: ClipPredictor, sound: Waveform) -> np.ndarray:
    """Return the emotions' mean probabilities over the windows of a sound, float32 [emotions]."""
    settings, spec = predictor.settings, predictor.spec
    assert spec.sound is not None
    window, step = (
        round(seconds * spec.sound.sample_rate_hz)
        for seconds in (settings.window_s, settings.step_s)
    )
    starts = range(0, max(1, len(sound) - window + step), step)
    answers = [
        predictor.predict_clip(None, predictor.listen(sound[start : start + window]))
        for start in starts
        if len(sound) > start
    ]
    heard = [answer for answer in answers if answer is not None]
    return np.mean(heard, axis=0)[len(spec.action_units) :]


def measure_ravdess(predictor: ClipPredictor, folder: Path, corruptions: bool) -> dict[str, Any]:
    """Return the figures on RAVDESS's speech, as heard and corrupted."""
    spec = predictor.spec
    assert spec.sound is not None
    rate_hz = spec.sound.sample_rate_hz
    files = read_ravdess(folder, spec.emotions)
    sounds = [read_sound(path, rate_hz) for path, _, _ in tqdm(files, desc="read", disable=None)]
    for sound, (path, _, _) in zip(sounds, files, strict=True):
        if sound is None or not sound.size:
            raise UserError(f"{path}: no sound in it: unpack the archive again")
    kept = [
        (sound, person, spec.emotions.index(emotion))
        for sound, (_, person, emotion) in zip(sounds, files, strict=True)
        if sound is not None and sound.size
    ]
    truth = np.array([emotion for _, _, emotion in kept])
    people = np.unique([person for _, person, _ in kept], return_inverse=True)[1]

    def answers(change: Callable[[Waveform], Waveform]) -> np.ndarray:
        return np.stack([hear(predictor, change(sound)) for sound, _, _ in kept])

    began = time.perf_counter()
    scores = answers(lambda sound: sound)
    seconds = time.perf_counter() - began
    figures = {
        "recordings": len(kept),
        "real_time_factor": seconds / (sum(len(sound) for sound, _, _ in kept) / rate_hz),
        **emotion_metrics(truth, scores, people, spec.emotions),
    }
    figures["recall"] = recalls(figures["confusion"], spec.emotions)

    def recall(change: Corruption, strength: float) -> float:
        return _recall(truth, answers(lambda sound: change(sound, strength, rate_hz)))

    if corruptions:
        figures["corruptions"] = {
            name: {
                "what": what,
                "strengths": list(strengths),
                "unweighted_average_recall": [
                    recall(change, strength)
                    for strength in tqdm(strengths, desc=name, leave=False, disable=None)
                ],
            }
            for name, (change, what, strengths) in CORRUPTIONS.items()
        }
    return figures


def _recall(truth: np.ndarray, scores: np.ndarray) -> float:
    named = scores.argmax(axis=1)
    return float(np.mean([(named[truth == one] == one).mean() for one in np.unique(truth)]))


def compare_spectrograms(predictor: ClipPredictor, wavs: Path, ready: Path) -> dict[str, Any]:
    """Return how far the runner's spectrograms are from ready ones, and whether answers change.

    Raises:
        UserError: no recording of a clip that has a ready spectrogram.
    """
    spec = predictor.spec
    assert spec.sound is not None
    voices = read_voices(ready)
    # As the network was trained on them.
    pictures = dict(zip(voices.clips, floor_at_silence(voices.pictures), strict=True))
    if voices.pictures.shape[1:] != (spec.sound.height, spec.sound.width):
        raise UserError(
            f"{ready}: spectrograms of {list(voices.pictures.shape[1:])}, the network hears "
            f"{[spec.sound.height, spec.sound.width]}: give those that it was trained on"
        )
    rows = []
    for path in sorted(wavs.glob("*.wav")):
        if path.stem not in pictures or parse_clip_name(path.stem) is None:
            continue
        sound = read_sound(path, spec.sound.sample_rate_hz)
        own = None if sound is None else predictor.listen(sound)
        if sound is None or own is None:
            continue
        theirs = pictures[path.stem]
        answers = [predictor.predict_clip(None, picture) for picture in (own, theirs)]
        tops = [spec.emotions[int(np.argmax(answer))] for answer in answers if answer is not None]
        rows.append(
            {
                "clip": path.stem,
                "seconds": len(sound) / spec.sound.sample_rate_hz,
                "mean_absolute_difference": float(np.abs(own / 255 - theirs / 255).mean()),
                "top": tops,
            }
        )
    if not rows:
        raise UserError(f"{wavs}: no recording of a clip that {ready} holds")
    return {
        "clips": len(rows),
        "mean_absolute_difference": float(np.mean([r["mean_absolute_difference"] for r in rows])),
        "median_absolute_difference": float(
            np.median([r["mean_absolute_difference"] for r in rows])
        ),
        "same_top": sum(len(set(row["top"])) == 1 for row in rows),
        "rows": rows,
    }


def measure(options: MeasureOptions) -> dict[str, Any]:
    """Return the figures that are asked for.

    Raises:
        UserError: nothing is asked for, or the artifact does not listen alone.
    """
    if (options.wavs is None) != (options.spectrograms is None):
        raise UserError("--wavs and --spectrograms are compared: give both, or neither")
    if options.ravdess is None and options.wavs is None:
        raise UserError("nothing to measure: give --ravdess, or --wavs and --spectrograms")
    if options.corruptions and options.ravdess is None:
        raise UserError("--corruptions are measured on RAVDESS: give --ravdess")
    artifact = load_artifact(find_model(options.model), options.precision)
    predictor = ClipPredictor(artifact)
    if not predictor.hears:
        raise UserError(f"{artifact.folder}: does not listen: give a network for voices")
    figures: dict[str, Any] = {"emojax": __version__, "precision": artifact.precision}
    if options.wavs is not None and options.spectrograms is not None:
        figures["spectrograms"] = compare_spectrograms(
            predictor, options.wavs, options.spectrograms
        )
    if options.ravdess is not None:
        figures["ravdess"] = measure_ravdess(predictor, options.ravdess, options.corruptions)
    return figures


def main(arguments: list[str]) -> int:
    """Measure, print, and return the exit status."""
    options = tyro.cli(MeasureOptions, args=arguments, description=__doc__)
    if options.out is not None:
        make_place(options.out)
    figures = measure(options)
    if compared := figures.get("spectrograms"):
        print(
            f"{compared['clips']} recordings beside ready spectrograms: mean absolute difference "
            f"{compared['mean_absolute_difference']:.4f} (median "
            f"{compared['median_absolute_difference']:.4f}) of the range, the same top emotion "
            f"in {compared['same_top']}"
        )
    if heard := figures.get("ravdess"):
        print(f"RAVDESS's speech, six emotions: {heard['recordings']} recordings")
        print_figures(heard)
        print(f"{heard['real_time_factor']:.4f} seconds a second of sound, one thread")
        for name, row in heard.get("corruptions", {}).items():
            cells = "  ".join(
                f"{strength:g}: {value:.3f}"
                for strength, value in zip(
                    row["strengths"], row["unweighted_average_recall"], strict=True
                )
            )
            print(f"{name:9} ({row['what']}) {cells}")
    if options.out is not None:
        write_json(options.out, figures)
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("measure_voices.py", lambda: main(sys.argv[1:])))
