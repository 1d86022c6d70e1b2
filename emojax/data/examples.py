"""One example: the faces of one picture or clip, and what is known of them.

`read_example` is the one place where a file becomes an example. It is a pure
function of its arguments and the file's content, so that a pool of processes,
a cache of finished files or a Beam pipeline can call it and agree.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from emojax import face, labels, video
from emojax.data.rows import Rejection, Row
from emojax.errors import UserError
from emojax.labels import UNKNOWN
from emojax.picture import read_picture, to_gray
from emojax.spec import InputSpec

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

    from emojax.data.sound import Sound

CLIP_FRAMES = 60
"""Crops that a clip keeps: three samples of 20 frames with different starts."""

_HELD_BYTES = 96 * 2**20
"""Gray frames kept while a clip is decoded; a longer clip is decoded twice instead."""

_Cut = Callable[[np.ndarray], np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How files become examples, beside the `InputSpec`."""

    max_frames: int = 1
    """Crops per example; longer clips keep as many, equally spaced."""
    faces: Literal["detect", "ready"] = "detect"
    """`detect` finds the largest face; `ready` takes each picture as a face already cut."""


@dataclasses.dataclass(frozen=True)
class Example:
    """Faces and labels of one row; the arrays hold the frames that there are, unpadded."""

    row: Row
    faces: np.ndarray
    """uint8 [frames, height, width], gray."""
    timestamps: np.ndarray
    """float32 [frames], seconds in the container; 0 for a picture."""
    success: np.ndarray
    """uint8 [frames]: 1 where the face was found, 0 where the nearest frame stands in."""
    sound: Sound | None = None
    """None where the `InputSpec` asks for no sound."""


def read_example(
    row: Row,
    input_spec: InputSpec,
    options: ReadOptions,
    detect: face.Detector | None = None,
) -> Example | Rejection:
    """Return the example that a row's file gives, or the reason why it gives none.

    Args:
        row: the file and its labels.
        input_spec: how faces are cut.
        options: how many frames are kept, and whether faces have to be found.
        detect: finds faces; the Haar cascade where none is given.
    """
    if options.faces == "ready":
        cut: _Cut = functools.partial(face.crop_ready, spec=input_spec)
    else:
        cut = functools.partial(_cut_largest, detect or face.HaarDetector(), input_spec)
    try:
        if not row.path.is_file():
            return Rejection(row, "missing file", f"{row.path}: no such file")
        if row.is_picture:
            frames = [(0.0, to_gray(read_picture(row.path)))]
        else:
            frames = _spaced_frames(row, options.max_frames)
        crops = [cut(gray) for _, gray in frames]
    except video.BrokenVideoError as error:
        # Kept, it would be a shorter clip under a label given for the whole.
        return Rejection(row, "broken clip", str(error))
    except (UserError, OSError, MemoryError, cv2.error) as error:
        return Rejection(row, "unreadable file", str(error))
    if all(crop is None for crop in crops):
        where = "in any frame" if len(crops) > 1 else "in the picture"
        return Rejection(row, "no face", f"{row.path}: no face found {where}")
    return Example(
        row=row,
        faces=_bridged(crops),
        timestamps=np.array([timestamp for timestamp, _ in frames], np.float32),
        success=np.array([crop is not None for crop in crops], np.uint8),
        sound=_read_sound(row, input_spec),
    )


def _read_sound(row: Row, input_spec: InputSpec) -> Sound | None:
    if input_spec.sound is None:
        return None
    # Loads librosa, which pictures and silent clips do without.
    from emojax.data.sound import read_spectrogram

    own = None if row.is_picture else row.path
    return read_spectrogram(row.audio_path or own, row.start_s, row.end_s, input_spec.sound)


def equally_spaced(count: int, wanted: int) -> np.ndarray:
    """Return which of `count` frames to keep, int [min(count, wanted)], first and last included."""
    if wanted == 1:
        return np.array([count // 2])
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(int)


def features(input_spec: InputSpec, max_frames: int) -> tfds.features.FeaturesDict:
    """Return the TFDS schema of the shards: one fixed shape for pictures and clips."""
    import tensorflow_datasets as tfds

    tensor = tfds.features.Tensor
    units = (len(input_spec.action_units),)
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
        "action_units": np.array(row.action_units, np.int32)[units],
        "intensities": np.array(row.intensities, np.float32)[units],
        "action_unit_confidence": np.array(row.action_unit_confidence, np.float32)[units],
        "subject": row.subject,
        "domain": row.domain,
        "path": row.key,
        **heard,
    }


def _cut_largest(
    detect: face.Detector, input_spec: InputSpec, gray: np.ndarray
) -> np.ndarray | None:
    box = face.largest(detect(gray))
    return None if box is None else face.crop_face(gray, box, input_spec)


def _spaced_frames(row: Row, wanted: int) -> list[tuple[float, np.ndarray]]:
    """Return the kept frames of a clip, as (seconds, gray uint8 [height, width])."""
    held: list[tuple[float, np.ndarray]] | None = []
    held_bytes = count = 0
    for timestamp, bgr in _span(row):
        count += 1
        if held is not None:
            gray = to_gray(bgr)
            held.append((timestamp, gray))
            held_bytes += gray.nbytes
            if held_bytes > _HELD_BYTES:
                held = None
    if count == 0:
        raise UserError(f"{row.path}: no frame in the part that is asked for")
    kept = equally_spaced(count, wanted)
    if held is not None:
        return [held[index] for index in kept]
    chosen = set(kept.tolist())
    return [
        (timestamp, to_gray(bgr))
        for index, (timestamp, bgr) in enumerate(_span(row))
        if index in chosen
    ]


def _span(row: Row) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (seconds, BGR frame) of the part of a clip that counts."""
    start = 0.0 if row.start_s is None else row.start_s
    for _, timestamp, bgr in video.read_frames(row.path):
        if row.end_s is not None and timestamp > row.end_s:
            return
        if timestamp >= start:
            yield timestamp, bgr


def _bridged(crops: Sequence[np.ndarray | None]) -> np.ndarray:
    """Return uint8 [frames, height, width], gaps filled from the nearest frame with a face."""
    found = np.array([index for index, crop in enumerate(crops) if crop is not None])
    nearest = [found[np.argmin(np.abs(found - index))] for index in range(len(crops))]
    return np.stack([crop for crop in (crops[index] for index in nearest) if crop is not None])


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """Return the array with zeros appended along its first axis."""
    widths = [(0, length - len(values)), *((0, 0) for _ in values.shape[1:])]
    return np.pad(values, widths)
