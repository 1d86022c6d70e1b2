from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.data.builders.ck_plus import CkPlus
from emojax.data.examples import Example, ReadOptions, read_example
from emojax.data.rows import Request, Row, Source
from emojax.data.synthetic.layouts import write_ck_plus
from emojax.errors import UserError
from emojax.labels import ACTION_UNITS, CK_PLUS_EMOTIONS
from emojax.spec import InputSpec

SEQUENCE = "S005/001"
ALL_UNKNOWN = dict.fromkeys(ACTION_UNITS, -1)
ALL_ABSENT = dict.fromkeys(ACTION_UNITS, 0)


def _read(source: Path, clips: bool = False) -> Source:
    return CkPlus.read_source(source, Request(source / "work", clips=clips))


def _write_sequence(
    source: Path,
    frames: int = 6,
    emotion: str | None = "   3.0000000e+00\n",
    facs: str | None = "   9.0000000e+00   5.0000000e+00\n",
    sequence: str = SEQUENCE,
) -> Path:
    """Write a sequence of tiny pictures and return the folder of its pictures."""
    stem = sequence.replace("/", "_")
    folder = source / "cohn-kanade-images" / sequence
    folder.mkdir(parents=True)
    for number in range(1, frames + 1):
        cv2.imwrite(str(folder / f"{stem}_{number:08d}.png"), np.zeros((2, 2), np.uint8))
    for kind, text in (("Emotion", emotion), ("FACS", facs)):
        place = source / kind / sequence
        place.mkdir(parents=True)
        if text is not None:
            (place / f"{stem}_{frames:08d}_{kind.lower()}.txt").write_text(text)
    return folder


def _units(row: Row) -> dict[int, int]:
    return dict(zip(ACTION_UNITS, row.action_units, strict=True))


def _intensities(row: Row) -> dict[int, float]:
    return dict(zip(ACTION_UNITS, row.intensities, strict=True))


def _numbers(source: Source) -> list[int]:
    return [int(row.key[-12:-4]) for row in source.rows]


def test_the_first_frame_is_neutral_and_the_last_three_carry_the_labels(tmp_path: Path) -> None:
    _write_sequence(
        tmp_path,
        facs="   1.0000000e+00   0.0000000e+00\n"
        "   1.2000000e+01   1.0000000e+00\n"
        "   2.6000000e+01   5.0000000e+00\n"
        "   1.4000000e+01   3.0000000e+00\n"
        "   2.7000000e+01   0.0000000e+00\n",
    )
    source = _read(tmp_path)
    assert _numbers(source) == [1, 4, 5, 6]
    first, *peaks = source.rows
    assert first.key == "cohn-kanade-images/S005/001/S005_001_00000001.png"
    assert first.path == tmp_path / first.key
    assert (first.subject, first.domain, first.split) == ("S005", "", "")
    assert first.emotion == "neutral"
    assert _units(first) == ALL_ABSENT
    assert first.intensities == (0.0,) * 15
    for peak in peaks:
        assert (peak.subject, peak.emotion) == ("S005", "disgust")
        # AU1 has grade 0: there, and nobody knows how strongly. AU27 is not AU26.
        assert _units(peak) == {**ALL_ABSENT, 1: 1, 12: 1, 26: 1}
        assert _intensities(peak) == {**dict.fromkeys(ACTION_UNITS, 0.0), 1: -1.0, 12: 0.2, 26: 1.0}
    assert source.left_out == ()
    assert source.facts == {
        "sequences": 1,
        "sequences_with_emotion": 1,
        "sequences_with_action_units": 1,
        "present_without_grade": 1,
        "action_units_dropped": {"14": 1, "27": 1},
    }
    assert source.notes == (
        "action units outside the 15 are dropped (sequences that show it): AU14 in 1, AU27 in 1",
    )


@pytest.mark.parametrize(("code", "emotion"), sorted(CK_PLUS_EMOTIONS.items()))
def test_every_code_of_an_emotion_is_read(tmp_path: Path, code: int, emotion: str) -> None:
    _write_sequence(tmp_path, emotion=f"   {code:.7e}")
    assert [row.emotion for row in _read(tmp_path).rows] == ["neutral"] + [emotion] * 3


