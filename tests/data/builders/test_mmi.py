from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.data.builders.mmi import Mmi
from emojax.data.examples import Example, ReadOptions, read_example, read_examples
from emojax.data.rows import Request, Row, Source
from emojax.data.synthetic.domains import make_scene, render
from emojax.data.synthetic.files import write_avi
from emojax.data.synthetic.layouts import write_mmi
from emojax.data.synthetic.people import make_person
from emojax.errors import UserError
from emojax.labels import ACTION_UNITS
from emojax.spec import InputSpec

ALL_ABSENT = dict.fromkeys(ACTION_UNITS, 0)
ALL_UNKNOWN = dict.fromkeys(ACTION_UNITS, -1)
SMILE = {12: (1, 11, 21, 41, 51)}
"""Frames, the owner's way, at which neutral, onset, apex, offset and neutral begin."""


def _read(source: Path, clips: bool = False) -> Source:
    return Mmi.read_source(source, Request(source / "work", clips=clips))


def _write_session(
    source: Path,
    number: int = 1,
    stem: str = "S001-001",
    emotion: str | None = None,
    units: dict[int, tuple[int, ...]] | None = None,
    subject: int | None = 1,
    view: str = "0",
    suffix: str = ".avi",
) -> Path:
    """Write a session with an empty recording and return its folder."""
    folder = source / "Sessions" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}{suffix}").write_bytes(b"RIFF")
    if subject is not None:
        (folder / "session.xml").write_text(
            f'<session sessionId="{number}"><subject id="{subject}"/>'
            f'<track filename="{stem}{suffix}" type="Video" view="{view}"/></session>'
        )
    if emotion is not None:
        (folder / f"{stem}.xml").write_text(
            f'<Annotation><Metatag Name="Emotion" Value="{emotion}"/></Annotation>'
        )
    if units is not None:
        inside = "".join(
            f'<ActionUnit Number="{unit}">'
            + "".join(
                f'<Marker Type="{kind}" Frame="{frame}"/>'
                for kind, frame in zip((0, 1, 2, 3, 0), frames, strict=False)
            )
            + "</ActionUnit>"
            for unit, frames in units.items()
        )
        (folder / f"{stem}-oao_aucs.xml").write_text(f"<ActionUnits>{inside}</ActionUnits>")
    return folder


def _units(row: Row) -> dict[int, int]:
    return dict(zip(ACTION_UNITS, row.action_units, strict=True))


def test_a_clip_gives_its_neutral_frame_and_its_apex(tmp_path: Path) -> None:
    _write_session(tmp_path, emotion="4", units={**SMILE, 6: (1, 11, 26, 36), 25: (1, 11, 21, 41)})
    source = _read(tmp_path)
    clip = "Sessions/1/S001-001.avi"
    # 6, 12 and 25 are at their apex from frame 26 of the owner's, 25 of ours, to 34.
    assert [(row.frame, row.emotion) for row in source.rows] == [
        (0, "neutral"),
        (25, "happiness"),
        (29, "happiness"),
        (34, "happiness"),
    ]
    assert [row.key for row in source.rows] == [f"{clip}#frame={i}" for i in (0, 25, 29, 34)]
    assert {(row.path, row.subject) for row in source.rows} == {(tmp_path / clip, "S001")}
    assert all(row.any_way_up and row.view == "whole" and row.is_still for row in source.rows)
    neutral, *apex = source.rows
    assert _units(neutral) == ALL_ABSENT
    assert neutral.intensities == (0.0,) * 15
    for row in apex:
        assert _units(row) == {**ALL_ABSENT, 6: 1, 12: 1}
        known = dict(zip(ACTION_UNITS, row.intensities, strict=True))
        assert known == {**dict.fromkeys(ACTION_UNITS, 0.0), 6: -1.0, 12: -1.0}
    assert source.facts["action_units_dropped"] == {"25": 1}
    assert source.notes == (
        "action units outside the 15 are dropped (recordings that show it): AU25 in 1",
    )


@pytest.mark.parametrize("clips", [False, True])
def test_a_file_that_lost_its_units_is_no_neutral_face(clips: bool, tmp_path: Path) -> None:
    _write_session(tmp_path, 1, units=SMILE)
    _write_session(tmp_path, 2, stem="S002-002", emotion="4", units={}, subject=2)
    source = _read(tmp_path, clips)
    assert {row.subject for row in source.rows} == {"S001"}
    (rejection,) = source.left_out
    assert (rejection.row.subject, rejection.reason) == ("S002", "bad label file")
    assert "S002-002-oao_aucs.xml: lists no action unit" in rejection.detail


