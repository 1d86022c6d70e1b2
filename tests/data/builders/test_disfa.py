from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emojax.data.builders.disfa import Disfa
from emojax.data.examples import Example, ReadOptions, read_examples
from emojax.data.rows import Request, Row, Source
from emojax.data.synthetic.layouts import write_disfa
from emojax.errors import UserError
from emojax.labels import ACTION_UNITS, DISFA_ACTION_UNITS
from emojax.spec import InputSpec

NEVER_CODED = (7, 10, 16, 23)


def _read(source: Path, clips: bool = False) -> Source:
    return Disfa.read_source(source, Request(source / "work", clips=clips))


def _write_person(
    source: Path, person: str = "SN001", frames: int = 3, camera: str = "Video_LeftCamera"
) -> Path:
    """Write an empty video and label files of zeros; return the folder of the label files."""
    videos = source / camera
    videos.mkdir(parents=True, exist_ok=True)
    side = "Left" if "Left" in camera else "Right"
    (videos / f"{side}Video{person}_comp.avi").write_bytes(b"RIFF")
    folder = source / "ActionUnit_Labels" / person
    folder.mkdir(parents=True, exist_ok=True)
    for unit in DISFA_ACTION_UNITS:
        _write_course(folder, unit, [0] * frames)
    return folder


def _write_course(folder: Path, unit: int, grades: list[int], first: int = 1) -> None:
    lines = [f"{frame},{grade}\n" for frame, grade in enumerate(grades, first)]
    (folder / f"{folder.name}_au{unit}.txt").write_text("".join(lines))


def _unit(row: Row, unit: int) -> tuple[int, float]:
    place = ACTION_UNITS.index(unit)
    return row.action_units[place], row.intensities[place]


def test_each_labelled_frame_is_a_row(tmp_path: Path) -> None:
    folder = _write_person(tmp_path, frames=6)
    _write_course(folder, 12, [0, 1, 2, 3, 4, 5])
    source = _read(tmp_path)
    video = "Video_LeftCamera/LeftVideoSN001_comp.avi"
    # The owner counts from 1, rows from 0.
    assert [row.key for row in source.rows] == [f"{video}#frame={i}" for i in range(6)]
    assert [row.frame for row in source.rows] == list(range(6))
    assert {row.path for row in source.rows} == {tmp_path / video}
    assert {(row.subject, row.emotion, row.domain) for row in source.rows} == {("SN001", None, "")}
    assert [_unit(row, 12) for row in source.rows] == [
        (0, 0.0),
        (0, 0.2),
        (1, 0.4),
        (1, 0.6),
        (1, 0.8),
        (1, 1.0),
    ]
    for row in source.rows:
        assert all(_unit(row, unit) == (-1, -1.0) for unit in NEVER_CODED)
        assert all(_unit(row, unit) == (0, 0.0) for unit in (1, 2, 4, 5, 6, 9, 15, 17, 20, 26))
    assert source.left_out == ()


def test_au25_is_dropped_and_counted(tmp_path: Path) -> None:
    folder = _write_person(tmp_path)
    _write_course(folder, 25, [1, 2, 5])
    source = _read(tmp_path)
    assert source.facts == {"videos": 1, "action_units_dropped": {"25": 2}}
    assert source.notes == ("AU25 is none of the 15: dropped, present in 2 frames",)


def test_foreign_files_are_counted(tmp_path: Path) -> None:
    folder = _write_person(tmp_path)
    for name in ("Thumbs.db", "-SN001_au1.txt", "SN001_au1.txt.bak"):
        (folder / name).touch()
    source = _read(tmp_path)
    assert len(source.rows) == 3
    assert source.left_out == ()
    assert "3 files beside the label files are none: ignored" in source.notes


def test_a_frame_that_a_file_does_not_label_is_unknown_there(tmp_path: Path) -> None:
    folder = _write_person(tmp_path, frames=3)
    _write_course(folder, 4, [5, 5], first=2)
    _write_course(folder, 6, [3, 3, 3, 3])
    source = _read(tmp_path)
    assert [row.frame for row in source.rows] == [0, 1, 2, 3]
    assert [_unit(row, 4)[0] for row in source.rows] == [-1, 1, 1, -1]
    assert [_unit(row, 6)[0] for row in source.rows] == [1, 1, 1, 1]
    assert [_unit(row, 1)[0] for row in source.rows] == [0, 0, 0, -1]
    assert "SN001: 2 frames are not in all its label files: unknown there" in source.notes


