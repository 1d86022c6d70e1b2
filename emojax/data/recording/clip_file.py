"""Frames -> an MP4 file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from emojax.errors import UserError

ASIDE = ".{}.partial"
"""What a file is called while it is written; leftovers of a killed recording go by it."""

# Fine enough for any camera, and what MPEG-4's 16 bits can hold.
_TICKS_PER_S = 60000


class ClipWriter:
    """Appends frames to a silent MP4."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path = path
        options = {"movie_timescale": str(_TICKS_PER_S)}
        self._container = av.open(file, "w", format="mp4", options=options)
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        self._tick = -1
        self.num_frames = 0

    def append(self, picture: np.ndarray, timestamp_s: float) -> None:
        """Append a frame.

        Args:
            picture: blue, green, red, uint8 [height, width, 3]; all of one size.
            timestamp_s: when it is shown, from 0.

        Raises:
            UserError: it can't be written, or is of another size than the first.
        """
        if self._stream is None:
            self._shape = picture.shape
            self._stream = _add_stream(self._container, *picture.shape[:2])
        if picture.shape != self._shape:
            raise UserError(
                f"{self._path}: the camera changed from {self._shape[1]} x {self._shape[0]} to "
                f"{picture.shape[1]} x {picture.shape[0]} pixels: the clip is dropped"
            )
        # H.264 takes even sides only; a row at the edge is no face.
        even = np.ascontiguousarray(picture[: self._stream.height, : self._stream.width])
        # OpenCV's conversion rounds; FFmpeg's own, as PyAV calls it, makes all a little darker.
        planes = np.asarray(cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        self._tick = max(round(timestamp_s * _TICKS_PER_S), self._tick + 1)
        frame.pts, frame.time_base = self._tick, Fraction(1, _TICKS_PER_S)
        with _told(self._path):
            self._container.mux(self._stream.encode(frame))
        self.num_frames += 1

    def finish(self) -> None:
        """Write what is still held back, and the index."""
        with _told(self._path):
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()

    def drop(self) -> None:
        """Let go of a file that is not wanted."""
        with contextlib.suppress(OSError, av.FFmpegError):
            self._container.close()


@contextlib.contextmanager
def new_clip(path: Path) -> Iterator[ClipWriter]:
    """Return a writer; the file takes its name when the context ends well, and is gone if not.

    Raises:
        UserError: it can't be written.
    """
    aside = path.with_name(ASIDE.format(path.name))
    try:
        with _told(path):
            file = aside.open("wb")
        try:
            writer = ClipWriter(path, file)
            try:
                yield writer
            except BaseException:
                writer.drop()
                raise
            writer.finish()
            with _told(path):
                file.flush()
                os.fsync(file.fileno())
        finally:
            # What was wanted is on the disk by now; a full one complains here once more.
            with contextlib.suppress(OSError):
                file.close()
        with _told(path):
            aside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def _add_stream(container: Any, height: int, width: int) -> Any:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = container.add_stream(codec, rate=30)
    stream.width, stream.height = width - width % 2, height - height % 2
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
    # ITU-R BT.601, 16 to 235: said, or players take it for BT.709 from some size on.
    stream.codec_context.color_range = ColorRange.MPEG
    stream.codec_context.colorspace = Colorspace.ITU601
    if codec == "mpeg4":
        stream.bit_rate = 8_000_000
    else:
        # Wrinkles are what action units are read from: close to what the camera saw, and
        # fast enough to keep up with it.
        stream.options = {"preset": "veryfast", "crf": "16"}
    return stream


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what a full disk or a lost folder raises into a line about the clip."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: can't be written ({reason}): make room or check rights") from None
