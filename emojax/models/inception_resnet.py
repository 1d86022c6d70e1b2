"""Inception-ResNet, its published sizes and the one for real time.

Source: Szegedy et al. 2017, Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning, figures 10 to 20 and table 1.

Version 1 is the paper's. Of version 2 there are two: the paper's figures, and the network that
its authors released and whose parameters everyone counts. `inception_resnet_v2` is the second:
another stem, 10, 20 and 10 blocks, 1088 and 2080 channels for the figures' 1154 and 2048, the
last block linear, and a convolution before the head.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.models.convolution import max_pool
from emojax.models.layers import (
    REDUCTION_WINDOW,
    Activation,
    Branches,
    Chain,
    Conv,
    ConvNorm,
    Head,
    Outputs,
    Reduction,
    activate,
    apply_chain,
    check_input_size,
    conv_norm_unit,
    smallest_side,
)

xavier_uniform = nn.initializers.xavier_uniform()


class StemLayer(NamedTuple):
    """One layer of the stem."""

    width: int
    """Channels; 0 for max pooling."""
    kernel: int
    """Height and width."""
    stride: int = 1
    """In both directions."""
    padding: Literal["SAME", "VALID"] = "VALID"
    """VALID is what the figures mark with V."""


class Design(NamedTuple):
    """What a version of the network is made of."""

    stem: tuple[StemLayer, ...]
    """From the picture to the first block."""
    mixed_5b: tuple[Chain, ...]
    """Branches between stem and blocks A, an average-pooled one of 64 channels beside them."""
    a: tuple[Chain, ...]
    """Residual branches of a block A."""
    reduction_a: tuple[Chain, ...]
    """Branches of the first reduction."""
    b: tuple[Chain, ...]
    """Residual branches of a block B."""
    reduction_b: tuple[Chain, ...]
    """Branches of the second reduction."""
    c: tuple[Chain, ...]
    """Residual branches of a block C."""
    linear_end: bool
    """The last block C is added unscaled and has no activation."""
    last_width: int
    """Channels of a 1 x 1 convolution before the pooling; 0: without it."""


# Both versions start alike: figure 14 down to its 1 x 1 convolution and the one after it.
_STEM = (
    StemLayer(32, 3, stride=2),
    StemLayer(32, 3),
    StemLayer(64, 3, padding="SAME"),
    StemLayer(0, 3, stride=2),
    StemLayer(80, 1),
    StemLayer(192, 3),
)

# Channels, kernel height and width; all channels are multiples of 8, most of 32.
VERSION_1 = Design(
    stem=(*_STEM, StemLayer(256, 3, stride=2)),
    mixed_5b=(),
    a=(((32, 1, 1),), ((32, 1, 1), (32, 3, 3)), ((32, 1, 1), (32, 3, 3), (32, 3, 3))),
    reduction_a=(((384, 3, 3),), ((192, 1, 1), (192, 3, 3), (256, 3, 3))),
    b=(((128, 1, 1),), ((128, 1, 1), (128, 1, 7), (128, 7, 1))),
    reduction_b=(
        ((256, 1, 1), (384, 3, 3)),
        ((256, 1, 1), (256, 3, 3)),
        ((256, 1, 1), (256, 3, 3), (256, 3, 3)),
    ),
    c=(((192, 1, 1),), ((192, 1, 1), (192, 1, 3), (192, 3, 1))),
    linear_end=False,
    last_width=0,
)
VERSION_2 = Design(
    stem=(*_STEM, StemLayer(0, 3, stride=2)),
    mixed_5b=(
        ((96, 1, 1),),
        ((48, 1, 1), (64, 5, 5)),
        ((64, 1, 1), (96, 3, 3), (96, 3, 3)),
    ),
    a=(((32, 1, 1),), ((32, 1, 1), (32, 3, 3)), ((32, 1, 1), (48, 3, 3), (64, 3, 3))),
    reduction_a=(((384, 3, 3),), ((256, 1, 1), (256, 3, 3), (384, 3, 3))),
    b=(((192, 1, 1),), ((128, 1, 1), (160, 1, 7), (192, 7, 1))),
    reduction_b=(
        ((256, 1, 1), (384, 3, 3)),
        ((256, 1, 1), (288, 3, 3)),
        ((256, 1, 1), (288, 3, 3), (320, 3, 3)),
    ),
    c=(((192, 1, 1),), ((192, 1, 1), (224, 1, 3), (256, 3, 1))),
    linear_end=True,
    last_width=1536,
)


class ResidualBranches(nn.Module):
    """Branches, brought to the input's width, scaled, added to it. Source: figure 20."""

    chains: Sequence[Chain]
    """`branch1` onwards."""
    unit: Callable[..., ConvNorm]
    """`ConvNorm` with its shared fields bound."""
    scale: float
    """Of what is added."""
    activation: Activation | Literal["linear"]
    """Of the sum."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        """Return the block's output, of the input's shape."""
        outputs = [
            apply_chain(self.unit, x, chain, f"branch{number}")
            for number, chain in enumerate(self.chains, start=1)
        ]
        # Section 3.2: normalisation stays off the summations, so this one has a bias.
        up = Conv(x.shape[-1], (1, 1), dtype=x.dtype, kernel_init=xavier_uniform, name="up")
        x = x + self.scale * up(jnp.concatenate(outputs, axis=-1))
        return x if self.activation == "linear" else activate(x, self.activation, "prelu")


class InceptionResNet(nn.Module):
    """Stem, blocks A, reduction, blocks B, reduction, blocks C, global average pooling."""

    num_outputs: int
    """Number of logits."""
    design: Design = VERSION_2
    """Stem and branches."""
    blocks: Sequence[int] = (10, 20, 10)
    """Blocks A, B and C."""
    scales: Sequence[float] = (0.17, 0.10, 0.20)
    """Of the residuals of A, B and C. Source: the released code; section 3.3 says 0.1 to 0.3."""
    activation: Activation = "relu"
    """After every normalisation and every sum."""
    norm_momentum: float = 0.9997
    """Share of the running statistics that a step keeps. Source: the authors' released code;
    it was made for 10^5 steps and more: with fewer, the statistics have not arrived at the end."""
    dropout: float = 0.2
    """Share of the feature vector that training leaves out (figure 15 keeps 0.8)."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters and normalisation statistics stay float32."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Outputs:
        """Return logits and features of normalised pictures."""
        design = self.design
        windows = [(layer.kernel, layer.stride) for layer in design.stem if layer.padding != "SAME"]
        side = smallest_side((*windows, REDUCTION_WINDOW, REDUCTION_WINDOW))
        check_input_size("inception_resnet", images, (side, side))
        unit = conv_norm_unit(
            train=train,
            activation=self.activation,
            kernel_init=xavier_uniform,
            momentum=self.norm_momentum,
            epsilon=1e-3,
            dtype=self.dtype,
        )
        x = images.astype(self.dtype)
        number = 0
        for width, kernel, stride, padding in design.stem:
            if width:
                number += 1
                layer = unit(width, (kernel, kernel), stride, padding, name=f"stem_conv{number}")
                x = layer(x)
            else:
                x = max_pool(x, (kernel, kernel), (stride, stride))
        if design.mixed_5b:
            x = Branches(design.mixed_5b, unit, 64, name="mixed_5b")(x)
        a, b, c = (
            functools.partial(ResidualBranches, chains=chains, unit=unit, scale=scale)
            for chains, scale in zip((design.a, design.b, design.c), self.scales, strict=True)
        )
        for number in range(1, self.blocks[0] + 1):
            x = a(activation=self.activation, name=f"inception_a{number}")(x)
        x = Reduction(design.reduction_a, unit, name="reduction_a")(x)
        for number in range(1, self.blocks[1] + 1):
            x = b(activation=self.activation, name=f"inception_b{number}")(x)
        x = Reduction(design.reduction_b, unit, name="reduction_b")(x)
        for number in range(1, self.blocks[2] + 1):
            if design.linear_end and number == self.blocks[2]:
                c = functools.partial(c, scale=1.0, activation="linear")
            else:
                c = functools.partial(c, activation=self.activation)
            x = c(name=f"inception_c{number}")(x)
        if design.last_width:
            x = unit(design.last_width, (1, 1), name="last_conv")(x)
        x = x.astype(jnp.float32).mean(axis=(1, 2))
        return Head(self.num_outputs, self.dropout, self.dtype, name="head")(x, train=train)


inception_resnet_v1 = functools.partial(InceptionResNet, design=VERSION_1, blocks=(5, 10, 5))
inception_resnet_v2 = functools.partial(InceptionResNet, design=VERSION_2, blocks=(10, 20, 10))
# The thesis drops blocks until it runs in real time and does not say how many it keeps. Ours is
# a quarter of the released network's, whose modules are the ones that can be compared with other
# people's code; with 98 x 80 pictures blocks C see a single value, so that more of them would
# cost weights and give no context. 20 M parameters; a face takes LiteRT about as long as
# ResNet-18 does. A run is hundreds of steps, not 10^5: hence the momentum, which is ResNet's.
inception_resnet = functools.partial(
    InceptionResNet, design=VERSION_2, blocks=(3, 5, 2), norm_momentum=0.9
)
