from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_video import draw_people
from serving import Serving, frame_message, next_message, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

import emojax
from emojax.runtime.looking import Looking, look
from emojax.runtime.process import rows_of
from emojax.runtime.sources import Frame
from emojax.runtime.tables import csv_cells
from emojax.serve.service import FILES_AT_ONCE


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    return [cv2.imencode(".jpg", frame)[1].tobytes() for frame in draw_people(2, 8)]


def closed(stream: ClientConnection) -> tuple[int | None, str]:
    """The code and the reason with which the server ends a stream."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            stream.recv(timeout=20)
    return stream.close_code, stream.close_reason or ""


def test_rows_are_those_of_predict_for_the_same_frames(server: Serving, jpegs) -> None:
    with server.stream() as stream:
        model = next_message(stream, "model")
        found = []
        for number, jpeg in enumerate(jpegs):
            stream.send(frame_message(number, number / 10, jpeg))
            found += next_message(stream, "result")["rows"]
    predictor = emojax.load()
    frames = [
        Frame(Path("camera"), number, number / 10, cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1))
        for number, jpeg in enumerate(jpegs)
    ]
    wanted = [
        row for seen in look(frames, predictor, Looking()) for row in rows_of(seen, predictor)
    ]
    assert found == [csv_cells(row) for row in wanted]
    assert model["columns"] == list(wanted[0])
    assert len(found) == 16
    # The same person has the same id throughout.
    assert {row[model["columns"].index("face_id")] for row in found} == {"0", "1"}


def test_gray_frames_travel_as_they_are(server: Serving, jpegs) -> None:
    gray = cv2.imdecode(np.frombuffer(jpegs[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    pgm = f"P5 {gray.shape[1]} {gray.shape[0]} 255\n".encode() + gray.tobytes()
    with server.stream() as stream:
        stream.send(frame_message(0, 0.0, pgm))
        assert len(next_message(stream, "result")["rows"]) == 2


def test_what_can_not_be_kept_up_with_is_dropped_and_counted(server: Serving, jpegs) -> None:
    with server.stream() as stream:
        next_message(stream, "model")
        for number in range(30):
            stream.send(frame_message(number, number / 30, jpegs[number % 8]))
        answered, dropped, last = [], [], -1
        while last != 29:
            message = next_message(stream)
            last = message["frame"]
            (dropped if message["type"] == "dropped" else answered).append(last)
        assert sorted(answered + dropped) == list(range(30))
        assert dropped
        assert message["dropped"] == len(dropped)
        assert answered == sorted(answered)


def test_the_model_changes_in_the_middle(server: Serving, jpegs) -> None:
    with server.stream() as stream:
        assert next_message(stream, "model")["precision"] == "int8"
        stream.send(frame_message(0, 0.0, jpegs[4]))
        before = next_message(stream, "result")["rows"]
        stream.send(json.dumps({"precision": "float16", "name": "x/film.mp4"}))
        assert next_message(stream, "model")["precision"] == "float16"
        stream.send(frame_message(1, 0.1, jpegs[4]))
        after = next_message(stream, "result")["rows"]
    assert [row[0] for row in after] == ["film.mp4"] * 2
    # Faces keep their ids; what is said of them is another model's.
    assert [row[2] for row in before] == [row[2] for row in after]
    assert before[0][10:] != after[0][10:]


def test_a_frame_that_can_not_be_read_costs_that_frame(server: Serving, jpegs) -> None:
    with server.stream() as stream:
        for number, picture in enumerate((b"no picture at all", jpegs[0][:2000])):
            stream.send(frame_message(number, 0.0, picture))
            message = next_message(stream, "error")
            assert (message["frame"], f"frame {number}" in message["detail"]) == (number, True)
        stream.send(frame_message(2, 0.0, jpegs[0]))
        assert next_message(stream, "result")["frame"] == 2


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"short",
        struct.pack("<Id", 0, float("nan")) + b"x",
        struct.pack("<Id", 0, -1.0) + b"x",
        struct.pack("<Id", 0, float("inf")) + b"x",
        "no json",
        "[]",
        "[" * 4000,
        " " * 5000,
        '{"unknown": 1}',
        '{"model": 1}',
        '{"model": "nobody"}',
        '{"precision": "int4"}',
        '{"detect_every": 0}',
        '{"detect_every": true}',
        '{"smooth": -1}',
        '{"smooth": NaN}',
        '{"name": []}',
    ],
)
def test_what_makes_no_sense_ends_the_stream_with_a_reason(
    server: Serving, message: str | bytes
) -> None:
    with server.stream() as stream:
        stream.send(message)
        code, reason = closed(stream)
    assert (code, bool(reason)) == (1008, True)


def test_the_first_model_for_pictures_is_a_streams_own(jpegs) -> None:
    with serving("--model", "voices", "faces") as running, running.stream() as stream:
        assert next_message(stream)["model"] == "faces"
        stream.send(frame_message(0, 0.0, jpegs[0]))
        assert len(next_message(stream, "result")["rows"]) == 2
        stream.send('{"model": "voices"}')
        code, reason = closed(stream)
        assert (code, reason.startswith("voices looks at clips")) == (1008, True)


def test_where_all_models_look_at_clips_a_stream_is_told_so() -> None:
    with serving("--model", "voices") as running:
        for _ in range(2):
            with running.stream() as stream:
                code, reason = closed(stream)
            assert code == 1008
            assert reason == (
                "voices looks at clips, and a stream is single frames: send it a video"
            )
        assert running.taken() == 0
        assert "Traceback" not in running.said


def test_a_frame_that_is_too_large_ends_the_stream(server: Serving) -> None:
    with server.stream() as stream:
        stream.send(frame_message(0, 0.0, bytes(3_990_000)))
        assert next_message(stream, "error")["frame"] == 0
        with contextlib.suppress(ConnectionClosed):
            stream.send(frame_message(1, 0.0, bytes(4_100_000)))
        # Where the sender is still at it, the line breaks before the reason is read (1006).
        assert closed(stream)[0] in (1006, 1009)


def test_who_leaves_in_the_middle_frees_the_place(server: Serving, jpegs) -> None:
    for _ in range(20):
        with contextlib.suppress(ConnectionClosed), server.stream() as stream:
            stream.send(frame_message(0, 0.0, jpegs[0]))
            # Without a goodbye.
            stream.socket.shutdown(socket.SHUT_RDWR)
    deadline_s = time.monotonic() + 10
    while server.taken():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_full_house_that_leaves_at_once_leaves_nothing_behind(server: Serving, jpegs) -> None:
    """With frames under way and waiting: places, turns and predictors are free again."""
    for rudely in (False, True):
        with contextlib.suppress(ConnectionClosed), contextlib.ExitStack() as stack:
            streams = [stack.enter_context(server.stream()) for _ in range(8)]
            for number in range(6):
                for stream in streams:
                    stream.send(frame_message(number, number / 10, jpegs[number]))
            assert server.taken() == 8
            for stream in streams:
                next_message(stream, "result")
                if rudely:
                    stream.socket.shutdown(socket.SHUT_RDWR)
        deadline_s = time.monotonic() + 10
        while server.taken():
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        with server.stream() as stream:
            stream.send(frame_message(0, 0.0, jpegs[0]))
            assert next_message(stream, "result")["dropped"] == 0


def test_heat_leaves_streams_their_turns(server: Serving) -> None:
    """As many pictures as are worked on at once are looked into, and nobody waits for their end."""
    crowd = cv2.imencode(".png", list(draw_people(3, 8))[4])[1].tobytes()
    took_s: list[float] = []

    def look() -> None:
        began_s = time.monotonic()
        answer = server.predict(crowd, form="heat")
        assert len(json.loads(answer.headers["emojax-heat"])) == 3
        took_s.append(time.monotonic() - began_s)

    wall = cv2.imencode(".jpg", np.full((120, 160), 90, np.uint8))[1].tobytes()
    lookers = [threading.Thread(target=look) for _ in range(FILES_AT_ONCE)]
    with server.stream() as stream:
        next_message(stream, "model")
        for looker in lookers:
            looker.start()
        answered_s, number = [time.monotonic()], 0
        while any(looker.is_alive() for looker in lookers):
            stream.send(frame_message(number, number / 10, wall))
            next_message(stream, "result")
            answered_s.append(time.monotonic())
            number += 1
    assert len(took_s) == FILES_AT_ONCE
    assert np.diff(answered_s).max() < min(took_s) / 6


def test_clients_get_equal_shares(server: Serving, jpegs) -> None:
    """One that sends more than is taken gets no more than three that send one by one."""
    small = cv2.imencode(".jpg", cv2.imdecode(np.frombuffer(jpegs[0], np.uint8), 1)[::4, ::4])[1]
    counts, numbers = [0] * 4, [0] * 4

    def send(place: int, times: int) -> None:
        for _ in range(times):
            numbers[place] += 1
            message = frame_message(numbers[place], numbers[place] / 100, small.tobytes())
            streams[place].send(message)

    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(server.stream()) for _ in range(4)]
        for place in range(4):
            next_message(streams[place], "model")
            send(place, 1)
        deadline_s = time.monotonic() + 30
        while sum(counts) < 80 and time.monotonic() < deadline_s:
            for place, stream in enumerate(streams):
                with contextlib.suppress(TimeoutError):
                    if json.loads(stream.recv(timeout=0.002))["type"] == "result":
                        counts[place] += 1
                        send(place, 5 if place == 0 else 1)
    assert sum(counts) >= 80
    assert counts[0] <= 1.3 * min(counts[1:]) + 2, counts
    assert max(counts[1:]) <= 1.3 * min(counts[1:]) + 2, counts
