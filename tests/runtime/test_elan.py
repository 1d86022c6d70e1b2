from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from emojax.runtime.elan import write_elan
from emojax.runtime.rows import Row
from emojax.runtime.sources import Kind, Source


def episode(face_id: int, what: str, start: float, end: float) -> Row:
    return {"file": "a", "face_id": face_id, "what": what, "start": start, "end": end}


def read_back(path: Path) -> dict[str, list[tuple[int, int, str]]]:
    """Tiers as ELAN reads them: annotations point to slots, slots hold milliseconds."""
    root = ET.parse(path).getroot()
    slots = {
        one.get("TIME_SLOT_ID"): int(one.get("TIME_VALUE", "")) for one in root.iter("TIME_SLOT")
    }
    assert list(slots.values()) == sorted(slots.values())
    types = {one.get("LINGUISTIC_TYPE_ID") for one in root.iter("LINGUISTIC_TYPE")}
    tiers = {}
    for tier in root.iter("TIER"):
        assert tier.get("LINGUISTIC_TYPE_REF") in types
        tiers[tier.get("TIER_ID", "")] = [
            (
                slots[one.get("TIME_SLOT_REF1")],
                slots[one.get("TIME_SLOT_REF2")],
                one.findtext("ANNOTATION_VALUE", ""),
            )
            for one in tier.iter("ALIGNABLE_ANNOTATION")
        ]
    return tiers


def test_episodes_become_tiers(tmp_path):
    rows = [
        episode(0, "AU12", 0.04, 1.5),
        episode(0, "happiness", 0.5, 2.0),
        episode(1, "AU12", 0.04, 0.04),
        episode(0, "AU12", 1.9, 2.2),
    ]
    write_elan(tmp_path / "a.eaf", Source(tmp_path / "a.mp4", "video"), rows, 2.0)
    assert read_back(tmp_path / "a.eaf") == {
        "face0_AU12": [(40, 1500, "AU12"), (1900, 2000, "AU12")],
        "face0_happiness": [(500, 2000, "happiness")],
        # One frame: a millisecond, or ELAN would not show it.
        "face1_AU12": [(40, 41, "AU12")],
    }


def test_the_video_is_named_whatever_it_is_called(tmp_path):
    media = tmp_path / "a & <b> é\x01\udcff.mov"
    write_elan(tmp_path / "a.eaf", Source(media, "video"), [], 0.0)
    root = ET.parse(tmp_path / "a.eaf").getroot()
    (descriptor,) = root.iter("MEDIA_DESCRIPTOR")
    assert descriptor.get("MEDIA_URL", "").startswith("file:///")
    assert "a & <b> é" in descriptor.get("RELATIVE_MEDIA_URL", "")
    assert read_back(tmp_path / "a.eaf") == {}


# ELAN's own search (nl.mpi.util.FileUtility): it undoes no percent signs, and a way that does not
# begin with a dot is none.
@pytest.mark.parametrize(
    ("name", "kind", "way", "form"),
    [
        ("films/my talk 5%é.mp4", "video", "../../films/my talk 5%é.mp4", "video/mp4"),
        ("out/elan/a.mkv", "video", "./a.mkv", "video/*"),
        ("out/elan/..a/a.mov", "video", "./..a/a.mov", "video/*"),
        ("voice.WAV", "sound", "../../voice.WAV", "audio/x-wav"),
        ("voice.webm", "sound", "../../voice.webm", "audio/*"),
    ],
)
def test_media_are_found_from_where_the_file_lies(
    tmp_path: Path, name: str, kind: Kind, way: str, form: str
) -> None:
    path = tmp_path / "out" / "elan" / "a.eaf"
    path.parent.mkdir(parents=True)
    write_elan(path, Source(tmp_path / name, kind), [], 0.0)
    (descriptor,) = ET.parse(path).getroot().iter("MEDIA_DESCRIPTOR")
    assert descriptor.get("RELATIVE_MEDIA_URL") == way
    assert descriptor.get("MEDIA_URL") == f"file://{(tmp_path / name).resolve()}"
    assert descriptor.get("MIME_TYPE") == form
