from __future__ import annotations

import time
from pathlib import Path

import pytest

from emojax.data.builders.mmi_units import Unit
from emojax.data.builders.mmi_xml import Session, read_emotion_code, read_session, read_units
from emojax.errors import UserError

EMOTION = (
    '<?xml version="1.0" encoding="{}"?>{}<Annotation><Metatag Name="Id" Value="9"/>'
    '<Metatag Name="Emotion" Value="{}"/></Annotation>'
)


def _file(folder: Path, content: str | bytes) -> Path:
    path = folder / "a.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_session_names_its_person_and_views(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        '<session sessionId="3"><subject id="7"/>'
        '<track filename="C:\\mmi\\S007-001.AVI" type="Video" view="2"/>'
        '<track filename="../../S007-002.avi" view="0"/><track filename="a.wav"/></session>',
    )
    assert read_session(path, tmp_path) == Session(
        "7", {"": "2", "s007-001.avi": "2", "s007-002.avi": "0"}
    )


def test_a_session_may_say_nothing(tmp_path: Path) -> None:
    assert read_session(_file(tmp_path, "<session/>"), tmp_path) == Session("", {})


@pytest.mark.parametrize(
    "subjects",
    ['<subject id="1"/><subject id="2"/>', '<subject id="../1"/>', '<subject id="a b"/>'],
)
def test_a_person_in_doubt_is_refused(tmp_path: Path, subjects: str) -> None:
    with pytest.raises(UserError, match="subject is "):
        read_session(_file(tmp_path, f"<session>{subjects}</session>"), tmp_path)


def test_the_emotion_is_the_metatag_of_that_name(tmp_path: Path) -> None:
    assert read_emotion_code(_file(tmp_path, EMOTION.format("UTF-8", "", 4)), tmp_path) == 4
    assert read_emotion_code(_file(tmp_path, EMOTION.format("UTF-8", "", "")), tmp_path) is None
    assert read_emotion_code(_file(tmp_path, "<Annotation/>"), tmp_path) is None


@pytest.mark.parametrize("value", ["happy", "-1", "1.5", "99999999", "\N{SUPERSCRIPT TWO}"])
def test_an_emotion_that_is_no_number_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"a\.xml: Emotion is "):
        read_emotion_code(_file(tmp_path, EMOTION.format("UTF-8", "", value)), tmp_path)


def test_action_units_are_read_with_their_markers(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        '<ActionUnits><ActionUnit Number="12"><Marker Type="2" Frame="30"/>'
        '<Marker Type="0" Frame="41"/><Marker Type="0" Frame="1"/>'
        '<Marker Type="1" Frame="20"/></ActionUnit>'
        '<ActionUnit Number="L10"/><ActionUnit Number="46R"><Marker Type="3" Frame="0"/>'
        '</ActionUnit><Marker Type="9" Frame="x"/></ActionUnits>',
    )
    assert read_units(path, tmp_path) == (
        Unit(12, True, ((0, 0), (19, 1), (29, 2), (40, 0))),
        Unit(10, False, ()),
        Unit(46, False, ((0, 3),)),
    )


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ('<ActionUnit Number="12"><Marker Type="4" Frame="1"/></ActionUnit>', "type 4 at frame 1"),
        ('<ActionUnit Number="12"><Marker Type="1"/></ActionUnit>', "Marker whose Frame is ''"),
        ('<ActionUnit Number="12"><Marker Frame="1"/></ActionUnit>', "Marker whose Type is ''"),
        ('<ActionUnit Number="12"><Marker Type="1" Frame="-3"/></ActionUnit>', "Frame is '-3'"),
        ('<ActionUnit Number="12"><Marker Type="1" Frame="nan"/></ActionUnit>', "Frame is 'nan'"),
        ('<ActionUnit Number="12"><Marker Type="1" Frame="9999999"/></ActionUnit>', "up to"),
        ('<ActionUnit Number="1e1"/>', "ActionUnit of number '1e1'"),
        ("<ActionUnit/>", "ActionUnit of number ''"),
        ("", "lists no action unit: copy it again"),
        ('<Marker Type="2" Frame="30"/>', "lists no action unit"),
        ("<ActionUnit", "no XML"),
        ("<a>" * 40 + "</a>" * 40, "more than 32 inside"),
        ("<a/>" * 3000, "more than 2000 elements"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, inside: str, said: str) -> None:
    path = _file(tmp_path, f"<ActionUnits>{inside}</ActionUnits>")
    with pytest.raises(UserError, match=rf"a\.xml: .*{said}"):
        read_units(path, tmp_path)


LAUGHS = (
    "<!DOCTYPE lolz ["
    + '<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {new} "{f"&{old};" * 10}">'
        for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    )
)
HOSTILE = {
    "billion laughs": f"{LAUGHS}]>",
    "blow-up of one": f'<!DOCTYPE a [<!ENTITY b "{"x" * 100_000}">]>',
    "external entity": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    "parameter entity": '<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1:9/x"> %b;]>',
    "external type": '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd">',
    "defaults": '<!DOCTYPE a [<!ATTLIST Metatag Value CDATA "1">]>',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("attack", sorted(HOSTILE))
def test_a_document_type_is_refused_in_any_encoding(
    tmp_path: Path, attack: str, encoding: str
) -> None:
    name = {"utf-8-sig": "UTF-8", "utf-16-be": "UTF-16BE"}.get(encoding, encoding)
    text = EMOTION.format(name, HOSTILE[attack], "&b;")
    path = _file(tmp_path, text.encode(encoding))
    start = time.monotonic()
    with pytest.raises(UserError, match=r"a\.xml: declares a document type or an entity"):
        read_emotion_code(path, tmp_path)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 100,
        b"\xff\xfe<",
        EMOTION.format("UTF-8", "", 4).encode("utf-16"),
        EMOTION.format("no-such-encoding", "", 4).encode(),
        EMOTION.format("utf-7", "", 4).encode("utf-7"),
        EMOTION.format("idna", "", 4).encode(),
        EMOTION.format("shift_jis", "", 4).encode(),
        b"<a>&b;</a>",
        b"RIFF",
        b"<a></b>",
        b"<a/><a/>",
    ],
)
def test_what_is_no_xml_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"a\.xml: no XML \("):
        read_emotion_code(_file(tmp_path, content), tmp_path)


def test_other_encodings_are_read(tmp_path: Path) -> None:
    for encoding in ("utf-16", "latin-1", "cp1252"):
        text = EMOTION.format(encoding, "<!-- \N{LATIN SMALL LETTER E WITH ACUTE} -->", 4)
        assert read_emotion_code(_file(tmp_path, text.encode(encoding)), tmp_path) == 4


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    with path.open("wb") as file:
        file.truncate(2**36)
    with pytest.raises(UserError, match="over 4194304 bytes"):
        read_units(path, tmp_path)
