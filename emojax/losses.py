"""Losses per example and output; the caller weights, masks, then averages."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from emojax.data.resident import Batch
from emojax.labels import UNKNOWN
from emojax.spec import InputSpec


def binary_targets(
    action_units: Int[Array, "batch units"],
    action_unit_confidence: Float[Array, "batch units"],
    emotion: Int[Array, " batch"],
    emotion_confidence: Float[Array, " batch"],
    num_emotions: int,
) -> tuple[Float[Array, "batch outputs"], Float[Array, "batch outputs"]]:
    """Return targets of 0 or 1 and their weights, action units first, then emotions.

    An unknown label has weight 0; a known one the annotators' confidence.

    Args:
        action_units: 1 present, 0 absent, -1 unknown.
        action_unit_confidence: 0..1.
        emotion: index in the emotion set, -1 unknown.
        emotion_confidence: 0..1.
        num_emotions: size of the emotion set.
    """
    unit_weights = jnp.where(action_units == UNKNOWN, 0.0, action_unit_confidence)
    # one_hot of -1 is a row of zeros, which the weight of 0 then hides.
    one_hot = jax.nn.one_hot(emotion, num_emotions)
    known = jnp.where(emotion == UNKNOWN, 0.0, emotion_confidence)
    emotion_weights = jnp.broadcast_to(known[:, None], one_hot.shape)
    targets = jnp.concatenate([jnp.maximum(action_units, 0).astype(jnp.float32), one_hot], axis=1)
    return targets, jnp.concatenate([unit_weights, emotion_weights], axis=1)


def binary_cross_entropy(
    logits: Float[Array, "batch outputs"], targets: Float[Array, "batch outputs"]
) -> Float[Array, "batch outputs"]:
    """Return -t log s(z) - (1 - t) log(1 - s(z)), s the sigmoid. Source: thesis, 4.12."""
    return optax.sigmoid_binary_cross_entropy(logits, targets)


def cross_entropy(
    logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
) -> Float[Array, "batch classes"]:
    """Return -t log softmax(z) class by class; over the classes they add up to the loss."""
    return -targets * jax.nn.log_softmax(logits)


def output_losses(
    logits: Float[Array, "batch outputs"], batch: Batch, spec: InputSpec
) -> tuple[Float[Array, "batch outputs"], Float[Array, "batch outputs"]]:
    """Return the loss of each output, and the weight of each: 0 for unknown.

    Binary cross-entropy for each output that ends in a sigmoid. Emotions that end in a
    softmax have one cross-entropy between them: it stands at the true emotion, whose
    weight alone is not 0, so that a weighted mean is the mean over examples.
    """
    targets, weights = binary_targets(
        batch.action_units,
        batch.action_unit_confidence,
        batch.emotion,
        batch.emotion_confidence,
        len(spec.emotions),
    )
    per_output = binary_cross_entropy(logits, targets)
    if spec.emotion_activation == "softmax":
        units = len(spec.action_units)
        shared = cross_entropy(logits[:, units:], targets[:, units:])
        per_output = jnp.concatenate([per_output[:, :units], shared], axis=1)
        weights = weights.at[:, units:].multiply(targets[:, units:])
    return per_output, weights


def weighted_mean(
    values: Float[Array, "*axes"], weights: Float[Array, "*axes"]
) -> Float[Array, ""]:
    """Return the mean over everything that has weight; 0 where nothing has."""
    return (values * weights).sum() / jnp.maximum(weights.sum(), 1e-8)
