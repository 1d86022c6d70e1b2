from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from emojax.data.resident import Batch, share_votes
from emojax.errors import UserError
from emojax.labels import MODALITIES, UNKNOWN
from emojax.losses import (
    LossConfig,
    Targets,
    balance,
    binary_cross_entropy,
    binary_targets,
    count_labels,
    make_targets,
    mix_targets,
    output_losses,
    target_losses,
    weigh_classes,
    weighted_mean,
)
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
        has_frames=jnp.ones(EXAMPLES),
        spectrograms=jnp.zeros((EXAMPLES, 0, 0)),
        has_sound=jnp.zeros(EXAMPLES),
        action_units=jnp.asarray(rng.integers(-1, 2, (EXAMPLES, UNITS)), jnp.int8),
        action_unit_confidence=jnp.asarray(rng.uniform(0, 1, (EXAMPLES, UNITS)), jnp.float32),
        emotion=jnp.asarray(emotion),
        emotion_confidence=jnp.asarray(rng.uniform(0, 1, EXAMPLES), jnp.float32),
        emotion_shares=jnp.zeros((EXAMPLES, 0)),
    )


@pytest.fixture
def logits() -> jax.Array:
    values = np.random.default_rng(2).normal(0, 3, (EXAMPLES, UNITS + EMOTIONS))
    return jnp.asarray(values, jnp.float32)


def loss_of(logits: jax.Array, batch: Batch) -> jax.Array:
    return weighted_mean(*output_losses(logits, batch, SPEC))


def test_targets_and_weights(batch: Batch) -> None:
    targets, weights = binary_targets(*batch[4:8], num_emotions=EMOTIONS)
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


SOFTMAX = SPEC.replace(emotion_activation="softmax")


def training_loss(logits: jax.Array, batch: Batch, spec: InputSpec, config: LossConfig) -> float:
    targets = make_targets(batch, spec, config)
    return float(weighted_mean(*target_losses(logits, targets, spec, config.kind)))


