"""Tables 6.8 and 6.9: clips with and without their sound, and what people make of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emojax.data.crema_d_votes import (
    CLIPS,
    RATED,
    ClipVotes,
    VoteTable,
    parse_clip_name,
    read_votes,
)
from emojax.labels import MODALITIES
from emojax.models import looks_at
from emojax.tables import published
from emojax.tables.clips import CrossValidated, mark_alike
from emojax.tables.outcome import stack_counts
from emojax.tables.pictures import (
    UAR_COLUMNS,
    beside_published,
    chance,
    emotion_row,
    unknown_people,
)
from emojax.tables.table import Column, Table

ABSENT_CLIPS = (
    "CREMA-D is absent: get it from github.com/CheyneyComputerScience/CREMA-D (ODbL), then  "
    "emojax data build crema_d --source CREMA-D  and --data=data/crema_d, with "
    "--sound=thesis --out data/crema_d-thesis  for the thesis's spectrogram."
)

ABSENT_VOTES = (
    "CREMA-D's votes are absent: give the folder that holds processedResults/tabulatedVotes.csv "
    "(github.com/CheyneyComputerScience/CREMA-D, ODbL) as --data=CREMA-D."
)

PART_OF_CREMA_D = (
    f"Not all of CREMA-D is there ({CLIPS:,} clips of {published.CREMA_D_PEOPLE} actors, each "
    "rated in each way): no difference to the thesis."
)

VOTES = Path("processedResults") / "tabulatedVotes.csv"
"""Where the owner keeps the votes."""

_WHAT = {
    "video": "E1 video only, a network without a sound branch",
    "both": "E2 video and sound",
    "sound": "sound only, a network without a video branch",
}


DRAWN_CLIPS = "Synthetic: drawn people with made voices. The figures say nothing about real clips."

CHANCE = "Chance, of the accuracy: always the most frequent emotion."
"""Of `pictures.chance`, where it stands beside an average recall, of which it is none."""


def _name_network(one: CrossValidated) -> str:
    """Return what is said of a network: of 6.8's own by its experiment."""
    if not one.other_model:
        name = _WHAT[one.inputs]
    else:
        sees = "one frame" if looks_at(one.other_model) == "picture" else "video"
        name = f"{one.other_model}, {sees} of each clip and no sound"
    return f"{name}, mean of {one.networks} networks" if one.networks > 1 else name


def clip_table(
    tested: Sequence[CrossValidated], commands: Sequence[str], mute: Sequence[str] = ()
) -> Table:
    """Return table 6.8.

    Args:
        tested: a cross-validation each.
        commands: that make it.
        mute: what is said of sets that hold no sound.
    """
    rows: list[dict[str, Any]] = []
    called = [(_name_network(one), one.sound, one.name, one.rule) for one in tested]
    for one, mark in zip(tested, mark_alike(tested, called), strict=True):
        figures = emotion_row(stack_counts(one.answers, "emotion"))
        whole = one.rule == "leave one out" and figures["people"] == published.CREMA_D_PEOPLE
        on = one.name if one.owner == "crema_d" and whole else ""
        rows.append(
            {
                "network": f"{_name_network(one)}{mark}",
                "sound": one.sound,
                "data": one.name,
                "rule": one.rule,
                **figures,
                "people": figures["people"] if one.people_are_known else None,
                "chance": chance(one.answers[0]),
                **_beside(one, on, figures["value"]),
            }
        )
    owners = {one.owner for one in tested}
    for inputs in ("video", "both"):
        if "crema_d" not in owners:
            figure = published.CLIP_ACCURACY[inputs] / 100
            absent = {"network": _WHAT[inputs], "data": "CREMA-D: absent, see below"}
            rows.append(absent | {"published": figure, "published_on": "CREMA-D, leave one out"})
    unknown = [one.name for one in tested if not one.people_are_known]
    notes = [*mute, *unknown_people(unknown, "clip")]
    if "synthetic" in owners:
        notes.append(
            "Synthetic: drawn people with made voices, in place of CREMA-D. The figures say "
            "nothing about real clips."
        )
    if "crema_d" not in owners:
        notes.append(ABSENT_CLIPS)
    missing = [name for name in ("log_mel", "thesis") if name not in {one.sound for one in tested}]
    if tested and missing:
        notes.append(
            f"The spectrogram {', '.join(missing)} is absent: build the clips with "
            f"--sound={missing[0]} too and give both folders."
        )
    return Table(
        name="6.8",
        title="Table 6.8: clips, people left out, emotion accuracy",
        columns=(
            Column("network", "network"),
            Column("sound", "spectrogram"),
            Column("data", "data"),
            Column("rule", "protocol"),
            Column("value", "accuracy, %", "percent"),
            Column("interval", "95% interval", "interval"),
            *UAR_COLUMNS,
            Column("chance", "chance of accuracy, %", "percent"),
            Column("people", "people", "count"),
            Column("examples", "clips", "count"),
            Column("seeds", "seeds", "count"),
            Column("published", f"{published.THESIS}, %", "percent"),
            Column("published_on", "on"),
            Column("difference", "difference", "points"),
        ),
        rows=tuple(rows),
        notes=(
            *notes,
            "Everybody is tested by a network that never saw them, as far as people are known; 95% "
            f"intervals by bootstrap over people. UAR: unweighted average recall. {CHANCE} thesis: "
            "the spectrogram as the thesis's code makes it; log_mel: emojax's default. The "
            "thesis's figures stand beside its own network alone, a difference only where both are "
            "on the same data, by the same rule.",
        ),
        commands=tuple(commands),
    )


