"""A container -> frames with the container's own timestamps, and its sound.

PyAV reads the file through Python, never by name: a file name cannot turn into
a URL, nor a playlist into a request.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import av.container
import cv2
import numpy as np
from av.stream import Disposition

from emojax.errors import UserError
from emojax.files import require_file
from emojax.picture import refuse_heif

VIDEO_SUFFIXES: frozenset[str] = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".flv", ".mpg", ".mpeg", ".ts", ".mts"}
    | {".wmv", ".asf", ".ogv", ".3gp"}
)
"""What a video is called, in lower case: what a folder is searched for."""

SOUND_SUFFIXES: frozenset[str] = frozenset(
    {".wav", ".mp3", ".flac", ".aac", ".m4a", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".wma"}
)
"""What a sound without pictures is called, in lower case."""

# Playlists, device readers, still pictures and text art are demuxers too: name what is wanted.
_FORMATS = (
    "mov,avi,matroska,flv,mpegts,mpeg,mpegvideo,asf,ogg,nut,dv,h264,hevc,m4v,ivf,"
    "wav,w64,aiff,mp3,aac,flac"
)
# Their clocks start anywhere: only the distance to the start means something.
_FREE_CLOCKS = {"mpegts", "mpeg"}
_DEFAULT_RATE = 25.0
_LATEST_SOUND_S = 3600.0

MAX_PIXELS = 2**26
"""67 million, twice 8K's: a few bytes can stand for a frame of any size."""

LONGEST_SOUND_S = 4 * 3600
"""Silence packs so well that a small file can hold years of it."""

# From a sound of one sample a second, resampling would make gigabytes.
_SOUND_RATES_HZ = range(1000, 1_000_001)


class BrokenVideoError(UserError):
    """A video that broke in the middle: raised after its last frame that could be decoded."""

    def __init__(self, message: str, index: int, timestamp_s: float) -> None:
        super().__init__(message)
        self.index = index
        """Number of the first frame that is missing or damaged, from 0."""
        self.timestamp_s = timestamp_s
        """Where that is, in seconds."""


class VideoFrame(NamedTuple):
    """One decoded frame."""

    number: int
    """From 0, counting what was decoded."""
    timestamp_s: float
    """When it is shown, in seconds, after the container; rises from frame to frame."""
    picture: np.ndarray
    """Blue, green, red, uint8 [height, width, 3], upright after the container's rotation."""


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a container's header says; only decoding tells the truth."""

    width: int
    """Pixels, before rotation."""
    height: int
    """Pixels, before rotation."""
    rate_hz: float
    """Frames per second, on average."""
    duration_s: float | None
    """Seconds, where the header or the index tells."""
    has_sound: bool
    """Whether there is a sound stream."""

    @property
    def num_frames(self) -> int | None:
        """About how many frames there are, for a progress bar."""
        return None if self.duration_s is None else max(1, round(self.duration_s * self.rate_hz))


class _File(io.BufferedReader):
    """A file whose end is where it can't be read any further; `problem` says why."""

    problem: OSError | None = None

    def read(self, size: int | None = -1) -> bytes:
        # FFmpeg gives what it has up to an end; of an error PyAV prints a traceback. In one go:
        # what came before the error would be lost.
        try:
            return super().read1(-1 if size is None else size)
        except OSError as error:
            self.problem = error
            return b""


def _check_read(file: _File, path: Path) -> None:
    if file.problem is not None:
        reason = file.problem.strerror or file.problem
        raise UserError(f"{path}: can't be read ({reason}): check the disk, copy it again")


@contextlib.contextmanager
def open_container(path: str | os.PathLike[str], what: str) -> Iterator[Any]:
    """Return an open PyAV container, closed at the end of the context.

    Raises:
        UserError: missing, empty, a HEIF or AVIF photo, or no container that can be read; at the
            end of the context: it could not be read any further.
    """
    found = require_file(path, what)
    with _File(io.FileIO(str(found))) as file:
        head = file.read(12)
        # FFmpeg would give one tile of it.
        refuse_heif(head, str(found))
        file.seek(0)
        limits = {"max_pixels": str(MAX_PIXELS)}
        try:
            container = av.open(
                file,
                "r",
                options=limits,
                container_options={"format_whitelist": _FORMATS},
                # A title in Latin-1 is no reason to refuse a film.
                metadata_errors="replace",
            )
        except (av.FFmpegError, ValueError):
            _check_read(file, found)
            if head[4:8] == b"ftyp":
                raise UserError(
                    f"{found}: the index (moov) is missing: the file was cut off or never "
                    "finished, and no frame can be read without it: copy or record it again"
                ) from None
            raise UserError(
                f"{found}: no container that can be read, or cut off in its header, "
                f"wanted {what} (MP4, AVI, MKV, WebM, FLV, MOV, ...): check the file"
            ) from None
        with container:
            for stream in container.streams.video:
                # What is given above holds while FFmpeg looks at the streams, this afterwards.
                if stream.codec_context is not None:
                    stream.codec_context.options.update(limits)
            yield container
        _check_read(file, found)


