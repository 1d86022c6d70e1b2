"""Cameras, Ctrl-C, full disks: what was computed is on the disk, whole, and one line says why."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import fake_camera
import numpy as np
import pytest
from own_process import own_process

import emojax
from emojax.cli import main
from emojax.errors import UserError
from emojax.runtime.video_writer import VideoWriter
from emojax.video import read_frames

FAKE = Path(fake_camera.__file__)
ROOT = FAKE.parents[2]
# A script finds what lies beside it; the project is two folders further up.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def small_face(astronaut) -> np.ndarray:
    return cv2.resize(astronaut[:256, 96:352], (200, 200), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def face_file(tmp_path_factory, small_face) -> Path:
    path = tmp_path_factory.mktemp("face") / "face.png"
    path.write_bytes(cv2.imencode(".png", small_face)[1].tobytes())
    return path


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory, small_face) -> Path:
    path = tmp_path_factory.mktemp("clip") / "long.mp4"
    rng = np.random.default_rng(0)
    with VideoWriter(path, 25.0) as writer:
        for number in range(250):
            noise = rng.integers(0, 40, small_face.shape, dtype=np.uint8)
            writer.write(cv2.add(small_face, noise), number / 25)
    return path


def read_table(out: Path, name: str = "predictions") -> list[dict[str, str]]:
    with (out / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # No row is cut off.
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


def num_frames(rows: list[dict[str, str]]) -> int:
    return len({row["frame"] for row in rows})


def frames_of(path: Path) -> int:
    count = 0
    try:
        for _ in read_frames(path):
            count += 1
    except UserError:
        pass
    return count


@pytest.fixture
def predict_camera(tmp_path, artifact_folder, capfd, monkeypatch):
    def run(camera: type[fake_camera.FakeCamera], *words: str) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(cv2, "VideoCapture", camera)
        model = ["--model", str(artifact_folder), "--out", str(tmp_path / "out")]
        status = main(["predict", *words, *model])
        said = capfd.readouterr()
        return status, said.out, said.err.splitlines()

    return run


def test_a_camera_gives_rows_by_the_clock(predict_camera, small_face, tmp_path):
    camera = fake_camera.make(small_face, rate_hz=100)
    started = time.monotonic()
    status, said, errors = predict_camera(camera, "0", "--seconds", "2")
    assert time.monotonic() - started >= 2
    rows = read_table(tmp_path / "out")
    assert (status, errors) == (0, [])
    assert (camera.opened, camera.released) == ([0], [0])
    assert [row["frame"] for row in rows] == [str(number) for number in range(len(rows))]
    times = [float(row["timestamp"]) for row in rows]
    assert times[0] == 0
    assert times == sorted(set(times))
    assert 0.5 < times[-1] < 2
    assert {(row["file"], row["success"]) for row in rows} == {("0", "1")}
    copies = list(read_frames(tmp_path / "out" / "annotated" / "camera0.mp4"))
    np.testing.assert_allclose([copy.timestamp_s for copy in copies], times, atol=1e-4)
    (summary,) = read_table(tmp_path / "out", "summary")
    assert summary["frames"] == str(num_frames(rows))
    assert f"{len(rows)} faces" in said


def test_rows_and_pictures_that_are_held_back_are_there_when_a_camera_is_lost(
    predict_camera, small_face, tmp_path
):
    camera = fake_camera.make(small_face, lost_after=8, rate_hz=1000)
    status, _, errors = predict_camera(camera, "0", "--blur-faces", "--neutral", "first:5s")
    assert (status, len(errors)) == (1, 1)
    rows = read_table(tmp_path / "out")
    assert [row["frame"] for row in rows] == [str(number) for number in range(7)]
    assert {row["success"] for row in rows} == {"1"}
    # A camera's faces are held against their own beginning, as a video's are.
    assert all(abs(float(row["AU01_d"])) < 0.05 for row in rows)
    assert frames_of(tmp_path / "out" / "annotated" / "camera0.mp4") == 7


def test_a_camera_is_none_where_somebody_else_waits_for_an_end(
    predict_camera, small_face, artifact_folder, face_file
):
    camera = fake_camera.make(small_face)
    status, _, errors = predict_camera(camera, str(face_file), "--neutral", "0")
    assert (status, len(errors)) == (2, 1)
    assert "0: no such file" in errors[0]
    with pytest.raises(UserError, match="0: no such file"):
        emojax.load(artifact_folder).predict("0")
    assert camera.opened == []


def test_a_camera_that_is_pulled_out_keeps_its_rows(predict_camera, small_face, tmp_path):
    camera = fake_camera.make(small_face, lost_after=8, rate_hz=1000)
    status, _, errors = predict_camera(camera, "/dev/video2")
    assert status == 1
    assert errors == ["emojax predict: error: camera 2: disappeared: the rows up to there are kept"]
    assert camera.released == [2]
    # One of them was read to see whether the camera gives pictures at all.
    assert len(read_table(tmp_path / "out")) == 7
    assert frames_of(tmp_path / "out" / "annotated" / "camera2.mp4") == 7
    (summary,) = read_table(tmp_path / "out", "summary")
    assert summary["frames"] == "7"


def test_no_camera_is_a_mistake(predict_camera, small_face, tmp_path):
    status, _, errors = predict_camera(fake_camera.make(small_face, lost_after=0), "7")
    assert status == 2
    assert len(errors) == 1
    assert "camera 7: no picture comes from it" in errors[0]


def test_a_file_that_is_called_as_a_camera_is_a_file(
    predict_camera, small_face, face_file, tmp_path, monkeypatch
):
    shutil.copy(face_file, tmp_path / "0")
    monkeypatch.chdir(tmp_path)
    camera = fake_camera.make(small_face)
    assert predict_camera(camera, "0")[0] == 0
    assert camera.opened == []
    assert len(read_table(tmp_path / "out")) == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_seconds_that_are_none_are_mistakes(predict_camera, small_face, seconds):
    camera = fake_camera.make(small_face)
    status, _, errors = predict_camera(camera, "0", "--seconds", seconds)
    assert status == 2
    assert len(errors) == 1
    assert "--seconds" in errors[0]


def start(*words: str | Path, limit: int | None = None) -> subprocess.Popen[str]:
    """A process of its own, which Ctrl-C reaches even where the tests' is in the background."""
    return subprocess.Popen(
        own_process(*words, limit=limit),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("source", ["camera", "video"])
def test_ctrl_c_ends_a_real_process_with_whole_files(
    tmp_path, artifact_folder, face_file, long_clip, source
):
    out = tmp_path / "out"
    words = ["predict", "0" if source == "camera" else long_clip]
    process = start(FAKE, face_file, 10**9, *words, "--model", artifact_folder, "--out", out)
    table = out / "predictions.csv"
    wait_for(lambda: table.is_file() and table.read_bytes().count(b"\n") > 12)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.strip() == "emojax predict: stopped; what was already written is kept"
    rows = read_table(out)
    assert len(rows) >= 12
    (copy,) = (out / "annotated").iterdir()
    assert len(list(read_frames(copy))) == num_frames(rows)
    (summary,) = read_table(out, "summary")
    assert summary["frames"] == str(num_frames(rows))


@pytest.mark.parametrize(("stream", "status", "num_rows"), [("stdout", 0, 21), ("stderr", 2, 1)])
def test_a_reader_that_goes_away_costs_no_row(
    tmp_path, artifact_folder, face_file, stream, status, num_rows
):
    blank = cv2.imencode(".png", np.full((60, 60, 3), 90, np.uint8))[1].tobytes()
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(blank if stream == "stdout" else b"words")
    shutil.copy(face_file, tmp_path / "last.png")
    words = ["predict", tmp_path, "--model", artifact_folder, "--out", tmp_path / "out"]
    with start("-m", "emojax", *words, "--no-annotate") as process:
        mouth = getattr(process, stream)
        assert mouth.readline()
        mouth.close()
        assert process.wait(timeout=120) == status
        assert process.stderr.closed or process.stderr.read() == ""
    rows = read_table(tmp_path / "out")
    assert len(rows) == num_rows
    assert rows[-1]["file"] == str(tmp_path / "last.png")


def check_full(process: subprocess.Popen[str], out: Path, reason: str) -> list[dict[str, str]]:
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said.startswith(f"emojax predict: error: {out}/")
    assert said.count("\n") == 1
    assert f"{reason}: free some space" in said
    rows = read_table(out)
    assert len(rows) >= 20
    check_lines(out, len(rows))
    return rows


def check_lines(out: Path, num_rows: int) -> None:
    """No line is cut off, where it was these that had no room either."""
    text = (out / "predictions.jsonl").read_text()
    assert text.endswith("}\n")
    assert all("emotion" in json.loads(line) for line in text.splitlines())
    assert num_rows - text.count("\n") in (0, 1)


@pytest.mark.parametrize("annotate", ["--annotate", "--no-annotate"])
def test_a_file_that_may_not_grow_is_one_line(tmp_path, artifact_folder, long_clip, annotate):
    out = tmp_path / "out"
    words = ["predict", long_clip, "--model", artifact_folder, "--out", out, annotate]
    limit = 20_000 if annotate == "--no-annotate" else 600_000
    process = start("-m", "emojax", *words, "--also", "jsonl", limit=limit)
    rows = check_full(process, out, "File too large")
    assert [row["frame"] for row in rows] == [str(number) for number in range(len(rows))]
    if annotate == "--annotate":
        # Written in pieces of a second: at most that and what the encoder held back is lost.
        assert 25 <= frames_of(out / "annotated" / "long.mp4") <= len(rows)
        assert len(rows) < 250


SMALL_DISK = """
set -e
mount -t tmpfs -o size=700k tmpfs "$1"
status=0
"$2" -m emojax predict "$3" --model "$4" --out "$1/out" --also jsonl || status=$?
cp -r "$1/out" "$5"
exit $status
"""


def _may_mount() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and (
        subprocess.run([unshare, "-rm", "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not _may_mount(), reason="no file system of one's own without rights")
def test_a_disk_that_is_full_is_one_line(tmp_path, artifact_folder, long_clip):
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    words = [disk, sys.executable, long_clip, artifact_folder, kept]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert f"{disk}/out/" in done.stderr
    assert "No space left on device: free some space" in done.stderr
    rows = read_table(kept)
    assert 20 <= len(rows) < 250
    check_lines(kept, len(rows))
    assert 20 <= frames_of(kept / "annotated" / "long.mp4") <= len(rows)
