from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_video import draw_people
from serving import Serving

from emojax.cli import main
from emojax.runtime import load
from emojax.runtime.heat import draw_heat, look_for_heat
from emojax.runtime.occlusion import without_pause
from emojax.runtime.video_writer import VideoWriter


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """An MP4 of two drawn people, and a frame with nobody."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    frames = [*draw_people(2, 8), np.full((480, 640, 3), 90, np.uint8)]
    with VideoWriter(path, 10.0) as writer:
        for number, frame in enumerate(frames):
            writer.write(frame, number / 10)
    return path


@pytest.fixture
def predicted(tmp_path):
    """What `emojax predict` writes about a file: its CSV, its JSON lines and its copy's bytes."""

    def run(path: Path) -> tuple[str, list[dict], bytes | None]:
        out = tmp_path / "out"
        assert main(["predict", str(path), "--out", str(out), "--also", "jsonl"]) == 0
        text = (out / "predictions.csv").read_text()
        lines = (out / "predictions.jsonl").read_text().splitlines()
        copy = out / "annotated" / f"{path.stem}.png"
        # The server knows a file's name, not its folder.
        return (
            text.replace(str(path), path.name),
            [{**json.loads(line), "file": path.name} for line in lines],
            copy.read_bytes() if copy.exists() else None,
        )

    return run


