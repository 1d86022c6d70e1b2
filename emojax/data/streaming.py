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

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from emojax.data.shard_files import ShardFiles, Stretch
from emojax.data.shards import DatasetInfo
from emojax.data.splits import SPLITS
from emojax.errors import UserError

BUFFER_BYTES = 256 * 2**20
"""Faces that are held for shuffling: 34,000 pictures of 98 x 80, or 570 clips of 60."""


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
    shards = ShardFiles(info, split, columns, keep)
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
