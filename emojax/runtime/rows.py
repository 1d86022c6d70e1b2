"""Results -> a CSV file with one row per frame and face, kept however the run ends."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from types import TracebackType

import numpy as np

from emojax.runtime.predictor import FaceResult
from emojax.runtime.sources import Frame
from emojax.spec import InputSpec

_FRAME_COLUMNS = ("file", "frame", "face_id", "timestamp", "confidence", "success")
_BOX_COLUMNS = ("x", "y", "w", "h")


def column_names(spec: InputSpec) -> list[str]:
    """Return the table's columns for a model's outputs.

    `frame` counts from 0 within a file, `timestamp` is in seconds,
    `confidence` is the detector's score, boxes are in pixels, `AU01_c` is 0 or
    1, `AU01_p` and `emotion_neutral_p` are 0..1, `emotion` is the name of the
    highest.
    """
    return [
        *_FRAME_COLUMNS,
        *_BOX_COLUMNS,
        *(f"{name}_c" for name in spec.action_units),
        *(f"{name}_p" for name in spec.action_units),
        "emotion",
        *(f"emotion_{name}_p" for name in spec.emotions),
    ]


def _number(value: float) -> str:
    assert math.isfinite(value), "a table cell has to be a number"
    return f"{value:.4f}"


def rows_of_frame(
    frame: Frame,
    faces: list[FaceResult],
    face_ids: list[int],
    spec: InputSpec,
    thresholds: np.ndarray,
) -> list[list[str]]:
    """Return a frame's rows, one per face; without a face one row with `success` 0.

    Args:
        frame: where it comes from.
        faces: what was found in it.
        face_ids: the id of each face.
        spec: names of the outputs.
        thresholds: float32 [action units]; a unit from here on is present (1).
    """
    head = [str(frame.path), str(frame.number)]
    timestamp = f"{frame.timestamp_s:.6f}"
    if not faces:
        empty = [""] * (len(column_names(spec)) - len(_FRAME_COLUMNS))
        return [[*head, "", timestamp, "", "0", *empty]]
    return [
        [
            *head,
            str(face_id),
            timestamp,
            _number(face.detection.confidence),
            "1",
            *(str(getattr(face.detection, side)) for side in _BOX_COLUMNS),
            *("1" if unit else "0" for unit in face.action_units >= thresholds),
            *(_number(float(value)) for value in face.action_units),
            face.emotion or "",
            *(_number(float(value)) for value in face.emotions),
        ]
        for face, face_id in zip(faces, face_ids, strict=True)
    ]


class RowWriter:
    """Writes rows as they come: what was computed is in the file when anything fails."""

    def __init__(self, path: Path, spec: InputSpec) -> None:
        """Open the file, replacing one of the same name, and write the column names.

        Raises:
            OSError: it can't be written.
        """
        # A file name that is no valid text is written with escapes, rather than not at all.
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self.num_rows = 0
        self._write([column_names(spec)])

    def _write(self, rows: list[list[str]]) -> None:
        self._writer.writerows(rows)
        self._file.flush()

    def write(self, rows: list[list[str]]) -> None:
        """Append the rows of one frame."""
        self._write(rows)
        self.num_rows += len(rows)

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
