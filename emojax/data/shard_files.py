"""The shard files of a split, read from any example on, or at any examples.

Small examples are parsed by TensorFlow, many at a time. Large ones, clips, are read one by one
straight into the batch that asks for them (`records`).
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emojax.data.quiet import as_arrays, load_tensorflow
from emojax.data.records import DamagedError, find_records, read_record, take_apart
from emojax.data.shards import DatasetInfo, empty_columns, open_builder, typed
from emojax.errors import UserError
from emojax.stopping import uninterrupted

_PARSERS = 4
"""Reads that are parsed at once; one file is read no faster than this many can parse."""

_READ_BYTES, _READ = 4 * 2**20, 256
"""What is parsed in one go, at most: more than this leaves the processor's cache on its way."""

LARGE_BYTES = 2**16
"""Faces of an example that are read straight into a batch: for fewer, finding them costs more."""

_READERS = 2
"""Threads that read large examples; reading, checksums and copies leave the interpreter free."""

_AHEAD = 2
"""Batches of large examples that are being read while one is used."""


class Stretch(NamedTuple):
    """Neighbouring examples of one shard."""

    shard: int
    start: int
    length: int


class _Whereabouts(NamedTuple):
    """Where an example's record lies."""

    path: Path
    start: int
    stop: int


class _Coming(NamedTuple):
    """A batch that is being read."""

    faces: np.ndarray
    """Filled when the parts are done."""
    rests: list[Future[list[bytes]]]
    """Of each part: its examples without their faces, serialised."""


class ShardFiles:
    """The shard files of a split, seen to be there whole, and how their records are read."""

    def __init__(
        self,
        info: DatasetInfo,
        split: str,
        columns: Sequence[str] | None,
        keep: np.ndarray | None,
    ) -> None:
        builder = open_builder(info.folder)
        described = builder.info.splits[split]
        lengths = list(described.shard_lengths)
        every = np.ones(sum(lengths), bool) if keep is None else keep
        self.keep = np.split(every, np.cumsum(lengths)[:-1])
        self.info, self.split = info, split
        self.lengths = [int(chosen.sum()) for chosen in self.keep]
        self.files = [info.folder / Path(path).name for path in described.filepaths]
        self.templates = empty_columns(info)
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
            at, found = found, found + len(next(iter(fields.values())))
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
        # Looked up now: a generator that ends with the interpreter finds the module gone.
        damaged = (DamagedError, OSError, load_tensorflow().errors.OpError)
        waiting: collections.deque[_Coming] = collections.deque()
        try:
            where = self._whereabouts(stretches)
            with ThreadPoolExecutor(_READERS) as readers:
                for wanted in places:
                    waiting.append(self._begin(readers, [where[place] for place in wanted]))
                    if len(waiting) > _AHEAD:
                        yield self._end(waiting.popleft())
                while waiting:
                    yield self._end(waiting.popleft())
        except damaged as error:
            raise self._damaged(error) from None

    def _begin(self, readers: ThreadPoolExecutor, rows: Sequence[_Whereabouts]) -> _Coming:
        faces = np.empty((len(rows), *self.templates["faces"].shape[1:]), np.uint8)
        step = -(-len(rows) // (2 * _READERS))
        return _Coming(
            faces,
            [
                readers.submit(self._fill, faces[at : at + step], rows[at : at + step])
                for at in range(0, len(rows), step)
            ],
        )

    def _fill(self, faces: np.ndarray, rows: Sequence[_Whereabouts]) -> list[bytes]:
        """Read the faces of a few examples to their place; return what else is in them."""
        rests = []
        for into, row in zip(faces, rows, strict=True):
            record = read_record(row.path, row.start, row.stop)
            parts = take_apart(record, b"faces")
            if parts.stop - parts.start != into.size:
                raise DamagedError(f"an example of {parts.stop - parts.start} bytes of faces")
            flat = np.frombuffer(record, np.uint8, into.size, parts.start)
            into[...] = flat.reshape(into.shape)
            rests.append(parts.rest)
        return rests

    def _end(self, coming: _Coming) -> dict[str, np.ndarray]:
        rests = [rest for part in coming.rests for rest in part.result()]
        others = {name: kind for name, kind in self.record.items() if name != "faces"}
        fields: dict[str, Any] = {"faces": coming.faces}
        if others:
            tf = load_tensorflow()
            with uninterrupted():
                parsed = self._decode(tf.io.parse_example(tf.constant(rests), others))
                fields |= {name: values.numpy() for name, values in parsed.items()}
        return self._as_columns({name: fields[name] for name in self.record})

    def _whereabouts(self, stretches: Sequence[Stretch]) -> list[_Whereabouts]:
        """Return for each example its file, and where in it its record begins and ends."""
        found: list[_Whereabouts] = []
        tables: dict[int, np.ndarray] = {}
        for shard, start, length in stretches:
            if shard not in tables:
                table = find_records(self.files[shard])
                if len(table) != len(self.keep[shard]):
                    raise self._wrong_count(len(table), len(self.keep[shard]))
                tables[shard] = table[self.keep[shard]]
            rows = tables[shard][start : start + length].tolist()
            found += [_Whereabouts(self.files[shard], start, stop) for start, stop in rows]
        return found

    def _as_columns(self, batch: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: typed(values, self.templates[name]) for name, values in batch.items()}

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

        with uninterrupted():
            batches = (
                tf.data.Dataset.from_tensor_slices((files, skips, takes))
                .flat_map(
                    lambda file, skip, take: tf.data.TFRecordDataset(file).skip(skip).take(take)
                )
                .batch(max(1, min(_READ, _READ_BYTES // self.example_bytes)))
                .map(parse, num_parallel_calls=_PARSERS)
                .prefetch(2)
            )
        try:
            yield from map(self._as_columns, as_arrays(batches))
        except damaged as error:
            raise self._damaged(error) from None
