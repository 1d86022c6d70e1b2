"""What a clip's sides are worth: networks for one, networks for both, and one of them left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emojax.tables.clip_tables import CHANCE, DRAWN_CLIPS
from emojax.tables.clips import CrossValidated
from emojax.tables.fusion import choose_weights, fuse
from emojax.tables.outcome import Outcome, common_examples, stack_counts
from emojax.tables.pairs import Pair
from emojax.tables.pictures import UAR_COLUMNS, chance, emotion_row, unknown_people
from emojax.tables.table import Column, Table

NETWORKS: dict[str, str] = {
    "video": "video only, a network without a sound branch",
    "sound": "sound only, a network without a video branch",
    "both_one_head": "joint: one head on both branches",
    "both": "joint, and a head of each branch's own beside it in training",
    "both_dropout": "the same, and clips lose a side in training",
}
"""Those that are trained, of `clips.INPUTS`, and what is said of them."""

FUSED = "late fusion of the first two, equal weights"
FUSED_CHOSEN = "late fusion of the first two, a weight chosen"

Answers = Mapping[tuple[str, str], Sequence[Outcome]]
"""By network and by what it was given, for each seed."""

_PAIRS: tuple[tuple[tuple[str, str], tuple[str, str]], ...] = (
    (("both", "both"), (FUSED, "both")),
    (("both", "both"), ("both_one_head", "both")),
    (("both_dropout", "both"), ("both", "both")),
    (("both_dropout", "video"), ("both", "video")),
    (("both_dropout", "sound"), ("both", "sound")),
    (("both_dropout", "video"), ("video", "video")),
    (("both_dropout", "sound"), ("sound", "sound")),
)
"""Comparisons that were wanted before any figure was there; each more is paid for in Holm's p."""

_SHORT = {
    "video": "video network",
    "sound": "sound network",
    "both_one_head": "joint, one head",
    "both": "joint, heads of their own",
    "both_dropout": "joint, sides left out",
    FUSED: "late fusion",
    FUSED_CHOSEN: "late fusion, weight chosen",
}
"""What they are called where there is little room."""


@dataclasses.dataclass(frozen=True)
class Ablation:
    """The networks for the same clips, and what all of them answered."""

    data: Path
    name: str
    """Of the data set."""
    sound: str
    """How the sound is seen."""
    rule: str
    """How people were left out, in words."""
    synthetic: bool
    seeds: tuple[int, ...]
    networks: tuple[CrossValidated, ...]
    """Those that were trained, one for each of `NETWORKS`."""
    answers: Answers
    weights: tuple[np.ndarray, ...]
    """Of the video's scores in late fusion, of each clip, for each seed."""

    @property
    def people_are_known(self) -> bool:
        """Whether somebody said who they are: else each file is one."""
        return all(one.people_are_known for one in self.networks)


def ablate(networks: Sequence[CrossValidated]) -> Ablation:
    """Return everything that networks for the same clips answered, and the fusions of two of them.

    Args:
        networks: one for each of `NETWORKS`.
    """
    by_inputs = {one.inputs: one for one in networks}
    answers: dict[tuple[str, str], Sequence[Outcome]] = {}
    weights: list[np.ndarray] = []
    for inputs in NETWORKS:
        one = by_inputs[inputs]
        answers[inputs, inputs if inputs in ("video", "sound") else "both"] = one.answers
        answers |= {(inputs, side): mine for side, mine in one.alone.items()}
        if inputs == "sound":
            sides = list(zip(by_inputs["video"].answers, one.answers, strict=True))
            weights = [choose_weights(video, sound, one.tested) for video, sound in sides]
            answers[FUSED, "both"] = [fuse(video, sound) for video, sound in sides]
            answers[FUSED_CHOSEN, "both"] = [
                fuse(video, sound, mine)
                for (video, sound), mine in zip(sides, weights, strict=True)
            ]
    both = by_inputs["both"]
    return Ablation(
        data=both.data,
        name=both.name,
        sound=both.sound,
        rule=both.rule,
        synthetic=both.synthetic,
        seeds=both.seeds,
        networks=tuple(networks),
        answers=answers,
        weights=tuple(weights),
    )


def modality_pairs(ablations: Sequence[Ablation]) -> list[Pair]:
    """Return the pairs of `_PAIRS`, each on the clips that both were asked about."""
    pairs = []
    for ablation in ablations:
        for keys in _PAIRS:
            if not all(key in ablation.answers for key in keys):
                continue
            sides = [ablation.answers[key] for key in keys]
            answers = common_examples([*sides[0], *sides[1]])
            first, second = (f"{_SHORT[network]}, given {given}" for network, given in keys)
            parts = answers[: len(sides[0])], answers[len(sides[0]) :]
            what = (ablation.name, ablation.rule)
            pairs.append(Pair(*what, first, second, parts, ablation.synthetic))
    return pairs


def modality_rows(ablation: Ablation) -> list[dict[str, Any]]:
    """Return a row for each network and what it was given."""
    return [
        {
            "network": NETWORKS.get(network, network),
            "short": f"{_SHORT[network]}, given {given}",
            "given": given,
            "data": ablation.name,
            **emotion_row(stack_counts(outcomes, "emotion")),
            "chance": chance(outcomes[0]),
        }
        for (network, given), outcomes in ablation.answers.items()
    ]


_ABSENT = ({"network": "all", "data": "clips with sound: absent, see below"},)


def _notes(ablation: Ablation) -> list[str]:
    spread = [f"{weights.min():.2f} to {weights.max():.2f}" for weights in ablation.weights]
    notes = [
        f"{ablation.name}, {ablation.rule}, spectrogram {ablation.sound}: the weight of the "
        f"video's scores, from fold to fold, {'; '.join(spread)}."
    ]
    if ("both", "video") not in ablation.answers:
        notes.append(
            f"{ablation.name}: the networks for both were trained by an emojax that did not ask "
            "for one side: choose another --out for those rows."
        )
    return notes


def modality_table(
    ablations: Sequence[Ablation], commands: Sequence[str], mute: Sequence[str] = ()
) -> Table:
    """Return the ablation of sound and video.

    Args:
        ablations: a set of clips each.
        commands: that make it.
        mute: what is said of sets that hold no sound.
    """
    return Table(
        name="modalities",
        title="Modalities: sound, video, both, and one side masked, emotion accuracy",
        columns=(
            Column("network", "network"),
            Column("given", "given"),
            Column("data", "data"),
            Column("value", "accuracy, %", "percent"),
            Column("interval", "95% interval", "interval"),
            *UAR_COLUMNS,
            Column("chance", "chance of accuracy, %", "percent"),
            Column("people", "people", "count"),
            Column("examples", "clips", "count"),
            Column("seeds", "seeds", "count"),
        ),
        rows=tuple(
            row if ablation.people_are_known else row | {"people": None}
            for ablation in ablations
            for row in modality_rows(ablation)
        )
        or _ABSENT,
        notes=(
            *mute,
            *((DRAWN_CLIPS,) if any(ablation.synthetic for ablation in ablations) else ()),
            *unknown_people([one.name for one in ablations if not one.people_are_known], "clip"),
            "The same people and folds for all; everybody is tested by a network that never saw "
            f"them. UAR: unweighted average recall. {CHANCE} Given one side, the other one is "
            "masked: the same weights answer, on the clips that have that side. Late fusion: the "
            "mean of two networks' log-probabilities; its weight is 0.5, or the one that gives the "
            "other folds' people the least cross-entropy. The heads of the branches' own are "
            "dropped when training is over.",
            *(note for ablation in ablations for note in _notes(ablation)),
        ),
        commands=tuple(commands),
    )
