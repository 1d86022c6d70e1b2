"""Annotated frames -> an MP4 file with the source's timestamps and sound.

It is written in pieces of a second and becomes an ordinary file at its end: what a full disk or a
killed process leaves can be played up to its last piece.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from emojax.errors import UserError
from emojax.files import is_full_disk
from emojax.stopping import uninterrupted
from emojax.video import clock_start_s, open_container

# Fine enough for any camera, and within what every MP4 encoder takes (MPEG-4 part 2: 16 bits).
_TICKS_PER_S = 60000
# FFmpeg's before 8.1 lose frames of a late index when the pieces become one file.
_KNOWS_PIECES = av.library_versions["libavformat"] >= (62, 12)
_PIECES = {"movflags": "hybrid_fragmented+delay_moov", "frag_duration": "1000000"}
_SOUND_CODEC = "aac"
_SOUND_RATE_HZ = 44100
# Clocks of containers are rounded; sound that lies further back is there twice.
_OVERLAP = _SOUND_RATE_HZ // 20


def _video_codec() -> str:
    for name in ("libx264", "libopenh264", "h264_videotoolbox"):
        try:
            av.Codec(name, "w")
        except (av.FFmpegError, ValueError):
            continue
        return name
    return "mpeg4"


class VideoWriter:
    """Writes one MP4 file. Use it as a context; leaving it finishes the file, whatever happened."""

    def __init__(
        self,
        path: Path,
        rate_hz: float,
        sound_from: str | os.PathLike[str] | None = None,
    ) -> None:
        """Open the file; frames decide its size.

        Args:
            path: the file, replaced where it is there.
            rate_hz: about how many frames a second come; the timestamps decide.
            sound_from: a container whose sound is copied along; none is fine.

        Raises:
            OSError: the disk is full.
            UserError: it can't be written.
        """
        self._path = path
        # A rate of none would not do: a frame in ten minutes is a video too.
        self._rate = max(Fraction(rate_hz).limit_denominator(1001), Fraction(1, 1001))
        self._sound_from = sound_from
        self._sound: Iterator[Any] = iter(())
        self._pending: Any = None
        self._sound_stream: Any = None
        self._stream: Any = None
        self._last_tick = -1
        self._failed = False
        try:
            # The file object, not the name: FFmpeg would read a name such as `a:b` as a URL.
            self._file = path.open("wb")
        except OSError as error:
            if is_full_disk(error):
                raise
            raise UserError(f"{path}: can't be written ({error.strerror})") from None
        # Where the first frame is not at 0, MP4 keeps that in the movie's own time scale.
        options = {"movie_timescale": str(_TICKS_PER_S), **(_PIECES if _KNOWS_PIECES else {})}
        self._container = av.open(self._file, "w", format="mp4", options=options)

    def _start(self, height: int, width: int) -> Any:
        codec = _video_codec()
        stream: Any = self._container.add_stream(codec, rate=self._rate)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        if codec == "mpeg4":
            stream.bit_rate = 4_000_000
        else:
            # Fast enough not to outweigh detection, and the letters stay crisp. Frames in order:
            # FFmpeg ends a file of pieces with the last packet's frame, not with the last frame.
            stream.options = {"preset": "veryfast", "crf": "20", "bf": "0"}
        self._stream = stream
        if self._sound_from is not None:
            self._sound = _sound_frames(self._sound_from)
            self._pending = next(self._sound, None)
        if self._pending is not None:
            self._sound_stream = self._container.add_stream(_SOUND_CODEC, rate=_SOUND_RATE_HZ)
            self._sound_stream.layout = "stereo"
        return stream

    def write(self, picture: np.ndarray, timestamp_s: float) -> None:
        """Append a frame.

        Args:
            picture: blue, green, red, uint8 [height, width, 3]; all of one size.
            timestamp_s: when it is shown; frames come in order.

        Raises:
            OSError: the disk is full; what was written before can be played.
            UserError: the frame can't be encoded.
        """
        with uninterrupted(), self._told():
            self._write(picture, timestamp_s)

    def _write(self, picture: np.ndarray, timestamp_s: float) -> None:
        stream = self._stream or self._start(*picture.shape[:2])
        rows, columns = stream.height - picture.shape[0], stream.width - picture.shape[1]
        assert 0 <= rows <= 1, "all frames of a video have one size"
        assert 0 <= columns <= 1, "all frames of a video have one size"
        even = np.pad(picture, ((0, rows), (0, columns), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="bgr24")
        self._last_tick = max(round(timestamp_s * _TICKS_PER_S), self._last_tick + 1)
        frame.pts, frame.time_base = self._last_tick, Fraction(1, _TICKS_PER_S)
        self._copy_sound(timestamp_s)
        self._container.mux(stream.encode(frame))

    def _copy_sound(self, until_s: float) -> None:
        while self._pending is not None and self._pending.time <= until_s:
            self._container.mux(self._sound_stream.encode(self._pending))
            self._pending = next(self._sound, None)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what a full disk raises, here and in FFmpeg, into an error that names the file."""
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            self._failed = True
            code, reason = error.errno, error.strerror
            if code in errno.errorcode:
                raise OSError(code, reason, str(self._path)) from None
            raise UserError(
                f"{self._path}: can't be written ({reason}): try another size"
            ) from None

    def close(self) -> None:
        """Finish the file. One without a frame is removed: it would be no video.

        Raises:
            OSError: the disk is full.
        """
        with uninterrupted():
            try:
                if self._failed:
                    # It was told already, and FFmpeg would complain of it again.
                    with contextlib.suppress(OSError, av.FFmpegError):
                        self._container.close()
                else:
                    with self._told():
                        self._finish()
            finally:
                if isinstance(self._sound, Generator):
                    self._sound.close()
                with contextlib.suppress(OSError) if self._failed else self._told():
                    self._file.close()
                if self._stream is None:
                    self._path.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._stream is None:
            return
        self._copy_sound(self._last_tick / _TICKS_PER_S + float(1 / self._rate))
        self._container.mux(self._stream.encode())
        if self._sound_stream is not None:
            self._container.mux(self._sound_stream.encode())
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sound_frames(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yield a container's sound, resampled for the encoder, its times rising.

    It ends where the sound breaks.
    """
    end = None
    with contextlib.suppress(av.FFmpegError, ValueError), open_container(path, "a video") as source:
        if not source.streams.audio:
            return
        start_s = clock_start_s(source)
        for frame in _resampled(source.decode(source.streams.audio[0])):
            begin = end or 0
            if frame.time is not None:
                begin = round((frame.time - start_s) * _SOUND_RATE_HZ)
            if end is not None:
                # The clock of two recordings that were joined starts again: no MP4 takes that.
                if begin < end - _OVERLAP:
                    continue
                begin = max(begin, end)
            # What is in the wanted form already comes with its container's clock.
            frame.pts, frame.time_base = begin, Fraction(1, _SOUND_RATE_HZ)
            end = begin + frame.samples
            yield frame


def _resampled(frames: Iterator[Any]) -> Iterator[Any]:
    """Yield frames of sound as the encoder takes them."""
    resampler: Any = None
    form_before: tuple[str, str, int] | None = None
    for frame in frames:
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if form != form_before:
            # A resampler takes one form; a broadcast's changes from programme to programme.
            yield from () if resampler is None else resampler.resample(None)
            resampler = av.AudioResampler(format="fltp", layout="stereo", rate=_SOUND_RATE_HZ)
            form_before = form
        yield from resampler.resample(frame)
    yield from () if resampler is None else resampler.resample(None)
