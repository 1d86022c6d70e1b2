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
from benchmarks.step import check_timed
from benchmarks.timm_peer import (
    PEERS,
    Packages,
    find_peer,
    make_peer,
    to_torch,
    without_search,
)
from benchmarks.together import call_once, compile_both, run_together
from emojax.compiler import compiler_options
from emojax.errors import UserError
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

    def __post_init__(self) -> None:
        """Refuse what can't be timed."""
        super().__post_init__()
        check_timed(self.models, self.dtype, self.threads)
        if not self.batches or min(self.batches) < 1:
            said = ", ".join(map(str, self.batches)) or "none named"
            raise UserError(f"batches: {said}: wanted one or more, each of 1 picture or more")


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


def time_network(
    options: InferOptions, dtype: str, key: str, alone: Any
) -> tuple[dict[int, Times], dict[str, str] | None]:
    """Return the seconds of a network's prediction for each batch, ours and timm's; and versions.

    Args:
        options: of the benchmark.
        dtype: compute type.
        key: of the network.
        alone: returns what is entered while times are taken.
    """
    spec, packages = InputSpec(), find_peer(options.threads)
    shape = (max(options.batches), spec.height, spec.width, 1)
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def make_ours() -> dict[int, Callable[[], object]]:
        ours = our_calls(key, dtype, images, options.batches, spec)
        call_once(ours.values())
        return ours

    def make_theirs() -> dict[int, Callable[[], object]]:
        if packages is None or key not in PEERS:
            return {}
        theirs = peer_calls(packages, key, dtype, images, options.batches, spec)
        with without_search(packages):
            call_once(theirs.values())
        return theirs

    ours, theirs = compile_both(f"{key} {dtype}", make_ours, make_theirs)
    ways = {
        batch: {"ours": call} | ({"timm": theirs[batch]} if theirs else {})
        for batch, call in ours.items()
    }
    with alone():
        times = {
            batch: time_ways(calls, options.rounds, f"{key} {dtype} {batch}", _SHORTEST_S)
            for batch, calls in ways.items()
        }
    return times, packages and packages.versions()


def measure(options: InferOptions) -> dict[str, Any]:
    """Return the figures of each network, compute type and batch."""
    options = options.settled()
    spec = InputSpec()
    rates = {dtype: matrix_rate(dtype) for dtype in device_dtypes(options.dtype)}
    tasks = [(options, dtype, key) for key in options.models for dtype in rates]
    timed = run_together(time_network, tasks)
    table, rounds = [], {}
    for (_, dtype, key), (by_batch, _) in zip(tasks, timed, strict=True):
        model = build_model(key, spec.num_outputs, dtype="float32")
        products = measure_cost(model, "picture", spec).multiply_accumulates
        for batch, times in by_batch.items():
            seconds = median(times, "ours")
            row = {
                "network": key,
                "dtype": dtype,
                "batch": batch,
                "ours ms": seconds * 1e3,
                "timm ms": median(times, "timm") * 1e3 if "timm" in times else None,
                "ours / timm": speed_ratio(times, "ours", "timm"),
                "pictures/s": batch / seconds,
                "of matrix rate": products * batch / seconds / rates[dtype],
            }
            table.append(row)
            rounds[f"{key} {dtype} {batch}"] = times
    figures = {
        "table": table,
        "seconds": rounds,
        "matrix_multiply_accumulates_per_second": rates,
        "peers": timed[0][1],
    }
    return report(options, "prediction, ours against timm's on the same device", figures)
