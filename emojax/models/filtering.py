"""Minimal filtering: several results of one small kernel from fewer products than it has weights.

Results that lie beside each other share products: two results of a kernel with three weights need
four products instead of six, four need six instead of twelve. What is multiplied are sums of data
and sums of weights, and results are sums of products. Source: Winograd 1980, Arithmetic Complexity
of Computations; Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks, section 4.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp

Matrix = tuple[tuple[float, ...], ...]

# Small numbers keep the rounding small.
_POINTS = tuple(Fraction(*point) for point in ((0, 1), (1, 1), (-1, 1), (2, 1), (-2, 1), (1, 2)))


class Filtering(NamedTuple):
    """How `outputs` results of a kernel of `taps` weights come from outputs + taps - 1 products.

    results = outputs @ ((weights @ kernel) * (inputs @ data)), in one direction.
    """

    outputs: Matrix
    weights: Matrix
    inputs: Matrix


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
    weights = [[*row[:taps]] for row in at[:-1]] + [
        [Fraction(int(i == taps - 1)) for i in range(taps)]
    ]
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
    return Filtering(
        *(tuple(tuple(map(float, row)) for row in m) for m in (columns, weights, before))
    )


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


def combine(matrix: Matrix, values: Sequence[jax.Array]) -> list[jax.Array]:
    """Return matrix @ values, as sums of whole arrays."""
    combined = []
    for row in matrix:
        terms = [value if f == 1 else value * f for f, value in zip(row, values, strict=True) if f]
        combined.append(functools.reduce(jnp.add, terms))
    return combined