def test_foreign_files_are_counted(tmp_path: Path) -> None:
    folder = _write_session(tmp_path, units=SMILE)
    for name in ("Thumbs.db", "-S001-001-oao_aucs.xml", "S001-001.avi.txt", "S001-001.exe"):
        (folder / name).touch()
    (tmp_path / "Sessions" / "readme").mkdir()
    (tmp_path / "Sessions" / "readme" / "a.txt").touch()
    source = _read(tmp_path)
    assert len(source.rows) == 4
    assert source.left_out == ()
    assert source.notes == (
        "4 files in the sessions' folders are neither recordings nor labels: ignored",
    )


def test_a_unit_that_comes_or_goes_at_the_apex_of_others_is_unknown(tmp_path: Path) -> None:
    _write_session(
        tmp_path, units={**SMILE, 6: (1, 11, 21, 41), 4: (1, 15), 1: (1, 5, 8, 12, 61), 9: (1, 61)}
    )
    apex = _read(tmp_path).rows[1]
    assert apex.frame == 20
    assert _units(apex) == {**ALL_ABSENT, 12: 1, 6: 1, 4: -1, 1: -1}


def test_a_session_with_only_action_units_has_no_emotion(tmp_path: Path) -> None:
    _write_session(tmp_path, units=SMILE)
    rows = _read(tmp_path).rows
    assert [(row.frame, row.emotion) for row in rows] == [
        (0, "neutral"),
        (20, None),
        (29, None),
        (39, None),
    ]
    assert [_units(row)[12] for row in rows] == [0, 1, 1, 1]
    (clip,) = _read(tmp_path, clips=True).rows
    assert (clip.emotion, clip.frame) == (None, None)
    assert _units(clip) == {**ALL_ABSENT, 12: 1}


def test_a_session_with_only_an_emotion_is_kept_as_a_clip_or_left_out(tmp_path: Path) -> None:
    _write_session(tmp_path, emotion="6")
    _write_session(tmp_path, 2, units=SMILE)
    source = _read(tmp_path)
    assert {row.key.split("/")[1] for row in source.rows} == {"2"}
    (rejection,) = source.left_out
    assert (rejection.reason, rejection.row.key) == ("no label", "Sessions/1/S001-001.avi")
    assert "has only an emotion" in rejection.detail
    assert "--clips keeps it" in rejection.detail
    clip = _read(tmp_path, clips=True).rows[0]
    assert (clip.key, clip.emotion) == ("Sessions/1/S001-001.avi", "surprise")
    assert _units(clip) == ALL_UNKNOWN
    assert not clip.is_still


def test_a_session_without_labels_is_left_out_either_way(tmp_path: Path) -> None:
    _write_session(tmp_path)
    _write_session(tmp_path, 2, emotion="")
    for clips in (False, True):
        source = _read(tmp_path, clips)
        assert source.rows == ()
        assert [left.reason for left in source.left_out] == ["no label"] * 2


def test_a_clip_s_units_are_those_that_reach_their_apex(tmp_path: Path) -> None:
    _write_session(tmp_path, emotion="1", units={**SMILE, 4: (1, 11), 9: (1,), 17: ()})
    (clip,) = _read(tmp_path, clips=True).rows
    assert clip.emotion == "anger"
    assert _units(clip) == {**ALL_ABSENT, 12: 1, 4: -1, 17: -1}
    assert clip.any_way_up


def test_no_neutral_frame_where_something_moves_from_the_start(tmp_path: Path) -> None:
    _write_session(tmp_path, units={12: (1, 1, 5, 9), 45: (1, 8)})
    assert [row.frame for row in _read(tmp_path).rows] == [4, 5, 7]
    _write_session(tmp_path, 2, units={12: (1, 1)})
    (rejection,) = _read(tmp_path).left_out
    assert "no unit reaches its apex, and its first frame is not neutral" in rejection.detail


@pytest.mark.parametrize(
    ("code", "emotion"),
    [
        ("1", "anger"),
        ("2", "disgust"),
        ("3", "fear"),
        ("4", "happiness"),
        ("5", "sadness"),
        ("6", "surprise"),
        ("7", None),
        ("0", None),
    ],
)
def test_codes_outside_the_six_are_no_emotion(
    tmp_path: Path, code: str, emotion: str | None
) -> None:
    _write_session(tmp_path, emotion=code, units=SMILE)
    source = _read(tmp_path)
    assert [row.emotion for row in source.rows] == ["neutral"] + [emotion] * 3
    assert source.facts["emotions_outside_the_six"] == ({} if emotion else {code: 1})
    assert (f"{code} on 1" in str(source.notes)) == (emotion is None)


