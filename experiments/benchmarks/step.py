"""`step`: our training step beside timm's, and beside what the device can do at most."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.limits import device_dtypes, matrix_rate, memory_rate
from benchmarks.rounds import Options, median, report, speed_ratio, time_ways
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
from emojax.config import ComputeType
from emojax.errors import UserError
from emojax.inventory import measure_cost
from emojax.models import build_model, check_model_key, looks_at
from emojax.spec import InputSpec

# A GPU is done with a step too soon for one reading of the clock.
_SHORTEST_S = 0.2


@dataclasses.dataclass(frozen=True)
class StepOptions(Options):
    """Time the training step of a network - forward, backward, Adam - beside timm's in PyTorch.

    Both on the same batch, which lies on the device, in the same compute type: a ratio above 1
    says how many times faster ours is. Shares are of what the device reaches in the same run,
    in a large matrix product and in reading and writing memory.
    """

    models: tuple[str, ...] = ("resnet18", "inception_v4", "inception_resnet")
    """Networks that look at a picture; timm's Inception-ResNet-v2 is cut to the blocks of ours."""
    batch: int = 0
    """Pictures of 98 x 80 in a step; 0: 32 on a CPU, 1,024 elsewhere."""
    dtype: tuple[str, ...] = ()
    """Compute types; unset: bfloat16 on a GPU, float32 on a CPU."""
    threads: int = os.cpu_count() or 1
    """Of PyTorch on a CPU; XLA takes all."""

    QUICK: ClassVar[Mapping[str, Any]] = {"rounds": 1, "models": ("ar1",), "batch": 4}

    def __post_init__(self) -> None:
        """Refuse what can't be timed."""
        super().__post_init__()
        check_timed(self.models, self.dtype, self.threads)
        if self.batch < 0:
            raise UserError(f"batch={self.batch}: wanted 1 or more, or 0 for the device's own")


def check_timed(models: Sequence[str], dtypes: Sequence[str], threads: int) -> None:
    """Refuse networks, compute types and threads that can't be timed.

    Args:
        models: keys of networks.
        dtypes: compute types; none: the device's own.
        threads: of PyTorch.

    Raises:
        UserError: names what is wrong, and what there is.
    """
    if not models:
        raise UserError("models: none named: wanted one or more, or leave --models out")
    for key in models:
        check_model_key(key)
        if looks_at(key) != "picture":
            raise UserError(f"models={key!r}: looks at clips: wanted networks for pictures")
    able = [name for name in get_args(ComputeType) if name != "auto"]
    if unknown := [name for name in dtypes if name not in able]:
        raise UserError(f"dtype={unknown[0]!r}: use {', '.join(able)}")
    if threads < 1:
        raise UserError(f"threads={threads}: wanted 1 or more")


def _bytes_of(compiled: Any) -> float | None:
    """Return the bytes that XLA counts for a call: what each of its kernels reads and writes."""
    analysis = compiled.cost_analysis() or {}
    return analysis.get("bytes accessed") or None


