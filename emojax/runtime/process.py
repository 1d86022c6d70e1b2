"""Files -> table and annotated copies: the loop behind `emojax predict`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

from emojax.errors import UserError
from emojax.face import to_gray
from emojax.following import FaceFollower
from emojax.runtime.artifact import Artifact
from emojax.runtime.drawing import Layout, annotate, make_layout
from emojax.runtime.predictor import FaceResult, Predictor
from emojax.runtime.rows import rows_of_frame
from emojax.runtime.sources import Frame, Source, read_source
from emojax.runtime.summary import FileSummary
from emojax.runtime.tables import Tables
from emojax.runtime.tracking import FaceTracker, Smoother
from emojax.runtime.video_writer import VideoWriter
from emojax.video import read_info

_MOST_COLUMNS = 4


@dataclasses.dataclass
class Tally:
    """What a file gave."""

    frames: int = 0
    """Frames that were looked at."""
    faces: int = 0
    """Rows with a face."""
    without_face: int = 0
    """Frames without a face, which are rows too."""
    windows: int = 0
    """Clips of a sound without pictures, a row each."""
    annotated: Path | None = None
    """The annotated copy, where one was written."""


@dataclasses.dataclass(frozen=True)
class Looking:
    """How a video is looked at."""

    every: int = 1
    """One frame of so many."""
    detect_every: int = 1
    """Of those, one of so many is searched whole; in the others faces are looked for near where
    they were."""
    smooth_s: float = 0.0
    """Time constant of the average over a face's probabilities, in seconds; 0: none."""
    window_s: float | None = None
    """Of a network for clips: seconds of a clip; None: what the artifact names."""
    step_s: float | None = None
    """Of a network for clips: seconds from one clip to the next; None: what the artifact names."""


class Annotator:
    """Writes one file's annotated copy, frame by frame."""

    def __init__(
        self, path: Path, source: Source, artifact: Artifact, stack: contextlib.ExitStack
    ) -> None:
        """Start with nothing written.

        Args:
            path: the copy's.
            source: a picture or a video.
            artifact: names the outputs.
            stack: finishes the copy.
        """
        self._path = path
        self._source = source
        self._artifact = artifact
        self._stack = stack
        self._layout: Layout | None = None
        self._writer: VideoWriter | None = None

    def write(self, frame: Frame, faces: list[FaceResult], face_ids: list[int]) -> None:
        """Add the next frame."""
        is_video = self._source.kind == "video"
        if self._layout is None:
            columns = 1 if is_video else min(max(len(faces), 1), _MOST_COLUMNS)
            height, width = frame.picture.shape[:2]
            notice = self._artifact.notice
            self._layout = make_layout(width, height, self._artifact.spec, columns, notice)
        spec, thresholds = self._artifact.spec, self._artifact.thresholds
        copy = annotate(frame.picture, faces, face_ids, spec, thresholds, self._layout)
        if is_video:
            if self._writer is None:
                rate_hz = read_info(self._source.path).rate_hz
                writer = VideoWriter(self._path, rate_hz, sound_from=self._source.path)
                self._writer = self._stack.enter_context(writer)
            self._writer.write(copy, frame.timestamp_s)
            return
        _, content = cv2.imencode(".png", copy)
        self._path.write_bytes(content.tobytes())


def process_source(
    source: Source,
    predictor: Predictor,
    table: Tables,
    tally: Tally,
    copy_to: Path | None,
    looking: Looking | None = None,
    progress: Callable[[int], object] | None = None,
    summary: FileSummary | None = None,
) -> None:
    """Add a file's rows to the table, and write its annotated copy.

    Args:
        source: a picture or a video.
        predictor: finds the faces and runs the network.
        table: takes the rows.
        tally: is counted up as rows are written, so that it holds after an error too.
        copy_to: the annotated copy; None for none.
        looking: how often, and how; None: at every frame, whole.
        progress: is called with the number of frames read since the last call.
        summary: takes the rows too.

    Raises:
        UserError: the file can't be read; what could be is in the table.
        BrokenVideoError: the same, for a video that broke in the middle.
    """
    looking = looking or Looking()
    find = FaceFollower(predictor.detector, looking.detect_every)
    tracker, smoother = FaceTracker(), Smoother(looking.smooth_s)
    artifact = predictor.artifact
    with contextlib.ExitStack() as stack:
        annotator = None
        if copy_to is not None:
            annotator = Annotator(copy_to, source, artifact, stack)
        for frame in read_source(source):
            if progress is not None:
                progress(1)
            if frame.number % looking.every:
                continue
            gray = to_gray(frame.picture)
            boxes = find(gray)
            face_ids = tracker.update(boxes, frame.timestamp_s)
            faces = smoother.smooth(
                predictor.predict_faces(gray, boxes), face_ids, frame.timestamp_s
            )
            rows = rows_of_frame(frame, faces, face_ids, artifact.spec, artifact.thresholds)
            table.write(rows)
            if summary is not None:
                summary.add(rows)
            tally.frames += 1
            tally.faces += len(faces)
            tally.without_face += not faces
            if annotator is not None:
                annotator.write(frame, faces, face_ids)
                tally.annotated = copy_to


def count_frames(sources: Sequence[Source]) -> int | None:
    """Return about how many frames there are to read, None where a header does not say."""
    total = 0
    for source in sources:
        if source.kind != "video":
            # Of a sound there are no frames to count.
            total += source.kind == "picture"
            continue
        try:
            found = read_info(source.path).num_frames
        except UserError:
            continue
        if found is None:
            return None
        total += found
    return total


def prepare_folder(out: Path, annotate_too: bool) -> None:
    """Make the output folder, and make sure that it can be written to.

    Raises:
        UserError: a file is in its place or above it, or writing is not allowed.
    """
    remedy = "choose another --out"
    try:
        out.mkdir(parents=True, exist_ok=True)
        folders = [out]
        if annotate_too:
            folders.append(out / "annotated")
            folders[-1].mkdir(exist_ok=True)
        for folder in folders:
            probe = folder / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
    except FileExistsError as error:
        raise UserError(f"{error.filename}: is a file, wanted a folder: {remedy}") from None
    except NotADirectoryError as error:
        raise UserError(f"{error.filename}: lies under a file: {remedy}") from None
    except OSError as error:
        found = error.strerror or str(error)
        raise UserError(
            f"{error.filename or out}: can't be written to ({found}): {remedy}"
        ) from None
