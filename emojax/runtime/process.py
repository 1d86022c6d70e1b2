"""Files and cameras -> table and annotated copies: the loop behind `emojax predict`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2

from emojax.errors import UserError
from emojax.files import is_full_disk
from emojax.runtime.canvas import Layout
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.drawing import annotate, make_layout
from emojax.runtime.hiding import FaceHider
from emojax.runtime.looking import Looking, look_at
from emojax.runtime.neutral import Differences, Neutral, mean_probabilities
from emojax.runtime.predictor import Predictor
from emojax.runtime.rows import Row, Seen, rows_of_frame
from emojax.runtime.sources import Source, list_sources, read_source
from emojax.runtime.summary import FileSummary
from emojax.runtime.tables import Tables
from emojax.runtime.video_writer import VideoWriter
from emojax.stopping import uninterrupted, what_waits
from emojax.video import read_info

CAMERA_RATE_HZ = 30.0
"""Frames a second that most cameras give; an annotated video keeps each frame's own time."""

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
    not_annotated: UserError | None = None
    """Why there is no annotated copy, or none of the whole file, where one was wanted."""


def rows_of(seen: Seen, predictor: Predictor | ClipPredictor) -> list[Row]:
    """Return a frame's rows."""
    artifact = predictor.artifact
    return rows_of_frame(
        *(seen.frame, seen.faces, seen.face_ids, artifact.spec, artifact.thresholds),
        uncertain_below=artifact.uncertain_below,
        heard=seen.heard,
    )