def test_without_an_emotion_file_only_the_first_frame_has_an_emotion(tmp_path: Path) -> None:
    _write_sequence(tmp_path, emotion=None)
    source = _read(tmp_path)
    assert [row.emotion for row in source.rows] == ["neutral", None, None, None]
    assert [_units(row)[9] for row in source.rows] == [0, 1, 1, 1]
    assert source.facts["sequences_with_emotion"] == 0


def test_without_a_facs_file_the_peak_s_units_are_unknown(tmp_path: Path) -> None:
    _write_sequence(tmp_path, facs=None)
    source = _read(tmp_path)
    assert _units(source.rows[0]) == ALL_ABSENT
    assert all(_units(row) == ALL_UNKNOWN for row in source.rows[1:])
    assert all(row.intensities == (-1.0,) * 15 for row in source.rows[1:])
    assert source.rows[-1].emotion == "disgust"


def test_without_either_the_peak_is_left_out(tmp_path: Path) -> None:
    _write_sequence(tmp_path, emotion=None, facs=None)
    source = _read(tmp_path)
    assert _numbers(source) == [1]
    assert [rejection.reason for rejection in source.left_out] == ["no label"] * 3
    assert "S005/001: has neither an emotion nor a FACS file" in source.left_out[0].detail


@pytest.mark.parametrize(
    ("frames", "kept", "emotions"),
    [
        (4, [1, 2, 3, 4], ["neutral", "disgust", "disgust", "disgust"]),
        (3, [1, 2, 3], ["neutral", "disgust", "disgust"]),
        (2, [1, 2], ["neutral", "disgust"]),
        (1, [1], ["disgust"]),
    ],
)
def test_a_short_sequence_gives_no_frame_twice(
    tmp_path: Path, frames: int, kept: list[int], emotions: list[str]
) -> None:
    _write_sequence(tmp_path, frames=frames)
    source = _read(tmp_path)
    assert _numbers(source) == kept
    assert [row.emotion for row in source.rows] == emotions


@pytest.mark.parametrize(
    ("missing", "kept", "emotions"),
    [
        ([1], [4, 5, 6], ["disgust"] * 3),
        ([1, 2, 3], [4, 5, 6], ["disgust"] * 3),
        # The second frame is neither neutral nor beside the peak.
        ([1, 3, 4, 5], [6], ["disgust"]),
        ([1, 2, 3, 4, 5], [6], ["disgust"]),
        # In the middle: the first frame is there.
        ([2, 3, 4], [1, 5, 6], ["neutral", "disgust", "disgust"]),
    ],
)
def test_without_its_first_frames_a_sequence_has_no_neutral_one(
    tmp_path: Path, missing: list[int], kept: list[int], emotions: list[str]
) -> None:
    folder = _write_sequence(tmp_path)
    for number in missing:
        (folder / f"S005_001_{number:08d}.png").unlink()
    source = _read(tmp_path)
    assert _numbers(source) == kept
    assert [row.emotion for row in source.rows] == emotions
    said = ("the first frames of 1 sequences are missing: they give no neutral frame",)
    assert source.notes == (said if 1 in missing else ())


def test_a_sequence_may_count_from_0(tmp_path: Path) -> None:
    folder = _write_sequence(tmp_path)
    (folder / "S005_001_00000000.png").touch()
    source = _read(tmp_path)
    assert _numbers(source) == [0, 4, 5, 6]
    assert source.rows[0].emotion == "neutral"


def test_frames_go_by_their_number_and_those_after_the_peak_are_no_part(tmp_path: Path) -> None:
    folder = _write_sequence(tmp_path)
    for number in (7, 10, 100):
        (folder / f"S005_001_{number:08d}.png").touch()
    assert _numbers(_read(tmp_path)) == [1, 4, 5, 6]


