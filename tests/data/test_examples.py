from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from emojax.data import examples
from emojax.data.examples import (
    Example,
    ReadOptions,
    equally_spaced,
    features,
    read_example,
    to_features,
)
from emojax.data.rows import Rejection, Row
from emojax.face import Detection
from emojax.labels import AU_COLUMNS
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
    monkeypatch.setattr(examples, "_HELD_BYTES", held_bytes)
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
    content = row.path.read_bytes()
    row.path.write_bytes(content[: len(content) // 2])
    result = read_example(row, SPEC, CLIP, BrightFrames())
    assert isinstance(result, Rejection)
    assert result.reason == "broken clip"


@pytest.mark.parametrize(("count", "wanted"), [(1, 60), (59, 60), (60, 60), (61, 60), (1000, 60)])
def test_equally_spaced_frames_are_distinct_and_span_the_clip(count: int, wanted: int) -> None:
    kept = equally_spaced(count, wanted)
    assert len(kept) == min(count, wanted) == len(set(kept.tolist()))
    assert kept[0] == 0
    assert kept[-1] == count - 1
    gaps = np.diff(kept)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_one_frame_of_a_clip_is_its_middle() -> None:
    assert equally_spaced(101, 1).tolist() == [50]


def test_features_follow_the_spec_and_are_padded() -> None:
    spec = InputSpec(action_units=("AU12", "AU01"), emotions=("fear", "neutral"))
    values = {"AU01": (1, 0.25, 0.5), "AU12": (0, 0.0, 0.75)}
    row = Row(
        key="a.png",
        path=Path("a.png"),
        subject="Ada",
        emotion="neutral",
        emotion_confidence=0.5,
        action_units=tuple(values.get(name, (-1, 0.0, 1.0))[0] for name in AU_COLUMNS),
        intensities=tuple(values.get(name, (-1, -1.0, 1.0))[1] for name in AU_COLUMNS),
        action_unit_confidence=tuple(values.get(name, (-1, 0.0, 1.0))[2] for name in AU_COLUMNS),
        domain="S1",
    )
    faces = np.full((2, 98, 80), 7, np.uint8)
    example = Example(row, faces, np.array([0, 0.04], np.float32), np.array([1, 0], np.uint8))
    record = to_features(example, spec, max_frames=3)
    np.testing.assert_array_equal(record["faces"][:, 0, 0], [7, 7, 0])
    assert record["num_frames"] == 2
    np.testing.assert_allclose(record["timestamps"], [0, 0.04, 0])
    assert record["success"].tolist() == [1, 0, 0]
    assert record["emotion"] == 1
    assert record["emotion_confidence"] == 0.5
    assert record["action_units"].tolist() == [0, 1]
    assert record["intensities"].tolist() == [0.0, 0.25]
    assert record["action_unit_confidence"].tolist() == [0.75, 0.5]
    assert (record["subject"], record["domain"], record["path"]) == ("Ada", "S1", "a.png")
    assert set(record) == set(features(spec, 3))


def test_an_emotion_outside_the_spec_is_unknown() -> None:
    row = Row(key="a.png", path=Path("a.png"), subject="Ada", emotion="contempt")
    still = np.zeros((1, 98, 80), np.uint8)
    example = Example(row, still, np.zeros(1, np.float32), np.ones(1, np.uint8))
    assert to_features(example, SPEC, 1)["emotion"] == -1


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
