"""Batch normalisation as the networks call it: Flax's results, in a quicker form."""

from __future__ import annotations

import functools
import math
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from emojax.compiler import keep_in_memory

Values = Float[Array, "batch *places channels"]
PerExample = Float[Array, "batch *ones"]


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last; variables named as Flax names them.

    Its sums are matrix products on a CPU, forward and backward: the column sums that XLA's CPU
    compiler makes of a reduction take three to six times as long (docs/performance.md), and
    round worse. Source: Ioffe and Szegedy 2015, algorithm 1.
    """

    use_running_average: bool
    """Normalise with the running statistics instead of the batch's."""
    momentum: float
    """Share of the running statistics that a step keeps."""
    epsilon: float
    """Added to the variance."""
    dtype: jnp.dtype = jnp.dtype("float32")
    """Of the result; statistics and parameters stay float32."""
    mask: Bool[Array, " batch"] | None = None
    """Examples that count in the batch's statistics; unset: all. Where none does, the running
    statistics stay as they are."""

    @nn.compact
    def __call__(self, x: Values) -> Values:
        """Return the normalised values."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        if self.use_running_average:
            shaped = (x - mean.value) * (lax.rsqrt(var.value + self.epsilon) * scale) + bias
            return shaped.astype(self.dtype)
        share = _shares(x, self.mask)
        shaped, batch_mean, batch_var = _normalise(
            x, share, scale, bias, lax.stop_gradient(mean.value), self.epsilon
        )
        if not self.is_initializing():
            kept = jnp.where(share.sum() > 0, self.momentum, 1.0)
            mean.value = kept * mean.value + (1 - kept) * batch_mean
            var.value = kept * var.value + (1 - kept) * batch_var
        return shaped.astype(self.dtype)

    def line(self) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
        """Return by what the running statistics let each channel be multiplied, and what is added.

        Only where the variables exist: not while a network is initialised.
        """
        scale, bias, mean, var = (
            cast(jax.Array, self.get_variable(kind, name))
            for kind, name in (
                ("params", "scale"),
                ("params", "bias"),
                ("batch_stats", "mean"),
                ("batch_stats", "var"),
            )
        )
        rate = lax.rsqrt(var + self.epsilon) * scale
        return rate, bias - mean * rate


def _shares(x: Values, mask: Bool[Array, " batch"] | None) -> PerExample:
    """Return what one value of each example weighs in a mean."""
    weights = jnp.ones(x.shape[0]) if mask is None else mask.astype(jnp.float32)
    values = math.prod(x.shape[1:-1])
    weights = weights / (jnp.maximum(weights.sum(), 1) * values)
    return weights.reshape(-1, *(1,) * (x.ndim - 1))


def _sums(x: Values, weights: PerExample | None = None) -> Float[Array, " channels"]:
    """Return each channel's sum, of the examples as weighted."""
    # JAX's default type: float32, or float64 where that is enabled.
    x = x.astype(float)
    weights = jnp.ones((1,) * x.ndim) if weights is None else weights
    if jax.default_backend() != "cpu":
        return (x * weights).sum(tuple(range(x.ndim - 1)))
    row = jnp.broadcast_to(weights, (*x.shape[:-1], 1)).reshape(-1)
    return row @ x.reshape(-1, x.shape[-1])


def _sums_of_made(x: Values) -> Float[Array, " channels"]:
    """Return each channel's sum, of values that are computed for it and needed nowhere else.

    A matrix product wants them in memory: eight examples are added up as they are made, and an
    eighth of them is written.
    """
    parts = math.gcd(x.shape[0], 8) if jax.default_backend() == "cpu" else 1
    size = x.shape[0] // parts
    added = [x[part * size : (part + 1) * size] for part in range(parts)]
    return _sums(functools.reduce(jnp.add, added))


def two_pass_moments(
    x: Values, share: PerExample
) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
    """Return mean and variance; the second sum is over what the first one gave."""
    mean = _sums(x, share)
    return mean, _sums_of_made(jnp.square(x - mean) * share)


def one_pass_moments(
    x: Values, share: PerExample, guess: Float[Array, " channels"]
) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
    """Return mean and variance of values that are read once, both sums together.

    A variance out of mean squares loses digits where the mean is far from zero; taken from a
    guess of the mean it does not. Source: Chan, Golub and LeVeque 1983, section 2.

    Args:
        x: the values.
        share: what one value of each example weighs in a mean.
        guess: about the mean; the better, the more exact is the variance.
    """
    off = x.astype(float) - guess
    first, second = _sums(off, share), _sums(jnp.square(off), share)
    # Where no example counts, both are 0.
    return guess + first, jnp.maximum(second - jnp.square(first), 0)


def _moments(x: Values, share: PerExample, guess: jax.Array) -> tuple[jax.Array, jax.Array]:
    # A GPU waits for memory: one reading less. A CPU's products want what they sum in memory.
    if jax.default_backend() == "cpu":
        return two_pass_moments(x, share)
    return one_pass_moments(x, share, guess)


def _normalise(
    x: Values,
    share: PerExample,
    scale: jax.Array,
    bias: jax.Array,
    guess: jax.Array,
    epsilon: float,
) -> tuple[Values, Float[Array, " channels"], Float[Array, " channels"]]:
    """Return normalised values, means and variances; the last two carry no gradient."""
    plain = jax.custom_vjp(lambda *given: _forward(*given)[0], nondiff_argnums=(5,))
    plain.defvjp(_forward, _backward)
    return cast(Any, plain(x, share, scale, bias, guess, epsilon))


def _forward(
    x: Values,
    share: PerExample,
    scale: jax.Array,
    bias: jax.Array,
    guess: jax.Array,
    epsilon: float,
) -> Any:
    mean, var = _moments(x, share, guess)
    rate = lax.rsqrt(var + epsilon)
    return ((x - mean) * (rate * scale) + bias, mean, var), (x, share, scale, mean, rate)


def _backward(epsilon: float, kept: Any, slopes: Any) -> Any:
    x, share, scale, mean, rate = kept
    slope = keep_in_memory(slopes[0].astype(float))
    normal = (x - mean) * rate
    bias_slope, scale_slope = _sums(slope), _sums_of_made(slope * normal)
    x_slope = (rate * scale) * (slope - share * (bias_slope + normal * scale_slope))
    x_slope = keep_in_memory(x_slope.astype(x.dtype))
    return x_slope, jnp.zeros_like(share), scale_slope, bias_slope, jnp.zeros_like(mean)
