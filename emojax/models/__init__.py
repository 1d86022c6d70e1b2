"""The registry: a key on the command line, and the network it builds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.errors import UserError
from emojax.models.ar1 import AR1
from emojax.models.inception_resnet import (
    inception_resnet,
    inception_resnet_v1,
    inception_resnet_v2,
)
from emojax.models.inception_v4 import InceptionV4
from emojax.models.layers import Activation, Outputs
from emojax.models.resnet import resnet18, resnet34, resnet50, resnet101

MODELS: dict[str, Callable[..., nn.Module]] = {
    "ar1": AR1,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "inception_v4": InceptionV4,
    "inception_resnet": inception_resnet,
    "inception_resnet_v1": inception_resnet_v1,
    "inception_resnet_v2": inception_resnet_v2,
}
"""Every network takes `num_outputs`, `dropout`, `activation` and `dtype`."""


def check_model_key(key: str) -> None:
    """Refuse a key that no network has.

    Raises:
        UserError: names the keys there are.
    """
    if key not in MODELS:
        raise UserError(f"model {key!r} is not known: use one of {', '.join(MODELS)}")


def build_model(
    key: str,
    num_outputs: int,
    *,
    dropout: float | None = None,
    activation: Activation = "relu",
    norm_momentum: float | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """Return the network of that key, without parameters.

    Args:
        key: one of `MODELS`.
        num_outputs: number of logits.
        dropout: share of the feature vector left out in training; None keeps the network's own.
        activation: `relu`, or `prelu` with a learned slope for each channel.
        norm_momentum: share of BatchNorm's running statistics that a step keeps; None keeps the
            network's own.
        dtype: compute type, `float32` or `bfloat16`.

    Raises:
        UserError: no network has that key, or it has no BatchNorm and a momentum is set.
    """
    check_model_key(key)
    build = MODELS[key]
    chosen = {"dropout": dropout, "norm_momentum": norm_momentum}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if unknown := set(chosen) - set(inspect.signature(build).parameters):
        raise UserError(f"model {key!r} has no BatchNorm: leave {', '.join(unknown)} out")
    return build(num_outputs=num_outputs, activation=activation, dtype=jnp.dtype(dtype), **chosen)


def forward(
    model: nn.Module, variables: Any, images: Float[Array, "batch height width channels"]
) -> Outputs:
    """Return a network's outputs for normalised pictures, as in evaluation."""
    return cast(Outputs, model.apply(variables, images, train=False))