def test_a_picture_is_a_still_of_its_own(tmp_path: Path) -> None:
    _write_session(tmp_path, suffix=".jpg", emotion="4")
    _write_session(tmp_path, 2, suffix=".PNG", units={12: (), 6: (1, 2, 3), 4: (1, 2)})
    first, second = _read(tmp_path).rows
    assert (first.key, first.emotion, first.frame) == (
        "Sessions/1/S001-001.jpg",
        "happiness",
        None,
    )
    assert _units(first) == ALL_UNKNOWN
    assert second.emotion is None
    assert _units(second) == {**ALL_ABSENT, 12: 1, 6: 1, 4: -1}
    assert first.is_still
    assert second.is_still
    source = _read(tmp_path, clips=True)
    assert source.rows == ()
    assert [left.reason for left in source.left_out] == ["no clip"] * 2


def test_the_person_is_session_xml_s(tmp_path: Path) -> None:
    _write_session(tmp_path, 1, "S001-001", units=SMILE, subject=31)
    _write_session(tmp_path, 2, "S002-001", units=SMILE, subject=1)
    _write_session(tmp_path, 3, "S001-002", units=SMILE, subject=None)
    source = _read(tmp_path)
    assert {row.key.split("/")[1]: row.subject for row in source.rows} == {"1": "S031", "2": "S001"}
    # S001 of the name may be 31 or 1: who it is can't be said.
    (rejection,) = source.left_out
    assert rejection.reason == "person unknown"


def test_without_session_xml_the_name_tells_the_person(tmp_path: Path) -> None:
    _write_session(tmp_path, 1, "S001-001", units=SMILE, subject=1)
    _write_session(tmp_path, 2, "S002-001", units=SMILE, subject=None)
    source = _read(tmp_path)
    assert [row.subject for row in source.rows] == ["S001"] * 4 + ["S002"] * 4
    assert "1 recordings have no session.xml that names a person" in source.notes[0]


def test_a_profile_is_left_out(tmp_path: Path) -> None:
    _write_session(tmp_path, units=SMILE, view="1")
    (rejection,) = _read(tmp_path).left_out
    assert rejection.reason == "not from the front"
    assert "view in session.xml is '1'" in rejection.detail


def test_sessions_come_by_number_and_foreign_files_are_ignored(tmp_path: Path) -> None:
    for number in (10, 9, 100):
        _write_session(tmp_path, number, units=SMILE)
    (tmp_path / "Sessions" / ".DS_Store").touch()
    (tmp_path / "Sessions" / "extra").mkdir()
    (tmp_path / "Sessions" / "11").mkdir()
    (tmp_path / "Sessions" / "9" / "._S001-001.avi").touch()
    (tmp_path / "Sessions" / "9" / "notes.txt").touch()
    source = _read(tmp_path)
    assert [row.key.split("/")[1] for row in source.rows[::4]] == ["9", "10", "100"]
    assert source.left_out == ()
    # The folder `Sessions` itself will do.
    assert _read(tmp_path / "Sessions").rows == source.rows


@pytest.mark.parametrize("name", ["session.xml", "S001-001.xml", "S001-001-oao_aucs.xml"])
@pytest.mark.parametrize(
    "content", [b"<a", b"\0\1\2", b"", b'<!DOCTYPE a [<!ENTITY b SYSTEM "/etc/passwd">]><a>&b;</a>']
)
def test_a_broken_or_hostile_file_costs_its_recording(
    tmp_path: Path, name: str, content: bytes
) -> None:
    folder = _write_session(tmp_path, emotion="4", units=SMILE)
    _write_session(tmp_path, 2, units=SMILE)
    (folder / name).write_bytes(content)
    source = _read(tmp_path)
    assert [row.key.split("/")[1] for row in source.rows] == ["2"] * 4
    (rejection,) = source.left_out
    assert (rejection.reason, rejection.row.key) == ("bad label file", "Sessions/1/S001-001.avi")
    assert name in rejection.detail
    assert rejection.row.emotion is None


def test_labels_without_a_recording_and_links_are_listed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    folder = _write_session(home, units=SMILE)
    (folder / "S001-001.avi").unlink()
    (tmp_path / "secret.avi").touch()
    (_write_session(home, 2, "S001-002", units=SMILE) / "S001-002.avi").unlink()
    (home / "Sessions/2/S001-002.avi").symlink_to(tmp_path / "secret.avi")
    source = _read(home)
    assert [(left.row.key, left.reason) for left in source.left_out] == [
        ("Sessions/1/S001-001.avi", "missing file"),
        ("Sessions/2/S001-002.avi", "outside the source"),
    ]


