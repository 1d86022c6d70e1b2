"""Time our networks against timm's in PyTorch, on the same device in one run.

Prediction of a batch and of one picture, and the whole training step: forward, backward, Adam.
Both in float32 on a CPU; on a GPU ours in bfloat16 against torch.compile with bfloat16 autocast,
both with channels last. Rounds alternate, so that a busy machine slows both alike; a ratio above 1
says how many times faster ours is, the median of the rounds. Needs torch and timm: `make peers`.

Examples:
  python experiments/benchmark_torch.py
  python experiments/benchmark_torch.py --models resnet18 --rounds=9 --out=benchmark.json
"""

from __future__ import annotations

import dataclasses
import functools
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from torchvision_stand_in import stand_in
from tqdm import tqdm

from emojax.cli import run_guarded
from emojax.compiler import compiler_options, keep_freed_memory
from emojax.errors import UserError
from emojax.files import write_json
from emojax.inventory import measure_cost
from emojax.models import build_model, forward
from emojax.run import provenance
from emojax.spec import InputSpec

SPEC = InputSpec()
Runner = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class TorchOptions:
    """What is timed, and how often."""

    models: tuple[str, ...] = ("resnet18", "inception_v4", "inception_resnet")
    """Networks; timm's Inception-ResNet-v2 is cut to the blocks of ours."""
    batch: int = 32
    """Pictures of 98 x 80 in a training step, and in the larger prediction."""
    rounds: int = 7
    """Timed pairs; the median of their ratios is the result."""
    threads: int = os.cpu_count() or 1
    """Of PyTorch on a CPU; XLA takes all."""
    out: Path | None = None
    """Also write the figures here, as JSON."""


def load_peers() -> tuple[Any, Any]:
    """Return torch and timm.

    Raises:
        UserError: one is missing.
    """
    with warnings.catch_warnings(), stand_in():
        # Their own, at their first import.
        warnings.simplefilter("ignore")
        try:
            import timm  # pyright: ignore[reportMissingImports] - no part of any extra
            import torch  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            raise UserError(f"{error.name} is missing: run  make peers") from None
    return torch, timm


def build_peer(timm: Any, key: str) -> Any:
    """Return timm's network of that key, of our size.

    Raises:
        UserError: timm has none that could stand beside ours.
    """
    build = functools.partial(timm.create_model, num_classes=SPEC.num_outputs, in_chans=1)
    if key == "inception_resnet":
        network = build("inception_resnet_v2", drop_rate=0.2)
        # Blocks A, B and C of ours; the last block C stands by itself there.
        network.repeat, network.repeat_1 = network.repeat[:3], network.repeat_1[:5]
        network.repeat_2 = network.repeat_2[:1]
        return network
    if key in ("resnet18", "resnet34", "resnet50", "resnet101"):
        return build(key)
    if key == "inception_v4":
        return build(key, drop_rate=0.2)
    raise UserError(f"model {key!r}: timm has no network to compare it with")


def our_runners(model: nn.Module, images: np.ndarray, targets: np.ndarray) -> dict[str, Runner]:
    """Return functions that predict and train once and wait for the end."""
    pictures, labels = jnp.asarray(images), jnp.asarray(targets)
    first = pictures[:1]
    jit = functools.partial(jax.jit, compiler_options=compiler_options())
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), pictures[:1])
    predict = jit(lambda variables, images: forward(model, variables, images).logits)
    optimiser = optax.adam(1e-3)

    def step(state: Any, images: jax.Array, labels: jax.Array) -> Any:
        params, statistics_, optim, key = state

        def loss(params: Any) -> Any:
            outputs, updates = model.apply(
                {"params": params, "batch_stats": statistics_},
                images,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            entropy = optax.sigmoid_binary_cross_entropy(outputs.logits, labels)
            return entropy.mean(), updates["batch_stats"]

        gradients, statistics_ = jax.grad(loss, has_aux=True)(params)
        change, optim = optimiser.update(gradients, optim, params)
        return optax.apply_updates(params, change), statistics_, optim, jax.random.split(key)[0]

    compiled = jit(step, donate_argnums=0)
    params = jax.tree.map(jnp.copy, variables["params"])
    start = (params, variables["batch_stats"], optimiser.init(params), jax.random.key(1))
    held = {"state": jax.tree.map(jnp.copy, start)}

    def train() -> None:
        held["state"] = compiled(held["state"], pictures, labels)
        jax.block_until_ready(held["state"])

    return {
        "batch": lambda: jax.block_until_ready(predict(variables, pictures)),
        "one": lambda: jax.block_until_ready(predict(variables, first)),
        "step": train,
    }


def peer_runners(
    torch: Any, build: Callable[[], Any], images: np.ndarray, targets: np.ndarray
) -> dict[str, Runner]:
    """Return the same functions for a PyTorch network, in its quickest usual form."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = build().to(device=device, memory_format=torch.channels_last)
    pictures = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(device)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    first, labels = pictures[:1], torch.from_numpy(targets).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, foreach=True)
    called = torch.compile(network) if device == "cuda" else network
    half = functools.partial(torch.autocast, "cuda", torch.bfloat16, enabled=device == "cuda")

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def predict(pictures: Any) -> None:
        network.eval()
        with torch.inference_mode(), half():
            called(pictures)
        wait()

    def train() -> None:
        network.train()
        optimiser.zero_grad(set_to_none=True)
        with half():
            logits = called(pictures)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
        entropy.backward()
        optimiser.step()
        wait()

    return {"batch": lambda: predict(pictures), "one": lambda: predict(first), "step": train}


def time_pair(ours: Runner, theirs: Runner, rounds: int, calls: int) -> dict[str, Any]:
    """Return both medians in seconds and the median of the rounds' ratios."""

    def seconds(run: Runner) -> float:
        # The other side's threads wait for more work in a loop, before they sleep.
        time.sleep(0.1)
        run()
        started = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - started) / calls

    for run in (ours, theirs):
        seconds(run)
    pairs = []
    for number in range(rounds):
        # Whoever goes second meets a warmer machine: they take turns.
        if number % 2:
            second = seconds(theirs)
            pairs.append((seconds(ours), second))
        else:
            first = seconds(ours)
            pairs.append((first, seconds(theirs)))
    return {
        "ours_s": statistics.median(first for first, _ in pairs),
        "timm_s": statistics.median(second for _, second in pairs),
        "ratio": statistics.median(second / first for first, second in pairs),
        "ratios": [second / first for first, second in pairs],
    }


