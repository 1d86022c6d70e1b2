"""What is recorded of a live view: the annotated video, and its rows beside it."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path

import numpy as np

from emojax.runtime.artifact import Artifact
from emojax.runtime.predictor import FaceResult
from emojax.runtime.process import CAMERA_RATE_HZ, prepare_folder
from emojax.runtime.rows import column_types, rows_of_frame
from emojax.runtime.sources import Frame
from emojax.runtime.tables import CsvTable
from emojax.runtime.video_writer import VideoWriter
from emojax.stopping import uninterrupted


def new_name(folder: Path) -> Path:
    """Return a path without a suffix that names no recording yet: today's date and time.

    Args:
        folder: where the recordings are.
    """
    stem = f"webcam-{datetime.datetime.now().astimezone():%Y%m%d-%H%M%S}"
    path, number = folder / stem, 2
    while any(path.with_name(f"{path.name}{suffix}").exists() for suffix in (".mp4", ".csv")):
        path, number = folder / f"{stem}-{number}", number + 1
    return path


class Recording:
    """Writes NAME.mp4 and NAME.csv. Use it as a context; they are whole whatever happens."""

    def __init__(self, folder: Path, artifact: Artifact) -> None:
        """Open the files.

        Args:
            folder: where they go; made where it is missing.
            artifact: names the columns.

        Raises:
            UserError: the folder can't be written to.
        """
        prepare_folder(folder)
        self.path = new_name(folder)
        self._video = self.path.with_name(f"{self.path.name}.mp4")
        self._artifact = artifact
        self._start_s: float | None = None
        self._number = 0
        self.last_s = 0.0
        with contextlib.ExitStack() as opened:
            table = self.path.with_name(f"{self.path.name}.csv")
            self._table = CsvTable(table, column_types(artifact.spec))
            opened.callback(self._table.close)
            self._writer = opened.enter_context(VideoWriter(self._video, CAMERA_RATE_HZ))
            self._files = opened.pop_all()

    def write(
        self,
        copy: np.ndarray,
        picture: np.ndarray,
        faces: list[FaceResult],
        face_ids: list[int],
        taken_s: float,
    ) -> None:
        """Append a frame; `frame` and `timestamp` of its rows are those of the video.

        Args:
            copy: the annotated picture, blue, green, red, uint8; all of one size.
            picture: the camera's.
            faces: what was found in it.
            face_ids: the id of each face.
            taken_s: when it was taken, in seconds on any clock.

        Raises:
            OSError: the disk is full.
        """
        self._start_s = taken_s if self._start_s is None else self._start_s
        self.last_s = taken_s - self._start_s
        frame = Frame(self._video, self._number, self.last_s, picture)
        artifact = self._artifact
        rows = rows_of_frame(
            *(frame, faces, face_ids, artifact.spec, artifact.thresholds),
            uncertain_below=artifact.uncertain_below,
        )
        with uninterrupted():
            self._table.write(rows)
            self._writer.write(copy, self.last_s)
        self._number += 1

    @property
    def result(self) -> str:
        """What was recorded, in a line."""
        return f"{self.path}.mp4 and .csv: {self._number} frames in {self.last_s:.1f} s"

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()
