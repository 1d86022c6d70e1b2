"""MMI's XML files: a session's person and views, a clip's emotion, its action units in time.

A parser that expands entities can be made to fill the memory, or to fetch other
files. Whatever declares a document type is refused here before its first
element, in any encoding: the parser itself says that it has met one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from xml.parsers import expat

from emojax.data.builders.mmi_units import Unit
from emojax.data.builders.owner_files import read_label_file
from emojax.errors import UserError

MAX_ELEMENTS = 2_000
"""Elements of a file at most; a clip with ten units has some sixty."""
MAX_DEPTH = 32
MAX_FRAME = 1_000_000

_PERSON = re.compile(r"[0-9A-Za-z_.-]{1,40}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,7}")
_UNIT_NUMBER = re.compile(r"([0-9]{1,3})|[A-Za-z]{0,2}([0-9]{1,3})[A-Za-z]{0,2}")
_STATES = range(4)


class Session(NamedTuple):
    """What `session.xml` says."""

    person: str
    """The owner's number or name of the person; empty where the file doesn't say."""
    views: Mapping[str, str]
    """The owner's code of the view by the file's name in lower case; of the first track under
    an empty name."""


class _Element(NamedTuple):
    name: str
    attributes: Mapping[str, str]
    parent: int
    """Place of the element that it stands in; -1 for the outermost."""


def read_session(path: Path, home: Path) -> Session:
    """Return the person of a session and the view of each of its tracks.

    Raises:
        UserError: the file is broken, hostile, or names two people.
    """
    elements = _read_elements(path, home)
    people = {e.attributes.get("id", "").strip() for e in elements if e.name == "subject"} - {""}
    if len(people) > 1 or any(not _PERSON.fullmatch(person) for person in people):
        found = ", ".join(sorted(people))[:60]
        raise UserError(f"{path}: subject is {found!r}, wanted one number: copy it again")
    views: dict[str, str] = {}
    for track in (element for element in elements if element.name == "track"):
        view = track.attributes.get("view", "").strip()[:20]
        if view:
            # A name to compare with, never a path to open.
            name = re.split(r"[/\\]", track.attributes.get("filename", ""))[-1].strip().lower()
            views.setdefault("", view)
            views.setdefault(name, view)
    return Session(next(iter(people), ""), views)


def read_emotion_code(path: Path, home: Path) -> int | None:
    """Return the owner's code of the emotion, None where the file gives none.

    Raises:
        UserError: the file is broken, hostile, or the code is no number, or two.
    """
    codes = {
        element.attributes.get("Value", "").strip()
        for element in _read_elements(path, home)
        if element.name == "Metatag" and element.attributes.get("Name") == "Emotion"
    } - {""}
    if not codes:
        return None
    code = next(iter(codes))
    if len(codes) > 1 or not _WHOLE_NUMBER.fullmatch(code):
        found = ", ".join(sorted(codes))[:60]
        raise UserError(f"{path}: Emotion is {found!r}, wanted one whole number: copy it again")
    return int(code)


def read_units(path: Path, home: Path) -> tuple[Unit, ...]:
    """Return the action units of a clip over time, in the file's order.

    Raises:
        UserError: the file is broken or hostile, lists no action unit, or one of them or a
            marker makes no sense.
    """
    elements = _read_elements(path, home)
    markers: dict[int, list[tuple[int, int]]] = {
        place: [] for place, element in enumerate(elements) if element.name == "ActionUnit"
    }
    if not markers:
        # Nobody codes that nothing moves: it is a file that lost its text.
        raise UserError(f"{path}: lists no action unit: copy it again")
    for element in elements:
        if element.name != "Marker" or element.parent not in markers:
            continue
        kind = _whole_number(element, "Type", path)
        frame = _whole_number(element, "Frame", path)
        if kind not in _STATES or frame > MAX_FRAME:
            raise UserError(
                f"{path}: a marker of type {kind} at frame {frame}, wanted a type from 0 to 3 and "
                f"a frame up to {MAX_FRAME}: copy it again"
            )
        # The owner counts from 1.
        markers[element.parent].append((max(frame - 1, 0), kind))
    return tuple(
        _unit(elements[place].attributes.get("Number", ""), found, path)
        for place, found in markers.items()
    )


def _unit(number: str, markers: list[tuple[int, int]], path: Path) -> Unit:
    match = _UNIT_NUMBER.fullmatch(number.strip())
    if not match:
        raise UserError(f"{path}: an ActionUnit of number {number[:40]!r}: copy it again")
    # Sorted by frame alone: of two at one frame, the later in the file is what begins.
    ordered = tuple(sorted(markers, key=lambda marker: marker[0]))
    return Unit(int(match[1] or match[2]), match[1] is not None, ordered)


def _whole_number(element: _Element, name: str, path: Path) -> int:
    text = element.attributes.get(name, "").strip()
    if not _WHOLE_NUMBER.fullmatch(text):
        raise UserError(
            f"{path}: a {element.name} whose {name} is {text[:40]!r}, wanted a whole number: "
            "copy it again"
        )
    return int(text)


def _read_elements(path: Path, home: Path) -> list[_Element]:
    """Return all elements of an XML file, in order; text between them is passed over.

    Raises:
        UserError: it can't be read, is no XML, too large or too deep, or declares a type.
    """
    content = read_label_file(path, home)
    elements: list[_Element] = []
    above: list[int] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(elements) >= MAX_ELEMENTS or len(above) >= MAX_DEPTH:
            raise UserError(
                f"{path}: more than {MAX_ELEMENTS} elements, or more than {MAX_DEPTH} inside one "
                "another: no label file of MMI"
            )
        elements.append(_Element(name, attributes, above[-1] if above else -1))
        above.append(len(elements) - 1)

    def end(name: str) -> None:
        above.pop()

    def refuse(*_: Any) -> NoReturn:
        raise UserError(
            f"{path}: declares a document type or an entity, which MMI's files never do and "
            "which could fill the memory or fetch other files: not read"
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(content, True)
    except UserError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise UserError(f"{path}: no XML ({error}): copy it again") from None
    return elements
