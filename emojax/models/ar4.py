"""AR4: action units first, and the emotion from them. Source: thesis, 5.2.4 and experiment 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.models.layers import Activation, Head, Outputs, activate

NUM_ACTION_UNITS = 15
"""Linear outputs of the extractor."""


class AR4(nn.Module):
    """An extractor with one linear output per action unit, then a perceptron: 15, hidden, rest.

    The extractor's 15 outputs have no activation and are the first logits; the
    perceptron's, one per emotion, follow. With 15 outputs or fewer all of them are
    the perceptron's, and the action units stay inside.
    """

    num_outputs: int
    """Number of logits: 15 action units and 7 emotions make 22."""
    extractor: Callable[..., nn.Module]
    """Builds the network that reads action units, given `num_outputs` and `name`."""
    frozen: bool = False
    """The extractor is trained already: it runs as in evaluation and gets no gradient."""
    hidden: int = 32
    """Width of the perceptron's hidden layer: the length of the feature vector. The thesis
    leaves it open; seven prototypes of up to seven units need few, and 32 is a multiple of 8."""
    activation: Activation = "relu"
    """After the hidden layer; the extractor has its own."""
    dropout: float = 0.0
    """Share of the hidden layer that training leaves out."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters stay float32."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Outputs:
        """Return logits and the hidden layer of normalised pictures."""
        extractor: Any = self.extractor(num_outputs=NUM_ACTION_UNITS, name="extractor")
        units = extractor(images, train=train and not self.frozen).logits
        if self.frozen:
            units = jax.lax.stop_gradient(units)
        x = nn.Dense(
            self.hidden, dtype=self.dtype, kernel_init=nn.initializers.he_normal(), name="hidden"
        )(units.astype(self.dtype))
        x = activate(x, self.activation, "hidden_prelu")
        with_units = self.num_outputs > NUM_ACTION_UNITS
        left = self.num_outputs - NUM_ACTION_UNITS if with_units else self.num_outputs
        answer = Head(left, self.dropout, self.dtype, name="head")(x, train=train)
        if with_units:
            answer = answer._replace(logits=jnp.concatenate([units, answer.logits], axis=1))
        return answer
