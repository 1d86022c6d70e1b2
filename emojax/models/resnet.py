"""ResNet with basic blocks. Source: He et al. 2016, Deep Residual Learning, table 1."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.models.layers import Head, Outputs, check_input_size, he_normal


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around which the input is added. Source: figure 2, section 4.2."""

    width: int
    """Output channels."""
    stride: int
    """Of the first convolution, and of the projection."""
    conv: Callable[..., Any]
    """Convolution with everything bound that all of them share."""
    norm: Callable[..., Any]
    """Normalisation with train or evaluation bound."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height2 width2 channels2"]:
        """Return the block's output; shortcut option B: projection where the shape changes."""
        strides = (self.stride, self.stride)
        y = self.conv(self.width, (3, 3), strides, padding=1, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.conv(self.width, (3, 3), padding=1, name="conv2")(y)
        y = self.norm(name="norm2")(y)
        if x.shape != y.shape:
            x = self.conv(self.width, (1, 1), strides, padding=0, name="projection")(x)
            x = self.norm(name="projection_norm")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A stem, stages of residual blocks that halve the picture, global average pooling."""

    num_outputs: int
    """Number of logits."""
    blocks: Sequence[int] = (2, 2, 2, 2)
    """Residual blocks per stage; any number of stages."""
    stem_width: int = 64
    """Channels of the first stage; each later stage doubles them (table 1)."""
    dropout: float = 0.0
    """Share of the feature vector that training leaves out; the paper uses none."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters and normalisation statistics stay float32."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Outputs:
        """Return logits and features of normalised pictures."""
        # One value has to be left after the stem (4) and the later stages' halvings.
        check_input_size("resnet", images, (2 ** len(self.blocks), 2 ** len(self.blocks)))
        conv = functools.partial(nn.Conv, use_bias=False, dtype=self.dtype, kernel_init=he_normal)
        # Flax's momentum is the share that stays: 0.9 is the paper's reference code's 0.1.
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
        )
        x = conv(self.stem_width, (7, 7), (2, 2), padding=3, name="stem_conv")(
            images.astype(self.dtype)
        )
        x = nn.relu(norm(name="stem_norm")(x))
        # Flax's annotation names only the string forms of a padding.
        same: Any = ((1, 1), (1, 1))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=same)
        for stage, count in enumerate(self.blocks, start=1):
            for block in range(1, count + 1):
                x = BasicBlock(
                    self.stem_width * 2 ** (stage - 1),
                    2 if stage > 1 and block == 1 else 1,
                    conv,
                    norm,
                    name=f"stage{stage}_block{block}",
                )(x)
        x = x.astype(jnp.float32).mean(axis=(1, 2))
        return Head(self.num_outputs, self.dropout, self.dtype, name="head")(x, train=train)


resnet18 = functools.partial(ResNet, blocks=(2, 2, 2, 2))
