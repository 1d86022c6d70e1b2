"""Streamed batches: their order, who reads what, where a run goes on, and damaged shards."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sets import noise_clips, noise_pictures

from emojax.data.shards import DatasetInfo, dataset_info, load_split
from emojax.data.streaming import Stretch, cut, reading_order, stream_batches
from emojax.errors import UserError

FACE = 98 * 80
TRAIN = 131


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pictures(tmp_path_factory.mktemp("pictures"), train=TRAIN, validation=6)


def spread(built: Path, folder: Path, lengths: Sequence[int]) -> Path:
    """A copy of the set whose training examples lie in several shards, in the same order."""
    shutil.copytree(built, folder)
    (whole,) = folder.glob("*-train.tfrecord-*")
    content, ends = whole.read_bytes(), [0]
    while ends[-1] < len(content):
        # A record: its length, a checksum of that, its bytes, a checksum of those.
        ends.append(ends[-1] + 16 + int.from_bytes(content[ends[-1] :][:8], "little"))
    assert len(ends) == 1 + sum(lengths)
    whole.unlink()
    stem, report = whole.name.partition(".")[0], json.loads((folder / "report.json").read_text())
    del report["shard_bytes"][whole.name]
    for number, stop in enumerate(itertools.accumulate(lengths)):
        shard = folder / f"{stem}.tfrecord-{number:05d}-of-{len(lengths):05d}"
        shard.write_bytes(content[ends[stop - lengths[number]] : ends[stop]])
        report["shard_bytes"][shard.name] = shard.stat().st_size
    (folder / "report.json").write_text(json.dumps(report))
    described = json.loads((folder / "dataset_info.json").read_text())
    (train,) = (split for split in described["splits"] if split["name"] == "train")
    train["shardLengths"] = [str(length) for length in lengths]
    (folder / "dataset_info.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="module", params=["one shard", "four shards"])
def info(
    request: pytest.FixtureRequest, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> DatasetInfo:
    if request.param == "one shard":
        return dataset_info(pictures)
    folder = tmp_path_factory.mktemp("spread") / "set"
    return dataset_info(spread(pictures, folder, [40, 1, 60, 30]))


def paths(info: DatasetInfo, **options: Any) -> list[list[str]]:
    """The names in each batch."""
    given = {"batch_size": 8, "seed": 3, "epoch": 0, "columns": ("path",)} | options
    return [batch["path"].tolist() for batch in stream_batches(info, "train", **given)]


def flat(batches: list[list[str]]) -> list[str]:
    return list(itertools.chain.from_iterable(batches))


BUFFERS = [
    pytest.param(1, id="a batch"),
    pytest.param(24 * FACE, id="three batches"),
    pytest.param(2**28, id="all"),
]


@pytest.mark.parametrize("buffer_bytes", BUFFERS)
def test_each_example_comes_once_in_an_epoch_but_the_odd_rest(
    info: DatasetInfo, buffer_bytes: int
) -> None:
    every = set(load_split(info.folder, "train").paths)
    assert len(every) == TRAIN
    left_out = []
    for epoch in range(3):
        batches = paths(info, epoch=epoch, buffer_bytes=buffer_bytes)
        assert [len(batch) for batch in batches] == [8] * (TRAIN // 8)
        assert len(set(flat(batches))) == len(flat(batches))
        left_out.append(frozenset(every - set(flat(batches))))
        assert len(left_out[-1]) == TRAIN % 8
    # Nobody is left out for good.
    assert not frozenset.intersection(*left_out)


@pytest.mark.parametrize("buffer_bytes", BUFFERS)
def test_the_same_arguments_give_the_same_batches_and_others_do_not(
    info: DatasetInfo, buffer_bytes: int
) -> None:
    first = paths(info, buffer_bytes=buffer_bytes)
    assert paths(info, buffer_bytes=buffer_bytes) == first
    for other in ({"epoch": 1}, {"seed": 4}):
        changed = paths(info, buffer_bytes=buffer_bytes, **other)
        assert changed != first
        same = {frozenset(batch) for batch in first} & {frozenset(batch) for batch in changed}
        # Not only the batches in another order: their make-up too, as far as there is room.
        assert not same or buffer_bytes == 1


@pytest.mark.parametrize("buffer_bytes", BUFFERS)
def test_a_resumed_epoch_is_the_tail_of_an_unbroken_one(
    info: DatasetInfo, buffer_bytes: int
) -> None:
    options = {"buffer_bytes": buffer_bytes, "process_count": 2, "process_index": 1}
    unbroken = paths(info, **options)
    for step in (1, 3, 7, 16):
        assert paths(info, first_step=step, **options) == unbroken[step:], step


@pytest.mark.parametrize("buffer_bytes", BUFFERS)
@pytest.mark.parametrize("count", [4])
def test_processes_share_an_epoch_without_a_common_example(
    info: DatasetInfo, buffer_bytes: int, count: int
) -> None:
    shares = [
        paths(info, buffer_bytes=buffer_bytes, process_index=index, process_count=count)
        for index in range(count)
    ]
    assert [len(share) for share in shares] == [TRAIN // 8] * count
    assert {len(batch) for share in shares for batch in share} == {8 // count}
    seen = flat([batch for share in shares for batch in share])
    assert len(set(seen)) == len(seen) == TRAIN // 8 * 8


def test_an_order_that_fits_into_the_buffer_is_a_whole_shuffle(info: DatasetInfo) -> None:
    place = {name: at for at, name in enumerate(load_split(info.folder, "train").paths)}
    found = np.array([place[name] for name in flat(paths(info))])
    # Chance leaves 2 of 127 pairs of neighbours side by side, and correlates by 0.09.
    assert (np.abs(np.diff(found)) == 1).sum() < 8
    assert abs(np.corrcoef(found, np.arange(len(found)))[0, 1]) < 0.3
    batches = found.reshape(-1, 8)
    assert (batches.max(axis=1) - batches.min(axis=1)).min() > TRAIN // 3


def test_values_are_those_of_the_split(info: DatasetInfo) -> None:
    arrays = load_split(info.folder, "train")
    row = {name: at for at, name in enumerate(arrays.paths)}
    streamed = list(stream_batches(info, "train", batch_size=8, seed=0, epoch=0))
    assert streamed[0]["faces"].shape == (8, 1, 98, 80)
    for batch in streamed:
        at = [row[name] for name in batch["path"].tolist()]
        for name in set(batch) - {"path", "level", "subject", "domain"}:
            wanted = getattr(arrays, name)[at]
            np.testing.assert_array_equal(batch[name], wanted, err_msg=name)
            assert batch[name].dtype == wanted.dtype
        assert batch["subject"].tolist() == [arrays.subjects[arrays.subject[i]] for i in at]
    assert len(np.unique(np.concatenate([batch["action_units"][:, 4] for batch in streamed]))) == 2


def test_clips_come_whole_with_their_sound(tmp_path: Path) -> None:
    clips = noise_clips(tmp_path)
    arrays = load_split(clips, "train")
    row = {name: at for at, name in enumerate(arrays.paths)}
    seen = []
    for batch in stream_batches(dataset_info(clips), "train", batch_size=4, seed=0, epoch=0):
        assert batch["faces"].shape == (4, 6, 98, 80)
        at = [row[name] for name in batch["path"].tolist()]
        np.testing.assert_array_equal(batch["faces"], arrays.faces[at])
        np.testing.assert_array_equal(batch["spectrogram"], arrays.spectrograms[at])
        np.testing.assert_array_equal(batch["num_frames"], arrays.num_frames[at])
        np.testing.assert_array_equal(batch["timestamps"], arrays.timestamps[at])
        seen += batch["num_frames"].tolist()
    assert len(seen) == 16
    assert {0, 2, 3, 4, 6} <= set(seen)


CLIP_BUFFERS = [1, 2 * 4 * 6 * FACE, 2**28]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventeen clips in two shards."""
    whole = noise_clips(tmp_path_factory.mktemp("clips"))
    return spread(whole, tmp_path_factory.mktemp("spread") / "set", [7, 10])


