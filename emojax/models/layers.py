"""Blocks and initialisers that more than one architecture uses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from emojax.compiler import is_made_for_litert
from emojax.errors import UserError
from emojax.models.convolution import convolve, max_pool
from emojax.models.normalisation import BatchNorm

he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""He initialisation over the fan-out, as ResNet's published code has it. Source: He et al. 2015."""

Activation = Literal["relu", "prelu"]
"""Every network offers both."""

Step = tuple[int, int, int]
"""One convolution of an Inception figure: channels, kernel height, kernel width."""

Chain = Sequence[Step]
"""Convolutions one after the other."""


class Outputs(NamedTuple):
    """What every network returns."""

    logits: jax.Array  # batch outputs, float32
    features: jax.Array  # batch features, float32: for fusion with other networks
    auxiliary: tuple[jax.Array, ...] = ()  # batch outputs, float32: each branch's own logits


class PReLU(nn.Module):
    """ReLU with a learned slope below zero, one a channel. Source: He et al. 2015, section 2.1."""

    @nn.compact
    def __call__(self, x: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
        """Return x where it is positive and slope * x elsewhere, in x's type."""
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],), jnp.float32)
        return jnp.where(x >= 0, x, x * slope.astype(x.dtype))


class ReLU(nn.Module):
    """What is positive. A module without parameters, so that `explain` finds its output."""

    @nn.compact
    def __call__(self, x: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
        """Return x where it is positive and 0 elsewhere."""
        return nn.relu(x)


def activate(
    x: Float[Array, "*batch channels"], activation: Activation, name: str
) -> Float[Array, "*batch channels"]:
    """Return x after its activation; PReLU's slopes become `name` in the module that calls."""
    if activation == "prelu":
        return PReLU(name=name)(x)
    return ReLU(name=name.replace("prelu", "relu"))(x)


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
        # JAX's default: float64 where a test asks for it.
        return Outputs(logits.astype(float), features.astype(float))


Conv: Callable[..., Any] = functools.partial(nn.Conv, conv_general_dilated=convolve)
"""Flax's convolution, computed by `convolution.convolve`."""


def convolve_and_norm(
    module: nn.Module,
    conv: Callable[..., Any],
    norm: BatchNorm,
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height2 width2 channels2"]:
    """Return the normalised convolution.

    A GPU that predicts multiplies the kernel instead of what comes out of it, and cuDNN adds the
    rest, and what follows, while the sums are still in its registers. That saves a reading and a
    writing of every activation. Half precision rounds the kernel once more.

    Args:
        module: that calls.
        conv: makes the convolution, all but `conv_general_dilated` bound; it has no bias.
        norm: its normalisation.
        x: the input.
    """
    if not norm.use_running_average or module.is_initializing() or not folds_norms():
        return norm(conv()(x))
    rate, shift = norm.line()

    def scaled(x: jax.Array, kernel: jax.Array, *args: Any, **settings: Any) -> jax.Array:
        kernel = (kernel * rate).astype(kernel.dtype)
        return convolve(x, kernel, *args, **settings) + shift.astype(x.dtype)

    return conv(conv_general_dilated=scaled)(x)


def folds_norms() -> bool:
    """Return whether the device is one that `convolve_and_norm` has something to save on."""
    return jax.default_backend() == "gpu"


class ConvNorm(nn.Module):
    """What the Inception figures call Conv: convolution, normalisation, activation."""

    width: int
    """Output channels."""
    kernel: tuple[int, int]
    """Height and width."""
    stride: int = 1
    """In both directions."""
    padding: Literal["SAME", "VALID"] = "SAME"
    """VALID is what the figures mark with V."""
    pooled: bool = False
    """It sees the mean of each 3 x 3 neighbourhood; for a kernel of 1 x 1 alone."""
    activation: Activation = "relu"
    """Of the output."""
    conv: Callable[..., Any] = Conv
    """Convolution with everything bound that all of them share."""
    norm: Callable[..., Any] = BatchNorm
    """Normalisation with train or evaluation bound."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height2 width2 channels2"]:
        """Return the activations."""
        strides = (self.stride, self.stride)
        conv = functools.partial(
            self.conv, self.width, self.kernel, strides, padding=self.padding, name="conv"
        )
        norm = self.norm(name="norm")
        if not self.pooled:
            x = convolve_and_norm(self, conv, norm, x)
        # Means of what a 1 x 1 convolution gives are what it gives of means: they are taken where
        # there are fewer channels. And past a normalisation that is known, which an exporter
        # merges with the convolution.
        elif norm.use_running_average:
            x = average_pool(convolve_and_norm(self, conv, norm, x))
        else:
            x = norm(average_pool(conv()(x)))
        return activate(x, self.activation, "prelu")


def conv_norm_unit(
    *,
    train: bool,
    activation: Activation,
    kernel_init: Callable[..., Any],
    momentum: float,
    epsilon: float,
    dtype: jnp.dtype,
    mask: Bool[Array, " batch"] | None = None,
) -> Callable[..., ConvNorm]:
    """Return `ConvNorm` with all bound that an architecture's convolutions share.

    Args:
        train: statistics come from the batch.
        activation: of each output.
        kernel_init: initialiser of the convolutions, which have no bias.
        momentum: share of BatchNorm's running statistics that a step keeps.
        epsilon: of BatchNorm.
        dtype: compute type.
        mask: examples that count in the batch's statistics; None: all.
    """
    return functools.partial(
        ConvNorm,
        activation=activation,
        conv=functools.partial(Conv, use_bias=False, dtype=dtype, kernel_init=kernel_init),
        norm=functools.partial(
            BatchNorm,
            use_running_average=not train,
            momentum=momentum,
            epsilon=epsilon,
            dtype=dtype,
            mask=mask,
        ),
    )


def apply_chain(
    unit: Callable[..., ConvNorm],
    x: Float[Array, "batch height width channels"],
    chain: Chain,
    name: str,
    *,
    reduce: bool = False,
) -> Float[Array, "batch height2 width2 channels2"]:
    """Return x after a chain of convolutions, named `{name}_conv1` onwards.

    Args:
        unit: `ConvNorm` with its shared fields bound.
        x: the chain's input.
        chain: the convolutions.
        name: of the chain, in the module that calls.
        reduce: the last convolution has stride 2 and no padding.
    """
    for number, (width, height, across) in enumerate(chain, start=1):
        reducing = reduce and number == len(chain)
        stride, padding = (2, "VALID") if reducing else (1, "SAME")
        x = unit(width, (height, across), stride, padding, name=f"{name}_conv{number}")(x)
    return x


class Branches(nn.Module):
    """Chains of convolutions side by side, their outputs concatenated along the channels."""

    chains: Sequence[Chain]
    """`branch1` onwards."""
    unit: Callable[..., ConvNorm]
    """`ConvNorm` with its shared fields bound."""
    pooled_width: int = 0
    """Channels of a last branch, 3 x 3 average pooling and a 1 x 1 convolution; 0: without it."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels2"]:
        """Return the concatenated branches; height and width stay."""
        outputs = [
            apply_chain(self.unit, x, chain, f"branch{number}")
            for number, chain in enumerate(self.chains, start=1)
        ]
        if self.pooled_width:
            pooled = self.unit(self.pooled_width, (1, 1), pooled=True, name="pooled_conv1")
            outputs.append(pooled(x))
        return jnp.concatenate(outputs, axis=-1)


class Reduction(nn.Module):
    """Chains that end with stride 2, beside 3 x 3 max pooling with stride 2; no padding there."""

    chains: Sequence[Chain]
    """`branch1` onwards."""
    unit: Callable[..., ConvNorm]
    """`ConvNorm` with its shared fields bound."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height2 width2 channels2"]:
        """Return the concatenated branches, the pooled input last."""
        outputs = [
            apply_chain(self.unit, x, chain, f"branch{number}", reduce=True)
            for number, chain in enumerate(self.chains, start=1)
        ]
        return jnp.concatenate([*outputs, max_pool(x, (3, 3), (2, 2))], axis=-1)


def average_pool(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height width channels"]:
    """Return the mean of each 3 x 3 neighbourhood, of what lies inside the picture."""
    height, width, channels = x.shape[1:]
    if height == width == 1:
        return x
    if not is_made_for_litert():
        # Flax divides half precision by counts in float32.
        return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False).astype(x.dtype)
    # XNNPACK has no average pooling in int8: it would have to hand over to slower code and back.
    ninth = jnp.full((3, 3, 1, channels), 1 / 9, x.dtype)
    sums = convolve(
        x,
        ninth,
        (1, 1),
        "SAME",
        feature_group_count=channels,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    inside = [np.convolve(np.ones(side), np.ones(3))[1:-1] for side in (height, width)]
    return sums * jnp.asarray(9 / np.outer(*inside)[..., None], x.dtype)


REDUCTION_WINDOW = (3, 2)
"""Kernel and stride of `Reduction`, for `smallest_side`."""


def smallest_side(windows: Sequence[tuple[int, int]]) -> int:
    """Return the shortest side of which unpadded windows leave one value.

    Args:
        windows: kernel and stride of each, in the order that a picture meets them. One that is
            padded to its stride's next multiple counts with a kernel of 1: it rounds up.
    """
    side = 1
    for kernel, stride in reversed(windows):
        side = (side - 1) * stride + kernel
    return side


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
