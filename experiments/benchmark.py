"""Time the resident epoch against the bare compiled step, in one run.

The limit is the same compiled step, augmentation included, fed one resident
batch again and again: no order to draw, no other pictures to gather, no
losses to keep. What the epoch loses against it is what sampling, bookkeeping
and the host cost. Rounds alternate, so that a busy machine slows both alike.

Examples:
  python experiments/benchmark.py --model=ar1
  python experiments/benchmark.py --model=resnet18 --examples=512 --rounds=5 --out=benchmark.json
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np
import tyro
from tqdm import tqdm

from emojax.cli import run_guarded
from emojax.config import TrainConfig
from emojax.data.resident import Resident
from emojax.models import build_model
from emojax.run import provenance, write_json
from emojax.sharding import replicated
from emojax.spec import InputSpec
from emojax.train import Trainer, TrainState, compute_dtype, make_trainer, run_epoch


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """What is timed, and how often."""

    model: str = "ar1"
    """Network."""
    examples: int = 2048
    """Pictures in device memory; random, since the time does not depend on them."""
    batch_size: int = 64
    """Pictures per step, over all devices."""
    rounds: int = 7
    """Timed pairs of epoch and limit; the median of the ratios is the result."""
    out: Path | None = None
    """Also write the figures here, as JSON."""


def random_pictures(count: int, spec: InputSpec, seed: int = 0) -> Resident:
    """Return that many random faces with random labels, on the host."""
    rng = np.random.default_rng(seed)
    units = len(spec.action_units)
    return Resident(
        faces=rng.integers(0, 256, (count, 1, spec.height, spec.width), dtype=np.uint8),
        spectrograms=np.zeros((count, 0, 0), np.uint8),
        has_sound=np.zeros(count, np.float32),
        num_frames=np.ones(count, np.int32),
        action_units=rng.integers(0, 2, (count, units)).astype(np.int8),
        action_unit_confidence=np.ones((count, units), np.float32),
        emotion=rng.integers(0, len(spec.emotions), count).astype(np.int32),
        emotion_confidence=np.ones(count, np.float32),
        emotion_shares=np.zeros((count, 0), np.float32),
    )


def make_epoch_runner(
    trainer: Trainer, resident: Resident, state: TrainState
) -> Callable[[], float]:
    """Return a function that runs one more epoch as training does and returns its seconds."""
    held = {"state": state, "done": 0}

    def run() -> float:
        started = time.perf_counter()
        losses = []
        for new_state, metrics, steps in run_epoch(trainer, held["state"], resident, held["done"]):
            held["state"], held["done"] = new_state, held["done"] + steps
            losses.append(metrics["loss"])
        jax.block_until_ready((held["state"], losses))
        return time.perf_counter() - started

    return run


def make_step_runner(trainer: Trainer, resident: Resident, steps: int) -> Callable[[], float]:
    """Return a function that repeats the compiled step on one batch and returns its seconds."""
    held = {"state": trainer.init()}
    order = trainer.order(0)

    def run() -> float:
        started = time.perf_counter()
        for _ in range(steps):
            held["state"], _ = trainer.step(held["state"], resident, order)
        jax.block_until_ready(held["state"])
        return time.perf_counter() - started

    return run


def main(arguments: Sequence[str]) -> int:
    """Time, print, write; return the exit status."""
    options = tyro.cli(BenchmarkOptions, args=list(arguments), description=__doc__)
    spec = InputSpec()
    # Epochs only set the schedule's length; enough that the learning rate stays above 0.
    config = TrainConfig(model=options.model, batch_size=options.batch_size, epochs=1000)
    model = build_model(options.model, spec.num_outputs, dtype=compute_dtype(config.dtype))
    trainer = make_trainer(model, spec, config, options.examples)
    one_batch = make_trainer(model, spec, config, options.batch_size)
    everywhere = replicated(trainer.mesh)
    pictures = random_pictures(options.examples, spec)
    resident = jax.device_put(pictures, everywhere)
    batch = jax.device_put(Resident(*(a[: options.batch_size] for a in pictures)), everywhere)
    epoch = make_epoch_runner(trainer, resident, trainer.init())
    limit = make_step_runner(one_batch, batch, trainer.steps_per_epoch)
    for warm_up in (epoch, limit):
        warm_up()
    pairs = []
    for round_number in tqdm(range(options.rounds), unit="round"):
        # Whoever goes second meets a warmer cache: they take turns.
        if round_number % 2:
            second = limit()
            pairs.append((epoch(), second))
        else:
            first = epoch()
            pairs.append((first, limit()))
    pictures_an_epoch = trainer.steps_per_epoch * options.batch_size
    results = {
        "what": "resident epoch against the same compiled step on one resident batch",
        "options": dataclasses.asdict(options) | {"out": None},
        "epoch_is": "one call" if trainer.by_epoch else "one call per step",
        "compute_dtype": compute_dtype(config.dtype),
        "epoch_pictures_per_second": pictures_an_epoch
        / statistics.median(first for first, _ in pairs),
        "limit_pictures_per_second": pictures_an_epoch
        / statistics.median(second for _, second in pairs),
        "ratio_median": statistics.median(second / first for first, second in pairs),
        "ratios": [second / first for first, second in pairs],
        "provenance": provenance(),
    }
    print(
        f"{options.model}: epoch {results['epoch_pictures_per_second']:.0f} pictures/s, "
        f"limit {results['limit_pictures_per_second']:.0f} pictures/s, "
        f"ratio {results['ratio_median']:.3f} (median of {options.rounds} pairs)"
    )
    if options.out:
        write_json(options.out, results)
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("benchmark.py", lambda: main(sys.argv[1:])))
