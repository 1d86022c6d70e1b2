"""Runs that start from a trained one, stages held still or slowed, and early stopping."""

from __future__ import annotations

import csv
import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small_sets import noise_pictures

from emojax import experiment
from emojax.augment import AugmentConfig
from emojax.config import TrainConfig
from emojax.data.shards import dataset_info, load_split
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.finetune import read_rates, stage_factors, take_over
from emojax.models import build_model, looks_at
from emojax.network import load_network
from emojax.optim import OptimConfig
from emojax.sharding import replicated
from emojax.spec import InputSpec, read_json
from emojax.train import best_epoch, init_variables, make_trainer, out_of_patience

SPEC = InputSpec()
STAGES = ["conv0", "conv1", "fully_connected", "head"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pictures(tmp_path_factory.mktemp("set"), train=40, validation=14, test=14)


@pytest.fixture(scope="module")
def first(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained ar1 with a row of figures."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    train_run(TrainConfig(batch_size=8, epochs=1), folder, shards, baseline=False)
    return folder


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf)) for leaf in jax.tree.leaves(tree)])


def test_factors_go_by_name_and_pattern_and_the_last_holds() -> None:
    rates = read_rates(["conv*=0.1", "conv1=0.5", "head=2"])
    assert rates == {"conv*": 0.1, "conv1": 0.5, "head": 2.0}
    assert stage_factors(STAGES, ["fully_connected"], rates) == {
        "conv0": 0.1,
        "conv1": 0.5,
        "fully_connected": 0.0,
        "head": 2.0,
    }
    assert stage_factors(STAGES, [], {}) == dict.fromkeys(STAGES, 1.0)
    # A name that comes again is the last one now.
    again = read_rates(["conv1=0.5", "conv*=0.1", "conv1=0.7"])
    assert list(again) == ["conv*", "conv1"]
    assert stage_factors(STAGES, [], again)["conv1"] == 0.7
    # What is frozen stays so, whatever rate fits it, and wherever that was given.
    for rates in (["head=0.1", "*=0.5"], ["*=0.5", "head=0.1"], ["*=0.5"]):
        factors = stage_factors(STAGES, ["head"], read_rates(rates))
        assert factors == dict.fromkeys(STAGES, 0.5) | {"head": 0.0}
    with pytest.raises(UserError, match=r"no stage is called 'stem': this network has conv0, "):
        stage_factors(STAGES, ["stem"], {})
    with pytest.raises(UserError, match="every stage is frozen"):
        stage_factors(STAGES, ["*"], {})