def _video_streams(container: Any) -> list[Any]:
    # Cover art is a video stream of one picture.
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]


def is_sound_alone(path: str | os.PathLike[str]) -> bool:
    """Return whether a file holds sound and no video, whatever it is called."""
    try:
        with open_container(path, "a sound or video file") as container:
            return bool(container.streams.audio) and not _video_streams(container)
    except UserError:
        return False


def _video_stream(container: Any, source: str) -> Any:
    streams = _video_streams(container)
    if not streams:
        raise UserError(
            f"{source}: holds no video stream: give a video or a picture; a voice alone is for "
            "--model voices"
        )
    # FFmpeg knows no decoder of the others.
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise UserError(
            f"{source}: its video is in a form that this FFmpeg can't decode: save it as H.264 MP4"
        )
    return known[0]


def _rate_hz(stream: Any) -> float:
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    return rate if 0 < rate <= 1000 else _DEFAULT_RATE


def clock_start_s(container: Any) -> float:
    """Return what a container's clock shows at the zero of all timestamps here, in seconds."""
    starts_anywhere = container.format.name in _FREE_CLOCKS
    return (container.start_time or 0) / av.time_base if starts_anywhere else 0.0


def _declared_end_s(container: Any, stream: Any) -> float | None:
    """Return when the picture should end after the header, in the stream's clock."""
    if "mp4" in container.format.name and not stream.frames:
        # Fragmented: the duration is that of the fragments that FFmpeg has found.
        return None
    if stream.duration is not None:
        start = stream.start_time or 0
        end = float((start + stream.duration) * stream.time_base)
    elif container.duration is not None:
        end = container.duration / av.time_base
    else:
        return None
    if container.format.name == "avi" and stream.frames:
        # FFmpeg shortens the duration to what the file can hold; the frame count stays.
        end = max(end, stream.frames / _rate_hz(stream))
    return end


def read_info(path: str | os.PathLike[str]) -> VideoInfo:
    """Return what a video's header says.

    Raises:
        UserError: missing, empty, no video, or cut off so that nothing can be read.
    """
    with open_container(path, "a video") as container:
        stream = _video_stream(container, str(path))
        duration_s = container.duration / av.time_base if container.duration else None
        return VideoInfo(
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            rate_hz=_rate_hz(stream),
            duration_s=duration_s,
            has_sound=bool(container.streams.audio),
        )


_LATELY = 256
"""Frames that a decoder may hold back, and many more."""
_CLOSE_S = 1e-6
"""How close two times are that are the same, in seconds."""


