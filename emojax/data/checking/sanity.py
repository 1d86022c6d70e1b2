"""What can't be true of an example, whatever the data set: found in whole batches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from emojax.spec import InputSpec

PROBLEMS: dict[str, str] = {
    "emotion": "an emotion out of range",
    "action units": "an action unit that is neither 1, 0 nor -1",
    "intensities": "an intensity that is neither 0..1 nor -1",
    "confidences": "a confidence that is not 0..1",
    "votes": "more votes for its emotions than votes, or fewer than none",
    "no label": "no label at all",
    "frames": "a number of frames that can't be, or pixels after the last one",
    "success": "success flags that can't be, or no frame with a face among the kept ones",
    "timestamps": "timestamps that don't rise",
    "blank": "a face of one gray value",
    "sound": "a sound flag that can't be, or a sound without any",
}
"""What is looked for, in the order in which it is told."""


def find_problems(batch: Mapping[str, np.ndarray], spec: InputSpec) -> dict[str, np.ndarray]:
    """Return which examples have which problem, bool [n] by the names of `PROBLEMS`.

    Args:
        batch: columns of n examples, as `shards.read_batches` yields them.
        spec: of the data set.
    """
    faces, counts = batch["faces"], batch["num_frames"]
    number, frames = faces.shape[:2]
    kept = np.arange(frames)[None] < counts[:, None]
    success, seconds = batch["success"], batch["timestamps"]
    flat = faces.reshape(number, frames, -1)
    low, high = flat.min(axis=2), flat.max(axis=2)
    has_sound = batch.get("has_sound", np.zeros(number, np.uint8))
    steps = np.diff(seconds, axis=1) > 0
    rising = (steps | ~kept[:, 1:]).all(axis=1)
    labelled = (
        (batch["emotion"] >= 0)
        | (batch["action_units"] >= 0).any(axis=1)
        | (batch["intensities"] >= 0).any(axis=1)
        | (batch["votes_total"] > 0).any(axis=1)
    )
    votes, total = batch["votes"], batch["votes_total"]
    units, graded = batch["action_units"], batch["intensities"]
    confidence = np.column_stack([batch["emotion_confidence"], batch["action_unit_confidence"]])
    found = {
        "emotion": (batch["emotion"] < -1) | (batch["emotion"] >= len(spec.emotions)),
        "action units": ((units < -1) | (units > 1)).any(axis=1),
        "intensities": ~((graded == -1) | _is_share(graded)).all(axis=1),
        "confidences": ~_is_share(confidence).all(axis=1),
        "votes": (votes < 0).any(axis=(1, 2)) | (votes.sum(axis=2) > total).any(axis=1),
        "no label": ~labelled,
        "frames": (counts < 0)
        | (counts > frames)
        | ((counts == 0) & (has_sound == 0))
        | ((high > 0) & ~kept).any(axis=1),
        "success": (success > kept).any(axis=1) | ((counts > 0) & ~success.any(axis=1)),
        "timestamps": ~rising | ((seconds < 0) | ~np.isfinite(seconds)).any(axis=1),
        "blank": ((low == high) & kept).any(axis=1),
        "sound": _bad_sound(batch, has_sound),
    }
    return {name: np.asarray(found[name]) for name in PROBLEMS}


def _is_share(values: np.ndarray) -> np.ndarray:
    """Return where a value is a number from 0 to 1; a NaN is none."""
    return (values >= 0) & (values <= 1)


def _bad_sound(batch: Mapping[str, np.ndarray], has_sound: np.ndarray) -> np.ndarray:
    if "spectrogram" not in batch:
        return np.zeros(len(has_sound), bool)
    flat = batch["spectrogram"].reshape(len(has_sound), -1)
    silent = flat.min(axis=1) == flat.max(axis=1)
    return (has_sound > 1) | ((has_sound == 1) & silent)
