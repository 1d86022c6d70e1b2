"""`disfa`: people who watch a film, each frame coded for twelve action units.

    Video_LeftCamera/LeftVideoSN001_comp.avi     4,845 frames, 20 a second
    Video_RightCamera/RightVideoSN001_comp.avi   the same moments from the other side
    ActionUnit_Labels/SN001/SN001_au1.txt        frame,intensity a line, 0..5

The owner counts frames from 1 to 4845 (so say the legend of figure 5 in
doi 10.1371/journal.pone.0302705, and public readers of the set, who subtract one);
a row's `frame` counts from 0, so the line `12,3` is about frame 11. Copies call the
first folder `Videos_LeftCamera` too.

An intensity is a fifth of the owner's number, and a unit counts as present from 2
on, as the field does. Units 7, 10, 16 and 23 are not coded: unknown. A frame
that a unit's file doesn't label, or a unit without a readable file, is unknown
there, never absent.
"""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from emojax import labels
from emojax.data.builders.base import Defaults, FaceBuilder
from emojax.data.builders.media_files import find_problem
from emojax.data.builders.owner_files import list_names, read_label_lines
from emojax.data.rows import Expected, Rejection, Request, Row, Source
from emojax.errors import UserError
from emojax.labels import UNKNOWN

VIDEO_FOLDERS = ("Video_LeftCamera", "Videos_LeftCamera")
OTHER_VIDEO_FOLDERS = ("Video_RightCamera", "Videos_RightCamera")
LABEL_FOLDER = "ActionUnit_Labels"

MAX_FRAME = 100_000
"""Largest number of a frame that is believed: over an hour; the videos have four minutes."""

_VIDEO = re.compile(r"LeftVideo(SN[0-9]{1,6})_comp\.avi", re.IGNORECASE)
_OTHER_VIDEO = re.compile(r"RightVideo(SN[0-9]{1,6})_comp\.avi", re.IGNORECASE)
_PERSON = re.compile(r"SN[0-9]{1,6}", re.IGNORECASE)
_LABELS = re.compile(r"(SN[0-9]{1,6})_au([0-9]{1,2})\.txt", re.IGNORECASE)
_LINE = re.compile(r"\s*([0-9]{1,6})\s*,\s*([0-5])\s*")
_MAX_INTENSITY = 5


class Disfa(FaceBuilder):
    """The Denver set of spontaneous facial actions: the left camera's labelled frames."""

    DESCRIPTION = (
        "DISFA: 27 young adults filmed for four minutes each while they watch clips that move "
        "them; every frame (27 x 4,845) is coded for twelve action units from 0 to 5. Eleven of "
        "them are among the 15; AU7, 10, 16 and 23 are unknown. Present means 2 and above. "
        "Nobody coded emotions. The left camera's frames are kept. Neighbouring frames are "
        "nearly the same picture, and most are neutral."
    )
    CITATION = """\
@article{mavadati2013disfa,
  title = {{DISFA}: A Spontaneous Facial Action Intensity Database},
  author = {Mavadati, S. Mohammad and Mahoor, Mohammad H. and Bartlett, Kevin and Trinh, Philip
    and Cohn, Jeffrey F.},
  journal = {IEEE Transactions on Affective Computing},
  volume = {4},
  number = {2},
  pages = {151--160},
  year = {2013},
  doi = {10.1109/T-AFFC.2013.4},
}"""
    LICENCE = (
        "For research that is not commercial, under the agreement with the University of Denver "
        "that each user signs: never redistribute, neither the videos nor the shards."
    )
    SOURCE_HELP = (
        f"the folder that holds {VIDEO_FOLDERS[0]}/LeftVideoSN001_comp.avi and so on, and "
        f"{LABEL_FOLDER}/SN001/SN001_au1.txt and so on, as the University of Denver gives it out "
        "to researchers (http://mohammadmahoor.com/disfa/)"
    )
    SPLIT_RULE = "by person (SN001 and so on); the owner gives no split"
    DEFAULTS = Defaults()
    # 27 x 4,845. Some readers count 4,844 a video: a last frame that can't be decoded is
    # left out and counted.
    EXPECTED = Expected(rows=130_815, people=27)

    @classmethod
    def read_source(cls, source: Path, request: Request) -> Source:
        """Return one row for each frame that somebody coded.

        Raises:
            UserError: the folders are not there, hold nothing of DISFA, or clips are asked for.
        """
        if request.clips:
            raise UserError(
                "disfa: its labels are about single frames, a whole clip has none: build it "
                "without --clips"
            )
        folders = [source / name for name in VIDEO_FOLDERS if (source / name).is_dir()]
        if not folders or not (source / LABEL_FOLDER).is_dir():
            missing = VIDEO_FOLDERS[0] if not folders else LABEL_FOLDER
            raise UserError(f"{source}: no {missing}/ is there: give {cls.SOURCE_HELP}")
        videos = _list_people(folders[0].resolve(), _VIDEO, 1)
        coded = _list_people((source / LABEL_FOLDER).resolve(), _PERSON, 0)
        if not videos or not coded:
            where = source / LABEL_FOLDER if videos else folders[0]
            raise UserError(f"{where}: nothing of DISFA is in it: give {cls.SOURCE_HELP}")
        people = [
            _read_person(person, videos.get(person), coded.get(person))
            for person in sorted({*videos, *coded})
        ]
        dropped: collections.Counter[int] = collections.Counter()
        for each in people:
            dropped.update(each.dropped)
        return Source(
            tuple(row for each in people for row in each.rows),
            (*_notes(source, dropped, coded), *(note for each in people for note in each.notes)),
            tuple(rejection for each in people for rejection in each.left_out),
            facts={
                "videos": sum(bool(each.rows) for each in people),
                "action_units_dropped": {str(unit): n for unit, n in sorted(dropped.items())},
            },
        )


