"""A float32 TFLite model -> the same network in float16 and in int8.

float16 halves the file: weights are stored in half precision and made float32 again when the
model is loaded. int8 is what is quick on a CPU: weights, one scale a channel, and what flows
between the layers are whole numbers of eight bits, and so are the products.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe

from emojax.litert import input_name, open_interpreter

SIGNATURE = "serving_default"

FLOAT_PARTS = {
    "inputs": "a caller gives float32; they are exact in int8, one level of gray a step",
    "head": "22 sums that cost nothing, and whose rounding would reach the figures directly",
    "probabilities": "in int8 they would be multiples of 1/256: ties where ranks are compared",
}
"""What stays float32 in an int8 model, and why."""

# By the name of what a layer writes: modules called `head`, the scope that the exporter puts
# around the activations, and the output itself.
_FLOAT_NAMES = r".*(/head/|/probabilities/|StatefulPartitionedCall|PartitionedCall:).*"


FLOAT16_LEAVES = r".*/(stem|mixed|inception_a|head).*"
"""Layers that stay float32 in a float16 model: the first ones of the deep networks, a twentieth of
their weights, and the head, whose few weights may be too small for half precision. Every later
layer sees what is rounded in the first ones: they are four fifths of a trained network's difference
from Flax, and kept they bring it below the 1e-3 that is allowed."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Return a context without the tool's sizes and times, and LiteRT's warning about memory."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # All layers' values are kept on purpose.
        warnings.simplefilter("ignore", UserWarning)
        yield


def _quantized(tool: quantizer.Quantizer, statistics: dict[str, Any] | None) -> bytes:
    with _quiet():
        result = tool.quantize(statistics) if statistics else tool.quantize()
    return bytes(result.quantized_model or b"")


def to_float16(model: bytes) -> bytes:
    """Return the model with its weights in float16, but for the first layers': `FLOAT16_LEAVES`.

    Args:
        model: the float32 flatbuffer.
    """
    tool = quantizer.Quantizer(model)
    weights = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
    tool.update_quantization_recipe(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        qtyping.OpQuantizationConfig(
            weight_tensor_config=weights,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )
    tool.update_quantization_recipe(
        FLOAT16_LEAVES,
        qtyping.TFLOperationName.ALL_SUPPORTED,
        algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE,
    )
    return _quantized(tool, None)


def to_int8(
    model: bytes,
    calibration: Mapping[str, np.ndarray],
    ranges: Mapping[str, tuple[float, float]],
    threads: int = 1,
) -> bytes:
    """Return the model in int8, full integer but for `FLOAT_PARTS`; inputs and output are float32.

    Args:
        model: the float32 flatbuffer.
        calibration: inputs by name, float32 [n, ...], of training examples: the smallest and the
            largest value between two layers decide the scale there.
        ranges: the smallest and largest value that an input can have. Where it is made of 256
            levels, its scale is then one level, and nothing is rounded there. From what was seen
            the scale would be a little less or more: half a level of noise, which the first
            layer's differences between neighbours multiply. In a trained Inception-ResNet-v2
            that was nine tenths of the difference from float32.
        threads: of the processor.
    """
    tool = quantizer.Quantizer(model, recipe.static_wi8_ai8())
    names = qtyping.TFLOperationName
    without = algorithm_manager.AlgorithmName.NO_QUANTIZE
    for operation, where in (
        (names.INPUT, ".*"),
        (names.OUTPUT, ".*"),
        (names.ALL_SUPPORTED, _FLOAT_NAMES),
    ):
        tool.update_quantization_recipe(where, operation, algorithm_key=without)
    inputs = open_interpreter(model, 1, "the float32 model").get_input_details()
    count = len(next(iter(calibration.values())))
    examples = [
        {name: calibration[name][row : row + 1] for name in map(input_name, inputs)}
        for row in range(count)
    ]
    with _quiet():
        statistics = dict(tool.calibrate({SIGNATURE: examples}, num_threads=threads))
    for details in inputs:
        seen = statistics.get(details["name"])
        if seen is None:
            # Only what stays float32 looks at it.
            continue
        least, most = ranges[input_name(details)]
        statistics[details["name"]] = {
            **seen,
            "min": np.full_like(seen["min"], least),
            "max": np.full_like(seen["max"], most),
        }
    return _quantized(tool, statistics)