def make_step(
    key: str, dtype: str, images: np.ndarray, targets: np.ndarray, spec: InputSpec
) -> tuple[Callable[[], None], float | None]:
    """Return a function that trains once and waits for the end, and the bytes that XLA counts.

    Args:
        key: of the network.
        dtype: its compute type.
        images: the batch, NHWC.
        targets: 0 or 1 for each output.
        spec: of the pictures and outputs.
    """
    model = build_model(key, spec.num_outputs, dtype=dtype)
    pictures, labels = jnp.asarray(images), jnp.asarray(targets)
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), pictures[:1])
    optimiser = optax.adam(1e-3)

    def step(state: Any, images: jax.Array, labels: jax.Array) -> Any:
        params, kept, optim, key = state

        def loss(params: Any) -> Any:
            outputs, updates = model.apply(
                {"params": params, "batch_stats": kept},
                images,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            entropy = optax.sigmoid_binary_cross_entropy(outputs.logits, labels)
            return entropy.mean(), updates.get("batch_stats", {})

        gradients, kept = jax.grad(loss, has_aux=True)(params)
        change, optim = optimiser.update(gradients, optim, params)
        return optax.apply_updates(params, change), kept, optim, jax.random.split(key)[0]

    params = variables["params"]
    state = (params, variables.get("batch_stats", {}), optimiser.init(params), jax.random.key(1))
    jitted = jax.jit(step, donate_argnums=0, compiler_options=compiler_options())
    compiled = jitted.lower(state, pictures, labels).compile()
    held = {"state": state}

    def run() -> None:
        held["state"] = compiled(held["state"], pictures, labels)
        jax.block_until_ready(held["state"])

    return run, _bytes_of(compiled)


def peer_step(
    packages: Packages,
    key: str,
    dtype: str,
    images: np.ndarray,
    targets: np.ndarray,
    spec: InputSpec,
) -> Callable[[], None]:
    """Return the same function for timm's network of that key."""
    peer = make_peer(packages, key, dtype, spec)
    pictures = peer.put(to_torch(packages, images))
    labels = peer.put(packages.torch.from_numpy(targets))

    def run() -> None:
        peer.train(pictures, labels)
        peer.wait()

    return run


def time_network(options: StepOptions, dtype: str, key: str, alone: Any) -> dict[str, Any]:
    """Return the seconds of a network's step, ours and timm's, and the bytes that XLA counts.

    Args:
        options: of the benchmark.
        dtype: compute type.
        key: of the network.
        alone: returns what is entered while times are taken.
    """
    spec, packages = InputSpec(), find_peer(options.threads)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(options.batch, spec.height, spec.width, 1)).astype(np.float32)
    targets = rng.integers(0, 2, (options.batch, spec.num_outputs)).astype(np.float32)

    def make_ours() -> tuple[Callable[[], None], float | None]:
        ours, moved = make_step(key, dtype, images, targets, spec)
        call_once([ours])
        return ours, moved

    def make_theirs() -> dict[str, Callable[[], None]]:
        if packages is None or key not in PEERS:
            return {}
        theirs = {"timm": peer_step(packages, key, dtype, images, targets, spec)}
        with without_search(packages):
            call_once(theirs.values())
        return theirs

    (ours, moved), theirs = compile_both(f"{key} {dtype}", make_ours, make_theirs)
    ways = {"ours": ours} | theirs
    with alone():
        times = time_ways(ways, options.rounds, f"{key} {dtype}", _SHORTEST_S)
    return {"times": times, "moved": moved, "peers": packages and packages.versions()}


def measure(options: StepOptions) -> dict[str, Any]:
    """Return the figures of each network in each compute type."""
    options = options.settled()
    on_cpu = jax.default_backend() == "cpu"
    options = dataclasses.replace(options, batch=options.batch or (32 if on_cpu else 1024))
    spec = InputSpec()
    bandwidth = memory_rate()
    rates = {dtype: matrix_rate(dtype) for dtype in device_dtypes(options.dtype)}
    tasks = [(options, dtype, key) for dtype in rates for key in options.models]
    timed = run_together(time_network, tasks)
    table, rounds = [], {}
    for (_, dtype, key), found in zip(tasks, timed, strict=True):
        times = found["times"]
        seconds = median(times, "ours")
        products = measure_cost(
            build_model(key, spec.num_outputs, dtype=dtype), "picture", spec
        ).multiply_accumulates
        row = {
            "network": key,
            "dtype": dtype,
            "ours ms": seconds * 1e3,
            "timm ms": median(times, "timm") * 1e3 if "timm" in times else None,
            "ours / timm": speed_ratio(times, "ours", "timm"),
            # A backward pass multiplies about twice as much as the forward pass.
            "of matrix rate": 3 * products * options.batch / seconds / rates[dtype],
            "of memory rate": found["moved"] and found["moved"] / seconds / bandwidth,
        }
        table.append(row)
        rounds[f"{key} {dtype}"] = times
    for dtype, rate in rates.items():
        print(f"matrix rate: {rate / 1e9:,.0f} G multiply-accumulates a second in {dtype}")
    print(f"memory rate: {bandwidth / 1e9:,.1f} GB a second, read and written")
    figures = {
        "table": table,
        "seconds": rounds,
        "matrix_multiply_accumulates_per_second": rates,
        "memory_bytes_per_second": bandwidth,
        "peers": timed[0]["peers"],
    }
    what = f"training step on {options.batch} pictures, ours against timm's on the same device"
    return report(options, what, figures)
