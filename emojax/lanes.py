"""Several runs of one shape at a time: a lane for each, lanes spread over the devices.

What tells runs of one shape apart are arguments of the compiled calls: the seed, the learning
rate, which examples each step takes, who is tested. So one compilation serves them all. A device
holds one lane, or several that are stacked with `vmap`; devices share nothing but the program.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from emojax.compiler import compiler_options
from emojax.config import TrainConfig
from emojax.data.resident import Resident, middle_frames, take_batch
from emojax.evaluate import Modality, Predictions, make_answer, to_predictions
from emojax.models import looks_at
from emojax.network import variables_of
from emojax.sharding import DATA_AXIS, make_mesh, replicated, split_batch
from emojax.spec import InputSpec
from emojax.train import (
    Metrics,
    TrainState,
    make_state,
    make_train_step,
    make_update_rule,
    run_keys,
    runs_by_epoch,
)


@dataclasses.dataclass(frozen=True)
class Training:
    """One of many; what is not here they share."""

    name: str
    """Of its file."""
    about: dict[str, Any]
    """What tells it from the others, as JSON can hold it; stands in its file."""
    seed: int
    """Of parameters, augmentation and dropout."""
    learning_rate: float
    """The peak."""
    order: Callable[[int], np.ndarray]
    """Returns which examples each step of an epoch takes, int32 [step, batch]."""
    tested: np.ndarray
    """Examples that it answers when it is trained, int [example]."""


@dataclasses.dataclass(frozen=True)
class Lanes:
    """The compiled calls of several runs at once; every array has a leading axis of lanes."""

    spec: InputSpec
    """What the network sees and answers."""
    mesh: Mesh
    """The devices."""
    width: int
    """Lanes of a device."""
    steps_per_epoch: int
    """Updates in one epoch."""
    by_epoch: bool
    """Whether an epoch is one call."""
    predicted: int
    """Examples that a call of `answer` takes in each lane."""
    start: Callable[[jax.Array], tuple[TrainState, jax.Array]]
    """Seeds to the states before the first step, and the keys of the steps."""
    step: Callable[..., tuple[TrainState, Metrics]]
    """One update `(state, resident, order, keys, rates)`. Donates the state."""
    epoch: Callable[..., tuple[TrainState, Metrics]]
    """All updates of `order`, from an epoch's first; same arguments. Donates the state."""
    answer: Callable[..., Any]
    """`(state, resident, index, given)` to the answers of `evaluate.make_answer`; `given`, 1 or
    0 each: whether frames and sound are looked at."""

    @property
    def count(self) -> int:
        """Lanes of all devices."""
        return self.width * self.mesh.size

    def place(self, values: np.ndarray) -> jax.Array:
        """Return an array on the devices, each with its own lanes."""
        return jax.device_put(values, split_batch(self.mesh))

    def begin(self, group: Sequence[Training]) -> tuple[TrainState, jax.Array, jax.Array]:
        """Return the states, keys and rates of a group; lanes left over repeat its last."""
        filled = [*group, *[group[-1]] * (self.count - len(group))]
        seeds = self.place(np.array([training.seed for training in filled], np.uint32))
        rates = np.array([training.learning_rate for training in filled], np.float32)
        return (*self.start(seeds), self.place(rates))

    def place_order(self, group: Sequence[Training], epoch: int) -> jax.Array:
        """Return which examples each step of an epoch takes, `lane step batch`."""
        orders = [training.order(epoch) for training in group]
        return self.place(np.stack([*orders, *[orders[-1]] * (self.count - len(group))]))

    def run_order(
        self,
        state: TrainState,
        resident: Resident,
        order: jax.Array,
        keys: jax.Array,
        rates: jax.Array,
    ) -> Iterator[tuple[TrainState, jax.Array, int]]:
        """Yield `(state, losses, steps done)` through an epoch; losses are `lane` or `lane step`.

        Args:
            state: before its first step; its buffers are given away.
            resident: all examples, on every device.
            order: which of them each step takes, `lane step batch`.
            keys: of the lanes' steps.
            rates: peak learning rates, float32.
        """
        if self.by_epoch:
            state, metrics = self.epoch(state, resident, order, keys, rates)
            yield state, metrics["loss"], order.shape[1]
            return
        for _ in range(self.steps_per_epoch):
            state, metrics = self.step(state, resident, order, keys, rates)
            yield state, metrics["loss"], 1

    def predict(
        self,
        state: TrainState,
        resident: Resident,
        examples: Sequence[np.ndarray],
        modality: Modality = "both",
    ) -> list[Predictions]:
        """Return each lane's answers.

        Args:
            state: after training.
            resident: all examples, on every device.
            examples: which of them each lane answers.
            modality: what of a clip is given.
        """
        given = np.array([modality != "sound", modality != "video"], np.float32)
        parts = []
        for first in range(0, max(map(len, examples)), self.predicted):
            places = np.arange(first, first + self.predicted)
            # A lane that has fewer repeats its last; what is surplus is cut off below.
            chosen = [mine[np.minimum(places, len(mine) - 1)] for mine in examples]
            index = self.place(np.stack(chosen).astype(np.int32))
            parts.append(self.answer(state, resident, index, given))
        whole = [np.concatenate([np.asarray(part[k]) for part in parts], axis=1) for k in range(3)]
        scores, loss, weight = whole
        return [
            to_predictions(
                scores[lane, : len(mine)],
                loss[lane, : len(mine)],
                weight[lane, : len(mine)],
                self.spec,
            )
            for lane, mine in enumerate(examples)
        ]