def test_a_picture_gives_the_rows_of_predict(
    server: Serving, predicted, astronaut_png: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(astronaut_png)
    text, rows, copy = predicted(path)
    answer = server.predict(astronaut_png, name="face.png")
    assert answer.status == 200
    found = json.loads(answer.body)
    assert found["rows"] == rows
    assert found["rows"][0]["success"] == 1
    assert found["columns"] == list(rows[0])
    assert (found["model"], found["precision"], found["problem"]) == ("faces", "int8", None)
    assert server.predict(astronaut_png, name="face.png", form="csv").body.decode() == text
    assert server.predict(astronaut_png, name="face.png", form="png").body == copy


def test_a_video_gives_the_rows_of_predict(server: Serving, predicted, film: Path) -> None:
    text, rows, _ = predicted(film)
    assert [row["success"] for row in rows] == [1] * 16 + [0]
    headers = {"Accept": "text/csv"}
    answer = server.ask("/predict", film.read_bytes(), headers, name=film.name)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.body.decode() == text
    assert json.loads(server.predict(film.read_bytes(), name=film.name).body)["rows"] == rows


def test_a_precision_can_be_chosen(server: Serving, astronaut_png: bytes) -> None:
    answers = [
        json.loads(server.predict(astronaut_png, precision=precision).body)
        for precision in ("int8", "float16")
    ]
    assert [answer["precision"] for answer in answers] == ["int8", "float16"]
    first, second = (answer["rows"][0] for answer in answers)
    assert first != second
    assert abs(first["emotion_surprise_p"] - second["emotion_surprise_p"]) < 0.1


def test_a_video_that_breaks_keeps_its_rows(server: Serving, film: Path, tmp_path: Path) -> None:
    import av

    with av.open(str(film)) as source, av.open(str(tmp_path / "film.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    whole = (tmp_path / "film.mkv").read_bytes()
    answer = server.predict(whole[: len(whole) * 2 // 3], name="film.mkv")
    assert answer.status == 200
    found = json.loads(answer.body)
    assert 0 < len(found["rows"]) < 17
    assert found["problem"].startswith("film.mkv: broke at frame")
    assert answer.headers["emojax-problem"] == found["problem"]


@pytest.mark.parametrize(
    ("query", "headers", "status", "words"),
    [
        ({"model": "nobody"}, {}, 404, "use faces"),
        ({"precision": "int4"}, {}, 404, "use int8, float16"),
        ({"form": "xml"}, {}, 422, "form"),
        ({}, {"Accept": "image/jpeg"}, 406, "text/csv"),
        ({"name": "x" * 501}, {}, 422, "name"),
    ],
)
def test_what_can_not_be_had(
    server: Serving, astronaut_png: bytes, query, headers, status: int, words: str
) -> None:
    answer = server.ask("/predict", astronaut_png, headers, **query)
    assert answer.status == status
    assert words in answer.detail
    assert "\n" not in answer.detail


def test_what_can_not_be_read_is_blamed_by_its_name(server: Serving, astronaut_png: bytes) -> None:
    for body, words in (
        (b"", "empty body"),
        (b"hello, this is text", "no container"),
        (astronaut_png[:5000], "cut off"),
        (b"\0\0\0\x14ftypheic\0\0\0\0mif1" + bytes(2000), "a HEIF/AVIF photo, which is not read"),
    ):
        answer = server.predict(body, name="/etc/../photo\x07.png")
        assert answer.status == 400
        assert words in answer.detail
        assert "/proc" not in answer.detail
        assert body == b"" or answer.detail.startswith("photo_.png: ")


def test_an_annotated_copy_of_a_video_is_refused(server: Serving, film: Path) -> None:
    answer = server.predict(film.read_bytes(), name="film.mp4", form="png")
    assert (answer.status, "film.mp4" in answer.detail) == (406, True)


def test_heat_is_that_of_the_runner(server: Serving, tmp_path: Path) -> None:
    picture = list(draw_people(2, 8))[4]
    body = cv2.imencode(".png", picture)[1].tobytes()
    predictor = load()
    work = look_for_heat(picture, predictor, "happiness")
    boxes, found = without_pause(work)
    answer = server.predict(body, name="pair.png", form="heat", output="happiness")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    told = json.loads(answer.headers["emojax-heat"])
    assert [face["face_id"] for face in told] == [0, 1]
    for face, wanted in zip(told, found, strict=True):
        assert face["output"] == "happiness"
        assert face["whole"] == pytest.approx(wanted.whole, abs=1e-4)
        assert face["least"] == pytest.approx(wanted.least, abs=1e-4)
        assert face["least"] < face["whole"] - 0.02
    copy = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(copy, draw_heat(picture, boxes, found, predictor))
    rows = json.loads(server.predict(body).body)["rows"]
    assert [row["emotion_happiness_p"] for row in rows] == pytest.approx(
        [face["whole"] for face in told], abs=1e-4
    )


def test_heat_of_nobody_is_the_picture(server: Serving) -> None:
    gray = cv2.imencode(".png", np.full((60, 80), 90, np.uint8))[1].tobytes()
    answer = server.predict(gray, form="heat")
    assert (answer.status, answer.headers["emojax-heat"]) == (200, "[]")
    assert cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR) is not None


def test_heat_that_can_not_be_had(server: Serving, film: Path, astronaut_png: bytes) -> None:
    for body, query, status, words in (
        (film.read_bytes(), {"form": "heat"}, 406, "send a frame"),
        (astronaut_png, {"form": "heat", "output": "joy"}, 400, "use highest, neutral, happiness"),
        (astronaut_png, {"form": "heat", "output": "AU12"}, 400, "no output 'AU12'"),
        (astronaut_png, {"form": "png", "output": "fear"}, 400, "form=heat"),
        (astronaut_png, {"form": "heat", "output": "x" * 50}, 422, "output"),
        (astronaut_png[:5000], {"form": "heat"}, 400, "cut off"),
    ):
        answer = server.predict(body, **query)
        assert (answer.status, words in answer.detail) == (status, True), answer.detail


def test_a_name_is_quoted_in_a_csv(server: Serving) -> None:
    gray = cv2.imencode(".png", np.zeros((40, 40), np.uint8))[1].tobytes()
    body = server.predict(gray, name='a,"b".png', form="csv").body.decode()
    (row,) = csv.DictReader(io.StringIO(body))
    assert (row["file"], row["success"]) == ('a,"b".png', "0")


def test_the_model_says_what_it_is_worth(server: Serving) -> None:
    found = json.loads(server.ask("/model").body)
    (model,) = found["models"]
    assert model["name"] == "faces"
    assert model["trained_on"] == "fer2013"
    assert model["licence"] == "Apache-2.0"
    assert "hiring" in model["not_for"]
    assert [one["precision"] for one in model["precisions"]] == ["int8", "float16"]
    private = next(one for one in model["metrics"] if one["name"] == "FER2013 PrivateTest")
    low, high = private["interval"]
    assert 0.6 < low < private["value"] < high < 0.8
    assert found["limits"]["sessions"] == 8


def test_the_description_is_complete_and_asks_no_other_host(server: Serving) -> None:
    description = json.loads(server.ask("/openapi.json").body)
    assert set(description["paths"]) == {"/predict", "/model"}
    statuses = set(description["paths"]["/predict"]["post"]["responses"])
    assert {"200", "400", "404", "406", "408", "413", "422", "429"} <= statuses
    for path in ("/", "/docs"):
        answer = server.ask(path)
        assert answer.status == 200
        assert b"//" not in answer.body.replace(b"<!-- ", b"")
