"""`emojax predict` with a network for clips: videos with and without sound, and sounds."""

from __future__ import annotations

import csv
import shutil
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_clip import expected_clip, tiny_clip_model, write_clip_artifact

from emojax.cli import main
from emojax.clip import sample_clip
from emojax.face import HaarDetector, crop_face, to_gray
from emojax.runtime import ClipPredictor, load_artifact
from emojax.runtime.video_writer import VideoWriter
from emojax.spec import InputSpec
from emojax.video import read_frames, read_sound

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_clip_artifact(tmp_path_factory.mktemp("clip") / "artifact", tiny_clip_model())


@pytest.fixture(scope="module")
def files(tmp_path_factory, astronaut) -> Path:
    """A voice, a talking face of 1.5 s, the same mute, and a wall that talks."""
    place = tmp_path_factory.mktemp("files")
    with wave.open(str(place / "voice.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        tone = 9000 * np.sin(np.cumsum(np.linspace(0.05, 0.5, 3 * RATE // 2)))
        file.writeframes(tone.astype(np.int16).tobytes())
    small = cv2.resize(astronaut, (256, 256))
    wall = np.full_like(small, 90)
    for name, picture, sound in (
        ("talk", small, place / "voice.wav"),
        ("mute", small, None),
        ("wall", wall, place / "voice.wav"),
    ):
        with VideoWriter(place / f"{name}.mp4", 10.0, sound_from=sound) as writer:
            for number in range(15):
                frame = cv2.convertScaleAbs(picture, alpha=0.8, beta=3 * number)
                # Noise, so that each frame takes some of the file.
                noise = np.random.default_rng(number).integers(0, 30, frame.shape, np.uint8)
                writer.write(cv2.add(frame, noise), number / 10)
    return place


def write_voice(path: Path, sound: Path, codec: str) -> None:
    """A voice as a browser or a telephone records it: a video's container without a picture."""
    import av

    with av.open(str(sound)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream(codec, rate=48000 if codec == "libopus" else RATE)
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode())


@pytest.fixture
def predict(tmp_path, folder, capfd):
    def run(*words: str | Path) -> tuple[int, str, list[str], list[dict[str, str]]]:
        out = tmp_path / "out"
        status = main(["predict", *map(str, words), "--model", str(folder), "--out", str(out)])
        said = capfd.readouterr()
        return status, said.out, said.err.splitlines(), read_table(out / "predictions.csv")

    return run


def read_table(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def probabilities(row: dict[str, str]) -> np.ndarray:
    return np.array([float(value) for name, value in row.items() if name.endswith("_p")])


def test_a_video_with_sound_is_looked_at_and_listened_to(predict, files, folder, tmp_path):
    path = files / "talk.mp4"
    status, _, errors, rows = predict(path)
    assert (status, errors) == (0, [])
    assert [row["frame"] for row in rows] == [str(number) for number in range(15)]
    assert {row["success"] for row in rows} == {"1"}
    assert rows[0]["window_start"] == rows[12]["window_start"] == "0.000000"
    assert rows[14]["window_end"] == "1.250000"
    # Worked out from the file: ten frames of the first second, and its sound.
    grays = [to_gray(frame.picture) for frame in read_frames(path)][:10]
    boxes = [HaarDetector()(gray) for gray in grays]
    crops = [crop_face(gray, box, InputSpec()) for gray, (box,) in zip(grays, boxes, strict=True)]
    sound = read_sound(path)
    assert sound is not None
    heard = ClipPredictor(load_artifact(folder)).listen(sound[:RATE])
    expected = expected_clip(np.stack(crops)[sample_clip(10, 60, 4)], heard)
    for row in rows[:13]:
        np.testing.assert_allclose(probabilities(row), expected, atol=1e-4)
    copy = tmp_path / "out" / "annotated" / "talk.mp4"
    assert len(list(read_frames(copy))) == 15
    assert read_sound(copy) is not None


def test_each_side_may_be_missing(predict, files):
    status, said, errors, rows = predict(*(files / f"{name}.mp4" for name in ("mute", "wall")))
    assert (status, errors) == (0, [])
    mute, wall = rows[:15], rows[15:]
    assert {row["success"] for row in mute} == {"1"}
    assert {row["success"] for row in wall} == {"0"}
    assert all(row["face_id"] == row["x"] == "" and row["emotion"] for row in wall)
    assert said.count("no face in 15 frames of 15") == 1
    assert np.abs(probabilities(mute[0]) - probabilities(wall[0])).max() > 0.01


def test_a_sound_is_a_row_a_window(predict, files, folder, tmp_path):
    path = files / "voice.wav"
    status, said, errors, rows = predict(path, "--elan", "--window", "0.5", "--step", "0.5")
    assert (status, errors) == (0, [])
    assert "3 rows: 3 clips of 1 sound" in said
    assert [row["timestamp"] for row in rows] == ["0.000000", "0.500000", "1.000000"]
    assert {(row["success"], row["face_id"], row["w"]) for row in rows} == {("0", "", "")}
    sound = read_sound(path)
    assert sound is not None
    heard = ClipPredictor(load_artifact(folder)).listen(sound[RATE : RATE * 3 // 2])
    np.testing.assert_allclose(probabilities(rows[2]), expected_clip(None, heard), atol=1e-4)
    (summary,) = read_table(tmp_path / "out" / "summary.csv")
    assert (summary["frames"], summary["people"], summary["face_share"]) == ("3", "0", "0.0000")
    mean = np.mean([float(row["AU01_p"]) for row in rows])
    assert float(summary["AU01_mean"]) == pytest.approx(mean, abs=1e-4)
    episodes = read_table(tmp_path / "out" / "episodes.csv")
    # The emotion is the same throughout: one episode, to the end of the last window.
    (emotion,) = [row for row in episodes if row["what"] == rows[0]["emotion"]]
    assert (emotion["face_id"], emotion["start"], emotion["end"]) == ("", "0.000000", "1.500000")
    assert "sound_" in (tmp_path / "out" / "elan" / "voice.eaf").read_text()


@pytest.mark.parametrize("name", ["voice.webm", "voice.mp4", "voice"])
def test_a_voice_is_a_sound_whatever_it_is_called(predict, files, tmp_path, name):
    path = tmp_path / name
    if name == "voice":
        shutil.copy(files / "voice.wav", path)
    else:
        write_voice(path, files / "voice.wav", "libopus" if name.endswith("webm") else "aac")
    status, said, errors, rows = predict(path, "--window", "0.5", "--step", "0.5")
    assert (status, errors) == (0, [])
    assert "clips of 1 sound" in said
    assert [row["timestamp"] for row in rows[:3]] == ["0.000000", "0.500000", "1.000000"]
    assert {(row["file"], row["success"]) for row in rows} == {(str(path), "0")}
    # And the network for voices is the one that is taken for it.
    assert main(["predict", str(path), "--out", str(tmp_path / "own")]) == 0
    assert "window_start" in read_table(tmp_path / "own" / "predictions.csv")[0]


def test_a_folder_gives_voices_in_containers_of_videos_too(predict, files, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_voice(folder / "voice.webm", files / "voice.wav", "libopus")
    shutil.copy(files / "talk.mp4", folder)
    status, said, errors, rows = predict(folder)
    assert (status, errors) == (0, [])
    assert "of 1 sound" in said
    assert [row["success"] for row in rows if row["file"].endswith("talk.mp4")] == ["1"] * 15
    assert {row["success"] for row in rows if row["file"].endswith("voice.webm")} == {"0"}


def test_a_folder_gives_its_sounds_too(predict, files):
    status, said, errors, rows = predict(files, "--no-annotate")
    assert (status, errors) == (0, [])
    assert len({row["file"] for row in rows}) == 4
    assert "45 rows" not in said
    assert "of 1 sound" in said


def test_a_cut_video_keeps_the_rows_that_waited(predict, files, tmp_path):
    import av

    with (
        av.open(str(files / "talk.mp4")) as source,
        av.open(str(tmp_path / "whole.mkv"), "w") as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) * 6 // 10])
    status, _, errors, rows = predict(tmp_path / "cut.mkv")
    assert status == 1
    assert len(errors) == 1
    assert "cut.mkv: broke at frame" in errors[0]
    # Shorter than a window: all of them had to wait.
    assert 2 <= len(rows) < 10
    assert {row["window_start"] for row in rows} == {"0.000000"}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["face.png"], "face.png: is a picture, and this network looks at clips"),
        (["words.wav"], "words.wav: no container"),
        (["talk.mp4", "--window", "0"], "window of 0.0 s"),
        (["talk.mp4", "--step", "2"], "window of 1.0 s and step of 2.0 s"),
        (["talk.mp4", "--window", "nan"], "window of nan s"),
    ],
)
def test_mistakes_are_one_line(predict, files, tmp_path, astronaut, words, found):
    cv2.imwrite(str(files / "face.png"), astronaut)
    (files / "words.wav").write_text("words")
    status, _, errors, rows = predict(files / words[0], *words[1:])
    (files / "face.png").unlink()
    (files / "words.wav").unlink()
    assert (status, rows) == (2, [])
    assert len(errors) == 1
    assert found in errors[0]


def test_a_network_for_pictures_takes_no_window(artifact_folder, files, capfd):
    words = ["predict", str(files / "talk.mp4"), "--model", str(artifact_folder)]
    assert main([*words, "--window", "1"]) == 2
    assert "--window" in capfd.readouterr().err


def test_a_clip_may_be_uncertain(files, tmp_path, capfd):
    model = tiny_clip_model()
    for below, found in ((0.0, {"0"}), (1.0, {"1"})):
        thresholds = {"action_units": [0.5] * 15, "uncertain_below": below}
        folder = write_clip_artifact(tmp_path / str(below), model, thresholds=thresholds)
        words = [str(files / f"{name}.mp4") for name in ("mute", "wall")]
        out = tmp_path / f"out{below}"
        assert main(["predict", *words, "--model", str(folder), "--out", str(out)]) == 0
        # Of faces, and of what the sound alone says.
        assert {row["uncertain"] for row in read_table(out / "predictions.csv")} == found
    capfd.readouterr()


def test_a_neutral_face_is_subtracted_from_clips(predict, files):
    status, _, errors, rows = predict(
        *(files / "mute.mp4", files / "wall.mp4", files / "voice.wav"),
        *("--neutral", str(files / "mute.mp4"), "--window", "0.4", "--step", "0.1"),
    )
    assert (status, errors) == (0, [])
    mute = [row for row in rows if row["file"].endswith("mute.mp4")]
    values = np.array([[float(row["AU01_p"]), float(row["AU01_d"])] for row in mute])
    assert len({row["AU01_p"] for row in mute}) > 5
    np.testing.assert_allclose(values[:, 1], values[:, 0] - values[:, 0].mean(), atol=2e-4)
    # Nobody is in them to subtract from.
    assert {row["AU01_d"] for row in rows if row not in mute} == {""}
    assert all(row["AU01_p"] for row in rows)
    status, _, errors, rows = predict(
        *(files / "mute.mp4", "--neutral", "first:0.3s", "--window", "0.4", "--step", "0.1")
    )
    assert (status, errors, len(rows)) == (0, [], 15)
    values = np.array([[float(row["AU01_p"]), float(row["AU01_d"])] for row in rows])
    np.testing.assert_allclose(values[:, 1], values[:, 0] - values[:3, 0].mean(), atol=2e-4)


def test_a_camera_is_refused(predict, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", None)
    status, _, errors, rows = predict("0", "--seconds", "1")
    assert (status, rows, len(errors)) == (2, [], 1)
    assert "0: is a camera, and this network looks at clips: give a video" in errors[0]


def test_a_neutral_picture_is_refused(predict, files, tmp_path, astronaut):
    cv2.imwrite(str(tmp_path / "calm.png"), astronaut)
    status, _, errors, rows = predict(files / "mute.mp4", "--neutral", tmp_path / "calm.png")
    assert (status, rows, len(errors)) == (2, [], 1)
    assert "calm.png: is a picture, and this network looks at clips" in errors[0]


def test_faces_are_hidden_in_the_copy_of_a_clip(predict, files, tmp_path):
    sharpness = []
    for words in ([], ["--blur-faces"]):
        status, _, errors, rows = predict(files / "talk.mp4", *words)
        assert (status, errors, len(rows)) == (0, [], 15)
        frames = list(read_frames(tmp_path / "out" / "annotated" / "talk.mp4"))
        assert len(frames) == 15
        # Within the box that is drawn around the face; the bars need a copy of 448 lines.
        x, y, w, h = (int(rows[7][side]) * 448 // 256 for side in "xywh")
        part = to_gray(frames[7].picture)[y + h // 4 : y + h * 3 // 4, x + w // 4 : x + w * 3 // 4]
        sharpness.append(cv2.Laplacian(part, cv2.CV_32F).var())
    assert sharpness[1] < sharpness[0] / 10


def test_the_way_is_timed(folder, files, tmp_path, capfd):
    words = ["bench", str(folder), str(files / "talk.mp4"), "--detect-every", "1", "--draw"]
    assert main(words) == 0
    assert "5 faces in 5 frames" in capfd.readouterr().out
    with VideoWriter(tmp_path / "short.mp4", 20.0) as writer:
        for number in range(12):
            writer.write(np.zeros((64, 64, 3), np.uint8), number / 20)
    assert main(["bench", str(folder), str(tmp_path / "short.mp4")]) == 2
    assert "ends before the first window (1.0 s)" in capfd.readouterr().err
