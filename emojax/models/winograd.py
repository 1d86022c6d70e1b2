"""Convolutions on a CPU as fewer multiplications: minimal filtering in two directions.

What is multiplied are sums of inputs and sums of weights, made beforehand: for each place in a
tile of outputs one matrix product over the channels, of all tiles at once. A tile of 4 x 2 outputs
takes 24 products where a 3 x 3 kernel has 72. Rounding is that of a plain convolution times two to
ten, see tests/models/test_winograd.py. Source: Lavin and Gray 2016, Fast Algorithms for
Convolutional Neural Networks, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from emojax.compiler import keep_in_memory
from emojax.models.filtering import Filtering, Matrix, combine, minimal_filtering

Sides = tuple[tuple[int, int], tuple[int, int]]
"""Padding before and behind, of height and of width."""

_TILES = ((2, 2), (2, 3), (3, 2), (2, 4), (4, 2))
"""Outputs of a tile, height and width; larger ones round worse and spend more on sums."""
_LEAST_WORK = 1e8
"""Multiply-accumulates below which the sums cost more than the products save."""
_LEAST_CHANNELS = 192
"""Of input and output; with fewer, moving the sums costs more than the products save."""
_LEAST_TILES = 64
"""Tiles of a batch below which summing the weights costs more than the products save."""
_MANY_WEIGHTS = 2**16
"""Of a tap, from which on their sums are made place by place."""
_FEW_TILES = 4
"""Times as many channels as tiles, from which on a kernel's slope is one product of all places."""


