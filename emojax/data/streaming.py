"""Shuffled batches straight from the shards, for sets that are larger than memory.

The order of an epoch is settled by seed and epoch before anything is read: the shard files in
a random order, begun at a random place of the first; cut into a share for each process; each
share into windows of as many examples as the buffer holds, shuffled whole. While the batches
of one window are handed out, the next one is read into the places that become free. Clips
are not held at all: each is read from its file when its turn comes, in the same order. A run
that is resumed starts to read at its window: what came before is not even parsed. TFDS
writes examples by a hash of their keys, so neighbours in a shard are strangers already, and
a window is a random part of the set.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emojax.data.quiet import load_tensorflow
from emojax.data.records import DamagedError, find_records, read_record, take_apart
from emojax.data.shards import DatasetInfo, _builder, _empty_columns, _typed
from emojax.data.splits import SPLITS
from emojax.errors import UserError

BUFFER_BYTES = 256 * 2**20
"""Faces that are held for shuffling: 34,000 pictures of 98 x 80, or 570 clips of 60."""

_PARSERS = 4
"""Reads that are parsed at once; one file is read no faster than this many can parse."""

_READ_BYTES, _READ = 4 * 2**20, 256
"""What is parsed in one go, at most: more than this leaves the processor's cache on its way."""

LARGE_BYTES = 2**16
"""Faces of an example that are read straight into a batch: for fewer, finding them costs more."""

_READERS = 2
"""Threads that read large examples; reading, checksums and copies leave the interpreter free."""


class Stretch(NamedTuple):
    """Neighbouring examples of one shard."""

    shard: int
    start: int
    length: int


def reading_order(lengths: Sequence[int], seed: int, epoch: int) -> list[Stretch]:
    """Return the order in which an epoch goes through the shards; every example is in it once.

    Args:
        lengths: examples of each shard.
        seed: of the run.
        epoch: each one has its own order.
    """
    rng = np.random.default_rng((seed, epoch))
    shards = [int(shard) for shard in rng.permutation(len(lengths)) if lengths[shard]]
    if not shards:
        return []
    # Windows would otherwise hold the same examples in each epoch of a set with one shard.
    first, length = shards[0], lengths[shards[0]]
    begin = int(rng.integers(length))
    return [
        Stretch(first, begin, length - begin),
        *(Stretch(shard, 0, lengths[shard]) for shard in shards[1:]),
        *([Stretch(first, 0, begin)] if begin else []),
    ]


def cut(stretches: Sequence[Stretch], start: int, stop: int) -> list[Stretch]:
    """Return the examples `start` to `stop` of an order."""
    kept, before = [], 0
    for stretch in stretches:
        low = max(start - before, 0)
        high = min(stop - before, stretch.length)
        if low < high:
            kept.append(Stretch(stretch.shard, stretch.start + low, high - low))
        before += stretch.length
    return kept


