"""Voices alone: everybody heard by a network that never knew them, beside what people hear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emojax.config import network_spec
from emojax.data.crema_d_votes import parse_clip_name, read_votes
from emojax.data.shards import dataset_info
from emojax.experiment import build_network
from emojax.inventory import measure_cost
from emojax.models import looks_at
from emojax.significance import accuracy, average_recall, estimate
from emojax.tables import published
from emojax.tables.clip_tables import VOTES, count_votes
from emojax.tables.clips import CrossValidated
from emojax.tables.outcome import stack_counts
from emojax.tables.pictures import chance, figure_row
from emojax.tables.table import Column, Table

ABSENT_VOICES = (
    "No voices were given: train them with  experiments/recipes/crema_d.py  or  ravdess.py  and "
    "give their folders as --cross-validated, or a set of sounds as --data."
)


def name_voices(tested: CrossValidated) -> str:
    """Return whose voices they are; CREMA-D's are known by their clips' names.

    Who builds them from somebody's spectrograms has a manifest, whose name says nothing.
    """
    stems = [Path(path).stem for path in tested.answers[0].path]
    return "crema_d" if all(map(parse_clip_name, stems)) else tested.name


def _count_parameters(tested: CrossValidated) -> int:
    spec = network_spec(tested.config, dataset_info(tested.data).input_spec)
    network = build_network(tested.config, spec)
    return measure_cost(network, looks_at(tested.config.model), spec).parameters


def _network_row(tested: CrossValidated, data: str) -> dict[str, Any]:
    counts = stack_counts(tested.answers, "emotion")
    figures, right = figure_row(counts, average_recall), figure_row(counts, accuracy)
    people = figures["people"]
    known = published.VOICE_RECALL.get(data)
    row = {
        "who": f"{tested.config.model}, {_count_parameters(tested):,} parameters"
        + ", trained before on other people" * bool(tested.config.init),
        "data": data,
        "rule": "leave one out" if tested.folds == people else f"{tested.folds} folds by person",
        "epochs": tested.config.epochs,
        **figures,
        "right": right["value"],
        "right_interval": right["interval"],
        "chance": chance(tested.answers[0]),
    }
    if known:
        share = known.percent / 100
        whole = known.people == people and known.clips == figures["examples"]
        row |= {
            "published": share,
            "published_by": known.source,
            "difference": figures["value"] - share if whole else None,
        }
    return row


def _people_rows(votes: Path, clips: set[str] | None, data: str) -> list[dict[str, Any]]:
    table = read_votes(votes / VOTES if votes.is_dir() else votes).rows
    mine = [
        row
        for row in table
        if row.modality == "voice" and any(row.counts) and (clips is None or row.clip in clips)
    ]
    rows = []
    for majority, name in ((False, "people, a single rater"), (True, "people, majority of a clip")):
        counts, _, _ = count_votes(mine, majority)
        recall, right = (estimate(counts[None], figure) for figure in (average_recall, accuracy))
        rows.append(
            {
                "who": name,
                "data": data,
                "value": recall.value,
                "interval": recall.interval,
                "right": right.value,
                "right_interval": right.interval,
                "people": recall.people,
                "examples": len(mine),
            }
        )
    return rows


def voice_table(
    tested: Sequence[CrossValidated], votes: Path | None, commands: Sequence[str]
) -> Table:
    """Return the table of networks that only listen, and of people who only listened.

    Args:
        tested: cross-validations of networks without eyes.
        votes: CREMA-D's folder, or its table of votes; None: it is absent.
        commands: that make it.

    Raises:
        UserError: the votes can't be read.
    """
    rows: list[dict[str, Any]] = []
    clips: set[str] = set()
    for one in tested:
        data = name_voices(one)
        rows.append(_network_row(one, data))
        if data == "crema_d":
            clips |= {Path(path).stem for path in np.unique(one.answers[0].path)}
    if votes:
        if clips:
            rows += _people_rows(votes, clips, "crema_d, the same clips")
        rows += _people_rows(votes, None, "crema_d, all clips")
    return Table(
        name="voices",
        title="Voices alone: networks and people who only listen",
        columns=(
            Column("who", "who listens"),
            Column("data", "data"),
            Column("rule", "people"),
            Column("epochs", "epochs", "count"),
            Column("value", "UAR, %", "percent"),
            Column("interval", "95% interval", "interval"),
            Column("right", "accuracy, %", "percent"),
            Column("right_interval", "95% interval", "interval"),
            Column("chance", "chance, %", "percent"),
            Column("people", "speakers", "count"),
            Column("examples", "clips", "count"),
            Column("seeds", "seeds", "count"),
            Column("published", "published UAR, %", "percent"),
            Column("published_by", "by"),
            Column("difference", "difference", "points"),
        ),
        rows=tuple(rows),
        notes=(
            *(() if tested else (ABSENT_VOICES,)),
            "UAR: unweighted average recall, of what the actors were asked for. Everybody is "
            "heard by a network that never knew them; 95% intervals by bootstrap over speakers. "
            "People: CREMA-D's raters, who were given the sound alone; a tie is wrong. A "
            "difference stands only where both figures are on all the same clips.",
        ),
        commands=tuple(commands),
    )
