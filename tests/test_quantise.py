"""float16 and int8 against the float32 model that they are made from."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.utils import tfl_flatbuffer_utils

from emojax.export import convert_to_tflite, write_saved_model
from emojax.golden import Recorded, input_ranges, name_inputs
from emojax.litert import Network
from emojax.models.resnet import ResNet
from emojax.quantise import to_float16, to_int8
from emojax.spec import InputSpec

SPEC = InputSpec()
# PReLU: what its max pooling sees can be negative.
MODEL = ResNet(SPEC.num_outputs, blocks=(1, 1), widths=(16, 32), activation="prelu")


def smooth_crops(count: int, seed: int) -> np.ndarray:
    """Gray pictures with shapes in them, uint8, pale and dark: a network tells them well apart."""
    import cv2

    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, SPEC.height, SPEC.width))
    blurred = np.stack([cv2.GaussianBlur(one, (0, 0), 4) for one in noise])
    light, contrast = rng.uniform((40, 5), (215, 80), (count, 2)).T[:, :, None, None]
    return np.clip(light + contrast * blurred / blurred.std(), 0, 255).astype(np.uint8)


def named(count: int, seed: int) -> dict[str, np.ndarray]:
    crops = smooth_crops(count, seed)[:, None]
    ones = np.ones(count, np.float32)
    recorded = Recorded(crops, np.zeros((count, 0, 0), np.uint8), ones, 0 * ones)
    return name_inputs(recorded, "picture", SPEC)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The float32 model of a small network, its outputs spread over 0..1."""
    faces = named(8, 1)["faces"]
    init = jax.jit(functools.partial(MODEL.init, train=False))
    variables: Any = jax.tree.map(np.asarray, init(jax.random.key(0), jnp.asarray(faces[:1])))
    logits = np.asarray(MODEL.apply(variables, jnp.asarray(faces), train=False).logits)
    head = variables["params"]["head"]["logits"]
    spread = logits.std(axis=0).mean()
    head["kernel"], head["bias"] = head["kernel"] / spread, -logits.mean(axis=0) / spread
    folder: Path = tmp_path_factory.mktemp("saved")
    write_saved_model(MODEL, variables, "picture", SPEC, {"faces": faces}, folder)
    return convert_to_tflite(folder)


def answers(model: bytes, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return Network(model, 1, "a test").answers(inputs)


def test_float16_is_half_as_large_and_agrees(exact: bytes) -> None:
    half = to_float16(exact)
    assert len(half) < 0.75 * len(exact)
    inputs = named(16, 2)
    difference = np.abs(answers(half, inputs) - answers(exact, inputs)).max()
    assert 0 < difference < 1e-3


@pytest.fixture(scope="module")
def small(exact: bytes) -> bytes:
    return to_int8(exact, named(32, 3), input_ranges(SPEC))


def test_int8_answers_nearly_the_same(exact: bytes, small: bytes) -> None:
    inputs = named(16, 2)
    wanted, found = answers(exact, inputs), answers(small, inputs)
    # Untrained, the network hardly tells pictures apart: its head makes much of little.
    assert wanted.std() > 0.1
    assert np.corrcoef(wanted.ravel(), found.ravel())[0, 1] > 0.93
    assert len(small) < 0.45 * len(exact)


def test_an_int8_step_of_the_input_is_a_level_of_gray(small: bytes) -> None:
    interpreter = Interpreter(model_content=small)
    steps = [
        tensor["quantization_parameters"]
        for tensor in interpreter.get_tensor_details()
        if tuple(tensor["shape"]) == (1, SPEC.height, SPEC.width, 1) and tensor["dtype"] == np.int8
    ]
    assert len(steps) == 1
    np.testing.assert_allclose(steps[0]["scales"], [1 / 128], rtol=1e-6)
    assert steps[0]["zero_points"].tolist() == [-1]


def test_what_is_written_by_the_head_stays_float(small: bytes) -> None:
    model = tfl_flatbuffer_utils.read_model(small)
    (graph,) = model.subgraphs
    kinds: dict[int, set[int]] = {}
    for operation in graph.operators:
        code = model.operatorCodes[operation.opcodeIndex].builtinCode
        kinds.setdefault(code, set()).add(graph.tensors[operation.outputs[0]].type)
    operators, types = qtyping.BuiltinOperator, qtyping.TensorType
    assert kinds[operators.FULLY_CONNECTED] == kinds[operators.LOGISTIC] == {types.FLOAT32}
    assert kinds[operators.CONV_2D] == kinds[operators.ADD] == {types.INT8}
