"""The resident path: a whole split as uint8 in device memory, sampled inside the step."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from emojax.errors import UserError
from emojax.labels import MODALITIES, NEUTRAL, UNKNOWN
from emojax.spec import InputSpec

if TYPE_CHECKING:
    from emojax.data.shards import FaceArrays


class Resident(NamedTuple):
    """A split on the device; one leading axis of examples everywhere."""

    faces: Any  # example frame height width, uint8
    spectrograms: Any  # example frequency time, uint8; example 0 0 for a set without sound
    has_sound: Any  # example, float32: 1 or 0
    num_frames: Any  # example, int32: frames that are not padding; 0 where there is only sound
    action_units: Any  # example unit, int8: 1, 0, -1 unknown
    action_unit_confidence: Any  # example unit, float32, 0..1
    emotion: Any  # example, int32: index, -1 unknown
    emotion_confidence: Any  # example, float32, 0..1
    emotion_shares: Any  # example emotion, float32, of `share_votes`; example 0 if not asked for


class Batch(NamedTuple):
    """What a step computes on."""

    frames: Any  # batch time height width, float32, normalised; time is 1 for pictures
    has_frames: Any  # batch, float32: 1 where there is a face, 0 where there is only sound
    spectrograms: Any  # batch frequency time, float32, 0..1
    has_sound: Any  # batch, float32: 1 or 0
    action_units: Any  # batch unit
    action_unit_confidence: Any  # batch unit
    emotion: Any  # batch
    emotion_confidence: Any  # batch
    emotion_shares: Any  # batch emotion; batch 0 if not asked for


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
                f"({free / 2**30:.1f} GiB free): use --input=streaming"
            )


def share_votes(
    votes: Int[np.ndarray, "example modality emotion"],
    modality: str,
    totals: Int[np.ndarray, "example modality"] | None = None,
) -> Float[np.ndarray, "example emotions"]:
    """Return the share of each emotion in all that raters said, -1 everywhere where nobody did.

    What is missing to a sum of 1 they said of something else: an emotion beyond the set, that
    they do not know, that it is no face.

    Args:
        votes: how many raters chose each emotion, by `labels.MODALITIES`.
        modality: what they were given; `none`: no shares at all.
        totals: how many voted; None: no more than those that chose an emotion.
    """
    if modality == "none":
        return np.zeros((len(votes), 0), np.float32)
    side = MODALITIES.index(modality)
    counts = votes[:, side].astype(np.float32)
    total = counts.sum(axis=1)
    if totals is not None:
        total = np.maximum(total, totals[:, side])
    return np.where(total[:, None] > 0, counts / np.maximum(total, 1)[:, None], -1.0).astype("f4")


def place(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """Return arrays of the host on the devices, of which each process fills its own.

    Args:
        tree: arrays, the same in all processes.
        sharding: where they go.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    # device_put would send all of it through the network, to compare.
    def put(values: np.ndarray) -> jax.Array:
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(put, tree)


def put_on_device(
    arrays: FaceArrays, sharding: jax.sharding.Sharding, votes: str = "none"
) -> Resident:
    """Return the split in device memory, copied once.

    Args:
        arrays: the split.
        sharding: where it goes.
        votes: whose shares are the targets of emotions: one of `labels.MODALITIES`, or `none`.

    Raises:
        UserError: a device has no room for the faces.
    """
    here = sharding.addressable_devices
    check_fits(arrays.faces.nbytes + arrays.spectrograms.nbytes, here)
    host = Resident(
        faces=arrays.faces,
        spectrograms=arrays.spectrograms,
        has_sound=arrays.has_sound.astype(np.float32),
        num_frames=arrays.num_frames.astype(np.int32),
        action_units=arrays.action_units.astype(np.int8),
        action_unit_confidence=arrays.action_unit_confidence.astype(np.float32),
        emotion=arrays.emotion.astype(np.int32),
        emotion_confidence=arrays.emotion_confidence.astype(np.float32),
        emotion_shares=share_votes(arrays.votes, votes, arrays.votes_total),
    )
    return place(host, sharding)


def space_frames(
    num_frames: Int[Array, " batch"], wanted: int, start: Int[Array, " batch"]
) -> Int[Array, "batch wanted"]:
    """Return equally spaced frames of each clip.

    A clip of n frames has n // wanted such samples, which start one frame apart; one that
    is shorter than `wanted` has one, in which frames come more than once. A single
    frame of a clip is any of its frames.

    Args:
        num_frames: length of each clip, n.
        wanted: frames of a sample; 1 for a picture.
        start: which sample, 0 .. n // wanted - 1. Source: thesis, 5.2.3.
    """
    places = jnp.arange(wanted) * num_frames[:, None] // wanted
    return jnp.minimum(places + start[:, None], jnp.maximum(num_frames - 1, 0)[:, None])