class _Person(NamedTuple):
    """What one person's video and label files give."""

    rows: list[Row]
    left_out: list[Rejection]
    notes: list[str]
    dropped: Mapping[int, int]
    """Frames that show a unit outside the 15, by its FACS number."""


def _list_people(folder: Path, named: re.Pattern[str], group: int) -> dict[str, Path]:
    """Return what belongs to each person in a folder, by `SN001`."""
    found: dict[str, Path] = {}
    for name in list_names(folder):
        if match := named.fullmatch(name):
            found.setdefault(match[group].upper(), folder / name)
    return found


def _read_person(person: str, video: Path | None, coded: Path | None) -> _Person:
    key = f"{VIDEO_FOLDERS[0]}/LeftVideo{person}_comp.avi"
    whole = Row(key=key, path=video, subject=person)
    if video is None:
        detail = f"{coded}: is about {key}, which is not there: copy it again"
        return _Person([], [Rejection(whole, "missing file", detail)], [], {})
    if problem := find_problem(video, video.parent):
        return _Person([], [Rejection(whole, problem.reason, problem.detail)], [], {})
    left_out: list[Rejection] = []
    notes: list[str] = []
    courses: dict[int, dict[int, int]] = {}
    named = _label_names(coded)
    for unit in labels.DISFA_ACTION_UNITS:
        if coded is None or unit not in named:
            continue
        try:
            courses[unit] = _read_course(_choose_file(coded, named[unit], person), coded.parent)
        except UserError as error:
            for name in named[unit]:
                row = Row(key=f"{LABEL_FOLDER}/{person}/{name}", path=coded / name, subject=person)
                left_out.append(Rejection(row, "bad label file", f"{error}; the unit is unknown"))
    dropped = {unit: course for unit, course in courses.items() if unit not in labels.ACTION_UNITS}
    courses = {unit: course for unit, course in courses.items() if unit not in dropped}
    frames = sorted(set().union(*courses.values()))
    if not frames:
        detail = f"{video}: no readable label file in {LABEL_FOLDER}/{person}/ is about it"
        left_out.append(Rejection(whole, "no label", detail))
    else:
        missing = [unit for unit in labels.DISFA_ACTION_UNITS if unit not in named]
        if missing:
            listed = ", ".join(f"AU{unit}" for unit in missing)
            notes.append(f"{person}: no label file for {listed}: unknown in all its frames")
        uneven = sum(any(frame not in course for course in courses.values()) for frame in frames)
        if uneven:
            notes.append(f"{person}: {uneven} frames are not in all its label files: unknown there")
    return _Person(
        [_row(key, video, person, frame, courses) for frame in frames],
        left_out,
        notes,
        {unit: _count_present(course) for unit, course in dropped.items()},
    )


