from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from tiny_artifact import SPEC

from emojax.face import Detection
from emojax.runtime.predictor import FaceResult
from emojax.runtime.rows import RowWriter, column_names, rows_of_frame
from emojax.runtime.sources import Frame

THRESHOLDS = np.full(15, 0.5, np.float32)


def make_frame(path: str = "a.mp4", number: int = 3) -> Frame:
    return Frame(Path(path), number, number / 30, np.zeros((9, 9, 3), np.uint8))


def make_face(x: int = 1) -> FaceResult:
    units = np.linspace(0, 1, 15).astype(np.float32)
    emotions = np.array([0.1, 0.2, 0.9, 0.3, 0.0, 1.0, 0.4], np.float32)
    return FaceResult(Detection(x, 2, 30, 40, 5.25), units, emotions, SPEC.emotions)


def test_columns_are_the_documented_ones():
    names = column_names(SPEC)
    assert names[:10] == (
        "file frame face_id timestamp confidence success x y w h".split()  # noqa: SIM905
    )
    assert names[10] == "AU01_c"
    assert names[24] == "AU26_c"
    assert names[25] == "AU01_p"
    assert names[39] == "AU26_p"
    assert names[40:] == [
        "emotion",
        *(f"emotion_{name}_p" for name in SPEC.emotions),
    ]
    assert len(set(names)) == len(names) == 48


def test_a_face_is_a_row():
    (row,) = rows_of_frame(make_frame(), [make_face()], [7], SPEC, THRESHOLDS)
    cells = dict(zip(column_names(SPEC), row, strict=True))
    assert cells["file"] == "a.mp4"
    assert cells["frame"] == "3"
    assert cells["face_id"] == "7"
    assert cells["timestamp"] == "0.100000"
    assert cells["confidence"] == "5.2500"
    assert cells["success"] == "1"
    assert [cells[side] for side in "xywh"] == ["1", "2", "30", "40"]
    assert cells["AU01_p"] == "0.0000"
    assert cells["AU26_p"] == "1.0000"
    # 0.5 stands in the middle of the 15: a threshold counts as reached.
    assert [cells[f"{name}_c"] for name in SPEC.action_units] == ["0"] * 7 + ["1"] * 8
    assert cells["emotion"] == "disgust"
    assert cells["emotion_sadness_p"] == "0.9000"


def test_each_unit_has_its_own_threshold():
    thresholds = np.linspace(0.01, 1.01, 15).astype(np.float32)
    (row,) = rows_of_frame(make_frame(), [make_face()], [0], SPEC, thresholds)
    cells = dict(zip(column_names(SPEC), row, strict=True))
    assert {cells[f"{name}_c"] for name in SPEC.action_units} == {"0"}


def test_a_frame_without_a_face_is_a_row_that_says_so():
    (row,) = rows_of_frame(make_frame(), [], [], SPEC, THRESHOLDS)
    cells = dict(zip(column_names(SPEC), row, strict=True))
    filled = {name: value for name, value in cells.items() if value}
    assert filled == {"file": "a.mp4", "frame": "3", "timestamp": "0.100000", "success": "0"}


def test_several_faces_are_several_rows():
    rows = rows_of_frame(make_frame(), [make_face(1), make_face(50)], [1, 0], SPEC, THRESHOLDS)
    assert [row[2] for row in rows] == ["1", "0"]
    assert [row[6] for row in rows] == ["1", "50"]


def test_what_is_no_number_never_reaches_the_table():
    face = make_face()
    face.emotions[0] = np.nan
    with pytest.raises(AssertionError):
        rows_of_frame(make_frame(), [face], [0], SPEC, THRESHOLDS)


def test_the_table_is_read_back_by_any_csv_reader(tmp_path):
    name = 'a "b", c\nd é.mp4'
    with RowWriter(tmp_path / "t.csv", SPEC) as table:
        table.write(rows_of_frame(make_frame(name), [make_face()], [0], SPEC, THRESHOLDS))
        table.write(rows_of_frame(make_frame(name, 4), [], [], SPEC, THRESHOLDS))
        assert table.num_rows == 2
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [name, name]
    assert [row["success"] for row in rows] == ["1", "0"]
    assert all(None not in row and None not in row.values() for row in rows)


def test_rows_are_in_the_file_before_the_run_ends(tmp_path):
    path = tmp_path / "t.csv"
    with RowWriter(path, SPEC) as table:
        table.write(rows_of_frame(make_frame(), [], [], SPEC, THRESHOLDS))
        assert len(path.read_text().splitlines()) == 2


def test_a_name_that_is_no_text_is_written_with_escapes(tmp_path):
    with RowWriter(tmp_path / "t.csv", SPEC) as table:
        table.write(rows_of_frame(make_frame("a\udcff.png"), [], [], SPEC, THRESHOLDS))
    assert "a\\udcff.png" in (tmp_path / "t.csv").read_text()
