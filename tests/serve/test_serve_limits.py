from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving import Serving, frame_message, next_message, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus

from emojax.errors import UserError
from emojax.runtime.video_writer import VideoWriter
from emojax.serve.limits import Limits


@pytest.fixture(scope="module")
def strict() -> Iterator[Serving]:
    """A server that takes little."""
    words = "--picture-mb 1 --video-mb 2 --megapixels 1 --video-seconds 2 --sessions 2"
    more = "--video-rows 8 --uploads 3 --upload-seconds 2 --idle-seconds 2 --frame-mb 0.5"
    with serving(*words.split(), *more.split()) as running:
        yield running


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that stands for many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20))
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def film(path: Path, seconds: float, size: tuple[int, int] = (64, 64)) -> bytes:
    with VideoWriter(path, 5.0) as writer:
        for number in range(round(seconds * 5)):
            writer.write(np.full((*size, 3), 90, np.uint8), number / 5)
    return path.read_bytes()


def test_pixels_are_counted_before_they_are_decoded(strict: Serving) -> None:
    answer = strict.predict(bomb(60000, 60000), name="bomb.png")
    assert answer.status == 413
    assert "60000 x 60000 pixels, wanted 1 million at most" in answer.detail


def test_a_large_picture_and_a_large_file(strict: Serving) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + os.urandom(1_100_000)
    assert strict.predict(picture).status == 413
    answer = strict.predict(os.urandom(2_100_000))
    assert (answer.status, "2 MB" in answer.detail) == (413, True)


def test_a_video_that_is_too_long_or_too_wide(strict: Serving, tmp_path: Path) -> None:
    answer = strict.predict(film(tmp_path / "long.mp4", 4), name="long.mp4")
    assert answer.status == 413
    assert "wanted 2 s at most" in answer.detail
    wide = strict.predict(film(tmp_path / "wide.mp4", 1, (1024, 1280)), name="wide.mp4")
    assert (wide.status, "1280 x 1024" in wide.detail) == (413, True)


def test_a_video_of_more_rows_than_are_taken(strict: Serving, tmp_path: Path) -> None:
    answer = strict.predict(film(tmp_path / "many.mp4", 1.8), name="many.mp4")
    assert (answer.status, "\n" in answer.detail) == (413, False)
    assert "9 rows or more, one for each face of each frame, wanted 8 at most" in answer.detail
    assert strict.predict(film(tmp_path / "few.mp4", 1.6), name="few.mp4").status == 200


@contextlib.contextmanager
def half_sent(server: Serving) -> Iterator[socket.socket]:
    """A request whose body never ends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as link:
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        link.sendall(f"{head}Content-Length: 1000\r\n\r\nabc".encode())
        yield link


def test_a_slow_sender_is_told_and_others_are_not_kept_waiting(
    strict: Serving, astronaut_png: bytes
) -> None:
    with half_sent(strict) as link:
        began_s = time.monotonic()
        assert strict.predict(astronaut_png).status == 200
        assert b"408" in link.recv(4096).splitlines()[0]
        assert time.monotonic() - began_s < 15


def test_more_files_than_there_are_places(strict: Serving, astronaut_png: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(half_sent(strict))
        time.sleep(0.3)
        answer = strict.predict(astronaut_png)
        assert (answer.status, answer.headers["retry-after"]) == (429, "2")
    deadline_s = time.monotonic() + 10
    while strict.predict(astronaut_png).status != 200:
        assert time.monotonic() < deadline_s, "the places of those who left are not free"
        time.sleep(0.1)


def test_streams_have_places_and_closing_frees_them(strict: Serving) -> None:
    with strict.stream(), strict.stream():
        with pytest.raises(InvalidStatus) as refused, strict.stream():
            pass
        assert refused.value.response.status_code == 429
    deadline_s = time.monotonic() + 10
    while strict.taken():
        assert time.monotonic() < deadline_s, "a closed stream keeps its place"
        time.sleep(0.05)


def test_a_silent_stream_loses_its_place(strict: Serving) -> None:
    with strict.stream() as stream:
        deadline_s = time.monotonic() + 15
        with contextlib.suppress(Exception):
            while time.monotonic() < deadline_s:
                stream.recv(timeout=15)
        assert stream.close_code == 1001
        assert "free again" in (stream.close_reason or "")


def test_settings_alone_do_not_keep_a_streams_place(strict: Serving, astronaut_png: bytes) -> None:
    with strict.stream() as stream:
        # Frames do, for longer than a stream may be without one.
        for number in range(4):
            stream.send(frame_message(number, number / 10, astronaut_png))
            next_message(stream, "result")
            time.sleep(0.8)
        deadline_s = time.monotonic() + 15
        with contextlib.suppress(ConnectionClosed):
            while time.monotonic() < deadline_s:
                stream.send("{}")
                next_message(stream, "model")
                time.sleep(0.3)
        assert stream.close_code == 1001
        assert "no frame came" in (stream.close_reason or "")


def test_a_request_that_does_not_begin_is_dropped(server: Serving) -> None:
    ended = threading.Event()

    def wait() -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost:")
            if link.recv(100) == b"":
                ended.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(30)
    assert ended.is_set()


def test_limits_are_numbers_above_nothing() -> None:
    with pytest.raises(UserError, match="--megapixels 0"):
        Limits(megapixels=0)
    with pytest.raises(UserError, match="--sessions -1"):
        Limits(sessions=-1)
