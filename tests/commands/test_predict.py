from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_artifact import NOTICE, SPEC

from emojax.cli import main
from emojax.runtime.video_writer import VideoWriter
from emojax.video import read_frames

# A stand-in for a disk that was pulled out: the file is there, and can be opened.
UNREADABLE = Path("/sys/class/net/lo/speed")


def write_picture(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return path


@pytest.fixture
def face(tmp_path, astronaut) -> Path:
    return write_picture(tmp_path / "face.png", astronaut)


@pytest.fixture(scope="module")
def clip_content(tmp_path_factory, astronaut) -> bytes:
    """An MP4 of ten frames whose index stands behind them."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    rng = np.random.default_rng(0)
    with VideoWriter(path, 10.0) as writer:
        for number in range(10):
            noise = rng.integers(0, 30, astronaut.shape, dtype=np.uint8)
            writer.write(cv2.add(astronaut, noise), number / 10)
    return path.read_bytes()


def as_matroska(content: bytes, folder: Path) -> bytes:
    """The same frames in a container that can be read up to a cut."""
    import av

    (folder / "whole.mp4").write_bytes(content)
    with av.open(str(folder / "whole.mp4")) as source:
        target = av.open(str(folder / "whole.mkv"), "w")
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
        target.close()
    return (folder / "whole.mkv").read_bytes()


@pytest.fixture
def predict(tmp_path, artifact_folder, capfd):
    def run(*arguments: str | Path, out: Path = tmp_path / "out") -> tuple[int, str, list[str]]:
        words = ["predict", *map(str, arguments), "--model", str(artifact_folder)]
        status = main([*words, "--out", str(out)])
        said = capfd.readouterr()
        return status, said.out, said.err.splitlines()

    return run


def read_table(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_photograph_gives_its_face(predict, face, tmp_path):
    status, said, errors = predict(face)
    (row,) = read_table(tmp_path / "out")
    assert (status, errors) == (0, [])
    assert row["file"] == str(face)
    assert row["success"] == "1"
    assert abs(int(row["x"]) - 177) < 15
    assert (tmp_path / "out" / "annotated" / "face.png").is_file()
    assert "predictions.csv: 1 row: 1 face in 1 frame of 1 file" in said
    assert "annotated: 1 annotated copy" in said
    assert said.count(NOTICE) == 1


def test_a_picture_without_a_face_is_a_result(predict, tmp_path):
    path = write_picture(tmp_path / "wall.png", np.full((100, 100, 3), 120, np.uint8))
    status, said, errors = predict(path)
    (row,) = read_table(tmp_path / "out")
    assert (status, errors) == (0, [])
    assert (row["success"], row["face_id"], row["AU01_p"]) == ("0", "", "")
    assert said.count("wall.png: no face in the picture") == 1


def test_a_video_gives_a_row_a_frame(predict, clip_content, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip_content)
    status, _, errors = predict(path)
    rows = read_table(tmp_path / "out")
    assert (status, errors) == (0, [])
    assert [row["frame"] for row in rows] == [str(number) for number in range(10)]
    assert {row["face_id"] for row in rows} == {"0"}
    np.testing.assert_allclose([float(row["timestamp"]) for row in rows], np.arange(10) / 10)
    assert len(list(read_frames(tmp_path / "out" / "annotated" / "clip.mp4"))) == 10


def test_a_cut_video_gives_its_rows_one_line_and_status_1(predict, clip_content, tmp_path):
    content = as_matroska(clip_content, tmp_path)
    path = tmp_path / "clip.mkv"
    path.write_bytes(content[: len(content) * 6 // 10])
    status, _, errors = predict(path)
    rows = read_table(tmp_path / "out")
    assert status == 1
    assert len(errors) == 1
    assert "clip.mkv: broke at frame" in errors[0]
    assert 3 <= len(rows) <= 8
    copies = list(read_frames(tmp_path / "out" / "annotated" / "clip.mp4"))
    assert len(copies) == len(rows)


def test_a_video_without_its_index_is_a_mistake(predict, clip_content, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip_content[: len(clip_content) // 2])
    status, _, errors = predict(path)
    assert status == 2
    assert len(errors) == 1
    assert "index (moov) is missing" in errors[0]


def bad_inputs(folder: Path, face: Path) -> dict[str, Path]:
    folder.mkdir()
    paths = {
        "missing": folder / "missing.png",
        "empty": folder / "empty.png",
        "text": folder / "text.png",
        "cut": folder / "cut.png",
        "text video": folder / "text.mp4",
        "bytes": folder / "bytes.jpg",
        "cut jpeg": folder / "cut.jpg",
    }
    paths["empty"].touch()
    paths["text"].write_text("words")
    paths["text video"].write_text("words")
    paths["bytes"].write_bytes(b"\xff\xd8\xff" + bytes(range(256)))
    paths["cut"].write_bytes(face.read_bytes()[:5000])
    jpeg = cv2.imencode(".jpg", cv2.imread(str(face)))[1].tobytes()
    paths["cut jpeg"].write_bytes(jpeg[: len(jpeg) // 2])
    return paths


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "text", "cut", "text video", "bytes", "cut jpeg"]
)
def test_a_bad_file_is_one_line_and_status_2(predict, tmp_path, face, kind):
    path = bad_inputs(tmp_path / "bad", face)[kind]
    status, _, errors = predict(path)
    assert status == 2
    assert len(errors) == 1
    assert errors[0].startswith(f"emojax predict: error: {path}: ")


def test_among_bad_files_the_good_ones_are_done(predict, tmp_path, face, clip_content):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(clip_content)
    bad = bad_inputs(tmp_path / "bad", face)
    status, _, errors = predict(bad["text"], face, *bad.values(), clip)
    rows = read_table(tmp_path / "out")
    assert status == 2
    assert len(errors) == 8
    assert [row["file"] for row in rows] == [str(face), *[str(clip)] * 10]


@pytest.mark.skipif(not UNREADABLE.exists(), reason="no file here whose reading fails")
@pytest.mark.parametrize("named", [True, False])
def test_a_file_whose_reading_fails_costs_itself_alone(predict, tmp_path, face, named):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp4", "b.png"):
        (folder / name).symlink_to(UNREADABLE)
    (folder / "c.png").symlink_to(face)
    status, _, errors = predict(*sorted(folder.iterdir()) if named else [folder])
    assert status == 2
    assert len(errors) == 2
    for line, name in zip(errors, ("a.mp4", "b.png"), strict=True):
        assert f"{folder / name}: can't be read (Invalid argument): check the disk" in line
    assert len(read_table(tmp_path / "out")) == 1


def test_every_complaint_is_the_only_line(
    run_python, tmp_path, face, artifact_folder, clip_content
):
    # As a person runs it: libjpeg, OpenCV, FFmpeg and LiteRT have messages of their own.
    bad = bad_inputs(tmp_path / "bad", face)
    content = as_matroska(clip_content, tmp_path)
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(content[: len(content) * 6 // 10])
    words = [*bad.values(), damaged, face, "--model", artifact_folder, "--out", tmp_path / "out"]
    done = run_python("-m", "emojax", "predict", *words)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == len(bad) + 1, done.stderr
    assert all(line.startswith("emojax predict: error: ") for line in lines), done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_is_searched_and_what_is_neither_is_counted(predict, tmp_path, astronaut):
    write_picture(tmp_path / "in" / "sub" / "a.png", astronaut)
    (tmp_path / "in" / "notes.txt").write_text("x")
    status, said, errors = predict(tmp_path / "in")
    assert (status, errors) == (0, [])
    assert len(read_table(tmp_path / "out")) == 1
    assert "skipped 1 file that is no picture and no video" in said


def test_a_second_run_does_not_read_the_first_ones_copies(predict, tmp_path, face):
    for _ in range(2):
        status, _, _ = predict(tmp_path)
        assert status == 0
        assert [row["file"] for row in read_table(tmp_path / "out")] == [str(face)]


def test_a_copy_that_is_named_is_read_and_not_written_over(
    predict, clip_content, astronaut, tmp_path
):
    copies = tmp_path / "out" / "annotated"
    inputs = [write_picture(copies / name, astronaut) for name in ("x.jpg", "x.png")]
    inputs.append(copies / "talk.mp4")
    inputs[-1].write_bytes(clip_content)
    before = [path.read_bytes() for path in inputs]
    status, _, errors = predict(*inputs, "--heat", "highest")
    assert (status, errors) == (0, [])
    assert [path.read_bytes() for path in inputs] == before
    assert len(read_table(tmp_path / "out")) == 12
    made = {path.name for path in copies.iterdir()} - {path.name for path in inputs}
    assert made == {"x-2.png", "x-3.png", "talk-2.mp4"}


def test_an_output_folder_that_is_the_input_too_gives_the_same_rows_again(predict, face, tmp_path):
    for _ in range(3):
        status, _, errors = predict(tmp_path, "--heat", "highest", out=tmp_path)
        assert (status, errors) == (0, [])
        assert [row["file"] for row in read_table(tmp_path)] == [str(face)]


@pytest.mark.parametrize("flags", [[], ["--blur-faces"]])
def test_a_copy_that_can_not_be_written_costs_no_row(
    predict, face, clip_content, tmp_path, astronaut, flags
):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(clip_content)
    last = write_picture(tmp_path / "last.png", astronaut)
    copies = tmp_path / "out" / "annotated"
    for name in ("clip.mp4", "face.png"):
        (copies / name).mkdir(parents=True)
    status, said, errors = predict(face, clip, last, *flags)
    assert status == 2
    remedy = "its rows are kept; for the copy choose another --out"
    assert errors == [
        f"emojax predict: error: {copies / name}: can't be written (Is a directory): {remedy}"
        for name in ("face.png", "clip.mp4")
    ]
    assert len(read_table(tmp_path / "out")) == 12
    assert "1 annotated copy" in said
    assert (copies / "last.png").is_file()
    assert (tmp_path / "out" / "index.html").read_text().count("<img") == 1


def test_heat_that_can_not_be_written_costs_no_row(predict, face, tmp_path, astronaut):
    last = write_picture(tmp_path / "last.png", astronaut)
    (tmp_path / "out" / "heat" / "face.png").mkdir(parents=True)
    status, _, errors = predict(face, last, "--heat", "highest")
    assert (status, len(errors)) == (2, 1)
    assert "heat/face.png: can't be written (Is a directory)" in errors[0]
    assert len(read_table(tmp_path / "out")) == 2
    assert (tmp_path / "out" / "heat" / "last.png").is_file()


def test_the_longest_names_have_copies_of_their_own(predict, tmp_path, astronaut):
    name = "ä" * 125 + "a.png"
    files = [write_picture(tmp_path / folder / name, astronaut) for folder in ("one", "two")]
    status, said, errors = predict(*files)
    assert (status, errors) == (0, [])
    assert len(read_table(tmp_path / "out")) == 2
    assert "2 annotated copies" in said


def test_files_of_one_name_get_copies_of_their_own(predict, tmp_path, astronaut):
    one = write_picture(tmp_path / "one" / "a.png", astronaut)
    two = write_picture(tmp_path / "two" / "a.png", np.full((90, 90, 3), 200, np.uint8))
    assert predict(one, two)[0] == 0
    copies = sorted(path.name for path in (tmp_path / "out" / "annotated").iterdir())
    assert copies == ["a-2.png", "a.png"]


def test_annotated_copies_can_be_left_out(predict, tmp_path, face):
    status, said, _ = predict(face, "--no-annotate")
    assert status == 0
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["episodes.csv", "predictions.csv", "summary.csv"]
    assert "annotated copy" not in said


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_folder_that_can_not_be_is_told_before_the_work(predict, tmp_path, face, place):
    (tmp_path / "file").write_text("keep me")
    status, _, errors = predict(face, out=tmp_path / place)
    assert status == 2
    assert len(errors) == 1
    assert (tmp_path / "file").read_text() == "keep me"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_folder_is_told_before_the_work(predict, tmp_path, face):
    (tmp_path / "out").mkdir(mode=0o555)
    status, _, errors = predict(face)
    assert status == 2
    assert len(errors) == 1


def test_an_earlier_table_outlives_a_mistake(predict, tmp_path, face):
    predict(face)
    before = (tmp_path / "out" / "predictions.csv").read_bytes()
    assert predict(tmp_path / "missing.png")[0] == 2
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["predictions.parquet", "summary.csv", "cues.jsonl"])
def test_an_earlier_run_outlives_a_table_that_can_not_be_opened(predict, tmp_path, face, name):
    flags = ("--also", "jsonl", "parquet", "--cues")
    assert predict(face, *flags)[0] == 0
    out = tmp_path / "out"
    (out / name).unlink()
    (out / name).mkdir()
    kept = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert {"predictions.csv", "episodes.parquet", "index.html"} <= {path.name for path in kept}
    status, _, errors = predict(face, *flags)
    assert (status, len(errors)) == (2, 1)
    assert f"{name}: Is a directory" in errors[0]
    assert {path: path.read_bytes() for path in kept} == kept


def test_differences_from_a_neutral_face_are_columns_when_asked_for(
    predict, clip_content, face, tmp_path
):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip_content)
    predict(path, face)
    plain = read_table(tmp_path / "out")
    assert not any(name.endswith("_d") for name in plain[0])
    status, _, errors = predict(path, face, "--neutral", "first:0.3s")
    rows = read_table(tmp_path / "out")
    assert (status, errors) == (0, [])
    assert [{name: row[name] for name in plain[0]} for row in rows] == plain
    assert list(rows[0])[-22:] == [f"{name}_d" for name in SPEC.output_names]
    for name in SPEC.output_names:
        base = np.mean([float(row[f"{name}_p"]) for row in rows[:3]])
        found = [float(row[f"{name}_d"]) for row in rows[:10]]
        expected = [float(row[f"{name}_p"]) - base for row in rows[:10]]
        np.testing.assert_allclose(found, expected, atol=2e-4)
    # A picture has no first seconds.
    assert rows[10]["AU01_d"] == ""
    # Longer than the clip: what is held back is written at its end.
    predict(path, face, "--neutral", "first:60s")
    assert [row["frame"] for row in read_table(tmp_path / "out")] == [row["frame"] for row in rows]
    status, _, errors = predict(path, face, "--neutral", face)
    assert (status, errors) == (0, [])
    assert float(read_table(tmp_path / "out")[10]["AU12_d"]) == 0


@pytest.mark.parametrize(
    ("neutral", "found"),
    [("first:2", "wanted seconds above 0, such as first:2s"), ("none.png", "none.png: no such")],
)
def test_a_neutral_face_that_is_none_is_a_mistake(predict, face, tmp_path, neutral, found):
    status, _, errors = predict(face, "--neutral", neutral)
    assert status == 2
    assert len(errors) == 1
    assert found in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_wall_is_no_neutral_face(predict, face, tmp_path):
    wall = write_picture(tmp_path / "wall.png", np.full((100, 100, 3), 120, np.uint8))
    status, _, errors = predict(face, "--neutral", wall)
    assert (status, len(errors)) == (2, 1)
    assert "wall.png: no face in it" in errors[0]


def test_faces_are_blurred_in_the_copies_only(predict, clip_content, face, tmp_path, astronaut):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip_content)
    predict(path, face)
    plain = read_table(tmp_path / "out")
    status, _, errors = predict(path, face, "--blur-faces")
    assert (status, errors) == (0, [])
    assert read_table(tmp_path / "out") == plain
    copies = [cv2.imread(str(tmp_path / "out" / "annotated" / "face.png"))]
    copies += [one.picture for one in read_frames(tmp_path / "out" / "annotated" / "clip.mp4")]
    assert len(copies) == 11
    x, y, w, h = (int(plain[-1][side]) for side in "xywh")

    def detail(picture: np.ndarray) -> float:
        """Of the middle of the face, at the photograph's own size."""
        size = round(picture.shape[1] * len(astronaut) / len(picture)), len(astronaut)
        part = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        part = part[y + h // 4 : y + 3 * h // 4, x + w // 4 : x + 3 * w // 4]
        return float(cv2.Laplacian(part, cv2.CV_64F).var())

    for copy in copies:
        assert detail(copy) < 0.05 * detail(astronaut)


def test_nothing_to_blur_is_a_mistake(predict, face):
    status, _, errors = predict(face, "--blur-faces", "--no-annotate")
    assert (status, len(errors)) == (2, 1)
    assert "--blur-faces" in errors[0]


def test_heat_shows_where_the_network_looks(predict, face, clip_content, tmp_path):
    """The tiny model goes by the mean, and the mean square changes it by little: no false heat."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(clip_content)
    status, said, _ = predict(face, clip, "--heat", "AU26", "--no-annotate")
    assert status == 0
    assert "what the network goes by in 1 file" in said
    assert [path.name for path in (tmp_path / "out" / "heat").iterdir()] == ["face.png"]
    copy = cv2.imread(str(tmp_path / "out" / "heat" / "face.png"))
    picture = cv2.imread(str(face))
    assert copy.shape[0] > picture.shape[0]
    assert copy.shape[1] > picture.shape[1]
    # Beside the face the picture is as it was; the face itself is gray, with at most some heat.
    assert np.array_equal(copy[300:500, :500], picture[300:500, :500])
    inside = copy[100:150, 210:240].astype(int)
    assert not np.array_equal(inside, picture[100:150, 210:240])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--heat", "joy"], "--heat: no output 'joy': use highest, AU01"),
        (["--heat", "fear", "--blur-faces"], "--heat: its pictures show faces"),
    ],
)
def test_heat_that_can_not_be_had_is_a_mistake(predict, face, tmp_path, flags, said):
    status, _, errors = predict(face, *flags)
    assert (status, len(errors)) == (2, 1)
    assert said in errors[0]
    assert not (tmp_path / "out" / "predictions.csv").exists()


def test_a_study_finds_a_summary_and_episodes(predict, clip_content, face, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip_content)
    status, _, errors = predict(path, face, path, "--also", "jsonl", "parquet", "--cues", "--elan")
    assert (status, errors) == (0, [])
    out = tmp_path / "out"
    with (out / "summary.csv").open(newline="") as file:
        video, picture, again = csv.DictReader(file)
    assert again == video
    assert (video["file"], video["frames"], video["face_share"]) == (str(path), "10", "1.0000")
    assert (picture["file"], picture["frames"], picture["people"]) == (str(face), "1", "1")
    with (out / "episodes.csv").open(newline="") as file:
        episodes = list(csv.DictReader(file))
    # Of a picture there is no from when to when.
    assert {row["file"] for row in episodes} == {str(path)}
    assert all(
        float(row["start"]) <= float(row["peak_time"]) <= float(row["end"]) for row in episodes
    )
    assert sorted(one.name for one in (out / "elan").iterdir()) == ["clip-2.eaf", "clip.eaf"]
    for name in ("predictions", "summary", "episodes", "cues"):
        for form in ("jsonl", "parquet"):
            assert (out / f"{name}.{form}").stat().st_size > 0


@pytest.mark.parametrize(
    "flags",
    [
        ["--threads", "0"],
        ["--every", "0"],
        ["--detect-every", "0"],
        ["--smooth", "-1"],
        ["--smooth", "nan"],
    ],
)
def test_numbers_below_one_are_mistakes(predict, face, flags):
    status, _, errors = predict(face, *flags)
    assert status == 2
    assert len(errors) == 1
    assert flags[0] in errors[0]


def test_no_input_and_no_model_are_mistakes(predict, tmp_path, face, capfd):
    assert predict()[0] == 2
    assert main(["predict", str(face), "--model", str(tmp_path / "none")]) == 2
    assert "no such folder" in capfd.readouterr().err


def test_a_full_disk_is_one_line_and_keeps_the_rows(predict, tmp_path, face, monkeypatch):
    import errno

    from emojax.runtime.tables import Tables

    write = Tables.write

    def full_after_one(self, rows):
        if self.num_rows:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, rows)

    monkeypatch.setattr(Tables, "write", full_after_one)
    status, _, errors = predict(face, face)
    assert status == 2
    assert len(errors) == 1
    assert "free some space" in errors[0]
    assert len(read_table(tmp_path / "out")) == 1


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as done:
        main(["predict", "--help"])
    assert done.value.code == 0
    said = capsys.readouterr().out
    for words in ("emojax predict photo.jpg", "success=0", "--every", "--threads"):
        assert words in said


def test_real_clips_have_a_row_for_each_of_their_frames(predict, shared_data, tmp_path):
    folder = shared_data / "crema_d" / "VideoFlash"
    status, _, errors = predict(folder, "--no-annotate")
    assert (status, errors) == (0, [])
    rows = read_table(tmp_path / "out")
    counts = {"ANG": 67, "DIS": 70, "FEA": 65, "HAP": 56, "NEU": 61, "SAD": 60}
    for emotion, count in counts.items():
        mine = [row for row in rows if f"_{emotion}_" in row["file"]]
        assert len(mine) == count
        assert {row["success"] for row in mine} == {"1"}
        assert {row["face_id"] for row in mine} == {"0"}
        times = [float(row["timestamp"]) for row in mine]
        assert times == sorted(set(times))
