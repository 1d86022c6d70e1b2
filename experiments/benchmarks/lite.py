"""`lite`: the exported network on one thread, in each precision, beside ONNX Runtime."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rounds import Options, median, report, speed_ratio, time_ways
from benchmarks.step import check_timed
from benchmarks.timm_peer import PEERS, Packages, build_peer, find_peer
from emojax.drawn_examples import draw_examples
from emojax.errors import UserError
from emojax.export import convert_to_tflite, write_saved_model
from emojax.golden import input_ranges, name_inputs
from emojax.inventory import measure_cost
from emojax.litert import Network
from emojax.models import build_model
from emojax.quantise import to_float16, to_int8
from emojax.runtime.bench import pin
from emojax.spec import InputSpec

# Too soon over for one reading of the clock.
_SHORTEST_S = 0.05

_SIDE = 1024
"""Of the square matrices whose product shows how much arithmetic this core can do."""


@dataclasses.dataclass(frozen=True)
class LiteOptions(Options):
    """Time one picture by LiteRT, one thread, in float32, float16 and int8: what the runner takes.

    Beside it ONNX Runtime on one thread, float32, with timm's network of that name, which gives
    the same outputs for the same weights (`make peers` installs torch, timm and onnxruntime). And
    the time that the network's multiply-accumulates would take at the rate of NumPy's product of
    large matrices: what no float32 convolution goes below that does them all.
    """

    rounds: int = 21
    """Timed rounds, after one that is not counted; medians are over them."""
    models: tuple[str, ...] = ("resnet18", "inception_v4", "inception_resnet")
    """Networks that look at a picture; timm's Inception-ResNet-v2 is cut to the blocks of ours."""
    core: int | None = None
    """Core of the processor that all run on; unset: the last one there is."""

    QUICK: ClassVar[Mapping[str, Any]] = {"rounds": 1, "models": ("ar1",)}

    def __post_init__(self) -> None:
        """Refuse what can't be timed."""
        super().__post_init__()
        check_timed(self.models, (), threads=1)


def convert(key: str, spec: InputSpec) -> dict[str, bytes]:
    """Return a network with random weights in each precision."""
    model = build_model(key, spec.num_outputs, dtype="float32")
    faces = name_inputs(draw_examples("picture", spec, 16), "picture", spec)
    init = jax.jit(functools.partial(model.init, train=False))
    variables = init(jax.random.key(0), jnp.asarray(faces["faces"][:1]))
    with tempfile.TemporaryDirectory(prefix="emojax-lite-") as name:
        folder = Path(name) / "saved_model"
        write_saved_model(model, variables, "picture", spec, faces, folder)
        exact = convert_to_tflite(folder)
    return {
        "float32": exact,
        "float16": to_float16(exact),
        "int8": to_int8(exact, faces, input_ranges(spec)),
    }


def onnx_call(
    packages: Packages, key: str, image: np.ndarray, spec: InputSpec
) -> Callable[[], object] | None:
    """Return a function that predicts one picture by ONNX Runtime; None where it is missing."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            print(f"no column for ONNX Runtime: {package} is missing (make peers installs it)")
            return None
    import onnxruntime  # pyright: ignore[reportMissingImports] - no part of any extra

    picture = image.transpose(0, 3, 1, 2).copy()
    network = build_peer(packages.timm, key, spec).eval()
    with tempfile.TemporaryDirectory(prefix="emojax-lite-") as name:
        path = str(Path(name) / "model.onnx")
        example = (packages.torch.from_numpy(picture),)
        packages.torch.onnx.export(
            network, example, path, dynamo=True, external_data=False, verbose=False
        )
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: picture}
    return lambda: session.run(None, inputs)


def measure(options: LiteOptions) -> dict[str, Any]:
    """Return the figures of each network and precision."""
    options = options.settled()
    spec, packages = InputSpec(), find_peer(1)
    unknown = [key for key in options.models if key not in PEERS and packages]
    table, rounds, versions = [], {}, packages.versions() if packages else {}
    if importlib.util.find_spec("onnxruntime") is not None:
        versions["onnxruntime"] = importlib.metadata.version("onnxruntime")
    if unknown and not options.quick:
        raise UserError(f"models={unknown[0]!r}: timm has {', '.join(PEERS)}")
    contents = {key: convert(key, spec) for key in options.models}
    if hasattr(os, "sched_getaffinity"):
        pin(max(os.sched_getaffinity(0)) if options.core is None else options.core)
    image = np.random.default_rng(0).normal(0, 0.5, (1, spec.height, spec.width, 1))
    image = image.astype(np.float32)
    square = np.random.default_rng(1).normal(size=(_SIDE, _SIDE)).astype(np.float32)
    product = np.empty_like(square)
    for key, models in contents.items():
        ways: dict[str, Callable[[], object]] = {
            precision: functools.partial(Network(content, 1, key).answer, faces=image)
            for precision, content in models.items()
        }
        peer = onnx_call(packages, key, image, spec) if packages and key in PEERS else None
        if peer is not None:
            ways["ONNX Runtime"] = peer
        ways["product"] = functools.partial(np.matmul, square, square, out=product)
        times = time_ways(ways, options.rounds, f"{key} one picture", _SHORTEST_S)
        rounds[key] = times
        network = build_model(key, spec.num_outputs, dtype="float32")
        macs = measure_cost(network, "picture", spec).multiply_accumulates
        limit_ms = macs * median(times, "product") / _SIDE**3 * 1e3
        for precision, content in models.items():
            ratio = speed_ratio(times, precision, "ONNX Runtime")
            table.append(
                {
                    "network": key,
                    "precision": precision,
                    "MB": len(content) / 1e6,
                    "ms": median(times, precision) * 1e3,
                    "ONNX Runtime float32 ms": (
                        median(times, "ONNX Runtime") * 1e3 if peer is not None else None
                    ),
                    "of its time": ratio and 1 / ratio,
                    "at a product's rate, ms": limit_ms,
                }
            )
    figures = {"table": table, "seconds": rounds, "peers": versions}
    return report(options, "one picture by LiteRT on one thread, against ONNX Runtime", figures)
