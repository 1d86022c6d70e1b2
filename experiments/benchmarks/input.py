"""`input`: shards read by our streaming beside TFDS's reader, and fed to the device."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from benchmarks.limits import copy_rate
from benchmarks.noise import build_noise
from benchmarks.rounds import Options, Times, median, report, speed_ratio, time_ways
from emojax.data.examples import CLIP_FRAMES
from emojax.data.feed import TRAINING_COLUMNS, prefetch, to_resident
from emojax.data.quiet import load_tensorflow
from emojax.data.shards import DatasetInfo, dataset_info, read_batches
from emojax.data.streaming import stream_batches
from emojax.errors import UserError
from emojax.sharding import make_mesh, split_batch

OURS = "streaming"


@dataclasses.dataclass(frozen=True)
class InputOptions(Options):
    """Time how fast shards are read, ours against TFDS's own `as_dataset`, and fed to the device.

    A set of pictures and one of clips (60 crops each) are made of noise, or yours is taken.
    Each way reads the split `train` once a round, in batches, into numpy: what `load_split`
    does (in order), what a streamed training does (streaming: shuffled, resumable, all columns;
    training columns: only those that a step needs), and TFDS, batched and prefetched, in order
    and shuffled in a buffer of as many examples as ours. TFDS's cache is off: it is for one
    process that reads again what it has read. Fed to the device: the training columns, as a
    step would get them, waited for one by one; beside it the same batches copied to the device
    from the host's memory, where nothing has to be read.

    Files come out of the system's cache: this compares the readers, not the disk.
    """

    data: Path | None = None
    """Folder of shards to read; unset: a set of pictures and one of clips, made of noise."""
    pictures: int = 40_000
    """Pictures of the set that is made; 0: none is."""
    clips: int = 1500
    """Clips of the set that is made; 0: none is."""
    batch_size: int = 64
    """Examples of a batch."""
    buffer_mib: int = 64
    """What is held for shuffling, ours and TFDS's; training holds 256 MiB. Much less than the
    set, as it is where a set is streamed."""
    memory: bool = False
    """Say the peak memory of one streamed epoch instead, each in a process of its own."""

    QUICK: ClassVar[Mapping[str, Any]] = {
        "rounds": 1,
        "pictures": 64,
        "clips": 0,
        "batch_size": 16,
        "buffer_mib": 1,
    }

    def __post_init__(self) -> None:
        """Refuse sets without a batch."""
        super().__post_init__()
        for name in ("pictures", "clips"):
            count = getattr(self, name)
            if count and count < self.batch_size:
                raise UserError(f"{name}={count}: wanted a batch at least, or 0 for no such set")
        if self.data is None and not (self.pictures or self.clips):
            raise UserError("pictures=0 and clips=0: wanted a set to read")
        for name in ("buffer_mib", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: wanted 1 or more")


def tfds_reader(
    info: DatasetInfo, batch_size: int, *, buffer: int = 0, partly: bool = False
) -> Callable[[], Iterator[dict[str, Any]]]:
    """Return a function that reads the split once by TFDS's own reader, in batches, into numpy.

    Args:
        info: of the folder of shards.
        batch_size: examples of a batch.
        buffer: examples that are shuffled; 0: in order.
        partly: decode only what a training step needs.
    """
    load_tensorflow()
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(info.folder)
    columns = {name: True for name in TRAINING_COLUMNS if name in builder.info.features}

    def read() -> Iterator[dict[str, Any]]:
        examples = builder.as_dataset(
            split="train",
            batch_size=None if buffer else batch_size,
            read_config=tfds.ReadConfig(try_autocache=False),
            decoders=tfds.decode.PartialDecoding(columns) if partly else None,
        )
        if buffer:
            examples = examples.shuffle(buffer, seed=0).batch(batch_size)
        return examples.prefetch(2).as_numpy_iterator()

    return read


def time_readers(info: DatasetInfo, kind: str, options: InputOptions) -> Times:
    """Return each way's seconds for the whole split in each round."""
    size, epochs = options.batch_size, itertools.count()
    buffers: dict[object, dict[str, np.ndarray]] = {}
    example = info.max_frames * info.input_spec.height * info.input_spec.width
    sharding = split_batch(make_mesh())

    def streamed(columns: tuple[str, ...] | None = None) -> Iterator[dict[str, Any]]:
        # As in training, where the buffer is kept from epoch to epoch.
        buffer = buffers.setdefault(columns, {})
        return stream_batches(
            info,
            "train",
            batch_size=size,
            seed=0,
            epoch=next(epochs),
            columns=columns,
            buffer_bytes=options.buffer_mib * 2**20,
            buffer=buffer,
        )

    def read(batches: Callable[[], Iterator[dict[str, Any]]]) -> Callable[[], None]:
        def run() -> None:
            for _ in batches():
                pass

        return run

    def feed() -> None:
        columns = streamed(TRAINING_COLUMNS)
        for batch in prefetch((to_resident(part, info.input_spec) for part in columns), sharding):
            jax.block_until_ready(batch)

    one = to_resident(next(streamed(TRAINING_COLUMNS)), info.input_spec)

    def copy() -> None:
        again = itertools.repeat(one, info.num_examples["train"] // size)
        for batch in prefetch(again, sharding):
            jax.block_until_ready(batch)

    shuffled = max(size, options.buffer_mib * 2**20 // example)
    ways = {
        OURS: read(streamed),
        f"{OURS}, training columns": read(lambda: streamed(TRAINING_COLUMNS)),
        "in order": read(lambda: read_batches(info, "train")),
        "TFDS": read(tfds_reader(info, size)),
        "TFDS, training columns": read(tfds_reader(info, size, partly=True)),
        "TFDS, shuffled": read(tfds_reader(info, size, buffer=shuffled)),
        "fed to the device": feed,
        "copied to the device": copy,
    }
    return time_ways(ways, options.rounds, kind)


# What each way is held against.
_PEERS = {
    OURS: "TFDS, shuffled",
    f"{OURS}, training columns": "TFDS, training columns",
    "in order": "TFDS",
    "fed to the device": "copied to the device",
}


def compare(info: DatasetInfo, kind: str, times: Times) -> list[dict[str, Any]]:
    """Return a row for each way: its examples a second, and its speed against its peer's."""
    examples = info.num_examples["train"]
    return [
        {
            "set": kind,
            "way": way,
            "examples/s": examples / median(times, way),
            "faces/s": examples * info.max_frames / median(times, way),
            "against": _PEERS.get(way),
            "ratio": speed_ratio(times, way, _PEERS[way]) if way in _PEERS else None,
        }
        for way in times
    ]


PEAK = """
import resource, sys
from pathlib import Path
from emojax.data.shards import dataset_info
from emojax.data.streaming import stream_batches
info = dataset_info(Path(sys.argv[1]))
size, buffer = int(sys.argv[2]), int(sys.argv[3])
batches = stream_batches(info, "train", batch_size=size, seed=0, epoch=0, buffer_bytes=buffer)
for batch in batches:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measure_memory(info: DatasetInfo, kind: str, options: InputOptions) -> list[dict[str, Any]]:
    """Return the peak memory of a process that streams an epoch, a row for each buffer."""
    rows = []
    for buffer in (1, 32, 64, 128, 256):
        words = [str(info.folder), str(options.batch_size), str(buffer * 2**20)]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UserError(f"streaming failed: {done.stderr[-300:]}")
        unit = 1 if sys.platform == "darwin" else 1024
        peak = int(done.stdout.split()[-1]) * unit
        rows.append({"set": kind, "buffer MiB": buffer, "peak MiB": peak / 2**20})
    return rows


def measure(options: InputOptions) -> dict[str, Any]:
    """Return the figures of each set."""
    options = options.settled()
    # TFDS warns of its own use of `FeatureConnector.dtype`, by absl's log.
    logging.getLogger("absl").setLevel(logging.ERROR)
    table, rounds = [], {}
    with tempfile.TemporaryDirectory(prefix="emojax-input-") as name:
        if options.data is not None:
            folders = {options.data.name: options.data}
        else:
            wanted = {"pictures": (options.pictures, 1), "clips": (options.clips, CLIP_FRAMES)}
            folders = {
                kind: build_noise(Path(name) / kind, count, frames=frames)
                for kind, (count, frames) in wanted.items()
                if count
            }
        for kind, folder in folders.items():
            info = dataset_info(folder)
            if options.memory:
                table += measure_memory(info, kind, options)
                continue
            rounds[kind] = time_readers(info, kind, options)
            table += compare(info, kind, rounds[kind])
    figures: dict[str, Any] = {"table": table}
    if not options.memory:
        copied = copy_rate()
        if copied is not None:
            print(f"large copies to the device: {copied / 1e9:.1f} GB a second")
        figures |= {"seconds": rounds, "copy_bytes_per_second": copied}
    return report(
        options, "shards read and fed to the device, against TFDS and bare copies", figures
    )
