"""`mmi`: clips and pictures of single action units, their combinations and emotions.

    Sessions/1/session.xml             the person, each track's view
    Sessions/1/S001-001.avi            or a picture
    Sessions/1/S001-001.xml            the emotion, on some
    Sessions/1/S001-001-oao_aucs.xml   action units over time (onset, apex, offset), on some

A clip with action units gives stills: its first frame where nothing moves yet
(neutral), and up to three frames of the moment in which most units are at their
apex; `mmi_units` says how. The owner counts frames from 1 (public readers of the
set subtract one). A clip with an emotion alone doesn't say where that is: it is
kept as a whole clip or not at all.

Codes of emotions outside the six are no emotion of ours: unknown, and counted.

A track's view, as public readers of the set take it: 0 one camera's picture, 2
front and profile side by side; 1 or another isn't seen from the front and is left
out. Which half of view 2 is the front isn't said: one reader found it on the
right in session 2, another looks for a face and cuts the half that has it. The
detector, which looks for faces from the front, is therefore given the whole frame.
Many clips of one camera lie on their side.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from emojax import labels
from emojax.data.builders import mmi_units
from emojax.data.builders.base import Defaults, FaceBuilder
from emojax.data.builders.media_files import Problem, find_problem
from emojax.data.builders.mmi_sessions import (
    UNITS_SUFFIX,
    Recording,
    count_strays,
    find_recordings,
    person_name,
)
from emojax.data.builders.mmi_units import Unit
from emojax.data.builders.mmi_xml import read_emotion_code, read_units
from emojax.data.builders.owner_files import list_names
from emojax.data.rows import Rejection, Request, Row, Source
from emojax.errors import UserError

VIEWS: Mapping[str, Literal["whole", "left", "right"]] = {"": "whole", "0": "whole", "2": "whole"}
"""The part of the frame that is looked at, by the owner's code of the view; other codes
are not seen from the front. Empty: nobody says."""

TWO_VIEWS = "2"


class Mmi(FaceBuilder):
    """The MMI facial expression database: apexes and neutral frames, or whole clips."""

    DESCRIPTION = (
        "MMI: people who show single action units, combinations of them and emotions, from "
        "neutral to the apex and back, filmed from the front or from front and side at once. "
        "Some clips have their action units over time, some an emotion, some both. Stills are "
        "the first, neutral frame and the moment in which most units are at their apex; --clips "
        "keeps whole clips instead, those with only an emotion too. Units are not graded."
    )
    CITATION = """\
@inproceedings{pantic2005web,
  title = {Web-Based Database for Facial Expression Analysis},
  author = {Pantic, Maja and Valstar, Michel and Rademaker, Ron and Maat, Ludo},
  booktitle = {IEEE International Conference on Multimedia and Expo (ICME)},
  year = {2005},
  doi = {10.1109/ICME.2005.1521424},
}
@inproceedings{valstar2010induced,
  title = {Induced Disgust, Happiness and Surprise: An Addition to the {MMI} Facial Expression
    Database},
  author = {Valstar, Michel F. and Pantic, Maja},
  booktitle = {International Workshop on Corpora for Research on Emotion and Affect (LREC)},
  pages = {65--70},
  year = {2010},
}"""
    LICENCE = (
        "For research that is not commercial, under the licence that each user signs with the "
        "owner: never redistribute, neither the recordings nor the shards."
    )
    SOURCE_HELP = (
        "the folder that holds Sessions/1/S001-001.avi and so on, unpacked from what you chose "
        "and downloaded, with its annotations, from https://mmifacedb.eu (an account is given to "
        "researchers who sign its licence)"
    )
    SPLIT_RULE = "by person (session.xml's subject); the owner gives no split"
    DEFAULTS = Defaults()
    # Everybody downloads what they chose of a database that grows: there is no whole.
    EXPECTED = None

    @classmethod
    def read_source(cls, source: Path, request: Request) -> Source:
        """Return stills of each clip with action units, or each whole clip for `request.clips`.

        Raises:
            UserError: there is no session.
        """
        folder = source / "Sessions" if (source / "Sessions").is_dir() else source
        home = folder.resolve()
        found = list(find_recordings(home))
        if not found:
            raise UserError(
                f"{folder}: no recording like Sessions/1/S001-001.avi is there: give "
                f"{cls.SOURCE_HELP}"
            )
        # With numbers of its own in session.xml, a name can't stand in for one that is missing.
        own_numbers = any(
            recording.session.person and person_name(recording.session.person) != recording.named
            for recording in found
        )
        given = [_read_recording(each, home, own_numbers, request.clips) for each in found]
        return Source(
            tuple(row for each in given for row in each.rows),
            tuple(_notes(found, given, count_strays(home))),
            tuple(rejection for each in given for rejection in each.left_out),
            facts=_facts(found, given),
        )


class _Given(NamedTuple):
    """What a recording gives."""

    rows: list[Row]
    left_out: list[Rejection]
    units: tuple[Unit, ...] = ()
    code: int | None = None
    """The owner's code of the emotion."""


def _read_recording(recording: Recording, home: Path, own_numbers: bool, clips: bool) -> _Given:
    number = recording.session.person
    row = Row(
        key=f"Sessions/{recording.folder.name}/{recording.name}",
        path=recording.folder / recording.name,
        subject=person_name(number) if number else recording.named,
        view=VIEWS.get(recording.view, "whole"),
        any_way_up=True,
    )
    units: tuple[Unit, ...] | None = None
    code: int | None = None
    chosen: list[Row] | Problem | None = _find_problem(recording, home, own_numbers)
    if chosen is None:
        try:
            code, units = _read_labels(recording, home)
            emotion = None if code is None else labels.MMI_EMOTIONS.get(code)
            chosen = _choose_rows(row, units, emotion, clips)
        except UserError as error:
            chosen = Problem("bad label file", str(error))
    if isinstance(chosen, Problem):
        rejection = Rejection(row, chosen.reason, chosen.detail)
        return _Given([], [rejection], units or (), code)
    return _Given(chosen, [], units or (), code)


