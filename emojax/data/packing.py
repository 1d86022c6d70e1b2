"""Cells packed into TFRecord shards by TFDS, in the same order in the plain and the Beam way."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

from emojax.data import beam
from emojax.data.builders.base import FaceBuilder, Featured, Plan
from emojax.data.cells import Job, Reading, load_cell
from emojax.data.features import to_features
from emojax.data.quiet import load_tensorflow
from emojax.data.rows import Rejection
from emojax.data.splits import SPLITS

_SORTED_AT_ONCE = 32 * 2**20
"""Bytes of examples that TFDS sorts in memory; its own limit is a gigabyte."""

_MOST_BUCKETS = shuffle.BUCKETS_NUMBER


class Part(NamedTuple):
    """The rows of one job that stand in one split."""

    job: Job
    keep: tuple[bool, ...]


def divide(jobs: Sequence[Job], home: Mapping[str, str]) -> dict[str, list[Part]]:
    """Return the parts of each split.

    Args:
        jobs: of the whole set.
        home: the split of each person.
    """
    parts: dict[str, list[Part]] = {split: [] for split in SPLITS}
    for job in jobs:
        homes = [home[row.subject] for row in job.rows]
        for split in set(homes):
            parts[split].append(Part(job, tuple(one == split for one in homes)))
    return parts


def featured(reading: Reading, part: Part) -> Iterator[Featured]:
    """Yield the part's examples with their keys, by which TFDS orders them."""
    for keep, result in zip(part.keep, load_cell(reading, part.job), strict=True):
        if keep and not isinstance(result, Rejection):
            yield (
                result.row.key,
                to_features(result, reading.input_spec, reading.options.max_frames),
            )


def write_shards(
    builder_class: type[FaceBuilder],
    work: Path,
    reading: Reading,
    parts: Mapping[str, Sequence[Part]],
    people: Mapping[str, Sequence[str]],
    beam_options: str | None = None,
) -> Path:
    """Return the folder of the finished TFRecord files, inside the work folder.

    Args:
        builder_class: of the data set.
        work: where TFDS may write.
        reading: where the cells lie.
        parts: of each split.
        people: of each split that keeps an example; others are not written.
        beam_options: of the Beam runner; None packs in this process.
    """
    load_tensorflow()

    def examples(split: str) -> Any:
        unpack = functools.partial(featured, reading)
        if beam_options is not None:
            return beam.spread(parts[split], unpack)
        return itertools.chain.from_iterable(map(unpack, parts[split]))

    plan = Plan(people, reading.input_spec, reading.options.max_frames, examples)
    jobs = {part.job.name: part.job for of_split in parts.values() for part in of_split}
    total_bytes = sum(reading.path(job).stat().st_size for job in jobs.values())
    with _quiet_tfds(), _frugal_tfds(total_bytes):
        builder = builder_class(plan=plan, data_dir=work / "tfds")
        builder.download_and_prepare(
            file_format="tfrecord",
            download_dir=work / "downloads",
            download_config=tfds.download.DownloadConfig(
                try_download_gcs=False,
                register_checksums=False,
                beam_options=None if beam_options is None else beam.parse_options(beam_options),
            ),
        )
    return Path(builder.data_dir)


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Hold back what TFDS prints: its two bars and banners say nothing that ours do not."""
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()


@contextlib.contextmanager
def _frugal_tfds(total_bytes: int) -> Iterator[None]:
    """Let TFDS sort on the disk what is more than a little: memory must not grow with the set.

    It sorts in buckets, files that are open all at once, with buffers of their own: a
    thousand of them cost more memory than they save. As many are opened as hold the set.
    """
    before = shuffle.MAX_MEM_BUFFER_SIZE, shuffle.BUCKETS_NUMBER
    shuffle.MAX_MEM_BUFFER_SIZE = _SORTED_AT_ONCE
    shuffle.BUCKETS_NUMBER = min(_MOST_BUCKETS, 1 + total_bytes // _SORTED_AT_ONCE)
    try:
        yield
    finally:
        shuffle.MAX_MEM_BUFFER_SIZE, shuffle.BUCKETS_NUMBER = before
