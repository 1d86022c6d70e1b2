"""AR3: convolutions over time as well as over the picture. Source: thesis, 5.2.3."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.errors import UserError
from emojax.models.convolution import max_pool
from emojax.models.layers import Activation, Head, Outputs, activate, he_normal
from emojax.models.normalisation import BatchNorm

Form = Literal["folded", "volume"]
"""`volume` is the thesis's 3-D convolution; `folded` the same sums as a 2-D one."""


class VolumeLayer(NamedTuple):
    """One 3-D convolution and the max pooling behind it; numbers are (time, height, width)."""

    width: int
    """Channels, multiples of 8 for tensor cores."""
    kernel: tuple[int, int, int]
    """Odd numbers: the input is padded to keep its size."""
    stride: tuple[int, int, int]
    """Of the convolution."""
    pool: tuple[int, int, int]
    """Window and stride of the pooling."""


# The thesis leaves the sizes open. Time is halved early, where frames are large: a clip costs
# 0.17 G multiply-accumulates, twelve of ar1's pictures, for its 20 frames.
LAYERS: tuple[VolumeLayer, ...] = (
    VolumeLayer(16, (3, 5, 5), (1, 2, 2), (2, 2, 2)),
    VolumeLayer(32, (3, 3, 3), (1, 1, 1), (2, 2, 2)),
    VolumeLayer(64, (3, 3, 3), (1, 1, 1), (1, 2, 2)),
    VolumeLayer(96, (3, 3, 3), (1, 1, 1), (1, 2, 2)),
)


def convolve_volume(
    x: Float[Array, "batch time height width channels"],
    kernel: Float[Array, "kernel_time kernel_height kernel_width channels channels2"],
    stride: tuple[int, int, int],
) -> Float[Array, "batch time2 height2 width2 channels2"]:
    """Return a 3-D convolution with zeros around its input."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        stride,
        [(side // 2, side // 2) for side in kernel.shape[:3]],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )


def convolve_folded(
    x: Float[Array, "batch time height width channels"],
    kernel: Float[Array, "kernel_time kernel_height kernel_width channels channels2"],
    stride: tuple[int, int, int],
) -> Float[Array, "batch time2 height2 width2 channels2"]:
    """Return what `convolve_volume` returns, by a 2-D convolution.

    Each frame gets its neighbours in time as further channels, and time joins
    the batch. Made because compilers and LiteRT know 2-D convolutions better:
    3-D gradients in bfloat16 were found 30 times slower in XLA than in PyTorch
    (openxla/xla#34273), and LiteRT's fast kernels leave 3-D ones out.
    """
    long, high, wide, channels, width = kernel.shape
    padded = jnp.pad(x, [(0, 0), (long // 2, long // 2), (0, 0), (0, 0), (0, 0)])
    steps = -(-x.shape[1] // stride[0])
    neighbours = [
        padded[:, shift : shift + (steps - 1) * stride[0] + 1 : stride[0]] for shift in range(long)
    ]
    frames = jnp.concatenate(neighbours, axis=-1).reshape(-1, *x.shape[2:4], long * channels)
    y = jax.lax.conv_general_dilated(
        frames,
        kernel.transpose(1, 2, 0, 3, 4).reshape(high, wide, long * channels, width),
        stride[1:],
        [(high // 2, high // 2), (wide // 2, wide // 2)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y.reshape(x.shape[0], steps, *y.shape[1:])


class AR3(nn.Module):
    """3-D convolutions, activations and pooling; one fully connected layer; the head."""

    num_outputs: int
    """Number of logits."""
    layers: Sequence[VolumeLayer] = LAYERS
    """Convolutions, first to last."""
    hidden: int = 256
    """Width of the fully connected layer: the length of the feature vector."""
    form: Form = "folded"
    """How 3-D convolutions are computed; parameters and results are the same."""
    activation: Activation = "relu"
    """After every normalisation and after the fully connected layer."""
    norm_momentum: float = 0.9
    """Share of the running statistics that a step keeps."""
    dropout: float = 0.3
    """Share of the feature vector that training leaves out."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Compute type; parameters and normalisation statistics stay float32."""

    @nn.compact
    def __call__(self, frames: Float[Array, "batch time height width"], *, train: bool) -> Outputs:
        """Return logits and features of normalised clips.

        Raises:
            UserError: fewer frames, or smaller ones, than the poolings leave a value of.
        """
        smallest = smallest_clip(self.layers)
        if any(side < least for side, least in zip(frames.shape[1:], smallest, strict=True)):
            found, wanted = ("x".join(map(str, sides)) for sides in (frames.shape[1:], smallest))
            raise UserError(
                f"ar3 can't take {found} clips: the smallest is {wanted} (time x height x width)"
            )
        convolve = convolve_folded if self.form == "folded" else convolve_volume
        norm = functools.partial(
            BatchNorm,
            use_running_average=not train,
            momentum=self.norm_momentum,
            epsilon=1e-5,
            dtype=self.dtype,
        )
        x = frames[..., None].astype(self.dtype)
        for number, (width, kernel, stride, pool) in enumerate(self.layers, start=1):
            weights = self.param(
                f"conv{number}_kernel", he_normal, (*kernel, x.shape[-1], width), jnp.float32
            )
            x = convolve(x, jnp.asarray(weights, self.dtype), stride)
            x = activate(norm(name=f"norm{number}")(x), self.activation, f"prelu{number}")
            x = pool_volume(x, pool)
        x = nn.Dense(self.hidden, dtype=self.dtype, kernel_init=he_normal, name="fully_connected")(
            x.reshape(x.shape[0], -1)
        )
        x = activate(x, self.activation, "fully_connected_prelu")
        return Head(self.num_outputs, self.dropout, self.dtype, name="head")(x, train=train)


def pool_volume(
    x: Float[Array, "batch time height width channels"], window: tuple[int, int, int]
) -> Float[Array, "batch time2 height2 width2 channels"]:
    """Return the maximum of each window; time and picture are pooled one after the other.

    The maximum of maxima is the same, and 2-D pooling is what LiteRT has.
    """
    batch, time, height, width, channels = x.shape
    if window[0] > 1:
        steps = time // window[0]
        x = x[:, : steps * window[0]].reshape(batch, steps, window[0], height, width, channels)
        x = x.max(axis=2)
        time = steps
    x = max_pool(x.reshape(batch * time, height, width, channels), window[1:], window[1:])
    return x.reshape(batch, time, *x.shape[1:])


def smallest_clip(layers: Sequence[VolumeLayer]) -> tuple[int, int, int]:
    """Return the least time, height and width of which the layers leave one value."""
    sides = [1, 1, 1]
    for layer in reversed(layers):
        for axis in range(3):
            # Padding keeps the size, so that a stride rounds up and a pooling rounds down.
            sides[axis] = (sides[axis] * layer.pool[axis] - 1) * layer.stride[axis] + 1
    return sides[0], sides[1], sides[2]
