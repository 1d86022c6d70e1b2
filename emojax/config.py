"""The settings of a training run, as flags and as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal, get_args

from emojax.augment import AugmentConfig
from emojax.errors import UserError
from emojax.models import check_model_key
from emojax.models.layers import Activation
from emojax.optim import OptimConfig

ComputeType = Literal["auto", "float32", "bfloat16"]
CallSize = Literal["auto", "step", "epoch"]

_CHOICES: dict[str, Any] = {
    "activation": Activation,
    "dtype": ComputeType,
    "compiled": CallSize,
}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One training run. Two runs with equal settings on equal devices give equal parameters."""

    model: str = "ar1"
    """Network: one of the registry's keys."""
    data: str = "synthetic"
    """`synthetic` (drawn and built on first use), a folder of shards, or a manifest.csv."""
    epochs: int = 20
    """Passes over the training pictures."""
    batch_size: int = 64
    """Pictures per step, over all devices together."""
    dropout: float | None = None
    """Share of the feature vector left out in training; unset: the network's own."""
    activation: Activation = "relu"
    """prelu: ReLU with a learned slope below zero for each channel."""
    norm_momentum: float | None = None
    """Share of BatchNorm's running statistics that a step keeps; unset: the network's own."""
    dtype: ComputeType = "auto"
    """Compute type. auto: bfloat16 where the device computes in it, float32 on a CPU."""
    seed: int = 0
    """Of initialisation, sampling, augmentation and dropout."""
    compiled: CallSize = "auto"
    """What one compiled call holds. auto: a whole epoch on GPU and TPU, one step on a CPU,
    where XLA runs the gradients of convolutions inside a loop several times slower."""
    checkpoint_minutes: float = 5.0
    """A checkpoint at every epoch's end, and at least this often inside one (compiled=step)."""
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    """Random changes to the training pictures."""
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    """Update rule and learning rate."""

    def __post_init__(self) -> None:
        """Refuse settings that can't train."""
        check_model_key(self.model)
        if self.epochs < 1:
            raise UserError(f"epochs={self.epochs}: wanted 1 or more")
        if self.batch_size < 1:
            raise UserError(f"batch_size={self.batch_size}: wanted 1 or more")
        if self.dropout is not None and not 0.0 <= self.dropout < 1.0:
            raise UserError(f"dropout={self.dropout}: wanted a share below 1, 0 for none")
        if self.norm_momentum is not None and not 0.0 <= self.norm_momentum < 1.0:
            raise UserError(f"norm_momentum={self.norm_momentum}: wanted a share below 1, as 0.99")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise UserError(
                    f"{name}={getattr(self, name)!r}: use {', '.join(get_args(choices))}"
                )
        if not (isinstance(self.seed, int) and 0 <= self.seed < 2**32):
            raise UserError(f"seed={self.seed}: wanted 0 .. 4294967295")
        if not self.checkpoint_minutes > 0:
            raise UserError(f"checkpoint_minutes={self.checkpoint_minutes}: wanted above 0")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return dataclasses.asdict(self)


def config_from_dict(fields: Any, source: str) -> TrainConfig:
    """Return the settings that `TrainConfig.to_dict` wrote.

    Raises:
        UserError: a field is unknown or a value out of range; `source` names the file.
    """
    if not isinstance(fields, dict):
        raise UserError(f"{source}: not the settings of a training run (found {fields!r})")
    # A setting that is missing would take today's default, not the one that the run had.
    missing = [name for name in TrainConfig().to_dict() if name not in fields]
    if missing:
        raise UserError(f"{source}: lacks the setting {missing[0]!r} of a training run")
    try:
        values = dict(fields)
        values["augment"] = AugmentConfig(**values["augment"])
        values["optim"] = OptimConfig(**values["optim"])
        return TrainConfig(**values)
    except (TypeError, UserError) as error:
        raise UserError(f"{source}: not the settings of a training run ({error})") from None


def _flatten(fields: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value)
    return flat


def differences(old: TrainConfig, new: TrainConfig) -> list[str]:
    """Return `name: old -> new` for every setting in which two runs differ."""
    before, after = _flatten(old.to_dict()), _flatten(new.to_dict())
    return [
        f"{name}: {before[name]} -> {after[name]}" for name in before if before[name] != after[name]
    ]
