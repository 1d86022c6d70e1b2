"""`epoch`: whole epochs, resident and streamed, beside the bare step and a PyTorch DataLoader."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import jax

from benchmarks.limits import device_dtypes
from benchmarks.long_run import train_long
from benchmarks.noise import build_noise, noise_examples
from benchmarks.rounds import Options, Times, median, report, speed_ratio, time_ways
from benchmarks.step import check_timed
from benchmarks.timm_peer import PEERS, find_peer, make_peer, run_loader, without_search
from benchmarks.together import call_once, run_together
from benchmarks.torch_data import make_loader
from emojax.config import TrainConfig, network_spec
from emojax.data.feed import Batches, find_usable, make_stream
from emojax.data.resident import Resident, keep_labels, put_on_device
from emojax.data.shards import dataset_info, load_split
from emojax.errors import UserError
from emojax.network import build_network
from emojax.optim import OptimConfig
from emojax.sharding import replicated, split_batch
from emojax.spec import InputSpec
from emojax.train import Trainer, make_trainer, run_epoch


@dataclasses.dataclass(frozen=True)
class EpochOptions(Options):
    """Time whole epochs of training on a set of noise, everything that an epoch does included.

    bare step: the compiled step, augmentation included, fed one batch in device memory again
    and again: the limit. resident: the set lies in device memory. streaming: its batches are
    read from the shards. PyTorch: timm's network fed by a DataLoader whose workers augment the
    same faces alike. All with the same batch, compute type and optimiser (Adam).
    """

    models: tuple[str, ...] = ("resnet18", "inception_v4", "inception_resnet")
    """Networks that look at a picture."""
    examples: int = 0
    """Pictures of the set; 0: 512 on a CPU, 65,536 elsewhere."""
    batch_size: int = 0
    """Pictures of a step, over all devices; 0: 64 on a CPU, 1,024 elsewhere."""
    dtype: str = ""
    """Compute type; unset: bfloat16 on a GPU, float32 on a CPU."""
    workers: int = max(1, (os.cpu_count() or 1) // 2)
    """Of PyTorch's DataLoader."""
    threads: int = os.cpu_count() or 1
    """Of PyTorch on a CPU; XLA takes all."""
    minutes: float = 0.0
    """Instead: train for so long by each of our ways, checkpoints included, and say whether the
    memory of host and device stays flat."""
    ways: tuple[Literal["resident", "streaming"], ...] = ("resident", "streaming")
    """Which of ours. Resident alone needs no shards, and no TensorFlow to build and read them; with
    `minutes` the two can go on side by side."""

    QUICK: ClassVar[Mapping[str, Any]] = {
        "rounds": 1,
        "models": ("ar1",),
        "examples": 24,
        "batch_size": 8,
        "workers": 1,
    }

    def __post_init__(self) -> None:
        """Refuse what can't be timed, and a set without a batch."""
        super().__post_init__()
        check_timed(self.models, [self.dtype] if self.dtype else [], self.threads)
        for name in ("examples", "batch_size", "workers", "minutes"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}={getattr(self, name):g}: wanted 0 or more")
        if not self.ways:
            raise UserError("ways: none named: wanted one or both, or leave --ways out")
        if self.examples < self.batch_size:
            raise UserError(f"examples={self.examples}: wanted a batch ({self.batch_size}) or more")


class Prepared(NamedTuple):
    """A network with the set that it is trained on, by each way."""

    trainer: Trainer
    examples: dict[str, Resident | Batches]
    one_batch: Resident


def prepare(config: TrainConfig, shards: Path | None, options: EpochOptions) -> Prepared:
    """Return a network's compiled calls and its set, put together as training does it.

    Args:
        config: of the training.
        shards: a set of noise; None: it is drawn here.
        options: of the benchmark.
    """
    if shards is None:
        return _prepare_resident(config, options)
    info = dataset_info(shards)
    spec = network_spec(config, info.input_spec)
    train = keep_labels(load_split(shards, "train"), spec)
    trainer = make_trainer(build_network(config, spec), spec, config, len(train.emotion))
    batches = make_stream(
        info,
        "train",
        spec,
        find_usable(info, "train", spec),
        batch_size=config.batch_size,
        seed=config.seed,
        sharding=split_batch(trainer.mesh),
    )
    resident = put_on_device(train, replicated(trainer.mesh))
    return Prepared(trainer, {"resident": resident, "streaming": batches}, next(iter(batches(0))))


def _prepare_resident(config: TrainConfig, options: EpochOptions) -> Prepared:
    spec = network_spec(config, InputSpec())
    trainer = make_trainer(build_network(config, spec), spec, config, options.examples)
    noise = noise_examples(options.examples, spec)
    first = jax.tree.map(lambda values: values[: config.batch_size], noise)
    return Prepared(
        trainer,
        {"resident": jax.device_put(noise, replicated(trainer.mesh))},
        jax.device_put(first, split_batch(trainer.mesh)),
    )


