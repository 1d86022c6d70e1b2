"""The streaming path: shuffled batches straight from the shards, for sets larger than memory.

The order of an epoch is settled by seed and epoch before anything is read: the shard files in
a random order, begun at a random place of the first; cut into a share for each process; each
share into windows of as many examples as the buffer holds, shuffled whole. While the batches
of one window are handed out, the next one is read into the places that become free. A run
that is resumed starts to read at its window: neither what came before it nor the rest
of the set is parsed. TFDS writes examples by a hash of their keys, so neighbours in a shard
are strangers already, and a window is a random part of the set.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from emojax.data.quiet import load_tensorflow
from emojax.data.resident import Resident
from emojax.data.shards import DatasetInfo, _builder, _empty_columns, _typed
from emojax.data.splits import SPLITS
from emojax.errors import UserError
from emojax.labels import UNKNOWN
from emojax.spec import InputSpec

BUFFER_BYTES = 256 * 2**20
"""Faces that the shuffle buffer holds: 34,000 pictures of 98 x 80, or 570 clips of 60."""

TRAINING_COLUMNS = (
    "faces",
    "num_frames",
    "action_units",
    "action_unit_confidence",
    "emotion",
    "emotion_confidence",
    "has_sound",
)
"""What a training step needs; `spectrogram` too where the network listens."""

Batches = Callable[[int], Iterator[Resident]]
"""`step -> the batches from that step of the run to the end of its epoch`, on the device."""


class Stretch(NamedTuple):
    """Neighbouring examples of one shard."""

    shard: int
    start: int
    count: int


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
        high = min(stop - before, stretch.count)
        if low < high:
            kept.append(Stretch(stretch.shard, stretch.start + low, high - low))
        before += stretch.count
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
    buffer_bytes: int = BUFFER_BYTES,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the batches of one epoch, columns as `read_batches` has them.

    Equal arguments give equal batches; each example comes at most once, the odd rest that
    fills no batch, another one each epoch, is left out.

    Args:
        info: of the folder of shards.
        split: train, validation or test.
        batch_size: examples of a step, over all processes together.
        seed: of the run.
        epoch: each one has its own order.
        first_step: where to begin inside the epoch, for a run that is resumed.
        process_index: which share this process reads; shares have no example in common.
        process_count: how many processes read; each yields as many batches.
        columns: which to parse; None: all.
        buffer_bytes: faces held for shuffling; a batch at least.

    Raises:
        UserError: fewer examples than a batch, a batch that the processes can't share, or
            a shard that is missing, truncated or altered.
    """
    if split not in SPLITS:
        raise UserError(f"split {split!r}: use {', '.join(SPLITS)}")
    total = info.num_examples[split]
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size={batch_size} can't be shared by {process_count} processes: "
            f"use a multiple of {process_count}"
        )
    if total < batch_size:
        raise UserError(
            f"{info.folder}: {split} holds {total} examples, fewer than a batch of {batch_size}: "
            "use a smaller --batch-size, or --input=resident, which repeats them"
        )
    shards = _Shards(info, split, columns)
    local = batch_size // process_count
    order = reading_order(shards.lengths, seed, epoch)
    bounds = [index * total // process_count for index in (process_index, process_index + 1)]
    share = cut(order, *bounds)
    size = bounds[1] - bounds[0]
    # Whole batches: a window's places become free a batch at a time.
    held = max(1, buffer_bytes // (shards.example_bytes * local)) * local
    window = first_step * local // held
    incoming = shards.read(cut(share, window * held, size), local)

    def shuffled(window: int) -> np.ndarray:
        rng = np.random.default_rng((seed, epoch, process_index, window))
        return rng.permutation(min(held, size - window * held))

    batches = _through_buffer(incoming, map(shuffled, itertools.count(window)), held, local)
    first = first_step - window * held // local
    return itertools.islice(batches, first, first + total // batch_size - first_step)


def _through_buffer(
    incoming: Iterator[dict[str, np.ndarray]],
    orders: Iterator[np.ndarray],
    held: int,
    size: int,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of `size`, window by window, each in its order.

    Args:
        incoming: examples in the order of the windows, `size` at a time.
        orders: one permutation for each window; all but the last window are full.
        held: examples of a full window, a multiple of `size`.
        size: of a batch.
    """
    buffer: dict[str, np.ndarray] = {}

    def put(places: np.ndarray) -> np.ndarray:
        """Read into the places, return those that are filled now."""
        columns = next(incoming, None)
        if columns is None:
            return places[:0]
        for name, values in columns.items():
            if name not in buffer:
                kind = object if values.dtype.kind == "U" else values.dtype
                buffer[name] = np.empty((held, *values.shape[1:]), kind)
        count = len(next(iter(columns.values())))
        for name, values in columns.items():
            buffer[name][places[:count]] = values
        return places[:count]

    # `filled[i]` is where example i of the window lies.
    filled = np.concatenate([put(np.arange(at, at + size)) for at in range(0, held, size)])
    while len(filled):
        order, coming = next(orders), [filled[:0]]
        for at in range(0, len(filled) - size + 1, size):
            places = filled[order[at : at + size]]
            yield {
                name: values[places] if values.dtype != object else values[places].astype(str)
                for name, values in buffer.items()
            }
            coming.append(put(places))
        filled = np.concatenate(coming)


class _Shards:
    """The shard files of a split, checked to be there whole, and how their records are read."""

    def __init__(self, info: DatasetInfo, split: str, columns: Sequence[str] | None) -> None:
        builder = _builder(info.folder)
        described = builder.info.splits[split]
        self.info, self.split = info, split
        self.lengths: list[int] = list(described.shard_lengths)
        self.files = [info.folder / Path(path).name for path in described.filepaths]
        self.templates = _empty_columns(info)
        self.record = {
            name: feature
            for name, feature in builder.info.features.tf_example_spec.items()
            if columns is None or name in columns
        }
        shape = self.templates["faces"].shape[1:]
        self.example_bytes = int(np.prod(shape))
        self._check_files()

    def _check_files(self) -> None:
        # A shard that is cut short would otherwise be noticed when the epoch arrives there.
        for file in self.files:
            wanted = self.info.report.get("shard_bytes", {}).get(file.name)
            found = file.stat().st_size if file.is_file() else None
            if found is None or wanted not in (None, found):
                what = "is missing" if found is None else f"has {found} bytes, not {wanted}"
                raise UserError(f"{file}: {what}: build the data set again")

    def read(self, stretches: Sequence[Stretch], size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield examples, `size` at a time and at the end what is left.

        Raises:
            UserError: a shard is missing, truncated or altered.
        """
        tf = load_tensorflow()
        wanted = sum(stretch.count for stretch in stretches)
        if not wanted:
            return
        files = [str(self.files[stretch.shard]) for stretch in stretches]
        skips = np.array([stretch.start for stretch in stretches], np.int64)
        # -1 reads to the end of the file, so that a shard with too many examples is noticed.
        takes = np.array(
            [
                -1 if start + count == self.lengths[shard] else count
                for shard, start, count in stretches
            ],
            np.int64,
        )

        def parse(serialized: Any) -> Any:
            fields = tf.io.parse_example(serialized, self.record)
            for name in ("faces", "success", "spectrogram"):
                if name in fields:
                    flat = tf.io.decode_raw(fields[name], tf.uint8)
                    fields[name] = tf.reshape(flat, (-1, *self.templates[name].shape[1:]))
            return fields

        batches = (
            tf.data.Dataset.from_tensor_slices((files, skips, takes))
            .flat_map(lambda file, skip, take: tf.data.TFRecordDataset(file).skip(skip).take(take))
            .batch(size)
            .map(parse, num_parallel_calls=2)
            .prefetch(2)
        )
        found = 0
        try:
            for batch in batches.as_numpy_iterator():
                fields = {
                    name: _typed(values, self.templates[name]) for name, values in batch.items()
                }
                found += len(next(iter(fields.values())))
                yield fields
        except tf.errors.OpError as error:
            reason = str(error.message).split("\n")[0][:160]
            raise UserError(
                f"{self.info.folder}: a shard of {self.split} is missing, truncated or altered "
                f"({reason}): build the data set again"
            ) from None
        if found != wanted:
            raise UserError(
                f"{self.info.folder}: the shards of {self.split} hold {found} examples where "
                f"dataset_info.json says {wanted}: build the data set again"
            )


def to_resident(columns: Mapping[str, np.ndarray], spec: InputSpec) -> Resident:
    """Return a batch in the form that the training step takes, still on the host.

    Args:
        columns: `TRAINING_COLUMNS` of a batch.
        spec: what the network sees and answers; labels that no output is about are left out.
    """
    count = len(columns["num_frames"])
    none = slice(0, 0)
    units = slice(None) if spec.action_units else none
    emotion = columns["emotion"].astype(np.int32)
    return Resident(
        faces=columns["faces"],
        spectrograms=columns.get("spectrogram", np.zeros((count, 0, 0), np.uint8)),
        has_sound=columns.get("has_sound", np.zeros(count)).astype(np.float32),
        num_frames=columns["num_frames"].astype(np.int32),
        action_units=columns["action_units"][:, units].astype(np.int8),
        action_unit_confidence=columns["action_unit_confidence"][:, units].astype(np.float32),
        emotion=emotion if spec.emotions else np.full_like(emotion, UNKNOWN),
        emotion_confidence=columns["emotion_confidence"].astype(np.float32),
    )


def prefetch(
    batches: Iterator[Resident], sharding: jax.sharding.Sharding, ahead: int = 1
) -> Iterator[Resident]:
    """Yield batches in device memory; the next ones are on their way while one is used.

    Args:
        batches: on the host; each process has its own part of a batch.
        sharding: of a whole batch.
        ahead: how many batches are copied before they are asked for.
    """

    def put(batch: Resident) -> Resident:
        return Resident(
            *(jax.make_array_from_process_local_data(sharding, leaf) for leaf in batch)
        )

    waiting: list[Resident] = []
    for batch in batches:
        waiting.append(put(batch))
        if len(waiting) > ahead:
            yield waiting.pop(0)
    yield from waiting


def make_stream(
    info: DatasetInfo,
    split: str,
    spec: InputSpec,
    *,
    batch_size: int,
    seed: int,
    sharding: jax.sharding.Sharding,
) -> Batches:
    """Return `step -> batches on the device`, from that step of a run to its epoch's end.

    Args:
        info: of the folder of shards.
        split: which is trained on.
        spec: what the network sees and answers.
        batch_size: examples of a step, over all processes together.
        seed: of the run.
        sharding: of a batch.
    """
    steps_per_epoch = max(1, info.num_examples[split] // batch_size)
    columns = (*TRAINING_COLUMNS, *(["spectrogram"] if spec.sound else []))

    def batches(step: int) -> Iterator[Resident]:
        epoch, first_step = divmod(step, steps_per_epoch)
        columns_of_batches = stream_batches(
            info,
            split,
            batch_size=batch_size,
            seed=seed,
            epoch=epoch,
            first_step=first_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            columns=columns,
        )
        return prefetch((to_resident(each, spec) for each in columns_of_batches), sharding)

    return batches
