"""Episodes -> an ELAN file: a tier for each face and action unit or emotion.

ELAN is the annotation editor of the Max Planck Institute for Psycholinguistics; its files are
XML, their form is the EAF 3.0 schema's.
"""

from __future__ import annotations

import datetime
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from emojax.runtime.rows import Row
from emojax.runtime.sources import Source

_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"
_TYPE = "interval"
# What XML can't hold at all; a file's name may.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)


def _media_type(media: Source) -> str:
    """Return what ELAN calls a kind of media."""
    suffix = media.path.suffix.lower()
    if media.kind == "sound":
        return "audio/x-wav" if suffix == ".wav" else "audio/*"
    return "video/mp4" if suffix in (".mp4", ".m4v") else "video/*"


def _relative(media: Path, folder: Path) -> str | None:
    """Return the way from a folder to media, which begins with a dot; None: another drive."""
    try:
        way = Path(os.path.relpath(media, folder)).as_posix()
    except ValueError:
        return None
    return way if way.startswith("../") else f"./{way}"


def write_elan(path: Path, media: Source, episodes: Sequence[Row], last_frame_s: float) -> None:
    """Write a video's episodes as tiers.

    An annotation ends where its last frame does; one of a single frame, or at the very end, is a
    millisecond long at least, since ELAN shows nothing shorter.

    Args:
        path: the file, replaced where it is there.
        media: the video, or the sound.
        episodes: rows of `FileSummary.episodes`.
        last_frame_s: when the video's last frame is shown, in seconds.

    Raises:
        OSError: it can't be written.
    """
    ET.register_namespace("xsi", _SCHEMA)
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    document = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "emojax",
            "DATE": now,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{_SCHEMA}}}noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = ET.SubElement(document, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    # Letters as they are: ELAN (nl.mpi.util.FileUtility) writes and reads no percent signs.
    place = media.path.resolve()
    name = place.as_posix()
    descriptor = ET.SubElement(
        header,
        "MEDIA_DESCRIPTOR",
        MEDIA_URL=_clean(
            f"file:{name}" if name.startswith("//") else f"file:///{name.lstrip('/')}"
        ),
        MIME_TYPE=_media_type(media),
    )
    # An .eaf and its media that were copied together find each other by this.
    relative = _relative(place, path.parent.resolve())
    if relative is not None:
        descriptor.set("RELATIVE_MEDIA_URL", _clean(relative))
    order = ET.SubElement(document, "TIME_ORDER")
    spans: list[tuple[Row, int, int]] = []
    for row in episodes:
        begin = round(1e3 * float(row["start"] or 0.0))
        end = round(1e3 * min(float(row["end"] or 0.0), last_frame_s))
        spans.append((row, begin, max(end, begin + 1)))
    # In the order of time, as the schema has it.
    times = sorted({time for _, *both in spans for time in both})
    slots = {time: f"ts{number}" for number, time in enumerate(times, 1)}
    for time, slot in slots.items():
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time))
    tiers: dict[str, ET.Element] = {}
    for number, (row, begin, end) in enumerate(spans, 1):
        # A tier holds no two things at once, and an emotion may return within the pause of another.
        who = "sound" if row["face_id"] is None else f"face{row['face_id']}"
        name = f"{who}_{row['what']}"
        if name not in tiers:
            tiers[name] = ET.SubElement(document, "TIER", LINGUISTIC_TYPE_REF=_TYPE, TIER_ID=name)
        annotation = ET.SubElement(ET.SubElement(tiers[name], "ANNOTATION"), "ALIGNABLE_ANNOTATION")
        annotation.set("ANNOTATION_ID", f"a{number}")
        annotation.set("TIME_SLOT_REF1", slots[begin])
        annotation.set("TIME_SLOT_REF2", slots[end])
        ET.SubElement(annotation, "ANNOTATION_VALUE").text = str(row["what"])
    ET.SubElement(
        document,
        "LINGUISTIC_TYPE",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID=_TYPE,
        TIME_ALIGNABLE="true",
    )
    ET.indent(document)
    ET.ElementTree(document).write(path, encoding="utf-8", xml_declaration=True)