def _label_names(coded: Path | None) -> dict[int, list[str]]:
    """Return the names of each unit's label files, by FACS number."""
    found: dict[int, list[str]] = {}
    for name in list_names(coded) if coded else ():
        if match := _LABELS.fullmatch(name):
            found.setdefault(int(match[2]), []).append(name)
    return found


def _choose_file(coded: Path, names: Sequence[str], person: str) -> Path:
    """Return the one label file of a unit.

    Raises:
        UserError: there are two, or it is another person's.
    """
    if len(names) > 1:
        listed = " and ".join(names[:2])
        raise UserError(f"{coded}: holds {listed}, a unit has one of them: delete the other")
    match = _LABELS.fullmatch(names[0])
    assert match
    if match[1].upper() != person:
        raise UserError(
            f"{coded / names[0]}: is about {match[1]} and lies among the files of {person}: copy "
            "it again"
        )
    return coded / names[0]


def _read_course(path: Path, home: Path) -> dict[int, int]:
    """Return a unit's intensity, 0..5, by the owner's number of the frame.

    Raises:
        UserError: a line is no frame and intensity, a frame stands twice, or there is none.
    """
    course: dict[int, int] = {}
    for number, line in enumerate(read_label_lines(path, home), 1):
        if not line or line.isspace():
            continue
        match = _LINE.fullmatch(line)
        if not match or not 1 <= int(match[1]) <= MAX_FRAME:
            raise UserError(
                f"{path}: line {number} is {line.strip()[:40]!r}, wanted a frame (1 the first), a "
                f"comma and an intensity from 0 to {_MAX_INTENSITY}: copy it again"
            )
        frame = int(match[1])
        if frame in course:
            raise UserError(f"{path}: line {number}: frame {frame} stands twice: copy it again")
        course[frame] = int(match[2])
    if not course:
        raise UserError(f"{path}: labels no frame: copy it again")
    return course


def _row(
    key: str, video: Path, person: str, frame: int, courses: Mapping[int, Mapping[int, int]]
) -> Row:
    graded = tuple(
        courses[unit].get(frame, UNKNOWN) if unit in courses else UNKNOWN
        for unit in labels.ACTION_UNITS
    )
    action_units, intensities = _vectors(graded)
    return Row(
        key=f"{key}#frame={frame - 1}",
        path=video,
        subject=person,
        action_units=action_units,
        intensities=intensities,
        frame=frame - 1,
    )


@functools.lru_cache(maxsize=4096)
def _vectors(graded: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return presence and intensity; equal frames share them, there are 130,815."""
    present = (
        UNKNOWN if grade == UNKNOWN else int(grade >= labels.DISFA_PRESENT_FROM) for grade in graded
    )
    shares = (float(UNKNOWN) if grade == UNKNOWN else grade / _MAX_INTENSITY for grade in graded)
    return tuple(present), tuple(shares)


def _count_present(course: Mapping[int, int]) -> int:
    return sum(grade >= labels.DISFA_PRESENT_FROM for grade in course.values())


def _notes(source: Path, dropped: Mapping[int, int], coded: Mapping[str, Path]) -> Sequence[str]:
    notes = [
        f"AU{unit} is none of the 15: dropped, present in {count} frames"
        for unit, count in sorted(dropped.items())
    ]
    strays = (name for folder in coded.values() for name in list_names(folder))
    if ignored := sum(not _LABELS.fullmatch(name) for name in strays):
        notes.append(f"{ignored} files beside the label files are none: ignored")
    others = [_list_people(source / name, _OTHER_VIDEO, 1) for name in OTHER_VIDEO_FOLDERS]
    if count := len({person for found in others for person in found}):
        notes.append(f"{count} videos of the right camera are not read: the same moments again")
    return notes
