"""MMI's folders: one a session, with recordings, their labels and `session.xml`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from emojax.data.builders.mmi_xml import Session, read_session
from emojax.data.builders.owner_files import list_names
from emojax.errors import UserError
from emojax.picture import PICTURE_SUFFIXES
from emojax.video import VIDEO_SUFFIXES

UNITS_SUFFIX = "-oao_aucs.xml"
"""End of the name of a file with action units over time (onset, apex, offset)."""

_SESSION = re.compile(r"[0-9]{1,9}")
_RECORDING = re.compile(r"((S[0-9]{1,6})-[0-9]{1,6})(\.[0-9A-Za-z]{1,5})")
_LABELS = re.compile(rf"((S[0-9]{{1,6}})-[0-9]{{1,6}})(?:\.xml|{re.escape(UNITS_SUFFIX)})")


class Recording(NamedTuple):
    """A clip or picture and what its session says of it."""

    folder: Path
    stem: str
    """`S001-001`."""
    named: str
    """The person in the file's name, `S001`."""
    suffix: str
    """Of the file; empty where only its labels are there."""
    session: Session
    problem: str
    """Why its session's file can't be used; empty where it can."""

    @property
    def name(self) -> str:
        """The file's."""
        return f"{self.stem}{self.suffix or '.avi'}"

    @property
    def view(self) -> str:
        """The owner's code, empty where `session.xml` says none."""
        views = self.session.views
        return views.get(self.name.lower(), views.get("", ""))


def person_name(number: str) -> str:
    """Return `S001` for `1`; a name that is no number as it is."""
    return f"S{int(number):03d}" if number.isdecimal() else number


def count_strays(home: Path) -> int:
    """Return how many files in the sessions' folders are neither recordings nor labels."""
    return sum(
        not (name == "session.xml" or _is_recording(name) or _LABELS.fullmatch(name))
        for session in list_names(home)
        if _SESSION.fullmatch(session)
        for name in list_names(home / session)
    )


def _is_recording(name: str) -> re.Match[str] | None:
    match = _RECORDING.fullmatch(name)
    return match if match and match[3].lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES else None


def find_recordings(home: Path) -> Iterator[Recording]:
    """Yield the recordings of all sessions, and those of which only labels are there."""
    sessions = [name for name in list_names(home) if _SESSION.fullmatch(name)]
    for name in sorted(sessions, key=lambda name: (int(name), name)):
        names = list_names(home / name)
        suffixes: dict[tuple[str, str], list[str]] = {}
        for file in names:
            if match := _is_recording(file):
                suffixes.setdefault((match[1], match[2]), []).append(match[3])
        for file in names:
            if match := _LABELS.fullmatch(file):
                suffixes.setdefault((match[1], match[2]), [])
        if not suffixes:
            continue
        session, problem = Session("", {}), ""
        if "session.xml" in names:
            try:
                session = read_session(home / name / "session.xml", home)
            except UserError as error:
                problem = str(error)
        for (stem, named), kinds in sorted(suffixes.items()):
            for suffix in kinds or [""]:
                yield Recording(home / name, stem, named, suffix, session, problem)
