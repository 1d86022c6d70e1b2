"""Convolution and pooling in their quicker forms, against the plain ones."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from emojax.compiler import made_for_litert
from emojax.models.convolution import convolve, max_pool
from emojax.models.layers import ConvNorm, average_pool
from emojax.models.normalisation import BatchNorm

RNG = np.random.default_rng(0)
CASES = [
    # height, width, kernel, strides, padding
    *itertools.product([(5, 4)], [(1, 1), (3, 3), (1, 7), (7, 1)], [(1, 1)], ["SAME"]),
    *itertools.product([(6, 5)], [(1, 1), (3, 2), (5, 5)], [(1, 1), (2, 2)], ["VALID"]),
    # Kernels that are larger than what they look at: taps that only meet padding.
    *itertools.product(
        [(1, 1), (4, 3), (2, 6)], [(1, 3), (3, 1), (7, 1), (1, 7)], [(1, 1)], ["SAME"]
    ),
    # One value is left.
    ((4, 3), (3, 3), (2, 2), "VALID"),
    ((3, 4), (3, 3), (2, 2), "VALID"),
    ((3, 3), (3, 3), (1, 1), "VALID"),
    # ResNet's.
    ((9, 8), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((9, 8), (7, 7), (2, 2), ((3, 3), (3, 3))),
    ((9, 8), (1, 1), (2, 2), ((0, 0), (0, 0))),
]


def run(function: Any, *inputs: jax.Array) -> list[jax.Array]:
    """The answer, and the gradients of its product with noise."""

    @jax.jit
    def both(*inputs: jax.Array) -> list[jax.Array]:
        answer, pull = jax.vjp(function, *inputs)
        noise = jnp.asarray(np.random.default_rng(1).normal(size=answer.shape), answer.dtype)
        return [answer, *pull(noise)]

    return both(*inputs)


@pytest.mark.parametrize(("size", "kernel", "strides", "padding"), CASES)
def test_convolution_and_gradients_are_the_plain_ones(
    size: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], padding: Any
) -> None:
    x = jnp.asarray(RNG.normal(size=(2, *size, 3)), jnp.float32)
    weights = jnp.asarray(RNG.normal(size=(*kernel, 3, 4)), jnp.float32)
    axes = jax.lax.conv_dimension_numbers(x.shape, weights.shape, ("NHWC", "HWIO", "NHWC"))
    found, expected = (
        run(
            lambda x, weights, form=form: form(
                x, weights, strides, padding, dimension_numbers=axes
            ),
            x,
            weights,
        )
        for form in (convolve, jax.lax.conv_general_dilated)
    )
    for left, right in zip(found, expected, strict=True):
        assert left.shape == right.shape
        np.testing.assert_allclose(left, right, atol=2e-5)


def operations(function: Any, *inputs: jax.Array) -> set[str]:
    def walk(graph: Any) -> set[str]:
        inside = [walk(inner) for eqn in graph.eqns for inner in jaxprs_in_params(eqn.params)]
        return {eqn.primitive.name for eqn in graph.eqns}.union(*inside)

    return walk(jax.make_jaxpr(function)(*inputs).jaxpr)


@pytest.mark.parametrize(
    ("size", "kernel", "padding", "product"),
    [
        ((5, 4), (1, 1), "SAME", True),
        ((1, 1), (3, 1), "SAME", True),
        ((3, 3), (3, 3), "VALID", True),
        ((5, 4), (3, 3), "SAME", False),
    ],
)
def test_what_is_one_matrix_product_is_computed_as_one(
    size: tuple[int, int], kernel: tuple[int, int], padding: str, product: bool
) -> None:
    layer = nn.Conv(4, kernel, padding=padding, conv_general_dilated=convolve)
    x = jnp.zeros((2, *size, 3))
    variables = layer.init(jax.random.key(0), x)
    used = operations(lambda x: layer.apply(variables, x), x)
    assert ("dot_general" in used) == product
    assert ("conv_general_dilated" in used) == (not product)


def test_taps_that_meet_padding_alone_have_no_weight_in_the_sum() -> None:
    x = jnp.asarray(RNG.normal(size=(2, 4, 5, 3)), jnp.float32)
    weights = jnp.asarray(RNG.normal(size=(1, 11, 3, 4)), jnp.float32)
    axes = jax.lax.conv_dimension_numbers(x.shape, weights.shape, ("NHWC", "HWIO", "NHWC"))
    graph = jax.make_jaxpr(lambda x: convolve(x, weights, (1, 1), "SAME", dimension_numbers=axes))(
        x
    )
    (kernel,) = [
        eqn.invars[1].aval.shape
        for eqn in graph.jaxpr.eqns
        if eqn.primitive.name == "conv_general_dilated"
    ]
    assert kernel == (1, 9, 3, 4)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("size", "window", "strides", "padding"),
    [
        ((9, 8), (3, 3), (2, 2), ((1, 1), (1, 1))),
        ((9, 8), (3, 3), (2, 2), ((0, 0), (0, 0))),
        ((7, 6), (2, 2), (2, 2), ((0, 0), (0, 0))),
        ((7, 9), (2, 3), (1, 3), ((0, 0), (1, 0))),
        ((5, 5), (2, 2), (3, 3), ((0, 1), (0, 1))),
    ],
)
def test_pooling_and_its_gradient_are_flax_s(
    size: tuple[int, int],
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Any,
    dtype: str,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    # Rounded, so that windows hold equal values: the first of them gets the slope.
    x = jnp.asarray(np.round(RNG.normal(size=(3, *size, 4)), 1), dtype)
    found = run(lambda x: max_pool(x, window, strides, padding), x)
    expected = run(lambda x: nn.max_pool(x, window, strides=strides, padding=padding), x)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1].dtype == expected[1].dtype
    tolerance = 1e-6 if dtype == "float32" else 0.05
    np.testing.assert_allclose(
        np.asarray(found[1], np.float32), np.asarray(expected[1], np.float32), atol=tolerance
    )


@pytest.mark.parametrize(("size", "stride"), [(1, 2), (1, 1), (3, 2)])
def test_on_a_gpu_a_convolution_stays_one(
    size: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # jaxlib 0.11.2 aborts there while it fuses the product of a strided slice.
    x, kernel = jnp.ones((4, 3, 3, 8)), jnp.ones((size, size, 8, 16))

    def operations() -> set[str]:
        graph = jax.make_jaxpr(
            lambda x, kernel: convolve(
                x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        )(x, kernel)
        return {equation.primitive.name for equation in graph.eqns}

    assert "conv_general_dilated" not in operations()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert operations() == {"conv_general_dilated"}


first_layers = pytest.mark.parametrize(
    ("kernel", "strides", "padding"),
    [
        ((7, 7), (2, 2), ((3, 3), (3, 3))),
        ((5, 5), (2, 2), ((2, 2), (2, 2))),
        ((3, 3), (2, 2), "VALID"),
        ((3, 3), (1, 1), "SAME"),
        ((3, 2), (1, 3), ((0, 1), (2, 0))),
    ],
)


@pytest.mark.parametrize("channels", [1, 3])
@first_layers
def test_on_a_gpu_few_channels_have_the_kernel_s_columns_beside_them(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: Any,
    channels: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    # Small whole numbers: half precision holds every product of them.
    x = jnp.asarray(RNG.integers(-2, 3, (2, 9, 8, channels)), jnp.bfloat16)
    weights = jnp.asarray(RNG.integers(-2, 3, (*kernel, channels, 4)), jnp.bfloat16)
    axes = ("NHWC", "HWIO", "NHWC")

    def call(form: Any, x: jax.Array, weights: jax.Array) -> jax.Array:
        return form(x, weights, strides, padding, dimension_numbers=axes)

    @functools.partial(jax.jit, static_argnums=0)
    def of(form: Any, x: jax.Array, weights: jax.Array) -> list[jax.Array]:
        answer, pull = jax.vjp(functools.partial(call, form), x, weights)
        return [answer, *pull(jnp.ones_like(answer))]

    found, expected = (of(form, x, weights) for form in (convolve, jax.lax.conv_general_dilated))
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(left, np.float32), np.asarray(right, np.float32))
    assert "concatenate" in operations(functools.partial(call, convolve), x, weights)


@first_layers
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_convolution_for_litert_is_the_same_on_every_device(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: Any,
    channels: int,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    x = jnp.asarray(RNG.normal(size=(1, 9, 8, channels)), jnp.float32)
    weights = jnp.asarray(RNG.normal(size=(*kernel, channels, 4)), jnp.float32)
    axes = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

    def answer(x: jax.Array) -> jax.Array:
        return convolve(x, weights, strides, padding, **axes)

    with made_for_litert():
        found, used = jax.jit(answer)(x), operations(answer, x)
    expected = jax.lax.conv_general_dilated(x, weights, strides, padding, **axes)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert ("transpose" in used) == (channels == 1 and strides == (2, 2)), "squares of 2 x 2"
    assert "concatenate" not in used, "the GPU's own form"


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (1, 0)), ((0, 0), (0, 0))])
def test_max_pooling_for_litert_needs_no_least_number(padding: Any) -> None:
    # All below zero: no padding with zeros either.
    x = jnp.asarray(RNG.normal(size=(1, 9, 8, 3)) - 9, jnp.float32)
    with made_for_litert():
        found = max_pool(x, (3, 3), (2, 2), padding)
        used = operations(lambda x: max_pool(x, (3, 3), (2, 2), padding), x)
    np.testing.assert_array_equal(found, nn.max_pool(x, (3, 3), (2, 2), padding))
    assert "pad" not in used


@pytest.mark.parametrize("size", [(9, 7), (4, 3), (2, 1), (1, 1)])
def test_average_pooling_keeps_its_type_and_is_a_convolution_for_litert(
    size: tuple[int, int],
) -> None:
    x = jnp.asarray(RNG.normal(size=(1, *size, 3)), jnp.float32)
    with made_for_litert():
        found = average_pool(x)
        used = operations(average_pool, x)
    inside = [
        x[:, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean((1, 2))
        for i in range(size[0])
        for j in range(size[1])
    ]
    np.testing.assert_allclose(found.reshape(-1, 3), np.concatenate(inside), atol=1e-6)
    np.testing.assert_allclose(found, average_pool(x), atol=1e-6)
    assert average_pool(x.astype("bfloat16")).dtype == "bfloat16"
    assert not any("reduce_window" in name for name in used)


@pytest.mark.parametrize("train", [True, False])
def test_a_pooled_unit_sees_the_means_of_neighbourhoods(train: bool) -> None:
    x = jnp.asarray(RNG.normal(size=(3, 5, 4, 6)), jnp.float32)

    def unit(pooled: bool) -> ConvNorm:
        norm = functools.partial(
            BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-3
        )
        return ConvNorm(2, (1, 1), pooled=pooled, norm=norm)

    def apply(unit: ConvNorm, variables: Any, x: jax.Array) -> Any:
        return jax.jit(functools.partial(unit.apply, mutable=["batch_stats"]))(variables, x)

    variables = jax.tree.map(
        lambda leaf: jnp.asarray(RNG.uniform(0.5, 2, leaf.shape), leaf.dtype),
        jax.eval_shape(unit(True).init, jax.random.key(0), x),
    )
    found, kept = apply(unit(True), variables, x)
    expected, plain = apply(unit(False), variables, average_pool(x))
    assert np.asarray(expected).std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), kept, plain)
