from __future__ import annotations

import csv
import errno
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_clip import tiny_clip_model, write_clip_artifact

import emojax.runtime
from emojax.errors import UserError
from emojax.runtime import process as process_module
from emojax.runtime.artifact import load_artifact
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.looking import Looking
from emojax.runtime.process import (
    Tally,
    count_frames,
    prepare_folder,
    process_source,
)
from emojax.runtime.rows import column_types
from emojax.runtime.sources import Namer, Source
from emojax.runtime.tables import Tables
from emojax.runtime.video_writer import VideoWriter
from emojax.video import read_frames


def write_clip(path: Path, pictures: list[np.ndarray]) -> Source:
    with VideoWriter(path, 10.0) as writer:
        for number, picture in enumerate(pictures):
            writer.write(picture, number / 10)
    return Source(path, "video")


def process(source: Source, artifact_folder: Path, folder: Path, every: int = 1):
    predictor = emojax.runtime.load(artifact_folder)
    tally = Tally()
    calls: list[int] = []
    with Tables(folder / "t", column_types(predictor.spec), ["csv"]) as table:
        copy_to = folder / "copy.mp4" if source.kind == "video" else folder / "copy.png"
        process_source(source, predictor, table, tally, copy_to, Looking(every), calls.append)
    rows = (folder / "t.csv").read_text().splitlines()[1:]
    return tally, [row.split(",") for row in rows], sum(calls)


def test_copies_of_one_name_do_not_take_each_others_place(tmp_path):
    namer = Namer(tmp_path)
    named = [
        namer.name(Source(Path(path), kind)).name
        for path, kind in [
            ("a/face.png", "picture"),
            ("b/face.jpg", "picture"),
            ("c/FACE.png", "picture"),
            ("face-2.png", "picture"),
            ("a/face.mov", "video"),
            ("b/face.mp4", "video"),
        ]
    ]
    assert named == [
        "face.png",
        "face-2.png",
        "FACE-3.png",
        "face-2-2.png",
        "face.mp4",
        "face-2.mp4",
    ]


def test_a_face_that_comes_and_goes_keeps_its_rows_and_id(tmp_path, artifact_folder, astronaut):
    nothing = np.full_like(astronaut, 90)
    frames = [astronaut] * 3 + [nothing] * 2 + [astronaut] * 3
    source = write_clip(tmp_path / "a.mp4", frames)
    tally, rows, num_read = process(source, artifact_folder, tmp_path)
    assert (tally.frames, tally.faces, tally.without_face) == (8, 6, 2)
    assert num_read == 8
    assert [row[1] for row in rows] == [str(number) for number in range(8)]
    assert [row[2] for row in rows] == ["0"] * 3 + [""] * 2 + ["0"] * 3
    assert [row[5] for row in rows] == ["1"] * 3 + ["0"] * 2 + ["1"] * 3
    np.testing.assert_allclose([float(row[3]) for row in rows], np.arange(8) / 10, atol=1e-4)
    copies = list(read_frames(tmp_path / "copy.mp4"))
    np.testing.assert_allclose([copy.timestamp_s for copy in copies], np.arange(8) / 10, atol=1e-4)
    assert tally.annotated == tmp_path / "copy.mp4"


@pytest.mark.parametrize("when", ["write", "close"])
def test_a_copy_that_breaks_costs_no_row(tmp_path, artifact_folder, astronaut, monkeypatch, when):
    source = write_clip(tmp_path / "clip.mp4", [cv2.resize(astronaut, (128, 128))] * 6)
    done = getattr(VideoWriter, when)
    calls: list[object] = []

    def pulled_out(self, *arguments):
        calls.append(self)
        done(self, *arguments)
        if when == "close" or len(calls) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO), "copy.mp4")

    monkeypatch.setattr(VideoWriter, when, pulled_out)
    tally, rows, _ = process(source, artifact_folder, tmp_path)
    assert len(rows) == tally.frames == 6
    assert len(calls) == (3 if when == "write" else 1)
    assert tally.annotated is None
    assert "copy.mp4: can't be written (Input/output error)" in str(tally.not_annotated)


def test_a_copy_for_which_the_disk_is_full_ends_the_work(
    tmp_path, artifact_folder, astronaut, monkeypatch
):
    source = write_clip(tmp_path / "clip.mp4", [cv2.resize(astronaut, (128, 128))] * 6)

    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "copy.mp4")

    monkeypatch.setattr(VideoWriter, "write", no_room)
    with pytest.raises(OSError, match="No space left"):
        process(source, artifact_folder, tmp_path)


def test_every_takes_one_frame_of_so_many(tmp_path, artifact_folder, astronaut):
    source = write_clip(tmp_path / "a.mp4", [cv2.resize(astronaut, (128, 128))] * 8)
    tally, rows, num_read = process(source, artifact_folder, tmp_path, every=3)
    assert [row[1] for row in rows] == ["0", "3", "6"]
    assert tally.frames == 3
    assert num_read == 8


