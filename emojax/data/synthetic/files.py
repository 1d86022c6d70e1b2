"""Pictures, sounds and films on disk."""

from __future__ import annotations

import wave
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer

from emojax.errors import UserError


def make_folder(path: Path) -> Path:
    """Return the folder, made with its parents where it is missing.

    Raises:
        UserError: it can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: can't make the folder ({reason}): choose another") from None
    return path


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 [height, width] or [height, width, 3] (blue, green, red).

    A picture whose three channels are equal is written with one.
    """
    if picture.ndim == 3 and (picture == picture[..., :1]).all():
        picture = picture[..., 0]
    written, encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert written
    path.write_bytes(encoded.tobytes())


def write_wav(path: Path, samples: np.ndarray, sample_rate_hz: int) -> None:
    """Write mono sound, int16 [samples]."""
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(sample_rate_hz)
        stream.writeframes(samples.astype("<i2").tobytes())


def _encode_video(
    container: OutputContainer,
    stream: av.VideoStream,
    frames: Iterable[np.ndarray],
) -> None:
    for picture in frames:
        if not stream.codec_context.is_open:
            stream.height, stream.width = picture.shape[:2]
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
    container.mux(stream.encode(None))


def write_avi(path: Path, frames: Iterable[np.ndarray], frames_per_second: int) -> None:
    """Write a silent AVI with Motion JPEG, from uint8 [height, width, 3] (blue, green, red)."""
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=frames_per_second)
        stream.pix_fmt = "yuvj420p"
        stream.bit_rate = 40_000_000
        _encode_video(container, stream, frames)


def write_flv(
    path: Path,
    frames: Iterable[np.ndarray],
    frames_per_second: Fraction,
    samples: np.ndarray,
    sample_rate_hz: int,
) -> None:
    """Write an FLV with Sorenson H.263 video and MP3 sound at 44.1 kHz.

    Args:
        path: where to.
        frames: uint8 [height, width, 3], blue, green, red.
        frames_per_second: rate of the frames; FLV keeps times in whole milliseconds.
        samples: int16 [samples], mono.
        sample_rate_hz: rate of the samples.
    """
    with av.open(str(path), "w", format="flv") as container:
        video = container.add_stream("flv", rate=frames_per_second)
        video.pix_fmt = "yuv420p"
        video.bit_rate = 800_000
        # FLV allows no other rates of MP3 than 11.025, 22.05 and 44.1 kHz.
        sound = container.add_stream("mp3", rate=44_100)
        sound.layout = "mono"
        _encode_video(container, video, frames)
        resampler = av.AudioResampler(format="s16p", layout="mono", rate=44_100)
        block = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        block.sample_rate = sample_rate_hz
        block.time_base = Fraction(1, sample_rate_hz)
        block.pts = 0
        for part in [*resampler.resample(block), *resampler.resample(None)]:
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