def matrix_rate(dtype: str, side: int) -> float:
    """Return the device's multiply-accumulates a second in a large matrix product."""
    matrix = jnp.ones((side, side), dtype)
    product = jax.jit(jnp.matmul, compiler_options=compiler_options())
    jax.block_until_ready(product(matrix, matrix))
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        jax.block_until_ready(product(matrix, matrix))
        seconds.append(time.perf_counter() - started)
    return side**3 / statistics.median(seconds)


def main(arguments: Sequence[str]) -> int:
    """Time, print, write; return the exit status."""
    options = tyro.cli(TorchOptions, args=list(arguments), description=__doc__)
    # For both sides; PyTorch's own allocator of CPU memory is the C library's too.
    keep_freed_memory()
    torch, timm = load_peers()
    torch.set_num_threads(options.threads)
    on_gpu = jax.default_backend() != "cpu"
    if on_gpu != torch.cuda.is_available():
        raise UserError(
            f"JAX computes on {jax.default_backend()}, PyTorch on "
            f"{'cuda' if torch.cuda.is_available() else 'cpu'}: install both for one device"
        )
    dtype = "bfloat16" if on_gpu else "float32"
    rate = matrix_rate(dtype, 8192 if on_gpu else 2048)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(options.batch, SPEC.height, SPEC.width, 1)).astype(np.float32)
    targets = rng.integers(0, 2, (options.batch, SPEC.num_outputs)).astype(np.float32)
    rows = []
    print(f"{'network':18}{'what':10}{'ours ms':>10}{'timm ms':>10}{'ratio':>8}{'share':>8}")
    for key in tqdm(options.models, disable=None):
        model = build_model(key, SPEC.num_outputs, dtype=dtype)
        ours = our_runners(model, images, targets)
        theirs = peer_runners(torch, functools.partial(build_peer, timm, key), images, targets)
        products = measure_cost(model, "picture", SPEC).multiply_accumulates
        for what, examples in (("batch", options.batch), ("one", 1), ("step", 3 * options.batch)):
            figures = time_pair(
                ours[what], theirs[what], options.rounds, 10 if what == "one" else 1
            )
            # A backward pass multiplies about twice as much as the forward pass.
            share = products * examples / figures["ours_s"] / rate
            rows.append({"model": key, "what": what, "share_of_matrix_rate": share, **figures})
            tqdm.write(
                f"{key:18}{what:10}{figures['ours_s'] * 1e3:10.1f}{figures['timm_s'] * 1e3:10.1f}"
                f"{figures['ratio']:8.2f}{share:8.2f}"
            )
    print(
        f"batch: prediction of {options.batch}; one: of 1; step: training on {options.batch}. "
        f"Share: of {rate / 1e9:.0f} G multiply-accumulates a second, measured in {dtype}."
    )
    if options.out:
        peers = {"torch": torch.__version__, "timm": timm.__version__}
        fields = {
            "what": "our networks against timm's, same device, one run",
            "options": dataclasses.asdict(options) | {"out": None},
            "compute_dtype": dtype,
            "matrix_multiply_accumulates_per_second": rate,
            "rows": rows,
            "peers": peers,
            "provenance": provenance(),
        }
        write_json(options.out, fields)
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("benchmark_torch.py", lambda: main(sys.argv[1:])))