def test_a_missing_file_leaves_its_unit_unknown(tmp_path: Path) -> None:
    folder = _write_person(tmp_path)
    (folder / "SN001_au9.txt").unlink()
    source = _read(tmp_path)
    assert [_unit(row, 9) for row in source.rows] == [(-1, -1.0)] * 3
    assert "SN001: no label file for AU9: unknown in all its frames" in source.notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,0\n2,6\n", "line 2 is '2,6', wanted a frame"),
        ("1,-1\n", "line 1 is '1,-1'"),
        ("0,1\n", "line 1 is '0,1'"),
        ("1;2\n", "line 1 is '1;2'"),
        ("1,2,3\n", "line 1 is '1,2,3'"),
        ("1,nan\n", "line 1 is '1,nan'"),
        ("1,0\n1,2\n", "line 2: frame 1 stands twice"),
        ("999999,2\n", "line 1 is '999999,2'"),
        ("99999999999,2\n", "line 1 is"),
        ("\n\n", "labels no frame"),
        ("", "is empty"),
        ("1,2" + " " * 2**22, "over 4194304 bytes"),
    ],
)
def test_a_broken_label_file_leaves_its_unit_unknown_and_is_listed(
    tmp_path: Path, text: str, said: str
) -> None:
    folder = _write_person(tmp_path)
    (folder / "SN001_au12.txt").write_text(text)
    source = _read(tmp_path)
    assert [_unit(row, 12)[0] for row in source.rows] == [-1, -1, -1]
    assert [_unit(row, 1)[0] for row in source.rows] == [0, 0, 0]
    (rejection,) = source.left_out
    assert rejection.reason == "bad label file"
    assert rejection.row.key == "ActionUnit_Labels/SN001/SN001_au12.txt"
    assert said in rejection.detail


def test_another_person_s_label_file_is_nobody_s(tmp_path: Path) -> None:
    folder = _write_person(tmp_path)
    (folder / "SN001_au12.txt").unlink()
    (folder / "SN002_au12.txt").write_text("1,5\n2,5\n3,5\n")
    source = _read(tmp_path)
    assert [_unit(row, 12)[0] for row in source.rows] == [-1, -1, -1]
    assert [_unit(row, 1)[0] for row in source.rows] == [0, 0, 0]
    (rejection,) = source.left_out
    assert (rejection.row.key, rejection.reason) == (
        "ActionUnit_Labels/SN001/SN002_au12.txt",
        "bad label file",
    )
    assert "SN002_au12.txt: is about SN002 and lies among the files of SN001" in rejection.detail


def test_of_two_label_files_of_a_unit_neither_is_believed(tmp_path: Path) -> None:
    folder = _write_person(tmp_path)
    (folder / "SN001_au01.txt").write_text("1,5\n2,5\n3,5\n")
    source = _read(tmp_path)
    assert [_unit(row, 1)[0] for row in source.rows] == [-1, -1, -1]
    assert [_unit(row, 12)[0] for row in source.rows] == [0, 0, 0]
    assert [(left.row.key, left.reason) for left in source.left_out] == [
        (f"ActionUnit_Labels/SN001/{name}", "bad label file")
        for name in ("SN001_au01.txt", "SN001_au1.txt")
    ]
    assert "holds SN001_au01.txt and SN001_au1.txt, a unit has one" in source.left_out[0].detail


@pytest.mark.parametrize("name", ["sn001_AU12.TXT", "SN001_au12.txt"])
def test_a_label_file_s_name_may_be_in_any_case(name: str, tmp_path: Path) -> None:
    folder = _write_person(tmp_path)
    (folder / "SN001_au12.txt").rename(folder / name)
    source = _read(tmp_path)
    assert [_unit(row, 12)[0] for row in source.rows] == [0, 0, 0]
    assert source.left_out == ()


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    folder = _write_person(tmp_path)
    (folder / "SN001_au12.txt").write_bytes(b"1,0\r\n2, 3\r\n3,0")
    assert [_unit(row, 12)[0] for row in _read(tmp_path).rows] == [0, 1, 0]