class _Reading:
    """What is known so far about one pass through a video: timestamps, damage, the end."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.stream = stream
        self.frame_s = 1 / _rate_hz(stream)
        self.start_s = clock_start_s(container)
        end_s = _declared_end_s(container, stream)
        self.declared_end_s = None if end_s is None else end_s - self.start_s
        self.packets_end_s = 0.0
        self.damage_s: float | None = None
        self.shown = 0
        # A camera's recording may last for days: of what was shown only this much is kept.
        self._lately_s: collections.deque[float] = collections.deque(maxlen=_LATELY)
        self._before_damage = 0

    @property
    def next_s(self) -> float:
        """When the next frame is due."""
        return self._lately_s[-1] + self.frame_s if self._lately_s else 0.0

    def _note_damage(self, begin_s: float) -> None:
        """Keep when the first damage begins, and how many frames there are before it."""
        if self.damage_s is None:
            self.damage_s = begin_s
            late = sum(shown_s >= begin_s - _CLOSE_S for shown_s in self._lately_s)
            self._before_damage = self.shown - late

    def frames(self, packet: Any) -> list[Any]:
        """Return the frames that a packet of any stream completes."""
        begin_s = self.next_s
        if packet is not None and packet.pts is not None:
            begin_s = float(packet.pts * packet.time_base) - self.start_s
            length_s = float((packet.duration or 0) * packet.time_base)
            if packet.stream is self.stream and not length_s:
                length_s = self.frame_s
            self.packets_end_s = max(self.packets_end_s, begin_s + length_s)
        if packet is not None and packet.stream is not self.stream:
            return []
        frames, is_sound = _decode(packet)
        if not is_sound:
            self._note_damage(begin_s)
        return frames

    def stamp(self, frame: Any) -> float:
        """Return when a frame is shown, in seconds; rises with each call."""
        timestamp_s = self.next_s if frame.time is None else frame.time - self.start_s
        if -1e-3 < timestamp_s < 0:
            # The container's start is rounded to microseconds, its timestamps are not.
            timestamp_s = 0.0
        if self._lately_s and timestamp_s <= self._lately_s[-1]:
            timestamp_s = self.next_s
        if frame.is_corrupt:
            self._note_damage(timestamp_s)
        # Frames come out of the decoder late, and some from before the damage after it.
        if self.damage_s is not None and timestamp_s < self.damage_s - _CLOSE_S:
            self._before_damage += 1
        self._lately_s.append(timestamp_s)
        self.shown += 1
        return timestamp_s

    def broke_at(self, is_cut: bool) -> tuple[int, float, str] | None:
        """Return the first place that is missing or damaged: frame number, seconds, reason."""
        if self.damage_s is not None:
            reason = "the file was cut off" if is_cut else "its data is damaged"
            return self._before_damage, max(self.damage_s, 0.0), reason
        if self.declared_end_s is None:
            return (self.shown, self.next_s, "the file was cut off") if is_cut else None
        # Sound may outlast the picture, and writers count the last frame or not;
        # where bytes are missing there is no such doubt.
        end_s = self.next_s if is_cut else max(self.next_s, self.packets_end_s)
        if end_s >= self.declared_end_s - (0.5 if is_cut else 1.5) * self.frame_s:
            return None
        reason = f"the file ends, and its header tells of {self.declared_end_s:.3f} s"
        return self.shown, self.next_s, reason


def _upright(frame: Any) -> np.ndarray:
    picture = frame.to_ndarray(format="bgr24")
    quarter_turns = round(frame.rotation / 90) % 4
    turns = {
        1: cv2.ROTATE_90_COUNTERCLOCKWISE,
        2: cv2.ROTATE_180,
        3: cv2.ROTATE_90_CLOCKWISE,
    }
    return cv2.rotate(picture, turns[quarter_turns]) if quarter_turns else picture


def is_cut(file: BinaryIO) -> bool:
    """Return whether a container's own sizes reach beyond the file's end."""
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    if head[:4] == b"RIFF":
        return int.from_bytes(head[4:8], "little") + 8 > length
    if head[:3] == b"FLV":
        # Each tag is followed by its own size, and so is the last one.
        file.seek(length - 4)
        size = int.from_bytes(file.read(4), "big")
        if not 11 <= size <= length - 13:
            return True
        file.seek(length - 4 - size)
        return int.from_bytes(file.read(4)[1:], "big") + 11 != size
    if head[:4] == b"\x1aE\xdf\xa3":
        end_of_head, _ = _ebml_size(head, 4)
        segment = end_of_head + _ebml_size(head, 4)[1]
        if head[segment : segment + 4] != b"\x18S\x80g":
            return False
        start, size = _ebml_size(head, segment + 4)
        return size >= 0 and start + size > length
    if head[4:8] != b"ftyp":
        return False
    at = 0
    while at + 8 <= length:
        file.seek(at)
        box = file.read(16)
        size = int.from_bytes(box[:4], "big")
        if size == 1:
            size = int.from_bytes(box[8:], "big")
        if size < 8:
            return False
        at += size
        if at > length:
            # An index for seeking may follow the frames; they do without it.
            return box[4:8] in (b"moov", b"moof", b"mdat")
    return at < length


def _ebml_size(head: bytes, at: int) -> tuple[int, int]:
    """Return where a Matroska element's content starts and its length, -1 where it is open."""
    if at >= len(head) or head[at] == 0:
        return at, -1
    width = 9 - head[at].bit_length()
    size = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
    return at + width, -1 if size == (1 << 7 * width) - 1 else size


def read_frames(path: str | os.PathLike[str]) -> Iterator[VideoFrame]:
    """Yield a video's frames in the order in which they are shown.

    Timestamps are the container's (MPEG program and transport streams, whose
    clocks start anywhere, count from their start). A frame without a timestamp,
    or with one that does not rise, comes one frame's time after the last one.
    Where data is damaged, reading goes on behind the damage; only data that
    ends in the middle of a packet is not decoded at all.

    Raises:
        UserError: at once: missing, empty, no video, or nothing in it can be read.
        BrokenVideoError: after the last frame: the file ends before the end that
            its header tells, or a part of it could not be decoded. A container
            whose header tells no end (MPEG streams, live recordings) and which
            ends between two packets can't be told from a whole one, nor can
            damage that the decoder hides.
    """
    with open_container(path, "a video") as container:
        stream = _video_stream(container, str(path))
        reading = _Reading(container, stream)
        for packet in _packets(container):
            for frame in reading.frames(packet):
                number = reading.shown
                try:
                    picture = _upright(frame)
                except (av.FFmpegError, ValueError) as error:
                    raise UserError(
                        f"{path}: frame {number} can't be converted ({error}): save it as MP4"
                    ) from None
                yield VideoFrame(number, reading.stamp(frame), picture)
        try:
            with open(path, "rb") as file:
                ended_early = is_cut(file)
        except OSError:
            # It was there when reading began.
            ended_early = True
        broke = reading.broke_at(ended_early)
        if broke is not None:
            number, timestamp_s, reason = broke
            raise BrokenVideoError(
                f"{path}: broke at frame {number} ({timestamp_s:.3f} s): {reason}; "
                f"frames read: {reading.shown}; copy or record it again",
                number,
                timestamp_s,
            )
        if not reading.shown:
            raise UserError(f"{path}: its video stream holds no frame: record it again")