def _find_problem(recording: Recording, home: Path, own_numbers: bool) -> Problem | None:
    """Return why a recording is left out before its labels are read, None where it is not."""
    path = recording.folder / recording.name
    if recording.problem:
        return Problem("bad label file", recording.problem)
    if not recording.suffix:
        return Problem("missing file", f"{path}: only its labels are there: copy it again")
    if own_numbers and not recording.session.person:
        return Problem(
            "person unknown",
            f"{path}: no session.xml says who it is, and others number people in a way of their "
            "own: copy it again",
        )
    if recording.view not in VIEWS:
        return Problem(
            "not from the front",
            f"{path}: its view in session.xml is {recording.view!r}, wanted 0 (one camera, from "
            "the front) or 2 (front and profile)",
        )
    return find_problem(path, home)


def _read_labels(recording: Recording, home: Path) -> tuple[int | None, tuple[Unit, ...] | None]:
    """Return the emotion's code and the action units; None for what has no file.

    Raises:
        UserError: a file is broken or hostile.
    """
    emotion_file = recording.folder / f"{recording.stem}.xml"
    units_file = recording.folder / f"{recording.stem}{UNITS_SUFFIX}"
    names = list_names(recording.folder)
    code = read_emotion_code(emotion_file, home) if emotion_file.name in names else None
    units = read_units(units_file, home) if units_file.name in names else None
    return code, units


def _choose_rows(
    row: Row, units: tuple[Unit, ...] | None, emotion: str | None, clips: bool
) -> list[Row] | Problem:
    """Return the rows that a recording gives, or why it gives none."""
    if row.is_picture and clips:
        return Problem("no clip", f"{row.path}: a single picture: build without --clips to keep it")
    if units is None and emotion is None:
        return Problem(
            "no label", f"{row.path}: has neither one of the six emotions nor action units"
        )
    if not row.is_picture and not clips:
        if units is None:
            return Problem(
                "no label",
                f"{row.path}: has only an emotion, which is about the whole clip: --clips keeps it",
            )
        return _stills(row, units, emotion)
    if units is not None:
        presence = mmi_units.presence_in_picture if row.is_picture else mmi_units.presence_over_clip
        row = _labelled(row, presence(units))
    return [dataclasses.replace(row, emotion=emotion)]


def _stills(row: Row, units: tuple[Unit, ...], emotion: str | None) -> list[Row] | Problem:
    """Return the neutral frame and those of the apex, as far as there are any."""
    frames: dict[int, str | None] = {}
    if mmi_units.is_neutral(units, 0):
        frames[0] = "neutral"
    frames |= dict.fromkeys(mmi_units.apex_frames(units), emotion)
    if not frames:
        return Problem(
            "no label", f"{row.path}: no unit reaches its apex, and its first frame is not neutral"
        )
    return [
        dataclasses.replace(
            _labelled(row, mmi_units.presence_at(units, frame)),
            key=f"{row.key}#frame={frame}",
            frame=frame,
            emotion=shown,
        )
        for frame, shown in frames.items()
    ]


def _labelled(row: Row, presence: tuple[int, ...]) -> Row:
    return dataclasses.replace(
        row, action_units=presence, intensities=mmi_units.intensities_of(presence)
    )


def _dropped(given: Sequence[_Given]) -> dict[str, int]:
    """Return how many recordings show each unit that is none of the 15, by its number."""
    counts = collections.Counter(
        number
        for each in given
        for number in {unit.number for unit in each.units}
        if number not in labels.ACTION_UNITS
    )
    return {str(number): count for number, count in sorted(counts.items())}


def _other_emotions(given: Sequence[_Given]) -> dict[str, int]:
    """Return how many recordings have each code that is none of the six."""
    counts = collections.Counter(
        each.code
        for each in given
        if each.code is not None and each.code not in labels.MMI_EMOTIONS
    )
    return {str(code): count for code, count in sorted(counts.items())}


def _one_sided(given: Sequence[_Given]) -> int:
    return sum(not unit.is_plain for each in given for unit in each.units)


def _facts(found: Sequence[Recording], given: Sequence[_Given]) -> dict[str, Any]:
    return {
        "recordings": len(found),
        "recordings_with_two_views": sum(each.view == TWO_VIEWS for each in found),
        "action_units_dropped": _dropped(given),
        "action_units_with_letters": _one_sided(given),
        "emotions_outside_the_six": _other_emotions(given),
    }


def _notes(found: Sequence[Recording], given: Sequence[_Given], ignored: int) -> Iterator[str]:
    if dropped := _dropped(given):
        listed = ", ".join(f"AU{number} in {count}" for number, count in dropped.items())
        yield f"action units outside the 15 are dropped (recordings that show it): {listed}"
    if other := _other_emotions(given):
        listed = ", ".join(f"{code} on {count}" for code, count in other.items())
        yield f"emotions outside the six are unknown (code, recordings): {listed}"
    if letters := _one_sided(given):
        yield f"{letters} action units with letters beside the number (one-sided) are unknown"
    if unsaid := sum(not each.session.person and not each.problem for each in found):
        yield f"{unsaid} recordings have no session.xml that names a person: their names do"
    if ignored:
        yield f"{ignored} files in the sessions' folders are neither recordings nor labels: ignored"
