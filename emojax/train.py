"""Training: one step, one epoch of steps, and the loop around them.

The order of the file is the order of the work: state, step, epoch, loop. A
step's randomness is `fold_in(key, step)` and an epoch's order
`fold_in(key, epoch)`, so that a resumed run draws what an unbroken one would.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from emojax import losses
from emojax.augment import augment_batch, draw_shares, mix, neighbours
from emojax.augment_sound import augment_sounds
from emojax.checkpoint import Progress, restore, save
from emojax.cluster import Agreement, agree
from emojax.compiler import compiler_options, options_to_run_once
from emojax.config import TrainConfig
from emojax.data.feed import Batches
from emojax.data.resident import Batch, Resident, draw_frames, place, take_batch
from emojax.errors import UserError
from emojax.finetune import read_rates, stage_factors
from emojax.finite import finite_losses
from emojax.models import forward, looks_at
from emojax.models.inputs import Looks, spread_inputs, to_inputs, zero_inputs
from emojax.models.layers import Outputs
from emojax.optim import make_optimiser
from emojax.sharding import check_batch_size, make_mesh, replicated, split_batch
from emojax.spec import InputSpec
from emojax.stopping import StopTraining, stop_signals

Metrics = dict[str, jax.Array]


class TrainState(NamedTuple):
    """Everything that changes during training."""

    step: jax.Array  # int32 scalar: updates done
    params: Any  # float32 tree
    batch_stats: Any  # float32 tree, empty for networks without normalisation
    opt_state: Any  # optax's own tree


def compute_dtype(wanted: str) -> str:
    """Return the compute type: `auto` is bfloat16 on GPU and TPU, float32 on a CPU."""
    if wanted != "auto":
        return wanted
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def init_variables(model: nn.Module, looks: Looks, spec: InputSpec, key: PRNGKeyArray) -> Any:
    """Return a network's fresh variables for inputs of the spec's size."""
    return model.init(key, zero_inputs(looks, spec), train=False)


def make_state(
    model: nn.Module,
    looks: Looks,
    spec: InputSpec,
    optimiser: optax.GradientTransformation,
    key: PRNGKeyArray,
    trained: Mapping[str, Any] | None = None,
) -> TrainState:
    """Return the state before the first step.

    Args:
        model: the network.
        looks: what it looks at.
        spec: what it sees and answers.
        optimiser: of its parameters.
        key: of the initialisers.
        trained: variables to start from instead, by collection and top name.
    """
    trained = trained or {}
    variables = init_variables(model, looks, spec, key)
    # The optimiser's moving average starts from what is trained too.
    params = {**variables["params"], **trained.get("params", {})}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats={**variables.get("batch_stats", {}), **trained.get("batch_stats", {})},
        opt_state=optimiser.init(params),
    )


def side_dropout(config: TrainConfig, spec: InputSpec) -> float:
    """Return the share of clips that lose a side in training: a network of one branch has one.

    Args:
        config: of the run.
        spec: what the network sees and answers.
    """
    both = spec.sound is not None and config.video_features != 0
    return config.modality_dropout if both else 0.0


def draw_masks(
    key: PRNGKeyArray,
    has_frames: Float[Array, " batch"],
    has_sound: Float[Array, " batch"],
    share: float,
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """Return which clips keep their frames and which their sound, as 1 and 0.

    Args:
        key: of this batch.
        has_frames: 1 where there is a face; a clip without one keeps its sound.
        has_sound: 1 where there is sound; a clip without it keeps its frames.
        share: of the clips with both that lose one, either with the same chance.
    """
    draw = jax.random.uniform(key, has_sound.shape)
    blind = (draw < share / 2) & (has_sound > 0)
    deaf = (draw >= share / 2) & (draw < share) & (has_frames > 0)
    return has_frames * (1.0 - blind), has_sound * (1.0 - deaf)


def clip_loss(
    outputs: Outputs, targets: losses.Targets, spec: InputSpec, config: TrainConfig
) -> Float[Array, ""]:
    """Return the loss of a batch, with the branches' own losses where they have any."""

    def mean(logits: jax.Array) -> jax.Array:
        return losses.weighted_mean(*losses.target_losses(logits, targets, spec, config.loss.kind))

    own = [mean(logits) for logits in outputs.auxiliary]
    return mean(outputs.logits) + config.auxiliary_weight * sum(own, jnp.zeros(()))


