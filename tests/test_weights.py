from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from emojax.optim import OptimConfig, make_optimiser
from emojax.train import hold_still
from emojax.weights import averaged


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_follows_the_weights_as_written_out(accumulate: int) -> None:
    config = OptimConfig(
        name="sgd",
        learning_rate=1.0,
        schedule="constant",
        weight_decay=0.0,
        momentum=0.0,
        average=0.5,
        accumulate=accumulate,
    )
    optimiser = make_optimiser(config, 100)
    params: Any = {"w": jnp.array([[1.0]])}
    state = optimiser.init(params)
    weight = average = 1.0
    step = jax.jit(lambda state, params: optimiser.update({"w": jnp.array([[0.5]])}, state, params))
    for done in range(1, 8):
        for _ in range(accumulate):
            updates, state = step(state, params)
            params = optax.apply_updates(params, updates)
        weight -= 0.5
        kept = min(0.5, (1 + done) / (10 + done))
        average = kept * average + (1 - kept) * weight
        np.testing.assert_allclose(params["w"], weight)
        np.testing.assert_allclose(averaged(state, params)["w"], average, rtol=1e-6)


def test_without_an_average_the_weights_are_what_counts() -> None:
    optimiser = make_optimiser(OptimConfig(), 10)
    params = {"w": jnp.ones((2, 2))}
    assert averaged(optimiser.init(params), params) is params


def test_what_stands_still_has_no_average() -> None:
    config = OptimConfig(name="sgd", learning_rate=0.1, schedule="constant", average=0.5)
    optimiser = hold_still(make_optimiser(config, 10), ["extractor"])
    params: Any = {"extractor": {"w": jnp.ones((2, 2))}, "head": {"w": jnp.ones((1, 2))}}
    state = optimiser.init(params)
    for _ in range(3):
        updates, state = optimiser.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, updates)
    mean = averaged(state, params)
    np.testing.assert_array_equal(mean["extractor"]["w"], 1.0)
    assert jax.tree.structure(mean) == jax.tree.structure(params)
    assert float(mean["head"]["w"].max()) > float(params["head"]["w"].max())
