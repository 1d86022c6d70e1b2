"""`infer`: prediction of some pictures at once, beside timm's."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.limits import device_dtypes, matrix_rate
from benchmarks.rounds import Options, Times, median, report, speed_ratio, time_ways
from benchmarks.timm_peer import PEERS, Packages, find_peer, make_peer, to_torch
from emojax.compiler import compiler_options
from emojax.inventory import measure_cost
from emojax.models import build_model, forward
from emojax.spec import InputSpec

# A prediction of one picture is over too soon for one reading of the clock.
_SHORTEST_S = 0.05


@dataclasses.dataclass(frozen=True)
class InferOptions(Options):
    """Time prediction beside timm's in PyTorch, same batch and compute type."""

    models: tuple[str, ...] = ("resnet18", "inception_v4", "inception_resnet")
    """Networks that look at a picture; timm's Inception-ResNet-v2 is cut to the blocks of ours."""
    batches: tuple[int, ...] = (1, 32)
    """How many pictures are predicted at once."""
    dtype: tuple[str, ...] = ()
    """Compute types; unset: bfloat16 on a GPU, float32 on a CPU."""
    threads: int = os.cpu_count() or 1
    """Of PyTorch on a CPU; XLA takes all."""

    QUICK: ClassVar[Mapping[str, Any]] = {"rounds": 1, "models": ("ar1",), "batches": (1, 4)}


def our_calls(
    key: str, dtype: str, images: np.ndarray, batches: Sequence[int], spec: InputSpec
) -> dict[int, Callable[[], object]]:
    """Return for each batch a function that predicts so many of the pictures and waits."""
    model = build_model(key, spec.num_outputs, dtype=dtype)
    pictures = jnp.asarray(images)
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), pictures[:1])
    predict = jax.jit(
        lambda variables, images: forward(model, variables, images).logits,
        compiler_options=compiler_options(),
    )

    def call(some: jax.Array) -> Callable[[], object]:
        return lambda: jax.block_until_ready(predict(variables, some))

    return {batch: call(pictures[:batch]) for batch in batches}


def peer_calls(
    packages: Packages,
    key: str,
    dtype: str,
    images: np.ndarray,
    batches: Sequence[int],
    spec: InputSpec,
) -> dict[int, Callable[[], object]]:
    """Return the same functions for timm's network of that key."""
    peer = make_peer(packages, key, dtype, spec)

    def call(some: Any) -> Callable[[], object]:
        def run() -> None:
            peer.predict(some)
            peer.wait()

        return run

    return {batch: call(peer.put(to_torch(packages, images[:batch]))) for batch in batches}


def measure(options: InferOptions) -> dict[str, Any]:
    """Return the figures of each network, compute type and batch."""
    options = options.settled()
    spec, packages = InputSpec(), find_peer(options.threads)
    rng = np.random.default_rng(0)
    shape = (max(options.batches), spec.height, spec.width, 1)
    images = rng.normal(size=shape).astype(np.float32)
    rates = {dtype: matrix_rate(dtype) for dtype in device_dtypes(options.dtype)}
    table, rounds = [], {}

    def add(key: str, dtype: str, batch: int, times: Times, rate: float) -> None:
        model = build_model(key, spec.num_outputs, dtype="float32")
        products = measure_cost(model, "picture", spec).multiply_accumulates
        row = {
            "network": key,
            "dtype": dtype,
            "batch": batch,
            "ours ms": median(times, "ours") * 1e3,
            "timm ms": median(times, "timm") * 1e3 if "timm" in times else None,
            "ours / timm": speed_ratio(times, "ours", "timm"),
            "pictures/s": batch / median(times, "ours"),
            "of matrix rate": products * batch / median(times, "ours") / rate,
        }
        table.append(row)
        rounds[f"{key} {dtype} {batch}"] = times

    for key in options.models:
        for dtype, rate in rates.items():
            ours = our_calls(key, dtype, images, options.batches, spec)
            timm = (
                peer_calls(packages, key, dtype, images, options.batches, spec)
                if packages and key in PEERS
                else {}
            )
            for batch, call in ours.items():
                ways = {"ours": call} | ({"timm": timm[batch]} if timm else {})
                times = time_ways(ways, options.rounds, f"{key} {dtype} {batch}", _SHORTEST_S)
                add(key, dtype, batch, times, rate)
    figures = {
        "table": table,
        "seconds": rounds,
        "matrix_multiply_accumulates_per_second": rates,
        "peers": packages and packages.versions(),
    }
    return report(options, "prediction, ours against timm's on the same device", figures)
