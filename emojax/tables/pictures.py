"""Tables 6.1 to 6.7 from what was trained on pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emojax.labels import ACTION_UNIT_NAMES, AU_COLUMNS, UNKNOWN
from emojax.significance import (
    Figure,
    accuracy,
    average_recall,
    estimate,
    mean_of_units,
    unit_accuracies,
    unit_f1,
)
from emojax.tables import published
from emojax.tables.outcome import Outcome, stack_counts
from emojax.tables.table import Column, Table
from emojax.tables.trained import PictureStudy

SYNTHETIC = (
    "Synthetic: drawn people in the domains S1 studio, S2 hard light, S3 pose and camera, S4 near "
    "infrared with noise, which stand in for FN1 to FN4. The figures say how well drawings are "
    "read, nothing about real faces."
)

ABSENT_PICTURES = (
    "FN1 to FN4 are absent: FotoNation's sets are closed. Who has them writes a manifest with the "
    "column domain holding FN1 to FN4 and gives it as --data=fotonation/manifest.csv."
)

_ENDS = (
    Column("people", "people", "count"),
    Column("examples", "pictures", "count"),
    Column("seeds", "seeds", "count"),
    Column("published", f"{published.THESIS}, %", "percent"),
    Column("published_on", "on"),
    Column("difference", "difference", "points"),
)


def figure_row(counts: np.ndarray, figure: Figure) -> dict[str, Any]:
    """Return value, interval, people, examples and seeds of a figure.

    Args:
        counts: [seeds, people, ...], of `outcome.stack_counts`.
        figure: of summed counts.
    """
    found = estimate(counts, figure)
    return {
        "value": found.value,
        "interval": found.interval,
        "people": found.people,
        "examples": found.examples,
        "seeds": len(counts),
    }


def emotion_row(counts: np.ndarray) -> dict[str, Any]:
    """Return what `figure_row` does of the accuracy, and the average recall beside it.

    Args:
        counts: [seeds, people, emotions, emotions].
    """
    recall = estimate(counts, average_recall)
    row = figure_row(counts, accuracy)
    return row | {"recall": recall.value, "recall_interval": recall.interval}


UAR_COLUMNS = (
    Column("recall", "UAR, %", "percent"),
    Column("recall_interval", "95% interval", "interval"),
)
"""Of `emotion_row`, beside the accuracy."""


def chance(outcome: Outcome) -> float:
    """Return the accuracy of always answering the most frequent emotion."""
    known = outcome.emotion[outcome.emotion != UNKNOWN]
    return float(np.bincount(known).max() / known.size) if known.size else float("nan")


def beside_published(figure: float | None, on: str, data: str, value: float) -> dict[str, Any]:
    """Return the thesis's figure, and the difference where it is on the same data.

    Args:
        figure: the thesis's, percent; None: it has none.
        on: the data it is on.
        data: the data that ours is on.
        value: ours, a share of 1.
    """
    if figure is None:
        return {}
    share = figure / 100
    return {
        "published": share,
        "published_on": on,
        "difference": value - share if on == data else None,
    }


def _published_emotion(network: str, protocol: str, domain: str, value: float) -> dict[str, Any]:
    figures = published.EMOTION_ACCURACY.get((network, protocol))
    for place, closed in enumerate(published.CLOSED_SETS):
        if figures and domain in (closed, published.STAND_INS[closed]):
            return beside_published(figures[place], closed, domain, value)
    return {}


def _emotion_rows(study: PictureStudy, network: str, protocol: str) -> list[dict[str, Any]]:
    outcomes = study.outcomes(network, protocol)
    rows = []
    for domain in (*study.domains, None):
        mine = [outcome.of_domain(domain) for outcome in outcomes]
        if not (mine[0].emotion != UNKNOWN).any():
            continue
        figures = emotion_row(stack_counts(mine, "emotion"))
        if not study.pixels.people_are_known:
            figures["people"] = None
        pixels = stack_counts([study.pixels.of_domain(domain)], "emotion")
        part = "all" if domain is None else domain or "no domain"
        rows.append(
            {
                "protocol": protocol,
                "network": network,
                "data": f"{study.name} {part}",
                **figures,
                "chance": chance(mine[0]),
                "pixels": figure_row(pixels, accuracy)["value"],
                **_published_emotion(network, protocol, domain or "", figures["value"]),
            }
        )
    return rows


def _absent_rows(
    studies: Sequence[PictureStudy], head: str, wanted: Sequence[tuple[str, str, str]]
) -> list[dict[str, Any]]:
    """Return rows of the closed sets that are not at hand.

    Args:
        studies: what is.
        head: key of the first column.
        wanted: what stands there, and the network and protocol whose published figures are shown:
            each where no stand-in has it beside its own.
    """
    there = {domain for study in studies for domain in study.domains}
    missing = [name for name in published.CLOSED_SETS if name not in there]
    if not missing:
        return []
    if all(published.STAND_INS[name] in there for name in missing) or not wanted:
        return [{head: "all", "data": f"{', '.join(missing)}: absent, see below"}]
    return [
        {
            head: name,
            "data": f"{closed}: absent, see below",
            "published": published.EMOTION_ACCURACY[network, protocol][place] / 100,
            "published_on": closed,
        }
        for name, network, protocol in wanted
        for place, closed in enumerate(published.CLOSED_SETS)
        if closed in missing
    ]


def unknown_people(names: Sequence[str], example: str = "picture") -> list[str]:
    """Return the note on sets whose people are not known; none where there is no such set.

    Args:
        names: of the sets.
        example: what counts as a person there.
    """
    if not names:
        return []
    return [
        f"{', '.join(dict.fromkeys(names))}: who is on a {example} is not known, so that a person "
        f"may have been trained on in another {example}, and intervals are over {example}s."
    ]


def _notes(studies: Sequence[PictureStudy], what: str) -> tuple[str, ...]:
    notes = [SYNTHETIC] if any(study.synthetic for study in studies) else []
    notes += unknown_people([study.name for study in studies if not study.pixels.people_are_known])
    there = {domain for study in studies for domain in study.domains}
    if not set(published.CLOSED_SETS) <= there:
        notes.append(ABSENT_PICTURES)
    return (*notes, what)


_CAPTION = (
    "Figures in percent, on people who were never trained on, as far as they are known; 95% "
    "intervals by bootstrap over people. Chance: always the most frequent emotion. Pixels: "
    "logistic regression on the pixels of the same crops. UAR: unweighted average recall. A "
    "difference stands only where both figures are on the same data."
)


def _threshold_note(studies: Sequence[PictureStudy], network: str) -> str:
    words = [
        f"{study.name}, seed {trained.config.seed}: {trained.threshold:.3f}"
        for study in studies
        for trained in study.runs.get((network, "E2"), ())
    ]
    chosen = f" ({'; '.join(words)})" if words else ""
    return (
        "E1: all emotions of the set, seven in the thesis. E2: all but neutral, and neutral where "
        f"all of these are below a threshold, chosen on validation people alone{chosen}."
    )


def emotion_table(number: str, studies: Sequence[PictureStudy], commands: Sequence[str]) -> Table:
    """Return table 6.1, 6.3 or 6.5: emotions by E1 and E2.

    Args:
        number: of the table.
        studies: a set of pictures each.
        commands: that make it.
    """
    network = published.EMOTION_TABLES[number]
    rows = [
        row
        for protocol in published.PROTOCOLS
        for study in studies
        if study.outcomes(network, protocol)
        for row in _emotion_rows(study, network, protocol)
    ]
    return Table(
        name=number,
        title=f"Table {number}: {published.EXPERIMENTS[network]}, emotion accuracy",
        columns=(Column("protocol", "protocol"), *_emotion_columns()),
        rows=(
            *rows,
            *_absent_rows(studies, "protocol", [(name, network, name) for name in ("E1", "E2")]),
        ),
        notes=_notes(studies, f"{_threshold_note(studies, network)} {_CAPTION}"),
        commands=tuple(commands),
    )


def _emotion_columns() -> tuple[Column, ...]:
    return (
        Column("data", "data"),
        Column("value", "accuracy, %", "percent"),
        Column("interval", "95% interval", "interval"),
        *UAR_COLUMNS,
        Column("chance", "chance, %", "percent"),
        Column("pixels", "pixels, %", "percent"),
        *_ENDS,
    )


def perceptron_table(studies: Sequence[PictureStudy], commands: Sequence[str]) -> Table:
    """Return table 6.7: action units first, then a perceptron to emotions."""
    rows = [
        row
        for network in published.NETWORKS
        for study in studies
        if study.outcomes(network, "AU first")
        for row in _emotion_rows(study, network, "AU first")
    ]
    return Table(
        name="6.7",
        title="Table 6.7: Experiment 4, action units first, then a perceptron: emotion accuracy",
        columns=(Column("network", "extractor"), *_emotion_columns()),
        rows=(
            *rows,
            *_absent_rows(
                studies, "network", [(name, name, "AU first") for name in published.NETWORKS]
            ),
        ),
        notes=_notes(
            studies,
            f"{_without_units(studies)}Emotions from the action units that an extractor, held "
            f"still, finds. {_CAPTION}",
        ),
        commands=tuple(commands),
    )


def _without_units(studies: Sequence[PictureStudy]) -> str:
    """Return the sentence about sets in which no action unit is labelled; empty without one."""
    names = [study.name for study in studies if not (study.pixels.action_units != UNKNOWN).any()]
    return f"{', '.join(names)}: no action unit is labelled. " if names else ""


def unit_rows(outcomes: Sequence[Outcome], units: Sequence[str]) -> list[dict[str, Any]]:
    """Return accuracy and F1 of each action unit that has labels, and of their mean at the end.

    None where nothing is labelled.
    """
    rows, counts = [], stack_counts(outcomes, "units")
    for place, unit in enumerate(units):
        label = outcomes[0].action_units[:, place]
        known = label[label != UNKNOWN]
        if not known.size:
            continue
        # Of this unit alone: who has no label of it is not among its people.
        mine = counts[:, :, place : place + 1]
        figures = figure_row(mine, mean_of_units(unit_accuracies))
        f1 = figure_row(mine, mean_of_units(unit_f1))
        share = float(known.mean())
        rows.append(
            {
                "unit": unit,
                **figures,
                "examples": int(known.size),
                "support": int(known.sum()),
                "f1": f1["value"],
                "f1_interval": f1["interval"],
                "chance": max(share, 1 - share),
            }
        )
    if not rows:
        return []
    whole = figure_row(counts, mean_of_units(unit_accuracies))
    f1 = figure_row(counts, mean_of_units(unit_f1))
    mean = {"unit": "mean", **whole, "f1": f1["value"], "f1_interval": f1["interval"]}
    return [*rows, mean | {"chance": float(np.mean([row["chance"] for row in rows]))}]


def unit_table(number: str, studies: Sequence[PictureStudy], commands: Sequence[str]) -> Table:
    """Return table 6.2, 6.4 or 6.6: each action unit, by E1 and E2."""
    network = published.UNIT_TABLES[number]
    rows: list[dict[str, Any]] = []
    for study in studies:
        for protocol in published.PROTOCOLS:
            outcomes = study.outcomes(network, protocol)
            if not outcomes or not outcomes[0].units:
                continue
            figures = published.UNIT_ACCURACY[network, protocol]
            for row in unit_rows(outcomes, outcomes[0].units):
                known = row["unit"] in AU_COLUMNS
                if known:
                    theirs = figures[AU_COLUMNS.index(row["unit"])]
                else:
                    unsure = (network, protocol) in published.UNSURE_ROWS
                    theirs = None if unsure else float(np.mean(figures))
                name = ACTION_UNIT_NAMES[int(row["unit"][2:])] if known else "of all units"
                row |= {
                    "protocol": protocol,
                    "what": name,
                    "data": study.name,
                    **beside_published(theirs, "FN1 to FN4", study.name, row["value"]),
                }
                if not study.pixels.people_are_known:
                    row["people"] = None
                rows.append(row)
    return Table(
        name=number,
        title=f"Table {number}: {published.EXPERIMENTS[network]}, action-unit accuracy",
        columns=(
            Column("protocol", "protocol"),
            Column("data", "data"),
            Column("unit", "unit"),
            Column("what", "name"),
            Column("value", "accuracy, %", "percent"),
            Column("interval", "95% interval", "interval"),
            Column("chance", "chance, %", "percent"),
            Column("f1", "F1, %", "percent"),
            Column("f1_interval", "95% interval", "interval"),
            Column("support", "present", "count"),
            *_ENDS,
        ),
        rows=(*rows, *_absent_rows(studies, "protocol", [])),
        notes=_notes(
            studies,
            f"{_without_units(studies)}Accuracy as the thesis counts it, |label - probability| < "
            "0.5; chance: always present or always absent. 95% intervals by bootstrap over people. "
            f"Thesis: {published.SHIFTED} It does not say over which of FN1 to FN4.",
        ),
        commands=tuple(commands),
    )
