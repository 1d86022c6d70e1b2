"""How long each stage of the way from a video to its rows takes on this machine."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from emojax.errors import UserError
from emojax.face import to_gray
from emojax.following import FaceFollower
from emojax.golden import GOLDEN, read_golden
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.clip_windows import ClipWindows, FrameResult
from emojax.runtime.drawing import annotate, make_layout
from emojax.runtime.predictor import Predictor
from emojax.runtime.process import rows_of
from emojax.runtime.rows import Seen
from emojax.runtime.sources import Frame
from emojax.runtime.tracking import FaceTracker
from emojax.runtime.video_writer import VideoWriter
from emojax.video import read_frames

STAGES = ("decode", "detect", "crop", "infer", "row", "draw")

WARM_UP = 10
"""Frames that are not counted: code and models come from the disk."""


class Timing(NamedTuple):
    """What one pass over a video took."""

    milliseconds: dict[str, list[float]]  # for each of STAGES and `whole`, a value a frame
    frames: int
    faces: int

    def percentile(self, stage: str, share: float) -> float:
        """Return the time within which so many per cent of the frames were done."""
        return float(np.percentile(self.milliseconds[stage], share))

    @property
    def frames_per_second(self) -> float:
        """Frames over the time of all of them."""
        return 1e3 / float(np.mean(self.milliseconds["whole"]))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it, with every frame's value."""
        return {
            "frames": self.frames,
            "faces": self.faces,
            "frames_per_second": self.frames_per_second,
            "milliseconds": {
                stage: {
                    "median": self.percentile(stage, 50),
                    "p90": self.percentile(stage, 90),
                    "p99": self.percentile(stage, 99),
                    "all": [round(value, 4) for value in values],
                }
                for stage, values in self.milliseconds.items()
                if values
            },
        }


def time_video(
    predictor: Predictor | ClipPredictor,
    path: Path,
    detect_every: int = 1,
    draw: bool = False,
    progress: Callable[[], object] = lambda: None,
) -> Timing:
    """Return how long each stage took for each frame of a video, from its packets to its rows.

    Of a network for clips, whose frames wait for the end of a window, `infer` is most often next
    to nothing, and at a window's end holds its sound, its spectrogram and the network; `row` and
    `draw` are then for all that waited.

    Args:
        predictor: ready to run.
        path: the video.
        detect_every: as `FaceFollower` takes it.
        draw: also make the annotated picture.
        progress: is called once a frame.

    Raises:
        UserError: the video can't be read, or has no more frames than the warm-up takes, or than
            the first window of a network for clips.
    """
    find, tracker = FaceFollower(predictor.detector, detect_every), FaceTracker()
    taken: dict[str, list[float]] = {stage: [] for stage in (*STAGES, "whole")}
    spec, thresholds = predictor.spec, predictor.artifact.thresholds
    frames, layout, count, seen, now = read_frames(path), None, 0, 0, time.perf_counter
    windows = ClipWindows(predictor, path) if isinstance(predictor, ClipPredictor) else None
    last_s = 0.0
    while True:
        marks = [now()]
        read = next(frames, None)
        if read is None:
            break
        frame = Frame(path, *read)
        last_s = frame.timestamp_s
        gray = to_gray(frame.picture)
        marks.append(now())
        boxes = find(gray)
        marks.append(now())
        crops = predictor.cut(gray, boxes)
        marks.append(now())
        if isinstance(predictor, Predictor):
            faces = predictor.label(boxes, crops, predictor.predict_crops(crops))
            marks.append(now())
            ready = [FrameResult(frame, faces, tracker.update(boxes, frame.timestamp_s), crops)]
        else:
            face_ids = tracker.update(boxes, frame.timestamp_s)
            assert windows is not None
            ready = windows.add(frame, boxes, face_ids, crops)
            marks.append(now())
        for one in ready:
            rows_of(Seen(one.frame, one.faces, one.face_ids, one.heard), predictor)
        marks.append(now())
        if draw:
            height, width = frame.picture.shape[:2]
            layout = layout or make_layout(width, height, spec, 1, predictor.artifact.notice)
            for one in ready:
                annotate(frame.picture, one.faces, one.face_ids, spec, thresholds, layout)
            marks.append(now())
        progress()
        count += 1
        if count > WARM_UP:
            seen += len(boxes)
            for stage, (begin, end) in zip(STAGES, itertools.pairwise(marks), strict=False):
                taken[stage].append(1e3 * (end - begin))
            taken["whole"].append(1e3 * (marks[-1] - marks[0]))
    if isinstance(predictor, ClipPredictor) and last_s < predictor.settings.window_s:
        raise UserError(
            f"{path}: ends before the first window ({predictor.settings.window_s} s) of this "
            "network for clips, so that there is nothing to time: name a longer VIDEO"
        )
    if not taken["whole"]:
        raise UserError(f"{path}: too short ({count} frames): wanted more than {WARM_UP}")
    return Timing(taken, len(taken["whole"]), seen)


def write_moving_face(
    folder: Path, path: Path, predictor: Predictor | ClipPredictor, seconds: float
) -> None:
    """Write a video of 640 x 480 at 30 frames a second, in which a recorded face moves about.

    Args:
        folder: the artifact's, with its recorded examples.
        path: the video's.
        predictor: knows the artifact's spec, and the detector that has to find the face.
        seconds: its length.

    Raises:
        UserError: no recorded examples, or none that the detector finds again.
    """
    spec = predictor.spec
    golden = read_golden(folder / GOLDEN, spec)
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (480, 640)).astype(np.uint8), (0, 0), 12)
    least, most = int(ground.min()), int(ground.max())
    ground = (90 + 70.0 * (ground - least) / (most - least)).astype(np.uint8)
    high = 240
    size = (round(high * spec.width / spec.height), high)

    def place(crop: np.ndarray, across: float, down: float) -> np.ndarray:
        picture = ground.copy()
        left, top = round(across * (640 - size[0])), round(down * (480 - size[1]))
        face = cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC)
        picture[top : top + size[1], left : left + size[0]] = face
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)

    for crops in golden.recorded.crops:
        if len(predictor.detector(to_gray(place(crops[0], 0.5, 0.5)))) == 1:
            break
    else:
        raise UserError(
            f"{folder / GOLDEN}: no recorded face that the detector finds again: name a VIDEO"
        )
    with VideoWriter(path, 30.0) as writer:
        for number in range(round(30 * seconds)):
            angle = 2 * np.pi * number / 150
            across, down = 0.5 + 0.4 * np.sin(angle), 0.5 + 0.3 * np.sin(2 * angle)
            writer.write(place(crops[0], across, down), number / 30)


def peak_memory_mib() -> float | None:
    """Return the most memory that this process has held, in MiB, None where nobody can tell."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def pin(core: int) -> None:
    """Let this process run on one core of the processor only.

    Raises:
        UserError: there is no such core, or the system can't.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UserError("--core: this system can't keep a process on one core: leave it out")
    try:
        os.sched_setaffinity(0, {core})
    except (OSError, ValueError, OverflowError):
        there = sorted(os.sched_getaffinity(0))
        raise UserError(f"--core {core}: use one of {', '.join(map(str, there))}") from None
