"""What each action unit does to each emotion in a network that reads action units first (AR4).

Its perceptron has a hidden layer, so there is no one weight from a unit to an emotion. What can
honestly be said instead are three things, each of the test people's faces:

`sensitivity`: the gradient of an emotion's logit with respect to a unit's logit, averaged over
each person's faces, then over people. Signed; what a small change of the unit does on average.

`contribution`: that gradient times how far the unit's logit is above its mean over people, over
the faces that are labelled with the emotion; averaged likewise. Signed; how much the unit speaks
for the emotion where the emotion is. It is the first term of the logit's Taylor series at the
face, the mean face being the baseline: what is bent in between is left out.

`importance`: the recall of an emotion, and the accuracy, that is lost where the unit's values are
shuffled over all faces (Breiman 2001, Random Forests, section 10). It is what the answers rest
on; a unit whose news other units also bring may have none, and shuffling makes faces that nobody
has.

Under softmax adding one number to all logits changes nothing, so that an emotion's logit means
something beside the others only: there the logits are taken less their mean over emotions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from emojax.compiler import compiler_options
from emojax.data.resident import normalise
from emojax.data.shards import FaceArrays
from emojax.evaluate import middle_faces
from emojax.labels import AU_COLUMNS, UNKNOWN
from emojax.models import forward
from emojax.models.layers import Outputs
from emojax.network import TrainedNetwork

REPEATS = 10
"""Shuffles of each unit."""

_BATCH = 64

Perceptron = Callable[[Float[Any, "example unit"]], Float[Array, "example emotion"]]
"""Action units' logits to emotions' logits."""


@dataclasses.dataclass(frozen=True)
class Contributions:
    """What u action units do to e emotions; NaN for an emotion that no test face shows."""

    sensitivity: np.ndarray  # float64 [e, u], logit by logit
    contribution: np.ndarray  # float64 [e, u], of a logit
    recall_lost: np.ndarray  # float64 [e, u], share of 1, mean over shuffles
    recall_spread: np.ndarray  # float64 [e, u], standard deviation over shuffles
    accuracy_lost: np.ndarray  # float64 [u]
    accuracy_spread: np.ndarray  # float64 [u]
    emotions: tuple[str, ...]
    units: tuple[str, ...]


def split_network(
    network: TrainedNetwork,
) -> tuple[Callable[[Any], Float[Array, "example unit"]], Perceptron]:
    """Return AR4's two halves: crops (uint8) to units' logits, and those to emotions' logits."""
    model, variables, spec = network.model, network.variables, network.spec

    def read_units(faces: Any) -> jax.Array:
        read: list[jax.Array] = []

        def keep(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            output = call(*args, **kwargs)
            if context.module.path == ("extractor",):
                read.append(output.logits)
            return output

        with nn.intercept_methods(keep):
            forward(model, variables, normalise(faces, spec)[..., None])
        return read[0]

    def perceive(units: Any) -> jax.Array:
        def stand_in(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if context.module.path == ("extractor",):
                return Outputs(units, units)
            return call(*args, **kwargs)

        # What the stand-in does not look at has to have a picture's shape only.
        unseen = jnp.zeros((len(units), spec.height, spec.width, spec.channels))
        with nn.intercept_methods(stand_in):
            logits = forward(model, variables, unseen).logits[:, -len(spec.emotions) :]
        if spec.emotion_activation == "softmax":
            logits = logits - logits.mean(axis=1, keepdims=True)
        return logits

    # The perceptron is called inside of other compiled calls, which take no options.
    return jax.jit(read_units, compiler_options=compiler_options()), jax.jit(perceive)


def slopes(
    perceive: Perceptron, units: Float[np.ndarray, "example unit"]
) -> Float[np.ndarray, "example emotion unit"]:
    """Return the gradient of each emotion's logit with respect to each unit's, by example."""
    one = jax.jacrev(lambda values: perceive(values[None])[0])
    return np.asarray(jax.jit(jax.vmap(one))(units), np.float64)


def average_people(
    values: Float[np.ndarray, "example *rest"], subject: Int[np.ndarray, " example"]
) -> Float[np.ndarray, "*rest"]:
    """Return the mean over people of each person's mean; NaN where there is nobody."""
    if len(values) == 0:
        return np.full(values.shape[1:], np.nan)
    return np.mean([values[subject == who].mean(axis=0) for who in np.unique(subject)], axis=0)


def draw_orders(count: int, repeats: int, seed: int = 0) -> Int[np.ndarray, "repeat example"]:
    """Return orders of examples, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(count) for _ in range(repeats)])


def permutation_importance(
    perceive: Perceptron,
    units: Float[np.ndarray, "example unit"],
    emotion: Int[np.ndarray, " example"],
    orders: Int[np.ndarray, "repeat example"],
) -> tuple[Float[np.ndarray, "repeat unit"], Float[np.ndarray, "repeat emotion unit"]]:
    """Return the accuracy, and each emotion's recall, that is lost with a unit's values shuffled.

    Args:
        perceive: units' logits to emotions'; the highest is the answer.
        units: of each example.
        emotion: the right answer, none unknown.
        orders: of `draw_orders`: all units are shuffled alike, so that they can be compared.

    Returns:
        Shares of 1; below 0 where the shuffled values happened to serve better. A recall is NaN
        where no example has the emotion.
    """

    def figures(values: np.ndarray) -> np.ndarray:
        scores = np.asarray(perceive(values))
        right = scores.argmax(axis=1) == emotion
        shows = emotion[:, None] == np.arange(scores.shape[1])
        count = shows.sum(axis=0)
        recall = (right[:, None] & shows).sum(axis=0) / np.where(count > 0, count, np.nan)
        return np.concatenate([[right.mean() if len(right) else np.nan], recall])

    whole = figures(units)
    lost = []
    for order in orders:
        for unit in range(units.shape[1]):
            shuffled = units.copy()
            shuffled[:, unit] = units[order, unit]
            lost.append(whole - figures(shuffled))
    table = np.reshape(lost, (len(orders), units.shape[1], -1))
    return table[:, :, 0], table[:, :, 1:].transpose(0, 2, 1)


def contributions(network: TrainedNetwork, arrays: FaceArrays) -> Contributions:
    """Return what action units do to emotions in a trained AR4, on people it has not seen.

    Args:
        network: of `experiment.load_network`.
        arrays: the test split, of `resident.keep_labels`; faces without a known emotion, or
            with one that the network does not answer, count for sensitivities alone.
    """
    spec = network.spec
    read_units, perceive = split_network(network)
    faces = middle_faces(arrays)
    parts = []
    for start in range(0, len(faces), _BATCH):
        # The last batch repeats the last face; what is surplus is cut off below.
        index = np.minimum(np.arange(start, start + _BATCH), len(faces) - 1)
        parts.append(np.asarray(read_units(faces[index])))
    units = np.concatenate(parts)[: len(faces)]
    slope = slopes(perceive, units)
    above = units - average_people(units, arrays.subject)
    moved = slope * above[:, None, :]
    shows = [arrays.emotion == place for place in range(len(spec.emotions))]
    known = (arrays.emotion != UNKNOWN) & (arrays.emotion < len(spec.emotions))
    accuracy, recall = permutation_importance(
        perceive, units[known], arrays.emotion[known], draw_orders(int(known.sum()), REPEATS)
    )
    return Contributions(
        sensitivity=average_people(slope, arrays.subject),
        contribution=np.stack(
            [
                average_people(moved[chosen, place], arrays.subject[chosen])
                for place, chosen in enumerate(shows)
            ]
        ),
        recall_lost=recall.mean(axis=0),
        recall_spread=recall.std(axis=0, ddof=1),
        accuracy_lost=accuracy.mean(axis=0),
        accuracy_spread=accuracy.std(axis=0, ddof=1),
        emotions=spec.emotions,
        units=AU_COLUMNS,
    )