def draw_frames(
    key: PRNGKeyArray, num_frames: Int[Array, " batch"], wanted: int
) -> Int[Array, "batch wanted"]:
    """Return equally spaced frames of each clip with a random start, as training does."""
    # A clip that is too short, or has no frame at all, still has its one start.
    starts = jnp.maximum(num_frames // wanted, 1)
    return space_frames(num_frames, wanted, jax.random.randint(key, num_frames.shape, 0, starts))


def middle_frames(num_frames: Int[Array, " batch"], wanted: int) -> Int[Array, "batch wanted"]:
    """Return equally spaced frames of each clip with the middle start, as evaluation does.

    The runner's is `clip.middle_sample`.
    """
    return space_frames(num_frames, wanted, jnp.maximum(num_frames // wanted - 1, 0) // 2)


def normalise(
    faces: UInt8[Array, "*batch height width"], spec: InputSpec
) -> Float[Array, "*batch height width"]:
    """Return (x - offset) / scale of gray values 0..255, as the runner's `face.normalise`."""
    return (faces.astype(float) - spec.offset) / spec.scale


def scale_sound(
    spectrograms: UInt8[Array, "batch frequency time"],
) -> Float[Array, "batch frequency time"]:
    """Return spectrograms of 0..255 as 0..1."""
    return spectrograms.astype(jnp.float32) / 255


def take_batch(
    resident: Resident,
    index: Int[Array, " batch"] | None,
    frames: Int[Array, "batch time"],
    spec: InputSpec,
) -> Batch:
    """Return examples, each by its frames, decoded and normalised.

    Args:
        resident: examples on the device.
        index: which of them; None: all, in their order.
        frames: which of each one's frames.
        spec: how they are normalised.
    """
    if index is None:
        # Each device chooses in its own part of a batch. With an index, even one that only
        # counts from 0, XLA gathers the whole batch onto each of them first.
        faces = jax.vmap(lambda clip, chosen: clip[chosen])(resident.faces, frames)
    else:
        faces = resident.faces[index[:, None], frames]
    rows = slice(None) if index is None else index
    return Batch(
        frames=normalise(faces, spec),
        has_frames=(resident.num_frames[rows] > 0).astype(jnp.float32),
        spectrograms=scale_sound(resident.spectrograms[rows]),
        has_sound=resident.has_sound[rows],
        action_units=resident.action_units[rows],
        action_unit_confidence=resident.action_unit_confidence[rows],
        emotion=resident.emotion[rows],
        emotion_confidence=resident.emotion_confidence[rows],
        emotion_shares=resident.emotion_shares[rows],
    )


def keep_labels(
    arrays: FaceArrays, spec: InputSpec, named: Sequence[str] | None = None
) -> FaceArrays:
    """Return what of a split the network is about: examples it can take in, labels it answers.

    A network without an ear never sees an example without a face, which would be a black
    picture to it; how many there were is printed.

    Args:
        arrays: the split.
        spec: what the network sees and answers.
        named: the emotions of the shards, where they may be more than the network's. To one that
            does not answer neutral, a neutral face has an emotion beyond its last: none of them.

    Raises:
        UserError: the split holds examples, and none of them has a face to show.
    """
    if spec.sound is None:
        arrays = keep_faces(arrays)
    if not spec.action_units:
        none = slice(0, 0)
        arrays = dataclasses.replace(
            arrays,
            action_units=arrays.action_units[:, none],
            intensities=arrays.intensities[:, none],
            action_unit_confidence=arrays.action_unit_confidence[:, none],
        )
    if spec.emotions and named is not None and tuple(named) != spec.emotions:
        arrays = dataclasses.replace(arrays, emotion=_renumber(arrays.emotion, named, spec))
    if not spec.emotions:
        arrays = dataclasses.replace(arrays, emotion=np.full_like(arrays.emotion, UNKNOWN))
    return arrays


def _renumber(
    emotion: Int[np.ndarray, " example"], named: Sequence[str], spec: InputSpec
) -> Int[np.ndarray, " example"]:
    places = {name: place for place, name in enumerate(spec.emotions)}
    if NEUTRAL not in places:
        # One-hot of it is a row of zeros, which has weight, unlike that of an unknown label.
        places[NEUTRAL] = len(spec.emotions)
    # Unknown is -1: the last.
    table = np.array([*(places.get(name, UNKNOWN) for name in named), UNKNOWN], emotion.dtype)
    return table[emotion]


def keep_faces(arrays: FaceArrays) -> FaceArrays:
    """Return the examples of a split that have a face; how many have none is printed.

    Raises:
        UserError: the split holds examples, and none of them has a face.
    """
    seen = arrays.num_frames > 0
    count, without = len(seen), int((~seen).sum())
    if without == 0:
        return arrays
    if without == count:
        raise UserError(
            f"all {count} examples are sound without a face, and faces are what is looked at "
            "here: use a network that listens (--model=ar5), or build from clips"
        )
    print(f"{without} of {count} examples are sound without a face: left out", flush=True)
    return select(arrays, seen)


def select(arrays: FaceArrays, chosen: Bool[np.ndarray, " example"]) -> FaceArrays:
    """Return the examples of a split that are chosen, in their order."""

    def part(values: Any) -> Any:
        if isinstance(values, np.ndarray):
            return values[chosen]
        return tuple(itertools.compress(values, chosen))

    # Names of people and domains are not one an example: indices point into them.
    whole = {"subjects", "domains"}
    names = {field.name for field in dataclasses.fields(arrays)} - whole
    return dataclasses.replace(arrays, **{name: part(getattr(arrays, name)) for name in names})