@pytest.mark.parametrize("buffer_bytes", CLIP_BUFFERS)
@pytest.mark.parametrize("columns", [None, ("num_frames", "faces", "path"), ("faces",)])
def test_large_examples_read_in_place_are_those_that_go_through_the_buffer(
    clips: Path, monkeypatch: pytest.MonkeyPatch, buffer_bytes: int, columns: tuple[str, ...] | None
) -> None:
    info = dataset_info(clips)
    for keep, first_step, process_index in itertools.product(
        (None, np.arange(17) % 3 > 0), (0, 1, 2), (0, 1)
    ):
        ways = []
        for large_bytes in (1, 2**30):
            monkeypatch.setattr("emojax.data.shard_files.LARGE_BYTES", large_bytes)
            batches = stream_batches(
                info,
                "train",
                batch_size=4,
                seed=0,
                epoch=first_step,
                first_step=first_step,
                process_index=process_index,
                process_count=2,
                columns=columns,
                keep=keep,
                buffer_bytes=buffer_bytes,
            )
            ways.append(list(batches))
        in_place, buffered = ways
        assert len(in_place) == len(buffered) == (17 if keep is None else 11) // 4 - first_step
        for one, other in zip(in_place, buffered, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name], err_msg=name)
                assert one[name].dtype == other[name].dtype, name


