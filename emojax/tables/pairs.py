"""The first table: for each pair of networks on the same people, the difference and how sure."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from emojax.labels import UNKNOWN
from emojax.significance import (
    Figure,
    accuracy,
    average_recall,
    compare,
    holm,
    mcnemar,
    mean_of_units,
    unit_f1,
)
from emojax.tables.clips import CrossValidated, label_each
from emojax.tables.outcome import Outcome, common_examples, stack_counts
from emojax.tables.table import Column, Table
from emojax.tables.trained import DRAWN, PROTOCOLS, PictureStudy

FIGURES: dict[str, tuple[Literal["emotion", "units"], Figure]] = {
    "emotion accuracy": ("emotion", accuracy),
    "emotion UAR": ("emotion", average_recall),
    "AU macro F1": ("units", mean_of_units(unit_f1)),
}
"""What is compared, and the counts that it is of."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two networks, and their answers, one for each seed."""

    data: str
    what: str
    first: str
    second: str
    outcomes: tuple[Sequence[Outcome], Sequence[Outcome]]
    synthetic: bool = False
    """Whether the people are drawn."""


def picture_pairs(study: PictureStudy) -> list[Pair]:
    """Return each pair of networks under each protocol."""
    return [
        Pair(
            study.name,
            protocol,
            one,
            other,
            (study.outcomes(one, protocol), study.outcomes(other, protocol)),
            study.synthetic,
        )
        for protocol in PROTOCOLS
        for one, other in itertools.combinations(
            dict.fromkeys(network for network, known in study.runs if known == protocol), 2
        )
    ]


def clip_pairs(tested: Sequence[CrossValidated]) -> list[Pair]:
    """Return each pair of networks for clips that were tested on the same clips."""
    pairs = []
    named = zip(tested, label_each(tested), strict=True)
    for (one, second), (other, first) in itertools.combinations(named, 2):
        if one.owner != other.owner:
            continue
        answers = common_examples([*other.answers, *one.answers])
        if _are_same(answers[0], answers[-1]):
            parts = answers[: len(other.answers)], answers[len(other.answers) :]
            data = ", ".join(dict.fromkeys((other.name, one.name)))
            rule = " against ".join(dict.fromkeys((other.rule, one.rule)))
            pairs.append(Pair(data, rule, first, second, parts, one.synthetic))
    return pairs


def _are_same(one: Outcome, other: Outcome) -> bool:
    """Whether examples that are called alike are the same: in two manifests they need not be."""
    return (
        one.path.size > 0
        and one.emotions == other.emotions
        and np.array_equal(one.emotion, other.emotion)
        and np.array_equal(one.subject, other.subject)
    )


def _compare(pair: Pair, name: str) -> dict[str, Any] | None:
    kind, figure = FIGURES[name]
    first, second = pair.outcomes
    labels = first[0].action_units if kind == "units" else first[0].emotion
    if not (labels != UNKNOWN).any():
        return None
    found = compare(stack_counts(first, kind), stack_counts(second, kind), figure)
    row = {
        "data": pair.data,
        "what": pair.what,
        "first": pair.first,
        "second": pair.second,
        "figure": name,
        "value": found.value,
        "interval": found.interval,
        "p": found.p,
        "people": found.people if first[0].people_are_known else None,
        "examples": found.examples,
        "seeds": min(len(first), len(second)),
    }
    # Not of several parts of one file, which are no independent draws.
    if name == "emotion accuracy" and not first[0].people_are_known and first[0].people_are_alone:
        known = first[0].emotion != UNKNOWN
        row["mcnemar"] = mcnemar(first[0].right[known], second[0].right[known]).p
    return row


def pairs_table(pairs: Sequence[Pair], commands: Sequence[str]) -> Table:
    """Return the table of differences.

    Args:
        pairs: networks on the same people.
        commands: that make it.
    """
    rows = [row for pair in pairs for name in FIGURES if (row := _compare(pair, name))]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["holm"] = p
    return Table(
        name="pairs",
        title="Which network is better? Each pair on the same people",
        columns=(
            Column("data", "data"),
            Column("what", "protocol"),
            Column("first", "network"),
            Column("second", "less"),
            Column("figure", "figure"),
            Column("value", "difference, points", "points"),
            Column("interval", "95% interval", "interval"),
            Column("p", "p", "p"),
            Column("holm", "p, Holm", "p"),
            Column("mcnemar", "p, McNemar", "p"),
            Column("people", "people", "count"),
            Column("examples", "examples", "count"),
            Column("seeds", "seeds", "count"),
        ),
        rows=tuple(rows),
        notes=(
            *((DRAWN,) if any(pair.synthetic for pair in pairs) else ()),
            "First less second, in points of a percent. Interval and p: paired bootstrap over "
            "people, both networks on the same draw of people, percentiles taken as far out as "
            "Student's t asks of so few. Holm: p adjusted for all comparisons of this table. Where "
            "people are unknown each file counts as one, and where it is one example, McNemar's "
            "exact test stands beside it (first seed). A pair whose interval holds 0 is not told "
            "apart by these people.",
        ),
        commands=tuple(commands),
    )
