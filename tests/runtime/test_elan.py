from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from emojax.runtime.elan import write_elan
from emojax.runtime.rows import Row


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
    write_elan(tmp_path / "a.eaf", tmp_path / "a.mp4", rows, 2.0)
    assert read_back(tmp_path / "a.eaf") == {
        "face0_AU12": [(40, 1500, "AU12"), (1900, 2000, "AU12")],
        "face0_happiness": [(500, 2000, "happiness")],
        # One frame: a millisecond, or ELAN would not show it.
        "face1_AU12": [(40, 41, "AU12")],
    }


def test_the_video_is_named_whatever_it_is_called(tmp_path):
    media = tmp_path / "a & <b> é\x01\udcff.mov"
    write_elan(tmp_path / "a.eaf", media, [], 0.0)
    root = ET.parse(tmp_path / "a.eaf").getroot()
    (descriptor,) = root.iter("MEDIA_DESCRIPTOR")
    assert descriptor.get("MEDIA_URL", "").startswith("file:///")
    assert "a & <b> é" in descriptor.get("RELATIVE_MEDIA_URL", "")
    assert read_back(tmp_path / "a.eaf") == {}