def stream_batches(
    info: DatasetInfo,
    split: str,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    columns: Sequence[str] | None = None,
    keep: np.ndarray | None = None,
    buffer_bytes: int = BUFFER_BYTES,
    buffer: dict[str, np.ndarray] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Return the batches of one epoch, columns as `read_batches` has them.

    Equal arguments give equal batches. Each example comes at most once; the odd rest that
    fills no batch, another one each epoch, is left out.

    Args:
        info: of the folder of shards.
        split: train, validation or test.
        batch_size: examples of a step, over all processes together.
        seed: of the run.
        epoch: each one has its own order.
        first_step: where to begin inside the epoch, for a run that is resumed.
        process_index: which share this process reads; shares have no example in common.
        process_count: how many processes read; each gets as many batches.
        columns: which to parse; None: all.
        keep: bool [example], in the shards' order: which to stream; None: all.
        buffer_bytes: faces held for shuffling, or for large examples how far apart in the files
            those of a batch may lie; a batch at least.
        buffer: an empty dictionary that the caller keeps from epoch to epoch, one at a time:
            memory that is asked for anew costs more than what is read into it.

    Raises:
        UserError: fewer examples than a batch, a batch that the processes can't share, or
            a shard that is missing, truncated or altered; the last may come up with any batch.
    """
    if split not in SPLITS:
        raise UserError(f"split {split!r}: use {', '.join(SPLITS)}")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size={batch_size} can't be shared by {process_count} processes: "
            f"use a multiple of {process_count}"
        )
    total = info.num_examples[split] if keep is None else int(keep.sum())
    if total < batch_size:
        raise UserError(
            f"{info.folder}: {split} has {total} examples for a batch of {batch_size}: "
            "use a smaller --batch-size, or --input=resident, which repeats them"
        )
    shards = _Shards(info, split, columns, keep)
    local = batch_size // process_count
    start, stop = (index * total // process_count for index in (process_index, process_index + 1))
    share, size = cut(reading_order(shards.lengths, seed, epoch), start, stop), stop - start
    # Whole batches: a window's places become free a batch at a time.
    held = max(1, buffer_bytes // (shards.example_bytes * local)) * local
    window = first_step * local // held

    def order(window: int) -> np.ndarray:
        rng = np.random.default_rng((seed, epoch, process_index, window))
        return rng.permutation(min(held, size - window * held))

    ahead, orders = cut(share, window * held, size), map(order, itertools.count(window))
    behind = first_step - window * held // local
    steps = slice(behind, behind + total // batch_size - first_step)
    if shards.large:
        windows = range(0, size - window * held, held)
        places = np.concatenate([at + next(orders) for at in windows])
        wanted = places[steps.start * local : steps.stop * local]
        return shards.read_at(ahead, wanted.reshape(-1, local))
    batches = _through_buffer(
        shards.read(ahead), orders, local, held, {} if buffer is None else buffer
    )
    return itertools.islice(batches, steps.start, steps.stop)


def _count(columns: dict[str, np.ndarray]) -> int:
    return len(next(iter(columns.values())))


def _through_buffer(
    incoming: Iterator[dict[str, np.ndarray]],
    orders: Iterator[np.ndarray],
    size: int,
    held: int,
    buffer: dict[str, np.ndarray],
) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of `size`, window by window, each in its order.

    Args:
        incoming: examples in the order of the windows, some at a time.
        orders: one permutation for each window; all but the last window are full.
        size: of a batch.
        held: examples of a full window, a multiple of `size`.
        buffer: where they lie; filled here.
    """
    waiting: dict[str, np.ndarray] = {}

    def put(places: np.ndarray) -> np.ndarray:
        """Read into the places, return those that are filled now."""
        nonlocal waiting
        at = 0
        while at < len(places):
            if not (waiting and _count(waiting)):
                waiting = next(incoming, {})
                if not waiting:
                    break
                for name in buffer.keys() - waiting.keys():
                    del buffer[name]
            into = places[at : at + _count(waiting)]
            for name, values in waiting.items():
                if len(buffer.get(name, ())) != held:
                    kind = object if values.dtype.kind == "U" else values.dtype
                    buffer[name] = np.empty((held, *values.shape[1:]), kind)
                buffer[name][into] = values[: len(into)]
            waiting = {name: values[len(into) :] for name, values in waiting.items()}
            at += len(into)
        return places[:at]

    def take(values: np.ndarray, places: np.ndarray) -> np.ndarray:
        return values[places] if values.dtype != object else values[places].astype(str)

    # `filled[i]` is where example i of the window lies.
    filled = np.concatenate([put(np.arange(at, at + size)) for at in range(0, held, size)])
    while len(filled):
        order, coming = next(orders), [filled[:0]]
        for at in range(0, len(filled) - size + 1, size):
            places = filled[order[at : at + size]]
            yield {name: take(values, places) for name, values in buffer.items()}
            coming.append(put(places))
        filled = np.concatenate(coming)


class _Shards:
    """The shard files of a split, seen to be there whole, and how their records are read."""

    def __init__(
        self,
        info: DatasetInfo,
        split: str,
        columns: Sequence[str] | None,
        keep: np.ndarray | None,
    ) -> None:
        builder = _builder(info.folder)
        described = builder.info.splits[split]
        lengths = list(described.shard_lengths)
        every = np.ones(sum(lengths), bool) if keep is None else keep
        self.keep = np.split(every, np.cumsum(lengths)[:-1])
        self.info, self.split = info, split
        self.lengths = [int(chosen.sum()) for chosen in self.keep]
        self.files = [info.folder / Path(path).name for path in described.filepaths]
        self.templates = _empty_columns(info)
        self.record = {
            name: feature
            for name, feature in builder.info.features.tf_example_spec.items()
            if columns is None or name in columns
        }
        self.example_bytes = int(np.prod(self.templates["faces"].shape[1:]))
        self.large = "faces" in self.record and self.example_bytes >= LARGE_BYTES
        self._check_files()

    def _check_files(self) -> None:
        # A shard that is cut short would otherwise be noticed when an epoch arrives there.
        for file in self.files:
            wanted = self.info.report.get("shard_bytes", {}).get(file.name)
            found = file.stat().st_size if file.is_file() else None
            if found is None or wanted not in (None, found):
                what = "is missing" if found is None else f"has {found} bytes, not {wanted}"
                raise UserError(f"{file}: {what}: build the data set again")

    def _records(self, stretches: Sequence[Stretch]) -> list[tuple[int, int, np.ndarray]]:
        """Return for each stretch its shard, the record that it begins at, and which are kept."""
        found = []
        for shard, start, length in stretches:
            places = np.flatnonzero(self.keep[shard])[start : start + length]
            first, last = int(places[0]), int(places[-1])
            found.append((shard, first, self.keep[shard][first : last + 1]))
        return found

    def read(self, stretches: Sequence[Stretch]) -> Iterator[dict[str, np.ndarray]]:
        """Yield examples, some at a time.

        Raises:
            UserError: a shard is missing, truncated or altered.
        """
        records = self._records(stretches)
        if not records:
            return
        keep = np.concatenate([chosen for _, _, chosen in records])
        found = 0
        for fields in self._parse(records):
            at, found = found, found + _count(fields)
            chosen = keep[at:found]
            if chosen.all():
                yield fields
            else:
                yield {name: values[: len(chosen)][chosen] for name, values in fields.items()}
        if found != len(keep):
            raise self._wrong_count(found, len(keep))

    def read_at(
        self, stretches: Sequence[Stretch], places: np.ndarray
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of large examples, the next ones being read meanwhile.

        Args:
            stretches: examples in order.
            places: which of them to yield, int64 [batch, example].

        Raises:
            UserError: a shard is missing, truncated or altered.
        """
        tf = load_tensorflow()
        # Looked up now: a generator that ends with the interpreter finds the module gone.
        damaged = (DamagedError, OSError, tf.errors.OpError)
        shape = self.templates["faces"].shape[1:]
        others = {name: feature for name, feature in self.record.items() if name != "faces"}

        def read_rows(faces: np.ndarray, rows: Sequence[tuple[Path, int, int]]) -> list[bytes]:
            """Fill the faces of a few rows and return what else is in them."""
            rests = []
            for into, (path, start, stop) in zip(faces, rows, strict=True):
                record = read_record(path, start, stop)
                parts = take_apart(record, b"faces")
                if parts.stop - parts.start != self.example_bytes:
                    raise DamagedError(f"an example of {parts.stop - parts.start} bytes of faces")
                flat = np.frombuffer(record, np.uint8, self.example_bytes, parts.start)
                into[...] = flat.reshape(shape)
                rests.append(parts.rest)
            return rests

        def begin(wanted: np.ndarray) -> tuple[np.ndarray, list[Future[list[bytes]]]]:
            """Have a batch read: return its faces, being filled, and what is to be waited for."""
            faces = np.empty((len(wanted), *shape), np.uint8)
            parts = np.array_split(np.arange(len(wanted)), min(len(wanted), 2 * _READERS))
            return faces, [
                readers.submit(
                    read_rows, faces[part[0] : part[-1] + 1], [where[i] for i in wanted[part]]
                )
                for part in parts
            ]

        def end(faces: np.ndarray, futures: Sequence[Future[list[bytes]]]) -> dict[str, Any]:
            rests = [rest for future in futures for rest in future.result()]
            fields = self._decode(tf.io.parse_example(tf.constant(rests), others)) if others else {}
            columns = {name: np.asarray(values) for name, values in fields.items()}
            return {name: faces if name == "faces" else columns[name] for name in self.record}

        try:
            where = self._whereabouts(stretches)
            with ThreadPoolExecutor(_READERS) as readers:
                waiting: collections.deque[Any] = collections.deque()
                for wanted in places:
                    waiting.append(begin(wanted))
                    if len(waiting) > 2:
                        yield self._as_columns(end(*waiting.popleft()))
                while waiting:
                    yield self._as_columns(end(*waiting.popleft()))
        except damaged as error:
            raise self._damaged(error) from None

    def _whereabouts(self, stretches: Sequence[Stretch]) -> list[tuple[Path, int, int]]:
        """Return for each example its file, and where in it its record begins and ends."""
        found: list[tuple[Path, int, int]] = []
        tables: dict[int, np.ndarray] = {}
        for shard, start, length in stretches:
            if shard not in tables:
                table = find_records(self.files[shard])
                if len(table) != len(self.keep[shard]):
                    raise self._wrong_count(len(table), len(self.keep[shard]))
                tables[shard] = table[self.keep[shard]]
            rows = tables[shard][start : start + length].tolist()
            found += [(self.files[shard], start, stop) for start, stop in rows]
        return found

    def _as_columns(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: _typed(values, self.templates[name]) for name, values in batch.items()}

    def _decode(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return parsed fields, pictures as they are in place of their bytes."""
        tf = load_tensorflow()
        for name in ("faces", "success", "spectrogram"):
            if name in fields:
                flat = tf.io.decode_raw(fields[name], tf.uint8)
                fields[name] = tf.reshape(flat, (-1, *self.templates[name].shape[1:]))
        return fields

    def _wrong_count(self, found: int, wanted: int) -> UserError:
        return UserError(
            f"{self.info.folder}: the shards of {self.split} hold {found} examples where "
            f"dataset_info.json says {wanted}: build the data set again"
        )

    def _damaged(self, error: Exception) -> UserError:
        reason = str(getattr(error, "message", error)).split("\n")[0][:160]
        return UserError(
            f"{self.info.folder}: a shard of {self.split} is missing, truncated or altered "
            f"({reason}): build the data set again"
        )

    def _parse(
        self, records: Sequence[tuple[int, int, np.ndarray]]
    ) -> Iterator[dict[str, np.ndarray]]:
        tf = load_tensorflow()
        # Looked up now: a generator that ends with the interpreter finds the module gone.
        damaged = tf.errors.OpError
        files = [str(self.files[shard]) for shard, _, _ in records]
        skips = np.array([first for _, first, _ in records], np.int64)
        # -1 reads to the end of the file, so that a shard with too many examples is noticed.
        takes = np.array(
            [
                -1 if first + len(chosen) == len(self.keep[shard]) else len(chosen)
                for shard, first, chosen in records
            ],
            np.int64,
        )

        def parse(serialized: Any) -> Any:
            return self._decode(tf.io.parse_example(serialized, self.record))

        batches = (
            tf.data.Dataset.from_tensor_slices((files, skips, takes))
            .flat_map(lambda file, skip, take: tf.data.TFRecordDataset(file).skip(skip).take(take))
            .batch(max(1, min(_READ, _READ_BYTES // self.example_bytes)))
            .map(parse, num_parallel_calls=_PARSERS)
            .prefetch(2)
        )
        try:
            yield from map(self._as_columns, batches.as_numpy_iterator())
        except damaged as error:
            raise self._damaged(error) from None