@pytest.mark.parametrize(
    ("emotion", "facs", "said"),
    [
        ("8.0", None, r"_emotion.txt: found '8.0', wanted one number from 0 to 7"),
        ("nan", None, "found 'nan'"),
        ("1e999", None, "found '1e999'"),
        ("3 4", None, "found '3 4'"),
        ("2.5", None, "found '2.5'"),
        ("1_0", None, "found '1_0'"),
        ("", None, "is empty"),
        ("\n", None, "found ''"),
        ("x" * 70_000, None, "over 65536 bytes"),
        (None, "12 6", r"_facs.txt: line 1 is '12 6', wanted an action unit and a grade"),
        (None, "12 -1", "line 1 is '12 -1'"),
        (None, "12 2\n0 1\n", "line 2 is '0 1'"),
        (None, "12\n", "line 1 is '12'"),
        (None, "12 1 2\n", "line 1 is '12 1 2'"),
        (None, "1e300 2\n", "line 1 is '1e300 2'"),
        (None, " \n", "lists no action unit"),
        (None, "12 inf", "line 1 is '12 inf'"),
    ],
)
def test_a_broken_label_file_costs_the_peak_and_not_the_neutral_frame(
    tmp_path: Path, emotion: str | None, facs: str | None, said: str
) -> None:
    _write_sequence(
        tmp_path,
        emotion=emotion if emotion is not None else "3",
        facs=facs if facs is not None else "9 5",
    )
    _write_sequence(tmp_path, sequence="S006/001")
    source = _read(tmp_path)
    assert [row.subject for row in source.rows] == ["S005"] + ["S006"] * 4
    assert source.rows[0].emotion == "neutral"
    assert [rejection.reason for rejection in source.left_out] == ["bad label file"] * 3
    assert [rejection.row.key[-5:-4] for rejection in source.left_out] == ["4", "5", "6"]
    for rejection in source.left_out:
        assert said in rejection.detail
        assert rejection.row.emotion is None
        assert _units(rejection.row) == ALL_UNKNOWN
    # What a broken file says is not counted either.
    assert source.facts["sequences_with_emotion"] == 1


def test_a_file_of_bytes_that_are_no_text_is_a_bad_label_file(tmp_path: Path) -> None:
    _write_sequence(tmp_path)
    facs = tmp_path / "FACS/S005/001/S005_001_00000006_facs.txt"
    facs.write_bytes(b"\x89PNG\r\n")
    assert "no text (byte 0 is 0x89)" in _read(tmp_path).left_out[0].detail


def test_labels_of_a_frame_that_is_not_there_are_of_no_use(tmp_path: Path) -> None:
    folder = _write_sequence(tmp_path)
    (folder / "S005_001_00000006.png").unlink()
    source = _read(tmp_path)
    assert _numbers(source) == [1]
    assert [rejection.row.key[-5:-4] for rejection in source.left_out] == ["3", "4", "5"]
    assert "are about frame 6, which is not among its 5 pictures" in source.left_out[0].detail


def test_two_label_files_or_two_peaks_are_refused(tmp_path: Path) -> None:
    _write_sequence(tmp_path)
    (tmp_path / "FACS/S005/001/S005_001_00000005_facs.txt").write_text("9 5")
    assert "holds S005_001_00000005_facs.txt and" in _read(tmp_path).left_out[0].detail
    (tmp_path / "FACS/S005/001/S005_001_00000006_facs.txt").unlink()
    assert "is about frame 5, the emotion file about frame 6" in _read(tmp_path).left_out[0].detail


@pytest.mark.parametrize(
    ("images", "emotion", "facs"),
    [
        ("cohn-kanade-images", "Emotion_labels", "FACS_labels"),
        (
            "extended-cohn-kanade-images/cohn-kanade-images",
            "Emotion_labels/Emotion",
            "FACS_labels/FACS",
        ),
    ],
)
def test_the_folders_of_the_owner_s_zip_files_give_the_same_rows(
    tmp_path: Path, images: str, emotion: str, facs: str
) -> None:
    _write_sequence(tmp_path / "plain")
    _write_sequence(tmp_path / "moved")
    for old, new in (("cohn-kanade-images", images), ("Emotion", emotion), ("FACS", facs)):
        place = tmp_path / "moved" / new
        place.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "moved" / old).rename(place)
    plain, moved = _read(tmp_path / "plain"), _read(tmp_path / "moved")
    nowhere = [
        [dataclasses.replace(row, path=None) for row in source.rows] for source in (plain, moved)
    ]
    assert nowhere[0] == nowhere[1]
    assert all(row.path is not None and row.path.is_file() for row in moved.rows)