def make_lanes(
    model: nn.Module,
    spec: InputSpec,
    config: TrainConfig,
    steps_per_epoch: int,
    width: int,
    predicted: int,
    devices: Sequence[Any] | None = None,
    trained: Mapping[str, Any] | None = None,
) -> Lanes:
    """Return the compiled calls of `width` runs on each of the devices.

    Args:
        model: the network.
        spec: what it sees and answers.
        config: settings of each run, but for seed and learning rate.
        steps_per_epoch: updates in one epoch.
        width: lanes of a device; of one lane nothing is stacked.
        predicted: examples that a call predicts in each lane.
        devices: JAX devices, all of them where none are named.
        trained: variables that all runs start from, by collection and top name; see `make_trainer`.
    """
    mesh, looks = make_mesh(devices), looks_at(config.model)
    optimiser, still = make_update_rule(model, spec, config, steps_per_epoch, rate_is_argument=True)
    train_step = make_train_step(model, optimiser, spec, config, None, still=still)
    answer_batch = make_answer(model, looks, spec)

    def start(seed: jax.Array, trained: Mapping[str, Any]) -> tuple[TrainState, jax.Array]:
        init_key, _, step_key = run_keys(seed)
        return make_state(model, looks, spec, optimiser, init_key, trained), step_key

    def one_step(
        state: TrainState, resident: Resident, order: jax.Array, key: jax.Array, rate: jax.Array
    ) -> tuple[TrainState, Metrics]:
        return train_step(state, resident, order[state.step % steps_per_epoch], key, rate)

    def whole_epoch(
        state: TrainState, resident: Resident, order: jax.Array, key: jax.Array, rate: jax.Array
    ) -> tuple[TrainState, Metrics]:
        return jax.lax.scan(
            lambda carried, index: train_step(carried, resident, index, key, rate), state, order
        )

    def answer(state: TrainState, resident: Resident, index: jax.Array, given: jax.Array) -> Any:
        frames = middle_frames(resident.num_frames[index], spec.frames)
        batch = take_batch(resident, index, frames, spec)
        seen, heard = batch.has_frames * given[0], batch.has_sound * given[1]
        return answer_batch(variables_of(state), batch._replace(has_frames=seen, has_sound=heard))

    compiled = functools.partial(
        jax.jit, out_shardings=split_batch(mesh), compiler_options=compiler_options()
    )
    # Which arguments have lanes: the resident examples are everybody's.
    update = (True, False, True, True, True)
    begin = compiled(_on_lanes(start, (True, False), mesh, width))
    taken = jax.device_put(jax.tree.map(np.array, dict(trained or {})), replicated(mesh))
    return Lanes(
        spec=spec,
        mesh=mesh,
        width=width,
        steps_per_epoch=steps_per_epoch,
        by_epoch=runs_by_epoch(config),
        predicted=predicted,
        start=lambda seeds: begin(seeds, taken),
        step=compiled(_on_lanes(one_step, update, mesh, width), donate_argnums=0),
        epoch=compiled(_on_lanes(whole_epoch, update, mesh, width), donate_argnums=0),
        answer=compiled(_on_lanes(answer, (True, False, True, False), mesh, width)),
    )


def _on_lanes(
    function: Callable[..., Any], has_lanes: Sequence[bool], mesh: Mesh, width: int
) -> Callable[..., Any]:
    """Return a function of one run as one of all lanes, each device at its own."""

    def on_device(*arguments: Any) -> Any:
        if width > 1:
            axes = tuple(0 if lanes else None for lanes in has_lanes)
            return jax.vmap(function, in_axes=axes)(*arguments)
        # Alone, a run keeps the convolutions that it has in a training of its own.
        alone = (
            jax.tree.map(lambda leaf: leaf[0], argument) if lanes else argument
            for argument, lanes in zip(arguments, has_lanes, strict=True)
        )
        return jax.tree.map(lambda leaf: leaf[None], function(*alone))

    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=tuple(
            PartitionSpec(DATA_AXIS) if lanes else PartitionSpec() for lanes in has_lanes
        ),
        out_specs=PartitionSpec(DATA_AXIS),
        # Nothing goes from one device to another, so there is nothing to check.
        check_vma=False,
    )
