"""A build's report as a page: what was read, kept and left out, with pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from emojax import html, labels
from emojax.data.kept_faces import choose_faces
from emojax.data.shards import dataset_info
from emojax.data.splits import SPLITS
from emojax.data.thumbnails import Thumbnail, read_thumbnails
from emojax.errors import UserError
from emojax.html import Markup, element, text

if TYPE_CHECKING:
    from emojax.data.builders.base import FaceBuilder

REPORT_PAGE = "report.html"

SHOWN = 8
"""Examples of each reason and faces of each label that the page shows."""

_LINK = re.compile(r"https?://[^\s<>&\"']+[^\s<>&\"'.,;:)]")

_STYLE = """
.figures {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .6rem;
  margin: 1.5rem 0;
}
.figures > div { background: var(--card); border: 1px solid var(--line); padding: .7rem .9rem; }
.figures b {
  display: block; font-size: 1.6rem; line-height: 1.2; font-weight: 600;
  font-variant-numeric: tabular-nums;
}
.figures .lost b { color: var(--warn); }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .8rem; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); padding: .7rem; }
figure code { display: block; color: var(--ink); margin-bottom: .25rem; }
.shot {
  display: flex; align-items: center; justify-content: center; height: 160px;
  margin-bottom: .6rem;
}
.shot img { max-width: 100%; max-height: 160px; }
.blank {
  border: 1px dashed var(--line); color: var(--soft); font-size: .85rem; padding: 0 1rem;
  text-align: center;
}
.kept { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.faces { display: grid; grid-template-columns: repeat(4, minmax(0, 80px)); gap: 4px; }
.faces img { width: 100%; height: auto; display: block; }
"""


def write_report_page(
    folder: Path,
    report: Mapping[str, Any],
    builder: type[FaceBuilder],
    pictures: Mapping[str, Path | None],
) -> Path:
    """Write `report.html` beside finished shards and return its path.

    Files that were left out are opened in a process of their own, a few at most:
    one that crashes, hangs or can't be opened is a tile of text.

    Args:
        folder: of the shards, with their `input_spec.json` and `report.json`.
        report: what `report.json` holds.
        builder: of the data set: its description, licence, citation and source.
        pictures: the file behind each path in `left_out_files`, by that path; one that
            is not there, or None, is shown as a tile of text.

    Raises:
        OSError: the page can't be written.
    """
    name = str(report["name"])
    parts = [
        element("h1", name),
        *_about(builder),
        _figures(report),
        *_notes(report),
        *_splits(report),
        *_emotions(report),
        *_action_units(report),
        *_domains(report),
        *_faces(folder),
        *_left_out(report, pictures),
        *_unheard(report),
        *_facts(report),
        *_making(report),
    ]
    path = folder / REPORT_PAGE
    path.write_text(html.page(f"{name}: what was built", parts, _STYLE), encoding="utf-8")
    return path


def _about(builder: type[FaceBuilder]) -> list[Markup]:
    parts = [element("p", _linked(builder.DESCRIPTION))] if builder.DESCRIPTION else []
    facts = []
    for title, value in (
        ("Licence", builder.LICENCE and _linked(builder.LICENCE)),
        ("Source", builder.SOURCE_HELP and _linked(builder.SOURCE_HELP)),
        ("Citation", builder.CITATION and html.lines(builder.CITATION)),
    ):
        if value:
            facts += [element("dt", title), element("dd", value)]
    return [*parts, element("dl", facts)] if facts else parts


def _figures(report: Mapping[str, Any]) -> Markup:
    frames, found = report.get("frames_kept", 0), report.get("frames_with_face", 0)
    lost = sum(report.get("left_out", {}).values())
    people = sum(_people(counts) for counts in _by_split(report).values())
    tiles = [
        ("", _number(report.get("rows_read", 0)), "files read"),
        ("", _number(report.get("examples_kept", 0)), "examples kept"),
        ("lost" if lost else "", _number(lost), "left out"),
        ("", _number(people), "people"),
        ("", _number(found), f"faces found in {_number(frames)} frames{_percent(found, frames)}"),
    ]
    for key, caption in (
        ("examples_with_sound", "examples with sound"),
        ("examples_without_face", "examples of sound alone"),
        ("examples_with_votes", "examples with votes"),
    ):
        if report.get(key):
            tiles.append(("", _number(report[key]), caption))
    return element(
        "div",
        [
            element("div", [element("b", value), element("small", caption)], kind)
            for kind, value, caption in tiles
        ],
        "figures",
    )


def _notes(report: Mapping[str, Any]) -> list[Markup]:
    notes = [element("li", note) for note in report.get("notes", ())]
    return [element("h2", "Notes"), element("ul", notes)] if notes else []


def _splits(report: Mapping[str, Any]) -> list[Markup]:
    splits = _by_split(report)
    total = sum(counts["examples"] for counts in splits.values())
    rows = [
        (
            split,
            _number(counts["examples"]),
            _percent(counts["examples"], total, around="{}"),
            _number(_people(counts)),
        )
        for split, counts in splits.items()
    ]
    if total and total == sum(_people(counts) for counts in splits.values()):
        people = "Each example counts as a person of its own."
    else:
        people = "No person stands in two of them."
    rule = f"Split rule: {report['split_rule']}. " if report.get("split_rule") else ""
    return [
        element("h2", "Splits"),
        element("p", rule + people),
        html.table(("split", "examples", "share", "people"), rows),
    ]


def _emotions(report: Mapping[str, Any]) -> list[Markup]:
    splits = _by_split(report)
    found = {name for counts in splits.values() for name in counts.get("emotions", ())}
    if not found:
        return []
    # In the vocabulary's order, as everywhere; `unknown` is in none of its sets.
    order = list(dict.fromkeys(name for names in labels.EMOTION_SETS.values() for name in names))
    names = [*(name for name in order if name in found), *sorted(found - set(order))]
    rows = _counted(names, [counts.get("emotions", {}) for counts in splits.values()])
    return [element("h2", "Emotions"), html.table(("emotion", *splits, "all"), rows)]


def _action_units(report: Mapping[str, Any]) -> list[Markup]:
    splits = _by_split(report)
    heading = element("h2", "Action units")
    described = {f"AU{number:02d}": words for number, words in labels.ACTION_UNIT_NAMES.items()}
    rows = []
    for name in dict.fromkeys(n for counts in splits.values() for n in counts["action_units"]):
        units = [counts["action_units"].get(name, {}) for counts in splits.values()]
        present = [unit.get("present", 0) for unit in units]
        known = [here + unit.get("absent", 0) for here, unit in zip(present, units, strict=True)]
        if sum(known):
            title = element("span", [name, " ", element("small", described.get(name, ""))])
            pairs = zip([*present, sum(present)], [*known, sum(known)], strict=True)
            rows.append((title, *(f"{_number(a)} / {_number(b)}" for a, b in pairs)))
    if not rows:
        return [heading, element("p", "No action unit of any example is known.")]
    return [
        heading,
        element("p", "Present, of those examples in which it is known whether it is."),
        html.table(("action unit", *splits, "all"), rows),
    ]


def _domains(report: Mapping[str, Any]) -> list[Markup]:
    domains = report.get("domains", {})
    if not any(domains):
        return []
    splits = _by_split(report)
    rows = [
        (
            domain or "none named",
            _number(counts["rows_read"]),
            _number(counts["examples_kept"]),
            *(_number(split.get("domains", {}).get(domain, 0)) for split in splits.values()),
        )
        for domain, counts in domains.items()
    ]
    return [
        element("h2", "Domains"),
        html.table(("domain", "files read", "examples kept", *splits), rows),
    ]


def _faces(folder: Path) -> list[Markup]:
    heading = element("h2", "Faces that were kept")
    try:
        chosen = choose_faces(dataset_info(folder), SHOWN)
    except UserError as error:
        return [heading, element("p", f"The shards can't be read back: {error}")]
    if not chosen:
        return [heading, element("p", "None: the examples hold sound alone.")]
    parts = [
        heading,
        element(
            "p", "As a network sees them, other people first; of a clip the frame in its middle."
        ),
    ]
    blocks = []
    for label, crops in chosen.items():
        images = [html.picture(_jpeg(crop), "jpeg", f"a face: {label}") for crop in crops]
        blocks.append(element("div", [element("h3", label), element("div", images, "faces")]))
    return [*parts, element("div", blocks, "kept")]


def _left_out(report: Mapping[str, Any], pictures: Mapping[str, Path | None]) -> list[Markup]:
    counts = report.get("left_out", {})
    heading = element("h2", "What was left out")
    if not counts:
        return [heading, element("p", "Nothing: every file gave an example.")]
    read = report.get("rows_read", 0)
    reasons = sorted(counts, key=lambda reason: (-counts[reason], reason))
    rows = [
        (reason, _number(counts[reason]), _percent(counts[reason], read, around="{}"))
        for reason in reasons
    ]
    files = {reason: [] for reason in reasons}
    for file in report.get("left_out_files", ()):
        files.setdefault(file["reason"], []).append(file)
    shown = {reason: _spread(files[reason], SHOWN) for reason in reasons}
    paths = [pictures.get(file["path"]) for chosen in shown.values() for file in chosen]
    thumbnails = iter(read_thumbnails(paths))
    parts = [heading, html.table(("reason", "files", "of all read"), rows)]
    for reason in reasons:
        total = len(files[reason])
        which = f" ({SHOWN} of {_number(total)}, spread over all)" if total > SHOWN else ""
        tiles = [_tile(file, next(thumbnails)) for file in shown[reason]]
        parts += [element("h3", f"{reason}{which}"), element("div", tiles, "tiles")]
    parts.append(element("p", "Every file that was left out stands in report.json."))
    return parts


def _tile(file: Mapping[str, str], thumbnail: Thumbnail) -> Markup:
    if isinstance(thumbnail, bytes):
        shot = element("div", html.picture(thumbnail, "jpeg", "what the file shows"), "shot")
    else:
        shot = element("div", thumbnail, "shot blank")
    caption = element("figcaption", [element("code", file["path"]), file["detail"]])
    return element("figure", [shot, caption])


def _unheard(report: Mapping[str, Any]) -> list[Markup]:
    unheard = report.get("unheard", ())
    if not unheard:
        return []
    items = [
        element("li", [element("code", entry["path"]), ": ", entry["detail"]])
        for entry in _spread(unheard, SHOWN)
    ]
    return [
        element("h2", "Kept without their sound"),
        element("p", f"{_number(len(unheard))} examples, among them:"),
        element("ul", items),
    ]


def _facts(report: Mapping[str, Any]) -> list[Markup]:
    """Return what the data set's own files say beside the labels, as its builder counted it."""
    facts = []
    for name, value in report.get("facts", {}).items():
        told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        facts += [element("dt", name.replace("_", " ")), element("dd", told)]
    return [element("h2", "From the owner's files"), element("dl", facts)] if facts else []


def _making(report: Mapping[str, Any]) -> list[Markup]:
    facts = []
    for title, value in (
        ("Split rule", report.get("split_rule")),
        ("Time", "seconds" in report and _duration(report["seconds"])),
        ("Worker processes", "workers" in report and (report["workers"] or "none beside this one")),
        ("Beam runner", report.get("beam")),
        ("emojax", report.get("emojax")),
        ("Fingerprint", report.get("fingerprint") and element("code", report["fingerprint"])),
    ):
        if value:
            facts += [element("dt", title), element("dd", value)]
    return [
        element("h2", "How it was made"),
        element("dl", facts),
        element("p", "Every figure on this page stands in report.json beside it."),
    ]


def _by_split(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    splits = report.get("splits", {})
    return {split: splits[split] for split in SPLITS if split in splits}


def _people(counts: Mapping[str, Any]) -> int:
    return len(counts.get("people", ()))


def _counted(names: Sequence[str], columns: Sequence[Mapping[str, int]]) -> list[list[str]]:
    """Return a row per name: its count in each column, and in all of them."""
    rows = []
    for name in names:
        counts = [column.get(name, 0) for column in columns]
        rows.append([name, *map(_number, [*counts, sum(counts)])])
    return rows


def _spread(items: Sequence[Any], wanted: int) -> list[Any]:
    """Return up to `wanted` items from all over a list, the first included."""
    if len(items) <= wanted:
        return list(items)
    return [items[index * len(items) // wanted] for index in range(wanted)]


def _jpeg(crop: np.ndarray) -> bytes:
    done, encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert done
    return encoded.tobytes()


def _linked(words: str) -> Markup:
    """Return a builder's own words with their addresses as links."""
    shown = text(words, longest=10_000)
    return Markup(_LINK.sub(lambda found: f'<a href="{found[0]}">{found[0]}</a>', shown))


def _number(value: int) -> str:
    return f"{value:,}"


def _percent(part: int, whole: int, around: str = " ({})") -> str:
    return around.format(f"{100 * part / whole:.1f}%") if whole else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
