"""All tables and pictures as files: a form each, and one page that asks for nothing outside."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emojax import html
from emojax.files import whole_file
from emojax.significance import accuracy, estimate
from emojax.tables import drawings, published
from emojax.tables.calibrated import confidences
from emojax.tables.clips import CrossValidated, label_each
from emojax.tables.explained import draw_explained
from emojax.tables.modalities import Ablation, modality_rows
from emojax.tables.outcome import Outcome, labelled
from emojax.tables.pictures import unit_rows
from emojax.tables.table import WRITERS, Table, to_html
from emojax.tables.trained import PROTOCOLS, PictureStudy

_STYLE = """
body { max-width: 96rem; }
img { max-width: min(100%, 62rem); background: #fff; }
figure { margin: 1rem 0; }
.notice { border-left: .3rem solid #E69F00; padding: .5rem 1rem; }
th, td { font-size: .8rem; padding: .25rem .6rem .25rem 0; }
th { white-space: normal; overflow-wrap: normal; vertical-align: bottom; }
th:has(.word), td:has(.word) { text-align: left; }
@media print {
  :root { --page: #fff; --ink: #000; --soft: #333; --line: #999; --card: #fff; }
  body { max-width: none; }
  .scroll { overflow: visible; }
  table { font-size: .75rem; }
  figure, tr { break-inside: avoid; }
}
"""

FEWEST = 3
"""People of a group below which its figure would tell of persons."""


class Drawing(NamedTuple):
    """A picture of the page."""

    name: str
    """Of its file."""
    title: str
    caption: str
    content: bytes
    """PNG."""


def _each_seed(study: PictureStudy, protocol: str) -> dict[str, list[Outcome]]:
    return {
        network: study.outcomes(network, protocol)
        for network in published.NETWORKS
        if study.outcomes(network, protocol)
    }


def _of_seeds(seeds: Sequence[int], how: str) -> str:
    """Return the words of a caption that say which seeds are shown; none where there is one."""
    return f" Seeds {', '.join(map(str, seeds))}: {how}." if len(seeds) > 1 else ""


def _of_each(seeds: Mapping[str, Sequence[int]], how: str) -> str:
    """Return the words of a caption that say which seeds are shown of each network."""
    several = list(dict.fromkeys(tuple(each) for each in seeds.values()))
    if len(several) < 2:
        return _of_seeds(several[0], how)
    named = "; ".join(f"{label} {', '.join(map(str, each))}" for label, each in seeds.items())
    return f" Seeds: {named}. Where there are several, {how}."


def draw_study(study: PictureStudy) -> list[Drawing]:
    """Return the pictures of a set of pictures; each says what it shows of several seeds."""
    found: list[Drawing] = []

    def add(name: str, title: str, caption: str, content: bytes) -> None:
        file = f"{study.data.name}-{name}".replace(" ", "_").lower()
        found.append(Drawing(file, f"{title}, {study.name}", caption.strip(), content))

    for protocol in PROTOCOLS:
        outcomes = _each_seed(study, protocol)
        if not outcomes:
            continue
        runs = {network: study.runs[network, protocol] for network in outcomes}
        seeds = [run.config.seed for run in next(iter(runs.values()))]
        first = {network: each[0] for network, each in outcomes.items()}
        only_first = _of_seeds(seeds, "the first one is shown")
        extractor = "Of AU first: the perceptron's, its extractor held still."
        add(
            f"losses-{protocol}",
            f"Loss by epoch, {protocol}",
            extractor * (protocol == "AU first") + _of_seeds(seeds, "a line each"),
            drawings.draw_losses(runs),
        )
        add(
            f"confusions-{protocol}",
            f"Emotions taken for one another, {protocol}",
            "Percent of each true emotion; darker is more."
            + _of_seeds(seeds, "their answers are added up"),
            drawings.draw_confusions(outcomes),
        )
        if study.pixels.people_are_known:
            add(
                f"people-{protocol}",
                f"From person to person, {protocol}",
                "A point a person; an average hides for whom a network fails."
                + _of_seeds(seeds, "their answers are put together"),
                drawings.draw_people(outcomes),
            )
        if protocol != "E2" and all(labelled(out, "units").path.size for out in first.values()):
            rows = {network: unit_rows(each, each[0].units) for network, each in outcomes.items()}
            add(
                f"units-{protocol}",
                f"Action units, {protocol}",
                "F1 at a threshold of 0.5, lines: 95% intervals over people."
                + _of_seeds(seeds, "their mean"),
                drawings.draw_units(rows),
            )
            add(
                f"roc-{protocol}",
                f"ROC curves of the action units, {protocol}",
                f"The diagonal is chance.{only_first}",
                drawings.draw_roc(first),
            )
        if protocol == "E1":
            known = {network: confidences(each[0]) for network, each in runs.items()}
            add(
                "reliability",
                "Confidence against share of right answers, E1",
                "Larger points hold more faces. On the diagonal, confidence means what it says."
                f"{only_first}",
                drawings.draw_reliability(
                    {
                        network: (
                            ("as it is", conf.before, conf.right),
                            (f"temperature {conf.temperature:.2f}", conf.after, conf.right),
                        )
                        for network, conf in known.items()
                    }
                ),
            )
    for name, title, caption, content in draw_explained(study):
        add(name, title, caption, content)
    return found


def group_rows(tested: CrossValidated) -> list[dict[str, Any]]:
    """Return accuracy by what the owner says of the people: age, sex and so on."""
    outcome, rows = tested.answers[0], []
    people = np.unique(outcome.subject)
    kinds = dict.fromkeys(name for who in tested.groups.values() for name in who)
    for kind in kinds:
        values = np.array([tested.groups.get(who, {}).get(kind, "") for who in people])
        if kind.lower() == "age":
            values = np.array([f"{int(v) // 10 * 10}s" if v.isdigit() else "" for v in values])
        for value in np.unique(values[values != ""]):
            chosen = np.isin(outcome.subject, people[values == value])
            counts = np.stack([answer.select(chosen).emotion_counts() for answer in tested.answers])
            if counts.shape[1] < FEWEST:
                continue
            figure = estimate(counts, accuracy)
            rows.append(
                {
                    "group": f"{kind}: {value}",
                    "value": figure.value,
                    "interval": figure.interval,
                    "people": figure.people,
                }
            )
    return rows


def draw_clips(tested: Sequence[CrossValidated]) -> list[Drawing]:
    """Return the pictures of the cross-validations on clips."""
    found: list[Drawing] = []
    # However each of them spells the folder.
    for data in dict.fromkeys(one.data.resolve() for one in tested):
        mine = [one for one in tested if one.data.resolve() == data]
        labels = label_each(mine)
        outcomes = {label: one.answers for label, one in zip(labels, mine, strict=True)}
        seeds = {label: one.seeds for label, one in zip(labels, mine, strict=True)}
        title = f"clips of {mine[0].name}" + f", {mine[0].sound}" * bool(mine[0].sound)
        called = data.name.lower()
        found.append(
            Drawing(
                f"{called}-confusions",
                f"Emotions taken for one another, {title}",
                "Percent of each true emotion; darker is more."
                + _of_each(seeds, "their answers are added up"),
                drawings.draw_confusions(outcomes),
            )
        )
        if mine[0].people_are_known:
            found.append(
                Drawing(
                    f"{called}-people",
                    f"From person to person, {title}",
                    "A point a person, tested by a network that never saw them."
                    + _of_each(seeds, "their answers are put together"),
                    drawings.draw_people(outcomes),
                )
            )
        for one, label in zip(mine, labels, strict=True):
            if rows := group_rows(one):
                found.append(
                    Drawing(
                        f"{called}-groups-{_file_name(label)}",
                        f"By group of people, {label}, {title}",
                        f"Groups of {FEWEST} people and more, in the owner's words."
                        + _of_seeds(one.seeds, "their mean"),
                        drawings.draw_groups(rows),
                    )
                )
    return found


def _told_apart(names: Sequence[str]) -> list[str]:
    """Return names for files: whatever comes again has a number, or it would replace the first."""
    found: list[str] = []
    for name in names:
        free = (f"{name}-{number}" for number in itertools.count(2))
        found.append(next(one for one in itertools.chain([name], free) if one not in found))
    return found


def _file_name(label: str) -> str:
    """Return a label in letters that a file's name may have everywhere."""
    return re.sub(r"\W+", "-", label).strip("-").lower()


def draw_modalities(ablation: Ablation) -> Drawing:
    """Return the picture of what each network made of the sides that it was given."""
    rows = [row | {"group": row["short"]} for row in modality_rows(ablation)]
    return Drawing(
        f"{ablation.data.name.lower()}-modalities",
        f"Modalities, clips of {ablation.name}, {ablation.sound}",
        "Lines: 95% intervals over people." + _of_seeds(ablation.seeds, "their mean"),
        drawings.draw_groups(rows),
    )


def write_tables(
    out: Path,
    title: str,
    tables: Sequence[Table],
    pictures: Sequence[Drawing],
    notices: Sequence[str],
    facts: Sequence[str],
) -> Path:
    """Write every table in every form, the pictures, and the page; return the page's path.

    All of them are made before the first is written, and each is there whole or as it was. Letters
    that UTF-8 has not, of a file's name that is not in it, stand as Python writes them.

    Args:
        out: folder; what stands there under the same names is written anew.
        title: of the page.
        tables: from the first on the page to the last.
        pictures: below the tables.
        notices: above all else.
        facts: how it was made, at the end.
    """
    files: dict[Path, str | bytes] = {
        out / "tables" / f"{table.name}.{suffix}": write(table)
        for table in tables
        for suffix, write in WRITERS.items()
    }
    whole = "\n".join(WRITERS["md"](table) for table in tables)
    heads = "".join(f"> {notice}\n\n" for notice in notices)
    files[out / "tables.md"] = f"# {title}\n\n{heads}{whole}"
    parts = [html.element("h1", title)]
    parts += [html.element("p", notice, "notice") for notice in notices]
    for table in tables:
        parts += to_html(table)
    names = _told_apart([picture.name for picture in pictures])
    for picture, name in zip(pictures, names, strict=True):
        files[out / "figures" / f"{name}.png"] = picture.content
        caption = html.element("figcaption", picture.caption)
        shown = html.picture(picture.content, "png", f"{picture.title}. {picture.caption}")
        parts += [html.element("h2", picture.title), html.element("figure", [shown, caption])]
    parts.append(html.element("h2", "How it was made"))
    parts += [html.element("p", html.text(fact, len(fact))) for fact in facts]
    path = out / "index.html"
    files[path] = html.page(title, parts, _STYLE)
    for folder in ("tables", "figures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for place, content in files.items():
        if isinstance(content, str):
            content = content.encode("utf-8", "backslashreplace")
        with whole_file(place) as file:
            file.write(content)
    return path
