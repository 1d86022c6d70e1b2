"""What is done to weights beside following the gradient, as optax transformations.

Each keeps what it needs in the optimiser's own state, so that a checkpoint holds it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


def is_matrix(leaf: jax.Array) -> bool:
    """Return whether a parameter is a convolution's or a linear layer's, not a bias or a scale."""
    return leaf.ndim > 1


def matrices(params: optax.Params) -> Any:
    """Return the tree of which parameters are matrices: pulling the others to 0 only costs."""
    return jax.tree.map(is_matrix, params)


def add_l1(strength: float) -> optax.GradientTransformation:
    """Return a transformation that adds the gradient of `strength * |w|`, for each matrix."""

    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        def add(slope: jax.Array, weight: jax.Array) -> jax.Array:
            return slope + strength * jnp.sign(weight) if is_matrix(weight) else slope

        return jax.tree.map(add, updates, params), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)  # pyright: ignore


def keep_within(limit: float) -> optax.GradientTransformation:
    """Return a transformation, the last of all, after which each matrix lies in -limit .. limit.

    Source: thesis, regularisation by clipping weights to an interval.
    """

    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        def clip(change: jax.Array, weight: jax.Array) -> jax.Array:
            if not is_matrix(weight):
                return change
            return jnp.clip(weight + change, -limit, limit) - weight

        return jax.tree.map(clip, updates, params), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)  # pyright: ignore


class AverageState(NamedTuple):
    """The moving average of the weights, part of the optimiser's state."""

    average: Any  # tree like the parameters
    updates_done: jax.Array  # int32 scalar


def average_weights(decay: float) -> optax.GradientTransformation:
    """Return a transformation, the last of all, that keeps a moving average of the weights.

    The share that stays grows from 1/10 up to `decay`, or the first, random weights would
    stay in it for long. Source: Polyak and Juditsky 1992; the growing share as in
    Tan and Le 2019's published code.

    Args:
        decay: share of the average that an update keeps, 0..1.
    """

    def init(params: Any) -> AverageState:
        return AverageState(jax.tree.map(jnp.array, params), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: AverageState, params: Any) -> tuple[Any, AverageState]:
        done = state.updates_done + 1
        kept = jnp.minimum(decay, (1.0 + done) / (10.0 + done))

        def follow(average: jax.Array, weight: jax.Array, change: jax.Array) -> jax.Array:
            return kept * average + (1 - kept) * (weight + change)

        average = jax.tree.map(follow, state.average, params, updates)
        return updates, AverageState(average, done)

    return optax.GradientTransformation(init, update)  # pyright: ignore


def averaged(opt_state: Any, params: Any) -> Any:
    """Return the average of the weights where the optimiser keeps one, else the weights.

    Parts of the network that stand still have no average: they are as they are.
    """

    def is_state(node: Any) -> bool:
        return isinstance(node, AverageState)

    def is_still(node: Any) -> bool:
        return isinstance(node, optax.MaskedNode)

    found = [leaf for leaf in jax.tree.leaves(opt_state, is_leaf=is_state) if is_state(leaf)]
    if not found:
        return params
    return jax.tree.map(
        lambda mean, weights: weights if is_still(mean) else mean,
        found[0].average,
        params,
        is_leaf=is_still,
    )
