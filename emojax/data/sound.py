"""The sound of one row, as the spectrogram that its shard holds."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np

from emojax import audio, video
from emojax.data.mel import make_mel_filters
from emojax.errors import UserError
from emojax.files import require_file
from emojax.spec import SpectrogramSpec

_MOST_VALUES = 2**24
"""Size above which a ready spectrogram is none: hours of sound at any resolution."""

_ROUNDING = 1e-4
"""How far beyond 0..1 a value may lie by the arithmetic that made it."""


_ROUNDED_S = 0.1
"""How much earlier than its header says a whole sound may end: coders work in blocks."""

_LARGEST_CHUNK = 0x7FFF0000
_MOST_CHUNKS = 1000


class Sound(NamedTuple):
    """A spectrogram, or the reason why there is none."""

    spectrogram: np.ndarray  # uint8 [height, width], 0..255 for 0..1; zeros without sound
    has_sound: bool
    problem: str  # what was wrong with a sound that is named or recorded; empty where all is well
    is_cut_off: bool = False  # whether it ends before its own header says that it does
    goes_on: bool = False  # whether there is more of it than the spectrogram holds


def read_spectrogram(
    path: Path | None, start_s: float | None, end_s: float | None, spec: SpectrogramSpec
) -> Sound:
    """Return the spectrogram of a sound file's or a clip's part.

    Nothing here is a reason to lose the picture: what can't be read is silence with a
    flag and a sentence.

    Args:
        path: the file, None where there is none to be looked for.
        start_s: first moment that counts, in seconds; None: the beginning.
        end_s: last moment that counts; None: the end.
        spec: how the spectrogram is made.
    """
    silence = np.zeros((spec.height, spec.width), np.uint8)
    if path is None:
        return Sound(silence, False, "")
    rate_hz = spec.sample_rate_hz
    first = round((start_s or 0.0) * rate_hz)
    last = sys.maxsize if end_s is None else round(end_s * rate_hz)
    longest = sys.maxsize if spec.duration_s is None else _longest(spec)
    try:
        declared_s = _declared_end_s(require_file(path, "a sound or video file"))
        part = _read_part(path, rate_hz, first, min(last, first + longest + 1), last, declared_s)
        if part is None:
            return Sound(silence, False, "")
        samples, decoded_s = part
        if declared_s is not None and decoded_s < min(last / rate_hz, declared_s - _ROUNDED_S):
            # Kept, it would be a shorter sound under a label given for the whole.
            named = "more" if math.isinf(declared_s) else f"{declared_s:.2f} s of"
            problem = (
                f"{path}: its header names {named} sound, {decoded_s:.2f} s are there: it was cut "
                "off, copy it again"
            )
            return Sound(silence, False, problem, True)
        if samples.size == 0:
            return Sound(silence, False, f"{path}: no sound in the part that is asked for")
        picture = audio.stored_spectrogram(samples, spec, make_mel_filters(spec))
    except (UserError, OSError, MemoryError) as error:
        return Sound(silence, False, str(error))
    goes_on = samples.size > longest
    if not picture.any():
        where = f"in its first {spec.duration_s:g} s" if goes_on else "throughout"
        return Sound(silence, False, f"{path}: is silent {where}: leave the sound out")
    return Sound(picture, True, "", goes_on=goes_on)


def _longest(spec: SpectrogramSpec) -> int:
    """Return the samples beyond which a sound is longer than its spectrogram."""
    assert spec.duration_s is not None
    return round((spec.duration_s + _ROUNDED_S) * spec.sample_rate_hz)


def _read_part(
    path: Path, rate_hz: int, first: int, stop: int, last: int, declared_s: float | None
) -> tuple[np.ndarray, float] | None:
    """Return samples `first` .. `stop` of a sound, and how many seconds of it were decoded.

    No more of it is held, and what follows is decoded only where the header names an end:
    whether it is there has to be seen. None without a sound stream.
    """
    parts: list[np.ndarray] = []
    decoded, has_sound = 0, False
    pieces: Any = video.sound_pieces(path, rate_hz)
    # The file is closed now, and not whenever what is left of the pieces is collected.
    with contextlib.closing(pieces):
        for piece in pieces:
            has_sound = True
            part = piece[max(0, first - decoded) : max(0, stop - decoded)]
            if part.size:
                parts.append(part)
            decoded += piece.size
            if decoded >= (stop if declared_s is None else last):
                break
    if not has_sound:
        return None
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return samples, decoded / rate_hz


def _declared_end_s(path: Path) -> float | None:
    """Return when a sound should end after its header; None where the header does not tell.

    Of a WAV and an MP4 only where the file holds less than its header says, which their own sizes
    show; infinity for an MP4 of which the header tells no more than that.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            return _declared_wav_s(file)
        is_mp4 = head[4:8] == b"ftyp"
        # Sound in a video may have gaps, so that it is shorter than its times say: only of one that
        # is cut off they are asked.
        if is_mp4 and not video.is_cut(file):
            return None
    # Of other forms FFmpeg guesses the duration from the size, or takes the picture's.
    if not is_mp4 and head[:4] not in (b"fLaC", b"FORM"):
        return None
    with video.open_container(path, "a sound or video file") as container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            return None
        if is_mp4 and not stream.frames:
            # Fragmented: FFmpeg knows the fragments that are there.
            return math.inf
        if stream.duration is None or stream.time_base is None:
            return None
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def _declared_wav_s(file: BinaryIO) -> float | None:
    """Return the seconds that a WAV's data chunk should hold, None where the file holds it whole.

    The file stands at its first chunk.
    """
    bytes_per_s = 0
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return None
        name, size = struct.unpack("<4sI", head)
        if name == b"fmt " and size >= 16:
            bytes_per_s = int.from_bytes(file.read(12)[8:], "little")
            size -= 12
        elif name == b"data":
            # Whoever writes into a pipe can't know the size, and names none or the largest.
            known = bytes_per_s > 0 and 0 < size < _LARGEST_CHUNK
            is_short = os.fstat(file.fileno()).st_size < file.tell() + size
            return size / bytes_per_s if known and is_short else None
        file.seek(size + size % 2, os.SEEK_CUR)
    return None


