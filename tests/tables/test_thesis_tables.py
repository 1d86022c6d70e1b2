"""Tables 6.1 to 6.7 and the differences: the right figures, and no difference between data sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_up_study import make_outcome, make_study
from sklearn.metrics import accuracy_score, f1_score, recall_score
from small_sets import build

from emojax.config import TrainConfig
from emojax.tables.calibrated import calibration_table, confidences
from emojax.tables.outcome import Outcome
from emojax.tables.pairs import pairs_table, picture_pairs
from emojax.tables.pictures import emotion_table, perceptron_table, unit_rows, unit_table
from emojax.tables.published import EMOTION_ACCURACY, NETWORKS, UNIT_ACCURACY, UNIT_TABLES
from emojax.tables.table import to_markdown
from emojax.tables.trained import (
    PictureStudy,
    called_apart,
    folds_command,
    has_units,
    protocol_config,
    train_command,
)

COMMAND = ["python experiments/tables.py 6.1"]


@pytest.fixture(scope="module")
def study() -> PictureStudy:
    return make_study()


def test_an_emotion_table_has_scikit_learns_figures_beside_the_thesis(study: PictureStudy) -> None:
    table = emotion_table("6.3", [study], COMMAND)
    assert [row["data"] for row in table.rows[:5]] == [
        *(f"synthetic S{number}" for number in (1, 2, 3, 4)),
        "synthetic all",
    ]
    outcome = study.outcomes("inception_v4", "E1")[0]
    for place, row in enumerate(table.rows[:5]):
        mine = (
            (outcome.domain == f"S{place + 1}") if place < 4 else np.ones(len(outcome.path), bool)
        )
        mine &= outcome.emotion >= 0
        truth, said = outcome.emotion[mine], outcome.answered[mine]
        assert row["value"] == pytest.approx(accuracy_score(truth, said))
        assert row["recall"] == pytest.approx(
            recall_score(truth, said, labels=np.unique(truth), average="macro")
        )
        assert row["chance"] == pytest.approx(np.bincount(truth).max() / len(truth))
        low, high = row["interval"]
        assert low < row["value"] < high
        assert (row["people"], row["examples"], row["seeds"]) == (8, mine.sum(), 1)
    published = [row.get("published") for row in table.rows[:4]]
    wanted = EMOTION_ACCURACY["inception_v4", "E1"]
    assert published == pytest.approx([figure / 100 for figure in wanted])
    assert [row["published_on"] for row in table.rows[:4]] == ["FN1", "FN2", "FN3", "FN4"]
    # Drawn faces are not FotoNation's: no difference anywhere.
    assert all(row.get("difference") is None for row in table.rows)
    text = to_markdown(table)
    assert "Synthetic: drawn people" in text
    assert "FN1 to FN4 are absent" in text
    assert "chosen on validation people alone (synthetic, seed 0: 0.400)" in text
    assert COMMAND[0] in text


def test_on_the_same_data_there_is_a_difference() -> None:
    closed = make_study("fotonation", ("FN1", "FN2", "FN3", "FN4"))
    table = emotion_table("6.1", [closed], COMMAND)
    figures = EMOTION_ACCURACY["resnet18", "E1"] + EMOTION_ACCURACY["resnet18", "E2"]
    named = [row for row in table.rows if "FN" in row["data"]]
    assert len(named) == 8
    for row, figure in zip(named, figures, strict=True):
        assert row["difference"] == pytest.approx(row["value"] - figure / 100)
    assert "absent" not in to_markdown(table)
    assert "Synthetic" not in to_markdown(table)


def test_without_stand_ins_the_closed_sets_have_rows_of_their_own() -> None:
    rows = emotion_table("6.1", [make_study("other", ("",))], COMMAND).rows
    absent = [row for row in rows if "absent" in row["data"]]
    assert [row["protocol"] for row in absent] == ["E1"] * 4 + ["E2"] * 4
    wanted = EMOTION_ACCURACY["resnet18", "E1"] + EMOTION_ACCURACY["resnet18", "E2"]
    assert [row["published"] for row in absent] == pytest.approx([f / 100 for f in wanted])
    assert all("value" not in row and "difference" not in row for row in absent)


def test_pictures_in_no_domain_have_a_row_beside_those_that_are_in_one() -> None:
    study = make_study("other", ("", "lab"))
    rows = emotion_table("6.1", [study], COMMAND).rows[:3]
    assert [row["data"] for row in rows] == ["other no domain", "other lab", "other all"]
    (outcome,) = study.outcomes("resnet18", "E1")
    for row, mine in zip(rows, (outcome.domain == "", outcome.domain == "lab", True), strict=True):
        known = mine & (outcome.emotion >= 0)
        assert row["examples"] == known.sum()
        assert row["value"] == pytest.approx(outcome.right[known].mean())


def test_where_no_neutral_was_asked_for_no_threshold_is_named(study: PictureStudy) -> None:
    runs = {key: trained for key, trained in study.runs.items() if key[1] == "E1"}
    text = to_markdown(emotion_table("6.1", [dataclasses.replace(study, runs=runs)], []))
    assert "chosen on validation people alone. Figures" in text


def test_a_unit_table_has_scikit_learns_figures(study: PictureStudy) -> None:
    table = unit_table("6.2", [study], COMMAND)
    rows = [row for row in table.rows if row["protocol"] == "E2"]
    outcome = study.outcomes("resnet18", "E2")[0]
    assert [row["unit"] for row in rows] == [*outcome.units, "mean"]
    for place, row in enumerate(rows[:-1]):
        known = outcome.action_units[:, place] >= 0
        truth = outcome.action_units[known, place]
        said = outcome.unit_scores[known, place] >= 0.5
        assert row["value"] == pytest.approx(accuracy_score(truth, said))
        assert row["f1"] == pytest.approx(f1_score(truth, said))
        assert (row["examples"], row["support"]) == (known.sum(), truth.sum())
        assert row["published"] == pytest.approx(UNIT_ACCURACY["resnet18", "E2"][place] / 100)
        assert row["difference"] is None
    # A printed value is missing: the mean of the others is nobody's.
    assert "published" not in rows[-1]
    for figure in ("value", "f1", "chance"):
        mean = np.mean([row[figure] for row in rows[:-1]])
        assert rows[-1][figure] == pytest.approx(mean)
    assert "look shifted one place to the left" in to_markdown(table)


def test_a_mean_stands_beside_ours_where_every_unit_is_printed(study: PictureStudy) -> None:
    found = {}
    for number in UNIT_TABLES:
        for row in unit_table(number, [study], COMMAND).rows:
            if row.get("unit") == "mean":
                found[number, row["protocol"]] = row.get("published")
    whole = {("6.2", "E1"), ("6.4", "E1"), ("6.4", "E2")}
    assert len(found) == 6
    for (number, protocol), mean in found.items():
        wanted = np.mean(UNIT_ACCURACY[UNIT_TABLES[number], protocol]) / 100
        assert mean == (pytest.approx(wanted) if (number, protocol) in whole else None)
    said = "E1 of 6.6 repeats its first value and looks shifted too"
    assert said in to_markdown(unit_table("6.6", [study], COMMAND))


def test_nothing_is_made_of_units_that_nobody_labelled() -> None:
    study = make_study("fer2013")
    unknown = np.full_like(study.pixels.action_units, -1)

    def without(outcome: Outcome) -> Outcome:
        return dataclasses.replace(outcome, action_units=unknown)

    runs = {
        key: [dataclasses.replace(one, test=without(one.test)) for one in trained]
        for key, trained in study.runs.items()
    }
    plain = dataclasses.replace(study, runs=runs, pixels=without(study.pixels))
    table = unit_table("6.2", [plain], COMMAND)
    assert not any("value" in row for row in table.rows)
    assert "fer2013: no action unit is labelled. " in to_markdown(table)
    assert "no action unit is labelled" not in to_markdown(unit_table("6.2", [study], COMMAND))


def test_a_unit_s_people_are_those_of_whom_it_is_labelled() -> None:
    study = make_study()
    (known,) = study.runs["resnet18", "E1"]
    units = known.test.action_units.copy()
    # The first unit was coded for three of the eight people, the others for all.
    units[~np.isin(known.test.subject, ["P000", "P001", "P002"]), 0] = -1
    test = dataclasses.replace(known.test, action_units=units)
    rows = unit_rows([test], test.units)
    assert [row["people"] for row in rows] == [3, *[8] * 15]


def test_where_people_are_unknown_no_table_speaks_of_people(study: PictureStudy) -> None:
    assert "who is on a picture is not known" not in to_markdown(emotion_table("6.1", [study], []))
    pixels = dataclasses.replace(study.pixels, subject=study.pixels.path)
    alone = dataclasses.replace(study, name="fer2013", pixels=pixels)
    note = "fer2013: who is on a picture is not known"
    assert note in to_markdown(emotion_table("6.1", [alone], []))
    units = unit_table("6.2", [alone], [])
    assert note in to_markdown(units)
    assert {row.get("people") for row in units.rows} == {None}
    assert {row["people"] for row in unit_table("6.2", [study], []).rows if "value" in row} == {8}


def test_drawn_people_are_named_in_every_table(study: PictureStudy) -> None:
    real = make_study("ck_plus")
    for table in (
        lambda study: pairs_table(picture_pairs(study), COMMAND),
        lambda study: calibration_table([study], COMMAND),
        lambda study: emotion_table("6.1", [study], COMMAND),
        lambda study: unit_table("6.2", [study], COMMAND),
    ):
        words = ("people are drawn", "drawn people")
        assert any(said in to_markdown(table(study)) for said in words)
        assert not any(said in to_markdown(table(real)) for said in words)


def test_the_perceptrons_have_their_own_published_figures(study: PictureStudy) -> None:
    rows = perceptron_table([study], COMMAND).rows
    for network in NETWORKS:
        mine = [row for row in rows if row["network"] == network and "published" in row]
        wanted = EMOTION_ACCURACY[network, "AU first"]
        assert [row["published"] for row in mine] == pytest.approx([f / 100 for f in wanted])


def test_several_seeds_are_one_figure() -> None:
    study = make_study(seeds=(0, 1, 2))
    row = emotion_table("6.1", [study], COMMAND).rows[4]
    shares = [out.right[out.emotion >= 0].mean() for out in study.outcomes("resnet18", "E1")]
    assert len(set(shares)) > 1
    assert row["value"] == pytest.approx(np.mean(shares))
    assert row["seeds"] == 3


def test_each_pair_of_networks_is_compared_under_each_protocol(study: PictureStudy) -> None:
    table = pairs_table(picture_pairs(study), COMMAND)
    assert len(table.rows) == 3 * 3 * 3
    first = table.rows[0]
    one, other = (study.outcomes(name, "E1")[0] for name in ("resnet18", "inception_v4"))
    known = one.emotion >= 0
    gap = one.right[known].mean() - other.right[known].mean()
    assert first["value"] == pytest.approx(gap)
    assert first["interval"][0] < gap < first["interval"][1]
    assert (first["first"], first["second"]) == ("resnet18", "inception_v4")
    assert first["holm"] >= first["p"]
    assert "mcnemar" not in first
    # The networks were made so that each is better than the one before: enough to be told apart.
    last = next(
        row
        for row in table.rows
        if row["second"] == "inception_resnet" and row["first"] == "resnet18"
    )
    assert last["value"] < 0
    assert last["p"] < 0.05


def test_where_people_are_unknown_mcnemar_stands_beside(study: PictureStudy) -> None:
    runs = {
        key: [
            dataclasses.replace(one, test=dataclasses.replace(one.test, subject=one.test.path))
            for one in trained
        ]
        for key, trained in study.runs.items()
    }
    alone = dataclasses.replace(study, runs=runs)
    row = pairs_table(picture_pairs(alone), COMMAND).rows[0]
    assert row["people"] is None
    assert 0 < row["mcnemar"] <= 1
    assert "p, McNemar" in to_markdown(pairs_table(picture_pairs(alone), COMMAND))


def test_parts_of_a_file_are_neither_people_nor_independent(study: PictureStudy) -> None:
    def in_parts(outcome: Outcome) -> Outcome:
        files = np.array([f"{number // 2}.avi" for number in range(len(outcome.path))])
        path = np.array([f"{name}#{number}-" for number, name in enumerate(files)])
        return dataclasses.replace(outcome, subject=files, path=path)

    runs = {
        key: [dataclasses.replace(one, test=in_parts(one.test)) for one in trained]
        for key, trained in study.runs.items()
    }
    row = pairs_table(picture_pairs(dataclasses.replace(study, runs=runs)), COMMAND).rows[0]
    assert row["people"] is None
    assert "mcnemar" not in row


def test_calibration_is_chosen_on_validation_people_only(study: PictureStudy) -> None:
    trained = study.runs["resnet18", "E1"][0]
    before = confidences(trained)
    assert before.temperature != 1
    other = dataclasses.replace(trained, validation=make_outcome(77, 5.0))
    assert confidences(other).temperature != before.temperature
    assert confidences(dataclasses.replace(trained, test=make_outcome(78))).temperature == (
        before.temperature
    )
    np.testing.assert_array_equal(confidences(other).right, before.right)
    rows = calibration_table([study], COMMAND).rows
    assert [row["network"] for row in rows] == list(NETWORKS)
    assert all(0 < row["after"] < 1 for row in rows)


def test_a_command_says_what_differs_from_the_preset() -> None:
    base = TrainConfig(model="resnet18", epochs=8)
    e2 = protocol_config(dataclasses.replace(base, blocks=(1, 1, 1, 1)), "E2", 3)
    # Not into the tables' own run, which holds it already; and a path may have spaces.
    assert train_command(e2, base, Path("my data/x"), Path("runs/t/x-resnet18-E2-3")) == (
        "python experiments/train.py --model=resnet18 --data='my data/x' "
        "--out=runs/t/x-resnet18-E2-3-again "
        "--outputs=without_neutral --blocks 1 1 1 1 --seed=3"
    )
    first = protocol_config(base, "AU first", 0)
    assert (first.model, first.extractor) == ("ar4", "resnet18")


def test_sets_of_one_builder_are_called_after_their_folders_too() -> None:
    folders = [Path("data/fer2013"), Path("data/fer2013-equalised"), Path("data/ck_plus")]
    called = called_apart(["fer2013", "fer2013", "ck_plus"], folders)
    assert called == ["fer2013 (fer2013)", "fer2013 (fer2013-equalised)", "ck_plus"]


def test_a_cross_validation_names_its_folds() -> None:
    preset = TrainConfig(model="ar5", epochs=8)
    config = dataclasses.replace(preset, sound_features=0)
    folder, folds = Path("runs/clips-ar5-video-0"), Path("runs/folds-clips-5.json")
    assert folds_command(config, preset, Path("data/clips"), folder, folds) == (
        "python experiments/folds.py --model=ar5 --data=data/clips "
        "--out=runs/clips-ar5-video-0-again --sound-features=0 "
        "--stacked=no --folds=runs/folds-clips-5.json"
    )


def test_action_units_are_learned_where_some_are_labelled(tmp_path: Path) -> None:
    for name, units in (("coded", ("1", "0")), ("plain", ("", ""))):
        folder = tmp_path / name
        folder.mkdir()
        lines = ["path,subject,emotion,AU06,split"]
        for number, unit in enumerate(units):
            cv2.imwrite(str(folder / f"{number}.png"), np.zeros((98, 80), np.uint8))
            lines.append(f"{number}.png,{number},anger,{unit},train")
        assert has_units(build(folder, "\n".join(lines))) == (name == "coded")
