from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from emojax.errors import UserError
from emojax.optim import OptimConfig, make_optimiser, make_schedule

Rule = Literal["sgd", "adam", "adamw", "rmsprop"]
NAMES: tuple[Rule, ...] = ("sgd", "adam", "adamw", "rmsprop")


def rate(config: OptimConfig, total: int, step: int) -> float:
    return np.asarray(make_schedule(config, total)(step)).item()


def test_constant_schedule() -> None:
    config = OptimConfig(learning_rate=3e-4, schedule="constant", warmup=0.5)
    assert [rate(config, 100, step) for step in (0, 50, 100, 1000)] == pytest.approx([3e-4] * 4)


def test_cosine_with_warm_up() -> None:
    config = OptimConfig(learning_rate=0.01, schedule="cosine", warmup=0.1)
    # 100 steps up from a tenth, 900 down half a cosine to a hundredth.
    assert rate(config, 1000, 0) == pytest.approx(0.001)
    assert rate(config, 1000, 50) == pytest.approx((0.001 + 0.01) / 2)
    assert rate(config, 1000, 100) == pytest.approx(0.01)
    for step in (100, 250, 550, 777, 1000):
        share = (step - 100) / 900
        expected = 0.0001 + (0.01 - 0.0001) * (1 + math.cos(math.pi * share)) / 2
        assert rate(config, 1000, step) == pytest.approx(expected, rel=1e-5)
    assert rate(config, 1000, 1000) == pytest.approx(0.0001)
    # Whoever goes on after the end does not climb again.
    assert rate(config, 1000, 1500) == pytest.approx(0.0001)
    rates = [rate(config, 1000, step) for step in range(0, 1001, 10)]
    assert max(rates) == rates[10]


def test_cosine_without_warm_up_starts_at_its_peak() -> None:
    config = OptimConfig(learning_rate=0.01, warmup=0.0)
    assert rate(config, 200, 0) == pytest.approx(0.01)
    assert rate(config, 200, 100) == pytest.approx((0.01 + 0.0001) / 2)
    assert rate(config, 200, 200) == pytest.approx(0.0001)


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.99])
@pytest.mark.parametrize("total", [1, 2, 3, 20])
def test_runs_of_a_few_steps_have_a_rate(total: int, warmup: float) -> None:
    config = OptimConfig(learning_rate=0.01, warmup=warmup)
    for step in range(total + 1):
        assert 0.0001 - 1e-9 <= rate(config, total, step) <= 0.01 + 1e-9


def quadratic(params: Any) -> jax.Array:
    """Smallest at 3 everywhere; one side ten times steeper than the other."""
    return 5 * ((params["matrix"] - 3) ** 2).sum() + 0.5 * ((params["bias"] - 3) ** 2).sum()


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("name", NAMES)
def test_every_rule_goes_down_a_quadratic(
    name: Rule, schedule: Literal["constant", "cosine"]
) -> None:
    steps = 300
    # The sign-like rules move about one learning rate a step, whatever the slope.
    learning_rate = 0.02 if name == "sgd" else 0.05
    config = OptimConfig(
        name=name, learning_rate=learning_rate, schedule=schedule, weight_decay=0.0
    )
    optimiser = make_optimiser(config, steps)
    params = {"matrix": jnp.zeros((2, 3)), "bias": jnp.zeros(3)}

    @jax.jit
    def step(params: Any, state: Any) -> tuple[Any, Any]:
        updates, state = optimiser.update(jax.grad(quadratic)(params), state, params)
        return optax.apply_updates(params, updates), state

    first = float(quadratic(params))
    state = optimiser.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    assert float(quadratic(params)) < 1e-3 * first


def one_step(config: OptimConfig, params: Any, gradients: Any, steps: int = 1) -> Any:
    optimiser = make_optimiser(config, 10)
    state = optimiser.init(params)
    for _ in range(steps):
        updates, state = optimiser.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params


