"""`ck_plus`: picture sequences from a neutral face to the peak of an expression.

    cohn-kanade-images/S005/001/S005_001_00000001.png .. S005_001_00000011.png
    Emotion/S005/001/S005_001_00000011_emotion.txt     one number, 0..7
    FACS/S005/001/S005_001_00000011_facs.txt           an action unit and its grade a line

The owner's read-me (phase 1, 28 September 2010): there is one FACS file for
each of the 593 sequences, on its last frame, the peak; an emotion file for 327
of them, and no file means no emotion. A grade of 0 stands for a unit that is
there and was not graded.

A sequence gives four stills: its first frame, neutral, and the peak with the
two frames before it, which take the peak's labels, grades too, as the field
does. The peak is the frame that the label files are about: the last one, unless
pictures were added. Shorter sequences give fewer, no frame twice; a picture that
stands alone is the peak, never a neutral face. Frames count from 1 (0 in some
copies): where those are missing the first picture left is in the middle of an
expression, and no neutral face either.

The owner's zip files unpack into folders of their own (`Emotion_labels/Emotion`);
both ways are found.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emojax import labels
from emojax.data.builders.base import Defaults, FaceBuilder
from emojax.data.builders.ck_plus_labels import Peak, count_strays, read_peak
from emojax.data.builders.media_files import find_problem
from emojax.data.builders.owner_files import list_names
from emojax.data.rows import Expected, Rejection, Request, Row, Source
from emojax.errors import UserError

IMAGE_FOLDERS = ("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
EMOTION_FOLDERS = ("Emotion", "Emotion_labels/Emotion", "Emotion_labels")
FACS_FOLDERS = ("FACS", "FACS_labels/FACS", "FACS_labels")

PEAK_FRAMES = 3
"""Frames at the end of a sequence that carry its labels."""

_STARTS = (0, 1)
"""Numbers of a sequence's first frame."""

_SUBJECT = re.compile(r"S[0-9]{1,6}")
_SEQUENCE = re.compile(r"[0-9]{1,6}")
_NEUTRAL = Peak(emotion="neutral", grades={})


class CkPlus(FaceBuilder):
    """The extended Cohn-Kanade set: the neutral frame and the peak of each sequence."""

    DESCRIPTION = (
        "CK+: 593 picture sequences of 123 people who go from a neutral face to the peak of a "
        "posed expression. The first frame (neutral, no action unit) and the last three (with "
        "the sequence's labels) are kept. All sequences have action units, 327 an emotion, "
        "contempt among them: without an emotion file the peak's emotion is unknown. Grades A to "
        "E are intensities 0.2 to 1; a unit that is there without a grade has none."
    )
    CITATION = """\
@inproceedings{kanade2000comprehensive,
  title = {Comprehensive Database for Facial Expression Analysis},
  author = {Kanade, Takeo and Cohn, Jeffrey F. and Tian, Yingli},
  booktitle = {IEEE International Conference on Automatic Face and Gesture Recognition},
  pages = {46--53},
  year = {2000},
}
@inproceedings{lucey2010extended,
  title = {The Extended {C}ohn-{K}anade Dataset ({CK+}): A Complete Dataset for Action Unit and
    Emotion-Specified Expression},
  author = {Lucey, Patrick and Cohn, Jeffrey F. and Kanade, Takeo and Saragih, Jason and
    Ambadar, Zara and Matthews, Iain},
  booktitle = {IEEE Computer Society Conference on Computer Vision and Pattern Recognition
    Workshops},
  pages = {94--101},
  year = {2010},
}"""
    LICENCE = (
        "For research that is not commercial, under the agreement that each user signs with the "
        "owner: never redistribute, neither the pictures nor the shards, and print only the "
        "people who allowed it."
    )
    SOURCE_HELP = (
        "the folder that holds cohn-kanade-images/, Emotion/ and FACS/ (or Emotion_labels/ and "
        "FACS_labels/), as the Affect Analysis Group of the University of Pittsburgh gives it "
        "out to researchers on request"
    )
    SPLIT_RULE = "by person (the folder's name); the owner gives no split"
    DEFAULTS = Defaults()
    # Four stills of each of 593 sequences.
    EXPECTED = Expected(rows=2_372, people=123)

    @classmethod
    def read_source(cls, source: Path, request: Request) -> Source:
        """Return the first frame of each sequence and its last three, with their labels.

        Raises:
            UserError: the folders are not there, hold no sequence, or clips are asked for.
        """
        if request.clips:
            raise UserError(
                "ck_plus: its sequences are pictures, there is no clip to keep: build it without "
                "--clips, which gives the first frame and the last three of each sequence"
            )
        images, emotions, facs = (
            _find_folder(source, names) for names in (IMAGE_FOLDERS, EMOTION_FOLDERS, FACS_FOLDERS)
        )
        if images is None:
            raise UserError(f"{source}: no {IMAGE_FOLDERS[0]}/ is there: give {cls.SOURCE_HELP}")
        if emotions is None and facs is None:
            raise UserError(
                f"{source}: neither Emotion/ nor FACS/ is there: give {cls.SOURCE_HELP}"
            )
        sequences = [
            _read_sequence(images, emotions, facs, subject, sequence)
            for subject in list_names(images)
            if _SUBJECT.fullmatch(subject)
            for sequence in list_names(images / subject)
            if _SEQUENCE.fullmatch(sequence)
        ]
        if not any(sequence.rows or sequence.left_out for sequence in sequences):
            raise UserError(
                f"{images}: no picture like S005/001/S005_001_00000001.png is there: give "
                f"{cls.SOURCE_HELP}"
            )
        return Source(
            tuple(row for sequence in sequences for row in sequence.rows),
            _notes(sequences, emotions, facs),
            tuple(rejection for sequence in sequences for rejection in sequence.left_out),
            facts=_facts(sequences),
        )


