"""A trained run becomes an artifact: SavedModel, TFLite, `spec.json` and recorded answers.

```
artifact/
  model.tflite   float32 [1, height, width, 1] normalised -> float32 [1, outputs] probabilities;
                 networks for clips take the named inputs of `name_inputs`
  spec.json      the contract: input, outputs, detector, training data, licence, commit, figures
  golden.npz     recorded crops and Flax's answers to them
  saved_model/   the same graph for TensorFlow
```
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from emojax.data.quiet import held_back_stderr
from emojax.data.shards import FaceArrays
from emojax.errors import UserError
from emojax.evaluate import activation, sampled_faces
from emojax.face import HaarDetector, normalise
from emojax.models import forward
from emojax.models.inputs import Clip, Looks
from emojax.run import source_commit, write_json
from emojax.spec import InputSpec

TOLERANCE = 1e-4
"""Largest difference between Flax and the float32 artifact, in probability."""

SYNTHETIC_NOTICE = "trained on synthetic faces: what it says about real ones means nothing yet"


class Recorded(NamedTuple):
    """Examples on which the artifact has to agree with Flax; they travel with it."""

    crops: np.ndarray  # uint8 [n, frames, height, width], gray
    spectrograms: np.ndarray  # uint8 [n, frequency, time]; [n, 0, 0] where nobody listens
    has_frames: np.ndarray  # float32 [n], 1 or 0
    has_sound: np.ndarray  # float32 [n], 1 or 0


def record_examples(arrays: FaceArrays, looks: Looks, spec: InputSpec, wanted: int) -> Recorded:
    """Return up to `wanted` examples of a split, spread over it.

    Of clips, each third is given without its sound and the next without its frames, so
    that the artifact is compared in every way it can be used.
    """
    count = len(arrays.emotion)
    chosen = np.unique(np.linspace(0, count - 1, wanted).round().astype(int))
    turn = np.arange(len(chosen)) % 3
    two_sided = looks == "clip" and spec.sound is not None
    hidden = turn if two_sided else np.zeros_like(turn)
    return Recorded(
        crops=sampled_faces(arrays, spec.frames)[chosen],
        spectrograms=arrays.spectrograms[chosen],
        has_frames=((hidden != 1) * (arrays.num_frames[chosen] > 0)).astype(np.float32),
        has_sound=((hidden != 2) * arrays.has_sound[chosen]).astype(np.float32),
    )


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


def _answer(model: nn.Module, variables: Any, looks: Looks, spec: InputSpec) -> Callable[..., Any]:
    """Return the function from named inputs to probabilities that is exported."""

    def answer(**named: jax.Array) -> jax.Array:
        if looks == "picture":
            inputs: Any = named["faces"]
        elif looks == "frames":
            inputs = named["frames"]
        else:
            batch = named["frames"].shape[0]
            silence = jnp.zeros((batch, 0, 0, 1)), jnp.zeros(batch)
            inputs = Clip(
                named["frames"],
                named.get("spectrogram", silence[0]),
                named["has_frames"],
                named.get("has_sound", silence[1]),
            )
        return activation(forward(model, variables, inputs).logits, spec)

    return answer


def flax_answers(
    model: nn.Module,
    variables: Any,
    looks: Looks,
    spec: InputSpec,
    named: Mapping[str, np.ndarray],
) -> Float[np.ndarray, "n outputs"]:
    """Return the network's probabilities for named inputs, computed by Flax."""
    answer = jax.jit(_answer(model, variables, looks, spec))
    return np.asarray(answer(**{name: jnp.asarray(array) for name, array in named.items()}))


def write_saved_model(
    model: nn.Module,
    variables: Any,
    looks: Looks,
    spec: InputSpec,
    named: Mapping[str, np.ndarray],
    folder: Path,
) -> None:
    """Write the network with its activations as a TensorFlow SavedModel, one example a call."""
    import tensorflow as tf
    from jax.experimental import jax2tf

    answer = _answer(model, jax.tree.map(np.asarray, variables), looks, spec)
    names = list(named)

    def in_order(*arrays: jax.Array) -> jax.Array:
        return answer(**dict(zip(names, arrays, strict=True)))

    function = tf.function(
        jax2tf.convert(in_order, with_gradient=False),
        input_signature=[
            tf.TensorSpec((1, *array.shape[1:]), tf.float32, name=name)
            for name, array in named.items()
        ],
        autograph=False,
    )
    root = tf.train.Checkpoint(answer=function)
    tf.saved_model.save(root, str(folder), signatures=function)


