"""Convolutions by minimal filtering, against exact arithmetic and the plain convolution."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.models import cpu_convolution, winograd
from emojax.models.convolution import convolve
from emojax.models.filtering import minimal_filtering
from emojax.models.winograd import (
    convolve_span,
    convolve_tiles,
    cut_outputs,
    is_worthwhile,
    spans_its_axis,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (3, 3), (4, 3), (2, 2), (4, 4)])
def test_filtering_is_exact_in_exact_numbers(outputs: int, taps: int) -> None:
    filtering = minimal_filtering(outputs, taps)
    size = outputs + taps - 1
    exact = [
        np.array([[Fraction(value).limit_denominator(10**6) for value in row] for row in matrix])
        for matrix in filtering
    ]
    after, weights, inputs = exact
    assert weights.shape == (size, taps)
    kernel, data = (RNG.integers(-9, 10, count).astype(object) for count in (taps, size))
    found = after @ ((weights @ kernel) * (inputs @ data))
    expected = [sum(kernel * data[start : start + taps]) for start in range(outputs)]
    assert found.tolist() == expected


def plain(x: jax.Array, kernel: jax.Array, pads: Any) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def answer_and_gradients(form: Any, x: np.ndarray, kernel: np.ndarray, *rest: Any) -> list[Any]:
    @jax.jit
    def both(x: jax.Array, kernel: jax.Array) -> list[Any]:
        answer, pull = jax.vjp(lambda x, kernel: form(x, kernel, *rest), x, kernel)
        slope = np.random.default_rng(1).normal(size=answer.shape)
        return [answer, *pull(jnp.asarray(slope, answer.dtype))]

    return both(jnp.asarray(x), jnp.asarray(kernel))


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for left, right in zip(found, expected, strict=True):
        assert left.shape == right.shape
        assert left.dtype == right.dtype
        # Of the largest value: sums cancel, and what is left of them carries their rounding.
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-5 * float(jnp.abs(right).max()))


PADS = [((1, 1), (1, 1)), ((0, 0), (0, 0)), ((0, 1), (2, 0))]


# Every tile that is cut is among them, and outputs that fill their tiles and do not.
@pytest.mark.parametrize(
    ("batch", "size", "pads"),
    [
        (3, (4, 3), PADS[0]),
        (1, (7, 5), PADS[0]),
        (3, (13, 10), PADS[0]),
        (2, (9, 7), PADS[0]),
        (2, (9, 12), PADS[1]),
        (3, (13, 10), PADS[2]),
        (2, (3, 17), PADS[2]),
        (2, (2, 2), PADS[0]),
    ],
)
def test_tiles_and_their_gradients_are_the_plain_ones(
    batch: int, size: tuple[int, int], pads: Any
) -> None:
    x = RNG.normal(size=(batch, *size, 24)).astype(np.float32)
    kernel = RNG.normal(size=(3, 3, 24, 40)).astype(np.float32)
    assert_same(
        answer_and_gradients(convolve_tiles, x, kernel, pads),
        answer_and_gradients(plain, x, kernel, pads),
    )


@pytest.mark.parametrize(("n", "axis"), [*itertools.product([2, 3, 4], [1, 2])])
def test_a_kernel_that_spans_its_axis_and_its_gradients_are_the_plain_ones(
    n: int, axis: int
) -> None:
    size = (n, 5) if axis == 1 else (5, n)
    shape = (2 * n - 1, 1) if axis == 1 else (1, 2 * n - 1)
    pads = ((n - 1, n - 1), (0, 0)) if axis == 1 else ((0, 0), (n - 1, n - 1))
    x = RNG.normal(size=(3, *size, 24)).astype(np.float32)
    kernel = RNG.normal(size=(*shape, 24, 40)).astype(np.float32)
    assert spans_its_axis(x.shape, kernel.shape, pads) == axis
    assert_same(
        answer_and_gradients(convolve_span, x, kernel, axis),
        answer_and_gradients(plain, x, kernel, pads),
    )


@pytest.mark.parametrize(
    ("size", "kernel", "pads"),
    [
        ((4, 3), (1, 3), ((0, 0), (1, 1))),
        ((4, 3), (1, 5), ((0, 0), (3, 1))),
        ((4, 3), (3, 5), ((1, 1), (2, 2))),
        ((1, 1), (1, 1), ((0, 0), (0, 0))),
        ((5, 6), (9, 1), ((4, 4), (0, 0))),
    ],
)
def test_other_kernels_do_not_span_their_axis(
    size: tuple[int, int], kernel: tuple[int, int], pads: Any
) -> None:
    assert spans_its_axis((2, *size, 8), (*kernel, 8, 8), pads) is None


def test_vmapped_and_jitted_it_is_the_same() -> None:
    x = RNG.normal(size=(2, 3, 7, 5, 24)).astype(np.float32)
    kernel = RNG.normal(size=(3, 3, 24, 40)).astype(np.float32)
    found = jax.jit(jax.vmap(lambda x: convolve_tiles(x, jnp.asarray(kernel), PADS[0])))(x)
    each = [plain(jnp.asarray(part), jnp.asarray(kernel), PADS[0]) for part in x]
    assert_same([found], [jnp.stack(each)])


def kinds(x: jax.Array, kernel: jax.Array, strides: tuple[int, int] = (1, 1)) -> set[str]:
    graph = jax.make_jaxpr(
        lambda x, kernel: convolve(
            x, kernel, strides, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )(x, kernel)
    text = str(graph)
    return {name for name in ("conv_general_dilated", "dot_general") if f"{name}[" in text}


@pytest.mark.parametrize(
    ("batch", "dtype", "expected"),
    [
        (32, "float32", "dot_general"),
        # An artifact sees one picture at a time and keeps its convolutions.
        (1, "float32", "conv_general_dilated"),
        (32, "bfloat16", "conv_general_dilated"),
    ],
)
def test_large_convolutions_become_products_on_a_cpu(batch: int, dtype: str, expected: str) -> None:
    x, kernel = jnp.zeros((batch, 13, 10, 256), dtype), jnp.zeros((3, 3, 256, 256), dtype)
    assert kinds(x, kernel) == {expected}


def test_nothing_changes_on_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_convolution.jax, "default_backend", lambda: "gpu")
    x = jnp.zeros((32, 13, 10, 256))
    assert kinds(x, jnp.zeros((3, 3, 256, 256))) == {"conv_general_dilated"}
    x = jnp.zeros((32, 98, 80, 1))
    graph = jax.make_jaxpr(
        lambda x, kernel: convolve(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )(x, jnp.zeros((7, 7, 1, 64)))
    assert [eqn.primitive.name for eqn in graph.jaxpr.eqns] == ["conv_general_dilated"]


def test_small_work_stays_a_convolution() -> None:
    assert is_worthwhile(32, (13, 10), (3, 3, 256, 256))
    assert not is_worthwhile(1, (13, 10), (3, 3, 256, 256))
    assert not is_worthwhile(32, (13, 10), (5, 5, 256, 256))
    # With few channels the sums take longer than a plain convolution.
    assert not is_worthwhile(512, (13, 10), (3, 3, 128, 256))
    # Few tiles, many weights: summing the weights costs more than it saves.
    assert not is_worthwhile(8, (4, 3), (3, 3, 1024, 1024))


def test_every_size_of_tile_is_cut() -> None:
    sizes = [(4, 3), (7, 5), (13, 10), (25, 20), (9, 7), (2, 2)]
    assert {cut_outputs(size, (3, 3)).size for size in sizes} == set(winograd._TILES)
