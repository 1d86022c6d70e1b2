"""Files -> frames with what is found in them, by a network for pictures or one for clips."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Generator, Iterable

from emojax.errors import UserError
from emojax.face import to_gray
from emojax.following import FaceFollower
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.clip_windows import ClipWindows, FrameResult, hear_windows
from emojax.runtime.predictor import Predictor
from emojax.runtime.rows import Seen
from emojax.runtime.sources import Frame, Source, read_source
from emojax.runtime.tracking import FaceTracker, Smoother
from emojax.stopping import what_waits


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
    seconds: float | None = None
    """For how long a camera is looked at; None: until somebody stops it."""


def look(
    frames: Iterable[Frame],
    predictor: Predictor,
    looking: Looking,
    progress: Callable[[int], object] | None = None,
) -> Generator[Seen, None, None]:
    """Yield the frames of one file that are looked at, with what is found in them.

    Args:
        frames: in their order.
        predictor: finds the faces and runs the network.
        looking: how often, and how.
        progress: is called with the number of frames read since the last call.
    """
    find = FaceFollower(predictor.detector, looking.detect_every)
    tracker, smoother = FaceTracker(), Smoother(looking.smooth_s)
    for frame in frames:
        if progress is not None:
            progress(1)
        if frame.number % looking.every:
            continue
        gray = to_gray(frame.picture)
        boxes = find(gray)
        face_ids = tracker.update(boxes, frame.timestamp_s)
        faces = predictor.predict_faces(gray, boxes)
        yield Seen(frame, smoother.smooth(faces, face_ids, frame.timestamp_s), face_ids)


def see_windows(
    source: Source,
    predictor: ClipPredictor,
    looking: Looking | None = None,
    progress: Callable[[int], object] | None = None,
) -> Generator[FrameResult, None, None]:
    """Yield a video's frames with their answers, in their order, and without their pictures.

    Arguments are those of `look_at`.

    Raises:
        UserError: it can't be read; what could be was yielded.
        BrokenVideoError: the same, for a video that broke in the middle.
    """
    looking = looking or Looking()
    find = FaceFollower(predictor.detector, looking.detect_every)
    tracker = FaceTracker()
    windows = ClipWindows(predictor, source.path, looking.window_s, looking.step_s)
    ready: collections.deque[FrameResult] = collections.deque()
    try:
        for frame in read_source(source):
            if progress is not None:
                progress(1)
            if frame.number % looking.every:
                continue
            gray = to_gray(frame.picture)
            boxes = find(gray)
            face_ids = tracker.update(boxes, frame.timestamp_s)
            ready.extend(windows.add(frame, boxes, face_ids, predictor.cut(gray, boxes)))
            while ready:
                yield ready.popleft()
    except (UserError, KeyboardInterrupt):
        # What was seen until then is a clip too.
        yield from (*ready, *windows.finish())
        raise
    yield from windows.finish()
    if windows.problem is not None:
        raise windows.problem


def look_at(
    source: Source,
    predictor: Predictor | ClipPredictor,
    looking: Looking,
    progress: Callable[[int], object] | None = None,
) -> Generator[Seen, None, None]:
    """Yield what is found in a file: frames, or the windows of a sound.

    By a network for clips frames come without their pictures: they wait for the end of their clip,
    and would fill the memory.

    Args:
        source: a picture, a video or a camera; a sound for a network that listens.
        predictor: finds the faces and runs the network.
        looking: how often, and how.
        progress: is called with the number of frames read since the last call.

    Raises:
        UserError: it can't be read, or is a picture or a camera for a network that looks at clips;
            what could be read was yielded.
        BrokenVideoError: the same, for a video that broke in the middle.
        CameraLostError: the same, for a camera that was pulled out.
    """
    if isinstance(predictor, Predictor):
        yield from look(read_source(source, looking.seconds), predictor, looking, progress)
        return
    if source.kind in ("picture", "camera"):
        raise UserError(
            f"{source.path}: is a {source.kind}, and this network looks at clips: give a video, or "
            "the artifact of a network for pictures"
        )
    if source.kind == "sound":
        results = hear_windows(predictor, source.path, looking.window_s, looking.step_s)
    else:
        results = see_windows(source, predictor, looking, progress)
    smoother = Smoother(looking.smooth_s)

    def smoothed(result: FrameResult) -> Seen:
        frame, face_ids = result.frame, result.face_ids
        faces = smoother.smooth(result.faces, face_ids, frame.timestamp_s)
        return Seen(frame, faces, face_ids, result.heard)

    try:
        for result in results:
            yield smoothed(result)
    except KeyboardInterrupt as stop:
        for result in what_waits(results, stop):
            yield smoothed(result)
        raise
