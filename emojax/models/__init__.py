"""The registry: a key on the command line, and the network it builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.errors import UserError
from emojax.models.ar1 import AR1
from emojax.models.layers import Outputs
from emojax.models.resnet import resnet18

MODELS: dict[str, Callable[..., nn.Module]] = {
    "ar1": AR1,
    "resnet18": resnet18,
}
"""Every network takes `num_outputs`, `dropout` and `dtype`."""


def check_model_key(key: str) -> None:
    """Refuse a key that no network has.

    Raises:
        UserError: names the keys there are.
    """
    if key not in MODELS:
        raise UserError(f"model {key!r} is not known: use one of {', '.join(MODELS)}")


def build_model(
    key: str, num_outputs: int, *, dropout: float | None = None, dtype: str = "float32"
) -> nn.Module:
    """Return the network of that key, without parameters.

    Args:
        key: one of `MODELS`.
        num_outputs: number of logits.
        dropout: share of the feature vector left out in training; None keeps the network's own.
        dtype: compute type, `float32` or `bfloat16`.

    Raises:
        UserError: no network has that key.
    """
    check_model_key(key)
    chosen = {} if dropout is None else {"dropout": dropout}
    return MODELS[key](num_outputs=num_outputs, dtype=jnp.dtype(dtype), **chosen)


def forward(
    model: nn.Module, variables: Any, images: Float[Array, "batch height width channels"]
) -> Outputs:
    """Return a network's outputs for normalised pictures, as in evaluation."""
    return cast(Outputs, model.apply(variables, images, train=False))
