"""A model for clips whose answers can be worked out by hand, and its artifact."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from tiny_artifact import OFFSETS, SLOPES, add_precisions, write_artifact

from emojax.audio import PRESETS
from emojax.data.mel import make_mel_filters
from emojax.filter_bank import SOUND, write_filter_bank
from emojax.golden import Golden, Recorded
from emojax.spec import InputSpec

LOG_MEL = PRESETS["log_mel"]
CLIP = InputSpec(frames=4, sound=LOG_MEL)
# Each frame counts otherwise, so that an answer tells which ones were taken, and in what order.
WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4], np.float32)


def expected_clip(frames: np.ndarray | None, spectrogram: np.ndarray | None) -> np.ndarray:
    """What the tiny model says of uint8 [4, 98, 80] and uint8 [64, 96], either of them missing."""
    total = 0.0
    if frames is not None:
        total += (((frames.astype(np.float64) - 127) / 128).mean(axis=(1, 2)) * WEIGHTS).sum()
    if spectrogram is not None:
        total += 2 * (spectrogram / 255).mean()
    return 1 / (1 + np.exp(-(total * SLOPES + OFFSETS)))


def tiny_clip_model(listens: bool = True) -> bytes:
    """Return that model; without sound it looks at frames alone, as ar3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from emojax.data.quiet import load_tensorflow

        tf = load_tensorflow()

        def finish(total: Any) -> Any:
            return tf.sigmoid(total[:, None] * SLOPES[None] + OFFSETS[None])

        def look(frames: Any) -> Any:
            return tf.reduce_sum(tf.reduce_mean(frames, axis=[2, 3]) * WEIGHTS[None], axis=1)

        def both(frames: Any, has_frames: Any, spectrogram: Any, has_sound: Any) -> Any:
            heard = 2 * tf.reduce_mean(spectrogram, axis=[1, 2, 3])
            return finish(look(frames) * has_frames + heard * has_sound)

        def frames_alone(frames: Any) -> Any:
            return finish(look(frames))

        shapes = [(1, 4, 98, 80), (1,), (1, 64, 96, 1), (1,)]
        signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
        function = tf.function(
            both if listens else frames_alone,
            input_signature=signature if listens else signature[:1],
            autograph=False,
        )
        concrete = function.get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete], function).convert()


def write_clip_artifact(folder: Path, model: bytes, listens: bool = True, **changes: Any) -> Path:
    """Write an artifact folder; `changes` replace fields of its spec.json."""
    folder.mkdir(parents=True, exist_ok=True)
    sound = {}
    if listens:
        write_filter_bank(folder / SOUND, LOG_MEL, make_mel_filters(LOG_MEL))
        checksum = hashlib.sha256((folder / SOUND).read_bytes()).hexdigest()
        sound = {"sound": {"name": SOUND, "sha256": checksum, "reference": "maximum"}}
    fields = {
        "looks_at": "clip" if listens else "frames",
        "input": (CLIP if listens else CLIP.replace(sound=None)).to_dict(),
        "clip": {"window_s": 1.0, "step_s": 0.25, "kept_frames": 60, "sees": True},
        **sound,
        **changes,
    }
    return write_artifact(folder, model, **fields)


def write_verifiable_clip(folder: Path, model: bytes, **changes: Any) -> Path:
    """Write an artifact that listens, whose precisions are one model, with recorded answers."""
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (3, CLIP.frames, CLIP.height, CLIP.width), np.uint8)
    heard = rng.integers(0, 256, (3, LOG_MEL.height, LOG_MEL.width), np.uint8)
    has_frames, has_sound = np.array([1, 1, 0], np.float32), np.array([1, 0, 1], np.float32)
    answers = np.stack(
        [
            expected_clip(crops[row] if sees else None, heard[row] if hears else None)
            for row, (sees, hears) in enumerate(zip(has_frames, has_sound, strict=True))
        ]
    ).astype(np.float32)
    write_clip_artifact(folder, model, **changes)
    recorded = Recorded(crops, heard, has_frames, has_sound)
    return add_precisions(folder, model, Golden(recorded, answers, answers))