def test_foreign_files_are_ignored_and_counted(tmp_path: Path) -> None:
    folder = _write_sequence(tmp_path)
    for name in (
        ".DS_Store",
        "._S005_001_00000001.png",
        "S005_001_00000001_flipped.png",
        "S006_001_00000001.png",
        "Thumbs.db",
    ):
        (folder / name).touch()
    (tmp_path / "cohn-kanade-images" / ".DS_Store").touch()
    (tmp_path / "cohn-kanade-images" / "S005" / ".DS_Store").touch()
    (tmp_path / "FACS/S005/001/.DS_Store").touch()
    (tmp_path / "FACS/S005/001/._S005_001_00000006_facs.txt").touch()
    (tmp_path / "FACS/S005/gender.txt").touch()
    source = _read(tmp_path)
    assert _numbers(source) == [1, 4, 5, 6]
    assert source.left_out == ()
    assert source.notes == ("7 files beside the frames and labels of a sequence are ignored",)


def test_a_link_that_leads_out_is_left_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    cv2.imwrite(str(outside), np.zeros((2, 2), np.uint8))
    (tmp_path / "secret.txt").write_text("9 5")
    home = tmp_path / "home"
    folder = _write_sequence(home)
    _write_sequence(home, sequence="S006/001")
    (folder / "S005_001_00000005.png").unlink()
    (folder / "S005_001_00000005.png").symlink_to(outside)
    facs = home / "FACS/S006/001/S006_001_00000006_facs.txt"
    facs.unlink()
    facs.symlink_to(tmp_path / "secret.txt")
    source = _read(home)
    assert [row.key.rsplit("/", 1)[1] for row in source.rows] == [
        "S005_001_00000001.png",
        "S005_001_00000004.png",
        "S005_001_00000006.png",
        "S006_001_00000001.png",
    ]
    reasons = [rejection.reason for rejection in source.left_out]
    assert reasons == ["outside the source"] + ["bad label file"] * 3


def test_clips_are_refused_with_what_to_do(tmp_path: Path) -> None:
    _write_sequence(tmp_path)
    with pytest.raises(UserError, match="build it without --clips"):
        _read(tmp_path, clips=True)


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ([], "no cohn-kanade-images/ is there: give the folder that holds"),
        (["cohn-kanade-images"], "neither Emotion/ nor FACS/ is there"),
        (["cohn-kanade-images", "FACS"], "no picture like S005/001/S005_001_00000001.png"),
    ],
)
def test_what_is_not_laid_out_so_is_refused(tmp_path: Path, folders: list[str], said: str) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=said):
        _read(tmp_path)


def test_one_folder_of_labels_is_enough_and_the_other_is_missed(tmp_path: Path) -> None:
    _write_sequence(tmp_path, emotion=None)
    for folder in ("S005/001", "S005", "."):
        (tmp_path / "Emotion" / folder).rmdir()
    source = _read(tmp_path)
    assert len(source.rows) == 4
    assert source.notes == ("there is no folder Emotion/: no peak has a known emotion",)


def test_the_drawn_set_is_read_whole(tmp_path: Path) -> None:
    write_ck_plus(tmp_path, seed=3, people=2, sequences=2, progress=False)
    source = _read(tmp_path)
    assert len(source.rows) == 16
    assert source.left_out == ()
    assert [row.key for row in source.rows] == sorted(row.key for row in source.rows)
    for row in source.rows[1::4]:
        label_folder = tmp_path / "FACS" / row.key.split("/", 1)[1].rsplit("/", 1)[0]
        (facs,) = label_folder.iterdir()
        listed = {int(unit): grade for unit, grade in np.loadtxt(facs, ndmin=2)}
        assert {unit for unit, value in _units(row).items() if value == 1} == set(listed)
        for unit, grade in listed.items():
            assert _intensities(row)[unit] == (grade / 5 if grade else -1)
    last = source.rows[-1]
    example = read_example(last, InputSpec(), ReadOptions())
    assert isinstance(example, Example)
    assert example.faces.shape == (1, 98, 80)
    assert example.success.tolist() == [1]