def epoch_call(trainer: Trainer, examples: Resident | Batches) -> Callable[[], None]:
    """Return a function that trains for one more epoch, as training does, and waits."""
    held: dict[str, Any] = {"state": trainer.init(), "done": 0}

    def run() -> None:
        losses = []
        for new_state, metrics, steps in run_epoch(trainer, held["state"], examples, held["done"]):
            held["state"], held["done"] = new_state, held["done"] + steps
            losses.append(metrics["loss"])
        jax.block_until_ready((held["state"], losses))

    return run


def bare_call(trainer: Trainer, batch: Resident) -> Callable[[], None]:
    """Return a function that makes an epoch's steps on one batch, again and again, and waits."""

    def again(_: int) -> Iterator[Resident]:
        return iter([batch] * trainer.steps_per_epoch)

    return epoch_call(trainer, again)


def config_of(options: EpochOptions, key: str) -> TrainConfig:
    """Return how a network is trained here."""
    return TrainConfig(
        model=key,
        batch_size=options.batch_size,
        dtype=options.dtype,  # pyright: ignore[reportArgumentType] - it checks
        # Only the schedule's length: the learning rate should stay above 0.
        epochs=10**6 if options.minutes else 1000,
        optim=OptimConfig(name="adam", weight_decay=0.0),
    )


def time_network(
    options: EpochOptions, key: str, shards: Path | None, alone: Any
) -> tuple[Times, dict[str, str] | None]:
    """Return the seconds of an epoch by each way, and the peers' versions.

    Args:
        options: of the benchmark, settled.
        key: of the network.
        shards: as in `prepare`.
        alone: returns what is entered while times are taken.
    """
    config, packages = config_of(options, key), find_peer(options.threads)
    ready = prepare(config, shards, options)
    ways = {"bare step": bare_call(ready.trainer, ready.one_batch)}
    for way in options.ways:
        ways[way] = epoch_call(ready.trainer, ready.examples[way])
    if packages and key in PEERS:
        spec = network_spec(config, InputSpec())
        peer = make_peer(packages, key, config.dtype, spec)
        loader = make_loader(
            packages.torch,
            noise_examples(options.examples, spec),
            config.augment,
            spec,
            batch_size=config.batch_size,
            workers=options.workers,
            pin=packages.device == "cuda",
        )
        ways["PyTorch"] = lambda: run_loader(peer, loader, ready.trainer.steps_per_epoch)
    with without_search(packages):
        call_once(ways.values())
    with alone():
        times = time_ways(ways, options.rounds, key)
    return times, packages and packages.versions()


def settle(options: EpochOptions) -> EpochOptions:
    """Return the options with what depends on the device."""
    options, on_cpu = options.settled(), jax.default_backend() == "cpu"
    return dataclasses.replace(
        options,
        examples=options.examples or (512 if on_cpu else 65_536),
        batch_size=options.batch_size or (64 if on_cpu else 1024),
        dtype=device_dtypes((options.dtype,) if options.dtype else ())[0],
    )


def _figures_of(times: Times, options: EpochOptions) -> dict[str, Any]:
    """Return pictures a second by each way, and the ratios."""
    pictures = options.examples // options.batch_size * options.batch_size
    row: dict[str, Any] = {}
    for way in ("bare step", *options.ways, "PyTorch"):
        row[f"{way} /s"] = pictures / median(times, way) if way in times else None
    for limit in ("bare step", "PyTorch"):
        for way in options.ways:
            row[f"{way} / {limit.split()[0]}"] = speed_ratio(times, way, limit)
    return row


def measure(options: EpochOptions) -> dict[str, Any]:
    """Return the figures of each network."""
    options = settle(options)
    table, rounds, peers = [], {}, None
    with tempfile.TemporaryDirectory(prefix="emojax-epoch-") as name:
        streams = "streaming" in options.ways
        shards = build_noise(Path(name) / "set", options.examples) if streams else None
        if options.minutes:
            for key in options.models:
                ready = prepare(config_of(options, key), shards, options)
                for way in options.ways:
                    row, kept = train_long(
                        ready.trainer,
                        ready.examples[way],
                        Path(name) / f"{key}-{way}",
                        options.minutes,
                    )
                    table.append({"network": key, "way": way, **row})
                    rounds[f"{key} {way}"] = kept
        else:
            tasks = [(options, key, shards) for key in options.models]
            timed = run_together(time_network, tasks)
            peers = timed[0][1]
            for key, (times, _) in zip(options.models, timed, strict=True):
                rounds[key] = times
                table.append({"network": key, **_figures_of(times, options)})
    figures = {
        "table": table,
        "memory" if options.minutes else "seconds": rounds,
        "peers": peers,
    }
    what = (
        "memory of host and device through a long training, first tenth against last"
        if options.minutes
        else "whole epochs against the bare step on one batch, and against a PyTorch DataLoader"
    )
    return report(options, what, figures)
