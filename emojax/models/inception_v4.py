"""Inception-v4.

Source: Szegedy et al. 2017, Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning, figures 3 to 9.

Where two factors of a convolution follow each other (1 x 7 and 7 x 1, 1 x 3 and 3 x 1), their
order and that of the concatenations are those of the authors' released code: the figures print
some of them the other way round, with the same number of parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.models.convolution import max_pool
from emojax.models.layers import (
    REDUCTION_WINDOW,
    Activation,
    Branches,
    Chain,
    ConvNorm,
    Head,
    Outputs,
    Reduction,
    apply_chain,
    check_input_size,
    conv_norm_unit,
    smallest_side,
)

STEM_WINDOWS = ((3, 2), (3, 1), (3, 2), (3, 1), (3, 2))
"""Kernel and stride of what figure 3 marks with V, top to bottom."""

# Channels, kernel height and width. Figures 4, 7, 5 and 8; k, l, m, n of figure 7 from table 1.
INCEPTION_A: tuple[Chain, ...] = (
    ((96, 1, 1),),
    ((64, 1, 1), (96, 3, 3)),
    ((64, 1, 1), (96, 3, 3), (96, 3, 3)),
)
REDUCTION_A: tuple[Chain, ...] = (((384, 3, 3),), ((192, 1, 1), (224, 3, 3), (256, 3, 3)))
INCEPTION_B: tuple[Chain, ...] = (
    ((384, 1, 1),),
    ((192, 1, 1), (224, 1, 7), (256, 7, 1)),
    ((192, 1, 1), (192, 7, 1), (224, 1, 7), (224, 7, 1), (256, 1, 7)),
)
REDUCTION_B: tuple[Chain, ...] = (
    ((192, 1, 1), (192, 3, 3)),
    ((256, 1, 1), (256, 1, 7), (320, 7, 1), (320, 3, 3)),
)


class InceptionC(nn.Module):
    """The block whose chains end in a 1 x 3 beside a 3 x 1 convolution. Source: figure 6."""

    unit: Callable[..., ConvNorm]
    """`ConvNorm` with its shared fields bound."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width 1536"]:
        """Return the concatenated branches."""
        outputs = [self.unit(256, (1, 1), name="branch1_conv1")(x)]
        chains: tuple[Chain, ...] = (((384, 1, 1),), ((384, 1, 1), (448, 3, 1), (512, 1, 3)))
        for number, chain in enumerate(chains, start=2):
            y = apply_chain(self.unit, x, chain, f"branch{number}")
            outputs.append(self.unit(256, (1, 3), name=f"branch{number}_1x3")(y))
            outputs.append(self.unit(256, (3, 1), name=f"branch{number}_3x1")(y))
        outputs.append(self.unit(256, (1, 1), pooled=True, name="pooled_conv1")(x))
        return jnp.concatenate(outputs, axis=-1)


class Mixed3a(nn.Module):
    """The stem's first fork: max pooling beside a convolution, both halve. Source: figure 3."""

    unit: Callable[..., ConvNorm]
    """`ConvNorm` with its shared fields bound."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height2 width2 channels2"]:
        """Return the pooled input and the convolution."""
        pooled = max_pool(x, (3, 3), (2, 2))
        halved = self.unit(96, (3, 3), 2, "VALID", name="conv1")(x)
        return jnp.concatenate([pooled, halved], axis=-1)


class Mixed4a(nn.Module):
    """The stem's second fork: two chains that end unpadded. Source: figure 3."""

    unit: Callable[..., ConvNorm]
    """`ConvNorm` with its shared fields bound."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height2 width2 192"]:
        """Return the concatenated chains."""
        outputs = []
        chains: tuple[Chain, ...] = (((64, 1, 1),), ((64, 1, 1), (64, 1, 7), (64, 7, 1)))
        for number, chain in enumerate(chains, start=1):
            y = apply_chain(self.unit, x, chain, f"branch{number}")
            outputs.append(self.unit(96, (3, 3), 1, "VALID", name=f"branch{number}_last")(y))
        return jnp.concatenate(outputs, axis=-1)


class InceptionV4(nn.Module):
    """Stem, blocks A, reduction, blocks B, reduction, blocks C, global average pooling."""

    num_outputs: int
    """Number of logits."""
    blocks: Sequence[int] = (4, 7, 3)
    """Blocks A, B and C (figure 9)."""
    activation: Activation = "relu"
    """After every normalisation."""
    norm_momentum: float = 0.9997
    """Share of the running statistics that a step keeps. Source: the authors' released code;
    it was made for 10^5 steps and more: with fewer, the statistics have not arrived at the end."""
    dropout: float = 0.2
    """Share of the feature vector that training leaves out (figure 9 keeps 0.8)."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters and normalisation statistics stay float32."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Outputs:
        """Return logits and features of normalised pictures."""
        side = smallest_side((*STEM_WINDOWS, REDUCTION_WINDOW, REDUCTION_WINDOW))
        check_input_size("inception_v4", images, (side, side))
        unit = conv_norm_unit(
            train=train,
            activation=self.activation,
            # As in the released code: truncated normal over the fan-in.
            kernel_init=nn.initializers.he_normal(),
            momentum=self.norm_momentum,
            epsilon=1e-3,
            dtype=self.dtype,
        )
        x = images.astype(self.dtype)
        x = unit(32, (3, 3), 2, "VALID", name="stem_conv1")(x)
        x = unit(32, (3, 3), 1, "VALID", name="stem_conv2")(x)
        x = unit(64, (3, 3), name="stem_conv3")(x)
        x = Mixed3a(unit, name="mixed_3a")(x)
        x = Mixed4a(unit, name="mixed_4a")(x)
        x = Reduction((((192, 3, 3),),), unit, name="mixed_5a")(x)
        for number in range(1, self.blocks[0] + 1):
            x = Branches(INCEPTION_A, unit, 96, name=f"inception_a{number}")(x)
        x = Reduction(REDUCTION_A, unit, name="reduction_a")(x)
        for number in range(1, self.blocks[1] + 1):
            x = Branches(INCEPTION_B, unit, 128, name=f"inception_b{number}")(x)
        x = Reduction(REDUCTION_B, unit, name="reduction_b")(x)
        for number in range(1, self.blocks[2] + 1):
            x = InceptionC(unit, name=f"inception_c{number}")(x)
        x = x.astype(jnp.float32).mean(axis=(1, 2))
        return Head(self.num_outputs, self.dropout, self.dtype, name="head")(x, train=train)