def _packets(container: Any) -> Iterator[Any]:
    """Yield packets of all streams, None for a place that can't be read."""
    # Subtitles too: a container's length is that of its longest stream.
    try:
        yield from container.demux()
    except av.FFmpegError:
        yield None


def _decode(packet: Any) -> tuple[list[Any], bool]:
    """Return the frames that a packet completes, and whether it was sound."""
    # A packet that the file's end cuts decodes to a picture of which a part is made up.
    if packet is None or packet.is_corrupt:
        return [], False
    try:
        return packet.decode(), True
    except av.FFmpegError:
        return [], False


def read_sound(path: str | os.PathLike[str], sample_rate_hz: int = 16000) -> np.ndarray | None:
    """Return the sound of a video or sound file as a whole, None where there is no sound stream.

    Arguments and errors are those of `sound_pieces`.

    Returns:
        float32 [samples], -1..1.
    """
    pieces = list(sound_pieces(path, sample_rate_hz))
    return np.concatenate(pieces) if pieces else None


def sound_pieces(path: str | os.PathLike[str], sample_rate_hz: int = 16000) -> Iterator[np.ndarray]:
    """Yield the sound of a video or sound file, mixed to one channel and resampled, in pieces.

    Sample 0 is the zero of `read_frames`' timestamps: sound that starts later is
    preceded by silence. Sound that breaks in the middle comes back up to there;
    the picture's reader says that the file is cut off. Without a sound stream
    there is no piece.

    Args:
        path: a container with sound, with or without video.
        sample_rate_hz: samples per second of what comes back.

    Yields:
        float32 [samples], -1..1.

    Raises:
        UserError: missing, empty, no container, sound of which nothing can be decoded or
            converted, longer than `LONGEST_SOUND_S`, or with samples that are no numbers.
    """
    if sample_rate_hz < 1:
        raise UserError(f"sample_rate_hz={sample_rate_hz}: wanted 1 or more")
    with open_container(path, "a sound or video file") as container:
        if not container.streams.audio:
            return
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=sample_rate_hz)
        num_decoded = num_samples = given = 0
        for packet in _packets(container):
            if packet is None or packet.stream is not stream:
                continue
            frames, _ = _decode(packet)
            if frames and not num_decoded and frames[0].time is not None:
                late_s = min(frames[0].time - clock_start_s(container), _LATEST_SOUND_S)
                given = max(0, round(late_s * sample_rate_hz))
                yield np.zeros(given, np.float32)
            for frame in frames:
                if frame.sample_rate not in _SOUND_RATES_HZ:
                    raise UserError(
                        f"{path}: {frame.sample_rate} samples a second, wanted "
                        f"{_SOUND_RATES_HZ[0]} to {_SOUND_RATES_HZ[-1]}: record it again"
                    )
                num_decoded += frame.samples
                num_samples += frame.samples * sample_rate_hz // frame.sample_rate
                for piece in _resampled(resampler, frame, path, given):
                    given += len(piece)
                    yield piece
            if num_samples > LONGEST_SOUND_S * sample_rate_hz:
                hours = LONGEST_SOUND_S // 3600
                raise UserError(f"{path}: over {hours} hours of sound: cut it into shorter files")
        if num_decoded:
            yield from _resampled(resampler, None, path, given)
    if num_decoded == 0:
        raise UserError(f"{path}: no sound could be decoded: copy or record it again")


def _resampled(resampler: Any, frame: Any, source: Any, given: int) -> list[np.ndarray]:
    """Return the samples that a frame completes; without a frame, those that are left."""
    try:
        pieces = [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    except (av.FFmpegError, ValueError) as error:
        # 200 channels, or a format that changes on the way.
        raise UserError(f"{source}: its sound can't be converted ({error}): save a WAV") from None
    for piece in pieces:
        finite = np.isfinite(piece)
        if not finite.all():
            bad = given + int(np.argmin(finite))
            raise UserError(f"{source}: sample {bad} of its sound is no number: record it again")
        given += len(piece)
    return [np.clip(piece.astype(np.float32, copy=False), -1.0, 1.0) for piece in pieces]