@pytest.mark.parametrize("text", ["stem", "=1", "stem=", "stem=fast", "stem=-1", "a=nan", "a=inf"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"wanted NAME=FACTOR, as stem=0\.1"):
        TrainConfig(stage_rates=(text,))


@pytest.mark.slow
def test_the_head_is_taken_over_where_the_answers_are_the_same() -> None:
    model = build_model("ar1", SPEC.num_outputs)
    trained = init_variables(model, looks_at("ar1"), SPEC, jax.random.key(0))
    fresh = init_variables(model, looks_at("ar1"), SPEC, jax.random.key(1))
    taken = take_over(trained, SPEC, fresh, SPEC, "runs/a")
    np.testing.assert_array_equal(flat(taken["params"]), flat(trained["params"]))
    for other in (
        SPEC.replace(emotion_activation="softmax"),
        SPEC.replace(action_units=SPEC.action_units[::-1]),
    ):
        # As many outputs, which mean something else.
        taken = take_over(trained, SPEC, fresh, other, "runs/a")
        assert set(trained["params"]) - set(taken["params"]) == {"head"}
    with pytest.raises(UserError, match=r"runs/a: was trained with scale=1\d\d\.\d+, the data set"):
        take_over(trained, SPEC, fresh, SPEC.replace(scale=64.0), "runs/a")
    wide = init_variables(build_model("ar2", 22), looks_at("ar2"), SPEC, jax.random.key(0))
    with pytest.raises(UserError, match=r"runs/a: its \w+ has not the shape"):
        take_over(trained, SPEC, wide, SPEC, "runs/a")


def one_step(shards: Path, **settings: Any) -> tuple[Any, Any]:
    """Parameters before and after one step of plain SGD."""
    config = TrainConfig(
        batch_size=8,
        augment=AugmentConfig(noise=0.0),
        optim=OptimConfig(name="sgd", schedule="constant", momentum=0.0, weight_decay=0.0),
        **settings,
    )
    info = dataset_info(shards)
    model = build_model("ar1", info.input_spec.num_outputs)
    trainer = make_trainer(model, info.input_spec, config, 40)
    arrays = load_split(shards, "train")
    resident = experiment.put_on_device(arrays, replicated(trainer.mesh))
    before = jax.tree.map(np.array, trainer.init().params)
    state, _ = trainer.step(trainer.init(), resident, trainer.order(0))
    return before, jax.tree.map(np.array, state.params)


@pytest.mark.slow
def test_stages_stand_still_or_move_by_their_factor(shards: Path) -> None:
    before, plain = one_step(shards)
    stages = sorted(before)
    still, slow = stages[0], stages[1]
    start, after = one_step(shards, frozen=(still,), stage_rates=(f"{slow}=0.25",))
    np.testing.assert_array_equal(flat(start), flat(before))
    np.testing.assert_array_equal(flat(after[still]), flat(before[still]))
    moved = flat(plain[slow]) - flat(before[slow])
    assert np.abs(moved).max() > 1e-5
    np.testing.assert_allclose(flat(after[slow]) - flat(before[slow]), moved / 4, atol=1e-7)
    for stage in stages[2:]:
        np.testing.assert_allclose(flat(after[stage]), flat(plain[stage]), atol=1e-7)


@pytest.mark.slow
def test_stages_can_be_slowed_with_an_average_and_limits_too(shards: Path, tmp_path: Path) -> None:
    optim = OptimConfig(average=0.9, clip_weights=0.05, clip_gradient=1.0, l2=1e-3, accumulate=2)
    config = TrainConfig(
        batch_size=8, epochs=1, optim=optim, frozen=("conv*",), stage_rates=("head=0.5",)
    )
    train_run(config, tmp_path / "run", shards, baseline=False)
    assert np.isfinite(flat(load_network(tmp_path / "run").variables)).all()


@pytest.mark.slow
def test_a_run_starts_from_another_and_goes_on_without_it(
    shards: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = shutil.copytree(first, tmp_path / "start")
    starts: list[Any] = []
    whole = experiment.fit

    def watched(trainer: Any, *args: Any, **options: Any) -> Any:
        starts.append(jax.tree.map(np.array, trainer.init().params))
        return whole(trainer, *args, **options)

    monkeypatch.setattr(experiment, "fit", watched)
    config = TrainConfig(batch_size=8, epochs=1, init=str(start), frozen=("conv*",))
    train_run(config, tmp_path / "same", shards, baseline=False)
    old = load_network(start).variables["params"]
    np.testing.assert_array_equal(flat(starts[-1]), flat(old))
    new = load_network(tmp_path / "same").variables["params"]
    for stage in old:
        assert (flat(new[stage]) == flat(old[stage])).all() == stage.startswith("conv"), stage
    # Emotions alone: another head, the rest as it was.
    other = dataclasses.replace(config, outputs="emotions", emotion_activation="softmax")
    train_run(other, tmp_path / "other", shards, baseline=False)
    assert starts[-1]["head"]["logits"]["kernel"].shape[1] == 7
    for stage in set(old) - {"head"}:
        np.testing.assert_array_equal(flat(starts[-1][stage]), flat(old[stage]))
    # What it started from is not needed any more.
    shutil.rmtree(start)
    train_run(config, tmp_path / "same", shards, baseline=False)
    with pytest.raises(UserError, match=r"start"):
        train_run(config, tmp_path / "third", shards, baseline=False)
    assert not (tmp_path / "third").exists()


def test_a_run_killed_before_its_first_checkpoint_starts_from_the_other_again(
    shards: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[Any] = []

    def killed(trainer: Any, *args: Any, **options: Any) -> Any:
        starts.append(flat(jax.tree.map(np.array, trainer.init().params)))
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "fit", killed)
    config = TrainConfig(batch_size=8, epochs=1, init=str(first))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_run(config, tmp_path / "run", shards, baseline=False)
        assert (tmp_path / "run" / "checkpoints").is_dir()
        # Whom the other had seen is noted before anything is trained.
        noted = read_json(tmp_path / "run" / "config.json")["ancestors"]["people"]["manifest"]
        assert noted["train"] == sorted(dataset_info(shards).report["splits"]["train"]["people"])
    old = flat(load_network(first).variables["params"])
    np.testing.assert_array_equal(starts, [old, old])


def test_a_start_of_another_network_is_refused(shards: Path, first: Path, tmp_path: Path) -> None:
    config = TrainConfig(model="ar2", init=str(first))
    with pytest.raises(UserError, match=r"first: is a ar1: use --model=ar1"):
        train_run(config, tmp_path / "run", shards)
    with pytest.raises(UserError, match=r"ar4 is trained in two stages of its own"):
        TrainConfig(model="ar4", init=str(first))


def test_the_best_epoch_is_the_first_of_equals() -> None:
    rows = [{"validation_loss": loss, "emotion_uar": None} for loss in (3.0, 1.0, 2.0, 1.0)]
    assert best_epoch(rows, "validation_loss") == 1
    assert best_epoch(rows, "emotion_uar") is None
    assert best_epoch([], "emotion_uar") is None
    rows = [{"emotion_uar": recall} for recall in (None, 0.2, 0.7, 0.7)]
    assert best_epoch(rows, "emotion_uar") == 2
    config = TrainConfig(patience=2, watch="emotion_uar")
    assert [out_of_patience(config, rows[:count]) for count in range(5)] == [False] * 5
    assert out_of_patience(config, [*rows, {"emotion_uar": 0.6}])
    assert not out_of_patience(TrainConfig(), rows * 9)


def test_a_run_without_patience_looks_through_no_history() -> None:
    class Unread(list[Any]):
        def __iter__(self) -> Any:
            raise AssertionError("all epochs were looked at")

    history = Unread([{"validation_loss": 1.0}])
    assert not out_of_patience(TrainConfig(), history)
    with pytest.raises(AssertionError, match="looked at"):
        out_of_patience(TrainConfig(patience=1), history)


def test_a_figure_that_is_not_finite_never_wins() -> None:
    rows = [{"emotion_uar": value} for value in (math.inf, math.nan, 0.1)]
    assert best_epoch(rows, "emotion_uar") == 2
    assert best_epoch([{"validation_loss": -math.inf}], "validation_loss") is None
    config = TrainConfig(patience=2)
    assert out_of_patience(config, [{"validation_loss": math.nan}] * 2)


def test_patience_counts_looks_at_the_validation_people_not_epochs() -> None:
    config = TrainConfig(patience=2, validate_every=3)
    rows: list[dict[str, Any]] = [{"epoch": epoch} for epoch in range(1, 13)]
    assert not out_of_patience(config, rows[:5])
    for epoch, loss in ((3, 1.0), (6, 2.0), (9, 1.5)):
        rows[epoch - 1]["validation_loss"] = loss
    assert [count for count in range(13) if out_of_patience(config, rows[:count])] == [
        *range(9, 13)
    ]
    assert best_epoch(rows, "validation_loss") == 2


def test_a_run_that_seldom_looks_keeps_an_epoch_that_was_looked_at(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainConfig(batch_size=8, epochs=4, patience=1, validate_every=3)
    results = train_run(config, tmp_path / "run", shards, baseline=False)
    looks = [line["epoch"] for line in results["history"] if "validation_loss" in line]
    kept = int(capsys.readouterr().out.split("kept: epoch ")[1].split()[0])
    assert kept in looks
    assert looks == [3, 4]
    assert np.isfinite(flat(load_network(tmp_path / "run").variables)).all()


@pytest.mark.slow
def test_ar4_says_what_its_parts_watch(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainConfig(
        model="ar4",
        extractor="ar1",
        batch_size=8,
        epochs=2,
        perceptron_epochs=3,
        patience=3,
        watch="action_unit_f1",
    )
    results = train_run(config, tmp_path / "run", shards, baseline=False)
    said = capsys.readouterr().out
    for part in ("extractor (action_unit_f1", "to emotions (validation_loss"):
        assert f"{part} is watched)" in said
    assert "of 2, the best action_unit_f1" in said
    assert "of 3, the best validation_loss" in said
    # Its action units stand still: by them the first epoch would always have been the best.
    assert len({line["action_unit_f1"] for line in results["history"]}) == 1
    kept = int(said.rpartition("kept: epoch ")[2].split()[0])
    losses = [line["validation_loss"] for line in results["history"]]
    assert kept == 1 + losses.index(min(losses))


@pytest.mark.slow
def test_training_stops_and_keeps_the_best_epoch(
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[np.ndarray] = []
    losses = iter([3.0, 1.0, 2.0, 1.5])

    def row(predict: Any, state: Any, arrays: Any, spec: Any) -> dict[str, Any]:
        seen.append(flat(jax.tree.map(np.array, state.params)))
        figures = dict.fromkeys(("emotion_uar", "action_unit_f1", "action_unit_roc_area"))
        return {"validation_loss": next(losses), **figures}

    monkeypatch.setattr(experiment, "_validation_row", row)
    config = TrainConfig(batch_size=8, epochs=9, patience=2)
    folder = tmp_path / "run"
    for _ in range(2):
        # The second time everything is there already, the best epoch too.
        results = train_run(config, folder, shards, baseline=False)
        assert "kept: epoch 2 of 4, the best validation_loss" in capsys.readouterr().out
        assert [line["validation_loss"] for line in results["history"]] == [3.0, 1.0, 2.0, 1.5]
    assert len(seen) == 4
    np.testing.assert_array_equal(flat(load_network(folder).variables["params"]), seen[1])
    with (folder / "history.csv").open() as file:
        assert len(list(csv.reader(file))) == 5