def test_all_faces_of_a_picture_have_rows_from_left_to_right(tmp_path, artifact_folder, astronaut):
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", np.hstack([astronaut, astronaut]))[1].tobytes())
    tally, rows, _ = process(Source(path, "picture"), artifact_folder, tmp_path)
    assert [row[2] for row in rows] == ["0", "1"]
    assert int(rows[0][6]) < int(rows[1][6])
    assert tally.annotated == tmp_path / "copy.png"
    assert cv2.imread(str(tmp_path / "copy.png")) is not None


def test_frames_are_counted_ahead_for_the_progress_bar(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 20)
    assert count_frames([clip, Source(tmp_path / "a.png", "picture")]) == pytest.approx(21, abs=1)
    # One that can't be read is not counted, and is no reason to stop.
    assert count_frames([Source(tmp_path / "none.mp4", "video")]) == 0


def test_the_output_folder_is_made_and_tried(tmp_path):
    prepare_folder(tmp_path / "a" / "b", ["annotated"])
    assert (tmp_path / "a" / "b" / "annotated").is_dir()
    assert list((tmp_path / "a" / "b" / "annotated").iterdir()) == []


def test_output_folders_that_can_not_be(tmp_path):
    file = tmp_path / "file"
    file.touch()
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "annotated").touch()
    for out, found in [
        (file, "is a file"),
        (file / "below", "under a file"),
        (blocked, "is a file"),
        (Path("/proc/emojax"), "can't be written to"),
    ]:
        with pytest.raises(UserError, match=found) as caught:
            prepare_folder(out, ["annotated"])
        assert "choose another --out" in str(caught.value)


def test_faces_that_are_followed_have_the_rows_of_faces_that_are_searched(
    tmp_path, artifact_folder, astronaut
):
    pictures = [np.roll(astronaut, 3 * number, axis=1) for number in range(12)]
    source = write_clip(tmp_path / "clip.mp4", pictures)
    predictor = emojax.runtime.load(artifact_folder)
    tables = []
    for looking in (Looking(), Looking(detect_every=6), Looking(smooth_s=0.4)):
        with Tables(tmp_path / "t", column_types(predictor.spec), ["csv"]) as table:
            process_source(source, predictor, table, Tally(), None, looking)
        with (tmp_path / "t.csv").open() as file:
            tables.append(list(csv.DictReader(file)))
    whole, followed, smoothed = tables
    assert len(whole) == len(followed) == len(smoothed) == 12
    for row, near in zip(whole, followed, strict=True):
        assert near["success"] == "1"
        assert near["face_id"] == "0"
        assert abs(int(near["x"]) - int(row["x"])) <= 0.1 * int(row["w"])
    # Smoothing moves the probabilities less from frame to frame, and nothing else.
    name = "AU01_p"
    jumps = [
        np.abs(np.diff([float(row[name]) for row in rows])).sum() for rows in (whole, smoothed)
    ]
    assert jumps[1] < jumps[0]
    assert [row["x"] for row in smoothed] == [row["x"] for row in whole]
    assert smoothed[0][name] == whole[0][name]


def test_ctrl_c_between_a_row_and_its_picture_waits(
    tmp_path, artifact_folder, astronaut, monkeypatch
):
    source = write_clip(tmp_path / "a.mp4", [cv2.resize(astronaut, (128, 128))] * 8)
    draw, calls = process_module.annotate, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return draw(*arguments)

    monkeypatch.setattr(process_module, "annotate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process(source, artifact_folder, tmp_path)
    rows = (tmp_path / "t.csv").read_text().splitlines()[1:]
    assert len(rows) == len(list(read_frames(tmp_path / "copy.mp4"))) == 3


@pytest.mark.parametrize("at", [1, 5, 14])
def test_ctrl_c_at_a_row_keeps_the_frames_that_wait_for_their_clip(
    at, tmp_path, astronaut, monkeypatch
):
    folder = write_clip_artifact(tmp_path / "model", tiny_clip_model(listens=False), False)
    source = write_clip(tmp_path / "a.mp4", [cv2.resize(astronaut, (256, 256))] * 40)
    write, calls = Tables.write, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            signal.raise_signal(signal.SIGINT)
        return write(*arguments)

    monkeypatch.setattr(Tables, "write", interrupted)
    read = []
    predictor, tally = ClipPredictor(load_artifact(folder)), Tally()
    with (
        Tables(tmp_path / "t", column_types(predictor.spec), ["csv"]) as table,
        pytest.raises(KeyboardInterrupt),
    ):
        process_source(source, predictor, table, tally, None, progress=read.append)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    # The first row leaves when a second of frames has been read.
    assert 10 <= sum(read) <= 16 < 40
    assert [int(row["frame"]) for row in rows] == list(range(sum(read)))
    assert tally.frames == sum(read)
    assert all(row["emotion"] for row in rows)
