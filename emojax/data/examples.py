"""One example: the faces and the sound of one row, or why there is none.

`read_examples` is the one place where files become examples. It is a pure
function of its arguments and the files' content, so that worker processes, the
cells of a build that was stopped and a Beam pipeline can call it and agree.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from emojax import face, video
from emojax.clip import nearest_found
from emojax.data.frames import (
    Tell,
    TimedFrame,
    read_single_frames,
    reading_of,
    turn,
    upright_turns,
)
from emojax.data.rows import Rejection, Row
from emojax.errors import UserError
from emojax.following import make_follower
from emojax.spec import InputSpec

if TYPE_CHECKING:
    from emojax.data.sound import Sound

CLIP_FRAMES = 60
"""Crops that a clip keeps: three samples of 20 frames with different starts."""

_FOLLOWED_S = 0.5
"""Seconds between kept frames up to which a face is looked for near where it was."""

_UNREADABLE = (UserError, OSError, MemoryError, cv2.error)

_Cut = Callable[[np.ndarray], np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How files become examples, beside the `InputSpec`."""

    max_frames: int = 1
    """Crops per example; longer clips keep as many, equally spaced."""
    faces: Literal["detect", "ready"] = "detect"
    """`detect` finds the largest face; `ready` takes each picture as a face already cut."""


@dataclasses.dataclass(frozen=True)
class Example:
    """Faces and sound of one row; the arrays hold the frames that there are, unpadded."""

    row: Row
    faces: np.ndarray
    """uint8 [frames, height, width], gray; no frame at all where there is only sound."""
    timestamps: np.ndarray
    """float32 [frames], seconds in the container; 0 for a picture."""
    success: np.ndarray
    """uint8 [frames]: 1 where the face was found, 0 where the nearest frame stands in."""
    sound: Sound | None = None
    """None where the `InputSpec` asks for no sound."""


Result = Example | Rejection


def read_example(
    row: Row,
    input_spec: InputSpec,
    options: ReadOptions,
    detect: face.Detector | None = None,
) -> Result:
    """Return the example that a row's file gives, or the reason why it gives none."""
    return next(read_examples([row], input_spec, options, detect))


def read_examples(
    rows: Sequence[Row],
    input_spec: InputSpec,
    options: ReadOptions,
    detect: face.Detector | None = None,
    tell: Tell = lambda: None,
) -> Iterator[Result]:
    """Yield what each row gives: an example, or the reason why it gives none.

    Args:
        rows: files and their labels; frames of one video are read in one pass through it.
        input_spec: how faces are cut and sound is looked at.
        options: how many frames are kept, and whether faces have to be found.
        detect: finds faces; the Haar cascade where none is given.
        tell: called after each frame that is decoded, and each that is searched for a face.
    """
    detect = detect or face.HaarDetector()

    def finish(row: Row, frames: Sequence[TimedFrame]) -> Result:
        grays = [gray for _, gray in frames]
        if row.any_way_up and options.faces == "detect" and grays:
            turns = upright_turns(grays, detect)
            grays = [turn(gray, turns) for gray in grays]
        times = np.array([timestamp for timestamp, _ in frames], np.float32)
        cut = _make_cut(options, input_spec, detect, times)

        def cut_and_tell(gray: np.ndarray) -> np.ndarray | None:
            crop = cut(gray)
            tell()
            return crop

        return _finish(row, [cut_and_tell(gray) for gray in grays], times, input_spec)

    if share_a_video(rows):
        yield from _read_video(rows, finish, tell)
        return
    for row in rows:
        try:
            missing = _missing(row)
            yield missing or finish(row, reading_of(row, tell)(options.max_frames))
        except video.BrokenVideoError as error:
            # Kept, it would be a shorter clip under a label given for the whole.
            yield Rejection(row, "broken clip", str(error))
        except _UNREADABLE as error:
            yield Rejection(row, "unreadable file", str(error))


def share_a_video(rows: Sequence[Row]) -> bool:
    """Return whether the rows are frames of one video."""
    return all(row.frame is not None and row.path == rows[0].path for row in rows)


