"""From a trained network and a split to figures: each example counts exactly once."""

from __future__ import annotations

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
from emojax.losses import output_losses
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
    num_units = len(spec.action_units)
    sharding = split_batch(mesh)

    def predict(variables: Any, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        inputs = to_inputs(
            looks,
            normalise(batch.frames, spec),
            scale_sound(batch.spectrograms),
            batch.has_sound,
            batch.has_frames,
        )
        logits = forward(model, variables, inputs).logits
        per_output, weights = output_losses(logits, batch, spec)
        return activation(logits, spec), (per_output * weights).sum(axis=1), weights.sum(axis=1)

    compiled = jax.jit(predict, out_shardings=replicated(mesh), compiler_options=compiler_options())

    def predict_split(
        variables: Any, arrays: FaceArrays, modality: Modality = "both"
    ) -> Predictions:
        count = len(arrays.emotion)
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
        total = max(float(weight.sum(dtype=np.float64)), 1e-8)
        return Predictions(
            action_units=scores[:, :num_units],
            emotions=scores[:, num_units:],
            loss=float(loss.sum(dtype=np.float64)) / total,
        )

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

    def figures(mask: np.ndarray) -> dict[str, Any]:
        return {
            "examples": int(mask.sum()),
            "people": len(np.unique(arrays.subject[mask])),
            "emotion": metrics.emotion_metrics(
                arrays.emotion[mask],
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