def test_a_video_without_labels_and_labels_without_a_video_are_listed(tmp_path: Path) -> None:
    _write_person(tmp_path, "SN001")
    for file in _write_person(tmp_path, "SN002").iterdir():
        file.unlink()
    _write_person(tmp_path, "SN004")
    (tmp_path / "Video_LeftCamera/LeftVideoSN004_comp.avi").unlink()
    source = _read(tmp_path)
    assert {row.subject for row in source.rows} == {"SN001"}
    assert [(left.row.subject, left.reason) for left in source.left_out] == [
        ("SN002", "no label"),
        ("SN004", "missing file"),
    ]
    assert source.left_out[1].row.key == "Video_LeftCamera/LeftVideoSN004_comp.avi"


def test_people_come_in_order_whatever_the_case_of_their_files(tmp_path: Path) -> None:
    for person in ("SN010", "SN002"):
        _write_person(tmp_path, person, frames=1)
    videos = tmp_path / "Video_LeftCamera"
    (videos / "LeftVideoSN010_comp.avi").rename(videos / "leftvideoSN010_Comp.AVI")
    source = _read(tmp_path)
    assert [row.subject for row in source.rows] == ["SN002", "SN010"]
    assert source.rows[1].key == "Video_LeftCamera/LeftVideoSN010_comp.avi#frame=0"


def test_the_owner_s_other_folder_name_and_the_right_camera(tmp_path: Path) -> None:
    _write_person(tmp_path, camera="Videos_LeftCamera")
    _write_person(tmp_path, camera="Video_RightCamera")
    source = _read(tmp_path)
    assert len(source.rows) == 3
    assert source.rows[0].key == "Video_LeftCamera/LeftVideoSN001_comp.avi#frame=0"
    assert source.notes[-1] == ("1 videos of the right camera are not read: the same moments again")


def test_links_that_lead_out_are_left_out(tmp_path: Path) -> None:
    home = tmp_path / "home"
    folder = _write_person(home)
    _write_person(home, "SN002")
    (tmp_path / "secret.txt").write_text("1,5\n")
    (tmp_path / "secret.avi").write_bytes(b"RIFF")
    (folder / "SN001_au1.txt").unlink()
    (folder / "SN001_au1.txt").symlink_to(tmp_path / "secret.txt")
    video = home / "Video_LeftCamera/LeftVideoSN002_comp.avi"
    video.unlink()
    video.symlink_to(tmp_path / "secret.avi")
    source = _read(home)
    assert {row.subject for row in source.rows} == {"SN001"}
    assert {_unit(row, 1)[0] for row in source.rows} == {-1}
    assert [left.reason for left in source.left_out] == ["bad label file", "outside the source"]


def test_what_is_not_laid_out_so_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Video_LeftCamera/ is there: give the folder"):
        _read(tmp_path)
    (tmp_path / "Video_LeftCamera").mkdir()
    with pytest.raises(UserError, match="no ActionUnit_Labels/ is there"):
        _read(tmp_path)
    (tmp_path / "ActionUnit_Labels").mkdir()
    with pytest.raises(UserError, match="nothing of DISFA is in it"):
        _read(tmp_path)
    _write_person(tmp_path)
    with pytest.raises(UserError, match="without --clips"):
        _read(tmp_path, clips=True)


def test_the_drawn_set_is_read_and_its_frames_are_found(tmp_path: Path) -> None:
    write_disfa(tmp_path, people=2, expressions=1, progress=False)
    source = _read(tmp_path)
    assert len(source.rows) == 80
    assert source.left_out == ()
    for unit in DISFA_ACTION_UNITS:
        if unit not in ACTION_UNITS:
            continue
        for person in ("SN001", "SN002"):
            path = tmp_path / "ActionUnit_Labels" / person / f"{person}_au{unit}.txt"
            grades = np.loadtxt(path, delimiter=",")[:, 1]
            rows = [row for row in source.rows if row.subject == person]
            np.testing.assert_allclose([_unit(row, unit)[1] for row in rows], grades / 5)
            assert [_unit(row, unit)[0] for row in rows] == (grades >= 2).astype(int).tolist()
    wanted = [source.rows[index] for index in (0, 13, 39)]
    examples = list(read_examples(wanted, InputSpec(), ReadOptions()))
    assert all(isinstance(example, Example) for example in examples)
    times = [example.timestamps[0] for example in examples if isinstance(example, Example)]
    np.testing.assert_allclose(times, [0.0, 13 / 20, 39 / 20], atol=1e-3)
