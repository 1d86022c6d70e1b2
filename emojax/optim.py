"""From settings to an optax optimiser with its learning-rate schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import optax

from emojax.errors import UserError
from emojax.finetune import scale_stages
from emojax.weights import add_l1, average_weights, keep_within, matrices

Rule = Literal["sgd", "adam", "adamw", "rmsprop"]
Schedule = Literal["constant", "step", "cosine"]


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """How parameters are updated."""

    name: Rule = "adamw"
    """Update rule; sgd with plain momentum."""
    learning_rate: float = 1e-3
    """Peak learning rate; the thesis searched 1e-3 .. 1e-6."""
    schedule: Schedule = "cosine"
    """cosine: half a cosine down to 1% of the peak; step: a tenth of it from half of the steps
    on, a hundredth from three quarters on; both after a linear warm-up."""
    warmup: float = 0.05
    """Share of all steps spent warming up (not for constant); for step up to a half."""
    weight_decay: float = 1e-4
    """Decoupled decay of convolution and matrix weights, times the learning rate (adamw, sgd)."""
    momentum: float = 0.9
    """Of sgd and rmsprop."""
    l1: float = 0.0
    """Weight of the sum of |w| in the loss, over convolution and matrix weights."""
    l2: float = 0.0
    """Weight of the sum of w^2 / 2 in the loss, over the same weights."""
    clip_gradient: float = 0.0
    """Longest gradient of a step, as a norm over all parameters; 0: any."""
    clip_weights: float = 0.0
    """Convolution and matrix weights stay in -this .. this; 0: anywhere."""
    accumulate: int = 1
    """Steps whose gradients are averaged into one update: a larger batch in the same memory."""
    average: float = 0.0
    """Share that a moving average of the weights keeps at each update; the average is what is
    evaluated and exported. 0: none. 0.999 suits runs of thousands of steps."""

    def __post_init__(self) -> None:
        """Refuse settings that can't train."""
        for name, choices in (("name", Rule), ("schedule", Schedule)):
            if getattr(self, name) not in get_args(choices):
                raise UserError(
                    f"optim.{name}={getattr(self, name)!r}: use {', '.join(get_args(choices))}"
                )
        if not 0.0 < self.learning_rate < 10.0:
            raise UserError(
                f"optim.learning_rate={self.learning_rate!r}: wanted above 0 and below 10"
            )
        if not 0.0 <= self.warmup < 1.0:
            raise UserError(f"optim.warmup={self.warmup!r}: wanted a share of the steps, 0..1")
        if self.schedule == "step" and self.warmup > 0.5:
            raise UserError(
                f"optim.warmup={self.warmup!r}: schedule=step drops at half of the steps: wanted "
                "0.5 or less, or schedule=cosine"
            )
        if not 0.0 <= self.weight_decay < float("inf"):
            raise UserError(
                f"optim.weight_decay={self.weight_decay!r}: wanted 0 or more, and no infinity: use "
                "a large number"
            )
        for name in ("momentum", "average"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(f"optim.{name}={getattr(self, name)!r}: wanted 0..1")
        for name in ("l1", "l2", "clip_gradient", "clip_weights"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise UserError(f"optim.{name}={getattr(self, name)!r}: wanted 0 or more")
        if self.accumulate < 1:
            raise UserError(f"optim.accumulate={self.accumulate!r}: wanted 1 or more")


def make_schedule(config: OptimConfig, total_updates: int) -> optax.Schedule:
    """Return the learning rate as a function of the update."""
    peak = config.learning_rate
    if config.schedule == "constant":
        return optax.constant_schedule(peak)
    warmup = int(config.warmup * total_updates)
    if config.schedule == "step":
        drops = {int(share * total_updates) - warmup: 0.1 for share in (0.5, 0.75)}
        return optax.join_schedules(
            [
                optax.linear_schedule(0.1 * peak, peak, max(warmup, 1)),
                optax.piecewise_constant_schedule(peak, drops),
            ],
            [warmup],
        )
    return optax.warmup_cosine_decay_schedule(
        0.1 * peak if warmup else peak,
        peak,
        warmup,
        max(total_updates, warmup + 1),
        0.01 * peak,
    )


def _make_rule(config: OptimConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    if config.name == "adam":
        return optax.adam(rate)
    if config.name == "adamw":
        return optax.adamw(rate, weight_decay=config.weight_decay, mask=matrices)
    if config.name == "rmsprop":
        return optax.rmsprop(rate, momentum=config.momentum)
    # The decay comes after the momentum, or momentum would gather it up.
    return optax.chain(
        optax.trace(config.momentum),
        optax.add_decayed_weights(config.weight_decay, mask=matrices),
        optax.scale_by_learning_rate(rate),
    )


def scale_by_rate() -> optax.GradientTransformationExtraArgs:
    """Return a transformation that multiplies updates with the argument `rate` of the update."""

    def update(
        updates: Any, state: Any, params: Any = None, *, rate: jax.Array, **rest: Any
    ) -> tuple[Any, Any]:
        del params, rest
        return jax.tree.map(lambda leaf: rate * leaf, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyright: ignore


def make_optimiser(
    config: OptimConfig,
    total_steps: int,
    factors: Mapping[str, float] | None = None,
    *,
    rate_is_argument: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Return the update rule over `total_steps` steps.

    Args:
        config: rule, rate, and what holds for gradients and weights.
        total_steps: of the run.
        factors: what the updates of each stage are multiplied with, as
            `finetune.stage_factors` has it; None: nothing. Decoupled decay is multiplied too.
        rate_is_argument: the peak learning rate is the update's argument `rate`, so that runs
            with different ones share a compilation; `config.learning_rate` then counts for
            nothing.

    Raises:
        UserError: so many steps are accumulated that there would never be an update.
    """
    if total_steps < config.accumulate:
        raise UserError(
            f"optim.accumulate={config.accumulate}: the run has {total_steps} steps, so nothing "
            f"would ever be updated: use {total_steps} or less, or more epochs"
        )
    if rate_is_argument:
        # Every rule's updates are proportional to the rate, decoupled decay included.
        config = dataclasses.replace(config, learning_rate=1.0)
    rate = make_schedule(config, max(1, total_steps // config.accumulate))
    parts = [_make_rule(config, rate)]
    if rate_is_argument:
        parts.append(scale_by_rate())
    if factors is not None:
        parts.append(scale_stages(factors))
    # The loss's own terms and the clipping come before the rule, what holds for the weights
    # themselves after it.
    if config.clip_gradient:
        parts.insert(0, optax.clip_by_global_norm(config.clip_gradient))
    if config.l1:
        parts.insert(0, add_l1(config.l1))
    if config.l2:
        parts.insert(0, optax.add_decayed_weights(config.l2, mask=matrices))
    if config.clip_weights:
        parts.append(keep_within(config.clip_weights))
    if config.average:
        parts.append(average_weights(config.average))
    rule = optax.with_extra_args_support(optax.chain(*parts) if len(parts) > 1 else parts[0])
    if config.accumulate == 1:
        return rule
    many = optax.MultiSteps(rule, config.accumulate)
    return optax.GradientTransformationExtraArgs(many.init, many.update)  # pyright: ignore