class _Sequence(NamedTuple):
    """What a sequence gives."""

    rows: list[Row]
    left_out: list[Rejection]
    peak: Peak
    """Empty where its label files are broken or not there."""
    ignored: int
    """Files in its folders that are neither frames nor labels of it."""
    lacks_start: bool = False
    """Whether its first frames are missing, so that none is neutral."""


def _find_folder(source: Path, names: Sequence[str]) -> Path | None:
    """Return the first of the folders that is there, without links in its path."""
    found = [source / name for name in names if (source / name).is_dir()]
    return found[0].resolve() if found else None


def _read_sequence(
    images: Path, emotions: Path | None, facs: Path | None, subject: str, name: str
) -> _Sequence:
    pictures, ignored = _list_pictures(images, subject, name)
    ignored += count_strays(emotions, facs, f"{subject}/{name}")
    if not pictures:
        return _Sequence([], [], Peak(), ignored)
    reason = "bad label file"
    try:
        peak, problem = read_peak(emotions, facs, f"{subject}/{name}"), ""
        if peak.frame is None:
            reason = "no label"
            problem = f"{images / subject / name}: has neither an emotion nor a FACS file"
        elif peak.frame not in pictures:
            problem = (
                f"{images / subject / name}: its labels are about frame {peak.frame}, which is "
                f"not among its {len(pictures)} pictures: copy them again"
            )
    except UserError as error:
        peak, problem = Peak(), str(error)

    def row(number: int, said: Peak) -> Row:
        return Row(
            key=f"{IMAGE_FOLDERS[0]}/{subject}/{name}/{pictures[number]}",
            path=images / subject / name / pictures[number],
            subject=subject,
            emotion=said.emotion,
            action_units=said.action_units,
            intensities=said.intensities,
        )

    numbers = [number for number in pictures if problem or number <= (peak.frame or 0)]
    lacks_start = bool(numbers) and numbers[0] not in _STARTS
    first, others = (numbers[:1], numbers[1:]) if len(numbers) > 1 else ([], numbers)
    if lacks_start and first:
        # Where it lies beside the peak it carries the peak's labels, else nobody's.
        others = numbers if first[0] > numbers[-1] - PEAK_FRAMES else others
        first = []
    peaks = others[-PEAK_FRAMES:]
    rows = [row(number, _NEUTRAL) for number in first]
    left_out: list[Rejection] = []
    if problem:
        left_out = [Rejection(row(number, Peak()), reason, problem) for number in peaks]
        peak = Peak()
    else:
        rows += [row(number, peak) for number in peaks]
    kept: list[Row] = []
    for each in rows:
        assert each.path is not None
        if unusable := find_problem(each.path, images):
            left_out.append(Rejection(each, unusable.reason, unusable.detail))
        else:
            kept.append(each)
    return _Sequence(kept, left_out, peak, ignored, lacks_start)


def _list_pictures(images: Path, subject: str, sequence: str) -> tuple[dict[int, str], int]:
    """Return the names of a sequence's frames by number, in order, and how many files are none."""
    named = re.compile(rf"{subject}_{sequence}_([0-9]{{1,12}})\.png", re.IGNORECASE)
    found: dict[int, str] = {}
    ignored = 0
    for name in list_names(images / subject / sequence):
        match = named.fullmatch(name)
        if match and int(match[1]) not in found:
            found[int(match[1])] = name
        else:
            ignored += 1
    return dict(sorted(found.items())), ignored


def _dropped(sequences: Sequence[_Sequence]) -> dict[int, int]:
    """Return how many sequences show each unit that is none of the 15, by its number."""
    units = (unit for sequence in sequences for unit in sequence.peak.grades or ())
    counts = collections.Counter(unit for unit in units if unit not in labels.ACTION_UNITS)
    return dict(sorted(counts.items()))


def _facts(sequences: Sequence[_Sequence]) -> dict[str, Any]:
    graded = [sequence.peak.grades for sequence in sequences if sequence.peak.grades is not None]
    return {
        "sequences": sum(bool(sequence.rows or sequence.left_out) for sequence in sequences),
        "sequences_with_emotion": sum(s.peak.emotion is not None for s in sequences),
        "sequences_with_action_units": len(graded),
        "present_without_grade": sum(
            grade == 0
            for units in graded
            for unit, grade in units.items()
            if unit in labels.ACTION_UNITS
        ),
        "action_units_dropped": {str(unit): n for unit, n in _dropped(sequences).items()},
    }


def _notes(
    sequences: Sequence[_Sequence], emotions: Path | None, facs: Path | None
) -> tuple[str, ...]:
    notes = []
    if emotions is None:
        notes.append("there is no folder Emotion/: no peak has a known emotion")
    if facs is None:
        notes.append("there is no folder FACS/: no peak has known action units")
    if lacking := sum(sequence.lacks_start for sequence in sequences):
        notes.append(
            f"the first frames of {lacking} sequences are missing: they give no neutral frame"
        )
    if dropped := _dropped(sequences):
        listed = ", ".join(f"AU{unit} in {n}" for unit, n in dropped.items())
        notes.append(f"action units outside the 15 are dropped (sequences that show it): {listed}")
    if ignored := sum(sequence.ignored for sequence in sequences):
        notes.append(f"{ignored} files beside the frames and labels of a sequence are ignored")
    return tuple(notes)
