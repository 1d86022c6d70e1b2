"""Which form a convolution takes on a CPU; measured in docs/performance.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from emojax.compiler import is_compiled_quickly, keep_in_memory
from emojax.models.strided import convolve_squares, with_slope_by_taps
from emojax.models.winograd import convolve_span, convolve_tiles, is_worthwhile, spans_its_axis

_LEAST_WORK = 1e7
"""Multiply-accumulates below which a form is not worth the time that compiling it takes."""


def has_quick_forms(x: jax.Array, kernel: jax.Array) -> bool:
    """Return whether there is anything here for a convolution of x.

    Elsewhere nothing that is made of convolutions is quicker than they are, and half precision
    has no digits to spare for sums. One example at a time is what an artifact sees: it keeps its
    convolutions, at which LiteRT is quick. And the forms take longer to compile, which a short
    training does not win back.
    """
    if is_compiled_quickly():
        return False
    floats = x.dtype == kernel.dtype and x.dtype.itemsize >= 4
    return x.shape[0] > 1 and floats and jax.default_backend() == "cpu"


def convolve_on_cpu(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Any, settings: dict[str, Any]
) -> jax.Array:
    """Return the convolution in the form that is quickest for its shape.

    Args:
        x: batch, height, width, channels.
        kernel: height, width, channels, features.
        strides: of height and width.
        pads: before and behind, of height and of width.
        settings: the other arguments of `lax.conv_general_dilated`; no groups, no dilation.
    """

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(x, kernel, strides, pads, **settings)

    height, width = (
        (side + sum(axis) - taps) // stride + 1
        for side, axis, taps, stride in zip(
            x.shape[1:3], pads, kernel.shape[:2], strides, strict=True
        )
    )
    if x.shape[0] * height * width * math.prod(kernel.shape) < _LEAST_WORK:
        return plain(x, kernel)
    if strides == (2, 2) and kernel.shape[2] == 1:
        return convolve_squares(x, kernel, pads)
    if strides == (2, 2) and kernel.shape[:2] == (3, 3):
        return with_slope_by_taps(plain, strides, pads)(x, kernel)
    if strides != (1, 1):
        return with_made_operands(plain)(x, kernel)
    axis = spans_its_axis(x.shape, kernel.shape, pads)
    if axis is not None:
        return convolve_span(x, kernel, axis)
    if is_worthwhile(x.shape[0], (height, width), kernel.shape):
        return convolve_tiles(x, kernel, pads)
    return with_made_operands(plain)(x, kernel)


def multiply_channels(
    x: Float[Array, "batch height width channels"], kernel: Float[Array, "channels features"]
) -> Float[Array, "batch height width features"]:
    """Return the product over the channels, on any device: a convolution whose kernel is 1 x 1."""

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.einsum("bhwi,io->bhwo", x, kernel)

    return (with_made_operands(plain) if has_quick_forms(x, kernel) else plain)(x, kernel)


def with_made_operands(
    plain: Callable[[jax.Array, jax.Array], jax.Array],
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return a convolution whose gradients find input and slope in memory.

    XLA:CPU transposes both for the gradient of the weights, and would compute what made them,
    normalisation and rectifier, again inside the transpose.
    """

    def backward(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> Any:
        x, slope = keep_in_memory((kept[0], slope))
        return jax.vjp(plain, x, kept[1])[1](slope)

    convolution = jax.custom_vjp(plain)
    convolution.defvjp(lambda x, kernel: (plain(x, kernel), (x, kernel)), backward)
    return cast(Any, convolution)
