"""Trainings that leave the finite numbers: which step, which examples, what is still good."""

from __future__ import annotations

import dataclasses
import json
import re
import weakref
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_sets import noise_pictures

from emojax import cross_validation, experiment
from emojax.checkpoint import open_checkpoints, restore
from emojax.cli import run_guarded
from emojax.config import TrainConfig
from emojax.data import feed
from emojax.data.resident import Resident, put_on_device
from emojax.data.shards import dataset_info, load_split, load_whole
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.finite import finite_losses, is_finite, name_examples
from emojax.models import build_model
from emojax.network import make_run_trainer
from emojax.sharding import replicated
from emojax.train import Trainer, fit, make_trainer, read_old

CONFIG = TrainConfig(batch_size=4, epochs=3)
BAD = 13


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pictures(tmp_path_factory.mktemp("set"), train=24, validation=7, test=7)


@pytest.fixture(scope="module")
def trainer(shards: Path) -> Trainer:
    spec = dataset_info(shards).input_spec
    return make_trainer(build_model("ar1", spec.num_outputs), spec, CONFIG, 24)


def poisoned(resident: Resident, face: np.ndarray, value: float) -> Resident:
    """The same examples, with a label confidence that nobody can have beside one face."""
    found = (np.asarray(resident.faces) == face).all(axis=(1, 2, 3))
    confidence = np.where(found, np.float32(value), np.asarray(resident.emotion_confidence))
    return resident._replace(emotion_confidence=jnp.asarray(confidence))


@pytest.mark.parametrize(("way", "value"), [("resident", np.nan), ("streaming", np.inf)])
def test_the_step_its_batch_and_the_last_good_checkpoint_are_named(
    way: Any,
    value: float,
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = load_split(shards, "train")
    face, path = train.faces[BAD], train.paths[BAD]

    def placed(*given: Any) -> Resident:
        whole = poisoned(put_on_device(*given), face, value)
        return jax.device_put(whole, given[1])

    to_resident = feed.to_resident
    monkeypatch.setattr(experiment, "put_on_device", placed)
    monkeypatch.setattr(
        feed, "to_resident", lambda *given: poisoned(to_resident(*given), face, value)
    )
    # A checkpoint after each step: the last good one is the one before.
    config = dataclasses.replace(CONFIG, input=way, checkpoint_minutes=1e-6)
    folder = tmp_path / "run"
    status = run_guarded("train.py", lambda: bool(train_run(config, folder, shards)))
    assert status == 2
    error = capsys.readouterr().err.splitlines()[-1]
    said = re.fullmatch(
        r"train.py: error: the loss became (?:nan|inf) at step (\d+); its batch was (.*) \(the "
        r"whole batch: (.*)\); the last good checkpoint is (.*): look at the batch, or try .*",
        error,
    )
    assert said, error
    step, named, file, checkpoint = int(said[1]), said[2].split(", "), said[3], said[4]
    # An epoch has six steps, each example is in one of them.
    assert 1 <= step <= 6
    assert path in named
    assert len(named) == 4
    assert json.loads(Path(file).read_text()) == {"step": step, "examples": named}
    assert checkpoint == str(folder / "checkpoints" / str(step - 1))
    with open_checkpoints(folder / "checkpoints") as checkpoints:
        state, _ = restore(checkpoints, make_run_trainer(config, train_spec(shards), 24).init())
    assert int(state.step) == step - 1
    assert is_finite(state)


def train_spec(shards: Path) -> Any:
    return dataset_info(shards).input_spec


@pytest.mark.parametrize("bad_step", [3, 6])
@pytest.mark.parametrize("part", ["params", "opt_state"])
def test_a_state_that_is_not_finite_is_never_saved(
    bad_step: int, part: str, shards: Path, trainer: Trainer, tmp_path: Path
) -> None:
    def spoil(state: Any, resident: Resident, order: jax.Array) -> Any:
        # The loss of this very step knows nothing of it: it is that of the parameters before.
        state, metrics = trainer.step(state, resident, order)
        if int(state.step) == bad_step:
            spoilt = jax.tree.map(
                lambda leaf: leaf * np.float32(np.nan) if leaf.dtype == jnp.float32 else leaf,
                getattr(state, part),
            )
            state = state._replace(**{part: spoilt})
            metrics["gradient_norm"] = jnp.float32(np.inf)
        return state, metrics

    config = dataclasses.replace(CONFIG, checkpoint_minutes=1e-6)
    spoiling = dataclasses.replace(trainer, step=spoil, config=config)
    resident = put_on_device(load_split(shards, "train"), replicated(trainer.mesh))
    evaluated: list[int] = []
    with open_checkpoints(tmp_path) as checkpoints:
        with pytest.raises(UserError, match=f"at step {bad_step} by a gradient of norm inf; the"):
            fit(
                spoiling,
                resident,
                checkpoints,
                on_steps=lambda *_: None,
                on_epoch=lambda state, _: evaluated.append(int(state.step)),
            )
        assert checkpoints.latest_step() == bad_step - 1
    assert not evaluated


def test_a_loss_that_is_lost_between_checkpoints_stops_within_three_steps(
    shards: Path, trainer: Trainer, tmp_path: Path
) -> None:
    def lost(state: Any, resident: Resident, order: jax.Array) -> Any:
        state, metrics = trainer.step(state, resident, order)
        bad = int(state.step) == 2
        return state, metrics | {"loss": jnp.float32(np.nan) if bad else metrics["loss"]}

    resident = put_on_device(load_split(shards, "train"), replicated(trainer.mesh))
    steps: list[int] = []
    with open_checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match="at step 2; "):
        fit(
            dataclasses.replace(trainer, step=lost),
            resident,
            checkpoints,
            on_steps=lambda count, _: steps.append(count),
            on_epoch=lambda *_: None,
        )
    assert sum(steps) == 3


