"""A model of the real ones' form whose answers can be worked out by hand."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from emojax.golden import GOLDEN, Golden, Recorded, write_golden
from emojax.spec import InputSpec

SPEC = InputSpec()
SLOPES = np.linspace(-4, 4, SPEC.num_outputs).astype(np.float32)
OFFSETS = np.linspace(1, -1, SPEC.num_outputs).astype(np.float32)
NOTICE = "trained on synthetic faces; says nothing about real ones"


def expected_answer(crop: np.ndarray) -> np.ndarray:
    """What the tiny model says about a crop, uint8 [98, 80]: it looks at the mean only."""
    mean = ((crop.astype(np.float64) - 127) / 128).mean()
    return 1 / (1 + np.exp(-(mean * SLOPES + OFFSETS)))


def convert(answer: Any, shape: tuple[int, ...]) -> bytes:
    """Return the TFLite form of a TensorFlow function of one float32 array."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from emojax.data.quiet import load_tensorflow

        tf = load_tensorflow()
        function = tf.function(
            answer, input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False
        )
        concrete = function.get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete], function).convert()


def tiny_model() -> bytes:
    """Return a model: sigmoid(mean * SLOPES + OFFSETS)."""

    def answer(faces: Any) -> Any:
        import tensorflow as tf

        mean = tf.reduce_mean(faces, axis=[1, 2, 3])[:, None]
        return tf.sigmoid(mean * SLOPES[None] + OFFSETS[None])

    return convert(answer, (1, SPEC.height, SPEC.width, 1))


def write_artifact(folder: Path, model: bytes, **changes: Any) -> Path:
    """Write an artifact folder; `changes` replace fields of its spec.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(model)
    fields = {
        "format": "emojax-artifact",
        "version": 1,
        "input": SPEC.to_dict(),
        "outputs": {"action_units": list(SPEC.action_units), "emotions": list(SPEC.emotions)},
        "thresholds": {"action_units": [0.5] * len(SPEC.action_units)},
        "detector": {"name": "haar", "cascade": "haarcascade_frontalface_default"},
        "files": {"float32": {"name": "model.tflite", "sha256": hashlib.sha256(model).hexdigest()}},
        "training": {"data": "synthetic", "synthetic": True, "notice": NOTICE},
        "licence": "Apache-2.0",
        "commit": "0" * 40,
        "metrics": {},
        **changes,
    }
    (folder / "spec.json").write_text(json.dumps(fields))
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_verifiable(
    folder: Path,
    model: bytes,
    shift: float = 0.0,
    own: bool = True,
    crops: np.ndarray | None = None,
) -> Path:
    """An artifact whose precisions are one model; its recorded answers are off by `shift`."""
    write_artifact(folder, model, looks_at="picture")
    if crops is None:
        noise = np.random.default_rng(0).integers(0, 256, (4, 1, SPEC.height, SPEC.width))
        crops = noise.astype(np.uint8)
    ones = np.ones(len(crops), np.float32)
    recorded = Recorded(crops, np.zeros((len(crops), 0, 0), np.uint8), ones, 0 * ones)
    answers = np.stack([expected_answer(crop[0]) for crop in crops]).astype(np.float32) + shift
    answers = answers.astype(np.float32)
    return add_precisions(folder, model, Golden(recorded, answers, answers if own else None))


def add_precisions(folder: Path, model: bytes, golden: Golden) -> Path:
    """Add recorded answers and one model in all precisions to an artifact."""
    write_golden(folder / GOLDEN, golden)
    files = {}
    for precision, allowed in (("float32", 1e-4), ("float16", 1e-3), ("int8", None)):
        name = f"{precision}.tflite"
        (folder / name).write_bytes(model)
        files[precision] = {
            "name": name,
            "sha256": sha256(folder / name),
            "agreement": {"tolerance": allowed},
        }
    files["int8"]["repeats_within"] = 0.02
    entry = {"name": GOLDEN, "sha256": sha256(folder / GOLDEN)}
    return change(folder, files=files, golden=entry)


def change(folder: Path, **fields: Any) -> Path:
    path = folder / "spec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return folder
