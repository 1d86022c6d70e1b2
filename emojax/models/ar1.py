"""AR1: the small baseline. Source: thesis, 5.2.1."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.models.convolution import max_pool
from emojax.models.layers import (
    Activation,
    Conv,
    Head,
    Outputs,
    activate,
    check_input_size,
    smallest_side,
)


class AR1(nn.Module):
    """Convolution, activation, max pooling; then one fully connected layer and the head.

    The thesis gives the order of the layers, not their sizes. Ours are multiples of
    8 for tensor cores, and the first convolution has stride 2: at 98 x 80 it
    keeps one step of training near 15 M multiply-accumulates a picture, so that a
    laptop trains it while one waits.
    """

    num_outputs: int
    """Number of logits."""
    widths: Sequence[int] = (24, 48, 96, 128)
    """Channels of the convolutions, each followed by its activation and 2 x 2 max pooling."""
    hidden: int = 256
    """Width of the fully connected layer: the length of the feature vector."""
    activation: Activation = "relu"
    """After every convolution and after the fully connected layer."""
    dropout: float = 0.3
    """Share of the feature vector that training leaves out."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters stay float32."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Outputs:
        """Return logits and features of normalised pictures."""
        # The stride is padded and rounds up, the poolings round down.
        side = smallest_side([(1, 2), *[(2, 2)] * len(self.widths)])
        check_input_size("ar1", images, (side, side))
        x = images.astype(self.dtype)
        for index, width in enumerate(self.widths, start=1):
            kernel, stride = ((5, 5), 2) if index == 1 else ((3, 3), 1)
            x = Conv(
                width,
                kernel,
                strides=stride,
                padding=kernel[0] // 2,
                dtype=self.dtype,
                kernel_init=nn.initializers.he_normal(),
                name=f"conv{index}",
            )(x)
            x = activate(x, self.activation, f"prelu{index}")
            x = max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        x = nn.Dense(
            self.hidden,
            dtype=self.dtype,
            kernel_init=nn.initializers.he_normal(),
            name="fully_connected",
        )(x)
        x = activate(x, self.activation, "fully_connected_prelu")
        return Head(self.num_outputs, self.dropout, self.dtype, name="head")(x, train=train)