class _Annotator:
    """Writes one file's annotated copy, frame by frame; one that can't be written costs no rows."""

    def __init__(
        self,
        path: Path,
        source: Source,
        predictor: Predictor | ClipPredictor,
        tally: Tally,
        hide_faces: bool,
    ) -> None:
        self._path = path
        self._source = source
        self._artifact = predictor.artifact
        self._tally = tally
        self._stack = contextlib.ExitStack()
        self._layout: Layout | None = None
        self._writer: VideoWriter | None = None
        self._hider = FaceHider(predictor.detector) if hide_faces else None

    @property
    def goes_on(self) -> bool:
        """Whether more frames are of use."""
        return self._tally.not_annotated is None

    def write(self, seen: Seen) -> None:
        with self._told():
            if self._layout is None:
                self._layout = self._begin(seen)
            for ready in [seen] if self._hider is None else self._hider.add(seen):
                self._put(ready, self._layout)
            self._tally.annotated = self._path

    def close(self) -> None:
        with self._told():
            self._stack.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Keep what is wrong with the copy in the tally; on a full disk no row has room either."""
        try:
            yield
        except (OSError, UserError) as error:
            if is_full_disk(error):
                raise
            found = str(error)
            if isinstance(error, OSError):
                found = f"{self._path}: can't be written ({error.strerror or error})"
            self._tally.annotated = None
            remedy = "its rows are kept; for the copy choose another --out"
            self._tally.not_annotated = UserError(f"{found}: {remedy}")

    def _begin(self, seen: Seen) -> Layout:
        is_video = self._source.kind != "picture"
        columns = 1 if is_video else min(max(len(seen.faces), 1), _MOST_COLUMNS)
        height, width = seen.frame.picture.shape[:2]
        layout = make_layout(width, height, self._artifact.spec, columns, self._artifact.notice)
        if is_video:
            if self._source.kind == "camera":
                writer = VideoWriter(self._path, CAMERA_RATE_HZ)
            else:
                rate_hz = read_info(self._source.path).rate_hz
                writer = VideoWriter(self._path, rate_hz, sound_from=self._source.path)
            self._writer = self._stack.enter_context(writer)
        if self._hider is not None:
            # What it holds back is written before the file is closed, whatever happens.
            self._stack.callback(self._put_rest, self._hider, layout)
        return layout

    def _put_rest(self, hider: FaceHider, layout: Layout) -> None:
        if not self.goes_on:
            return
        with uninterrupted():
            for ready in hider.rest():
                self._put(ready, layout)

    def _put(self, seen: Seen, layout: Layout) -> None:
        spec, thresholds = self._artifact.spec, self._artifact.thresholds
        picture = seen.frame.picture
        copy = annotate(picture, seen.faces, seen.face_ids, spec, thresholds, layout)
        if self._writer is not None:
            self._writer.write(copy, seen.frame.timestamp_s)
            return
        _, content = cv2.imencode(".png", copy)
        self._path.write_bytes(content.tobytes())


def read_neutral(
    path: str | os.PathLike[str], predictor: Predictor | ClipPredictor, looking: Looking
) -> Neutral:
    """Return the mean over all faces of a picture, a video or a folder of them.

    A network for clips takes videos only.

    Raises:
        UserError: it can't be read, or no face is in it.
    """
    listing = list_sources([path])
    if listing.mistakes:
        raise listing.mistakes[0]
    rows = (
        row
        for source in listing.sources
        for seen in look_at(source, predictor, looking)
        for row in rows_of(seen, predictor)
    )
    return Neutral(means=mean_probabilities(rows, predictor.spec, str(path)))


def process_source(
    source: Source,
    predictor: Predictor | ClipPredictor,
    table: Tables,
    tally: Tally,
    copy_to: Path | None,
    looking: Looking | None = None,
    progress: Callable[[int], object] | None = None,
    summary: FileSummary | None = None,
    neutral: Neutral | None = None,
    hide_faces: bool = False,
) -> None:
    """Add a file's rows to the table, and write its annotated copy.

    Args:
        source: a picture, a video or a camera; a sound for a network that listens.
        predictor: finds the faces and runs the network.
        table: takes the rows.
        tally: is counted up as rows are written, so that it holds after an error too. It says
            what was wrong with a copy that can't be written.
        copy_to: the annotated copy; None for none. A sound has none.
        looking: how often, and how; None: at every frame, whole.
        progress: is called with the number of frames read since the last call.
        summary: takes the rows too.
        neutral: adds columns of differences to it.
        hide_faces: in the annotated copy.

    Raises:
        UserError: the file can't be read; what could be is in the table.
        BrokenVideoError: the same, for a video that broke in the middle.
        CameraLostError: the same, for a camera that was pulled out.
        OSError: the disk is full, or the table can't be written.
    """
    differences = None
    if neutral is not None:
        differences = Differences(predictor.spec, neutral, source.kind in ("video", "camera"))
    with contextlib.ExitStack() as stack:
        annotator = None
        if copy_to is not None and source.kind != "sound":
            annotator = _Annotator(copy_to, source, predictor, tally, hide_faces)
        if differences is not None:
            stack.callback(_write_rest, table, differences)
        if annotator is not None:
            stack.callback(annotator.close)
        # Frames of a network for clips come without their pictures: they are decoded once more.
        pictures = read_source(source) if isinstance(predictor, ClipPredictor) else None

        def put(seen: Seen) -> None:
            copy = annotator if annotator is not None and annotator.goes_on else None
            if copy is not None and pictures is not None:
                number = seen.frame.number
                frame = next(frame for frame in pictures if frame.number == number)
                seen = seen._replace(frame=frame)
            rows = rows_of(seen, predictor)
            table.write(rows if differences is None else differences.add(rows))
            if summary is not None:
                summary.add(rows)
            if source.kind == "sound":
                tally.windows += 1
                return
            tally.frames += 1
            tally.faces += len(seen.faces)
            tally.without_face += not seen.faces
            if copy is not None:
                copy.write(seen)

        results = look_at(source, predictor, looking or Looking(), progress)
        try:
            for seen in results:
                # A frame's rows, its place in the summary and its picture: all of them or none.
                with uninterrupted():
                    put(seen)
        except KeyboardInterrupt as stop:
            # Frames that waited for the end of their clip.
            for seen in what_waits(results, stop):
                with uninterrupted():
                    put(seen)
            raise


def _write_rest(table: Tables, differences: Differences) -> None:
    """Write the rows that were held back, whatever happened."""
    with uninterrupted():
        table.write(differences.rest())


def count_frames(sources: Sequence[Source]) -> int | None:
    """Return about how many frames there are to read, None where a header does not say."""
    total = 0
    for source in sources:
        if source.kind == "camera":
            return None
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


def prepare_folder(out: Path, inside: Sequence[str] = ()) -> None:
    """Make the output folder, and make sure that it can be written to.

    Args:
        out: the folder.
        inside: names of folders in it that are written to as well.

    Raises:
        UserError: a file is in its place or above it, or writing is not allowed.
    """
    remedy = "choose another --out"
    try:
        out.mkdir(parents=True, exist_ok=True)
        folders = [out, *(out / name for name in inside)]
        for folder in folders:
            folder.mkdir(exist_ok=True)
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
