"""The live view: what the camera sees or a picture, with bars; recorded where it is asked for."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from emojax.app.recording import Recording
from emojax.app.screen import Screen, Wish
from emojax.camera import open_camera
from emojax.face import to_gray
from emojax.following import FaceFollower
from emojax.runtime.canvas import Layout
from emojax.runtime.drawing import annotate, make_layout, write_state
from emojax.runtime.looking import Looking
from emojax.runtime.predictor import Predictor
from emojax.runtime.tracking import FaceTracker, Smoother

LOST = "what was recorded is kept; plug it in and run the same command again"
"""What is said when the camera is gone."""

# While a picture stands still: how long a wish is waited for, in seconds.
_STILL_S = 0.05


class RateMeter:
    """Frames per second over the last two seconds."""

    def __init__(self) -> None:
        self._times: collections.deque[float] = collections.deque()

    def tick(self, now_s: float) -> float:
        """Count a frame, and return the rate; 0 for the first.

        Args:
            now_s: seconds on a clock that only rises.
        """
        self._times.append(now_s)
        while now_s - self._times[0] > 2:
            self._times.popleft()
        passed = now_s - self._times[0]
        return (len(self._times) - 1) / passed if passed > 0 else 0.0


@dataclasses.dataclass
class Live:
    """What a live view has: the model, the screen, and what was last wished for."""

    predictor: Predictor
    """Finds the faces and runs the network."""
    screen: Screen
    """Shows it."""
    camera: str
    """Number of the camera, or a video file in its place."""
    out: Path
    """Folder of the recordings."""
    say: Callable[[str], object]
    """Is told in one line what was recorded."""
    looking: Looking = dataclasses.field(default_factory=Looking)
    """How often everything is searched for faces, and whether to smooth."""
    hint: str = ""
    """Stands under the view."""
    in_gray: bool = False
    """Show the gray picture, which is what the network sees."""

    def layout(self, picture: np.ndarray, columns: int = 1) -> Layout:
        """Return where things stand for a picture of this size."""
        words = "   ".join(filter(None, (self.hint, self.predictor.artifact.notice)))
        height, width = picture.shape[:2]
        return make_layout(width, height, self.predictor.spec, columns, words or None)

    def shown(self, picture: np.ndarray, gray: np.ndarray) -> np.ndarray:
        """Return the picture that is wanted: in colour or in gray."""
        return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR) if self.in_gray else picture

    def run(self) -> None:
        """Show the camera, then whatever is wished for, until somebody quits.

        Raises:
            UserError: no camera, or a recording that can't be begun.
            CameraLostError: it was pulled out; what was recorded is whole.
            OSError: the disk is full; what was recorded is whole but for its last second.
        """
        wish = Wish("video")
        while wish.deed != "quit":
            wish = self._watch() if wish.picture is None else self._look_at(wish.picture, wish.name)

    def _watch(self) -> Wish:
        """Show the camera until something else is wished for, and return that."""
        artifact = self.predictor.artifact
        find = FaceFollower(self.predictor.detector, self.looking.detect_every)
        tracker, smoother = FaceTracker(), Smoother(self.looking.smooth_s)
        meter, layout = RateMeter(), None
        recording: Recording | None = None
        with open_camera(self.camera, LOST) as camera, contextlib.ExitStack() as stack:
            for taken_s, picture in camera.frames:
                gray = to_gray(picture)
                boxes = find(gray)
                face_ids = tracker.update(boxes, taken_s)
                faces = self.predictor.predict_faces(gray, boxes)
                faces = smoother.smooth(faces, face_ids, taken_s)
                layout = layout or self.layout(picture)
                view = annotate(
                    *(self.shown(picture, gray), faces, face_ids),
                    *(artifact.spec, artifact.thresholds, layout),
                )
                state = f"{meter.tick(time.monotonic()):.1f} frames/s"
                if recording is not None:
                    recording.write(view, picture, faces, face_ids, taken_s)
                    state += f"   recording {recording.last_s:.0f} s"
                write_state(view, state, alarm=recording is not None)
                wish = self.screen.show(view, 0.0)
                if wish is None:
                    continue
                if wish.deed in ("picture", "quit"):
                    self._end(recording, stack)
                    return wish
                if wish.deed == "gray":
                    self.in_gray = not self.in_gray
                if wish.deed == "record" and recording is None:
                    recording = stack.enter_context(Recording(self.out, artifact))
                elif wish.deed == "record":
                    self._end(recording, stack)
                    recording = None
        raise AssertionError("a camera's frames never end")

    def _end(self, recording: Recording | None, stack: contextlib.ExitStack) -> None:
        # Finished first: it may be the disk that has no room for the end.
        stack.close()
        if recording is not None:
            self.say(recording.result)

    def _look_at(self, picture: np.ndarray, name: str) -> Wish:
        """Show a picture until something else is wished for, and return that."""
        artifact, gray = self.predictor.artifact, to_gray(picture)
        faces = self.predictor.predict_frame(picture)
        layout = self.layout(picture, min(max(len(faces), 1), 3))
        while True:
            view = annotate(
                *(self.shown(picture, gray), faces, list(range(len(faces)))),
                *(artifact.spec, artifact.thresholds, layout),
            )
            write_state(view, Path(name).name)
            wish = self.screen.show(view, _STILL_S)
            if wish is not None and wish.deed == "gray":
                self.in_gray = not self.in_gray
            elif wish is not None and wish.deed != "record":
                return wish
