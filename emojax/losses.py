"""What is aimed at, and the loss per example and output; the caller masks, then averages."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from emojax.data.resident import Batch
from emojax.errors import UserError
from emojax.labels import UNKNOWN
from emojax.spec import InputSpec

LossKind = Literal["cross_entropy", "absolute", "squared"]
Votes = Literal["none", "voice", "face", "both"]
ClassWeights = Literal["none", "balanced"]


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """What training aims at, and how a miss is counted. Evaluation has hard labels only."""

    kind: LossKind = "cross_entropy"
    """cross_entropy: binary for sigmoids, one over all emotions for softmax; absolute and
    squared: mean |t - p| and (t - p)^2 of the probabilities p."""
    label_smoothing: float = 0.0
    """Share e of every target that is taken from the label: a sigmoid's target becomes
    (1 - e) t + e / 2, a softmax's (1 - e) t + e / K over K emotions. Source: Szegedy et al.
    2016, section 7."""
    class_weights: ClassWeights = "none"
    """balanced: a rare label counts more. Of n known examples, an action unit that is present and
    one that is absent weigh n / 2 over how many of their kind there are, and so does an emotion of
    sigmoids; one of a softmax over K emotions weighs n / K over its examples."""
    class_weight_limit: float = 10.0
    """Largest of these weights: one example of a label should not decide a step."""
    votes: Votes = "none"
    """Emotions as shares of what raters said of the voice, the face, or both, in place of the hard
    label, where an example has such votes (CREMA-D; FER+ has `face`). Votes for something else
    (unknown, no face) are none for an emotion: where there are no others it has no weight."""
    confidence: bool = True
    """Whether a label weighs as much as its annotators were sure of it; with votes, as the share of
    them that is for an emotion."""
    teacher_weight: float = 0.7
    """Of the answers of `teachers`, 0..1; what is left of 1 weighs the label. An example without a
    label has the teachers' answer alone. Source: Hinton et al. 2015, at temperature 1."""

    def __post_init__(self) -> None:
        """Refuse what no label can be."""
        choices = {"kind": LossKind, "class_weights": ClassWeights, "votes": Votes}
        for name, known in choices.items():
            if getattr(self, name) not in get_args(known):
                raise UserError(
                    f"loss.{name}={getattr(self, name)!r}: use {', '.join(get_args(known))}"
                )
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UserError(f"loss.label_smoothing={self.label_smoothing!r}: wanted below 1")
        if not 0.0 <= self.teacher_weight <= 1.0:
            raise UserError(f"loss.teacher_weight={self.teacher_weight!r}: wanted 0..1")
        if not 1.0 <= self.class_weight_limit < float("inf"):
            raise UserError(
                f"loss.class_weight_limit={self.class_weight_limit!r}: wanted 1 or more, and no "
                "infinity: use a large number"
            )


HARD = LossConfig()
"""The hard labels, as sure as their annotators were."""


class Targets(NamedTuple):
    """What a batch should be answered with, action units first, then emotions."""

    values: Any  # batch output, float32, 0..1
    weights: Any  # batch output, float32: 0 for unknown


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


def make_targets(batch: Batch, spec: InputSpec, config: LossConfig = HARD) -> Targets:
    """Return the targets of a batch.

    Args:
        batch: its labels; `emotion_shares` where raters' votes are aimed at.
        spec: which outputs there are.
        config: smoothing, votes, and whether annotators' confidence counts.
    """
    sure = jnp.ones_like
    values, weights = binary_targets(
        batch.action_units,
        batch.action_unit_confidence if config.confidence else sure(batch.action_unit_confidence),
        batch.emotion,
        batch.emotion_confidence if config.confidence else sure(batch.emotion_confidence),
        len(spec.emotions),
    )
    units = len(spec.action_units)
    # Votes are about emotions: to a network that answers none they are nothing.
    if config.votes != "none" and spec.emotions:
        # An example that nobody voted on has shares below 0 and keeps its label.
        told = batch.emotion_shares.sum(axis=1, keepdims=True)
        voted = told >= 0
        shares = batch.emotion_shares / jnp.where(told > 0, told, 1.0)
        shares = jnp.where(voted, shares, values[:, units:])
        values = jnp.concatenate([values[:, :units], shares], axis=1)
        own = told if config.confidence else (told > 0).astype(told.dtype)
        known = jnp.where(voted, own, weights[:, units:])
        weights = jnp.concatenate([weights[:, :units], known], axis=1)
    if config.label_smoothing:
        kinds = jnp.full(values.shape[1], 2.0)
        if spec.emotion_activation == "softmax":
            kinds = kinds.at[units:].set(len(spec.emotions))
        values = (1 - config.label_smoothing) * values + config.label_smoothing / kinds
    return Targets(values, weights)


def heed_teachers(
    targets: Targets, answers: Float[Array, "batch outputs"], weight: float
) -> Targets:
    """Return targets between the labels and the teachers' answers.

    Args:
        targets: the labels'.
        answers: the teachers' mean probabilities.
        weight: of an answer, 0..1; the label's own is multiplied with what is left.
    """
    kept = (1 - weight) * targets.weights
    whole = kept + weight
    # With weight 0 an example without a label has no weight at all.
    values = (kept * targets.values + weight * answers) / jnp.maximum(whole, 1e-8)
    return Targets(values, whole)


