from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_artifact import SPEC

from emojax.face import Detection
from emojax.runtime.predictor import FaceResult
from emojax.runtime.rows import column_types, rows_of_frame
from emojax.runtime.sources import Frame

THRESHOLDS = np.full(15, 0.5, np.float32)


def make_frame(path: str = "a.mp4", number: int = 3) -> Frame:
    return Frame(Path(path), number, number / 30, np.zeros((9, 9, 3), np.uint8))


def make_face(x: int = 1) -> FaceResult:
    units = np.linspace(0, 1, 15).astype(np.float32)
    emotions = np.array([0.1, 0.2, 0.9, 0.3, 0.0, 1.0, 0.4], np.float32)
    detection = Detection(x, 2, 30, 40, 5.25)
    return FaceResult(detection, units, emotions, SPEC.emotions, blur=12.5, brightness=99.0)


def test_columns_are_the_documented_ones():
    names = list(column_types(SPEC))
    assert names[:10] == (
        "file frame face_id timestamp confidence success x y w h".split()  # noqa: SIM905
    )
    assert names[10] == "AU01_c"
    assert names[24] == "AU26_c"
    assert names[25] == "AU01_p"
    assert names[39] == "AU26_p"
    assert names[40:42] == ["emotion", "uncertain"]
    assert names[42:49] == [f"emotion_{name}_p" for name in SPEC.emotions]
    assert names[49:] == ["face_size", "blur", "brightness"]
    assert len(set(names)) == len(names) == 52


def test_a_face_is_a_row():
    (row,) = rows_of_frame(make_frame(), [make_face()], [7], SPEC, THRESHOLDS, 0.5)
    assert list(row) == list(column_types(SPEC))
    assert row["file"] == "a.mp4"
    assert row["frame"] == 3
    assert row["face_id"] == 7
    assert row["timestamp"] == 0.1
    assert row["confidence"] == 5.25
    assert row["success"] == 1
    assert [row[side] for side in "xywh"] == [1, 2, 30, 40]
    assert row["AU01_p"] == 0.0
    assert row["AU26_p"] == 1.0
    # 0.5 stands in the middle of the 15: a threshold counts as reached.
    assert [row[f"{name}_c"] for name in SPEC.action_units] == [0] * 7 + [1] * 8
    assert row["emotion"] == "disgust"
    assert row["emotion_sadness_p"] == pytest.approx(0.9)
    # The frame has 9 rows of pixels, the box 40: it reaches out of the picture.
    assert row["face_size"] == pytest.approx(40 / 9)
    assert (row["blur"], row["brightness"]) == (12.5, 99.0)
    for name, value in row.items():
        assert type(value) is column_types(SPEC)[name], name


def test_each_unit_has_its_own_threshold():
    thresholds = np.linspace(0.01, 1.01, 15).astype(np.float32)
    (row,) = rows_of_frame(make_frame(), [make_face()], [0], SPEC, thresholds)
    assert {row[f"{name}_c"] for name in SPEC.action_units} == {0}


@pytest.mark.parametrize(("below", "uncertain"), [(0.9, 0), (1.0, 0), (1.01, 1), (None, None)])
def test_a_face_is_uncertain_below_the_spec_s_threshold(below, uncertain):
    # The highest emotion has 1.0.
    (row,) = rows_of_frame(make_frame(), [make_face()], [0], SPEC, THRESHOLDS, below)
    assert row["uncertain"] == uncertain


def test_a_frame_without_a_face_is_a_row_that_says_so():
    (row,) = rows_of_frame(make_frame(), [], [], SPEC, THRESHOLDS)
    assert list(row) == list(column_types(SPEC))
    filled = {name: value for name, value in row.items() if value is not None}
    assert filled == {"file": "a.mp4", "frame": 3, "timestamp": 0.1, "success": 0}


def test_several_faces_are_several_rows():
    rows = rows_of_frame(make_frame(), [make_face(1), make_face(50)], [1, 0], SPEC, THRESHOLDS)
    assert [row["face_id"] for row in rows] == [1, 0]
    assert [row["x"] for row in rows] == [1, 50]
