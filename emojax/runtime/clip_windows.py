"""Clips out of a video: windows of one length, one step after the other, and what is said of them.

Window k lasts from k steps to k steps and a length. The row of a frame has the answer of the newest
window that was over when the frame was shown; before the first one was, or where that window has
not seen the frame's face yet, that of the first window that holds the frame. Rows wait for it, and
leave in the order of their frames. A video that is shorter than a window is one clip.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Generator
from pathlib import Path

import numpy as np

from emojax.clip import nearest_found
from emojax.errors import UserError
from emojax.face import Detection
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.predictor import FaceResult, Heard, label_faces
from emojax.runtime.sound_track import SoundTrack
from emojax.runtime.sources import Frame

# Timestamps are rounded, by containers to a millisecond or less.
_ROUNDING_S = 1e-4

_Answer = tuple[np.ndarray, tuple[float, float]]


@dataclasses.dataclass
class FrameResult:
    """A frame on its way to its rows."""

    frame: Frame
    """Without its picture: as high, and of no width."""
    faces: list[FaceResult]
    """Left to right; those that are not answered yet hold no numbers."""
    face_ids: list[int]
    """The id of each face."""
    crops: np.ndarray
    """uint8 [faces, height, width]."""
    heard: Heard | None = None
    """Of a frame without a face, what is said of the sound alone."""
    waits: bool = True
    """Whether an answer is still missing."""


class _Window:
    """One clip: its frames, its sound, and the answers that were asked for."""

    def __init__(
        self,
        predictor: ClipPredictor,
        frames: list[FrameResult],
        samples: np.ndarray,
        silence: np.ndarray,
        span_s: tuple[float, float],
    ) -> None:
        self._predictor = predictor
        self._frames = frames
        self._samples = samples
        self._silence = silence
        self._span_s = span_s
        self._spectrogram: np.ndarray | None = None
        self._answers: dict[int | None, _Answer | None] = {}

    def answer(self, face_id: int | None) -> _Answer | None:
        """Return what is said of a face, or of the sound alone, None where there is nothing."""
        if face_id not in self._answers:
            self._answers[face_id] = self._ask(face_id)
        return self._answers[face_id]

    def _ask(self, face_id: int | None) -> _Answer | None:
        if self._spectrogram is None and self._samples.size:
            self._spectrogram = self._predictor.listen(self._samples)
        crops = None
        if face_id is not None and self._predictor.settings.sees:
            there = [face_id in one.face_ids for one in self._frames]
            if not any(there):
                return None
            nearest = [self._frames[place] for place in nearest_found(there)]
            crops = np.stack([one.crops[one.face_ids.index(face_id)] for one in nearest])
        found = self._predictor.predict_clip(crops, self._spectrogram)
        if found is None and face_id is not None:
            # Who only listens says nothing else of a face before the sound starts.
            found = self._predictor.predict_clip(None, self._predictor.listen(self._silence))
        return None if found is None else (found, self._span_s)


class ClipWindows:
    """Takes the frames of one video in their order, and gives them back with their answers."""

    def __init__(
        self,
        predictor: ClipPredictor,
        path: Path,
        window_s: float | None = None,
        step_s: float | None = None,
    ) -> None:
        """Start before the first frame.

        Args:
            predictor: ready to run.
            path: the video, for its sound.
            window_s: length of a window in seconds; None: the artifact's.
            step_s: from the beginning of one to that of the next; None: the artifact's.
        """
        self._predictor = predictor
        self._path = path
        self._window_s = predictor.settings.window_s if window_s is None else window_s
        self._step_s = predictor.settings.step_s if step_s is None else step_s
        sound = predictor.spec.sound
        self._track = None if sound is None else SoundTrack(path, sound.sample_rate_hz)
        self._frames: list[FrameResult] = []
        self._queue: collections.deque[FrameResult] = collections.deque()
        self._next: int | None = None
        self._newest: _Window | None = None
        self._last: _Answer | None = None

    @property
    def problem(self) -> UserError | None:
        """Why the sound ended before its end, None where it did not."""
        return None if self._track is None else self._track.problem

    def add(
        self, frame: Frame, boxes: list[Detection], face_ids: list[int], crops: np.ndarray
    ) -> list[FrameResult]:
        """Take the next frame, and return those that need not wait any longer.

        Args:
            frame: its picture is not kept.
            boxes: where the faces are.
            face_ids: the id of each.
            crops: uint8 [faces, height, width] of `ClipPredictor.cut`.

        Raises:
            UserError: a network that only listens, and no sound.
        """
        self._pass_windows(frame.timestamp_s)
        spec = self._predictor.spec
        blank = np.full((len(boxes), spec.num_outputs), np.nan, np.float32)
        # All that a row asks of the picture is how high it is.
        slim = np.empty((frame.picture.shape[0], 0, 3), np.uint8)
        result = FrameResult(
            dataclasses.replace(frame, picture=slim),
            label_faces(boxes, crops, blank, spec),
            face_ids,
            crops,
        )
        self._frames.append(result)
        self._queue.append(result)
        if not boxes and not self._predictor.hears:
            result.waits = False
        elif self._newest is not None:
            self._resolve(result, self._newest, final=False)
        return self._release()

    def finish(self) -> list[FrameResult]:
        """Return the frames that still wait, with what the video's end leaves of their window.

        Raises:
            UserError: a network that only listens, and no sound.
        """
        if self._queue and self._next is not None:
            self._close_window(self._next, self._queue[-1].frame.timestamp_s)
        return self._release()

    def _pass_windows(self, timestamp_s: float) -> None:
        """Close the windows that are over when a frame is shown."""
        newest = math.floor((timestamp_s - self._window_s + _ROUNDING_S) / self._step_s)
        if self._next is None:
            self._next = max(newest + 1, 0)
        if newest < self._next:
            return
        # After a gap many windows are over: one for those who wait, and the newest.
        for number in dict.fromkeys((self._next, newest) if self._queue else (newest,)):
            self._close_window(number, number * self._step_s + self._window_s)
        self._next = newest + 1
        first_s = self._next * self._step_s - _ROUNDING_S
        self._frames = [one for one in self._frames if one.frame.timestamp_s >= first_s]

    def _close_window(self, number: int, end_s: float) -> None:
        begin_s = number * self._step_s
        over_s = begin_s + self._window_s
        # None was shown after the window's end: it would have closed it.
        first_s = begin_s - _ROUNDING_S
        inside = [one for one in self._frames if one.frame.timestamp_s >= first_s]
        samples, silence = self._listen(number, begin_s, over_s)
        self._newest = _Window(self._predictor, inside, samples, silence, (begin_s, end_s))
        for result in self._queue:
            self._resolve(result, self._newest, final=True)

    def _listen(self, number: int, begin_s: float, over_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return a window's sound, and silence as long as it where the sound starts later."""
        none = np.zeros(0, np.float32)
        track, sound = self._track, self._predictor.spec.sound
        if track is None or sound is None:
            return none, none
        samples = track.take(begin_s, over_s)
        if track.starts_after(over_s):
            return none, np.zeros(round(self._window_s * sound.sample_rate_hz), np.float32)
        # What the window before has heard to its end is no clip any more: as of a sound alone.
        if number and not track.reaches((number - 1) * self._step_s + self._window_s):
            return none, none
        return samples, none

    def _resolve(self, result: FrameResult, window: _Window, final: bool) -> None:
        """Give a frame the answers of a window.

        Args:
            result: the frame.
            window: holds it, or is the newest before it.
            final: there is no better one to wait for.
        """
        if not result.waits:
            return
        if not result.faces:
            answer = window.answer(None)
            if answer is not None:
                result.heard = Heard(*self._named(answer))
            result.waits = answer is None and not final
            return
        for place, (face, face_id) in enumerate(zip(result.faces, result.face_ids, strict=True)):
            if face.window_s is not None:
                continue
            answer = window.answer(face_id)
            if answer is None and final:
                answer = self._last or self._no_answer()
            if answer is not None:
                self._last = answer
                units, emotions, _, span_s = self._named(answer)
                result.faces[place] = dataclasses.replace(
                    face, action_units=units, emotions=emotions, window_s=span_s
                )
        result.waits = any(face.window_s is None for face in result.faces)

    def _named(
        self, answer: _Answer
    ) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[float, float]]:
        spec = self._predictor.spec
        units, emotions = np.split(answer[0], [len(spec.action_units)])
        return units, emotions, spec.emotions, answer[1]

    def _no_answer(self) -> _Answer:
        why = f" ({self.problem})" if self.problem else ""
        raise UserError(
            f"{self._path}: this network only listens, and there is no sound to be heard{why}: "
            "give a video with sound, or the artifact of a network that looks"
        )

    def _release(self) -> list[FrameResult]:
        ready: list[FrameResult] = []
        while self._queue and not self._queue[0].waits:
            ready.append(self._queue.popleft())
        return ready


