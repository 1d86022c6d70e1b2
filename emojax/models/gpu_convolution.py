"""What a GPU is given instead of a convolution of one channel and of max pooling's gradient.

Found in profiles of training steps on an H200 and an H100, see docs/performance.md.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int8

Sides = tuple[tuple[int, int], tuple[int, int]]
"""Padding before and behind, of height and of width."""

_LANES = 8
"""Channels of half precision that tensor cores take at a time, and multiples of it."""


def wants_columns(x: jax.Array, kernel: jax.Array) -> bool:
    """Return whether there are too few channels for tensor cores, and columns to make up for it."""
    return x.shape[-1] * 2 < _LANES and kernel.shape[1] > 1 and x.dtype.itemsize == 2


def convolve_columns(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    strides: tuple[int, int],
    pads: Any,
) -> Float[Array, "batch height2 width2 features"]:
    """Return a convolution of few channels, the columns that a kernel sees being its channels.

    cuDNN multiplies a single channel without tensor cores. Seven columns of it, beside each
    other, are seven channels, and one of zeros makes them eight.

    Args:
        x: the input.
        kernel: its weights.
        strides: of height and width.
        pads: before and behind, of height and width.
    """
    high, wide, channels, features = kernel.shape
    x = jnp.pad(x, ((0, 0), pads[0], pads[1], (0, 0)))
    places = (x.shape[2] - wide) // strides[1] + 1
    columns = [
        x[:, :, first : first + (places - 1) * strides[1] + 1 : strides[1]] for first in range(wide)
    ]
    surplus = -wide * channels % _LANES
    if surplus:
        columns.append(jnp.zeros((*columns[0].shape[:3], surplus), x.dtype))
    kernel = kernel.reshape(high, 1, wide * channels, features)
    return lax.conv_general_dilated(
        jnp.concatenate(columns, axis=-1),
        jnp.pad(kernel, ((0, 0), (0, 0), (0, surplus), (0, 0))),
        (strides[0], 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def pool_slope(
    winner: Int8[Array, "batch height2 width2 channels"],
    slope: Float[Array, "batch height2 width2 channels"],
    sides: tuple[int, ...],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Sides,
) -> Float[Array, "batch height width channels"]:
    """Return the gradient of max pooling's input, each value by itself: one kernel, no scatter.

    A value lies in one to `ceil(window / stride)` windows of an axis, whose numbers and its place
    in them follow from where it lies.

    Args:
        winner: place in each window, row by row, of the value that won.
        slope: gradient of the output.
        sides: height and width of the input.
        window: height and width.
        strides: of height and width.
        padding: of height and width.
    """
    counts = slope.shape[1:3]
    backs = [-(-size // stride) for size, stride in zip(window, strides, strict=True)]
    # The last window that a value can lie in, and its place there.
    lasts, places = zip(
        *(
            divmod(np.arange(side) + before, stride)
            for side, (before, _), stride in zip(sides, padding, strides, strict=True)
        ),
        strict=True,
    )
    spans = [int(last[-1]) + 1 for last in lasts]
    edges = [
        (back - 1, max(0, span - count))
        for back, span, count in zip(backs, spans, counts, strict=True)
    ]
    # Windows that are not there were won by nobody.
    slope = jnp.pad(slope, ((0, 0), *edges, (0, 0)))
    winner = jnp.pad(winner, ((0, 0), *edges, (0, 0)), constant_values=-1)
    total = jnp.zeros((), slope.dtype)
    for up in range(backs[0]):
        for left in range(backs[1]):
            row, column = places[0] + up * strides[0], places[1] + left * strides[1]
            place = np.where(
                (row < window[0])[:, None] & (column < window[1]),
                row[:, None] * window[1] + column,
                -2,
            )
            starts = backs[0] - 1 - up, backs[1] - 1 - left
            won, given = (
                _spread(values, starts, spans, strides, sides, padding)
                for values in (winner, slope)
            )
            mine = won == jnp.asarray(place[None, :, :, None], jnp.int8)
            total = total + jnp.where(mine, given, jnp.zeros((), slope.dtype))
    return total


def _spread(
    values: jax.Array,
    starts: tuple[int, int],
    spans: list[int],
    strides: tuple[int, int],
    sides: tuple[int, ...],
    padding: Sides,
) -> jax.Array:
    """Return for each input value what its window has: numbers of windows, repeated."""
    seen = values[:, starts[0] : starts[0] + spans[0], starts[1] : starts[1] + spans[1]]
    for axis in (1, 2):
        seen = jnp.repeat(seen, strides[axis - 1], axis)
    top, left = padding[0][0], padding[1][0]
    return seen[:, top : top + sides[0], left : left + sides[1]]
