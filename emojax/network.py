"""The network of a run: built by its settings, begun from another's, loaded from its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from emojax.checkpoint import open_checkpoints, restore
from emojax.config import TrainConfig
from emojax.errors import UserError
from emojax.evaluate import Predictor, make_predictor
from emojax.finetune import take_over
from emojax.models import DEFAULT_EXTRACTOR, build_model, looks_at
from emojax.run import load_run
from emojax.shipped import find_model
from emojax.spec import InputSpec
from emojax.train import Teacher, Trainer, TrainState, compute_dtype, init_variables, make_trainer
from emojax.weights import averaged
from emojax.weights_file import WEIGHTS, read_weights

BEST = "best"
"""Folder of the best epoch's state in a run with `patience`."""


def variables_of(state: TrainState) -> dict[str, Any]:
    """Return what `apply` wants of a state."""
    params = averaged(state.opt_state, state.params)
    return {"params": params, "batch_stats": state.batch_stats}


def build_network(config: TrainConfig, spec: InputSpec, *, frozen: bool | None = None) -> nn.Module:
    """Return the network of a run's settings; `frozen`: of ar4, with its extractor held still."""
    return build_model(
        config.model,
        spec.num_outputs,
        dropout=config.dropout,
        activation=config.activation,
        norm_momentum=config.norm_momentum,
        blocks=config.blocks,
        widths=config.widths,
        dtype=compute_dtype(config.dtype),
        extractor=config.extractor,
        frozen=frozen,
        video_features=config.video_features,
        sound_features=config.sound_features,
        sound_branch=config.sound_branch,
        sound_widths=config.sound_widths,
    )


def make_run_predictor(config: TrainConfig, spec: InputSpec, mesh: jax.sharding.Mesh) -> Predictor:
    """Return the compiled predictor of a run's network."""
    return make_predictor(build_network(config, spec), looks_at(config.model), spec, mesh)


def perceptron_config(config: TrainConfig) -> TrainConfig:
    """Return the settings by which ar4's perceptron is trained, out of those of its run."""
    return dataclasses.replace(
        config,
        epochs=config.perceptron_epochs,
        optim=dataclasses.replace(config.optim, learning_rate=config.perceptron_learning_rate),
        # Its action units are the extractor's, which stands still: they never get better.
        watch="validation_loss" if config.watch.startswith("action_unit") else config.watch,
    )


def extractor_config(config: TrainConfig) -> TrainConfig:
    """Return the settings by which ar4's extractor is trained, out of those of its run."""
    return dataclasses.replace(
        config,
        model=config.extractor or DEFAULT_EXTRACTOR,
        extractor=None,
        outputs="action_units",
        # It has no emotions to be watched, nor to be voted on.
        watch="validation_loss" if config.watch == "emotion_uar" else config.watch,
        loss=dataclasses.replace(config.loss, votes="none"),
    )


def make_run_trainer(
    config: TrainConfig,
    spec: InputSpec,
    num_examples: int,
    *,
    devices: Sequence[Any] | None = None,
    extractor: Any = None,
    class_weights: np.ndarray | None = None,
    trained: Mapping[str, Any] | None = None,
    teachers: Sequence[Teacher] = (),
) -> Trainer:
    """Return the compiled calls of a run; of ar4's, those of its perceptron.

    Args:
        config: the run's settings.
        spec: what its network sees and answers.
        num_examples: length of the training split.
        devices: JAX devices, all of them for None.
        extractor: of ar4, the trained variables of its extractor, by collection; None
            where they come from a checkpoint.
        class_weights: of `losses.balance`.
        trained: variables to start from, of `finetune.take_over`.
        teachers: of `load_teachers`; of ar4 none.
    """
    if config.model != "ar4":
        return make_trainer(
            build_network(config, spec),
            spec,
            config,
            num_examples,
            devices,
            trained=trained,
            class_weights=class_weights,
            teachers=teachers,
        )
    return make_trainer(
        build_network(config, spec, frozen=True),
        spec,
        perceptron_config(config),
        num_examples,
        devices,
        frozen=("extractor",),
        # A network without normalisation has no statistics to hand on.
        trained={name: {"extractor": tree} for name, tree in (extractor or {}).items() if tree},
        class_weights=class_weights,
    )


def start_variables(config: TrainConfig, spec: InputSpec) -> dict[str, Any] | None:
    """Return the variables of the run that `config.init` names, None where it names none.

    By collection and top name; of a head for other labels nothing.

    Raises:
        UserError: no trained run there, or one of another network.
    """
    if not config.init:
        return None
    old = load_network(find_model(config.init))
    if old.config.model != config.model:
        raise UserError(f"{config.init}: is a {old.config.model}: use --model={old.config.model}")
    network, looks = build_network(config, spec), looks_at(config.model)
    fresh = jax.eval_shape(lambda: init_variables(network, looks, spec, jax.random.key(0)))
    return take_over(old.variables, old.spec, fresh, spec, config.init)


def load_teachers(config: TrainConfig, spec: InputSpec) -> list[Teacher]:
    """Return the networks that a run learns from, in the run's own compute type.

    Raises:
        UserError: a folder without a trained network, or one that sees or answers other things.
    """
    teachers = []
    for folder in config.teachers:
        old = load_network(find_model(folder))
        if old.spec != spec:
            fields = old.spec.to_dict()
            other = [name for name, value in spec.to_dict().items() if fields[name] != value]
            raise UserError(
                f"{folder}: its {', '.join(other)} is not this run's: a teacher answers the same "
                "question about the same input"
            )
        model = build_network(dataclasses.replace(old.config, dtype=config.dtype), spec)
        teachers.append(Teacher(model, looks_at(old.config.model), old.variables))
    return teachers


class TrainedNetwork(NamedTuple):
    """A run's network, ready to predict."""

    model: nn.Module
    variables: Any
    config: TrainConfig
    spec: InputSpec
    data: Path


def load_network(folder: Path) -> TrainedNetwork:
    """Return the network of a run from its newest checkpoint, computing in float32.

    A model that comes with emojax has its weights in a file instead.

    Raises:
        UserError: no run there, or no checkpoint yet.
    """
    config, spec, data = load_run(folder)
    if (folder / WEIGHTS).is_file():
        model = build_network(dataclasses.replace(config, dtype="float32"), spec)
        looks = looks_at(config.model)
        shapes = jax.eval_shape(lambda: init_variables(model, looks, spec, jax.random.key(0)))
        variables = read_weights(folder / WEIGHTS, shapes)
        return TrainedNetwork(model, variables, config, spec, data)
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder}: no checkpoint yet: train first")
    model = build_network(dataclasses.replace(config, dtype="float32"), spec)
    # The state's form does not depend on how many examples it was trained on; fewer would be
    # refused.
    examples = config.batch_size * config.optim.accumulate
    trainer = make_run_trainer(config, spec, examples, devices=jax.local_devices()[:1])
    with open_checkpoints(folder / (BEST if config.patience else "checkpoints")) as checkpoints:
        state, _ = restore(checkpoints, trainer.like())
    return TrainedNetwork(model, variables_of(state), config, spec, data)
