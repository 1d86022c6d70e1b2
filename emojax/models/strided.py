"""Convolutions with a stride, on a CPU: what XLA spends most on, in quicker forms.

Its gradient of the input is a convolution with zeros between the slopes, of which it multiplies
each, and its convolution of a single channel can't use vectors. See docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from emojax.compiler import keep_in_memory

Sides = tuple[tuple[int, int], tuple[int, int]]
"""Padding before and behind, of height and of width."""


def convolve_squares(
    x: Float[Array, "batch height width 1"],
    kernel: Float[Array, "kernel_height kernel_width 1 features"],
    pads: Sides,
) -> Float[Array, "batch height2 width2 features"]:
    """Return the convolution with stride 2 of a single channel.

    Each square of 2 x 2 values becomes one place with four channels, and the kernel likewise,
    zeros added where its sides are odd: a convolution with stride 1.
    """
    outputs = [
        (side + sum(axis) - taps) // 2 + 1
        for side, axis, taps in zip(x.shape[1:3], pads, kernel.shape, strict=False)
    ]
    halves = [(taps + 1) // 2 for taps in kernel.shape[:2]]
    squares = [output + half - 1 for output, half in zip(outputs, halves, strict=True)]
    edges = [
        (before, 2 * count - side - before, 0)
        for (before, _), count, side in zip(pads, squares, x.shape[1:3], strict=True)
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    x = x.reshape(x.shape[0], squares[0], 2, squares[1], 2).transpose(0, 1, 3, 2, 4)
    edges = [(0, taps % 2, 0) for taps in kernel.shape[:2]]
    kernel = lax.pad(kernel, jnp.zeros((), kernel.dtype), [*edges, (0, 0, 0), (0, 0, 0)])
    kernel = kernel.reshape(halves[0], 2, halves[1], 2, -1).transpose(0, 2, 1, 3, 4)
    return lax.conv_general_dilated(
        x.reshape(*x.shape[:3], 4),
        kernel.reshape(*halves, 4, -1),
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def with_slope_by_taps(
    plain: Callable[[jax.Array, jax.Array], jax.Array], strides: tuple[int, int], pads: Sides
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return a convolution whose gradient of the input is one matrix product for each weight.

    Args:
        plain: the convolution, of input and kernel.
        strides: its strides.
        pads: its padding.
    """

    def backward(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> Any:
        x, slope = keep_in_memory((kept[0], slope))
        kernel = kept[1]
        (kernel_slope,) = jax.vjp(lambda kernel: plain(x, kernel), kernel)[1](slope)
        return _input_slope(x, kernel, slope, strides, pads), kernel_slope

    convolution = jax.custom_vjp(plain)
    convolution.defvjp(lambda x, kernel: (plain(x, kernel), (x, kernel)), backward)
    return cast(Any, convolution)


def _input_slope(
    x: jax.Array, kernel: jax.Array, slope: jax.Array, strides: tuple[int, int], pads: Sides
) -> Float[Array, "batch height width channels"]:
    total = jnp.zeros_like(x)
    for row in range(kernel.shape[0]):
        down = _reached(row, x.shape[1], slope.shape[1], strides[0], pads[0][0])
        for column in range(kernel.shape[1]):
            across = _reached(column, x.shape[2], slope.shape[2], strides[1], pads[1][0])
            if down is None or across is None:
                continue
            seen = slope[:, down[0], across[0]]
            part = jnp.einsum("bhwo,io->bhwi", seen, kernel[row, column])
            edges = [(0, 0, 0), down[1], across[1], (0, 0, 0)]
            total = total + lax.pad(part, jnp.zeros((), part.dtype), edges)
    return total


def _reached(
    tap: int, side: int, outputs: int, stride: int, before: int
) -> tuple[slice, tuple[int, int, int]] | None:
    """Return the outputs for which a weight meets the input, and how they lie in it."""
    first = max(0, -((tap - before) // stride))
    end = min(outputs, (side - 1 + before - tap) // stride + 1)
    if end <= first:
        return None
    start = first * stride + tap - before
    covered = (end - first - 1) * stride + 1
    return slice(first, end), (start, side - start - covered, stride - 1)