def hear_windows(
    predictor: ClipPredictor, path: Path, window_s: float | None = None, step_s: float | None = None
) -> Generator[FrameResult, None, None]:
    """Yield what is said of a sound without pictures, a window after the other.

    Window k is frame k, shown when the window begins. The last one is what is left, a window
    less a step at least, or all of a sound that is shorter than a window. The first one is that
    in which the sound starts.

    Args:
        predictor: ready to run.
        path: the sound.
        window_s: length of a window in seconds; None: the artifact's.
        step_s: from the beginning of one to that of the next; None: the artifact's.

    Raises:
        UserError: it can't be read, or the network does not listen.
    """
    spec = predictor.spec
    if spec.sound is None:
        raise UserError(f"{path}: is a sound, and this network only looks: give a video")
    window_s = predictor.settings.window_s if window_s is None else window_s
    step_s = predictor.settings.step_s if step_s is None else step_s
    track = SoundTrack(path, spec.sound.sample_rate_hz)
    none = np.empty((0, spec.height, spec.width), np.uint8)
    answer = None
    track.take(0.0, window_s)
    # A clock may run for an hour before its sound starts: that is no work.
    first = next(k for k in itertools.count() if not track.starts_after(k * step_s + window_s))
    for number in itertools.count(first):
        begin_s = number * step_s
        samples = track.take(begin_s, begin_s + window_s)
        answer = predictor.predict_clip(None, predictor.listen(samples))
        if answer is None:
            break
        units, emotions = np.split(answer, [len(spec.action_units)])
        span_s = begin_s, begin_s + len(samples) / spec.sound.sample_rate_hz
        frame = Frame(path, number, begin_s, np.empty((0, 0, 3), np.uint8))
        yield FrameResult(frame, [], [], none, Heard(units, emotions, spec.emotions, span_s), False)
        if not track.reaches(begin_s + window_s):
            break
    if track.problem is not None:
        raise track.problem
    if answer is None:
        raise UserError(f"{path}: holds no sound: record it again")