def read_ready_spectrogram(path: Path, spec: SpectrogramSpec) -> Sound:
    """Return a spectrogram that somebody else made, in the size of the spec.

    Only its size is changed: how it was made is for its maker to say. What can't be used
    is silence with a flag and a sentence, as in `read_spectrogram`.

    Args:
        path: a `.npy` of [frequency, time], row 0 the highest frequency; uint8 0..255 or
            floating point 0..1.
        spec: the size that is wanted.
    """
    silence = np.zeros((spec.height, spec.width), np.uint8)
    try:
        picture = _load_picture(require_file(path, "a spectrogram (.npy)"))
    except (UserError, OSError, MemoryError) as error:
        return Sound(silence, False, str(error))
    if not picture.any():
        return Sound(silence, False, f"{path}: is silent throughout: leave the sound out")
    return Sound(_resized(picture, spec), True, "")


def _load_picture(path: Path) -> np.ndarray:
    """Return the array in a `.npy`, uint8 or float32 0..1, [frequency, time].

    Raises:
        UserError: it holds anything else. No more is read than a spectrogram may have.
    """
    wanted = "wanted uint8 0..255 or floating point 0..1, [frequency, time]"
    with path.open("rb") as file:
        shape, by_column, dtype = _read_header(path, file)
        if dtype != np.uint8 and dtype.kind != "f":
            raise UserError(f"{path}: holds {str(dtype)[:60]}: {wanted}")
        if len(shape) != 2 or min(shape) < 1 or math.prod(shape) > _MOST_VALUES:
            found = "x".join(map(str, shape))[:60] or "one number"
            raise UserError(f"{path}: shape {found}: {wanted}, at most {_MOST_VALUES} values")
        # A header may promise more than there is.
        needed = math.prod(shape) * dtype.itemsize
        held = path.stat().st_size - file.tell()
        if held != needed:
            raise UserError(
                f"{path}: its header names {needed} bytes, {held} follow: save it again"
            )
        values = np.fromfile(file, dtype, math.prod(shape))
    picture = values.reshape(shape, order="F" if by_column else "C")
    if dtype == np.uint8:
        return np.ascontiguousarray(picture)
    with np.errstate(over="ignore", invalid="ignore"):
        picture = np.ascontiguousarray(picture, np.float32)
        low, high = float(picture.min()), float(picture.max())
    # Written so that NaN, which is neither more nor less than anything, is refused.
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise UserError(f"{path}: values from {low:g} to {high:g}: {wanted}")
    return np.clip(picture, 0, 1)


def _read_header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return a `.npy`'s shape, whether columns come first, and its kind of number.

    The file is left where the numbers begin.
    """
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        with warnings.catch_warnings():
            # About files that Python 2 saved.
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(file)
            return readers[version](file)
    except Exception as error:  # The header is Python text: its parser raises what it likes.
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UserError(f"{path}: no .npy of numbers ({reason}): save it with numpy.save") from None


def _resized(picture: np.ndarray, spec: SpectrogramSpec) -> np.ndarray:
    """Return uint8 [height, width]; the same values where the size is the same."""
    if picture.shape != (spec.height, spec.width):
        # Each axis by itself, as `audio.spectrogram` does.
        for height, width in ((spec.height, picture.shape[1]), (spec.height, spec.width)):
            shrinks = height <= picture.shape[0] and width <= picture.shape[1]
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            picture = cv2.resize(picture, (width, height), interpolation=method)
    if picture.dtype != np.uint8:
        picture = np.round(picture * 255).astype(np.uint8)
    return picture