def test_what_is_not_laid_out_so_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"no recording like Sessions/1/S001-001\.avi is there"):
            _read(source)


def test_the_drawn_set_is_read_as_another_parser_reads_it(tmp_path: Path) -> None:
    write_mmi(tmp_path, people=1, clips=3, progress=False)
    source = _read(tmp_path)
    assert source.left_out == ()
    assert [row.key.split("/")[1] for row in source.rows[::4]] == ["1", "2", "3"]
    for index, number in enumerate((1, 2, 3)):
        rows = source.rows[4 * index : 4 * index + 4]
        stem = f"Sessions/{number}/S001-{number:03d}"
        root = ET.parse(tmp_path / f"{stem}-oao_aucs.xml").getroot()
        present = {int(unit.get("Number", "")) for unit in root}
        begins = {int(m.get("Type", "")): int(m.get("Frame", "")) for m in root[0]}
        assert [rows[1].frame, rows[3].frame] == [begins[2] - 1, begins[3] - 2]
        assert _units(rows[2]) == {unit: int(unit in present) for unit in ACTION_UNITS}
        assert (rows[1].emotion is None) == (not (tmp_path / f"{stem}.xml").exists())
    options = ReadOptions()
    examples = list(read_examples(source.rows[:4], InputSpec(), options))
    assert all(isinstance(example, Example) for example in examples)
    times = [example.timestamps[0] for example in examples if isinstance(example, Example)]
    wanted = [(row.frame or 0) / 24 for row in source.rows[:4]]
    np.testing.assert_allclose(times, wanted, atol=1e-3)


def _film(source: Path, view: str, change: Callable[[np.ndarray], np.ndarray]) -> Source:
    """Write a session of six drawn frames, each changed, and return what is read of it."""
    folder = _write_session(source, units={12: (1, 3, 4, 6)}, view=view)
    rng = np.random.default_rng(0)
    scene = make_scene(rng, "S1")
    frames = [render(make_person(0, 1), [0.0] * 15, scene, np.random.default_rng(0))] * 6
    changed = [np.ascontiguousarray(change(frame)) for frame in frames]
    write_avi(folder / "S001-001.avi", changed, frames_per_second=24)
    return _read(source)


def _faces(source: Source) -> np.ndarray:
    examples = list(read_examples(source.rows, InputSpec(), ReadOptions()))
    assert all(isinstance(example, Example) for example in examples)
    return np.stack([e.faces[0] for e in examples if isinstance(e, Example)]).astype(float)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_recording_that_lies_on_its_side_gives_upright_faces(tmp_path: Path, turns: int) -> None:
    upright = _faces(_film(tmp_path / "upright", "0", lambda frame: frame))
    lying = _faces(_film(tmp_path / "lying", "0", lambda frame: np.rot90(frame, turns)))
    assert lying.shape == upright.shape == (3, 98, 80)
    # Motion JPEG is not the same after a turn: a few levels, where a face upside down has many.
    assert np.abs(lying - upright).mean() < 3
    assert np.abs(lying[:, ::-1] - upright).mean() > 15


@pytest.mark.parametrize("front", ["left", "right"])
def test_of_two_views_the_front_is_found_on_either_side(tmp_path: Path, front: str) -> None:
    def beside(frame: np.ndarray) -> np.ndarray:
        # The back of a head: dark hair, no features.
        wall = np.full_like(frame, 170)
        other = cv2.ellipse(wall, (128, 120), (70, 95), 0, 0, 360, (40, 45, 50), -1)
        return np.hstack([frame, other] if front == "left" else [other, frame])

    alone = _faces(_film(tmp_path / "alone", "0", lambda frame: frame))
    source = _film(tmp_path / "two", "2", beside)
    assert source.facts["recordings_with_two_views"] == 1
    # In a wider frame the box moves by a pixel or two.
    pairs = zip(_faces(source), alone, strict=True)
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]
    assert min(likeness) > 0.9


def test_a_frame_after_the_clip_s_end_is_left_out_by_the_reader(tmp_path: Path) -> None:
    source = _film(tmp_path, "0", lambda frame: frame)
    late = dataclasses.replace(source.rows[0], frame=99)
    assert not isinstance(read_example(late, InputSpec(), ReadOptions()), Example)