def _read_video(
    rows: Sequence[Row], finish: Callable[[Row, Sequence[TimedFrame]], Result], tell: Tell
) -> Iterator[Result]:
    """Yield what each row gives, in the rows' order; frames before a break are kept."""
    wanted: dict[int, list[Row]] = {}
    for row in rows:
        assert row.frame is not None
        wanted.setdefault(row.frame, []).append(row)
    path = rows[0].path
    assert path is not None
    results: dict[str, Result] = {}
    reason, detail = "unreadable file", ""
    try:
        missing = _missing(rows[0])
        if missing:
            reason, detail = missing.reason, missing.detail
        else:
            for row, frame in read_single_frames(path, wanted, tell):
                results[row.key] = finish(row, [frame])
    except video.BrokenVideoError as error:
        reason, detail = "broken clip", str(error)
    except _UNREADABLE as error:
        detail = str(error)
    for row in rows:
        yield results.get(row.key) or Rejection(row, reason, detail)


def _missing(row: Row) -> Rejection | None:
    if row.path is not None and not row.path.is_file():
        return Rejection(row, "missing file", f"{row.path}: no such file")
    return None


def _finish(
    row: Row, crops: Sequence[np.ndarray | None], times: np.ndarray, input_spec: InputSpec
) -> Result:
    """Return the example of a row, with its sound; without any face only a sound keeps it."""
    seen = any(crop is not None for crop in crops)
    sound = _read_sound(row, input_spec)
    if not seen and not (sound is not None and sound.has_sound):
        return _nothing(row, len(crops), sound)
    if not seen:
        crops, times = [], times[:0]
    faces = _bridged(crops) if seen else np.zeros((0, input_spec.height, input_spec.width), "u1")
    success = np.array([crop is not None for crop in crops], np.uint8)
    return Example(row, faces, times, success, sound)


def _nothing(row: Row, looked_at: int, sound: Sound | None) -> Rejection:
    if row.path is not None:
        where = "in any frame" if looked_at > 1 else "in the picture"
        return Rejection(row, "no face", f"{row.path}: no face found {where}")
    file = row.spectrogram_path or row.audio_path
    if sound is None:
        return Rejection(
            row, "no face", f"{file}: only sound, and none is kept: --sound=log_mel keeps it"
        )
    reason = "broken clip" if sound.is_cut_off else "no sound"
    return Rejection(row, reason, sound.problem or f"{file}: holds no sound")


def _read_sound(row: Row, input_spec: InputSpec) -> Sound | None:
    if input_spec.sound is None:
        return None
    # Loads librosa, which pictures and silent clips do without.
    from emojax.data.sound import read_ready_spectrogram, read_spectrogram

    if row.spectrogram_path is not None:
        return read_ready_spectrogram(row.spectrogram_path, input_spec.sound)
    own = None if row.is_still else row.path
    return read_spectrogram(row.audio_path or own, row.start_s, row.end_s, input_spec.sound)


def _make_cut(
    options: ReadOptions, input_spec: InputSpec, detect: face.Detector, times: np.ndarray
) -> _Cut:
    """Return what cuts the face out of each frame of one row, called in their order."""
    if options.faces == "ready":
        return functools.partial(face.crop_ready, spec=input_spec)
    # Between frames that lie far apart a face may be anywhere.
    near = len(times) > 1 and np.diff(times).max() <= _FOLLOWED_S
    find = make_follower(detect) if near else lambda gray: face.largest(detect(gray))

    def cut(gray: np.ndarray) -> np.ndarray | None:
        box = find(gray)
        return None if box is None else face.crop_face(gray, box, input_spec)

    return cut


def _bridged(crops: Sequence[np.ndarray | None]) -> np.ndarray:
    """Return uint8 [frames, height, width], gaps filled from the nearest frame with a face."""
    nearest = nearest_found([crop is not None for crop in crops])
    return np.stack([crop for crop in (crops[index] for index in nearest) if crop is not None])
