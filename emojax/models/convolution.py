"""Convolution and max pooling as the networks call them: the usual results, in quicker forms.

What is rewritten here was found in profiles of steps on a CPU and on a GPU, see
docs/performance.md; each form gives the same numbers as the plain one to rounding, gradients
included, and is a standard operation that LiteRT and accelerators know too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int8

from emojax.compiler import is_made_for_litert, keep_in_memory
from emojax.models.cpu_convolution import convolve_on_cpu, has_quick_forms, multiply_channels
from emojax.models.gpu_convolution import convolve_columns, pool_slope, wants_columns
from emojax.models.strided import convolve_squares

Sides = tuple[tuple[int, int], tuple[int, int]]
"""Padding before and behind, of height and of width."""


def convolve(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kernel_height kernel_width channels_in features"],
    window_strides: Sequence[int],
    padding: Any,
    **settings: Any,
) -> Float[Array, "batch height2 width2 features"]:
    """Return a convolution; taps that only ever meet padding are left out.

    On a GPU or TPU it is left to XLA, but for what `gpu_convolution` has a form for. On a CPU,
    where one tap is left, or the kernel fits into its input once, it is a matrix product and
    computed as one. Its gradients are then products as well; as convolutions they would be
    transposed and dilated first. There are more such forms, see `cpu_convolution`.

    Args:
        x: the input.
        kernel: its weights.
        window_strides: of height and width.
        padding: as `lax.conv_general_dilated` takes it.
        settings: the other arguments of `lax.conv_general_dilated`; what Flax's `Conv` gives.
    """
    # Not on a GPU: jaxlib 0.11.2 aborts while it fuses the product of a strided slice there.
    plain = settings.get("feature_group_count", 1) != 1 or not _is_undilated(settings)
    backend = "cpu" if is_made_for_litert() else jax.default_backend()
    columns = not plain and backend == "gpu" and wants_columns(x, kernel)
    if plain or (not columns and backend != "cpu"):
        return lax.conv_general_dilated(x, kernel, window_strides, padding, **settings)
    sizes, strides = x.shape[1:3], (window_strides[0], window_strides[1])
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(sizes, kernel.shape[:2], strides, padding)
    if columns:
        return convolve_columns(x, kernel, strides, padding)
    taps, pads = zip(
        *(_useful_taps(*axis) for axis in zip(sizes, kernel.shape, strides, padding, strict=False)),
        strict=True,
    )
    kernel = kernel[taps[0], taps[1]]
    high, wide = kernel.shape[:2]
    # One example at a time is what an artifact sees: LiteRT's converter trips over products of
    # more than two axes, and LiteRT is quick at convolutions.
    if x.shape[0] > 1 and not any(before or behind for before, behind in pads):
        if high == wide == 1:
            x = x[:, :: strides[0], :: strides[1]]
            return multiply_channels(x, kernel[0, 0])
        if all(
            side < size + stride
            for side, size, stride in zip(sizes, (high, wide), strides, strict=True)
        ):
            seen = x[:, :high, :wide].reshape(x.shape[0], -1)
            return (seen @ kernel.reshape(-1, kernel.shape[-1]))[:, None, None]
    if is_made_for_litert() and strides == (2, 2) and kernel.shape[2] == 1:
        # In int8 a single channel takes the time of eight.
        return convolve_squares(x, kernel, pads)
    if has_quick_forms(x, kernel):
        return convolve_on_cpu(x, kernel, strides, pads, settings)
    return lax.conv_general_dilated(x, kernel, strides, pads, **settings)


def _useful_taps(
    side: int, size: int, stride: int, pads: tuple[int, int]
) -> tuple[slice, tuple[int, int]]:
    """Return the taps of a kernel that meet the input, and the padding that is left for them."""
    before, behind = pads
    if side + before + behind < size:
        return slice(None), pads
    last = (side + before + behind - size) // stride * stride
    first_tap = max(0, before - last)
    end_tap = min(size, before + side)
    return slice(first_tap, end_tap), (before - first_tap, behind - (size - end_tap))


def _is_undilated(settings: dict[str, Any]) -> bool:
    dilations = (settings.get(name) or (1, 1) for name in ("lhs_dilation", "rhs_dilation"))
    return all(set(dilation) == {1} for dilation in dilations)


def max_pool(
    x: Float[Array, "batch height width channels"],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Sides = ((0, 0), (0, 0)),
) -> Float[Array, "batch height2 width2 channels"]:
    """Return the maximum of each window; padding never wins.

    The gradient goes to the first of equal values, as everywhere else. XLA's own gradient
    scatters value by value and takes eight times as long on a CPU.

    Args:
        x: the input.
        window: height and width.
        strides: of height and width.
        padding: of height and width.
    """
    pool = jax.custom_vjp(lambda x: _plain_pool(x, window, strides, padding))
    pool.defvjp(
        lambda x: _pool_forward(x, window, strides, padding),
        lambda kept, slope: _pool_backward(kept, slope, window, strides, padding),
    )
    return cast(jax.Array, pool(x))


def _plain_pool(
    x: jax.Array, window: tuple[int, int], strides: tuple[int, int], padding: Any
) -> jax.Array:
    if is_made_for_litert() and all(max(pads) < 2 for pads in padding):
        # The values at the edge once more, which change no maximum: XNNPACK does not take the
        # padding with the least number in int8, and would hand over and back.
        x = jnp.pad(x, ((0, 0), *padding, (0, 0)), mode="edge")
        padding = "VALID"
    return nn.max_pool(x, window, strides=strides, padding=padding)


def _taps(
    x: Float[Array, "batch height width channels"],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Sides,
    height: int,
    width: int,
) -> Iterator[Float[Array, "batch height2 width2 channels"]]:
    """Yield, for each place in the window, the values that all windows have there."""
    edges = [(0, 0, 0), (*padding[0], 0), (*padding[1], 0), (0, 0, 0)]
    padded = lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), edges)
    for row in range(window[0]):
        for column in range(window[1]):
            yield padded[
                :,
                row : row + (height - 1) * strides[0] + 1 : strides[0],
                column : column + (width - 1) * strides[1] + 1 : strides[1],
            ]


def _pool_forward(
    x: Float[Array, "batch height width channels"],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Sides,
) -> tuple[Any, tuple[Int8[Array, "batch height2 width2 channels"], Any]]:
    sides = [
        (side + sum(pads) - size) // stride + 1
        for side, pads, size, stride in zip(x.shape[1:3], padding, window, strides, strict=True)
    ]
    # The maximum comes out of the same comparisons as its place: looked for afterwards, it may
    # be missing, because compilers round a value that they compute twice in two ways.
    y, *others = _taps(x, window, strides, padding, *sides)
    winner = jnp.zeros(y.shape, jnp.int8)
    for place, tap in enumerate(others, start=1):
        wins = (tap > y) | jnp.isnan(tap)
        y, winner = jnp.where(wins, tap, y), jnp.where(wins, jnp.int8(place), winner)
    # Of x only the shape is needed: an array without values carries it.
    return y, (winner, jnp.zeros((0, *x.shape[1:3]), x.dtype))


def _pool_backward(
    kept: Any, slope: Any, window: tuple[int, int], strides: tuple[int, int], padding: Sides
) -> tuple[Any]:
    winner, shape = kept
    if jax.default_backend() != "cpu":
        return (pool_slope(winner, slope, shape.shape[1:], window, strides, padding),)
    batch, height, width, channels = slope.shape
    sides = [
        -(-(side + sum(pads)) // stride)
        for side, pads, stride in zip(shape.shape[1:], padding, strides, strict=True)
    ]
    zero = jnp.zeros((), slope.dtype)
    # With a border of windows that nothing won, all that follows is slices, which XLA:CPU turns
    # into vector instructions; padding inside the sums it does not.
    back = [(size - 1) // stride for size, stride in zip(window, strides, strict=True)]
    edges = [
        (0, 0, 0),
        (back[0], sides[0] - height, 0),
        (back[1], sides[1] - width, 0),
        (0, 0, 0),
    ]
    slope, winner = keep_in_memory(
        (lax.pad(slope, zero, edges), lax.pad(winner, jnp.int8(-1), edges))
    )
    # Inputs that lie alike between the windows' first values form one picture of the
    # outputs' size: each is a sum of masked slopes, and together they are the gradient.
    rows = []
    for row in range(strides[0]):
        columns = []
        for column in range(strides[1]):
            total = jnp.zeros((batch, *sides, channels), slope.dtype)
            for high in range(row, window[0], strides[0]):
                for wide in range(column, window[1], strides[1]):
                    top, left = back[0] - high // strides[0], back[1] - wide // strides[1]
                    seen = (slice(None), slice(top, top + sides[0]), slice(left, left + sides[1]))
                    won = winner[seen] == high * window[1] + wide
                    total = total + jnp.where(won, slope[seen], zero)
            columns.append(total)
        rows.append(jnp.stack(columns, axis=3))
    whole = jnp.stack(rows, axis=2).reshape(
        batch, sides[0] * strides[0], sides[1] * strides[1], channels
    )
    top, left = padding[0][0], padding[1][0]
    return (whole[:, top : top + shape.shape[1], left : left + shape.shape[2]],)
