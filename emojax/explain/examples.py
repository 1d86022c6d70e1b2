"""What a network is asked to explain itself on: test people, or photographs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from emojax.data.resident import normalise, scale_sound
from emojax.data.shards import FaceArrays
from emojax.errors import UserError
from emojax.evaluate import sampled_faces
from emojax.face import HaarDetector, crop_face, detect_faces, read_picture, to_gray
from emojax.labels import UNKNOWN
from emojax.models.inputs import Looks, to_inputs
from emojax.spec import InputSpec


@dataclasses.dataclass(frozen=True)
class Examples:
    """n faces or clips of t frames, as they are before a network sees them."""

    frames: np.ndarray  # uint8 [n, t, height, width], gray
    has_frames: np.ndarray  # float32 [n], 1 or 0
    spectrograms: np.ndarray  # uint8 [n, frequency, time]; [n, 0, 0] without
    has_sound: np.ndarray  # float32 [n], 1 or 0
    emotion: np.ndarray  # int [n], index into the network's; the one after its last: neutral
    names: tuple[str, ...]

    def inputs(self, looks: Looks, spec: InputSpec) -> Any:
        """Return them in the form that networks of this kind take."""
        return to_inputs(
            looks,
            normalise(jnp.asarray(self.frames), spec),
            scale_sound(jnp.asarray(self.spectrograms)),
            jnp.asarray(self.has_sound),
            jnp.asarray(self.has_frames),
        )


def choose_people(
    emotion: Int[np.ndarray, " example"], subject: Int[np.ndarray, " example"], each: int
) -> Int[np.ndarray, " chosen"]:
    """Return examples of each emotion, of as many people as there are, in the split's order.

    Args:
        emotion: of each example; unknown ones are taken where all are unknown.
        subject: who it is.
        each: examples of an emotion; fewer where there are no more.
    """
    kinds = [kind for kind in np.unique(emotion) if kind != UNKNOWN] or [UNKNOWN]
    chosen: list[int] = []
    for kind in kinds:
        mine = np.flatnonzero(emotion == kind)
        _, first = np.unique(subject[mine], return_index=True)
        # One of each person first, and nobody's second before everyone's first.
        order = [*np.sort(first), *np.setdiff1d(np.arange(len(mine)), first)]
        chosen += mine[order[:each]].tolist()
    return np.array(chosen, int)


def take_people(arrays: FaceArrays, spec: InputSpec, each: int) -> Examples:
    """Return a few test people of each emotion.

    Args:
        arrays: a split, of `resident.keep_labels`.
        spec: what the network sees and answers.
        each: examples of an emotion.

    Raises:
        UserError: the split is empty.
    """
    if len(arrays.emotion) == 0:
        raise UserError("nobody is in the split `test`: give photographs with --pictures")
    chosen = choose_people(arrays.emotion, arrays.subject, each)
    hears = spec.sound is not None
    return Examples(
        frames=sampled_faces(arrays, spec.frames)[chosen],
        has_frames=(arrays.num_frames[chosen] > 0).astype(np.float32),
        spectrograms=arrays.spectrograms[chosen] if hears else np.zeros((len(chosen), 0, 0), "u1"),
        has_sound=arrays.has_sound[chosen].astype(np.float32) * hears,
        emotion=arrays.emotion[chosen].astype(int),
        names=tuple(arrays.paths[index] for index in chosen),
    )


def read_photographs(paths: Sequence[Path], spec: InputSpec) -> Examples:
    """Return all faces of photographs, found and cut as training cuts them, left to right.

    Raises:
        UserError: a file that is no picture, or none of them shows a face.
    """
    crops: list[np.ndarray] = []
    names: list[str] = []
    for path in paths:
        gray = to_gray(read_picture(path))
        boxes = detect_faces(gray, HaarDetector())
        crops += [crop_face(gray, box, spec) for box in boxes]
        many = len(boxes) > 1
        names += [
            f"{path.name}, {place}" if many else path.name for place in range(1, len(boxes) + 1)
        ]
        if not boxes:
            print(f"{path}: no face found: left out", flush=True)
    if not crops:
        raise UserError("no face in any of the pictures: give photographs of upright faces")
    count = len(crops)
    return Examples(
        frames=np.stack(crops)[:, None],
        has_frames=np.ones(count, np.float32),
        spectrograms=np.zeros((count, 0, 0), np.uint8),
        has_sound=np.zeros(count, np.float32),
        emotion=np.full(count, UNKNOWN),
        names=tuple(names),
    )
