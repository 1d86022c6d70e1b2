"""Voices alone: everybody heard by a network that never knew them, beside what people hear."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emojax.config import network_spec
from emojax.data.crema_d_votes import parse_clip_name, read_votes
from emojax.data.shards import dataset_info
from emojax.inventory import measure_cost
from emojax.models import looks_at
from emojax.network import build_network
from emojax.significance import accuracy, average_recall, estimate
from emojax.tables import published
from emojax.tables.clip_tables import CHANCE, VOTES, count_votes
from emojax.tables.clips import CrossValidated, mark_alike
from emojax.tables.outcome import Outcome, stack_counts
from emojax.tables.pictures import chance, figure_row, unknown_people
from emojax.tables.table import Column, Table
from emojax.tables.trained import DRAWN

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


def relative_to_speaker(outcome: Outcome) -> Outcome:
    """Return answers as shares of what the network says of their speaker on average.

    Whoever sounds angry to it all the time is angry where that is more so than usual. It takes the
    speaker's other utterances, without labels, and that they were asked for each emotion about as
    often, as in an actor's set: a prior corrected in one step (Saerens et al. 2002, Adjusting the
    outputs of a classifier to new a priori probabilities).

    Args:
        outcome: of people who were all heard several times.
    """
    _, speaker = np.unique(outcome.subject, return_inverse=True)
    means = np.stack(
        [outcome.emotion_scores[speaker == one].mean(axis=0) for one in range(speaker.max() + 1)]
    )
    scores = outcome.emotion_scores / np.maximum(means[speaker], np.finfo(np.float32).tiny)
    total = np.maximum(scores.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return dataclasses.replace(outcome, emotion_scores=(scores / total).astype(np.float32))


def _network_row(tested: CrossValidated, data: str) -> dict[str, Any]:
    counts = stack_counts(tested.answers, "emotion")
    figures, right = figure_row(counts, average_recall), figure_row(counts, accuracy)
    people = figures["people"]
    known = published.VOICE_RECALL.get(data)
    who = f"{tested.config.model}, {_count_parameters(tested):,} parameters"
    if tested.networks > 1:
        who = f"mean of {tested.networks} networks: {who} each"
    row = {
        "who": who + ", trained before on other people" * bool(tested.config.init),
        "data": data,
        "rule": tested.rule,
        "epochs": tested.config.epochs,
        **figures,
        "people": people if tested.people_are_known else None,
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


def _often_enough(outcome: Outcome) -> bool:
    """Whether each speaker was heard as many times as there are emotions, or more."""
    return bool(np.unique(outcome.subject, return_counts=True)[1].min() >= len(outcome.emotions))


def _relative_row(tested: CrossValidated, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of the same answers as `relative_to_speaker` has them."""
    relative = [relative_to_speaker(outcome) for outcome in tested.answers]
    counts = stack_counts(relative, "emotion")
    figures, right = figure_row(counts, average_recall), figure_row(counts, accuracy)
    kept = {name: row[name] for name in ("data", "rule", "epochs", "chance", "people")}
    return {
        "who": "the same, relative to the speaker's mean answer",
        **figures,
        **kept,
        "right": right["value"],
        "right_interval": right["interval"],
    }


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
    first = [_network_row(one, name_voices(one)) for one in tested]
    called = [(row["who"], row["data"], row["rule"], row["epochs"]) for row in first]
    for one, row, mark in zip(tested, first, mark_alike(tested, called), strict=True):
        data = row["data"]
        row["who"] += mark
        rows.append(row)
        if all(map(_often_enough, one.answers)):
            rows.append(_relative_row(one, row))
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
            Column("rule", "protocol"),
            Column("epochs", "epochs", "count"),
            Column("value", "UAR, %", "percent"),
            Column("interval", "95% interval", "interval"),
            Column("right", "accuracy, %", "percent"),
            Column("right_interval", "95% interval", "interval"),
            Column("chance", "chance of accuracy, %", "percent"),
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
            *((DRAWN,) if any(one.synthetic for one in tested) else ()),
            *unknown_people([one.name for one in tested if not one.people_are_known], "clip"),
            f"UAR: unweighted average recall, of what the actors were asked for. {CHANCE} "
            "Everybody is heard by a network that never knew them; 95% intervals by bootstrap over "
            "speakers. People: CREMA-D's raters, who were given the sound alone; a tie is wrong. A "
            "difference stands only where both figures are on all the same clips.",
            "Relative to the speaker's mean answer: each emotion's score is divided by its mean "
            "over all clips of that speaker. This knows the speaker's other clips, though not "
            "their labels, and that each emotion was asked for about as often; the published "
            "figures know neither.",
        ),
        commands=tuple(commands),
    )
