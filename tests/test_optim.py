from __future__ import annotations

import dataclasses
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


def test_steps_with_warm_up() -> None:
    config = OptimConfig(learning_rate=0.01, schedule="step", warmup=0.1)
    assert rate(config, 1000, 0) == pytest.approx(0.001)
    assert rate(config, 1000, 50) == pytest.approx((0.001 + 0.01) / 2)
    for step, wanted in ((100, 1e-2), (499, 1e-2), (501, 1e-3), (749, 1e-3), (751, 1e-4)):
        assert rate(config, 1000, step) == pytest.approx(wanted, rel=1e-5)
    assert rate(config, 1000, 2000) == pytest.approx(1e-4, rel=1e-5)


def test_steps_never_warm_up_past_the_first_drop() -> None:
    config = OptimConfig(learning_rate=0.01, schedule="step", warmup=0.5)
    assert max(rate(config, 1000, step) for step in range(1001)) <= 0.01 + 1e-9
    assert rate(config, 1000, 749) == pytest.approx(1e-3, rel=1e-5)
    with pytest.raises(UserError, match=r"warmup=0\.6: schedule=step drops at half of the steps"):
        dataclasses.replace(config, warmup=0.6)
    dataclasses.replace(config, warmup=0.6, schedule="cosine")


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
        ("weight_decay", math.inf),
        ("momentum", 1.0),
        ("momentum", -0.9),
        ("average", 1.0),
        ("l1", -1.0),
        ("l2", math.inf),
        ("clip_gradient", math.nan),
        ("clip_weights", -0.1),
        ("accumulate", 0),
    ],
)
def test_bad_values_are_refused(field: str, value: Any) -> None:
    with pytest.raises(UserError) as refusal:
        OptimConfig(**{field: value})
    assert str(refusal.value).startswith(f"optim.{field}={value!r}: wanted ")


PLAIN = OptimConfig(name="sgd", learning_rate=0.1, schedule="constant", weight_decay=0, momentum=0)


@pytest.mark.parametrize(
    ("term", "slope"), [({"l1": 0.3}, 0.3 * np.sign(2.0)), ({"l2": 0.3}, 0.3 * 2.0)]
)
def test_terms_of_the_loss_pull_matrices_and_nothing_else(
    term: dict[str, float], slope: float
) -> None:
    config = dataclasses.replace(PLAIN, **term)  # pyright: ignore[reportArgumentType]
    after = one_step(config, LAYERS, jax.tree.map(jnp.zeros_like, LAYERS))
    for layer, leaves in after.items():
        for leaf, values in leaves.items():
            wanted = 2.0 - 0.1 * slope if leaf == "kernel" else 2.0
            np.testing.assert_allclose(values, wanted, rtol=1e-6, err_msg=f"{layer}/{leaf}")


def test_terms_of_the_loss_are_its_gradient() -> None:
    # As if they stood in the loss itself, adaptive rule included.
    config = OptimConfig(name="adam", learning_rate=0.1, schedule="constant", l1=0.2, l2=0.5)
    inside = dataclasses.replace(config, l1=0.0, l2=0.0)
    weights = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]])}

    def loss(params: Any, l1: float, l2: float) -> jax.Array:
        kernel = params["kernel"]
        return (kernel**3).sum() + l1 * jnp.abs(kernel).sum() + l2 / 2 * (kernel**2).sum()

    given = one_step(config, weights, jax.grad(loss)(weights, 0.0, 0.0))
    wanted = one_step(inside, weights, jax.grad(loss)(weights, 0.2, 0.5))
    np.testing.assert_allclose(given["kernel"], wanted["kernel"], rtol=1e-6)


def test_a_long_gradient_is_shortened_and_a_short_one_is_not() -> None:
    params = {"a": jnp.zeros((1, 2)), "b": jnp.zeros(1)}
    config = dataclasses.replace(PLAIN, learning_rate=1.0, clip_gradient=5.0)
    long = one_step(config, params, {"a": jnp.array([[6.0, 0.0]]), "b": jnp.array([8.0])})
    np.testing.assert_allclose(long["a"], [[-3.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(long["b"], [-4.0], rtol=1e-6)
    short = one_step(config, params, {"a": jnp.array([[0.0, 3.0]]), "b": jnp.array([3.0])})
    np.testing.assert_allclose(short["a"], [[0.0, -3.0]], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_matrices_stay_in_their_interval(name: Rule) -> None:
    config = OptimConfig(name=name, learning_rate=0.5, schedule="constant", clip_weights=0.25)
    slopes = jax.tree.map(lambda leaf: jnp.full_like(leaf, -3.0), LAYERS)
    after = one_step(config, LAYERS, slopes, steps=3)
    for leaves in after.values():
        if "kernel" in leaves:
            np.testing.assert_allclose(leaves["kernel"], 0.25, rtol=1e-6)
        assert float(leaves["bias"].min()) > 2.0


@pytest.mark.parametrize("name", NAMES)
def test_accumulated_steps_are_one_step_on_their_mean(name: Rule) -> None:
    gradients = [jnp.array([[1.0, -2.0]]), jnp.array([[3.0, 0.5]]), jnp.array([[-1.0, 4.0]])]
    config = OptimConfig(name=name, learning_rate=0.1, schedule="cosine", warmup=0.0)
    many = make_optimiser(dataclasses.replace(config, accumulate=3), 30)
    one = make_optimiser(config, 10)
    params = other = jnp.ones((1, 2))
    state, other_state = many.init(params), one.init(other)
    for _ in range(4):
        for gradient in gradients:
            updates, state = many.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        mean = jnp.mean(jnp.stack(gradients), axis=0)
        updates, other_state = one.update(mean, other_state, other)
        other = optax.apply_updates(other, updates)
    np.testing.assert_allclose(np.asarray(params), np.asarray(other), rtol=1e-5)


def test_more_steps_than_a_run_has_are_never_accumulated() -> None:
    with pytest.raises(UserError, match=r"accumulate=9: the run has 8 steps.*use 8 or less"):
        make_optimiser(OptimConfig(accumulate=9), 8)
    make_optimiser(OptimConfig(accumulate=8), 8)
