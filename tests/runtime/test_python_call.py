from __future__ import annotations

import copy
import csv
import warnings

import cv2
import numpy as np
import pytest
from tiny_artifact import write_artifact

import emojax
from emojax.errors import MissingExtraError, UserError
from emojax.runtime.process import Tally, process_source
from emojax.runtime.records import Record
from emojax.runtime.rows import column_types
from emojax.runtime.sources import Source
from emojax.runtime.tables import Tables
from emojax.runtime.video_writer import VideoWriter


@pytest.fixture(scope="module")
def model_of_one(artifact_folder):
    return emojax.load(artifact_folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, astronaut):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, 10.0) as writer:
        for number in range(6):
            writer.write(astronaut if number != 3 else np.zeros_like(astronaut), number / 10)
    return path


def write_png(path, picture):
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return path


def test_a_picture_s_record_is_the_table_s_row(model_of_one, tmp_path, astronaut):
    path = write_png(tmp_path / "face.png", astronaut)
    (record,) = model_of_one.predict(path)
    with Tables(tmp_path / "t", column_types(model_of_one.spec), ["csv"]) as table:
        process_source(Source(path, "picture"), model_of_one, table, Tally(), None)
    with (tmp_path / "t.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert list(record) == list(row) == list(column_types(model_of_one.spec))
    assert str(record.x) == row["x"]
    assert f"{record.AU12_p:.4f}" == row["AU12_p"]
    assert record["emotion"] == record.emotion == row["emotion"]
    assert record.file == str(path)


def test_an_array_is_red_green_blue(model_of_one, tmp_path, astronaut):
    (from_file,) = model_of_one.predict(write_png(tmp_path / "face.png", astronaut))
    rgb = astronaut[:, :, ::-1]
    (from_array,) = model_of_one.predict(rgb)
    assert dict(from_array) == {**from_file, "file": "array-0"}
    (swapped,) = model_of_one.predict(astronaut)
    assert swapped.brightness != from_array.brightness
    alpha = np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)])
    assert model_of_one.predict(alpha)[0] == from_array
    gray = cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY)
    (from_gray,) = model_of_one.predict(gray)
    assert from_gray.AU12_p == pytest.approx(from_array.AU12_p, abs=1e-3)


def test_a_list_and_a_video_keep_their_order(model_of_one, clip, astronaut):
    records = model_of_one.predict([astronaut[:, :, ::-1], str(clip), np.zeros((50, 60), np.uint8)])
    assert [record.file for record in records] == ["array-0", *[str(clip)] * 6, "array-1"]
    assert [record.frame for record in records] == [0, *range(6), 0]
    assert [record.success for record in records] == [1, 1, 1, 1, 0, 1, 1, 0]
    assert records[4].emotion is None
    assert records[4].timestamp == pytest.approx(0.3)
    assert len(records[1:3]) == 2
    assert repr(records) == "<8 records, 6 of them faces>"
    assert [record.frame for record in model_of_one.predict(clip, every=4)] == [0, 4]
    assert len(model_of_one.predict([])) == 0


def test_records_turn_into_a_pandas_frame(model_of_one, clip):
    records = model_of_one.predict(clip)
    frame = records.to_pandas()
    assert list(frame.columns) == list(column_types(model_of_one.spec))
    assert len(frame) == 6
    assert str(frame.dtypes["face_id"]) == "Int64"
    assert frame.face_id.isna().tolist() == [False] * 3 + [True] + [False] * 2
    assert frame.AU01_p[0] == records[0].AU01_p
    empty = records[:0].to_pandas()
    assert list(empty.columns) == list(frame.columns)
    dicts = records.to_dicts()
    dicts[0]["emotion"] = "changed"
    assert records[0].emotion != "changed"


def test_without_pandas_one_line_says_what_to_install(model_of_one, clip, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"to_pandas.. needs the extra `table`: run  pip"):
        model_of_one.predict(clip).to_pandas()


def test_records_are_fixed_and_can_be_copied():
    record = Record({"emotion": "fear", "AU01_p": 0.5})
    with pytest.raises(AttributeError):
        record.emotion = "anger"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError, match="'AU99_p' is no column"):
        _ = record.AU99_p
    assert copy.copy(record) == record == copy.deepcopy(record)
    assert "emotion" in dir(record)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (np.zeros((4, 4, 3), np.float32), r"array-0: an array of float32 .4, 4, 3.*\* 255"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((2, 4, 4, 3), np.uint8), "make a list"),
        (np.zeros((4, 4, 2), np.uint8), r"wanted uint8 .height, width, 3. in red, green, blue"),
        (np.zeros((0, 4, 3), np.uint8), "holds no pixel"),
        (np.zeros(4, np.uint8), "wanted uint8"),
        (["none.png"], "none.png: no such file"),
    ],
)
def test_what_is_no_picture_is_one_line(model_of_one, given, found):
    with pytest.raises(UserError, match=found) as caught:
        model_of_one.predict(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", [{"every": 0}, {"detect_every": 0}, {"smooth_s": float("nan")}])
def test_settings_out_of_range_are_refused(model_of_one, clip, setting):
    with pytest.raises(UserError, match=f"{next(iter(setting))}="):
        model_of_one.predict(clip, **setting)


def test_a_video_that_breaks_is_a_warning_and_keeps_its_records(model_of_one, clip, tmp_path):
    import av

    # A container that can be read up to a cut.
    whole = tmp_path / "whole.mkv"
    with av.open(str(clip)) as source, av.open(str(whole), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) * 7 // 10])
    with pytest.warns(RuntimeWarning, match=r"cut\.mkv: broke at frame"):
        records = model_of_one.predict(cut)
    assert 1 <= len(records) < 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model_of_one.predict(clip)


def test_uncertain_is_told(tmp_path, model, astronaut):
    half = {"action_units": [0.5] * 15}
    for below, uncertain in ((1.0, 1), (0.0, 0), (None, None)):
        folder = write_artifact(
            tmp_path / "a", model, thresholds={**half, "uncertain_below": below}
        )
        (record,) = emojax.load(folder).predict(astronaut[:, :, ::-1])
        assert record.uncertain == uncertain


def test_importing_emojax_costs_nothing_until_it_is_asked(run_python, artifact_folder):
    done = run_python(
        "-c",
        "import sys, emojax\n"
        "heavy = {'numpy', 'cv2', 'ai_edge_litert', 'av', 'pandas', 'jax', 'tyro'}\n"
        "print(sorted(heavy & set(sys.modules)), 'load' in dir(emojax), emojax.__version__)\n"
        f"predictor = emojax.load({str(artifact_folder)!r})\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "try:\n    emojax.nothing\nexcept AttributeError as error:\n    print(error)\n"
        # Without the tests' type checker, as a user has it.
        "for given in 7, [[1]]:\n"
        "    try:\n        predictor.predict(given)\n    except ValueError as error:\n"
        "        print(error)",
    )
    first, second, third, *mistakes = done.stdout.splitlines()
    assert first == f"[] True {emojax.__version__}", done.stderr
    assert second == "['ai_edge_litert', 'cv2', 'numpy']"
    assert third == "module 'emojax' has no attribute 'nothing'"
    wanted = "wanted a path, a picture as a NumPy array, or a list of these"
    assert mistakes == [f"int: {wanted}", f"list: {wanted}"]
