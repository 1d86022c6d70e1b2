"""Strided convolutions in their forms for a CPU, against the plain ones."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.models.strided import convolve_squares, with_slope_by_taps

RNG = np.random.default_rng(0)


def plain(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Any) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def answer_and_gradients(form: Any, x: np.ndarray, kernel: np.ndarray) -> list[Any]:
    @jax.jit
    def both(x: jax.Array, kernel: jax.Array) -> list[Any]:
        answer, pull = jax.vjp(form, x, kernel)
        slope = np.random.default_rng(1).normal(size=answer.shape)
        return [answer, *pull(jnp.asarray(slope, answer.dtype))]

    return both(jnp.asarray(x), jnp.asarray(kernel))


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for left, right in zip(found, expected, strict=True):
        assert left.shape == right.shape
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-5 * float(jnp.abs(right).max()))


@pytest.mark.parametrize(
    ("size", "taps", "pads"),
    [
        ((8, 8), (3, 3), ((0, 0), (0, 0))),
        ((9, 8), (3, 3), ((1, 1), (1, 1))),
        ((12, 7), (7, 7), ((3, 3), (3, 3))),
        ((11, 13), (7, 7), ((3, 3), (2, 0))),
        ((9, 8), (4, 5), ((0, 2), (1, 3))),
    ],
)
def test_a_single_channel_in_squares(
    size: tuple[int, int], taps: tuple[int, int], pads: Any
) -> None:
    x = RNG.normal(size=(2, *size, 1)).astype(np.float32)
    kernel = RNG.normal(size=(*taps, 1, 6)).astype(np.float32)
    assert_same(
        answer_and_gradients(lambda x, kernel: convolve_squares(x, kernel, pads), x, kernel),
        answer_and_gradients(lambda x, kernel: plain(x, kernel, (2, 2), pads), x, kernel),
    )


@pytest.mark.parametrize(
    ("size", "taps", "strides", "pads"),
    [
        ((8, 8), (3, 3), (2, 2), ((0, 0), (0, 0))),
        ((9, 7), (3, 3), (2, 2), ((1, 1), (1, 1))),
        ((3, 4), (3, 3), (2, 2), ((1, 1), (1, 1))),
        # Weights that meet nothing but padding, in some places or everywhere.
        ((3, 4), (3, 3), (2, 2), ((3, 3), (2, 0))),
        ((2, 4), (5, 3), (2, 2), ((4, 1), (0, 0))),
        ((9, 8), (2, 5), (3, 2), ((0, 2), (1, 3))),
        ((8, 8), (1, 1), (2, 2), ((0, 0), (0, 0))),
    ],
)
def test_the_slope_of_the_input_by_taps(
    size: tuple[int, int], taps: tuple[int, int], strides: tuple[int, int], pads: Any
) -> None:
    x = RNG.normal(size=(2, *size, 5)).astype(np.float32)
    kernel = RNG.normal(size=(*taps, 5, 6)).astype(np.float32)

    def form(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return plain(x, kernel, strides, pads)

    assert_same(
        answer_and_gradients(with_slope_by_taps(form, strides, pads), x, kernel),
        answer_and_gradients(form, x, kernel),
    )
