"""The ablation of sound and video: which answers stand in which row, and what is compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_up_study import PEOPLE, make_outcome
from sklearn.metrics import accuracy_score, recall_score

from emojax.config import TrainConfig
from emojax.tables.clips import INPUTS, CrossValidated
from emojax.tables.modalities import (
    FUSED,
    FUSED_CHOSEN,
    NETWORKS,
    ablate,
    modality_pairs,
    modality_rows,
    modality_table,
)
from emojax.tables.outcome import Outcome
from emojax.tables.page import draw_modalities
from emojax.tables.pairs import pairs_table
from emojax.tables.table import to_markdown

SEEDS = (0, 1)
SIDES = {"video": slice(0, 100), "sound": slice(30, 128)}
"""Clips that have the side."""


def make_network(inputs: str, alone: bool = True) -> CrossValidated:
    place = list(NETWORKS).index(inputs)

    def of(side: str, shift: int) -> list[Outcome]:
        chosen = np.arange(128)[SIDES.get(side, slice(None))]
        skill = 0.2 + 0.1 * place
        return [make_outcome(100 * place + 10 * shift + seed, skill).select(chosen)
                for seed in SEEDS]  # fmt: skip

    return CrossValidated(
        inputs=inputs,
        sound="" if inputs == "video" else "log_mel",
        data=Path("data/clips"),
        name="synthetic",
        owner="synthetic",
        config=TrainConfig(model="ar5"),
        folder=Path("runs"),
        seeds=SEEDS,
        tested=tuple((f"P{number:03d}",) for number in range(PEOPLE)),
        answers=of(inputs, 0),
        alone={side: of(side, turn) for turn, side in enumerate(SIDES, 1)}
        if alone and "both" in inputs
        else {},
        groups={},
    )


@pytest.fixture(scope="module")
def networks() -> list[CrossValidated]:
    return [make_network(inputs) for inputs in NETWORKS]


def test_each_trained_network_has_its_own_settings() -> None:
    assert set(NETWORKS) == set(INPUTS)
    base = TrainConfig(model="ar5")
    made = {name: dataclasses.replace(base, **INPUTS[name]) for name in NETWORKS}
    assert len({config.to_dict().__repr__() for config in made.values()}) == len(NETWORKS)
    assert made["both_one_head"].auxiliary_weight == 0
    assert made["both"].auxiliary_weight > 0
    assert made["both_dropout"].modality_dropout > 0
    assert made["both"].modality_dropout == 0


def test_a_row_is_a_network_and_what_it_was_given(networks: list[CrossValidated]) -> None:
    rows = {(row["network"], row["given"]): row for row in modality_rows(ablate(networks))}
    assert len(rows) == 2 + 2 + 3 * 3
    by_name = {NETWORKS[one.inputs]: one for one in networks}
    for (network, given), row in rows.items():
        if network not in by_name:
            continue
        one = by_name[network]
        outcomes = one.alone.get(given, one.answers)
        truths = [outcome.emotion[outcome.emotion >= 0] for outcome in outcomes]
        said = [outcome.answered[outcome.emotion >= 0] for outcome in outcomes]
        pairs = list(zip(truths, said, strict=True))
        assert row["value"] == pytest.approx(np.mean([accuracy_score(*pair) for pair in pairs]))
        assert row["recall"] == pytest.approx(
            np.mean([recall_score(*pair, average="macro") for pair in pairs])
        )
        assert (row["examples"], row["seeds"]) == (len(truths[0]), 2)
        assert row["interval"][0] < row["value"] < row["interval"][1]


def test_late_fusion_is_of_the_two_that_have_one_side(networks: list[CrossValidated]) -> None:
    ablation = ablate(networks)
    video, sound = networks[0].answers[0], networks[1].answers[0]
    equal, chosen = (ablation.answers[name, "both"][0] for name in (FUSED, FUSED_CHOSEN))
    # Whoever has either side is answered.
    assert len(equal.path) == 128
    both = [path for path in video.path if path in set(sound.path)]
    assert 0 < len(both) < 128
    for outcome, weights in ((equal, np.full(128, 0.5)), (chosen, ablation.weights[0])):
        for path in both:
            at = [np.flatnonzero(one.path == path)[0] for one in (outcome, video, sound)]
            weight = weights[at[0]]
            eye, ear = video.emotion_scores[at[1]], sound.emotion_scores[at[2]]
            wanted = np.float64(eye) ** weight * np.float64(ear) ** (1 - weight)
            np.testing.assert_allclose(
                outcome.emotion_scores[at[0]], wanted / wanted.sum(), rtol=1e-4, atol=1e-6
            )
    # Not the same network twice, and each seed with its own.
    assert (ablation.answers[FUSED, "both"][1].emotion_scores != equal.emotion_scores).any()


def test_pairs_are_on_the_clips_of_both(networks: list[CrossValidated]) -> None:
    pairs = modality_pairs([ablate(networks)])
    assert [(pair.first, pair.second) for pair in pairs][2:4] == [
        ("joint, sides left out, given both", "joint, heads of their own, given both"),
        ("joint, sides left out, given video", "joint, heads of their own, given video"),
    ]
    for pair in pairs:
        first, second = (outcomes[0] for outcomes in pair.outcomes)
        np.testing.assert_array_equal(first.path, second.path)
    by_name = {(pair.first, pair.second): pair for pair in pairs}
    given_video = by_name["joint, sides left out, given video", "video network, given video"]
    assert len(given_video.outcomes[0][0].path) == 100
    row = pairs_table([given_video], []).rows[0]
    hits = [
        np.mean([one.right[one.emotion >= 0].mean() for one in side])
        for side in given_video.outcomes
    ]
    assert row["value"] == pytest.approx(hits[0] - hits[1])


def test_networks_that_were_not_asked_leave_their_rows_out_and_say_so() -> None:
    ablation = ablate([make_network(inputs, alone=False) for inputs in NETWORKS])
    table = modality_table([ablation], ["a command"])
    assert len(table.rows) == 7
    assert {row["given"] for row in table.rows if "joint" in row["network"]} == {"both"}
    text = to_markdown(table)
    assert "did not ask for one side: choose another --out" in text
    assert "Synthetic: drawn people" in text
    assert len(modality_pairs([ablation])) == 3


def test_where_people_are_unknown_the_ablation_does_not_count_them(
    networks: list[CrossValidated],
) -> None:
    table = modality_table([ablate(networks)], [])
    assert {row["people"] for row in table.rows} <= {*range(1, PEOPLE + 1)}
    assert "who is on a clip is not known" not in to_markdown(table)
    unknown = []
    for one in networks:
        mine = [dataclasses.replace(answer, subject=answer.path) for answer in one.answers]
        tested = tuple((path,) for path in mine[0].path)
        unknown.append(dataclasses.replace(one, answers=mine, alone={}, tested=tested))
    table = modality_table([ablate(unknown)], [])
    assert {row["people"] for row in table.rows} == {None}
    assert "synthetic: who is on a clip is not known" in to_markdown(table)


def test_the_picture_has_every_row_and_names_the_seeds(networks: list[CrossValidated]) -> None:
    drawn = draw_modalities(ablate(networks))
    assert drawn.content.startswith(b"\x89PNG")
    assert drawn.name == "clips-modalities"
    assert "Seeds 0, 1: their mean." in drawn.caption


def test_where_no_set_has_sound_the_table_says_so() -> None:
    table = modality_table([], ["a command"], ["clips: its shards hold no sound."])
    assert table.rows[0]["data"] == "clips with sound: absent, see below"
    text = to_markdown(table)
    assert "clips: its shards hold no sound." in text
    assert "Chance, of the accuracy: always the most frequent emotion." in text
