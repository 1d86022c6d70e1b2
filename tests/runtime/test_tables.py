from __future__ import annotations

import csv
import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_artifact import SPEC

from emojax.errors import UserError
from emojax.face import Detection
from emojax.runtime.predictor import FaceResult
from emojax.runtime.rows import Row, column_types, rows_of_frame
from emojax.runtime.sources import Frame
from emojax.runtime.tables import Form, Tables

COLUMNS = column_types(SPEC)
FORMS: tuple[Form, ...] = ("csv", "jsonl", "parquet")


def row_of(name: str = "a.mp4", number: int = 3, faces: int = 1) -> list[Row]:
    frame = Frame(Path(name), number, number / 3, np.zeros((90, 90, 3), np.uint8))
    units, emotions = np.full(15, 1 / 3, np.float32), np.linspace(0, 1, 7).astype(np.float32)
    face = FaceResult(Detection(1, 2, 30, 40, 5.25), units, emotions, SPEC.emotions)
    thresholds = np.full(15, 0.5, np.float32)
    return rows_of_frame(frame, [face] * faces, list(range(faces)), SPEC, thresholds)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_is_read_back_by_any_csv_reader(tmp_path):
    name = 'a "b", c\nd é.mp4'
    with Tables(tmp_path / "t", COLUMNS, ["csv"]) as table:
        table.write(row_of(name))
        table.write(row_of(name, 4, faces=0))
        assert table.num_rows == 2
    rows = read_csv(tmp_path / "t.csv")
    assert [row["file"] for row in rows] == [name, name]
    assert [row["success"] for row in rows] == ["1", "0"]
    assert all(None not in row and None not in row.values() for row in rows)
    assert rows[0]["timestamp"] == "1.000000"
    assert rows[0]["AU01_p"] == "0.3333"
    assert rows[1]["AU01_p"] == rows[1]["face_id"] == ""


def test_all_forms_say_the_same(tmp_path):
    import pandas as pd

    with Tables(tmp_path / "t", COLUMNS, FORMS) as table:
        for number in range(5000):
            table.write(row_of(number=number, faces=number % 3))
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    plain = pd.read_csv(tmp_path / "t.csv")
    packed = pd.read_parquet(tmp_path / "t.parquet")
    spoken = pd.DataFrame([json.loads(line) for line in lines])
    assert len(plain) == len(packed) == len(spoken) == table.num_rows
    assert list(plain) == list(packed) == list(spoken) == list(COLUMNS)
    for name, kind in COLUMNS.items():
        for other in (packed, spoken):
            assert (other[name].isna() == plain[name].isna()).all(), name
            there = ~plain[name].isna()
            if kind is float:
                np.testing.assert_allclose(
                    other[name][there].astype(float), plain[name][there], atol=5e-5
                )
            else:
                assert (other[name][there] == plain[name][there]).all(), name


def test_rows_are_in_the_files_before_the_run_ends(tmp_path):
    with Tables(tmp_path / "t", COLUMNS, ["csv", "jsonl"]) as table:
        table.write(row_of())
        assert len((tmp_path / "t.csv").read_text().splitlines()) == 2
        assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 1


def test_an_error_in_the_middle_leaves_readable_files(tmp_path):
    import pandas as pd

    def fail() -> None:
        with Tables(tmp_path / "t", COLUMNS, FORMS) as table:
            table.write(row_of())
            raise OSError("a camera that is gone")

    with pytest.raises(OSError, match="camera"):
        fail()
    assert len(read_csv(tmp_path / "t.csv")) == len(pd.read_parquet(tmp_path / "t.parquet")) == 1


def test_a_name_that_is_no_text_is_written_with_escapes(tmp_path):
    import pandas as pd

    with Tables(tmp_path / "t", COLUMNS, FORMS) as table:
        table.write(row_of("a\udcff.png"))
    assert "a\\udcff.png" in (tmp_path / "t.csv").read_text()
    assert pd.read_parquet(tmp_path / "t.parquet")["file"].tolist() == ["a\\udcff.png"]
    assert json.loads((tmp_path / "t.jsonl").read_text())["file"] == "a\udcff.png"


@pytest.mark.parametrize("name", ["a\rb.png", 'a",=1+1\n"b.png', "a;b c.png", "a,b\r\n.png"])
def test_no_name_of_a_file_splits_a_row(tmp_path, name):
    with Tables(tmp_path / "t", COLUMNS, ["csv"]) as table:
        table.write(row_of(name) + row_of("next.png"))
    assert [row["file"] for row in read_csv(tmp_path / "t.csv")] == [name, "next.png"]


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@SUM(A1).png", "\t=1.png"])
def test_no_name_of_a_file_is_a_formula(tmp_path, name):
    with Tables(tmp_path / "t", COLUMNS, ["csv", "jsonl"]) as table:
        table.write(row_of(name) + row_of(f"/in/{name}"))
    assert [row["file"] for row in read_csv(tmp_path / "t.csv")] == [f"./{name}", f"/in/{name}"]
    # Where nothing is computed the name is as it was.
    first, _ = (tmp_path / "t.jsonl").read_text().splitlines()
    assert json.loads(first)["file"] == name


def test_not_a_number_is_never_written(tmp_path):
    (row,) = row_of()
    with Tables(tmp_path / "t", COLUMNS, ["csv"]) as table, pytest.raises(AssertionError):
        table.write([row | {"AU01_p": float("nan")}])


def test_parquet_without_its_package_names_the_extra(tmp_path):
    code = f"""
import sys
sys.modules["pyarrow"] = None
from pathlib import Path
from emojax.errors import UserError
from emojax.runtime.tables import Tables
try:
    Tables(Path({str(tmp_path / "t")!r}), {{"a": int}}, ["csv", "parquet"])
except UserError as error:
    print(error)
"""
    (tmp_path / "t.csv").write_text("an earlier run's")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'emojax[table]'" in done.stdout
    assert (tmp_path / "t.csv").read_text() == "an earlier run's"


def test_a_table_that_can_not_be_opened_leaves_the_others_as_they_were(tmp_path):
    (tmp_path / "t.csv").write_text("an earlier run's")
    (tmp_path / "t.parquet").mkdir()
    with pytest.raises(IsADirectoryError, match=r"t\.parquet"):
        Tables(tmp_path / "t", COLUMNS, FORMS)
    assert (tmp_path / "t.csv").read_text() == "an earlier run's"
    assert not (tmp_path / "t.jsonl").exists()


def test_a_folder_with_a_protocols_look_is_a_folder(tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    Path("run:1").mkdir()
    with Tables(Path("run:1") / "t", COLUMNS, ["parquet"]) as table:
        table.write(row_of())
    assert len(pd.read_parquet(tmp_path / "run:1" / "t.parquet")) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("num_rows", [1, 5000])
def test_a_full_disk_under_a_parquet_table_is_told_once_and_named(tmp_path, capfd, num_rows):
    path = tmp_path / "t.parquet"
    path.symlink_to("/dev/full")

    def fill() -> None:
        with Tables(tmp_path / "t", COLUMNS, ["parquet"]) as table:
            for number in range(num_rows):
                table.write(row_of(number=number))

    with pytest.raises(OSError, match="No space left on device") as told:
        fill()
    assert told.value.filename == str(path)
    assert told.value.__context__ is None or isinstance(told.value.__context__, OSError)
    del told
    gc.collect()
    assert capfd.readouterr().err == ""


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises((OSError, UserError)):
        Tables(tmp_path / "none" / "t", COLUMNS, ["csv"])
