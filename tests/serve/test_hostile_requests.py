"""Many requests that nobody means well with, and a client that is not to notice them."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from drawn_video import draw_people
from hostile_requests import KINDS, request
from serving import Serving, frame_message, next_message, serving

from emojax.serve.application import PAGE

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("EMOJAX_HOSTILE", "120"))
"""Requests, fifteen of each kind; more by the variable."""

SENDERS = 3
SEED = 9


class Witness:
    """A client that streams all the while."""

    def __init__(self, server: Serving) -> None:
        self._server = server
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._stream)
        self.waits_s: list[float] = []
        self.rows: set[tuple[str, ...]] = set()

    def _stream(self) -> None:
        jpeg = cv2.imencode(".jpg", next(draw_people(1, 6)))[1].tobytes()
        with self._server.stream() as stream:
            number = 0
            while not self._end.is_set():
                began_s = time.monotonic()
                stream.send(frame_message(number, number / 10, jpeg))
                (row,) = next_message(stream, "result")["rows"]
                self.waits_s.append(time.monotonic() - began_s)
                # All but the frame's number and time.
                self.rows.add((row[0], row[2], *row[4:]))
                number += 1
                time.sleep(0.02)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(60)


@contextlib.contextmanager
def slow_senders(server: Serving, count: int) -> Iterator[None]:
    """Connections that say a little and then nothing."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            whole = request(server, "POST /predict HTTP/1.1", b"abc", length=500)
            link.sendall(whole if number % 2 else whole[:40])
        yield


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def send(server: Serving, seeds: range, answers: list[tuple[str, bytes]], failed: list) -> None:
    for seed in seeds:
        rng = random.Random(SEED * 1_000_003 + seed)
        kind = KINDS[seed % len(KINDS)]
        try:
            answers.append((kind.__name__, kind(rng, server)))
        except Exception as error:
            failed.append((seed, kind.__name__, repr(error)))


@pytest.mark.parametrize("count", [COUNT, pytest.param(400, marks=pytest.mark.release)])
def test_hostile_requests(tmp_path: Path, count: int) -> None:
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    for folder in (work, temporary):
        folder.mkdir()
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": root}
    limits = "--picture-mb 1 --video-mb 2 --megapixels 1 --upload-seconds 3 --idle-seconds 5"
    sessions = "--sessions 64 --uploads 64 --detect-every 1"
    before = fingerprint(PAGE)
    answers: list[tuple[str, bytes]] = []
    failed: list[tuple[int, str, str]] = []
    words = [*limits.split(), *sessions.split()]
    with serving(*words, cwd=work, env=environment) as server:
        with Witness(server) as witness, slow_senders(server, 8):
            parts = [range(start, count, SENDERS) for start in range(SENDERS)]
            threads = [
                threading.Thread(target=send, args=(server, part, answers, failed))
                for part in parts
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert failed == []
        assert len(answers) == count
        # Those who left have given up their places, and all is as it was.
        deadline_s = time.monotonic() + 30
        while server.taken():
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        assert server.ask("/").status == 200
        said = server.said
        assert "Traceback" not in said, said[-3000:]
        assert server.process.poll() is None
    assert list(work.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert fingerprint(PAGE) == before
    statuses = collections.Counter(
        (kind, answer.split(b" ")[1].decode()) if answer.startswith(b"HTTP/1") else (kind, "-")
        for kind, answer in answers
    )
    assert not [status for _, status in statuses if status.startswith("5")], statuses
    for _, answer in answers:
        assert b"root:" not in answer
        assert b"from __future__" not in answer
    # The witness saw the same face all the while, and was never kept waiting for long.
    waits_s = sorted(witness.waits_s)
    assert len(witness.rows) == 1
    assert len(waits_s) > 10
    assert waits_s[-1] < 10
    print(f"{count} requests: {dict(sorted(statuses.items()))}")
    print(f"witness: {len(waits_s)} answers, p95 {1e3 * waits_s[int(0.95 * len(waits_s))]:.0f} ms")