LAYERS = {
    "conv": {"kernel": jnp.full((3, 3, 1, 2), 2.0), "bias": jnp.full(2, 2.0)},
    "norm": {"scale": jnp.full(2, 2.0), "bias": jnp.full(2, 2.0)},
    "head": {"kernel": jnp.full((2, 4), 2.0), "bias": jnp.full(4, 2.0)},
}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weights_decay_and_biases_and_scales_do_not(name: Rule) -> None:
    config = OptimConfig(
        name=name, learning_rate=0.1, schedule="constant", weight_decay=0.01, momentum=0.9
    )
    after = one_step(config, LAYERS, jax.tree.map(jnp.zeros_like, LAYERS))
    for layer, leaves in after.items():
        for leaf, values in leaves.items():
            decayed = 2.0 * (1 - 0.1 * 0.01) if leaf == "kernel" else 2.0
            np.testing.assert_allclose(values, decayed, rtol=1e-6, err_msg=f"{layer}/{leaf}")


@pytest.mark.parametrize(
    "name",
    [
        "adamw",
        "sgd",
    ],
)
def test_decay_is_decoupled(name: Rule) -> None:
    # Loshchilov and Hutter (2019): each step shrinks by rate x decay, whatever came before.
    config = OptimConfig(
        name=name, learning_rate=0.1, schedule="constant", weight_decay=0.5, momentum=0.9
    )
    after = one_step(config, LAYERS, jax.tree.map(jnp.zeros_like, LAYERS), steps=3)
    np.testing.assert_allclose(after["head"]["kernel"], 2.0 * (1 - 0.1 * 0.5) ** 3, rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_the_other_rules_do_not_decay(name: Rule) -> None:
    config = OptimConfig(name=name, learning_rate=0.1, weight_decay=0.5)
    after = one_step(config, LAYERS, jax.tree.map(jnp.zeros_like, LAYERS))
    np.testing.assert_array_equal(after["head"]["kernel"], LAYERS["head"]["kernel"])


def written_out(name: str, gradients: list[float], rate: float, momentum: float) -> list[float]:
    """The rules as their papers print them, in float64, from 0."""
    value, trace, square, places = 0.0, 0.0, 0.0, []
    for step, gradient in enumerate(gradients, start=1):
        if name == "sgd":
            trace = momentum * trace + gradient
            value -= rate * trace
        elif name == "rmsprop":
            square = 0.9 * square + 0.1 * gradient**2
            trace = momentum * trace + rate * gradient / math.sqrt(square + 1e-8)
            value -= trace
        else:
            trace = 0.9 * trace + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            mean, spread = trace / (1 - 0.9**step), square / (1 - 0.999**step)
            value -= rate * mean / (math.sqrt(spread) + 1e-8)
        places.append(value)
    return places


@pytest.mark.parametrize("name", NAMES)
def test_each_rule_is_its_paper_s(name: Rule) -> None:
    gradients = [1.0, -0.5, 2.0, 0.1, -3.0]
    config = OptimConfig(
        name=name, learning_rate=0.01, schedule="constant", weight_decay=0.0, momentum=0.7
    )
    optimiser = make_optimiser(config, len(gradients))
    params: Any = jnp.zeros(())
    state = optimiser.init(params)
    places = []
    for gradient in gradients:
        updates, state = optimiser.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        places.append(float(params))
    assert places == pytest.approx(written_out(name, gradients, 0.01, 0.7), rel=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", 10.0),
        ("learning_rate", math.nan),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("warmup", math.nan),
        ("weight_decay", -1e-4),
        ("weight_decay", math.nan),
        ("momentum", 1.0),
        ("momentum", -0.9),
    ],
)
def test_bad_values_are_refused(field: str, value: Any) -> None:
    with pytest.raises(UserError) as refusal:
        OptimConfig(**{field: value})
    assert str(refusal.value).startswith(f"optim.{field}={value!r}: wanted ")
