import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.models import normalisation
from emojax.models.normalisation import BatchNorm, one_pass_moments, two_pass_moments

SHAPES = [(6, 5, 4, 3), (4, 3, 5, 4, 2)]
SETTINGS = {"momentum": 0.8, "epsilon": 1e-3}


def values(shape, seed=0):
    # A mean far from zero is what a variance out of mean squares loses digits at.
    return jnp.asarray(np.random.default_rng(seed).normal(20, 2, shape), jnp.float32)


def variables(channels):
    rng = np.random.default_rng(1)
    params = {"scale": rng.normal(1, 0.2, channels), "bias": rng.normal(0, 1, channels)}
    statistics = {"mean": rng.normal(20, 1, channels), "var": rng.uniform(1, 3, channels)}
    return jax.tree.map(jnp.float32, {"params": params, "batch_stats": statistics})


def spread(mask, ndim):
    return jnp.asarray(mask).reshape(-1, *(1,) * (ndim - 1))


@pytest.fixture(params=["two passes", "one pass"])
def moments(request, monkeypatch):
    """Statistics as a CPU takes them, and as a GPU does."""
    forms = {"two passes": lambda x, share, _: two_pass_moments(x, share)}
    forms["one pass"] = one_pass_moments
    monkeypatch.setattr(normalisation, "_moments", forms[request.param])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mask", [None, [True, False, True, True, False, True]])
@pytest.mark.usefixtures("moments")
def test_training_equals_flax_in_values_statistics_and_gradients(shape, mask):
    x, weights = values(shape), values(shape, seed=2)
    counted = None if mask is None else jnp.asarray(mask[: shape[0]])
    ours = BatchNorm(False, mask=counted, **SETTINGS)
    flax = nn.BatchNorm(False, use_fast_variance=False, **SETTINGS)
    start = variables(shape[-1])

    def loss(params, x, norm, **settings):
        y, updates = norm.apply(start | {"params": params}, x, mutable=["batch_stats"], **settings)
        return (jnp.tanh(y) * weights).sum(), (y, updates)

    shaped = {} if mask is None else {"mask": spread(counted, len(shape))}
    gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    found = gradient(start["params"], x, ours)
    wanted = gradient(start["params"], x, flax, **shaped)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(found[0][1][0], wanted[0][1][0], atol=2e-5)


@pytest.mark.parametrize(("centre", "guess"), [(20, 19.0), (2000, 1998.0), (0, 0.0)])
def test_one_pass_gives_numpys_moments_from_a_guess_nearby(centre, guess):
    x = np.random.default_rng(0).normal(centre, 0.5, (8, 7, 6, 3)).astype(np.float32)
    share = jnp.full((8, 1, 1, 1), 1 / (8 * 7 * 6))
    mean, var = one_pass_moments(jnp.asarray(x), share, jnp.full(3, guess))
    wanted = x.astype(np.float64)
    np.testing.assert_allclose(mean, wanted.mean(axis=(0, 1, 2)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(var, wanted.var(axis=(0, 1, 2)), rtol=1e-4)


def test_prediction_equals_flax():
    x = values((2, 3, 4, 5))
    start = variables(5)
    found = BatchNorm(True, **SETTINGS).apply(start, x)
    wanted = nn.BatchNorm(True, **SETTINGS).apply(start, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-5)


def test_examples_outside_the_mask_change_nothing_for_the_others():
    x = values((4, 3, 3, 2))
    norm = BatchNorm(False, mask=jnp.asarray([True, True, False, True]), **SETTINGS)
    start = variables(2)
    y, updates = norm.apply(start, x, mutable=["batch_stats"])
    changed = np.array(x)
    changed[2] = 1000
    y2, updates2 = norm.apply(start, jnp.asarray(changed), mutable=["batch_stats"])
    np.testing.assert_array_equal(np.array(y)[[0, 1, 3]], np.array(y2)[[0, 1, 3]])
    jax.tree.map(np.testing.assert_array_equal, updates, updates2)


@pytest.mark.usefixtures("moments")
def test_a_batch_without_counted_examples_leaves_the_statistics():
    x = values((4, 3, 3, 2))
    start = variables(2)
    norm = BatchNorm(False, mask=jnp.zeros(4, bool), **SETTINGS)
    y, updates = norm.apply(start, x, mutable=["batch_stats"])
    assert np.isfinite(y).all()
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], start["batch_stats"])


def test_bfloat16_keeps_float32_statistics():
    x = jnp.asarray(values((8, 5, 5, 3)), jnp.bfloat16)
    norm = BatchNorm(False, dtype=jnp.dtype("bfloat16"), **SETTINGS)
    y, updates = norm.apply(variables(3), x, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    statistics = updates["batch_stats"]
    assert statistics["var"].dtype == jnp.float32
    exact = np.asarray(x, np.float64)
    start = variables(3)["batch_stats"]
    wanted = 0.8 * start["var"] + 0.2 * exact.var((0, 1, 2))
    np.testing.assert_allclose(statistics["var"], wanted, rtol=1e-5)