class Teacher(NamedTuple):
    """A trained network that another one learns from."""

    model: nn.Module
    """Of the same outputs, about the same frames and sound."""
    looks: Looks
    """In which form it takes them: its pupil's may be another."""
    variables: Any
    """Its own, as `apply` takes them."""


def ask_teachers(
    teachers: Sequence[Teacher], inputs_of: Callable[[Looks], Any], spec: InputSpec
) -> Float[Array, "batch outputs"]:
    """Return the teachers' mean probabilities.

    Args:
        teachers: the networks.
        inputs_of: returns the batch that the pupil sees, augmented, as a network takes it.
        spec: how logits become probabilities.
    """
    answers = [
        losses.activation(forward(one.model, one.variables, inputs_of(one.looks)).logits, spec)
        for one in teachers
    ]
    return sum(answers[1:], answers[0]) / len(answers)


def change_batch(
    key: PRNGKeyArray, batch: Batch, targets: losses.Targets, spec: InputSpec, config: TrainConfig
) -> tuple[Batch, losses.Targets]:
    """Return a batch augmented and, with `augment.mixup`, mixed within itself.

    Args:
        key: of this batch.
        batch: as it was taken from the split.
        targets: of it.
        spec: a picture is augmented as one: a clip of one frame would be warped another way.
        config: how far.
    """
    picture_key, sound_key, mix_key = jax.random.split(key, 3)
    frames = batch.frames[:, 0] if spec.frames == 1 else batch.frames
    frames = augment_batch(picture_key, frames, config.augment)
    frames = frames[:, None] if spec.frames == 1 else frames
    spectrograms = batch.spectrograms
    if spec.sound is not None:
        spectrograms = augment_sounds(sound_key, spectrograms, config.augment_sound)
    if config.augment.mixup:
        seen = batch.has_frames > 0
        heard = batch.has_sound > 0 if spec.sound is not None else jnp.zeros_like(seen)
        # A clip with sound and one without it would be half a sound.
        alike = (seen == neighbours(seen)) & (heard == neighbours(heard))
        shares = draw_shares(mix_key, seen | heard, config.augment.mixup)
        shares = jnp.where(alike, shares, 1.0)
        frames, spectrograms = mix(frames, shares), mix(spectrograms, shares)
        others = losses.Targets(*map(neighbours, targets))
        targets = losses.mix_targets(targets, others, shares)
    return batch._replace(frames=frames, spectrograms=spectrograms), targets


