"""A camera, or a video file that stands in for one, as timed pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from emojax.errors import UserError
from emojax.video import read_frames

TimedPicture = tuple[float, np.ndarray]
"""Seconds on some clock that only rises; blue, green, red, uint8 [height, width, 3]."""

_INDEX = re.compile(r"(?:/dev/video)?([0-9]{1,3})")
# Some cameras give nothing while they wake up.
_FIRST_TRIES = 20


class CameraLostError(UserError):
    """No more pictures come: a camera that was pulled out, or its stand-in has ended."""


@dataclasses.dataclass(frozen=True)
class Camera:
    """Pictures as they come."""

    name: str
    """For messages: `camera 0`, or the file."""
    is_live: bool
    """Whether time passes whether one looks or not; a file waits."""
    frames: Iterator[TimedPicture]
    """Never ends: where no more comes, it raises `CameraLostError`."""


def camera_number(name: str) -> int | None:
    """Return the number in `0` or `/dev/video0`, None where a name is no camera's."""
    found = _INDEX.fullmatch(name)
    return None if found is None else int(found[1])


@contextlib.contextmanager
def open_camera(name: str, remedy: str) -> Iterator[Camera]:
    """Return a camera, let go of at the end of the context.

    Args:
        name: its number (`0` is the first one; `/dev/video0` the same), or a video file
            that is played in its place, for tests and rehearsals.
        remedy: what is kept and what to do where no more pictures come, for the message.

    Raises:
        UserError: no camera there, another program holds it, or no such file.
    """
    number = camera_number(name)
    if number is None:
        frames = _read_file(name, remedy)
        # The first frame tells whether there is any.
        first = next(frames)
        yield Camera(name, False, _with_first(first, frames))
        return
    title = f"camera {number}"
    # OpenCV's own complaints, several lines each, say less than ours.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(number)
    try:
        if not (capture.isOpened() and any(capture.read()[0] for _ in range(_FIRST_TRIES))):
            raise UserError(
                f"{title}: no picture comes from it: check that it is plugged in and that no "
                "other program uses it, or choose another number"
            )
        # Where reading is slower than the camera: the newest picture, not one that has waited.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        yield Camera(title, True, _read_live(capture.read, title, remedy))
    finally:
        capture.release()
        cv2.utils.logging.setLogLevel(level)


def _read_live(read: Callable[[], Any], title: str, remedy: str) -> Iterator[TimedPicture]:
    while True:
        found, picture = read()
        if not found or picture is None or picture.size == 0:
            raise CameraLostError(f"{title}: disappeared: {remedy}")
        yield time.monotonic(), picture


def _read_file(path: str, remedy: str) -> Iterator[TimedPicture]:
    for _, timestamp_s, picture in read_frames(path):
        yield timestamp_s, picture
    raise CameraLostError(f"{path}: the video that stands in for a camera has ended: {remedy}")


def _with_first(first: TimedPicture, frames: Iterator[TimedPicture]) -> Iterator[TimedPicture]:
    yield first
    yield from frames
