"""What a streamed training is fed with: the same values as a resident one, on the device."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from small_sets import noise_clips, noise_pictures

from emojax.data.feed import (
    TRAINING_COLUMNS,
    Usable,
    find_usable,
    make_stream,
    prefetch,
    to_resident,
)
from emojax.data.resident import Resident, keep_labels, put_on_device
from emojax.data.shards import DatasetInfo, dataset_info, load_split
from emojax.data.streaming import stream_batches
from emojax.errors import UserError
from emojax.labels import MODALITIES
from emojax.sharding import make_mesh, replicated, split_batch
from emojax.spec import InputSpec

EARS_OFF = {"sound": None}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> DatasetInfo:
    return dataset_info(noise_clips(tmp_path_factory.mktemp("clips")))


@pytest.mark.parametrize(
    "changes",
    [{}, EARS_OFF, {"emotions": ()}, {"action_units": ()} | EARS_OFF],
    ids=["all", "deaf", "no emotions", "emotions alone"],
)
def test_batches_hold_what_the_resident_path_would(
    clips: DatasetInfo, changes: dict[str, None]
) -> None:
    spec = clips.input_spec.replace(**changes)
    arrays = keep_labels(load_split(clips.folder, "train"), spec)
    resident = put_on_device(arrays, jax.sharding.SingleDeviceSharding(jax.devices()[0]))
    row = {name: at for at, name in enumerate(arrays.paths)}
    usable = find_usable(clips, "train", spec)
    assert usable.examples == len(arrays.paths) == (17 if spec.sound else 12)
    assert usable.people == len(np.unique(arrays.subject))
    columns = (*TRAINING_COLUMNS, "path", *(["spectrogram"] if spec.sound else []))
    options = {"batch_size": 3, "seed": 0, "epoch": 0, "columns": columns, "keep": usable.keep}
    seen = set()
    for batch in stream_batches(clips, "train", **options):
        at = [row[name] for name in batch["path"].tolist()]
        seen |= set(at)
        found = to_resident(batch, spec)
        for name in Resident._fields:
            wanted = np.asarray(getattr(resident, name))[at]
            if name == "spectrograms" and spec.sound is None:
                # Nobody listens: they are not even read.
                wanted = wanted[:, :0, :0]
            np.testing.assert_array_equal(getattr(found, name), wanted, err_msg=name)
            assert getattr(found, name).dtype == wanted.dtype, name
    assert len(seen) == usable.examples // 3 * 3


def test_sounds_without_a_face_are_told_and_left_out_where_nobody_listens(
    clips: DatasetInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = clips.input_spec
    assert find_usable(clips, "train", spec).keep is None
    assert capsys.readouterr().out == ""
    keep = find_usable(clips, "train", spec.replace(sound=None)).keep
    assert keep is not None
    assert capsys.readouterr().out == "5 of 17 examples are sound without a face: left out\n"
    arrays = load_split(clips.folder, "train")
    np.testing.assert_array_equal(keep, arrays.num_frames > 0)


def test_a_set_of_pictures_is_not_read_to_know_that_all_can_be_used(tmp_path: Path) -> None:
    info = dataset_info(noise_pictures(tmp_path, train=9))
    next(info.folder.glob("*-train.tfrecord*")).unlink()
    assert find_usable(info, "train", info.input_spec) == Usable(None, 9, 7)


def test_a_split_of_sounds_alone_is_refused_where_nobody_listens(
    clips: DatasetInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = {"num_frames": np.zeros(4, np.int32), "subject": np.array(["a"] * 4)}
    monkeypatch.setattr("emojax.data.feed.read_batches", lambda *_: iter([batch]))
    with pytest.raises(UserError, match="all 4 examples are sound without a face"):
        find_usable(clips, "train", clips.input_spec.replace(sound=None))


def test_a_stream_goes_on_where_a_run_stopped_and_into_the_next_epoch(clips: DatasetInfo) -> None:
    spec, sharding = clips.input_spec, split_batch(make_mesh())
    usable = find_usable(clips, "train", spec)
    stream = make_stream(clips, "train", spec, usable, batch_size=4, seed=1, sharding=sharding)
    epochs = [[np.asarray(batch.faces) for batch in stream(step)] for step in (0, 4)]
    assert [len(epoch) for epoch in epochs] == [4, 4]
    assert any((first != second).any() for first, second in zip(*epochs, strict=True))
    for step in range(8):
        tail = [np.asarray(batch.faces) for batch in stream(step)]
        np.testing.assert_array_equal(tail, epochs[step // 4][step % 4 :])


def test_a_stream_for_a_network_without_an_ear_shows_a_face_each_time(clips: DatasetInfo) -> None:
    spec, sharding = clips.input_spec.replace(sound=None), split_batch(make_mesh())
    usable = find_usable(clips, "train", spec)
    stream = make_stream(clips, "train", spec, usable, batch_size=4, seed=1, sharding=sharding)
    assert [np.asarray(batch.num_frames > 0).sum() for batch in stream(0)] == [4, 4, 4]


def test_batches_are_on_their_way_before_they_are_asked_for() -> None:
    mesh, asked = make_mesh(), []

    def batches():
        for number in range(4):
            asked.append(number)
            yield Resident(*(np.full((4, 2), number, np.float32) for _ in Resident._fields))

    taken = prefetch(batches(), split_batch(mesh))
    for number in range(4):
        batch = next(taken)
        assert asked == list(range(min(number + 2, 4)))
        assert batch.faces.sharding == split_batch(mesh)
        assert np.asarray(batch.faces).tolist() == [[number] * 2] * 4
    assert next(taken, None) is None


def test_a_mistake_in_the_shards_comes_through(clips: DatasetInfo, tmp_path: Path) -> None:
    info = DatasetInfo(**{**vars(clips), "folder": tmp_path})
    usable = Usable(None, 17, 17)
    sharding = split_batch(make_mesh())
    stream = make_stream(
        info, "train", InputSpec(), usable, batch_size=4, seed=0, sharding=sharding
    )
    with pytest.raises(UserError):
        next(stream(0))


def test_a_stream_reads_how_many_voted_where_votes_are_aimed_at(
    clips: DatasetInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def stream(*_: object, columns: tuple[str, ...], **__: object):
        asked.append(set(columns) - set(TRAINING_COLUMNS))
        return iter(())

    monkeypatch.setattr("emojax.data.feed.stream_batches", stream)
    spec, sharding = clips.input_spec.replace(sound=None), split_batch(make_mesh())
    usable = find_usable(clips, "train", spec)
    for votes in ("none", "face"):
        options = {"batch_size": 4, "seed": 1, "sharding": sharding, "votes": votes}
        assert list(make_stream(clips, "train", spec, usable, **options)(0)) == []
    assert asked == [set(), {"votes", "votes_total"}]


def test_shares_of_votes_are_the_same_resident_and_streamed(clips: DatasetInfo) -> None:
    arrays = load_split(clips.folder, "train")
    votes = np.random.default_rng(0).integers(0, 5, arrays.votes.shape).astype(np.int32)
    votes[3] = 0
    others = np.random.default_rng(1).integers(0, 3, arrays.votes_total.shape).astype(np.int32)
    others[3] = [0, 2, 0]
    totals = votes.sum(axis=2, dtype=np.int32) + others
    arrays = dataclasses.replace(arrays, votes=votes, votes_total=totals)
    everywhere = replicated(make_mesh())
    columns = {
        name: getattr(arrays, "spectrograms" if name == "spectrogram" else name)
        for name in (*TRAINING_COLUMNS, "spectrogram", "votes", "votes_total")
    }
    for modality in MODALITIES:
        kept = np.asarray(put_on_device(arrays, everywhere, modality).emotion_shares)
        fed = to_resident(columns, clips.input_spec, modality).emotion_shares
        np.testing.assert_array_equal(kept, fed)
        side = MODALITIES.index(modality)
        counts, total = votes[:, side], totals[:, side]
        told = total > 0
        # Of all votes, those for something else too; somebody saw no emotion at all.
        np.testing.assert_allclose(kept[told], counts[told] / total[told, None], rtol=1e-6)
        assert (kept[told].sum(axis=1) < 0.999).any()
        assert told[3] == (side == 1)
        assert (kept[3] == (0 if told[3] else -1)).all()
        assert (kept[~told] == -1).all()
        # Shards that do not know how many voted: those that chose an emotion.
        alone = to_resident(
            {name: values for name, values in columns.items() if name != "votes_total"},
            clips.input_spec,
            modality,
        ).emotion_shares
        voted = counts.sum(axis=1) > 0
        np.testing.assert_allclose(alone[voted].sum(axis=1), 1, rtol=1e-6)
        assert (alone[~voted] == -1).all()
    assert put_on_device(arrays, everywhere).emotion_shares.shape == (17, 0)
    assert to_resident(columns, clips.input_spec).emotion_shares.shape == (17, 0)