def make_train_step(
    model: nn.Module,
    optimiser: optax.GradientTransformationExtraArgs,
    spec: InputSpec,
    config: TrainConfig,
    batch_sharding: jax.sharding.Sharding | None,
    class_weights: Float[np.ndarray, "2 outputs"] | None = None,
    still: Sequence[str] = (),
    teachers: Sequence[Teacher] = (),
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Return the update `(state, resident, index, key) -> (state, metrics)`, not yet compiled.

    `index` holds the batch's examples, None where `resident` is the batch itself;
    gathering, decoding, frame choice and augmentation are part of the step. `class_weights`
    are those of `losses.balance`; parameters that are `still`, by their top name, get no
    gradient, while their normalisation goes on to follow the data. The batch is spread by
    `batch_sharding`; None: it stays where it is. An optimiser with the learning rate as an
    argument wants it as the update's fifth, `rate`; `taught` are the teachers' variables, which
    stand in for those that `teachers` hold.
    """
    looks = looks_at(config.model)

    def train_step(
        state: TrainState,
        resident: Resident,
        index: Int[Array, " batch"] | None,
        key: PRNGKeyArray,
        rate: Float[Array, ""] | None = None,
        taught: Sequence[Any] = (),
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        frame_key, augment_key, dropout_key, mask_key = jax.random.split(key, 4)
        num_frames = resident.num_frames
        if index is not None:
            if batch_sharding is not None:
                index = jax.lax.with_sharding_constraint(index, batch_sharding)
            num_frames = num_frames[index]
        frame = draw_frames(frame_key, num_frames, spec.frames)
        batch = take_batch(resident, index, frame, spec)
        targets = losses.make_targets(batch, spec, config.loss)
        if class_weights is not None:
            targets = losses.weigh_classes(targets, class_weights, spec)
        batch, targets = change_batch(augment_key, batch, targets, spec, config)
        has_frames, has_sound = draw_masks(
            mask_key, batch.has_frames, batch.has_sound, side_dropout(config, spec)
        )

        def inputs_of(looks: Looks) -> Any:
            inputs = to_inputs(looks, batch.frames, batch.spectrograms, has_sound, has_frames)
            return inputs if batch_sharding is None else spread_inputs(inputs, batch_sharding)

        inputs = inputs_of(looks)
        if teachers:
            asked = [one._replace(variables=own) for one, own in zip(teachers, taught, strict=True)]
            answers = ask_teachers(asked, inputs_of, spec)
            targets = losses.heed_teachers(targets, answers, config.loss.teacher_weight)

        def loss_of(params: Any) -> tuple[jax.Array, Any]:
            params = {
                stage: jax.lax.stop_gradient(tree) if stage in still else tree
                for stage, tree in params.items()
            }
            outputs, updates = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                inputs,
                train=True,
                rngs={"dropout": dropout_key},
                mutable=["batch_stats"],
            )
            loss = clip_loss(outputs, targets, spec, config)
            return loss, updates.get("batch_stats", {})

        (loss, batch_stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        chosen = {} if rate is None else {"rate": rate}
        updates, opt_state = optimiser.update(gradients, state.opt_state, state.params, **chosen)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "gradient_norm": optax.tree.norm(gradients)}
        return TrainState(state.step + 1, params, batch_stats, opt_state), metrics

    return train_step


def hold_still(
    optimiser: optax.GradientTransformation, parts: Sequence[str]
) -> optax.GradientTransformationExtraArgs:
    """Return the update rule for all but some parts of the parameters, by their top name."""

    def label(params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: jax.tree.map(lambda _, name=name: "still" if name in parts else "moves", tree)
            for name, tree in params.items()
        }

    return optax.multi_transform({"moves": optimiser, "still": optax.set_to_zero()}, label)


def epoch_order(
    key: PRNGKeyArray, epoch: Int[Array, ""], num_examples: int, steps: int, batch_size: int
) -> Int[Array, "steps batch"]:
    """Return each step's examples: a new permutation each epoch, the odd rest left out.

    A split smaller than a batch is gone through as often as fills one batch.
    """
    order = jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)
    order = jnp.resize(order, (max(num_examples, steps * batch_size),))
    return order[: steps * batch_size].reshape(steps, batch_size)


def make_update_rule(
    model: nn.Module,
    spec: InputSpec,
    config: TrainConfig,
    steps_per_epoch: int,
    frozen: Sequence[str] = (),
    *,
    rate_is_argument: bool = False,
) -> tuple[optax.GradientTransformationExtraArgs, tuple[str, ...]]:
    """Return a run's optimiser, and the parts of the network that it holds still.

    Args:
        model: the network.
        spec: what it sees and answers.
        config: the run's settings.
        steps_per_epoch: updates in one epoch.
        frozen: parts that stay as they are, beside those of `config.frozen`.
        rate_is_argument: as in `make_optimiser`.
    """
    factors, still = None, ()
    if frozen or config.frozen or config.stage_rates:
        shapes = jax.eval_shape(
            lambda: init_variables(model, looks_at(config.model), spec, jax.random.key(0))
        )
        rates = read_rates(config.stage_rates)
        found = stage_factors(sorted(shapes["params"]), (*frozen, *config.frozen), rates)
        still = tuple(stage for stage, factor in found.items() if factor == 0)
        factors = found if rates else None
    optimiser = make_optimiser(
        config.optim, steps_per_epoch * config.epochs, factors, rate_is_argument=rate_is_argument
    )
    return (hold_still(optimiser, still) if still else optimiser), still


def run_keys(seed: Any) -> tuple[PRNGKeyArray, PRNGKeyArray, PRNGKeyArray]:
    """Return the keys of a run's first parameters, of its epochs' orders, and of its steps.

    Args:
        seed: of the run; on the device too.
    """
    init_key, order_key, step_key = jax.random.split(jax.random.key(seed), 3)
    return init_key, order_key, step_key


def runs_by_epoch(config: TrainConfig) -> bool:
    """Return whether an epoch is one compiled call."""
    by_default = config.compiled == "auto" and jax.default_backend() != "cpu"
    return config.compiled == "epoch" or by_default


@dataclasses.dataclass(frozen=True)
class Trainer:
    """The compiled calls of one run; nothing compiles before its first call."""

    config: TrainConfig
    """The run's settings."""
    mesh: Mesh
    """The devices."""
    steps_per_epoch: int
    """Updates in one epoch."""
    by_epoch: bool
    """Whether an epoch is one call."""
    init: Callable[[], TrainState]
    """Returns the state before the first step."""
    like: Callable[[], TrainState]
    """Returns the shapes of a state and where it lies, without computing one."""
    order: Callable[[Any], jax.Array]
    """Returns the order of an epoch: `steps batch`."""
    step: Callable[[TrainState, Resident, jax.Array], tuple[TrainState, Metrics]]
    """One update, by the order's row for the state's step. Donates the state."""
    epoch: Callable[[TrainState, Resident, jax.Array], tuple[TrainState, Metrics]]
    """All updates of an epoch, from its first. Donates the state."""
    batch_step: Callable[[TrainState, Resident], tuple[TrainState, Metrics]]
    """One update on a batch that was put together outside. Donates the state."""

    @property
    def total_steps(self) -> int:
        """Updates in the whole run."""
        return self.steps_per_epoch * self.config.epochs


def make_trainer(
    model: nn.Module,
    spec: InputSpec,
    config: TrainConfig,
    num_examples: int,
    devices: Sequence[Any] | None = None,
    frozen: Sequence[str] = (),
    trained: Mapping[str, Any] | None = None,
    class_weights: Float[np.ndarray, "2 outputs"] | None = None,
    teachers: Sequence[Teacher] = (),
) -> Trainer:
    """Return a run's compiled calls over the devices (all of them where none are named).

    Args:
        model: the network.
        spec: what it sees and answers.
        config: the run's settings.
        num_examples: length of the training split.
        devices: JAX devices.
        frozen: parts of the network, by their top name, that stay as they are, beside those
            of `config.frozen`.
        trained: variables to start from instead of fresh ones, by collection and top name:
            `{"params": {"extractor": ...}, "batch_stats": {"extractor": ...}}`.
        class_weights: of `losses.balance`; None: all labels weigh alike.
        teachers: whose answers are aimed at, as `config.loss.teacher_weight` has it.

    Raises:
        UserError: no examples, or a batch that the devices can't share.
    """
    if num_examples == 0:
        raise UserError("the training split is empty: nothing to train on")
    mesh = make_mesh(devices)
    check_batch_size(config.batch_size, mesh)
    steps_per_epoch = max(1, num_examples // config.batch_size)
    optimiser, still = make_update_rule(model, spec, config, steps_per_epoch, frozen)
    init_key, order_key, step_key = run_keys(config.seed)
    everywhere = replicated(mesh)
    # A key is no array of the host: as a result it comes to lie on every process's devices.
    step_key = jax.jit(lambda key: key, out_shardings=everywhere)(step_key)
    train_step = make_train_step(
        model, optimiser, spec, config, split_batch(mesh), class_weights, still, teachers
    )
    # Arguments of the compiled calls: as constants they would be compiled into them.
    taught = place([teacher.variables for teacher in teachers], everywhere)

    def init(trained: Mapping[str, Any]) -> TrainState:
        return make_state(model, looks_at(config.model), spec, optimiser, init_key, trained)

    def order(epoch: jax.Array) -> jax.Array:
        return epoch_order(order_key, epoch, num_examples, steps_per_epoch, config.batch_size)

    def one_step(
        state: TrainState, resident: Resident, order: jax.Array, key: PRNGKeyArray, taught: Any
    ) -> tuple[TrainState, Metrics]:
        index = order[state.step % steps_per_epoch]
        return train_step(state, resident, index, key, taught=taught)

    def one_batch(
        state: TrainState, batch: Resident, key: PRNGKeyArray, taught: Any
    ) -> tuple[TrainState, Metrics]:
        return train_step(state, batch, None, key, taught=taught)

    def whole_epoch(
        state: TrainState, resident: Resident, order: jax.Array, key: PRNGKeyArray, taught: Any
    ) -> tuple[TrainState, Metrics]:
        return jax.lax.scan(
            lambda carried, index: train_step(carried, resident, index, key, taught=taught),
            state,
            order,
        )

    compiled_init = jax.jit(init, out_shardings=everywhere, compiler_options=options_to_run_once())

    def start() -> TrainState:
        # Steps donate their state: each start gets a copy of its own.
        return compiled_init(place(jax.tree.map(np.array, dict(trained or {})), everywhere))

    def like() -> TrainState:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
            # Of the compiled one: what it traces here serves its first call.
            jax.eval_shape(compiled_init, dict(trained or {})),
        )

    compiled_order = jax.jit(order, out_shardings=everywhere)
    compiled_step, compiled_epoch, compiled_batch_step = (
        jax.jit(
            function,
            donate_argnums=0,
            out_shardings=everywhere,
            compiler_options=compiler_options(),
        )
        for function in (one_step, whole_epoch, one_batch)
    )
    return Trainer(
        config=config,
        mesh=mesh,
        steps_per_epoch=steps_per_epoch,
        by_epoch=runs_by_epoch(config),
        init=start,
        like=like,
        order=lambda epoch: compiled_order(np.int32(epoch)),
        step=lambda state, resident, order: compiled_step(state, resident, order, step_key, taught),
        epoch=lambda state, resident, order: compiled_epoch(
            state, resident, order, step_key, taught
        ),
        batch_step=lambda state, batch: compiled_batch_step(state, batch, step_key, taught),
    )


def run_epoch(
    trainer: Trainer, state: TrainState, examples: Resident | Batches, start: int
) -> Iterator[tuple[TrainState, Metrics, int]]:
    """Yield `(state, metrics, steps done)` from step `start` to its epoch's end.

    One yield an epoch where the epoch is one call, one yield a step otherwise.
    Nothing here waits for the device.
    """
    if not isinstance(examples, Resident):
        for batch in examples(start):
            state, metrics = trainer.batch_step(state, batch)
            yield state, metrics, 1
        return
    epoch, first = divmod(start, trainer.steps_per_epoch)
    yield from run_order(trainer, state, examples, trainer.order(epoch), first)


def run_order(
    trainer: Trainer, state: TrainState, examples: Resident, order: jax.Array, first: int
) -> Iterator[tuple[TrainState, Metrics, int]]:
    """Yield `(state, metrics, steps done)` from step `first` of an epoch to its end.

    Args:
        trainer: the compiled calls.
        state: before that step; its buffers are given away.
        examples: in device memory.
        order: which of them each step takes, `steps batch`.
        first: step of the epoch to begin at.
    """
    if trainer.by_epoch and first == 0:
        state, metrics = trainer.epoch(state, examples, order)
        yield state, metrics, trainer.steps_per_epoch
        return
    for _ in range(first, trainer.steps_per_epoch):
        state, metrics = trainer.step(state, examples, order)
        yield state, metrics, 1


def best_epoch(history: Sequence[Mapping[str, Any]], watch: str) -> int | None:
    """Return the row whose figure is best, the first one of equals; None where none has it.

    Args:
        history: rows of the epochs.
        watch: which figure; a loss is better the smaller it is. One that is not finite is none.
    """
    sign = -1.0 if watch.endswith("loss") else 1.0
    figures = [row.get(watch) for row in history]
    worth = [
        sign * figure if figure is not None and math.isfinite(figure) else -math.inf
        for figure in figures
    ]
    best = int(np.argmax(worth)) if worth else 0
    return best if worth and math.isfinite(worth[best]) else None


def out_of_patience(config: TrainConfig, history: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the figure that is watched was no better in the last `patience` looks at it.

    Epochs between two looks (`validate_every`) count for nothing.
    """
    if not config.patience:
        return False
    looks = [row for row in history if row.get(config.watch) is not None]
    if not looks:
        return False
    best = best_epoch(looks, config.watch)
    return len(looks) - (0 if best is None else best + 1) >= config.patience


def read_old(
    losses: list[jax.Array | float], norms: list[jax.Array | float]
) -> np.ndarray | jax.Array | float:
    """Return the loss before last, the first where there are fewer; one or several steps'.

    Two numbers a step would lie on the device until the epoch's end: this loss, and the norm of
    the same step's gradient, which is done with it, are replaced by their values.

    Args:
        losses: of an epoch's steps, in the form in which the calls gave them.
        norms: of the newest of these steps' gradients.
    """
    place = max(len(losses) - 3, 0)
    if len(norms) < 3:
        return losses[place]
    # Both copies are under way before one is waited for.
    loss, norm = jax.device_get((losses[place], norms[-3]))
    if not np.ndim(loss):
        losses[place], norms[-3] = float(loss), float(norm)
    return loss


def fit(
    trainer: Trainer,
    examples: Resident | Batches,
    checkpoints: ocp.CheckpointManager,
    *,
    on_steps: Callable[[int, float], None],
    on_epoch: Callable[[TrainState, dict[str, Any]], None],
    on_begin: Callable[[bool], None] | None = None,
    best: ocp.CheckpointManager | None = None,
    name_batch: Callable[[int], str] | None = None,
) -> tuple[TrainState, list[dict[str, Any]]]:
    """Return the final state and one history row per epoch, going on where a run stopped.

    With `config.patience` the final state is that of the best epoch.

    Args:
        trainer: from `make_trainer`.
        examples: the training split, or its batches as they are streamed.
        checkpoints: of this run; the newest one is where it goes on.
        on_steps: told how many steps are newly done and a loss, a step or two behind.
        on_epoch: told the state and the epoch's row, to which it may add its own figures.
        on_begin: told, before anything is trained, whether any steps are left to do.
        best: where the best epoch's state is kept; wanted with `config.patience`.
        name_batch: says which examples the update from a step on sees, where one goes wrong.

    Raises:
        StopTraining: SIGTERM or Ctrl-C; a checkpoint of the last step is on the disk.
        UserError: the loss or the state is no longer finite; no such state is ever saved. Or the
            figure that is watched never was finite.
    """
    if checkpoints.latest_step() is not None:
        state, progress = restore(checkpoints, trainer.like())
    else:
        state, progress = trainer.init(), Progress()
        # A folder that can't be written should be known before an hour of training.
        save(checkpoints, 0, state, progress)
        checkpoints.wait_until_finished()
    done = int(state.step)
    if best is not None:
        # Of an attempt that was killed before the epoch counted as done: no epoch of this one's.
        for step in [each for each in best.all_steps() if each > done]:
            best.delete(step)
    if on_begin is not None:
        on_begin(
            done < trainer.total_steps and not out_of_patience(trainer.config, progress.history)
        )
    saved_at = time.monotonic()
    agreement, asked = Agreement(trainer.mesh), 0

    def describe(step: int) -> str:
        checkpoints.wait_until_finished()
        batch = f"{name_batch(step - 1)}; " if name_batch else ""
        return (
            f"{batch}the last good checkpoint is {checkpoints.directory}/"
            f"{checkpoints.latest_step()}: look at the batch, or try a smaller "
            "--optim.learning-rate and another --out"
        )

    with stop_signals() as stopping:
        while done < trainer.total_steps and not out_of_patience(trainer.config, progress.history):
            started, first = time.monotonic(), done
            losses: list[jax.Array | float] = list(progress.losses)
            norms: list[jax.Array | float] = []
            for new_state, metrics, steps in run_epoch(trainer, state, examples, done):
                state, done = new_state, done + steps
                losses.append(metrics["loss"])
                norms.append(metrics["gradient_norm"])
                # Waiting for the loss before last keeps the host close behind the
                # device without ever letting the device run dry.
                loss = float(np.ravel(read_old(losses, norms))[-1])
                if not math.isfinite(loss):
                    finite_losses(losses, norms, state, done, describe)
                on_steps(steps, loss)
                if done % trainer.steps_per_epoch == 0:
                    break
                minutes = (time.monotonic() - saved_at) / 60
                due = minutes > trainer.config.checkpoint_minutes
                # A signal's number, or 1: signals that stop a run have larger ones.
                asked = agreement(stopping[0] if stopping else int(due))
                if asked:
                    progress.losses = finite_losses(losses, norms, state, done, describe)
                    save(checkpoints, done, state, progress)
                    saved_at = time.monotonic()
                    agreement.forget()
                    asked = agree(stopping[0] if stopping else asked)
                if asked > 1:
                    checkpoints.wait_until_finished()
                    raise StopTraining(done, asked)
            agreement.forget()
            row = {
                "epoch": done // trainer.steps_per_epoch,
                "step": done,
                "loss": float(np.mean(finite_losses(losses, norms, state, done, describe))),
                "examples_per_second": (done - first)
                * trainer.config.batch_size
                / (time.monotonic() - started),
            }
            last = done >= trainer.total_steps
            if row["epoch"] % trainer.config.validate_every and not last:
                progress = Progress([*progress.history, row])
                # Asked here as at a checkpoint: all processes do.
                asked = agree(stopping[0] if stopping else 0)
                if asked:
                    save(checkpoints, done, state, progress)
                    break
                continue
            on_epoch(state, row)
            progress = Progress([*progress.history, row])
            if best is not None and _is_best(trainer.config, progress.history):
                # On the disk before the epoch counts as done, and one epoch ahead of those that do
                # at most: two that a kill left uncounted would have taken the place of the best.
                checkpoints.wait_until_finished()
                save(best, done, state, progress)
                best.wait_until_finished()
            save(checkpoints, done, state, progress)
            saved_at = time.monotonic()
            asked = agree(stopping[0] if stopping else 0)
            if asked:
                break
        checkpoints.wait_until_finished()
        if asked := agree(stopping[0] if stopping else asked):
            # After the last epoch too: the test figures can take as long as an epoch.
            raise StopTraining(done, asked)
    if best is not None:
        if best_epoch(progress.history, trainer.config.watch) is None:
            raise UserError(
                f"{checkpoints.directory}: {trainer.config.watch} was no finite number in any "
                "epoch, so there is no best one to keep: choose another --watch, or --patience=0"
            )
        state, _ = restore(best, trainer.like())
    return state, progress.history


def _is_best(config: TrainConfig, history: Sequence[Mapping[str, Any]]) -> bool:
    return best_epoch(history, config.watch) == len(history) - 1
