"""An example as its shard holds it: TFDS's schema, and the values in its form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from emojax import labels
from emojax.data.examples import Example
from emojax.data.rows import Row
from emojax.labels import UNKNOWN
from emojax.spec import InputSpec

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


def features(input_spec: InputSpec, max_frames: int) -> tfds.features.FeaturesDict:
    """Return the TFDS schema of the shards: one fixed shape for pictures, clips and sounds."""
    import tensorflow_datasets as tfds

    tensor = tfds.features.Tensor
    units = (len(input_spec.action_units),)
    sides = len(labels.MODALITIES)
    heard: dict[str, Any] = {}
    if sound := input_spec.sound:
        size = (sound.height, sound.width)
        heard = {
            "spectrogram": tensor(shape=size, dtype=np.uint8, encoding="bytes"),
            "has_sound": tensor(shape=(), dtype=np.int32),
        }
    return tfds.features.FeaturesDict(
        {
            # Bytes: TFDS would otherwise store every gray value as an int64.
            "faces": tensor(
                shape=(max_frames, input_spec.height, input_spec.width),
                dtype=np.uint8,
                encoding="bytes",
            ),
            "num_frames": tensor(shape=(), dtype=np.int32),
            "timestamps": tensor(shape=(max_frames,), dtype=np.float32),
            "success": tensor(shape=(max_frames,), dtype=np.uint8, encoding="bytes"),
            "emotion": tensor(shape=(), dtype=np.int32),
            "emotion_confidence": tensor(shape=(), dtype=np.float32),
            "level": tfds.features.Text(),
            "votes": tensor(shape=(sides, len(input_spec.emotions)), dtype=np.int32),
            "votes_total": tensor(shape=(sides,), dtype=np.int32),
            "action_units": tensor(shape=units, dtype=np.int32),
            "intensities": tensor(shape=units, dtype=np.float32),
            "action_unit_confidence": tensor(shape=units, dtype=np.float32),
            "subject": tfds.features.Text(),
            "domain": tfds.features.Text(),
            "path": tfds.features.Text(),
            **heard,
        }
    )


def to_features(example: Example, input_spec: InputSpec, max_frames: int) -> dict[str, Any]:
    """Return an example in the form of `features`, padded with zeros to `max_frames`."""
    row = example.row
    units = [labels.AU_COLUMNS.index(name) for name in input_spec.action_units]
    heard: dict[str, Any] = {}
    if input_spec.sound:
        assert example.sound is not None
        heard = {
            "spectrogram": example.sound.spectrogram,
            "has_sound": np.int32(example.sound.has_sound),
        }
    votes, votes_total = count_votes(row, input_spec)
    return {
        "faces": _padded(example.faces, max_frames),
        "num_frames": np.int32(len(example.faces)),
        "timestamps": _padded(example.timestamps, max_frames),
        "success": _padded(example.success, max_frames),
        "emotion": np.int32(
            input_spec.emotions.index(row.emotion)
            if row.emotion in input_spec.emotions
            else UNKNOWN
        ),
        "emotion_confidence": np.float32(row.emotion_confidence),
        "level": row.level,
        "votes": votes,
        "votes_total": votes_total,
        "action_units": np.array(row.action_units, np.int32)[units],
        "intensities": np.array(row.intensities, np.float32)[units],
        "action_unit_confidence": np.array(row.action_unit_confidence, np.float32)[units],
        "subject": row.subject,
        "domain": row.domain,
        "path": row.key,
        **heard,
    }


def count_votes(row: Row, input_spec: InputSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return a row's votes for the spec's emotions, and all its votes.

    Returns:
        int32 [modality, emotion] and int32 [modality], modalities as in
        `labels.MODALITIES`; zeros where nobody voted. A vote for what the spec
        does not hold counts in the second only.
    """
    votes = np.zeros((len(labels.MODALITIES), len(input_spec.emotions)), np.int32)
    total = np.zeros(len(labels.MODALITIES), np.int32)
    for modality, emotion, count in row.votes:
        side = labels.MODALITIES.index(modality)
        total[side] += count
        if emotion in input_spec.emotions:
            votes[side, input_spec.emotions.index(emotion)] += count
    return votes, total


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """Return the array with zeros appended along its first axis."""
    widths = [(0, length - len(values)), *((0, 0) for _ in values.shape[1:])]
    return np.pad(values, widths)