def test_large_examples_are_let_go_of_with_the_iterator(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emojax.data.shard_files.LARGE_BYTES", 1)
    before = threading.active_count()
    batches = stream_batches(dataset_info(clips), "train", batch_size=2, seed=0, epoch=0)
    next(batches)
    assert threading.active_count() > before
    batches.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert threading.active_count() == before


@pytest.mark.parametrize("buffer_bytes", BUFFERS)
def test_examples_that_are_not_kept_never_come(info: DatasetInfo, buffer_bytes: int) -> None:
    names = np.array(load_split(info.folder, "train").paths)
    keep = np.random.default_rng(0).random(TRAIN) < 0.4
    total = int(keep.sum())
    shares = [
        paths(info, buffer_bytes=buffer_bytes, keep=keep, process_index=index, process_count=2)
        for index in range(2)
    ]
    assert [len(share) for share in shares] == [total // 8] * 2
    seen = flat([batch for share in shares for batch in share])
    assert len(set(seen)) == len(seen) == total // 8 * 8
    assert set(seen) <= set(names[keep].tolist())
    for step in (1, 3):
        options = {"buffer_bytes": buffer_bytes, "keep": keep, "process_count": 2}
        assert paths(info, first_step=step, **options) == shares[0][step:]


def test_a_kept_buffer_changes_nothing(info: DatasetInfo) -> None:
    buffer: dict[str, np.ndarray] = {}
    for epoch in range(3):
        assert paths(info, epoch=epoch, buffer=buffer) == paths(info, epoch=epoch)
    held = buffer["path"]
    assert paths(info, epoch=4, buffer=buffer) == paths(info, epoch=4)
    assert buffer["path"] is held
    # Another size and other columns take no harm from what lay there before.
    small: dict[str, np.ndarray] = {}
    for buffer_bytes in (24 * FACE, 2**28, 1):
        options = {"buffer_bytes": buffer_bytes}
        assert paths(info, buffer=small, **options) == paths(info, **options)
    assert paths(info, batch_size=16, buffer=buffer) == paths(info, batch_size=16)
    (batch, *_) = stream_batches(
        info, "train", batch_size=8, seed=0, epoch=0, columns=("emotion",), buffer=buffer
    )
    assert set(batch) == {"emotion"}


def test_a_batch_is_not_written_over_by_the_next_ones(info: DatasetInfo) -> None:
    options: dict[str, Any] = {"batch_size": 8, "seed": 0, "epoch": 0, "buffer_bytes": 1}
    kept, copied = [], []
    for batch in stream_batches(info, "train", **options):
        kept.append(batch["faces"])
        copied.append(batch["faces"].copy())
    np.testing.assert_array_equal(kept, copied)


def test_an_order_is_cut_where_it_is_asked_to_be() -> None:
    lengths = [3, 0, 5, 2]
    for epoch in range(20):
        order = reading_order(lengths, 0, epoch)
        listed = [(s.shard, at) for s in order for at in range(s.start, s.start + s.length)]
        assert sorted(listed) == [(s, at) for s in range(4) for at in range(lengths[s])]
        for start, stop in itertools.combinations(range(11), 2):
            part = cut(order, start, stop)
            assert all(stretch.length for stretch in part)
            assert [
                (s.shard, at) for s in part for at in range(s.start, s.start + s.length)
            ] == listed[start:stop]
    assert cut([Stretch(0, 2, 5)], 1, 3) == [Stretch(0, 3, 2)]
    assert reading_order([0, 0], 0, 0) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 132}, "train has 131 examples for a batch of 132: use a smaller"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 8, "process_count": 3}, "can't be shared by 3 processes: use a multiple"),
    ],
)
def test_batches_that_cannot_be_are_refused(
    pictures: Path, options: dict[str, int], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        stream_batches(dataset_info(pictures), "train", **{"seed": 0, "epoch": 0} | options)
    with pytest.raises(UserError, match="split 'dev'"):
        stream_batches(dataset_info(pictures), "dev", batch_size=1, seed=0, epoch=0)


def damaged(folder: Path, damage: str) -> Iterator[dict[str, np.ndarray]]:
    shard = sorted(folder.glob("*-train.tfrecord*"))[-1]
    content = bytearray(shard.read_bytes())
    record = 16 + int.from_bytes(content[:8], "little")
    told = json.loads((folder / "report.json").read_text())
    if damage == "truncated":
        shard.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
        shard.write_bytes(content)
    elif damage == "empty":
        shard.write_bytes(b"")
    elif damage == "gone":
        shard.unlink()
    elif damage == "a folder":
        shard.unlink()
        shard.mkdir()
    else:
        # Cut or lengthened exactly between two records, and the sizes agree.
        shard.write_bytes(content[:-record] if damage == "shorter" else content + content[:record])
    if damage in ("shorter", "longer", "empty"):
        told["shard_bytes"][shard.name] = shard.stat().st_size
        (folder / "report.json").write_text(json.dumps(told))
    return stream_batches(
        dataset_info(folder), "train", batch_size=8, seed=0, epoch=0, buffer_bytes=24 * FACE
    )


@pytest.mark.parametrize("shards", [[TRAIN], [40, 1, 60, 30]])
@pytest.mark.parametrize("large_bytes", [1, 2**16])
@pytest.mark.parametrize(
    "damage", ["truncated", "flipped", "empty", "gone", "a folder", "shorter", "longer"]
)
def test_a_damaged_shard_is_an_error_never_fewer_examples(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
    large_bytes: int,
    shards: list[int],
) -> None:
    monkeypatch.setattr("emojax.data.shard_files.LARGE_BYTES", large_bytes)
    folder = spread(pictures, tmp_path / "copy", shards)
    with pytest.raises(UserError, match="build the data set again") as caught:
        list(damaged(folder, damage))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
