"""What a training is refused for before its folder is touched."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_sets import build, noise_pictures

from emojax import cross_validation, sweep
from emojax.config import TrainConfig, Watched, network_spec
from emojax.cross_validation import train_folds
from emojax.data.resident import keep_labels
from emojax.data.shards import dataset_info, load_split
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.losses import LossConfig, Votes
from emojax.network import extractor_config, perceptron_config
from emojax.optim import OptimConfig
from emojax.preconditions import labelled, labels_counted, require_labels
from emojax.run import load_run, open_run
from emojax.sweep import Grid, train_sweep

CONFIG = TrainConfig(batch_size=8, epochs=1)
GRID = Grid(seeds=(0,), learning_rates=(1e-3,), blocks=((),))

Train = Callable[[TrainConfig, Path, Path, bool], Any]
TRAIN: dict[str, Train] = {
    "run": lambda config, folder, data, fresh: train_run(
        config, folder, data, fresh=fresh, baseline=False
    ),
    "folds": lambda config, folder, data, fresh: train_folds(config, folder, data, fresh=fresh),
    "sweep": lambda config, folder, data, fresh: train_sweep(
        config, folder, data, GRID, fresh=fresh
    ),
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with an emotion and one known action unit."""
    return noise_pictures(tmp_path_factory.mktemp("set"), train=16, validation=7, test=7)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same with one kind of label each; and with none on those who train."""
    columns = {
        "emotions": ("emotion", "fear", "fear"),
        "units": ("AU06", "1", "0"),
        "no_training": ("emotion", "", "fear"),
    }
    found = {}
    for name, (column, training, others) in columns.items():
        folder = tmp_path_factory.mktemp(name)
        lines = [f"path,subject,{column},split"]
        for number in range(24):
            split = "train" if number < 16 else "validation" if number < 20 else "test"
            picture = np.full((98, 80), 9 * number, np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), picture)
            label = training if split == "train" else others
            lines.append(f"{number}.png,p{number % 4}{split},{label},{split}")
        found[name] = build(folder, "\n".join(lines))
    return found


UNLABELLED = [
    ("emotions", "action_units", "no example to train on has a known action unit, so nothing"),
    ("units", "emotions", "no example to train on has a known emotion, so nothing"),
    ("no_training", "all", "has a known action unit and no known emotion, so nothing"),
]


@pytest.mark.parametrize(
    ("way", "data", "outputs", "words"),
    # In folds people of all splits train, and some of them have a label there.
    [(way, *row) for way in TRAIN for row in UNLABELLED[: 2 if way == "folds" else 3]],
)
def test_labels_that_nobody_gave_are_not_trained_on(
    half: dict[str, Path], tmp_path: Path, way: str, data: str, outputs: Any, words: str
) -> None:
    config = dataclasses.replace(CONFIG, outputs=outputs)
    with pytest.raises(UserError, match=words):
        TRAIN[way](config, tmp_path / "run", half[data], False)
    assert not (tmp_path / "run").exists()


def test_a_fold_that_trains_on_nobody_with_a_label_is_named(tmp_path: Path) -> None:
    lines = ["path,subject,emotion,split"]
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((98, 80), number, np.uint8))
        lines.append(f"{number}.png,p{number},{'' if number else 'fear'},train")
    data = build(tmp_path, "\n".join(lines))
    config = TrainConfig(batch_size=1, outputs="emotions")
    with pytest.raises(UserError, match=r"fold .*p0.*: no example to train on has a known emotion"):
        train_folds(config, tmp_path / "run", data)


def test_a_streamed_run_knows_its_labels_by_the_build_s_counts(
    shards: Path, half: dict[str, Path], tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, outputs="action_units", input="streaming")
    with pytest.raises(UserError, match="no example to train on has a known action unit"):
        train_run(config, tmp_path / "run", half["emotions"], baseline=False)
    for data in (shards, *half.values()):
        info = dataset_info(data)
        for outputs in ("all", "emotions", "action_units"):
            config = dataclasses.replace(CONFIG, outputs=outputs)
            spec = network_spec(config, info.input_spec)
            train = keep_labels(load_split(data, "train"), spec)
            told = np.any(labelled(config, train), axis=0).tolist()
            assert labels_counted(config, spec, info) == tuple(told)


def test_one_kind_of_label_is_enough_and_a_teacher_or_a_rater_says_one_too(
    shards: Path, half: dict[str, Path]
) -> None:
    require_labels(CONFIG, "here", False, True)
    require_labels(CONFIG, "here", True, False)
    taught = dataclasses.replace(CONFIG, teachers=("runs/large",))
    require_labels(taught, "here", False, False)
    unheeded = dataclasses.replace(taught, loss=LossConfig(teacher_weight=0.0))
    with pytest.raises(UserError, match="nothing would be learned"):
        require_labels(unheeded, "here", False, False)
    require_labels(TrainConfig(model="ar4"), "here", True, False)
    with pytest.raises(UserError, match="has a known action unit, which ar4 learns emotions from"):
        require_labels(TrainConfig(model="ar4"), "here", False, True)
    people = load_split(half["units"], "train")
    votes = np.zeros_like(people.votes)
    votes[2, 1, 0] = 5
    voted = dataclasses.replace(people, votes=votes)
    expected: dict[Votes, list[int]] = {"face": [2], "voice": [], "none": []}
    for asked, wanted in expected.items():
        config = TrainConfig(loss=LossConfig(votes=asked))
        assert np.flatnonzero(labelled(config, voted)[:, 1]).tolist() == wanted


@pytest.mark.parametrize("way", TRAIN)
def test_votes_are_refused_where_nobody_voted(shards: Path, tmp_path: Path, way: str) -> None:
    config = dataclasses.replace(CONFIG, loss=LossConfig(votes="face"))
    with pytest.raises(UserError, match=r"no example has raters' votes, which loss\.votes=face"):
        TRAIN[way](config, tmp_path / "run", shards, False)
    assert not (tmp_path / "run").exists()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a stage that is not there": ({"frozen": ("nosuch",)}, "no stage is called 'nosuch'"),
    "too many steps to accumulate": (
        {"optim": OptimConfig(accumulate=99)},
        "accumulate=99: the run has",
    ),
    "a width too many": (
        {"model": "resnet_small", "blocks": (1, 1), "widths": (4, 4, 4)},
        "widths 4, 4, 4: wanted one for each of the 2 stages",
    ),
}


@pytest.mark.parametrize("way", TRAIN)
@pytest.mark.parametrize("mistake", REFUSED)
def test_what_cannot_train_leaves_no_folder_and_throws_no_run_away(
    shards: Path, tmp_path: Path, way: str, mistake: str
) -> None:
    change, words = REFUSED[mistake]
    if way == "sweep" and "blocks" in change:
        change = change | {"blocks": (), "widths": (4, 4, 4)}
        words = "widths 4, 4, 4: wanted one for each of the 4 stages"
    config, folder = dataclasses.replace(CONFIG, **change), tmp_path / "run"
    with pytest.raises(UserError, match=words):
        TRAIN[way](config, folder, shards, False)
    assert not folder.exists()
    leave_a_run(folder, shards)
    before = content(folder)
    with pytest.raises(UserError, match=words):
        TRAIN[way](config, folder, shards, True)
    assert content(folder) == before


def leave_a_run(folder: Path, data: Path) -> None:
    """What a run leaves, as far as others look at it."""
    info = dataset_info(data)
    open_run(folder, CONFIG, info.input_spec, data, info.report["fingerprint"], fresh=False)
    (folder / "checkpoints" / "10").mkdir(parents=True)
    (folder / "history.csv").write_text("epoch\n1\n")


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"teachers": ("nowhere",)}, "nowhere: no run here"),
        ({"patience": 1, "outputs": "action_units", "watch": "emotion_uar"}, "have no emotion_uar"),
        ({"input": "streaming", "batch_size": 17}, "train has 16 examples for a batch of 17"),
        (
            {"model": "ar4", "extractor": "ar1", "optim": OptimConfig(accumulate=9)},
            "accumulate=9: the run has 8 steps",
        ),
        (
            {
                "model": "ar4",
                "extractor": "ar1",
                "epochs": 2,
                "perceptron_epochs": 9,
                "optim": OptimConfig(accumulate=9),
            },
            "accumulate=9: the run has 4 steps",
        ),
        ({"model": "ar4", "loss": LossConfig(votes="face")}, "no example has raters' votes"),
    ],
)
def test_a_run_is_checked_before_its_folder_is_touched(
    shards: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    config, folder = dataclasses.replace(CONFIG, **change), tmp_path / "run"
    with pytest.raises(UserError, match=words):
        train_run(config, folder, shards)
    assert not folder.exists()
    leave_a_run(folder, shards)
    before = content(folder)
    with pytest.raises(UserError, match=words):
        train_run(config, folder, shards, fresh=True)
    assert content(folder) == before


def test_ar4_s_two_parts_watch_what_each_can_get_better_at() -> None:
    expected: dict[Watched, tuple[Watched, Watched]] = {
        "validation_loss": ("validation_loss", "validation_loss"),
        "emotion_uar": ("validation_loss", "emotion_uar"),
        "action_unit_f1": ("action_unit_f1", "validation_loss"),
        "action_unit_roc_area": ("action_unit_roc_area", "validation_loss"),
    }
    for watch, (extractor, perceptron) in expected.items():
        config = TrainConfig(model="ar4", watch=watch, patience=2, loss=LossConfig(votes="face"))
        assert extractor_config(config).watch == extractor
        assert perceptron_config(config).watch == perceptron
        # Raters said nothing of action units.
        assert extractor_config(config).loss.votes == "none"


def test_ar4_is_not_trained_where_nobody_named_an_action_unit(
    half: dict[str, Path], tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, model="ar4", extractor="ar1")
    with pytest.raises(UserError, match="has a known action unit, which ar4 learns emotions from"):
        train_run(config, tmp_path / "run", half["emotions"])
    assert not (tmp_path / "run").exists()


def test_few_people_are_left_out_one_by_one(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_validation, "MAX_LEFT_OUT", 20)
    words = r"21 people are too many to leave out one by one \(up to 20\): divide them with  emojax"
    with pytest.raises(UserError, match=f"{words} data folds --k  and give .* as --folds"):
        train_folds(CONFIG, tmp_path / "run", shards)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("way", ["folds", "sweep"])
def test_folds_of_a_refused_command_hold_nobody(
    shards: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    leave_a_run(folder, shards)
    shutil.rmtree(folder / "checkpoints")
    (folder / "history.csv").unlink()
    (folder / "folds").mkdir()
    (folder / "folds.json").write_text('{"sha256": "other folds"}')
    (folder / "runs" / "own").mkdir(parents=True)
    other = dataclasses.replace(CONFIG, epochs=9, frozen=("conv*",))

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for module in (cross_validation, sweep):
        monkeypatch.setattr(module, "train_all", stop)
    with pytest.raises(KeyboardInterrupt):
        TRAIN[way](other, folder, shards, False)
    assert load_run(folder)[0].epochs == 9
