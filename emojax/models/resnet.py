"""ResNet. Source: He et al. 2016, Deep Residual Learning for Image Recognition, table 1."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.errors import UserError
from emojax.models.convolution import max_pool
from emojax.models.layers import (
    Activation,
    Conv,
    Head,
    Outputs,
    activate,
    check_input_size,
    convolve_and_norm,
    he_normal,
)
from emojax.models.normalisation import BatchNorm


def _unit(
    block: Any,
    name: str,
    x: Float[Array, "batch height width channels"],
    width: int,
    side: int,
    stride: int = 1,
) -> Float[Array, "batch height2 width2 channels2"]:
    """Return a convolution of a block, normalised.

    Args:
        block: that it is a part of, with `conv` and `norm`.
        name: a number of convolution and normalisation, or `projection`.
        x: the input.
        width: output channels.
        side: of the kernel.
        stride: in both directions.
    """
    numbered = name != "projection"
    conv = functools.partial(
        block.conv,
        width,
        (side, side),
        (stride, stride),
        padding=side // 2,
        name=f"conv{name}" if numbered else name,
    )
    norm = block.norm(name=f"norm{name}" if numbered else f"{name}_norm")
    return convolve_and_norm(block, conv, norm, x)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around which the input is added. Source: figure 2, section 4.2."""

    width: int
    """Output channels."""
    stride: int
    """Of the first convolution, and of the projection."""
    activation: Activation
    """After each normalisation but the last, and after the sum."""
    conv: Callable[..., Any]
    """Convolution with everything bound that all of them share."""
    norm: Callable[..., Any]
    """Normalisation with train or evaluation bound."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height2 width2 channels2"]:
        """Return the block's output; shortcut option B: projection where the shape changes."""
        unit = functools.partial(_unit, self)
        y = unit("1", x, self.width, 3, self.stride)
        y = unit("2", activate(y, self.activation, "prelu1"), self.width, 3)
        if x.shape != y.shape:
            x = unit("projection", x, self.width, 1, self.stride)
        return activate(x + y, self.activation, "prelu2")


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 convolutions around which the input is added. Source: figure 5."""

    width: int
    """Channels of the first two convolutions; the last has four times as many."""
    stride: int
    """Of one of the first two convolutions, and of the projection."""
    activation: Activation
    """After each normalisation but the last, and after the sum."""
    conv: Callable[..., Any]
    """Convolution with everything bound that all of them share."""
    norm: Callable[..., Any]
    """Normalisation with train or evaluation bound."""
    stride_in: Literal["3x3", "1x1"] = "3x3"
    """Convolution that has the stride: the 1 x 1 of the paper, or the 3 x 3 of later code, which
    looks at every value of its input."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height2 width2 channels2"]:
        """Return the block's output; shortcut option B: projection where the shape changes."""
        unit = functools.partial(_unit, self)
        first, second = (self.stride, 1) if self.stride_in == "1x1" else (1, self.stride)
        y = unit("1", x, self.width, 1, first)
        y = unit("2", activate(y, self.activation, "prelu1"), self.width, 3, second)
        y = unit("3", activate(y, self.activation, "prelu2"), 4 * self.width, 1)
        if x.shape != y.shape:
            x = unit("projection", x, 4 * self.width, 1, self.stride)
        return activate(x + y, self.activation, "prelu3")


class ResNet(nn.Module):
    """A stem, stages of residual blocks that halve the picture, global average pooling."""

    num_outputs: int
    """Number of logits."""
    blocks: Sequence[int] = (2, 2, 2, 2)
    """Residual blocks per stage; any number of stages."""
    block: Callable[..., nn.Module] = BasicBlock
    """`BasicBlock` or `Bottleneck`."""
    widths: Sequence[int] = ()
    """Channels of each stage; none given: 64, doubled from stage to stage (table 1)."""
    stem: Literal["7x7", "5x5"] = "7x7"
    """7x7: the paper's, with max pooling behind it, a quarter of the sides; 5x5: half of them, for
    pictures so coarse that a quarter would lose the corner of a mouth."""
    activation: Activation = "relu"
    """After every normalisation but those before a sum, and after every sum."""
    norm_momentum: float = 0.9
    """Share of the running statistics that a step keeps, the paper's reference code's."""
    dropout: float = 0.0
    """Share of the feature vector that training leaves out; the paper uses none."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters and normalisation statistics stay float32."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Outputs:
        """Return logits and features of normalised pictures."""
        widths = self.widths or [64 * 2**stage for stage in range(len(self.blocks))]
        if len(widths) != len(self.blocks):
            raise UserError(
                f"widths {', '.join(map(str, widths))}: wanted one for each of the "
                f"{len(self.blocks)} stages that blocks {', '.join(map(str, self.blocks))} make"
            )
        # All that halves is padded and rounds up: some of any picture is left.
        check_input_size("resnet", images, (1, 1))
        conv = functools.partial(Conv, use_bias=False, dtype=self.dtype, kernel_init=he_normal)
        # Flax's momentum is the share that stays: 0.9 is the paper's reference code's 0.1.
        norm = functools.partial(
            BatchNorm,
            use_running_average=not train,
            momentum=self.norm_momentum,
            epsilon=1e-5,
            dtype=self.dtype,
        )
        side = 7 if self.stem == "7x7" else 5
        stem = functools.partial(
            conv, widths[0], (side, side), (2, 2), padding=side // 2, name="stem_conv"
        )
        x = convolve_and_norm(self, stem, norm(name="stem_norm"), images.astype(self.dtype))
        x = activate(x, self.activation, "stem_prelu")
        if self.stem == "7x7":
            x = max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, (width, count) in enumerate(zip(widths, self.blocks, strict=True), start=1):
            for block in range(1, count + 1):
                x = self.block(
                    width,
                    2 if stage > 1 and block == 1 else 1,
                    self.activation,
                    conv,
                    norm,
                    name=f"stage{stage}_block{block}",
                )(x)
        x = x.astype(float).mean(axis=(1, 2))
        return Head(self.num_outputs, self.dropout, self.dtype, name="head")(x, train=train)


resnet18 = functools.partial(ResNet, blocks=(2, 2, 2, 2))
resnet34 = functools.partial(ResNet, blocks=(3, 4, 6, 3))
resnet50 = functools.partial(ResNet, blocks=(3, 4, 6, 3), block=Bottleneck)
resnet101 = functools.partial(ResNet, blocks=(3, 4, 23, 3), block=Bottleneck)
# For real faces of few pixels, as FER2013's 48 x 48: 1.3 M parameters fit 3 MB in half precision,
# 0.18 G multiply-accumulates answer within 5 ms on one core. Channels are multiples of 32, for
# tensor cores and for int8 kernels alike.
resnet_small = functools.partial(
    ResNet, stem="5x5", widths=(32, 64, 128, 192), blocks=(1, 2, 2, 1), dropout=0.2
)
