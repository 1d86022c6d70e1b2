"""A network that compiles in a second, and random examples for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from emojax.augment import AugmentConfig
from emojax.data.resident import Resident
from emojax.models.layers import Head, Outputs
from emojax.spec import InputSpec

SPEC = InputSpec()

STILL = AugmentConfig(
    mirror=0.0,
    rotation_deg=0.0,
    scale=0.0,
    translation=0.0,
    brightness=0.0,
    contrast=0.0,
    noise=0.1,
)
"""Noise alone: a step's randomness shows, and a warp's compilation is saved."""


class TinyNetwork(nn.Module):
    """Two convolutions with normalisation and dropout, `blocks` of them more."""

    num_outputs: int = SPEC.num_outputs
    blocks: Sequence[int] = ()

    @nn.compact
    def __call__(self, images: Any, *, train: bool) -> Outputs:
        x = nn.relu(nn.Conv(8, (7, 7), (7, 7), name="stem")(images))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        for number in range(sum(self.blocks)):
            x = x + nn.relu(nn.Conv(8, (1, 1), name=f"block{number}")(x))
        x = nn.relu(nn.Conv(8, (3, 3), name="conv")(x))
        features = jnp.reshape(x, (x.shape[0], -1))
        return Head(self.num_outputs, dropout=0.1, name="head")(features, train=train)


def random_examples(count: int, seed: int = 0) -> Resident:
    rng = np.random.default_rng(seed)
    return Resident(
        faces=rng.integers(0, 256, (count, 1, SPEC.height, SPEC.width), dtype=np.uint8),
        spectrograms=np.zeros((count, 0, 0), np.uint8),
        has_sound=np.zeros(count, np.float32),
        num_frames=np.ones(count, np.int32),
        action_units=rng.integers(-1, 2, (count, 15)).astype(np.int8),
        action_unit_confidence=np.ones((count, 15), np.float32),
        emotion=rng.integers(-1, 7, count).astype(np.int32),
        emotion_confidence=np.ones(count, np.float32),
        emotion_shares=np.zeros((count, 0), np.float32),
    )
