"""From settings to an optax optimiser with its learning-rate schedule."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import jax
import optax

from emojax.errors import UserError

Rule = Literal["sgd", "adam", "adamw", "rmsprop"]
Schedule = Literal["constant", "cosine"]


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """How parameters are updated."""

    name: Rule = "adamw"
    """Update rule; sgd with plain momentum."""
    learning_rate: float = 1e-3
    """Peak learning rate; the thesis searched 1e-3 .. 1e-6."""
    schedule: Schedule = "cosine"
    """cosine: a linear warm-up, then half a cosine down to 1% of the peak."""
    warmup: float = 0.05
    """Share of all steps spent warming up (cosine only)."""
    weight_decay: float = 1e-4
    """Decoupled decay of convolution and matrix weights, times the learning rate (adamw, sgd)."""
    momentum: float = 0.9
    """Of sgd and rmsprop."""

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
        if not self.weight_decay >= 0:
            raise UserError(f"optim.weight_decay={self.weight_decay!r}: wanted 0 or more")
        if not 0.0 <= self.momentum < 1.0:
            raise UserError(f"optim.momentum={self.momentum!r}: wanted 0..1")


def make_schedule(config: OptimConfig, total_steps: int) -> optax.Schedule:
    """Return the learning rate as a function of the step."""
    if config.schedule == "constant":
        return optax.constant_schedule(config.learning_rate)
    warmup_steps = int(config.warmup * total_steps)
    return optax.warmup_cosine_decay_schedule(
        0.1 * config.learning_rate if warmup_steps else config.learning_rate,
        config.learning_rate,
        warmup_steps,
        max(total_steps, warmup_steps + 1),
        0.01 * config.learning_rate,
    )


def _matrices(params: optax.Params) -> optax.Params:
    # Biases and normalisation scales are not decayed: pulling them to 0 only costs accuracy.
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimiser(config: OptimConfig, total_steps: int) -> optax.GradientTransformation:
    """Return the update rule over `total_steps` steps."""
    rate = make_schedule(config, total_steps)
    if config.name == "adam":
        return optax.adam(rate)
    if config.name == "adamw":
        return optax.adamw(rate, weight_decay=config.weight_decay, mask=_matrices)
    if config.name == "rmsprop":
        return optax.rmsprop(rate, momentum=config.momentum)
    # The decay comes after the momentum, or momentum would gather it up.
    return optax.chain(
        optax.trace(config.momentum),
        optax.add_decayed_weights(config.weight_decay, mask=_matrices),
        optax.scale_by_learning_rate(rate),
    )