def _beside(one: CrossValidated, on: str, value: float) -> dict[str, Any]:
    figure = None if one.other_model else published.CLIP_ACCURACY.get(one.inputs)
    found = beside_published(figure, on, one.name, value)
    return found and found | {"published_on": "CREMA-D, leave one out"}


def count_votes(rows: Sequence[ClipVotes], majority: bool) -> tuple[np.ndarray, Sequence[str], int]:
    """Return counts of each actor, [actors, 7, 7], the actors, and how many votes or clips.

    The seventh column is what is no single emotion: a tie. It has no row of its own.

    Args:
        rows: votes on clips given in one way.
        majority: count a clip once, by its most frequent answer; else each vote.
    """
    actors = sorted({name.actor for row in rows if (name := parse_clip_name(row.clip))})
    size = len(RATED) + 1
    counts = np.zeros((len(actors), size, size))
    for row in rows:
        name = parse_clip_name(row.clip)
        if name is None or not any(row.counts):
            continue
        cell = counts[actors.index(name.actor), RATED.index(name.emotion)]
        if majority:
            best = max(row.counts)
            tied = row.counts.count(best) > 1
            cell[-1 if tied else row.counts.index(best)] += 1
        else:
            cell[:-1] += row.counts
    return counts, actors, int(counts.sum())


def _rater_rows(votes: VoteTable) -> list[dict[str, Any]]:
    rows = []
    for modality in MODALITIES:
        mine = [row for row in votes.rows if row.modality == modality]
        clips = sum(any(row.counts) for row in mine)
        for majority, name in ((False, "single rater, votes pooled"), (True, "majority of a clip")):
            counts, actors, total = count_votes(mine, majority)
            if not total:
                continue
            figures = emotion_row(counts[None])
            whole = (clips, len(actors)) == (CLIPS, published.CREMA_D_PEOPLE)
            data = "CREMA-D" if whole else "part of CREMA-D"
            theirs = None if majority else published.HUMAN_ACCURACY[modality]
            rows.append(
                {
                    "given": modality,
                    "rater": name,
                    "data": data,
                    **figures,
                    "people": len(actors),
                    "clips": clips,
                    "votes": sum(sum(row.counts) for row in mine),
                    **beside_published(theirs, "CREMA-D", data, figures["value"]),
                }
            )
    return rows


def rater_table(source: Path | None, commands: Sequence[str]) -> Table:
    """Return table 6.9, computed from the votes.

    Args:
        source: CREMA-D's folder, or its table of votes; None: it is absent.
        commands: that make it.

    Raises:
        UserError: the table can't be read, or has no votes.
    """
    notes: list[str] = []
    if source:
        votes = read_votes(source / VOTES if source.is_dir() else source)
        rows = _rater_rows(votes)
        if any(row["data"] != "CREMA-D" for row in rows):
            notes.append(PART_OF_CREMA_D)
        if votes.skipped:
            notes.append(
                f"Rows of the votes that are left out: {votes.skipped:,}, the first one: "
                f"{votes.first_skipped}"
            )
    else:
        notes.append(ABSENT_VOTES)
        rows = [
            {
                "given": modality,
                "data": "CREMA-D: absent, see below",
                "published": figure / 100,
                "published_on": "CREMA-D",
            }
            for modality, figure in published.HUMAN_ACCURACY.items()
        ]
    return Table(
        name="6.9",
        title="Table 6.9: people, who name the emotion that was acted",
        columns=(
            Column("given", "given"),
            Column("rater", "counted"),
            Column("data", "data"),
            Column("value", "accuracy, %", "percent"),
            Column("interval", "95% interval", "interval"),
            *UAR_COLUMNS,
            Column("people", "actors", "count"),
            Column("clips", "clips", "count"),
            Column("votes", "votes", "count"),
            Column("published", f"{published.THESIS}, %", "percent"),
            Column("published_on", "on"),
            Column("difference", "difference", "points"),
        ),
        rows=tuple(rows),
        notes=(
            *notes,
            "A single rater: the share of all votes that name the acted emotion. A majority: the "
            "share of clips whose most frequent answer is the acted emotion; a tie is wrong. 95% "
            "intervals by bootstrap over actors: who the raters were is not published.",
        ),
        commands=tuple(commands),
    )