class Tiles(NamedTuple):
    """How the outputs of one convolution are cut into tiles."""

    outputs: tuple[int, int]
    """Of the convolution: height and width, and so below."""
    size: tuple[int, int]
    """Outputs of a tile."""
    taps: tuple[int, int]
    """Of the kernel."""

    @property
    def counts(self) -> tuple[int, int]:
        """Tiles down and across."""
        return cast(Any, tuple(-(-o // t) for o, t in zip(self.outputs, self.size, strict=True)))

    @property
    def reach(self) -> tuple[int, int]:
        """Inputs that a tile sees, as many as it takes products."""
        return self.size[0] + self.taps[0] - 1, self.size[1] + self.taps[1] - 1

    @property
    def filters(self) -> tuple[Filtering, Filtering]:
        """Down and across."""
        return cast(Any, tuple(map(minimal_filtering, self.size, self.taps)))


def cut_outputs(outputs: tuple[int, int], taps: tuple[int, int]) -> Tiles:
    """Return the tiles that take the fewest products."""
    cuts = [Tiles(outputs, size, taps) for size in _TILES]
    return min(cuts, key=lambda tiles: math.prod((*tiles.counts, *tiles.reach)))


def is_worthwhile(batch: int, outputs: tuple[int, int], kernel: Sequence[int]) -> bool:
    """Return whether a convolution with stride 1 is quicker here than as XLA:CPU computes it."""
    if tuple(kernel[:2]) != (3, 3) or min(kernel[2:]) < _LEAST_CHANNELS or min(outputs) < 2:
        return False
    tiles = batch * math.prod(cut_outputs(outputs, (3, 3)).counts)
    return batch * math.prod(outputs) * math.prod(kernel) >= _LEAST_WORK and tiles >= _LEAST_TILES


def convolve_tiles(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    pads: Sides,
) -> Float[Array, "batch height2 width2 features"]:
    """Return a convolution with stride 1.

    The gradient of the input is such a convolution too, with the kernel turned round; that of the
    weights is made of the same products with the tiles summed over. Neither transposes a kernel,
    which is what XLA spends most time on.
    """
    tiled = jax.custom_vjp(lambda x, kernel: _outputs(x, kernel, pads, turned=False))
    tiled.defvjp(
        lambda x, kernel: (_outputs(x, kernel, pads, turned=False), (x, kernel)),
        lambda kept, slope: (
            _outputs(slope, kept[1], _turned(pads, kept[1].shape), turned=True),
            _kernel_slope(kept[0], slope, kept[1].shape[:2], pads),
        ),
    )
    return cast(jax.Array, tiled(x, kernel))


def _turned(pads: Sides, taps: Sequence[int]) -> Sides:
    return cast(Any, tuple((t - 1 - a, t - 1 - b) for (a, b), t in zip(pads, taps, strict=False)))


def _tiles(x: jax.Array, taps: tuple[int, int], pads: Sides) -> Tiles:
    outputs = [n + sum(p) - t + 1 for n, p, t in zip(x.shape[1:3], pads, taps, strict=True)]
    return cut_outputs(cast(Any, tuple(outputs)), taps)


def _both(down: Matrix, across: Matrix, dtype: Any) -> jax.Array:
    """Return the matrix for both directions, of pictures written row after row."""
    return jnp.asarray(np.kron(np.asarray(down), np.asarray(across)), dtype)


def _inputs(x: jax.Array, tiles: Tiles, pads: Sides) -> list[jax.Array]:
    """Return what is multiplied, for each place down: places across x tiles x channels."""
    (counts, size, reach), (down, across) = (tiles.counts, tiles.size, tiles.reach), tiles.filters
    edges = [
        (before, behind + count * tile - outputs, 0)
        for (before, behind), count, tile, outputs in zip(
            pads, counts, size, tiles.outputs, strict=True
        )
    ]
    x = lax.pad(keep_in_memory(x), jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    columns = [x[:, :, j : j + (counts[1] - 1) * size[1] + 1 : size[1]] for j in range(reach[1])]
    summed = jnp.stack(combine(across.inputs, columns))
    rows = [
        summed[:, :, i : i + (counts[0] - 1) * size[0] + 1 : size[0]].reshape(
            reach[1], -1, x.shape[-1]
        )
        for i in range(reach[0])
    ]
    return combine(down.inputs, rows)


def _outputs(x: jax.Array, kernel: jax.Array, pads: Sides, *, turned: bool) -> jax.Array:
    """Return the convolution; turned: with the kernel upside down and its channels exchanged."""
    tiles = _tiles(x, cast(Any, kernel.shape[:2]), pads)
    down, across = tiles.filters
    order = slice(None, None, -1 if turned else 1)
    sums = _both(down.weights, across.weights, kernel.dtype)[:, order]
    contracted = (((2,), (2 if turned else 1,)), ((0,), (0,)))
    values = _inputs(x, tiles, pads)
    if values[0].shape[1] <= min(kernel.shape[2:]):
        # The weights are the larger part here: their sums are made at once and never cut.
        weights = (sums @ kernel.reshape(sums.shape[1], -1)).reshape(-1, *kernel.shape[2:])
        products = lax.dot_general(jnp.concatenate(values), weights, contracted)
    else:
        products = jnp.stack(
            [
                lax.dot_general(row, weights, contracted)
                for row, weights in zip(values, _weights(kernel, sums, tiles), strict=True)
            ]
        )
    sums = _both(down.outputs, across.outputs, x.dtype)
    y = sums @ products.reshape(sums.shape[1], -1)
    y = y.reshape(*tiles.size, x.shape[0], *tiles.counts, products.shape[-1])
    sides = [count * size for count, size in zip(tiles.counts, tiles.size, strict=True)]
    y = y.transpose(2, 3, 0, 4, 1, 5).reshape(x.shape[0], *sides, y.shape[-1])
    return y[:, : tiles.outputs[0], : tiles.outputs[1]]


def _weights(kernel: jax.Array, sums: jax.Array, tiles: Tiles) -> list[jax.Array]:
    """Return what inputs are multiplied with, for each place down: places across x channels."""
    down, across = tiles.reach
    flat, shape = kernel.reshape(sums.shape[1], -1), (across, *kernel.shape[2:])
    if math.prod(kernel.shape[2:]) >= _MANY_WEIGHTS:
        # A slice of all sums would be a copy, of megabytes here.
        return [(sums[i * across : (i + 1) * across] @ flat).reshape(shape) for i in range(down)]
    return list((sums @ flat).reshape(down, *shape))


def _kernel_slope(
    x: jax.Array, slope: jax.Array, taps: tuple[int, int], pads: Sides
) -> Float[Array, "kernel_height kernel_width channels features"]:
    tiles = _tiles(x, taps, pads)
    down, across = tiles.filters
    edges = [
        (0, count * size - outputs, 0)
        for count, size, outputs in zip(tiles.counts, tiles.size, tiles.outputs, strict=True)
    ]
    slope = lax.pad(slope, jnp.zeros((), slope.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    (high, wide), (below, beside) = tiles.size, tiles.counts
    slope = slope.reshape(slope.shape[0], below, high, beside, wide, slope.shape[-1])
    parts = slope.transpose(2, 4, 0, 1, 3, 5)
    sums = _both(down.outputs, across.outputs, slope.dtype).T
    slopes = (sums @ parts.reshape(sums.shape[1], -1)).reshape(*tiles.reach, -1, slope.shape[-1])
    summed = (((1,), (1,)), ((0,), (0,)))
    values = _inputs(x, tiles, pads)
    if _FEW_TILES * slopes.shape[2] <= min(x.shape[-1], slope.shape[-1]):
        # The products are the larger part here, and stacking them would be a copy.
        slopes = slopes.reshape(-1, *slopes.shape[2:])
        products = lax.dot_general(jnp.concatenate(values), slopes, summed)
    else:
        products = jnp.stack(
            [lax.dot_general(row, slopes[place], summed) for place, row in enumerate(values)]
        )
    sums = _both(down.weights, across.weights, x.dtype).T
    return (sums @ products.reshape(sums.shape[1], -1)).reshape(*taps, x.shape[-1], -1)


def spans_its_axis(shape: Sequence[int], kernel: Sequence[int], pads: Sides) -> int | None:
    """Return the axis along which a kernel, one weight across, sees every value from every place.

    Such a kernel has 2n - 1 weights over n values, padding n - 1; None: it is not one.
    """
    for axis in (1, 2):
        n = shape[axis]
        if (
            2 <= n <= 4
            and kernel[axis - 1] == 2 * n - 1
            and kernel[2 - axis] == 1
            and tuple(pads[axis - 1]) == (n - 1, n - 1)
            and tuple(pads[2 - axis]) == (0, 0)
        ):
            return axis
    return None


def convolve_span(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    axis: int,
) -> Float[Array, "batch height width features"]:
    """Return a convolution whose kernel spans an axis, see `spans_its_axis`.

    Inputs and weights change places: the n inputs are the kernel of a minimal filtering and the
    2n - 1 weights its data, so that n outputs take 2n - 1 products instead of n * n.
    """
    n = x.shape[axis]
    filtering = minimal_filtering(n, n)
    values = [lax.index_in_dim(x, i, axis, keepdims=False) for i in reversed(range(n))]
    places = values[0].shape[:-1]
    flat = [value.reshape(-1, value.shape[-1]) for value in values]
    weights = kernel.reshape(-1, *kernel.shape[2:])
    products = [
        left @ right
        for left, right in zip(
            combine(filtering.weights, flat),
            combine(filtering.inputs, list(weights[::-1])),
            strict=True,
        )
    ]
    outputs = combine(filtering.outputs, products)
    return jnp.stack([output.reshape(*places, -1) for output in outputs], axis)
