"""What networks look at: a picture, the frames of a clip, or a clip with its sound."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from emojax.errors import UserError
from emojax.spec import InputSpec

Looks = Literal["picture", "frames", "clip"]
"""`picture`: `batch height width channels`; `frames`: `batch time height width`; `clip`: `Clip`."""

CLIP_FRAMES = 20
"""Frames of a clip that a network sees. Source: thesis, 5.2.3 (its code takes 15)."""


class Clip(NamedTuple):
    """Frames and sound of clips, either of which may be missing."""

    frames: Any  # batch time height width, float32, normalised gray
    spectrograms: Any  # batch frequency time 1, float32, 0..1
    has_frames: Any  # batch, float32: 1, or 0 where the frames are not to be looked at
    has_sound: Any  # batch, float32: 1, or 0 where there is no sound to be listened to


def fit_spec(spec: InputSpec, looks: Looks, *, hears: bool = True) -> InputSpec:
    """Return the spec of what a network looks at, out of what a data set holds.

    Args:
        spec: of the data set.
        looks: what the network looks at.
        hears: whether a network that looks at clips has a branch for their sound.

    Raises:
        UserError: the network listens and the data set holds no sound.
    """
    hears = hears and looks == "clip"
    if hears and spec.sound is None:
        raise UserError(
            "this network listens and the data set holds no sound: build it from clips with "
            "sound, or leave the sound branch out (--sound-features=0)"
        )
    return spec.replace(
        frames=1 if looks == "picture" else CLIP_FRAMES, sound=spec.sound if hears else None
    )


def to_inputs(
    looks: Looks,
    frames: Float[Array, "batch time height width"],
    spectrograms: Float[Array, "batch frequency width2"],
    has_sound: Float[Array, " batch"],
    has_frames: Float[Array, " batch"],
) -> Any:
    """Return a batch in the form that networks of this kind take.

    Args:
        looks: what the network looks at.
        frames: normalised gray values, one frame for a picture.
        spectrograms: 0..1, row 0 the highest frequency; `batch 0 0` where there is no sound.
        has_sound: 1 where the spectrogram is one.
        has_frames: 1 where the frames count.
    """
    if looks == "picture":
        return frames[:, 0, :, :, None]
    if looks == "frames":
        return frames
    return Clip(frames, spectrograms[..., None], has_frames, has_sound)


def zero_inputs(looks: Looks, spec: InputSpec, batch: int = 1) -> Any:
    """Return inputs of zeros in the spec's shapes, everything seen and heard."""
    if looks == "picture":
        return jnp.zeros((batch, spec.height, spec.width, spec.channels))
    frames = jnp.zeros((batch, spec.frames, spec.height, spec.width))
    size = (spec.sound.height, spec.sound.width) if spec.sound else (0, 0)
    return to_inputs(looks, frames, jnp.zeros((batch, *size)), jnp.ones(batch), jnp.ones(batch))


def spread_inputs(inputs: Any, sharding: jax.sharding.Sharding) -> Any:
    """Return the inputs with each leaf's batch axis spread over the devices."""
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), inputs)
