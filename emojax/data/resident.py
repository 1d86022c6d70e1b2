"""The resident path: a whole split as uint8 in device memory, sampled inside the step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from emojax.errors import UserError
from emojax.spec import InputSpec

if TYPE_CHECKING:
    from emojax.data.shards import FaceArrays


class Resident(NamedTuple):
    """A split on the device; one leading axis of examples everywhere."""

    faces: Any  # example frame height width, uint8
    num_frames: Any  # example, int32: frames that are not padding
    action_units: Any  # example unit, int8: 1, 0, -1 unknown
    action_unit_confidence: Any  # example unit, float32, 0..1
    emotion: Any  # example, int32: index, -1 unknown
    emotion_confidence: Any  # example, float32, 0..1


class Batch(NamedTuple):
    """What a step computes on."""

    images: Any  # batch height width, float32, normalised
    action_units: Any  # batch unit
    action_unit_confidence: Any  # batch unit
    emotion: Any  # batch
    emotion_confidence: Any  # batch


def check_fits(needed_bytes: int, devices: Iterable[Any]) -> None:
    """Refuse pictures that a device has no room for.

    Args:
        needed_bytes: size of all faces.
        devices: JAX devices; one that does not tell its memory (a CPU) is taken to have room.

    Raises:
        UserError: they need more than 60% of what is free on a device.
    """
    for device in devices:
        stats = device.memory_stats() or {}
        free = stats.get("bytes_limit", np.inf) - stats.get("bytes_in_use", 0)
        # The rest is for parameters, activations and the compiler's scratch.
        if needed_bytes > 0.6 * free:
            raise UserError(
                f"{needed_bytes / 2**30:.1f} GiB of faces do not fit into {device} "
                f"({free / 2**30:.1f} GiB free): use a larger device or fewer frames a clip"
            )


def put_on_device(arrays: FaceArrays, sharding: jax.sharding.Sharding) -> Resident:
    """Return the split in device memory, copied once.

    Raises:
        UserError: a device has no room for the faces.
    """
    check_fits(arrays.faces.nbytes, sharding.device_set)
    host = Resident(
        faces=arrays.faces,
        num_frames=arrays.num_frames.astype(np.int32),
        action_units=arrays.action_units.astype(np.int8),
        action_unit_confidence=arrays.action_unit_confidence.astype(np.float32),
        emotion=arrays.emotion.astype(np.int32),
        emotion_confidence=arrays.emotion_confidence.astype(np.float32),
    )
    return jax.device_put(host, sharding)


def draw_frame(key: PRNGKeyArray, num_frames: Int[Array, " batch"]) -> Int[Array, " batch"]:
    """Return one frame of each clip, uniformly: another one each time in training."""
    return jax.random.randint(key, num_frames.shape, 0, jnp.maximum(num_frames, 1))


def normalise(
    faces: UInt8[Array, "batch height width"], spec: InputSpec
) -> Float[Array, "batch height width"]:
    """Return (x - offset) / scale of gray values 0..255, as the runner's `face.normalise`."""
    return (faces.astype(jnp.float32) - spec.offset) / spec.scale


def take_batch(
    resident: Resident, index: Int[Array, " batch"], frame: Int[Array, " batch"], spec: InputSpec
) -> Batch:
    """Return the examples at `index`, each by its frame, decoded and normalised."""
    return Batch(
        images=normalise(resident.faces[index, frame], spec),
        action_units=resident.action_units[index],
        action_unit_confidence=resident.action_unit_confidence[index],
        emotion=resident.emotion[index],
        emotion_confidence=resident.emotion_confidence[index],
    )
