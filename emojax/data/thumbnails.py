"""Small pictures of files that a build could not use, read where nothing can be harmed.

These are the files that decoders crash or hang over. Each is opened in a process
of its own kind, with an alarm set, and what comes back is either a small JPEG or a
few words that say why there is none.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing.connection
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.stream import Disposition

from emojax.errors import UserError
from emojax.files import require_file
from emojax.picture import MAX_PIXELS, picture_kind, read_picture
from emojax.video import open_container

SIDE = 160
"""Pixels of the longer side, at most."""

MAX_BYTES = 200 * 2**20
"""Size of a file from which it is not opened."""

PATIENCE_S = 5
"""Whole seconds after which a file is given up."""

BUDGET_S = 60.0
"""Seconds for all files of a page together."""

_PACKETS = 400
_LARGEST_JPEG = 2**20

Thumbnail = bytes | str
"""A JPEG, or why there is none, in a few words."""


def read_thumbnails(paths: Sequence[Path | None], budget_s: float = BUDGET_S) -> list[Thumbnail]:
    """Return what each file looks like; never raises, and comes back in time.

    Args:
        paths: pictures and videos, or what was taken for one; None: there is no file.
        budget_s: seconds after which the rest is not opened any more.
    """
    end = time.monotonic() + budget_s
    reader: _Reader | None = None
    found: list[Thumbnail] = []
    try:
        for path in paths:
            if path is None:
                found.append("no picture belongs to it")
                continue
            refused = _refuse(path)
            if refused is not None:
                found.append(refused)
                continue
            if time.monotonic() > end:
                found.append("not opened: too many files took too long")
                continue
            try:
                reader = reader or _Reader()
            except OSError:
                found.append("not opened: no process can be started for it")
                continue
            answer = reader.read(path)
            if answer is None:
                answer = "can't be opened: its reader crashed or never came back"
                reader.end()
                reader = None
            found.append(answer)
    finally:
        if reader is not None:
            reader.end()
    return found


def read_thumbnail(path: Path) -> Thumbnail:
    """Return what a file looks like: a picture, or a video's first frame from its middle on.

    Only for a process that may crash: see `read_thumbnails`.
    """
    refused = _refuse(path)
    if refused is not None:
        return refused
    try:
        with path.open("rb") as file:
            is_picture = picture_kind(file.read(16)) is not None
        picture = read_picture(path) if is_picture else _middle_frame(path)
        scale = min(1.0, SIDE / max(picture.shape[:2]))
        size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    # Decoders raise what they like, and this must not be what ends a build.
    except Exception:
        return "can't be opened"
    return encoded.tobytes() if done else "can't be opened"


def _refuse(path: Path) -> str | None:
    """Return why a file is not opened at all, None for one that is."""
    try:
        if not os.path.lexists(path):
            return "missing"
        # Also keeps away pipes and devices, which would never end.
        if require_file(path, "a picture or a video").stat().st_size > MAX_BYTES:
            return f"not opened: larger than {MAX_BYTES >> 20} MB"
    except (UserError, OSError, ValueError):
        return "can't be opened"
    return None


def _middle_frame(path: Path) -> np.ndarray:
    """Return a frame near a video's middle, its first where seeking fails.

    Few packets are looked at, so that a long video costs no more than a short one.
    """
    with open_container(path, "a video") as container:
        stream = next(
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        )
        _check_size(stream.codec_context)
        start = container.start_time or 0
        for place in (start + (container.duration or 0) // 2, start):
            try:
                container.seek(place)
                for packet in itertools.islice(container.demux(stream), _PACKETS):
                    for frame in packet.decode():
                        _check_size(frame)
                        picture = frame.to_ndarray(format="bgr24")
                        return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90))
            except av.FFmpegError:
                continue
    raise UserError(f"{path}: no frame near its middle or its start")


def _check_size(sized: Any) -> None:
    if not 0 < sized.width * sized.height <= MAX_PIXELS:
        raise UserError(f"{sized.width} x {sized.height} pixels")


class _Reader:
    """A process that opens one file at a time.

    An interpreter of its own, not one of `multiprocessing`'s: those run the main module
    again, and a script that builds a data set may have nothing that keeps it from that.
    """

    def __init__(self) -> None:
        near, far = socket.socketpair()
        with near, far:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, str(far.fileno()), *sys.path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # What decoders write about broken files stands in the report already.
                stderr=subprocess.DEVNULL,
                pass_fds=[far.fileno()],
            )
            self.line = multiprocessing.connection.Connection(near.detach())

    def read(self, path: Path) -> Thumbnail | None:
        """Return what the file looks like, None where the process is lost over it."""
        try:
            self.line.send_bytes(os.fsencode(path))
            # The alarm ends the other side; this is for one that even that does not end. The
            # first answer includes the process's start.
            if not self.line.poll(4 * PATIENCE_S):
                return None
            # Plain bytes: a process that a file has taken over can't have us unpickle anything.
            answer = self.line.recv_bytes(_LARGEST_JPEG)
        except (EOFError, OSError):
            return None
        return answer[1:] if answer[:1] == b"J" else answer[1:].decode("utf-8", "replace")

    def end(self) -> None:
        self.line.close()
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE_S)


_START = """
import sys
sys.path[:] = sys.argv[2:]
from emojax.data.thumbnails import serve
serve(int(sys.argv[1]))
"""


def serve(line_fd: int) -> None:
    """Open what comes down a line, in a process of its own, until the line closes."""
    line = multiprocessing.connection.Connection(line_fd)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Without a handler the alarm ends the process, in the middle of a decoder's loop too, and
    # even where the parent is gone.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while True:
        try:
            path = Path(os.fsdecode(line.recv_bytes()))
        except (EOFError, OSError):
            return
        signal.alarm(PATIENCE_S)
        answer = read_thumbnail(path)
        signal.alarm(0)
        line.send_bytes(b"J" + answer if isinstance(answer, bytes) else b"T" + answer.encode())
