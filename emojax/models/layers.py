"""Blocks and initialisers that more than one architecture uses."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.errors import UserError

he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""He initialisation over the fan-out, as ResNet's published code has it. Source: He et al. 2015."""


class Outputs(NamedTuple):
    """What every network returns."""

    logits: jax.Array  # batch outputs, float32
    features: jax.Array  # batch features, float32: what the last linear layer saw


class Head(nn.Module):
    """Dropout and the last linear layer: features to logits."""

    num_outputs: int
    """Number of logits."""
    dropout: float = 0.0
    """Share of the features that training leaves out."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters and logits stay float32."""

    @nn.compact
    def __call__(self, features: Float[Array, "batch features"], *, train: bool) -> Outputs:
        """Return logits and the features they came from, both float32."""
        kept = nn.Dropout(self.dropout, deterministic=not train)(features)
        logits = nn.Dense(self.num_outputs, dtype=self.dtype, name="logits")(kept)
        return Outputs(logits.astype(jnp.float32), features.astype(jnp.float32))


def check_input_size(
    name: str, images: Float[Array, "batch height width channels"], smallest: tuple[int, int]
) -> None:
    """Refuse pictures that are too small for an architecture.

    Raises:
        UserError: a side is below the smallest that leaves one value after the last reduction.
    """
    height, width = images.shape[1:3]
    if height < smallest[0] or width < smallest[1]:
        raise UserError(
            f"{name} can't take {height}x{width} pictures: "
            f"the smallest is {smallest[0]}x{smallest[1]} (height x width)"
        )
