"""A trained run becomes an artifact: SavedModel, TFLite, `spec.json` and recorded answers.

```
artifact/
  model.tflite   float32 [1, height, width, 1] normalised -> float32 [1, outputs] probabilities
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
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float, UInt8

from emojax.data.quiet import held_back_stderr
from emojax.errors import UserError
from emojax.evaluate import activation
from emojax.face import HaarDetector, normalise
from emojax.models import forward
from emojax.run import source_commit, write_json
from emojax.spec import InputSpec

TOLERANCE = 1e-4
"""Largest difference between Flax and the float32 artifact, in probability."""

SYNTHETIC_NOTICE = "trained on synthetic faces: what it says about real ones means nothing yet"


def flax_answers(
    model: nn.Module, variables: Any, spec: InputSpec, images: Float[np.ndarray, "n h w 1"]
) -> Float[np.ndarray, "n outputs"]:
    """Return the network's probabilities for normalised pictures."""

    @jax.jit
    def answer(batch: jax.Array) -> jax.Array:
        return activation(forward(model, variables, batch).logits, spec)

    return np.asarray(answer(images))


def write_saved_model(model: nn.Module, variables: Any, spec: InputSpec, folder: Path) -> None:
    """Write the network with its activations as a TensorFlow SavedModel, one picture a call."""
    import tensorflow as tf
    from jax.experimental import jax2tf

    constants = jax.tree.map(np.asarray, variables)

    def answer(faces: jax.Array) -> jax.Array:
        return activation(forward(model, constants, faces).logits, spec)

    shape = (1, spec.height, spec.width, spec.channels)
    function = tf.function(
        jax2tf.convert(answer, with_gradient=False),
        input_signature=[tf.TensorSpec(shape, tf.float32, name="faces")],
        autograph=False,
    )
    root = tf.train.Checkpoint(answer=function)
    tf.saved_model.save(root, str(folder), signatures=function)


def convert_to_tflite(saved_model: Path) -> bytes:
    """Return the float32 TFLite model of a SavedModel."""
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_saved_model(str(saved_model)).convert()


def tflite_answers(
    model: bytes, images: Float[np.ndarray, "n h w 1"]
) -> Float[np.ndarray, "n outputs"]:
    """Return the TFLite model's outputs, computed by LiteRT as the runner will."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    answers = []
    for image in images:
        interpreter.set_tensor(source, image[None])
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
            f"(allowed {tolerance:.0e}) on {len(expected)} recorded faces: nothing was written"
        )
    return difference


def export_artifact(
    model: nn.Module,
    variables: Any,
    spec: InputSpec,
    crops: UInt8[np.ndarray, "n h w"],
    out: Path,
    *,
    training: dict[str, Any],
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """Write an artifact folder, whole or not at all, and return what its spec.json says.

    Args:
        model: the network.
        variables: its trained variables.
        spec: how frames become its input.
        crops: faces on which the artifact has to agree with Flax; they are recorded.
        out: the artifact's folder; an artifact that is there is replaced.
        training: what it was trained on, for the user.
        metrics: figures on held-out people.

    Raises:
        UserError: the artifact disagrees with Flax, or `out` holds something else.
    """
    if out.exists() and not (out / "spec.json").exists() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is no artifact (no spec.json): choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    images = normalise(crops, spec)[..., None]
    expected = flax_answers(model, variables, spec, images)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with held_back_stderr():
            write_saved_model(model, variables, spec, aside / "saved_model")
            content = convert_to_tflite(aside / "saved_model")
            answers = tflite_answers(content, images)
        difference = check_agreement(expected, answers)
        (aside / "model.tflite").write_bytes(content)
        np.savez_compressed(aside / "golden.npz", crops=crops, probabilities=expected)
        fields: dict[str, Any] = {
            "format": "emojax-artifact",
            "version": 1,
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
                "faces": len(crops),
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
