from __future__ import annotations

import asyncio
import json
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import Request
from fastapi.responses import Response

from emojax.data.synthetic.files import write_wav
from emojax.runtime import ClipPredictor, Predictor, load_artifact, looking, make_predictor
from emojax.runtime.video_writer import VideoWriter
from emojax.serve import predict, uploaded
from emojax.serve.limits import Limits
from emojax.serve.pool import FairPool
from emojax.serve.refusal import RefusedError
from emojax.serve.service import Service
from emojax.serve.shelf import Shelf
from emojax.serve.uploaded import Uploaded, look_at_video
from emojax.shipped import find_model

PIECE = 1 << 16


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf((None,))


@pytest.fixture(scope="module")
def faces() -> Predictor:
    predictor = make_predictor(load_artifact(find_model("faces")))
    assert isinstance(predictor, Predictor)
    return predictor


def write_film(path: Path, frames: int, sound_from: Path | None = None) -> Path:
    """An MP4 of an empty wall, five frames a second."""
    with VideoWriter(path, 5.0, sound_from) as writer:
        for number in range(frames):
            writer.write(np.full((64, 64, 3), 90, np.uint8), number / 5)
    return path


def padded(path: Path, size: int) -> bytes:
    """A film of that many bytes, most of them a box for nothing."""
    film = path.read_bytes()
    spare = size - len(film)
    return film + struct.pack(">I4s", spare, b"free") + bytes(spare - 8)


def send(shelf: Shelf, body: bytes, form: predict.Form = "json") -> Response:
    """What the server answers to a file, in this process."""
    pieces = iter(range(0, len(body), PIECE))

    async def receive() -> dict[str, Any]:
        start = next(pieces, None)
        if start is None:
            await asyncio.Event().wait()
        assert start is not None
        more = start + PIECE < len(body)
        return {"type": "http.request", "body": body[start : start + PIECE], "more_body": more}

    async def run() -> Response:
        service = Service(shelf, Limits(), FairPool(1))
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        asked = predict.Asked(form)
        answer = await predict.answer_upload(request, service, shelf.choose(), "a.mp4", asked)
        assert (service.uploads, service.upload_bytes) == (0, 0)
        service.pool.close()
        return answer

    return asyncio.run(run())


def test_a_file_is_held_once(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = padded(write_film(tmp_path / "film.mp4", 5), 20_000_000)
    whole, kept = predict.look_at_video, []

    def watched(*words: Any) -> Iterator[None]:
        kept.append(tracemalloc.get_traced_memory()[0])
        yield from whole(*words)

    send(shelf, body)
    monkeypatch.setattr(predict, "look_at_video", watched)
    tracemalloc.start()
    try:
        answer = send(shelf, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(json.loads(answer.body)["rows"]) == 5
    assert peak < 1.5 * len(body)
    # Once it lies where a decoder can read it, it lies there alone.
    assert kept[0] < 0.1 * len(body)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_streams_do_not_stand_still_for_a_file(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: predict.Form
) -> None:
    """What takes long with a large file or with many rows is not done where all are served."""
    where: dict[str, set[str]] = {}

    def watch(module: Any, name: str) -> None:
        real = getattr(module, name)

        def watched(*words: Any, **more: Any) -> Any:
            where.setdefault(name, set()).add(threading.current_thread().name.split("_")[0])
            return real(*words, **more)

        monkeypatch.setattr(module, name, watched)

    watch(uploaded, "add_rows")
    watch(uploaded, "csv_text" if form == "csv" else "plain_row")
    watch(predict, "_answer")
    watch(predict, "memory_file")
    answer = send(shelf, write_film(tmp_path / "film.mp4", 5).read_bytes(), form)
    assert len(where) == 4
    assert {name: {"emojax"} for name in where} == where
    assert bytes(answer.body).count(b"a.mp4") == 5


def test_a_video_of_too_many_rows(faces: Predictor, tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", 10)
    found = Uploaded("film.mp4")
    with pytest.raises(RefusedError, match=r"7 rows or more, .* wanted 6 at most") as refused:
        list(look_at_video(path, found, faces, Limits(video_rows=6)))
    assert (refused.value.status, len(found.rows)) == (413, 6)
    found = Uploaded("film.mp4")
    list(look_at_video(path, found, faces, Limits(video_rows=10)))
    assert len(found.rows) == 10


def test_frames_that_wait_for_their_clip_are_counted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million of them in one clip would be held before there is a row."""
    sound = tmp_path / "sound.wav"
    write_wav(sound, np.random.default_rng(0).integers(-999, 999, 48000, np.int16), 16000)
    path = write_film(tmp_path / "film.mp4", 10, sound)
    voices = ClipPredictor(load_artifact(find_model("voices")))
    found, read = Uploaded("film.mp4"), []
    whole = looking.read_source

    def watched(*words: Any) -> Iterator[Any]:
        for frame in whole(*words):
            read.append(frame.number)
            yield frame

    monkeypatch.setattr(looking, "read_source", watched)
    with pytest.raises(RefusedError, match="7 rows or more") as refused:
        list(look_at_video(path, found, voices, Limits(video_rows=6)))
    assert (refused.value.status, read, found.rows) == (413, list(range(7)), [])
    list(look_at_video(path, found, voices, Limits(video_rows=10)))
    assert len(found.rows) == 10