def convert_to_tflite(saved_model: Path) -> bytes:
    """Return the float32 TFLite model of a SavedModel."""
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_saved_model(str(saved_model)).convert()


def tflite_answers(model: bytes, named: Mapping[str, np.ndarray]) -> Float[np.ndarray, "n outputs"]:
    """Return the TFLite model's outputs, computed by LiteRT as the runner will."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    # Each input is called after its name in the signature: serving_default_frames:0.
    places = {
        str(details["name"]).removeprefix("serving_default_").split(":")[0]: details["index"]
        for details in interpreter.get_input_details()
    }
    target = interpreter.get_output_details()[0]["index"]
    answers = []
    for row in range(len(next(iter(named.values())))):
        for name, place in places.items():
            interpreter.set_tensor(place, named[name][row : row + 1])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(target)[0].copy())
    return np.stack(answers)


def check_agreement(
    expected: Float[np.ndarray, "n outputs"],
    found: Float[np.ndarray, "n outputs"],
    tolerance: float = TOLERANCE,
) -> float:
    """Return the largest difference between two sets of answers.

    Raises:
        UserError: it is above the tolerance, or an answer is no number.
    """
    if expected.shape != found.shape:
        raise UserError(
            f"the exported model gives outputs {found.shape}, Flax {expected.shape}: "
            "nothing was written"
        )
    difference = float(np.abs(expected - found).max())
    if not difference <= tolerance:
        raise UserError(
            f"the exported model disagrees with Flax by {difference:.2e} "
            f"(allowed {tolerance:.0e}) on {len(expected)} recorded examples: nothing was written"
        )
    return difference


def export_artifact(
    model: nn.Module,
    variables: Any,
    looks: Looks,
    spec: InputSpec,
    recorded: Recorded,
    out: Path,
    *,
    training: dict[str, Any],
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """Write an artifact folder, whole or not at all, and return what its spec.json says.

    Args:
        model: the network.
        variables: its trained variables.
        looks: what it looks at.
        spec: how frames and sound become its input.
        recorded: examples on which the artifact has to agree with Flax.
        out: the artifact's folder; an artifact that is there is replaced.
        training: what it was trained on, for the user.
        metrics: figures on held-out people.

    Raises:
        UserError: the artifact disagrees with Flax, or `out` holds something else.
    """
    if out.exists() and not (out / "spec.json").exists() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is no artifact (no spec.json): choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    named = name_inputs(recorded, looks, spec)
    expected = flax_answers(model, variables, looks, spec, named)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with held_back_stderr():
            write_saved_model(model, variables, looks, spec, named, aside / "saved_model")
            content = convert_to_tflite(aside / "saved_model")
            answers = tflite_answers(content, named)
        difference = check_agreement(expected, answers)
        (aside / "model.tflite").write_bytes(content)
        np.savez_compressed(aside / "golden.npz", **recorded._asdict(), probabilities=expected)
        fields: dict[str, Any] = {
            "format": "emojax-artifact",
            "version": 1,
            "looks_at": looks,
            "input": spec.to_dict(),
            "outputs": {
                "action_units": list(spec.action_units),
                "emotions": list(spec.emotions),
            },
            "thresholds": {"action_units": [0.5] * len(spec.action_units)},
            "detector": HaarDetector().settings(),
            "files": {
                "float32": {
                    "name": "model.tflite",
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "bytes": len(content),
                }
            },
            "agreement": {
                "faces": len(expected),
                "largest_difference": difference,
                "tolerance": TOLERANCE,
            },
            "training": training,
            "licence": "Apache-2.0",
            "commit": source_commit(),
            "metrics": metrics,
        }
        write_json(aside / "spec.json", fields)
        # mkdtemp's folders are for their owner alone; an artifact is to be handed on.
        aside.chmod(0o777 & ~_umask())
        if out.exists():
            shutil.rmtree(out)
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return fields


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
