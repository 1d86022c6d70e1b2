"""An AR4 whose action units a test draws: the values of the picture's first pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from emojax.config import TrainConfig
from emojax.data.shards import FaceArrays
from emojax.models.ar4 import AR4
from emojax.models.layers import Outputs
from emojax.network import TrainedNetwork
from emojax.spec import InputSpec

UNITS, EMOTIONS, HIDDEN = 15, 7, 32


class FirstPixels(nn.Module):
    """Reads the units from the first row of the picture: labels that a test can draw."""

    num_outputs: int

    @nn.compact
    def __call__(self, images: Any, *, train: bool) -> Outputs:
        units = images[:, 0, : self.num_outputs, 0]
        return Outputs(units * self.param("scale", nn.initializers.ones, ()), units)


def make_network(activation: str = "softmax", seed: int = 0) -> TrainedNetwork:
    rng = np.random.default_rng(seed)
    params = {
        "extractor": {"scale": jnp.array(2.0)},
        "hidden": {
            "kernel": jnp.asarray(rng.normal(0, 0.4, (UNITS, HIDDEN)), jnp.float32),
            "bias": jnp.asarray(rng.normal(0, 0.5, HIDDEN), jnp.float32),
        },
        "head": {
            "logits": {
                "kernel": jnp.asarray(rng.normal(0, 0.4, (HIDDEN, EMOTIONS)), jnp.float32),
                "bias": jnp.asarray(rng.normal(0, 0.5, EMOTIONS), jnp.float32),
            }
        },
    }
    return TrainedNetwork(
        AR4(UNITS + EMOTIONS, FirstPixels),
        {"params": params},
        TrainConfig(model="ar4"),
        InputSpec(emotion_activation=activation),
        Path(),
    )


def make_arrays(faces: np.ndarray, emotion: np.ndarray, subject: np.ndarray) -> FaceArrays:
    count = len(emotion)
    return FaceArrays(
        faces=faces[:, None],
        spectrograms=np.zeros((count, 0, 0), np.uint8),
        has_sound=np.zeros(count, np.uint8),
        num_frames=np.ones(count, np.int32),
        timestamps=np.zeros((count, 1), np.float32),
        success=np.ones((count, 1), np.uint8),
        emotion=emotion.astype(np.int32),
        emotion_confidence=np.ones(count, np.float32),
        votes=np.zeros((count, 3, EMOTIONS), np.int32),
        votes_total=np.zeros((count, 3), np.int32),
        action_units=np.zeros((count, UNITS), np.int32),
        intensities=np.zeros((count, UNITS), np.float32),
        action_unit_confidence=np.ones((count, UNITS), np.float32),
        subject=subject.astype(np.int32),
        domain=np.zeros(count, np.int32),
        subjects=tuple(map(str, range(int(subject.max()) + 1))),
        domains=("",),
        paths=tuple(map(str, range(count))),
        levels=("",) * count,
    )
