"""From a trained network and a split to figures: each example counts exactly once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from emojax import metrics
from emojax.compiler import compiler_options
from emojax.data.resident import (
    Batch,
    middle_frames,
    normalise,
    place,
    scale_sound,
    share_votes,
)
from emojax.data.shards import FaceArrays
from emojax.labels import UNKNOWN
from emojax.losses import activation, output_losses
from emojax.models import forward
from emojax.models.inputs import Looks, to_inputs
from emojax.sharding import replicated, split_batch
from emojax.spec import InputSpec


class Predictions(NamedTuple):
    """A network's answers to a split."""

    action_units: np.ndarray  # example unit, float32, probabilities
    emotions: np.ndarray  # example emotion, float32, scores
    loss: float  # weighted mean of the training loss, without augmentation


Modality = Literal["both", "video", "sound"]
"""What of a clip is given; a picture has no sound to leave out."""

Predictor = Callable[..., Predictions]
"""`(variables, split, modality="both") -> Predictions`."""


def sampled_faces(
    arrays: FaceArrays, frames: int
) -> UInt8[np.ndarray, "example time height width"]:
    """Return equally spaced frames of each example, of the middle sample: what is evaluated."""
    chosen = np.asarray(middle_frames(jnp.asarray(arrays.num_frames), frames))
    return arrays.faces[np.arange(len(chosen))[:, None], chosen]


def middle_faces(arrays: FaceArrays) -> UInt8[np.ndarray, "example height width"]:
    """Return the middle frame of each example: what stands for a clip where one frame is seen."""
    return sampled_faces(arrays, 1)[:, 0]


Answers = tuple[
    Float[Array, "batch outputs"],  # probabilities
    Float[Array, " batch"],  # each example's loss, summed over its outputs
    Float[Array, " batch"],  # what it weighs
]


def make_answer(model: nn.Module, looks: Looks, spec: InputSpec) -> Callable[[Any, Batch], Answers]:
    """Return `(variables, batch) -> answers` for batches as `take_batch` makes them.

    Args:
        model: the network.
        looks: what it looks at.
        spec: what it sees and answers.
    """

    def answer(variables: Any, batch: Batch) -> Answers:
        inputs = to_inputs(
            looks, batch.frames, batch.spectrograms, batch.has_sound, batch.has_frames
        )
        logits = forward(model, variables, inputs).logits
        per_output, weights = output_losses(logits, batch, spec)
        return activation(logits, spec), (per_output * weights).sum(axis=1), weights.sum(axis=1)

    return answer


def to_predictions(
    scores: np.ndarray, loss: np.ndarray, weight: np.ndarray, spec: InputSpec
) -> Predictions:
    """Return the answers to a split, its batches put together.

    Args:
        scores: a row an example.
        loss: of each example.
        weight: of each example.
        spec: names the outputs.
    """
    units = len(spec.action_units)
    total = max(float(weight.sum(dtype=np.float64)), 1e-8)
    return Predictions(
        action_units=scores[:, :units],
        emotions=scores[:, units:],
        loss=float(loss.sum(dtype=np.float64)) / total,
    )


def make_predictor(
    model: nn.Module,
    looks: Looks,
    spec: InputSpec,
    mesh: jax.sharding.Mesh,
    batch_size: int = 256,
) -> Predictor:
    """Return `(variables, split, modality) -> Predictions`, compiled once for splits of any size.

    An example without a face is answered by its sound alone; a network that does not listen
    must not be asked about it (`resident.keep_labels`).

    Args:
        model: the network.
        looks: what it looks at.
        spec: what it sees and answers.
        mesh: the devices.
        batch_size: examples a call; fewer where an example is a clip.
    """
    batch_size = max(1, batch_size // spec.frames)
    batch_size = max(batch_size // mesh.size, 1) * mesh.size
    sharding = split_batch(mesh)
    answer = make_answer(model, looks, spec)

    def predict(variables: Any, batch: Batch) -> Answers:
        spectrograms = scale_sound(batch.spectrograms)
        frames = normalise(batch.frames, spec)
        return answer(variables, batch._replace(frames=frames, spectrograms=spectrograms))

    compiled = jax.jit(predict, out_shardings=replicated(mesh), compiler_options=compiler_options())

    def predict_split(
        variables: Any, arrays: FaceArrays, modality: Modality = "both"
    ) -> Predictions:
        count = len(arrays.emotion)
        if not count:
            units = np.zeros((0, len(spec.action_units)), np.float32)
            emotions = np.zeros((0, len(spec.emotions)), np.float32)
            return Predictions(units, emotions, math.nan)
        whole = Batch(
            sampled_faces(arrays, spec.frames),
            (arrays.num_frames > 0).astype(np.float32) * (modality != "sound"),
            arrays.spectrograms,
            arrays.has_sound.astype(np.float32) * (modality != "video"),
            arrays.action_units.astype(np.int8),
            arrays.action_unit_confidence.astype(np.float32),
            arrays.emotion.astype(np.int32),
            arrays.emotion_confidence.astype(np.float32),
            share_votes(arrays.votes, "none"),
        )
        parts = []
        for start in range(0, count, batch_size):
            # The last batch repeats the last example; what is surplus is cut off below.
            index = np.minimum(np.arange(start, start + batch_size), count - 1)
            batch = place(Batch(*(array[index] for array in whole)), sharding)
            parts.append(compiled(variables, batch))
        scores, loss, weight = (
            np.concatenate([np.asarray(part[k]) for part in parts])[:count] for k in range(3)
        )
        return to_predictions(scores, loss, weight, spec)

    return predict_split


def score(
    arrays: FaceArrays,
    predictions: Predictions,
    spec: InputSpec,
    replicates: int = metrics.REPLICATES,
) -> dict[str, Any]:
    """Return all figures of a split, over everything and per domain; none without outputs.

    Args:
        arrays: the split.
        predictions: one row per example, same order.
        spec: names the outputs.
        replicates: of the bootstrap over people.
    """
    # To a network that does not answer neutral, a neutral face shows none of its emotions; which
    # of them it calls neutral is decided by a threshold, elsewhere.
    emotion = np.where(arrays.emotion < len(spec.emotions), arrays.emotion, UNKNOWN)

    def figures(mask: np.ndarray) -> dict[str, Any]:
        return {
            "examples": int(mask.sum()),
            "people": len(np.unique(arrays.subject[mask])),
            "emotion": metrics.emotion_metrics(
                emotion[mask],
                predictions.emotions[mask],
                arrays.subject[mask],
                spec.emotions,
                replicates,
            )
            if spec.emotions
            else {},
            "action_units": metrics.action_unit_metrics(
                arrays.action_units[mask],
                predictions.action_units[mask],
                arrays.subject[mask],
                spec.action_units,
                replicates=replicates,
            )
            if spec.action_units
            else {},
        }

    return {
        "loss": predictions.loss,
        "overall": figures(np.ones(len(arrays.emotion), bool)),
        "domains": metrics.by_group(arrays.domain, arrays.domains, figures),
    }
