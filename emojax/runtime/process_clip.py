"""Videos and sounds -> table and annotated copies, by a network for clips."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from emojax.errors import UserError
from emojax.face import to_gray
from emojax.following import FaceFollower
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.clip_windows import ClipWindows, FrameResult, hear_windows
from emojax.runtime.process import Annotator, Looking, Tally
from emojax.runtime.rows import rows_of_frame
from emojax.runtime.sources import Source, read_source
from emojax.runtime.summary import FileSummary
from emojax.runtime.tables import Tables
from emojax.runtime.tracking import FaceTracker, Smoother


def process_clip(
    source: Source,
    predictor: ClipPredictor,
    table: Tables,
    tally: Tally,
    copy_to: Path | None,
    looking: Looking | None = None,
    progress: Callable[[int], object] | None = None,
    summary: FileSummary | None = None,
) -> None:
    """Add a file's rows to the table, and write its annotated copy.

    Arguments are those of `process.process_source`; a sound has no copy.

    Raises:
        UserError: a picture, or a file that can't be read; what could be is in the table.
        BrokenVideoError: the same, for a video that broke in the middle.
    """
    looking = looking or Looking()
    if source.kind == "picture":
        raise UserError(
            f"{source.path}: is a picture, and this network looks at clips: give a video, or the "
            "artifact of a network for pictures"
        )
    artifact, smoother = predictor.artifact, Smoother(looking.smooth_s)
    with contextlib.ExitStack() as stack:
        annotator = None
        if copy_to is not None and source.kind == "video":
            annotator = Annotator(copy_to, source, artifact, stack)
        # Frames wait for the end of their clip. Their pictures would fill the memory: they are
        # decoded once more for the copy.
        pictures = read_source(source)
        if source.kind == "sound":
            results = hear_windows(predictor, source.path, looking.window_s, looking.step_s)
        else:
            results = see_windows(source, predictor, looking, progress)
        for result in results:
            frame, face_ids = result.frame, result.face_ids
            faces = smoother.smooth(result.faces, face_ids, frame.timestamp_s)
            rows = rows_of_frame(
                frame, faces, face_ids, artifact.spec, artifact.thresholds, result.heard
            )
            table.write(rows)
            if summary is not None:
                summary.add(rows)
            if source.kind == "sound":
                tally.windows += 1
                continue
            tally.frames += 1
            tally.faces += len(faces)
            tally.without_face += not faces
            if annotator is not None:
                picture = next(one for one in pictures if one.number == frame.number)
                annotator.write(picture, faces, face_ids)
                tally.annotated = copy_to


def see_windows(
    source: Source,
    predictor: ClipPredictor,
    looking: Looking | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[FrameResult]:
    """Yield a video's frames with their answers, in their order.

    Arguments are those of `process_clip`.

    Raises:
        UserError: it can't be read; what could be was yielded.
        BrokenVideoError: the same, for a video that broke in the middle.
    """
    looking = looking or Looking()
    find = FaceFollower(predictor.detector, looking.detect_every)
    tracker = FaceTracker()
    windows = ClipWindows(predictor, source.path, looking.window_s, looking.step_s)
    try:
        for frame in read_source(source):
            if progress is not None:
                progress(1)
            if frame.number % looking.every:
                continue
            gray = to_gray(frame.picture)
            boxes = find(gray)
            face_ids = tracker.update(boxes, frame.timestamp_s)
            yield from windows.add(frame, boxes, face_ids, predictor.cut(gray, boxes))
    except (UserError, KeyboardInterrupt):
        # What was seen until then is a clip too.
        yield from windows.finish()
        raise
    yield from windows.finish()
    if windows.problem is not None:
        raise windows.problem
