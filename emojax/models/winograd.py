"""Convolutions on a CPU as fewer multiplications: minimal filtering, after Winograd.

Several outputs that lie beside each other share products: two outputs of a kernel with three
weights need four products instead of six, four need six instead of twelve. In two directions the
savings multiply. What is multiplied are sums of inputs and sums of weights, made beforehand, and
outputs are sums of products: the products of all tiles are one matrix product for each place in a
tile, over the channels. Rounding is that of a plain convolution times two to ten, see
tests/models/test_winograd.py. Source: Lavin and Gray 2016, Fast Algorithms for Convolutional
Neural Networks, sections 3 and 4.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Sides = tuple[tuple[int, int], tuple[int, int]]
"""Padding before and behind, of height and of width."""

Matrix = tuple[tuple[float, ...], ...]

# Small numbers keep the rounding small: source, Barabasz et al. 2020, table 1.
_POINTS = tuple(Fraction(*point) for point in ((0, 1), (1, 1), (-1, 1), (2, 1), (-2, 1), (1, 2)))
_TILES = ((2, 2), (2, 3), (3, 2), (2, 4), (4, 2))
"""Outputs of a tile, height and width; larger ones round worse and spend more on sums."""
_LEAST_WORK = 1e8
"""Multiply-accumulates below which the sums cost more than the products save."""
_LEAST_ROWS = 64
"""Tiles below which summing the weights costs more than the products save."""


class Filtering(NamedTuple):
    """How `outputs` results of a kernel of `taps` weights come from outputs + taps - 1 products.

    outputs = after @ ((weights @ kernel) * (before @ data)), in one direction.
    """

    after: Matrix
    weights: Matrix
    before: Matrix


@functools.cache
def minimal_filtering(outputs: int, taps: int) -> Filtering:
    """Return Winograd's matrices.

    They are Toom and Cook's multiplication of polynomials, transposed: a polynomial of degree n
    is known from n points and its leading coefficient (the point at infinity).
    """
    size = outputs + taps - 1
    points = _POINTS[: size - 1]
    at = [[point**power for power in range(size)] for point in points]
    at.append([Fraction(int(power == size - 1)) for power in range(size)])
    inverse = _invert(at)
    before = [[inverse[column][row] for column in range(size)] for row in range(size)]
    weights = [[*row[:taps]] for row in at[:-1]] + [[Fraction(int(i == taps - 1)) for i in range(taps)]]
    after = [[*row[:outputs]] for row in at[:-1]]
    after.append([Fraction(int(i == outputs - 1)) for i in range(outputs)])
    # Whole numbers before the products, the fractions with the weights: fewer roundings.
    for row in range(size):
        scale = Fraction(
            math.lcm(*(value.denominator for value in before[row])),
            math.gcd(*(value.numerator for value in before[row])),
        )
        before[row] = [value * scale for value in before[row]]
        weights[row] = [value / scale for value in weights[row]]
    columns = [[row[output] for row in after] for output in range(outputs)]
    return Filtering(*(tuple(tuple(map(float, row)) for row in m) for m in (columns, weights, before)))


def _invert(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(row for row in range(column, size) if rows[row][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for row in range(size):
            if row != column:
                factor = rows[row][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [row[size:] for row in rows]


def _combine(matrix: Matrix, values: Sequence[jax.Array]) -> list[jax.Array]:
    """Return matrix @ values, as sums of whole arrays."""
    combined = []
    for row in matrix:
        terms = [value if f == 1 else value * f for f, value in zip(row, values, strict=True) if f]
        combined.append(functools.reduce(jnp.add, terms))
    return combined


def _transpose(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


class Plan(NamedTuple):
    """Tiles of one convolution."""

    pads: Sides
    outputs: tuple[int, int]
    """Of the convolution."""
    tile: tuple[int, int]
    """Outputs of a tile."""
    taps: tuple[int, int]
    """Of the kernel."""

    @property
    def counts(self) -> tuple[int, int]:
        """Tiles down and across."""
        return cast(Any, tuple(-(-o // t) for o, t in zip(self.outputs, self.tile, strict=True)))

    @property
    def filters(self) -> tuple[Filtering, Filtering]:
        """Down and across."""
        return cast(Any, tuple(map(minimal_filtering, self.tile, self.taps)))


def choose_tile(outputs: tuple[int, int], taps: tuple[int, int]) -> tuple[int, int]:
    """Return the tile with the fewest products for outputs of that height and width."""

    def products(tile: tuple[int, int]) -> int:
        sides = zip(outputs, tile, taps, strict=True)
        return math.prod(-(-side // count) * (count + tap - 1) for side, count, tap in sides)

    return min(_TILES, key=products)


def is_worthwhile(batch: int, outputs: tuple[int, int], kernel: tuple[int, ...]) -> bool:
    """Return whether a convolution with stride 1 is quicker here than as XLA:CPU computes it."""
    if kernel[:2] != (3, 3) or min(kernel[2:]) < 32 or min(outputs) < 2:
        return False
    plan = Plan(((0, 0), (0, 0)), outputs, choose_tile(outputs, (3, 3)), (3, 3))
    work = batch * math.prod(outputs) * math.prod(kernel)
    return work >= _LEAST_WORK and batch * math.prod(plan.counts) >= _LEAST_ROWS


def convolve_tiles(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    pads: Sides,
) -> Float[Array, "batch height2 width2 features"]:
    """Return a convolution with stride 1.

    The gradient of the input is such a convolution too, with the kernel turned round; that of the
    weights is made of the same products with the tiles summed over. Neither transposes anything.
    """
    tiled = jax.custom_vjp(lambda x, kernel: _products(x, kernel, pads, turned=False))
    tiled.defvjp(
        lambda x, kernel: (_products(x, kernel, pads, turned=False), (x, kernel)),
        lambda kept, slope: (
            _products(slope, kept[1], _turn(pads, kept[1].shape[:2]), turned=True),
            _weights_slope(kept[0], slope, kept[1].shape[:2], pads),
        ),
    )
    return cast(jax.Array, tiled(x, kernel))


def _turn(pads: Sides, taps: tuple[int, int]) -> Sides:
    return cast(Any, tuple((t - 1 - a, t - 1 - b) for t, (a, b) in zip(taps, pads, strict=True)))


def _plan(x: jax.Array, taps: tuple[int, int], pads: Sides) -> Plan:
    outputs = cast(
        Any,
        tuple(n + sum(p) - t + 1 for n, p, t in zip(x.shape[1:3], pads, taps, strict=True)),
    )
    return Plan(pads, outputs, choose_tile(outputs, taps), taps)


def _cut(
    x: jax.Array, plan: Plan, edges: Sides, sizes: tuple[int, int], sums: tuple[Matrix, Matrix]
) -> list[list[jax.Array]]:
    """Return, for each place in a tile, the summed values of all tiles: tiles x channels."""
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (*edges[0], 0), (*edges[1], 0), (0, 0, 0)])
    (down, across), (high, wide) = plan.counts, plan.tile
    rows = [x[:, i : i + (down - 1) * high + 1 : high] for i in range(sizes[0])]
    return [
        _combine(
            sums[1],
            [
                row[:, :, j : j + (across - 1) * wide + 1 : wide].reshape(-1, x.shape[-1])
                for j in range(sizes[1])
            ],
        )
        for row in _combine(sums[0], rows)
    ]


def _cut_input(x: jax.Array, plan: Plan) -> list[list[jax.Array]]:
    edges, sizes = [], []
    for (before, behind), outputs, tile, taps, count in zip(
        plan.pads, plan.outputs, plan.tile, plan.taps, plan.counts, strict=True
    ):
        edges.append((before, behind + count * tile - outputs))
        sizes.append(tile + taps - 1)
    down, across = plan.filters
    return _cut(x, plan, cast(Any, edges), cast(Any, sizes), (down.before, across.before))


def _products(x: jax.Array, kernel: jax.Array, pads: Sides, *, turned: bool) -> jax.Array:
    """Return the convolution; turned: with the kernel upside down and its channels exchanged."""
    if turned:
        kernel = kernel[::-1, ::-1]
    plan = _plan(x, cast(Any, kernel.shape[:2]), pads)
    down, across = plan.filters
    weights = [
        _combine(across.weights, list(row))
        for row in zip(*(_combine(down.weights, list(kernel[:, j])) for j in range(plan.taps[1])), strict=True)
    ]
    contracted = (((1,), (1 if turned else 0,)), ((), ()))
    products = [
        [lax.dot_general(left, right, contracted) for left, right in zip(*pair, strict=True)]
        for pair in zip(_cut_input(x, plan), weights, strict=True)
    ]
    columns = zip(*(_combine(across.after, row) for row in products), strict=True)
    parts = [_combine(down.after, column) for column in columns]
    shape = (x.shape[0], *plan.counts, -1)
    y = jnp.stack(
        [jnp.stack([part.reshape(shape) for part in row], axis=3) for row in zip(*parts, strict=True)],
        axis=2,
    )
    sides = [count * tile for count, tile in zip(plan.counts, plan.tile, strict=True)]
    return y.reshape(x.shape[0], *sides, y.shape[-1])[:, : plan.outputs[0], : plan.outputs[1]]


def _weights_slope(
    x: jax.Array, slope: jax.Array, taps: tuple[int, int], pads: Sides
) -> Float[Array, "kernel_height kernel_width channels features"]:
    plan = _plan(x, taps, pads)
    down, across = plan.filters
    edges = [(0, c * t - o) for c, t, o in zip(plan.counts, plan.tile, plan.outputs, strict=True)]
    slopes = _cut(
        slope, plan, cast(Any, edges), plan.tile, (_transpose(down.after), _transpose(across.after))
    )
    summed = (((0,), (0,)), ((), ()))
    products = [
        [lax.dot_general(left, right, summed) for left, right in zip(*pair, strict=True)]
        for pair in zip(_cut_input(x, plan), slopes, strict=True)
    ]
    columns = zip(*(_combine(_transpose(across.weights), row) for row in products), strict=True)
    return jnp.stack(
        [jnp.stack(_combine(_transpose(down.weights), column)) for column in columns], axis=1
    )


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
            _combine(filtering.weights, flat),
            _combine(filtering.before, list(weights[::-1])),
            strict=True,
        )
    ]
    outputs = _combine(filtering.after, products)
    return jnp.stack([output.reshape(*places, -1) for output in outputs], axis)

