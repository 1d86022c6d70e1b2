"""Results -> rows: one for each frame and face, and one for a frame without a face."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emojax.runtime.predictor import FaceResult, Heard
from emojax.runtime.sources import Frame
from emojax.spec import InputSpec

Value = str | int | float | None
"""What a cell holds; None: there is nothing to say."""

Row = dict[str, Value]
"""A row by the names of its columns, in their order."""


class Seen(NamedTuple):
    """A frame and what was found in it."""

    frame: Frame
    """The frame."""
    faces: list[FaceResult]
    """From left to right; none is a result too."""
    face_ids: list[int]
    """Of each face, the same as long as it is in view."""
    heard: Heard | None = None
    """Of a frame without a face, what is said of the sound alone."""


def column_types(spec: InputSpec) -> dict[str, type]:
    """Return the table's columns for a model's outputs, and what is in them.

    `frame` counts from 0 within a file, `timestamp` is in seconds,
    `confidence` is the detector's score, boxes are in pixels, `AU01_c` is 0 or
    1, `AU01_p` and `emotion_neutral_p` are 0..1, `emotion` is the name of the
    highest, `uncertain` is 1 where the highest is below the artifact's `uncertain_below` and
    empty where it has none; `face_size` is the box's height as a share of the frame's,
    `blur` and `brightness` are those of `FaceResult`. Of a network for clips,
    `window_start` and `window_end` say which clip the row's answer is about.
    """
    return {
        "file": str,
        "frame": int,
        "face_id": int,
        "timestamp": float,
        "confidence": float,
        "success": int,
        **dict.fromkeys("xywh", int),
        **{f"{name}_c": int for name in spec.action_units},
        **{f"{name}_p": float for name in spec.action_units},
        "emotion": str,
        "uncertain": int,
        **{f"emotion_{name}_p": float for name in spec.emotions},
        "face_size": float,
        "blur": float,
        "brightness": float,
        **dict.fromkeys(("window_start", "window_end") if spec.frames > 1 else (), float),
    }


def _uncertain(answer: FaceResult | Heard, below: float | None) -> int | None:
    if below is None or not answer.emotions.size:
        return None
    return int(answer.emotions.max() < below)


def rows_of_frame(
    frame: Frame,
    faces: list[FaceResult],
    face_ids: list[int],
    spec: InputSpec,
    thresholds: np.ndarray,
    uncertain_below: float | None = None,
    heard: Heard | None = None,
) -> list[Row]:
    """Return a frame's rows, one per face; without a face one row with `success` 0.

    Args:
        frame: where it comes from.
        faces: what was found in it.
        face_ids: the id of each face.
        spec: names of the outputs.
        thresholds: float32 [action units]; a unit from here on is present (1).
        uncertain_below: 0..1, the score of the highest emotion below which it is uncertain.
        heard: what is said of the sound alone, for a frame without a face.
    """
    empty: Row = dict.fromkeys(column_types(spec))
    empty |= {
        "file": str(frame.path),
        "frame": frame.number,
        "timestamp": frame.timestamp_s,
        "success": 0,
    }
    if not faces:
        return [
            empty
            if heard is None
            else empty | _answer_cells(heard, spec, thresholds, uncertain_below)
        ]
    height = frame.picture.shape[0]
    return [
        empty
        | {
            "face_id": face_id,
            "confidence": face.detection.confidence,
            "success": 1,
            **{side: getattr(face.detection, side) for side in "xywh"},
            **_answer_cells(face, spec, thresholds, uncertain_below),
            "face_size": face.detection.h / height,
            "blur": face.blur,
            "brightness": face.brightness,
        }
        for face, face_id in zip(faces, face_ids, strict=True)
    ]


def _answer_cells(
    answer: FaceResult | Heard,
    spec: InputSpec,
    thresholds: np.ndarray,
    uncertain_below: float | None,
) -> Row:
    present = answer.action_units >= thresholds
    cells: Row = {
        "emotion": answer.emotion,
        "uncertain": _uncertain(answer, uncertain_below),
        **{f"{name}_c": int(on) for name, on in zip(spec.action_units, present, strict=True)},
        **{
            f"{name}_p": float(value)
            for name, value in zip(spec.action_units, answer.action_units, strict=True)
        },
        **{
            f"emotion_{name}_p": float(value)
            for name, value in zip(spec.emotions, answer.emotions, strict=True)
        },
    }
    if answer.window_s is not None:
        cells["window_start"], cells["window_end"] = answer.window_s
    return cells
