"""Time how fast shards are read, ours against TFDS's own `as_dataset`, in one run.

A set of pictures and one of clips (60 crops each) are built from noise into a temporary
folder, or yours is taken (`--data`). Each way reads the split `train` once a round, in batches,
into numpy: what `load_split` does (`in order`), what a streamed training does (`streaming`:
shuffled, resumable, all columns; `training columns`: only those that a step needs), and TFDS,
batched and prefetched, in order and shuffled in a buffer of as many examples as ours. TFDS's
cache is off: it is for one process that reads again what it has read.

Rounds alternate, so that a busy machine slows all alike; a ratio above 1 says how many times
faster ours is, the median of the rounds. Files come out of the system's cache: this
compares the readers, not the disk.

Examples:
  python experiments/benchmark_reading.py
  python experiments/benchmark_reading.py --data=data/fer2013 --rounds=5
  python experiments/benchmark_reading.py --memory
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
import tyro
from tqdm import tqdm

from emojax.cli import run_guarded
from emojax.compiler import keep_freed_memory
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.feed import TRAINING_COLUMNS
from emojax.data.quiet import load_tensorflow
from emojax.data.shards import DatasetInfo, dataset_info, read_batches
from emojax.data.streaming import stream_batches
from emojax.data.synthetic.files import write_avi
from emojax.errors import UserError
from emojax.files import write_json
from emojax.run import provenance

CLIP_FRAMES = 60
ORIGINALS = 8


@dataclasses.dataclass(frozen=True)
class ReadingBenchmark:
    """What is read, and how often."""

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
    rounds: int = 5
    """Timed rounds, after one that is not counted."""
    memory: bool = False
    """Say the peak memory of one streamed epoch instead, each in a process of its own."""
    out: Path | None = None
    """Also write the figures here, as JSON."""

    def __post_init__(self) -> None:
        """Refuse sets without a batch."""
        for name in ("pictures", "clips"):
            count = getattr(self, name)
            if count and count < self.batch_size:
                raise UserError(f"{name}={count}: wanted a batch at least, or 0 for no such set")
        for name in ("rounds", "buffer_mib", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: wanted 1 or more")


def make_set(folder: Path, count: int, frames: int) -> Path:
    """Return the shards of a set of noise: pictures, or clips of so many frames."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    suffix = ".png" if frames == 1 else ".avi"
    originals = [folder / f"original{index}{suffix}" for index in range(ORIGINALS)]
    for path in originals:
        pictures = rng.integers(0, 256, (frames, 98, 80, 3)).astype(np.uint8)
        if frames == 1:
            cv2.imwrite(str(path), pictures[0])
        else:
            write_avi(path, iter(pictures), 25)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "emotion", "AU06", "split"])
        for index in range(count):
            path = folder / f"{index:06d}{suffix}"
            os.link(originals[index % ORIGINALS], path)
            writer.writerow([path.name, f"P{index % 50}", "happiness", index % 2, "train"])
    options = BuildOptions(faces="ready", workers=os.cpu_count() or 1, clip_frames=frames)
    return build_dataset("manifest", source=folder, out=folder / "shards", options=options)


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


def time_ways(info: DatasetInfo, options: ReadingBenchmark) -> dict[str, Any]:
    """Return each way's examples per second in each round, and the medians of the ratios."""
    size, epochs = options.batch_size, itertools.count()
    buffers: dict[object, dict[str, np.ndarray]] = {}
    example = info.max_frames * info.input_spec.height * info.input_spec.width

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

    ways: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "streaming": streamed,
        "streaming, training columns": lambda: streamed(TRAINING_COLUMNS),
        "in order": lambda: read_batches(info, "train"),
        "TFDS": tfds_reader(info, size),
        "TFDS, training columns": tfds_reader(info, size, partly=True),
        "TFDS, shuffled": tfds_reader(
            info, size, buffer=max(size, options.buffer_mib * 2**20 // example)
        ),
    }

    def time_one(read: Callable[[], Iterator[dict[str, Any]]]) -> float:
        started = time.perf_counter()
        count = sum(len(batch["num_frames"]) for batch in read())
        return count / (time.perf_counter() - started)

    rounds = []
    for number in tqdm(range(options.rounds + 1), desc=info.name, unit="round", disable=None):
        # Whoever comes later meets a warmer machine: they take turns.
        names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        rounds.append({name: time_one(ways[name]) for name in names})
    rounds = rounds[1:]

    def ratio(ours: str, theirs: str) -> float:
        return statistics.median(row[ours] / row[theirs] for row in rounds)

    return {
        "examples": info.num_examples["train"],
        "frames_an_example": info.max_frames,
        "examples_per_second": {
            name: statistics.median(row[name] for row in rounds) for name in ways
        },
        "ratios": {
            "streaming / TFDS": ratio("streaming", "TFDS"),
            "streaming / TFDS, shuffled": ratio("streaming", "TFDS, shuffled"),
            "in order / TFDS": ratio("in order", "TFDS"),
            "both of training columns": ratio(
                "streaming, training columns", "TFDS, training columns"
            ),
        },
        "rounds": rounds,
    }


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


def measure_memory(info: DatasetInfo, options: ReadingBenchmark) -> dict[str, Any]:
    """Return the peak memory in bytes of a process that streams an epoch, by buffer in MiB."""
    peaks = {}
    for buffer in (1, 32, 64, 128, 256):
        words = [str(info.folder), str(options.batch_size), str(buffer * 2**20)]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UserError(f"streaming failed: {done.stderr[-300:]}")
        unit = 1 if sys.platform == "darwin" else 1024
        peaks[buffer] = int(done.stdout.split()[-1]) * unit
        print(f"buffer {buffer:4} MiB: {peaks[buffer] / 2**20:5.0f} MiB at most")
    return {"examples": info.num_examples["train"], "peak_bytes_by_buffer_mib": peaks}


def main() -> int:
    """Measure, print, and return the exit status."""
    options = tyro.cli(ReadingBenchmark, description=__doc__, prog="benchmark_reading.py")
    # As training does; TFDS gains by it as much as ours.
    keep_freed_memory()
    # TFDS 4.9 asks protobuf in a way that protobuf 6 deprecates.
    warnings.filterwarnings("ignore", r"label\(\) is deprecated", DeprecationWarning)
    # It warns of its own use of `FeatureConnector.dtype` too, by absl's log.
    logging.getLogger("absl").setLevel(logging.ERROR)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="emojax-reading-") as name:
        if options.data is not None:
            folders = {options.data.name: options.data}
        else:
            wanted = {"pictures": (options.pictures, 1), "clips": (options.clips, CLIP_FRAMES)}
            folders = {
                kind: make_set(Path(name) / kind, count, frames)
                for kind, (count, frames) in wanted.items()
                if count
            }
        for kind, folder in folders.items():
            info = dataset_info(folder)
            print(f"{kind}: {info.num_examples['train']} examples of {info.max_frames} crops")
            if options.memory:
                figures[kind] = measure_memory(info, options)
                continue
            figures[kind] = time_ways(info, options)
            for way, rate in figures[kind]["examples_per_second"].items():
                print(f"  {way:28} {rate:9.0f} a second")
            for pair, ratio in figures[kind]["ratios"].items():
                print(f"  {pair:28} {ratio:9.2f}")
    figures["options"] = dataclasses.asdict(options) | {"out": None, "data": None}
    figures["provenance"] = provenance()
    if options.out is not None:
        write_json(options.out, json.loads(json.dumps(figures)))
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("benchmark_reading.py", main))
