"""AR2: many narrow layers, few parameters, for small sets. Source: thesis, 5.2.2."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.models.layers import (
    Activation,
    Head,
    Outputs,
    check_input_size,
    conv_norm_unit,
    he_normal,
)


class AR2(nn.Module):
    """Stages of 3 x 3 convolutions that halve the picture, then global average pooling.

    The thesis wants depth without width, so that a small set is not learned by
    heart, and leaves the numbers open. Ours: twelve convolutions in six
    stages, all channels multiples of 8 for tensor cores, widened slowly enough
    that 22 outputs cost 0.27 M parameters. Normalisation, which the thesis does
    not name, is what lets twelve layers learn within hundreds of steps.
    """

    num_outputs: int
    """Number of logits."""
    widths: Sequence[int] = (16, 24, 32, 48, 64, 96)
    """Channels of the stages; the first convolution of each has stride 2."""
    depth: int = 2
    """Convolutions in a stage."""
    activation: Activation = "relu"
    """After every normalisation."""
    norm_momentum: float = 0.9
    """Share of the running statistics that a step keeps."""
    dropout: float = 0.2
    """Share of the feature vector that training leaves out."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters and normalisation statistics stay float32."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Outputs:
        """Return logits and features of normalised pictures."""
        # All that halves is padded and rounds up: some of any picture is left.
        check_input_size("ar2", images, (1, 1))
        unit = conv_norm_unit(
            train=train,
            activation=self.activation,
            kernel_init=he_normal,
            momentum=self.norm_momentum,
            epsilon=1e-5,
            dtype=self.dtype,
        )
        x = images.astype(self.dtype)
        for stage, width in enumerate(self.widths, start=1):
            for number in range(1, self.depth + 1):
                stride = 2 if number == 1 else 1
                x = unit(width, (3, 3), stride, name=f"stage{stage}_conv{number}")(x)
        x = x.astype(jnp.float32).mean(axis=(1, 2))
        return Head(self.num_outputs, self.dropout, self.dtype, name="head")(x, train=train)