def test_what_is_read_of_a_step_stays_on_no_device(
    shards: Path, trainer: Trainer, tmp_path: Path
) -> None:
    alive: list[weakref.ref[jax.Array]] = []
    most: list[int] = []
    read: list[float] = []
    losses: list[float] = []

    def watched(state: Any, resident: Resident, order: jax.Array) -> Any:
        most.append(sum(one() is not None for one in alive))
        state, metrics = trainer.step(state, resident, order)
        alive.extend(map(weakref.ref, metrics.values()))
        losses.append(float(metrics["loss"]))
        return state, metrics

    resident = put_on_device(load_split(shards, "train"), replicated(trainer.mesh))
    with open_checkpoints(tmp_path) as checkpoints:
        _, history = fit(
            dataclasses.replace(trainer, step=watched),
            resident,
            checkpoints,
            on_steps=lambda _, loss: read.append(loss),
            on_epoch=lambda *_: None,
        )
    # Losses and norms of the last two steps, and what the loop holds of the newest.
    assert len(most) == 18
    assert max(most) <= 6
    for epoch, row in enumerate(history):
        own = losses[6 * epoch : 6 * epoch + 6]
        # Two steps late; and the mean is over all of them.
        assert read[6 * epoch : 6 * epoch + 6] == [own[0], own[0], *own[:4]]
        assert row["loss"] == np.mean(own)


def test_losses_and_norms_keep_their_steps_when_their_values_take_their_place() -> None:
    device = [jnp.float32(value) for value in (0.1, 0.2, 0.3, 0.4)]
    # Two steps of the epoch were done before the run was stopped.
    losses: list[Any] = [5.0, 6.0]
    norms: list[Any] = []
    seen = []
    for number in device:
        losses.append(number)
        norms.append(-number)
        seen.append(float(read_old(losses, norms)))
    assert seen == [5.0, 6.0, float(device[0]), float(device[1])]
    assert losses == [5.0, 6.0, *map(float, device)]
    assert [type(one) is float for one in losses] == [True] * 4 + [False] * 2
    assert norms == [-float(one) for one in device]
    assert [type(one) is float for one in norms] == [True] * 2 + [False] * 2
    whole = jnp.array([1.0, 2.0, 3.0])
    assert np.ravel(read_old([whole], [whole]))[-1] == 3.0


def test_losses_of_several_steps_in_one_call_are_counted() -> None:
    def describe(step: int) -> str:
        return f"batch {step}"

    losses = [0.5, jnp.array([1.0, 2.0]), jnp.array([3.0, np.nan])]
    with pytest.raises(UserError, match="nan at step 15; batch 15"):
        finite_losses(losses, [], {"a": jnp.ones(2)}, 15, describe)
    with pytest.raises(UserError, match="nan or inf at step 15; batch 15"):
        finite_losses([1.0], [], {"a": jnp.array([1.0, np.inf])}, 15, describe)
    assert finite_losses(losses[:2], [], {"a": jnp.ones(2)}, 15, describe) == [0.5, 1.0, 2.0]


def test_a_large_batch_is_named_by_its_first_and_a_file(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(20)]
    said = name_examples(names, tmp_path / "all.json", 7)
    assert said.startswith("its batch was 0.png, 1.png, ")
    assert " 7.png and 12 more (the whole batch: " in said
    assert json.loads((tmp_path / "all.json").read_text())["examples"] == names


@pytest.mark.slow
def test_a_fold_names_its_step_and_batch(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_whole(shards)

    def placed(*given: Any) -> Resident:
        return jax.device_put(
            poisoned(put_on_device(*given), whole.faces[BAD], np.nan), replicated(given[1].mesh)
        )

    monkeypatch.setattr(cross_validation, "put_on_device", placed)
    with pytest.raises(UserError, match=r"fold \w+: the loss became nan at step ") as error:
        cross_validation.train_folds(CONFIG, tmp_path / "run", shards)
    assert whole.paths[BAD] in str(error.value)
    assert "folds are kept" in str(error.value)
