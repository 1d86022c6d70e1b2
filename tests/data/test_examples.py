from __future__ import annotations

import dataclasses
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from emojax.audio import PRESETS
from emojax.data import frames
from emojax.data.cells import Job, Reading, read_into_cell
from emojax.data.examples import Example, ReadOptions, read_example, read_examples
from emojax.data.rows import Rejection, Row
from emojax.data.synthetic.domains import make_scene, render
from emojax.data.synthetic.people import make_person
from emojax.face import Detection
from emojax.spec import InputSpec

SPEC = InputSpec()
CLIP = ReadOptions(max_frames=60)


class BrightFrames:
    """A detector that takes the whole frame as a face, unless the frame is black."""

    def __call__(self, gray: np.ndarray) -> list[Detection]:
        height, width = gray.shape
        return [Detection(0, 0, width, height, 1.0)] if gray.mean() > 16 else []


def _write_picture(path: Path, gray: np.ndarray) -> Row:
    cv2.imwrite(str(path), gray)
    return Row(key=path.name, path=path, subject="Ada")


def _write_clip(path: Path, levels: list[int], noise: int = 0) -> Row:
    """Write a clip at 25 frames per second whose frame i is gray of level i, without loss."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "gray"
        for index, level in enumerate(levels):
            picture = level + rng.integers(0, noise + 1, (64, 64))
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="gray")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Row(key=path.name, path=path, subject="Ada")


def _levels(example: Example) -> list[int]:
    return [round(float(face.mean())) for face in example.faces]


def test_a_ready_picture_gives_its_crop(tmp_path: Path) -> None:
    gray = np.full((98, 80), 100, np.uint8)
    gray[:49] = 200
    row = _write_picture(tmp_path / "a.png", gray)
    example = read_example(row, SPEC, ReadOptions(faces="ready"))
    assert isinstance(example, Example)
    np.testing.assert_array_equal(example.faces, gray[None])
    assert example.success.tolist() == [1]
    assert example.timestamps.tolist() == [0.0]


def test_the_largest_face_is_taken(tmp_path: Path) -> None:
    gray = np.zeros((100, 200), np.uint8)
    gray[:, 100:] = 255
    row = _write_picture(tmp_path / "a.png", gray)

    def detect(gray: np.ndarray) -> list[Detection]:
        return [Detection(10, 10, 30, 30, 9.0), Detection(110, 10, 60, 60, 1.0)]

    example = read_example(row, SPEC, ReadOptions(), detect)
    assert isinstance(example, Example)
    assert _levels(example) == [255]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.png", None, "missing file"),
        ("empty.png", b"", "unreadable file"),
        ("text.png", b"this is no picture", "unreadable file"),
        ("text.mp4", b"this is no video", "unreadable file"),
        ("x" * 300 + ".png", None, "unreadable file"),
        ("folder.png", "folder", "missing file"),
    ],
)
def test_a_bad_file_is_a_reason_not_an_error(
    tmp_path: Path, name: str, content: bytes | str | None, reason: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    result = read_example(Row(key=name, path=path, subject="Ada"), SPEC, ReadOptions())
    assert isinstance(result, Rejection)
    assert result.reason == reason
    assert name in result.detail


def test_a_picture_without_a_face_is_left_out(tmp_path: Path) -> None:
    row = _write_picture(tmp_path / "black.png", np.zeros((64, 64), np.uint8))
    result = read_example(row, SPEC, ReadOptions())
    assert isinstance(result, Rejection)
    assert result.reason == "no face"


def test_a_short_clip_keeps_every_frame_with_its_time(tmp_path: Path) -> None:
    levels = [40, 60, 80, 100, 120]
    example = read_example(_write_clip(tmp_path / "a.avi", levels), SPEC, CLIP, BrightFrames())
    assert isinstance(example, Example)
    assert _levels(example) == levels
    np.testing.assert_allclose(example.timestamps, np.arange(5) / 25, atol=1e-6)
    assert example.success.tolist() == [1] * 5


def test_a_gap_is_bridged_from_the_nearest_frame_and_flagged(tmp_path: Path) -> None:
    levels = [0, 60, 0, 0, 0, 120, 0]
    example = read_example(_write_clip(tmp_path / "a.avi", levels), SPEC, CLIP, BrightFrames())
    assert isinstance(example, Example)
    assert example.success.tolist() == [0, 1, 0, 0, 0, 1, 0]
    # Frame 3 is as far from either: the earlier one stands in.
    assert _levels(example) == [60, 60, 60, 60, 120, 120, 120]


def test_a_clip_without_any_face_is_left_out(tmp_path: Path) -> None:
    result = read_example(_write_clip(tmp_path / "a.avi", [0] * 5), SPEC, CLIP, BrightFrames())
    assert isinstance(result, Rejection)
    assert result.reason == "no face"


@pytest.mark.parametrize("held_bytes", [2**30, 64 * 64 * 10])
def test_a_long_clip_keeps_equally_spaced_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_bytes: int
) -> None:
    # With little memory the clip is decoded twice; the result is the same.
    monkeypatch.setattr(frames, "_HELD_BYTES", held_bytes)
    levels = [20 + index for index in range(101)]
    options = ReadOptions(max_frames=5)
    example = read_example(_write_clip(tmp_path / "a.avi", levels), SPEC, options, BrightFrames())
    assert isinstance(example, Example)
    assert _levels(example) == [20, 45, 70, 95, 120]
    np.testing.assert_allclose(example.timestamps, [0, 1, 2, 3, 4], atol=1e-6)


def test_only_the_asked_part_of_a_clip_counts(tmp_path: Path) -> None:
    row = _write_clip(tmp_path / "a.avi", [20 + index for index in range(50)])
    part = dataclasses.replace(row, start_s=0.4, end_s=0.6)
    example = read_example(part, SPEC, CLIP, BrightFrames())
    assert isinstance(example, Example)
    assert _levels(example) == [30, 31, 32, 33, 34, 35]
    after = read_example(dataclasses.replace(row, start_s=9.0), SPEC, CLIP, BrightFrames())
    assert isinstance(after, Rejection)
    assert "no frame in the part" in after.detail


def test_a_truncated_clip_is_left_out(tmp_path: Path) -> None:
    row = _write_clip(tmp_path / "a.avi", [100] * 50, noise=50)
    path = tmp_path / "a.avi"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    result = read_example(row, SPEC, CLIP, BrightFrames())
    assert isinstance(result, Rejection)
    assert result.reason == "broken clip"


@pytest.mark.parametrize(
    ("emotion", "kept"),
    [("ANG", 60), ("DIS", 60), ("FEA", 60), ("HAP", 56), ("NEU", 60), ("SAD", 60)],
)
def test_real_crema_d_clips_keep_their_frames(shared_data: Path, emotion: str, kept: int) -> None:
    name = f"1001_DFA_{emotion}_XX.flv"
    row = Row(key=name, path=shared_data / "crema_d" / "VideoFlash" / name, subject="1001")
    example = read_example(row, SPEC, CLIP)
    assert isinstance(example, Example)
    assert example.faces.shape == (kept, 98, 80)
    assert example.success.all()
    assert (np.diff(example.timestamps) > 0).all()


def test_frames_of_one_video_are_read_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = _write_clip(tmp_path / "a.avi", [20 + index for index in range(50)])
    opened: list[object] = []
    read_frames = frames.video.read_frames

    def counted(path: Path) -> Iterator[object]:
        opened.append(path)
        return read_frames(path)

    monkeypatch.setattr(frames.video, "read_frames", counted)
    rows = [dataclasses.replace(clip, key=f"a#{i}", frame=i) for i in (30, 7, 49)]
    results = list(read_examples(rows, SPEC, CLIP, BrightFrames()))
    assert [result.row.key for result in results] == ["a#30", "a#7", "a#49"]
    kept = [result for result in results if isinstance(result, Example)]
    assert [_levels(example) for example in kept] == [[50], [27], [69]]
    np.testing.assert_allclose([example.timestamps[0] for example in kept], [1.2, 0.28, 1.96])
    assert len(opened) == 1


def test_each_frame_of_a_long_video_is_a_sign_of_life(tmp_path: Path) -> None:
    clip = _write_clip(tmp_path / "a.avi", [50] * 30)
    # The last frame alone counts: those before it have to be decoded all the same.
    frame = dataclasses.replace(clip, key="a.avi#frame=29", frame=29)
    later = dataclasses.replace(clip, key="a.avi#1.0-", start_s=1.0)
    reading = Reading(tmp_path / "cells", SPEC, ReadOptions(max_frames=2, faces="ready"))
    for number, row in enumerate((clip, frame, later)):
        told: list[int] = []
        read_into_cell(reading, Job(str(number), (row,)), tell=told.append)
        assert len(told) >= 30
        assert set(told) == {0}


def test_frames_before_a_videos_end_are_kept(tmp_path: Path) -> None:
    clip = _write_clip(tmp_path / "a.avi", [100] * 10)
    rows = [dataclasses.replace(clip, key=f"a#{i}", frame=i) for i in (3, 20)]
    kept, lost = read_examples(rows, SPEC, CLIP, BrightFrames())
    assert isinstance(kept, Example)
    assert isinstance(lost, Rejection)
    assert "ends after 10 frames, frame 20 is asked for" in lost.detail


@pytest.mark.parametrize(("view", "level"), [("left", 40), ("right", 200)])
def test_a_view_is_one_half_of_the_frame(tmp_path: Path, view: Any, level: int) -> None:
    gray = np.full((64, 128), 40, np.uint8)
    gray[:, 64:] = 200
    row = dataclasses.replace(_write_picture(tmp_path / "a.png", gray), view=view)
    example = read_example(row, SPEC, ReadOptions(), BrightFrames())
    assert isinstance(example, Example)
    assert _levels(example) == [level]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_face_on_its_side_is_turned_upright(tmp_path: Path, turns: int) -> None:
    person = make_person(0, 1)
    rng = np.random.default_rng(0)
    picture = render(person, [0.0] * 15, make_scene(rng, "S1"), rng)
    upright = _write_picture(tmp_path / "a.png", picture)
    lying = _write_picture(tmp_path / "b.png", np.ascontiguousarray(np.rot90(picture, turns)))
    wanted = read_example(upright, SPEC, ReadOptions())
    found = read_example(dataclasses.replace(lying, any_way_up=True), SPEC, ReadOptions())
    assert isinstance(wanted, Example)
    assert isinstance(found, Example)
    np.testing.assert_array_equal(found.faces, wanted.faces)


LISTENING = InputSpec(sound=PRESETS["log_mel"])


def _write_sound(path: Path) -> Path:
    samples = (8000 * np.sin(np.arange(16000) / 5)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 16000, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


def test_a_sound_alone_is_an_example_without_faces(tmp_path: Path) -> None:
    row = Row(key="a.wav", path=None, subject="Ada", audio_path=_write_sound(tmp_path / "a.wav"))
    example = read_example(row, LISTENING, CLIP)
    assert isinstance(example, Example)
    assert example.faces.shape == (0, 98, 80)
    assert len(example.timestamps) == len(example.success) == 0
    assert example.sound is not None
    assert example.sound.has_sound
    assert example.sound.spectrogram.max() == 255
    without = read_example(row, SPEC, CLIP)
    assert isinstance(without, Rejection)
    assert "--sound=log_mel keeps it" in without.detail


def test_a_faceless_clip_is_kept_for_its_sound(tmp_path: Path) -> None:
    clip = _write_clip(tmp_path / "a.avi", [0] * 5)
    row = dataclasses.replace(clip, audio_path=_write_sound(tmp_path / "a.wav"))
    example = read_example(row, LISTENING, CLIP, BrightFrames())
    assert isinstance(example, Example)
    assert len(example.faces) == 0
    assert isinstance(read_example(clip, LISTENING, CLIP, BrightFrames()), Rejection)


def test_a_sound_that_was_cut_off_is_not_kept_as_a_whole_one(tmp_path: Path) -> None:
    sound, clip = _write_sound(tmp_path / "a.wav"), _write_clip(tmp_path / "a.avi", [50] * 5)
    sound.write_bytes(sound.read_bytes()[:6000])
    alone = Row(key="a.wav", path=None, subject="Ada", audio_path=sound)
    lost = read_example(alone, LISTENING, CLIP)
    assert isinstance(lost, Rejection)
    assert lost.reason == "broken clip"
    assert "a.wav: its header names 1.00 s of sound, 0.1" in lost.detail
    # A face remains a face; the report lists it as unheard.
    seen = read_example(
        dataclasses.replace(clip, audio_path=sound), LISTENING, CLIP, BrightFrames()
    )
    assert isinstance(seen, Example)
    assert seen.sound is not None
    assert (seen.sound.has_sound, seen.sound.problem) == (False, lost.detail)
    # What counts may lie before the end.
    early = read_example(dataclasses.replace(alone, end_s=0.1), LISTENING, CLIP)
    assert isinstance(early, Example)


def test_no_sound_where_there_is_only_sound_is_a_reason(tmp_path: Path) -> None:
    row = Row(key="a.wav", path=None, subject="Ada", audio_path=tmp_path / "a.wav")
    result = read_example(row, LISTENING, CLIP)
    assert isinstance(result, Rejection)
    assert result.reason == "no sound"
    assert "a.wav" in result.detail
