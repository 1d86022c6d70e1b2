"""Recorded examples that travel with an artifact, and the answers that are expected to them.

`golden.npz` holds the fields of `Recorded`, `probabilities` (Flax's answers, float32
[n, outputs]) and, for an int8 model, `int8` (its own answers on the machine that made it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from emojax.archive import read_arrays
from emojax.errors import UserError
from emojax.face import normalise
from emojax.spec import InputSpec

GOLDEN = "golden.npz"
"""The file's name in an artifact."""

LARGEST_BYTES = 256 << 20
"""What its arrays may take, so that a small file can't fill the memory."""


class Recorded(NamedTuple):
    """Examples on which a model has to agree with Flax."""

    crops: np.ndarray  # uint8 [n, frames, height, width], gray
    spectrograms: np.ndarray  # uint8 [n, frequency, time]; [n, 0, 0] where nobody listens
    has_frames: np.ndarray  # float32 [n], 1 or 0
    has_sound: np.ndarray  # float32 [n], 1 or 0


class Golden(NamedTuple):
    """What `golden.npz` holds."""

    recorded: Recorded
    probabilities: np.ndarray  # float32 [n, outputs], Flax's
    int8: np.ndarray | None  # float32 [n, outputs], the int8 model's where it was made


Looks = Literal["picture", "frames", "clip"]
"""What a network looks at; `models.inputs.Looks` for those that need no network."""


def input_shapes(looks: Looks, spec: InputSpec) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs of `name_inputs`, for one example."""
    if looks == "picture":
        return {"faces": (1, spec.height, spec.width, spec.channels)}
    shapes: dict[str, tuple[int, ...]] = {"frames": (1, spec.frames, spec.height, spec.width)}
    if looks == "clip":
        shapes["has_frames"] = (1,)
        if spec.sound is not None:
            shapes |= {"spectrogram": (1, spec.sound.height, spec.sound.width, 1)}
            shapes |= {"has_sound": (1,)}
    return shapes


def name_inputs(recorded: Recorded, looks: Looks, spec: InputSpec) -> dict[str, np.ndarray]:
    """Return the artifact's inputs by name, float32, one row per example.

    `faces` [n, height, width, 1] for a picture; `frames` [n, time, height, width] for the
    frames of a clip; beside them, for a clip with sound, `spectrogram` [n, frequency, time, 1]
    and `has_frames` and `has_sound` [n], 1 or 0.
    """
    frames = normalise(recorded.crops.reshape(-1, spec.height, spec.width), spec)
    frames = frames.reshape(recorded.crops.shape)
    if looks == "picture":
        return {"faces": frames[:, 0, :, :, None]}
    named = {"frames": frames}
    if looks == "clip":
        named["has_frames"] = recorded.has_frames
        if spec.sound is not None:
            named["spectrogram"] = recorded.spectrograms[..., None].astype(np.float32) / 255
            named["has_sound"] = recorded.has_sound
    return named


def input_ranges(spec: InputSpec) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest value that each of the inputs of `name_inputs` can have."""
    dark, bright = normalise(np.array([0, 255], np.uint8), spec).tolist()
    return {
        "faces": (dark, bright),
        "frames": (dark, bright),
        **dict.fromkeys(("spectrogram", "has_frames", "has_sound"), (0.0, 1.0)),
    }


def write_golden(path: Path, golden: Golden) -> None:
    """Write the file."""
    own = {} if golden.int8 is None else {"int8": golden.int8}
    arrays = {**golden.recorded._asdict(), "probabilities": golden.probabilities, **own}
    np.savez_compressed(path, **arrays)


def _forms(spec: InputSpec) -> dict[str, tuple[type, tuple[int, ...]]]:
    sound = (spec.sound.height, spec.sound.width) if spec.sound else (0, 0)
    return {
        "crops": (np.uint8, (spec.frames, spec.height, spec.width)),
        "spectrograms": (np.uint8, sound),
        "has_frames": (np.float32, ()),
        "has_sound": (np.float32, ()),
        "probabilities": (np.float32, (spec.num_outputs,)),
        "int8": (np.float32, (spec.num_outputs,)),
    }


def read_golden(path: Path, spec: InputSpec) -> Golden:
    """Return what the file holds, checked against the spec.

    Raises:
        UserError: no such file, a damaged one, or arrays that are not the spec's.
    """
    forms = _forms(spec)
    arrays = read_arrays(path, forms, "an artifact's recorded answers", LARGEST_BYTES)
    count = next(iter(arrays["crops"].shape), 0) if "crops" in arrays else 0
    for name, (dtype, shape) in forms.items():
        if name not in arrays and name == "int8":
            continue
        found = arrays.get(name)
        if found is None or found.dtype != dtype or found.shape != (count, *shape) or not count:
            what = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise UserError(
                f"{path}: {name!r}: wanted {np.dtype(dtype)} [n, {', '.join(map(str, shape))}], "
                f"found {what}: export the artifact again"
            )
    recorded = Recorded(**{name: arrays[name] for name in Recorded._fields})
    return Golden(recorded, arrays["probabilities"], arrays.get("int8"))