def activation(
    logits: Float[Array, "batch outputs"], spec: InputSpec
) -> Float[Array, "batch outputs"]:
    """Return probabilities, each group by the spec's activation; the exported graph ends in it."""
    units = len(spec.action_units)
    functions = {"sigmoid": jax.nn.sigmoid, "softmax": jax.nn.softmax}
    return jnp.concatenate(
        [
            functions[spec.action_unit_activation](logits[:, :units]),
            functions[spec.emotion_activation](logits[:, units:]),
        ],
        axis=1,
    )


def count_labels(
    action_units: Int[np.ndarray, "example units"], emotion: Int[np.ndarray, " example"], kinds: int
) -> Int[np.ndarray, "2 outputs"]:
    """Return how many examples have each label, and how many have it or lack it for sure.

    Args:
        action_units: 1 present, 0 absent, -1 unknown.
        emotion: index in the emotion set, -1 unknown.
        kinds: size of the emotion set.
    """
    chosen = emotion[:, None] == np.arange(kinds)
    told = np.broadcast_to((emotion != UNKNOWN)[:, None], chosen.shape)
    positive = np.concatenate([action_units == 1, chosen], axis=1)
    known = np.concatenate([action_units != UNKNOWN, told], axis=1)
    return np.stack([positive.sum(axis=0), known.sum(axis=0)])


def balance(
    counts: Int[np.ndarray, "2 outputs"], spec: InputSpec, limit: float
) -> Float[np.ndarray, "2 outputs"]:
    """Return what an absent and a present label of each output weigh, `balanced`.

    Args:
        counts: from `count_labels`.
        spec: which outputs there are.
        limit: the largest weight; also that of a label nobody has.
    """
    positive, known = counts.astype(np.float64)
    kinds = np.full(len(positive), 2.0)
    if spec.emotion_activation == "softmax":
        kinds[len(spec.action_units) :] = len(spec.emotions)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = known / (kinds * np.stack([known - positive, positive]))
    return np.minimum(np.nan_to_num(weights, nan=limit), limit).astype(np.float32)


def weigh_classes(
    targets: Targets, weights: Float[np.ndarray, "2 outputs"], spec: InputSpec
) -> Targets:
    """Return targets in which rare labels weigh more.

    Args:
        targets: of a batch.
        weights: from `balance`.
        spec: emotions of a softmax share the weight of the emotion that they say.
    """
    absent, present = weights
    own = targets.values * present + (1 - targets.values) * absent
    if spec.emotion_activation == "softmax":
        units = len(spec.action_units)
        shared = (targets.values[:, units:] * present[units:]).sum(axis=1, keepdims=True)
        own = own.at[:, units:].set(shared)
    return targets._replace(weights=targets.weights * own)


def mix_targets(targets: Targets, others: Targets, share: Float[Array, " batch"]) -> Targets:
    """Return the targets of mixed examples: what both know, as far as each is in the mixture.

    Args:
        targets: of a batch.
        others: of the examples mixed into it.
        share: how much of each is still its own, 0..1.
    """
    own, theirs = share[:, None] * targets.weights, (1 - share[:, None]) * others.weights
    weights = own + theirs
    values = (own * targets.values + theirs * others.values) / jnp.maximum(weights, 1e-8)
    return Targets(values, weights)


def target_losses(
    logits: Float[Array, "batch outputs"],
    targets: Targets,
    spec: InputSpec,
    kind: LossKind = "cross_entropy",
) -> tuple[Float[Array, "batch outputs"], Float[Array, "batch outputs"]]:
    """Return the loss of each output, and the weight of each: 0 for unknown.

    Emotions that end in a softmax have one cross-entropy between them: -log p stands at each
    emotion, weighted by its target, so that a weighted mean is the mean over examples.
    """
    units = len(spec.action_units)
    softmax = spec.emotion_activation == "softmax"
    values, weights = targets
    if kind != "cross_entropy":
        shares = jax.nn.sigmoid(logits)
        if softmax:
            own = jax.nn.softmax(logits[:, units:])
            shares = jnp.concatenate([shares[:, :units], own], axis=1)
        miss = values - shares
        return (jnp.abs(miss) if kind == "absolute" else jnp.square(miss)), weights
    per_output = binary_cross_entropy(logits, values)
    if softmax:
        shared = -jax.nn.log_softmax(logits[:, units:])
        per_output = jnp.concatenate([per_output[:, :units], shared], axis=1)
        weights = weights.at[:, units:].multiply(values[:, units:])
    return per_output, weights


def output_losses(
    logits: Float[Array, "batch outputs"], batch: Batch, spec: InputSpec
) -> tuple[Float[Array, "batch outputs"], Float[Array, "batch outputs"]]:
    """Return the cross-entropy of each output against the hard labels, and the weights.

    This is what evaluation reports, whatever was trained on.
    """
    return target_losses(logits, make_targets(batch, spec), spec)


def weighted_mean(
    values: Float[Array, "*axes"], weights: Float[Array, "*axes"]
) -> Float[Array, ""]:
    """Return the mean over everything that has weight; 0 where nothing has."""
    return (values * weights).sum() / jnp.maximum(weights.sum(), 1e-8)
