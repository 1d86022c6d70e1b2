from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from emojax.data.resident import Batch
from emojax.labels import UNKNOWN
from emojax.losses import binary_cross_entropy, binary_targets, output_losses, weighted_mean
from emojax.spec import InputSpec

EXAMPLES = 12
SPEC = InputSpec()
UNITS, EMOTIONS = len(SPEC.action_units), len(SPEC.emotions)


def entropy_in_numpy(logits: jax.Array, targets: np.ndarray) -> np.ndarray:
    """The thesis's formula 4.12 as it is printed, in float64."""
    z = np.asarray(logits, np.float64)
    s = 1 / (1 + np.exp(-z))
    return -targets * np.log(s) - (1 - targets) * np.log(1 - s)


def targets_in_numpy(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Targets and weights, one label at a time."""
    targets = np.zeros((EXAMPLES, UNITS + EMOTIONS))
    weights = np.zeros_like(targets)
    for example in range(EXAMPLES):
        for unit in range(UNITS):
            label = batch.action_units[example, unit]
            if label != UNKNOWN:
                targets[example, unit] = label
                weights[example, unit] = batch.action_unit_confidence[example, unit]
        if batch.emotion[example] != UNKNOWN:
            targets[example, UNITS + int(batch.emotion[example])] = 1
            weights[example, UNITS:] = batch.emotion_confidence[example]
    return targets, weights


@pytest.fixture
def batch() -> Batch:
    rng = np.random.default_rng(1)
    emotion = rng.integers(-1, EMOTIONS, EXAMPLES).astype(np.int32)
    emotion[:2] = UNKNOWN, 3
    return Batch(
        frames=jnp.zeros((EXAMPLES, 1, SPEC.height, SPEC.width)),
        spectrograms=jnp.zeros((EXAMPLES, 0, 0)),
        has_sound=jnp.zeros(EXAMPLES),
        action_units=jnp.asarray(rng.integers(-1, 2, (EXAMPLES, UNITS)), jnp.int8),
        action_unit_confidence=jnp.asarray(rng.uniform(0, 1, (EXAMPLES, UNITS)), jnp.float32),
        emotion=jnp.asarray(emotion),
        emotion_confidence=jnp.asarray(rng.uniform(0, 1, EXAMPLES), jnp.float32),
    )


@pytest.fixture
def logits() -> jax.Array:
    values = np.random.default_rng(2).normal(0, 3, (EXAMPLES, UNITS + EMOTIONS))
    return jnp.asarray(values, jnp.float32)


def loss_of(logits: jax.Array, batch: Batch) -> jax.Array:
    return weighted_mean(*output_losses(logits, batch, SPEC))


def test_targets_and_weights(batch: Batch) -> None:
    targets, weights = binary_targets(*batch[3:], num_emotions=EMOTIONS)
    expected_targets, expected_weights = targets_in_numpy(batch)
    known = expected_weights > 0
    assert 0.5 < known.mean() < 0.9
    np.testing.assert_array_equal(np.asarray(targets)[known], expected_targets[known])
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-7)


def test_each_loss_is_the_printed_formula(logits: jax.Array) -> None:
    targets = np.random.default_rng(3).integers(0, 2, logits.shape).astype(np.float32)
    found = binary_cross_entropy(logits, jnp.asarray(targets))
    np.testing.assert_allclose(found, entropy_in_numpy(logits, targets), rtol=2e-5, atol=1e-7)


def test_soft_targets(logits: jax.Array) -> None:
    targets = np.random.default_rng(3).uniform(0, 1, logits.shape).astype(np.float32)
    found = binary_cross_entropy(logits, jnp.asarray(targets))
    np.testing.assert_allclose(found, entropy_in_numpy(logits, targets), rtol=2e-5, atol=1e-6)


def test_weighted_mean_is_scikit_learns_log_loss(batch: Batch, logits: jax.Array) -> None:
    targets, weights = targets_in_numpy(batch)
    probabilities = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    expected = log_loss(targets.ravel(), probabilities.ravel(), sample_weight=weights.ravel())
    assert float(loss_of(logits, batch)) == pytest.approx(expected, rel=1e-5)


def test_plain_jitted_and_vmapped_agree(batch: Batch, logits: jax.Array) -> None:
    plain = output_losses(logits, batch, SPEC)
    jitted = jax.jit(output_losses, static_argnums=2)(logits, batch, SPEC)
    single = jax.tree.map(lambda leaf: leaf[:, None], (logits, batch))
    mapped = jax.vmap(lambda z, b: output_losses(z, b, SPEC))(*single)
    for found, other, third in zip(plain, jitted, mapped, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-6)
        np.testing.assert_allclose(found, third[:, 0], rtol=1e-6)


def test_extreme_logits_stay_finite() -> None:
    logits = jnp.array([[-1e4, 1e4, -1e4, 1e4]])
    targets = jnp.array([[0.0, 1.0, 1.0, 0.0]])
    losses, slope = jax.value_and_grad(lambda z: binary_cross_entropy(z, targets).sum())(logits)
    assert float(losses) == pytest.approx(2e4)
    np.testing.assert_allclose(slope, [[0.0, 0.0, -1.0, 1.0]])


def test_no_gradient_flows_from_unknown_labels(batch: Batch, logits: jax.Array) -> None:
    _, weights = targets_in_numpy(batch)
    gradient = np.asarray(jax.grad(loss_of)(logits, batch))
    assert (gradient[weights == 0] == 0.0).all()
    assert (gradient[weights > 0] != 0.0).all()
    # d loss / d logit = weight (sigmoid - target) / sum of weights.
    targets, _ = targets_in_numpy(batch)
    sigmoid = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    expected = weights * (sigmoid - targets) / weights.sum()
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-8)


def test_what_the_network_says_of_unknown_labels_does_not_matter(
    batch: Batch, logits: jax.Array
) -> None:
    _, weights = targets_in_numpy(batch)
    shouted = jnp.where(weights == 0, 50.0, logits)
    assert float(loss_of(shouted, batch)) == float(loss_of(logits, batch))


def test_unknown_is_not_absent(batch: Batch, logits: jax.Array) -> None:
    absent = batch._replace(action_units=jnp.maximum(batch.action_units, 0).astype(jnp.int8))
    assert float(loss_of(logits, absent)) != pytest.approx(float(loss_of(logits, batch)), rel=1e-3)


def test_confidence_weighs_a_label(batch: Batch, logits: jax.Array) -> None:
    # Confidence 1/2 everywhere but one: the same as that one counted twice.
    sure = batch._replace(
        action_units=jnp.abs(batch.action_units),
        action_unit_confidence=jnp.full((EXAMPLES, UNITS), 0.5).at[4, 7].set(1.0),
        emotion=jnp.full(EXAMPLES, UNKNOWN, jnp.int32),
    )
    losses, _ = output_losses(logits, sure, SPEC)
    units = np.asarray(losses, np.float64)[:, :UNITS]
    expected = (units.sum() + units[4, 7]) / (units.size + 1)
    assert float(loss_of(logits, sure)) == pytest.approx(expected, rel=1e-5)


def test_confidence_zero_is_as_good_as_unknown(batch: Batch, logits: jax.Array) -> None:
    doubted = batch._replace(
        action_unit_confidence=batch.action_unit_confidence.at[:, 3].set(0.0),
        emotion_confidence=batch.emotion_confidence.at[5].set(0.0),
    )
    unknown = batch._replace(
        action_units=batch.action_units.at[:, 3].set(UNKNOWN),
        emotion=batch.emotion.at[5].set(UNKNOWN),
    )
    assert float(loss_of(logits, doubted)) == float(loss_of(logits, unknown))


@pytest.mark.parametrize("compiled", [lambda function: function, jax.jit])
def test_a_batch_of_unknowns_gives_zero(
    compiled: Callable, batch: Batch, logits: jax.Array
) -> None:
    nothing = batch._replace(
        action_units=jnp.full((EXAMPLES, UNITS), UNKNOWN, jnp.int8),
        emotion=jnp.full(EXAMPLES, UNKNOWN, jnp.int32),
    )
    loss, gradient = compiled(jax.value_and_grad(loss_of))(logits, nothing)
    assert float(loss) == 0.0
    assert (np.asarray(gradient) == 0.0).all()


def test_an_input_spec_of_emotions_alone(batch: Batch, logits: jax.Array) -> None:
    spec = InputSpec(action_units=())
    alone = batch._replace(
        action_units=jnp.zeros((EXAMPLES, 0), jnp.int8),
        action_unit_confidence=jnp.zeros((EXAMPLES, 0)),
    )
    losses, weights = output_losses(logits[:, UNITS:], alone, spec)
    whole, whole_weights = output_losses(logits, batch, SPEC)
    np.testing.assert_allclose(losses, whole[:, UNITS:], rtol=1e-6)
    np.testing.assert_array_equal(weights, whole_weights[:, UNITS:])


def test_softmax_is_scikit_learns_log_loss_over_known_emotions(
    batch: Batch, logits: jax.Array
) -> None:
    spec = SPEC.replace(action_units=(), emotion_activation="softmax")
    none = batch.action_units[:, :0]
    batch = batch._replace(action_units=none, action_unit_confidence=jnp.zeros(none.shape))
    own = logits[:, UNITS:]
    known = np.asarray(batch.emotion) != UNKNOWN
    scores = np.exp(np.asarray(own, np.float64))
    expected = log_loss(
        np.asarray(batch.emotion)[known],
        (scores / scores.sum(axis=1, keepdims=True))[known],
        sample_weight=np.asarray(batch.emotion_confidence)[known],
        labels=np.arange(EMOTIONS),
    )
    found = weighted_mean(*output_losses(own, batch, spec))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_softmax_leaves_the_action_units_as_they_were(batch: Batch, logits: jax.Array) -> None:
    both, weights = output_losses(logits, batch, SPEC.replace(emotion_activation="softmax"))
    expected, expected_weights = output_losses(logits, batch, SPEC)
    np.testing.assert_array_equal(both[:, :UNITS], expected[:, :UNITS])
    np.testing.assert_array_equal(weights[:, :UNITS], expected_weights[:, :UNITS])
    # One number an example, at the true emotion.
    assert ((np.asarray(weights[:, UNITS:]) > 0).sum(axis=1) <= 1).all()