@pytest.mark.parametrize("spec", [SPEC, SOFTMAX], ids=["sigmoid", "softmax"])
def test_label_smoothing_is_the_papers(batch: Batch, logits: jax.Array, spec: InputSpec) -> None:
    # Section 7: the loss becomes (1 - e) H(label, p) + e H(uniform, p).
    config = LossConfig(label_smoothing=0.2, confidence=False)
    sure = batch._replace(
        emotion=jnp.maximum(batch.emotion, 0),
        action_units=jnp.full((EXAMPLES, UNITS), UNKNOWN, jnp.int8),
    )
    z = np.asarray(logits[:, UNITS:], np.float64)
    hot = np.eye(EMOTIONS)[np.asarray(sure.emotion)]
    if spec is SOFTMAX:
        log_p = scipy.special.log_softmax(z, axis=1)
        wanted = -(0.8 * (hot * log_p).sum(axis=1) + 0.2 * log_p.mean(axis=1)).mean()
    else:
        log_p, log_not = scipy.special.log_expit(z), scipy.special.log_expit(-z)
        hard = -(hot * log_p + (1 - hot) * log_not)
        wanted = (0.8 * hard - 0.2 * (log_p + log_not) / 2).mean()
    assert training_loss(logits, sure, spec, config) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("spec", [SPEC, SOFTMAX], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize(("kind", "power"), [("absolute", 1), ("squared", 2)])
def test_absolute_and_squared_errors_of_the_probabilities(
    batch: Batch, logits: jax.Array, spec: InputSpec, kind: str, power: int
) -> None:
    z = np.asarray(logits, np.float64)
    shares = 1 / (1 + np.exp(-z))
    if spec is SOFTMAX:
        raised = np.exp(z[:, UNITS:])
        shares[:, UNITS:] = raised / raised.sum(axis=1, keepdims=True)
    targets, weights = targets_in_numpy(batch)
    wanted = (weights * np.abs(targets - shares) ** power).sum() / weights.sum()
    config = LossConfig(kind=kind)  # pyright: ignore[reportArgumentType]
    assert training_loss(logits, batch, spec, config) == pytest.approx(wanted, rel=1e-5)


def test_confidence_can_be_left_out(batch: Batch) -> None:
    _, weights = make_targets(batch, SPEC, LossConfig(confidence=False))
    _, doubted = targets_in_numpy(batch)
    np.testing.assert_array_equal(weights, (doubted > 0).astype(np.float32))


@pytest.mark.parametrize("spec", [SPEC, SOFTMAX], ids=["sigmoid", "softmax"])
def test_votes_stand_in_for_the_label_where_there_are_any(
    batch: Batch, logits: jax.Array, spec: InputSpec
) -> None:
    shares = np.full((EXAMPLES, EMOTIONS), -1, np.float32)
    shares[::2] = np.random.default_rng(5).dirichlet(np.ones(EMOTIONS), EXAMPLES // 2)
    voted = batch._replace(emotion_shares=jnp.asarray(shares))
    values, weights = make_targets(voted, spec, LossConfig(votes="both"))
    plain, plain_weights = make_targets(batch, spec)
    np.testing.assert_allclose(values[::2, UNITS:], shares[::2], rtol=1e-6)
    np.testing.assert_allclose(weights[::2, UNITS:], 1, rtol=1e-6)
    np.testing.assert_array_equal(values[1::2], plain[1::2])
    np.testing.assert_array_equal(weights[1::2], plain_weights[1::2])
    np.testing.assert_array_equal(values[:, :UNITS], plain[:, :UNITS])
    # -sum over emotions of share log p, for each example that was voted on.
    z = np.asarray(logits[::2, UNITS:], np.float64)
    if spec is SOFTMAX:
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        wanted = -(shares[::2] * log_p).sum(axis=1)
        found = target_losses(logits, Targets(values, weights), spec)
        each = np.asarray(found[0] * found[1])[::2, UNITS:].sum(axis=1)
        np.testing.assert_allclose(each, wanted, rtol=2e-5)
        np.testing.assert_allclose(np.asarray(found[1])[::2, UNITS:].sum(axis=1), 1, rtol=1e-5)
    # Without votes asked for, they do nothing.
    assert float(loss_of(logits, voted)) == float(loss_of(logits, batch))


@pytest.mark.parametrize("spec", [SPEC, SOFTMAX], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize("confidence", [True, False])
def test_raters_who_saw_no_emotion_take_weight_from_those_who_did(
    batch: Batch, logits: jax.Array, spec: InputSpec, confidence: bool
) -> None:
    happiness = spec.emotions.index("happiness")
    votes, totals = np.zeros((EXAMPLES, 3, EMOTIONS), np.int32), np.zeros((EXAMPLES, 3), np.int32)
    face = MODALITIES.index("face")
    # Of FER+: happiness 1, unknown 9; NF 10; half and half; nobody was asked about the others.
    votes[0, face, happiness], totals[0, face] = 1, 10
    totals[1, face] = 10
    votes[2, face, :2], totals[2, face] = 5, 10
    labelled = jnp.maximum(batch.emotion, 0)
    shares = jnp.asarray(share_votes(votes, "face", totals))
    voted = batch._replace(emotion=labelled, emotion_shares=shares)
    config = LossConfig(votes="face", confidence=confidence)
    values, weights = make_targets(voted, spec, config)
    plain, plain_weights = make_targets(voted, spec, LossConfig(confidence=confidence))
    hot = np.eye(EMOTIONS)
    np.testing.assert_allclose(values[0, UNITS:], hot[happiness], rtol=1e-6)
    np.testing.assert_allclose(weights[0, UNITS:], 0.1 if confidence else 1, rtol=1e-6)
    assert (np.asarray(weights[1, UNITS:]) == 0).all()
    np.testing.assert_allclose(values[2, UNITS:], (hot[0] + hot[1]) / 2, rtol=1e-6)
    np.testing.assert_allclose(weights[2, UNITS:], 1, rtol=1e-6)
    np.testing.assert_array_equal(values[3:], plain[3:])
    np.testing.assert_array_equal(weights[3:], plain_weights[3:])

    def loss(z: jax.Array) -> jax.Array:
        return weighted_mean(*target_losses(z, Targets(values, weights), spec))

    # What ten people took for no face moves nothing.
    gradient = np.asarray(jax.grad(loss)(logits))[:, UNITS:]
    assert np.isfinite(gradient).all()
    assert (gradient[1] == 0).all()
    assert (gradient[0] != 0).any()


def test_votes_are_nothing_to_a_network_without_emotions(batch: Batch) -> None:
    spec = SPEC.replace(emotions=())
    units = batch._replace(emotion_shares=jnp.ones((EXAMPLES, EMOTIONS)) / EMOTIONS)
    voted = make_targets(units, spec, LossConfig(votes="face"))
    for found, wanted in zip(voted, make_targets(units, spec), strict=True):
        assert found.shape == (EXAMPLES, UNITS)
        np.testing.assert_array_equal(found, wanted)


def test_balanced_weights_are_scikit_learns(batch: Batch) -> None:
    units, emotion = np.asarray(batch.action_units), np.asarray(batch.emotion)
    counts = count_labels(units, emotion, EMOTIONS)
    known = units[:, 3][units[:, 3] != UNKNOWN]
    wanted = compute_class_weight("balanced", classes=np.array([0, 1]), y=known)
    found = balance(counts, SPEC, 1e6)
    np.testing.assert_allclose(found[:, 3], wanted, rtol=1e-6)
    told = emotion[emotion != UNKNOWN]
    present = np.unique(told)
    wanted = compute_class_weight("balanced", classes=present, y=told)
    # scikit-learn counts the classes that occur, we those of the set.
    wanted = wanted * len(present) / EMOTIONS
    found = balance(counts, SOFTMAX, 1e6)
    np.testing.assert_allclose(found[1, UNITS + present], wanted, rtol=1e-6)
    assert balance(counts, SPEC, 1.5).max() == 1.5
    nobody = count_labels(np.full((4, UNITS), UNKNOWN), np.full(4, UNKNOWN), EMOTIONS)
    assert (balance(nobody, SPEC, 3.0) == 3.0).all()


def test_weighed_classes_are_as_many_copies(logits: jax.Array, batch: Batch) -> None:
    # Present labels weigh 3, absent ones 1: as if each present label stood there three times.
    weights = np.stack([np.ones(UNITS + EMOTIONS), np.full(UNITS + EMOTIONS, 3.0)])
    for spec in (SPEC, SOFTMAX):
        targets = make_targets(batch, spec)
        found = weighted_mean(*target_losses(logits, weigh_classes(targets, weights, spec), spec))
        values, plain = (np.asarray(part, np.float64) for part in targets)
        times = np.where(values == 1, 3.0, 1.0)
        if spec is SOFTMAX:
            times[:, UNITS:] = 3.0
        each, own = target_losses(
            logits, Targets(targets.values, jnp.asarray(plain * times, jnp.float32)), spec
        )
        assert float(found) == pytest.approx(float((each * own).sum() / own.sum()), rel=1e-5)


def test_a_mixture_has_the_losses_of_both_by_its_shares(batch: Batch, logits: jax.Array) -> None:
    targets = make_targets(batch, SPEC)
    others = Targets(*(jnp.roll(part, 1, axis=0) for part in targets))
    share = jnp.asarray(np.random.default_rng(4).random(EXAMPLES), jnp.float32)

    def total(of: Targets, weight: jax.Array) -> np.ndarray:
        per_output, weights = target_losses(logits, of, SPEC)
        return np.asarray(per_output * weights * weight[:, None])

    mixed = total(mix_targets(targets, others, share), jnp.ones(EXAMPLES))
    np.testing.assert_allclose(mixed, total(targets, share) + total(others, 1 - share), rtol=1e-4)
    whole = mix_targets(targets, others, jnp.ones(EXAMPLES))
    np.testing.assert_allclose(whole.weights, targets.weights)


@pytest.mark.parametrize(
    "bad",
    [
        {"label_smoothing": 1.0},
        {"label_smoothing": float("nan")},
        {"class_weight_limit": 0.5},
        {"class_weight_limit": float("inf")},
    ],
)
def test_settings_that_no_label_can_have_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"loss\.{next(iter(bad))}="):
        LossConfig(**bad)
