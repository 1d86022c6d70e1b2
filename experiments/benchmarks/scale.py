"""`scale`: the same training on 1, 2, 4 ... devices, each number in a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax

from benchmarks.epoch import epoch_call
from benchmarks.noise import noise_examples
from benchmarks.rounds import Options, median, report, time_ways
from emojax.config import TrainConfig
from emojax.errors import UserError
from emojax.memory import keep_freed_memory
from emojax.network import build_network
from emojax.sharding import replicated
from emojax.spec import InputSpec
from emojax.train import make_trainer


@dataclasses.dataclass(frozen=True)
class ScaleOptions(Options):
    """Time the same training on 1, 2, 4 ... devices.

    strong: the batch stays, each device gets less of it; weak: each device gets as much as one
    device had. Efficiency is the speed against that of one device, times the devices.

    On a CPU devices are simulated: n devices run on n cores, and where there are fewer, on all
    of them: then efficiency is against the cores, and what is below 1 is what dividing costs.
    """

    model: str = "resnet18"
    """Network that looks at a picture."""
    devices: tuple[int, ...] = (1, 2, 4)
    """Numbers of devices; on a GPU those that there are not are left out."""
    batch_size: int = 64
    """Pictures of a step: in all (strong), of each device (weak)."""
    steps: int = 4
    """Of a timed repetition."""

    QUICK: ClassVar[Mapping[str, Any]] = {
        "rounds": 1,
        "model": "ar1",
        "devices": (1, 2),
        "batch_size": 4,
        "steps": 1,
    }

    def __post_init__(self) -> None:
        """Refuse numbers that can't be held against one device."""
        super().__post_init__()
        if 1 not in self.devices or min(self.devices) < 1:
            raise UserError(f"devices={self.devices}: wanted 1 among them, what the others go by")
        if any(self.batch_size % count for count in self.devices):
            raise UserError(
                f"batch_size={self.batch_size}: wanted a multiple of each of {self.devices}"
            )


def _probe(connection: Any) -> None:
    """In a process of its own: say what computes here, and how many there are of it."""
    connection.send((jax.default_backend(), jax.device_count()))


def _serve(connection: Any, options: ScaleOptions, count: int, cores: Sequence[int]) -> None:
    """In a process of its own: say when ready, then train by the way that is asked for.

    Args:
        connection: to the process that asks; nothing but a way or an end comes from there.
        options: of the benchmark.
        count: of devices.
        cores: that the process may use, where devices are simulated; empty: all.
    """
    # Both before XLA starts.
    if cores:
        os.sched_setaffinity(0, cores)
    jax.config.update("jax_num_cpu_devices", count)
    # The other processes have devices of the same memory.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    keep_freed_memory()
    spec, calls = InputSpec(), {}
    for way, batch in _batches(options, count).items():
        config = TrainConfig(model=options.model, batch_size=batch, epochs=1000)
        examples = batch * options.steps
        network = build_network(config, spec)
        trainer = make_trainer(network, spec, config, examples, jax.devices()[:count])
        resident = jax.device_put(noise_examples(examples, spec), replicated(trainer.mesh))
        calls[way] = epoch_call(trainer, resident)
    connection.send("ready")
    while way := connection.recv():
        calls[way]()
        connection.send("done")


def _batches(options: ScaleOptions, count: int) -> dict[str, int]:
    """Return the batch of each way on so many devices; one device has but one way."""
    strong = {"strong": options.batch_size}
    return strong if count == 1 else {**strong, "weak": options.batch_size * count}


class _Child:
    """A process that answers, and its end."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def hear(self) -> Any:
        """Return what it says.

        Raises:
            UserError: it ended instead; its own message stands above.
        """
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            raise UserError(
                f"a process with devices of its own ended with status {self.process.exitcode}: "
                "its message stands above"
            ) from None

    def ask(self, way: str) -> None:
        """Have it train, and wait until it has."""
        self.connection.send(way)
        self.hear()

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        # An empty way is the end; whoever has ended already hears nothing.
        with contextlib.suppress(OSError):
            self.connection.send("")
        self.connection.close()
        self.process.join(timeout=10)
        self.process.terminate()


def measure(options: ScaleOptions) -> dict[str, Any]:
    """Return the figures of each number of devices."""
    options = options.settled()
    # Here no device is touched: it would be taken from the processes.
    with _Child(_probe) as child:
        platform, there = child.hear()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    simulated = platform == "cpu"
    counts = [count for count in options.devices if simulated or count <= there]
    with contextlib.ExitStack() as stack:
        ways = {}
        for count in counts:
            pinned = cores[:count] if simulated else []
            child = stack.enter_context(_Child(_serve, options, count, pinned))
            child.hear()
            for way in _batches(options, count):
                ways[f"{way} {count}"] = functools.partial(child.ask, way)
        times = time_ways(ways, options.rounds, options.model)
    table = []
    one = options.batch_size * options.steps / median(times, "strong 1")
    for count in counts:
        units = min(count, len(cores) or count) if simulated else count
        for way, batch in _batches(options, count).items():
            rate = batch * options.steps / median(times, f"{way} {count}")
            table.append(
                {
                    "network": options.model,
                    "devices": count,
                    "way": way,
                    "batch": batch,
                    "cores" if simulated else "GPUs": units,
                    "pictures/s": rate,
                    "speed of one": rate / one,
                    "efficiency": rate / one / units,
                }
            )
    if simulated:
        print(f"devices are simulated on {len(cores) or 'all'} CPU cores")
    figures = {"table": table, "seconds": times, "simulated": simulated}
    return report(options, "the same training on more and more devices", figures)
