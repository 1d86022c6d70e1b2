"""Folds: who is trained on and tested, one compilation, going on, and the table over everybody."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_sets import noise_clips, noise_pictures

from emojax import cross_validation, trainings
from emojax.config import TrainConfig, network_spec
from emojax.cross_validation import fold_order
from emojax.data.folds import make_folds
from emojax.data.resident import keep_labels, put_on_device, select
from emojax.data.shards import dataset_info, load_split, load_whole
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.files import write_json
from emojax.lanes import Training
from emojax.network import build_network, load_network, make_run_predictor
from emojax.sharding import make_mesh, replicated
from emojax.shipped import find_model
from emojax.spec import read_json
from emojax.stopping import StopTraining
from emojax.train import make_trainer

if TYPE_CHECKING:
    from conftest import RunPython

CONFIG = TrainConfig(batch_size=8, epochs=2)

# Measuring would compile every program twice; tests/test_trainings.py looks at it.
train_folds = functools.partial(cross_validation.train_folds, stacked="no")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven people train, three are tested: 2, 3 or 4 pictures each."""
    return noise_pictures(tmp_path_factory.mktemp("set"), train=23, test=9)


@pytest.fixture(scope="module")
def folds_file(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folds") / "folds.json"
    write_json(path, make_folds(dataset_info(shards), k=4))
    return path


@pytest.fixture(scope="module")
def done(
    shards: Path, folds_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "folds"
    return folder, train_folds(CONFIG, folder, shards, folds_file)


def test_the_whole_set_is_its_splits_put_together(shards: Path) -> None:
    whole = load_whole(shards)
    parts = [load_split(shards, split) for split in ("train", "validation", "test")]
    assert whole.paths == tuple(path for part in parts for path in part.paths)
    named = [part.subjects[index] for part in parts for index in part.subject]
    assert [whole.subjects[index] for index in whole.subject] == named
    np.testing.assert_array_equal(whole.faces, np.concatenate([part.faces for part in parts]))


def test_everybody_is_tested_once_and_never_trained_on(
    shards: Path, folds_file: Path, done: tuple[Path, dict[str, Any]], monkeypatch: Any
) -> None:
    folder, results = done
    whole = load_whole(shards)
    asked: list[tuple[int, np.ndarray]] = []
    whole_order = fold_order

    def watched(train: Any, seed: int, fold: int, *rest: int) -> np.ndarray:
        order = whole_order(train, seed, fold, *rest)
        asked.append((fold, order))
        return order

    monkeypatch.setattr(cross_validation, "fold_order", watched)
    train_folds(CONFIG, folder.with_name("again"), shards, folds_file)
    assert [fold for fold, _ in asked] == [0, 0, 1, 1, 2, 2, 3, 3]
    tested: list[int] = []
    folds = json.loads(folds_file.read_text())["folds"]
    for number, fold in enumerate(folds):
        with np.load(folder / "folds" / f"{number:04d}.npz", allow_pickle=False) as kept:
            mine = kept["tested"]
            assert kept["emotions"].shape == (len(mine), 7)
        assert {whole.subjects[index] for index in whole.subject[mine]} == set(fold["test"])
        trained = np.unique([order for at, order in asked if at == number])
        assert {whole.subjects[i] for i in whole.subject[trained]} <= set(fold["train"])
        tested += mine.tolist()
    assert sorted(tested) == list(range(32))
    assert results["test"]["overall"]["examples"] == 32
    assert results["test"]["overall"]["people"] == len(whole.subjects)


def test_a_fold_is_the_training_that_one_would_do_by_hand(
    shards: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    folder, _ = done
    spec = network_spec(CONFIG, dataset_info(shards).input_spec)
    whole = load_whole(shards)
    with np.load(folder / "folds" / "0002.npz", allow_pickle=False) as kept:
        mine, scores = kept["tested"], kept["emotions"]
    train = np.setdiff1d(np.arange(32), mine)
    steps = json.loads((folder / "folds.json").read_text())["folds"]
    smallest = min(sum(whole.subjects[i] in fold["train"] for i in whole.subject) for fold in steps)
    network = build_network(CONFIG, spec)
    trainer = make_trainer(network, spec, CONFIG, smallest)
    assert trainer.steps_per_epoch == smallest // 8
    resident = put_on_device(whole, replicated(trainer.mesh))
    state = trainer.init()
    for epoch in range(2):
        order = fold_order(train, 0, 2, epoch, trainer.steps_per_epoch, 8)
        for _ in range(trainer.steps_per_epoch):
            state, _ = trainer.step(state, resident, jax.device_put(order))
    faces = jnp.asarray((whole.faces[mine, 0].astype(np.float32) - spec.offset) / spec.scale)
    outputs = network.apply(
        {"params": state.params, "batch_stats": state.batch_stats}, faces[..., None], train=False
    )
    wanted = jax.nn.sigmoid(outputs.logits[:, 15:])
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)


def test_the_step_is_compiled_once_for_all_folds(done: tuple[Path, dict[str, Any]]) -> None:
    _, results = done
    assert results["compilations"][0] > 0
    assert results["compilations"][1:] == [0, 0, 0]
    assert results["cost_over_median"] > 0.5


def test_figures_stand_in_a_table_a_line_a_fold(done: tuple[Path, dict[str, Any]]) -> None:
    folder, results = done
    with (folder / "folds.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["fold"] for line in lines] == ["fold_00", "fold_01", "fold_02", "fold_03"]
    assert sum(int(line["examples"]) for line in lines) == 32
    right = sum(float(line["emotion_accuracy"]) * int(line["examples"]) for line in lines)
    overall = results["test"]["overall"]["emotion"]["accuracy"]["value"]
    assert right / 32 == pytest.approx(overall, abs=1e-6)
    assert json.loads((folder / "results.json").read_text()) == results


def test_a_run_goes_on_with_the_folds_that_are_missing(
    shards: Path, folds_file: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    folder, results = done
    files = sorted((folder / "folds").iterdir())
    content = [path.read_bytes() for path in files]
    with np.load(files[1], allow_pickle=False) as kept:
        scores = kept["emotions"]
    files[1].unlink()
    (folder / "folds" / "0001.part").write_bytes(b"half a file")
    again = train_folds(CONFIG, folder, shards, folds_file)
    assert [path.read_bytes() == old for path, old in zip(files, content, strict=True)] == [
        *(True, False, True, True)
    ]
    with np.load(files[1], allow_pickle=False) as kept:
        np.testing.assert_array_equal(kept["emotions"], scores)
    assert again["test"] == results["test"]


def test_several_networks_answer_by_the_mean_of_what_they_say(
    shards: Path, folds_file: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "folds"
    shutil.copytree(done[0], folder)
    kept = {path: path.read_bytes() for path in (folder / "folds").iterdir()}
    results = train_folds(CONFIG, folder, shards, folds_file, networks=2)
    # The first network is not trained again, the second one is what its seed gives by itself.
    assert all(path.read_bytes() == content for path, content in kept.items())
    other = dataclasses.replace(CONFIG, seed=1)
    train_folds(other, tmp_path / "other", shards, folds_file)
    right = 0
    for number in range(4):
        names = [f"{number:04d}", f"{number:04d}-1"]
        first, second = (dict(np.load(folder / "folds" / f"{name}.npz")) for name in names)
        alone = np.load(tmp_path / "other" / "folds" / f"{number:04d}.npz")
        np.testing.assert_array_equal(second["emotions"], alone["emotions"])
        assert not np.array_equal(first["emotions"], second["emotions"])
        wanted = load_whole(shards).emotion[first["tested"]]
        answer = (first["emotions"] + second["emotions"]).argmax(axis=1)
        right += int((answer == wanted).sum())
    assert results["networks"] == 2
    assert results["folds"] == 4
    found = results["test"]["overall"]["emotion"]["accuracy"]["value"]
    assert found == pytest.approx(right / 32)
    with (folder / "folds.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    with pytest.raises(UserError, match="networks=0: wanted 1 or more"):
        train_folds(CONFIG, folder, shards, folds_file, networks=0)
    # Who reads the folder puts all of them together.
    written = (folder / "results.json").read_bytes()
    with pytest.raises(UserError, match="2 networks have answered there, and 1 is asked for"):
        train_folds(CONFIG, folder, shards, folds_file)
    assert (folder / "results.json").read_bytes() == written


def test_a_stopped_run_keeps_its_folds(
    shards: Path, folds_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainings.save_training

    def stop_after(path: Path, row: Any) -> None:
        whole(path, row)
        if path.stem == "0001":
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(trainings, "save_training", stop_after)
    with pytest.raises(StopTraining):
        train_folds(CONFIG, tmp_path / "run", shards, folds_file)
    names = [path.name for path in sorted((tmp_path / "run" / "folds").iterdir())]
    assert names == ["0000.npz", "0001.npz"]


def test_a_fold_that_diverged_is_named_when_the_others_are_done(
    shards: Path,
    folds_file: Path,
    done: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "folds"
    shutil.copytree(done[0], folder)
    whole = cross_validation.train_all

    def diverges(*given: Any, **options: Any) -> Any:
        rows, stacking = whole(*given, **options)
        rows[1] = dataclasses.replace(rows[1], diverged_at=3)
        return rows, stacking

    monkeypatch.setattr(cross_validation, "train_all", diverges)
    words = r"fold_01: the loss became nan at step 3; its batch was .*; 3 folds are kept, see "
    with pytest.raises(UserError, match=words):
        train_folds(CONFIG, folder, shards, folds_file)
    with (folder / "folds.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["diverged_at"] for line in lines] == ["", "3", "", ""]
    assert [line["emotion_accuracy"] == "" for line in lines] == [False, True, False, False]


def test_a_network_that_diverged_is_named_with_its_own_batch(
    shards: Path,
    folds_file: Path,
    done: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "folds"
    shutil.copytree(done[0], folder)
    # As if the second network had been trained: its files are the first one's.
    for path in [*(folder / "folds").iterdir()]:
        row = trainings.read_training(path)
        about = row.about | {"network": 1}
        trainings.save_training(
            path.with_stem(f"{path.stem}-1"), dataclasses.replace(row, about=about)
        )
    whole = cross_validation.train_all

    def diverges(*given: Any, **options: Any) -> Any:
        rows, stacking = whole(*given, **options)
        for number, step in ((4 + 2, 5), (4 + 3, 1)):
            rows[number] = dataclasses.replace(rows[number], diverged_at=step)
        return rows, stacking

    monkeypatch.setattr(cross_validation, "train_all", diverges)
    words = (
        r"fold fold_02, network 1 \(seed 1\): the loss became nan at step 5 "
        r"\(and in 1 more trainings\); its batch was .*; 6 trainings are kept"
    )
    with pytest.raises(UserError, match=words):
        train_folds(CONFIG, folder, shards, folds_file, networks=2)
    arrays = load_whole(shards)
    tested = [
        trainings.read_training(folder / "folds" / f"{number:04d}.npz").tested
        for number in range(4)
    ]
    train, steps = np.setdiff1d(np.arange(32), tested[2]), (32 - max(map(len, tested))) // 8
    # The fifth step of the second network, whose seed is 1.
    epoch, place = divmod(4, steps)
    batch = fold_order(train, 1, 2, epoch, steps, 8)[place]
    assert read_json(folder / "not_finite.json") == {
        "step": 5,
        "examples": [arrays.paths[index] for index in batch],
    }


def test_seeds_beyond_the_last_are_refused_before_the_folder_is_touched(
    shards: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, seed=2**32 - 1)
    with pytest.raises(UserError, match=r"beyond 4294967295: use --seed=4294967294 or less"):
        train_folds(config, tmp_path / "run", shards, networks=2)
    assert not (tmp_path / "run").exists()


def test_folds_go_on_when_their_reader_went_away(
    shards: Path, folds_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as nobody, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", nobody)
        results = train_folds(CONFIG, tmp_path / "run", shards, folds_file)
    assert read_json(tmp_path / "run" / "results.json") == results


def test_files_with_the_same_bytes_are_left_out_together(
    shards: Path, folds_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two of them, and a third of which no face was found.
    pair = ("test0", "train3")
    info = dataset_info(shards)
    copied = dataclasses.replace(info, report=info.report | {"same_bytes": [[*pair, "nobody"]]})
    monkeypatch.setattr(cross_validation, "dataset_info", lambda data: copied)

    def stop(*_: Any, **__: Any) -> None:
        raise StopTraining(0, 15)

    monkeypatch.setattr(cross_validation, "train_all", stop)
    with pytest.raises(StopTraining):
        train_folds(CONFIG, tmp_path / "run", shards)
    folds = read_json(tmp_path / "run" / "folds.json")["folds"]
    assert len(folds) == len(set(load_whole(shards).subjects)) - 1
    assert [fold["test"] for fold in folds if {*pair} & {*fold["test"]}] == [[*pair]]
    assert all({*pair} <= {*fold["train"]} for fold in folds if fold["test"] != [*pair])
    apart = [fold for fold in read_json(folds_file)["folds"] if {*pair} & {*fold["test"]}]
    assert len(apart) == 2
    words = "whose files have the same bytes: write it again with  emojax data folds"
    with pytest.raises(UserError, match=words):
        train_folds(CONFIG, tmp_path / "other", shards, folds_file)
    assert not (tmp_path / "other").exists()


def test_the_loss_is_that_of_everybody_s_labels(
    shards: Path,
    folds_file: Path,
    done: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "folds"
    shutil.copytree(done[0], folder)
    rows = [trainings.read_training(path) for path in sorted((folder / "folds").iterdir())]
    # Nobody has labelled the first fold, nor the emotions of the second.
    whole = load_whole(shards)
    units, emotion = whole.action_units.copy(), whole.emotion.copy()
    units[rows[0].tested], emotion[[*rows[0].tested, *rows[1].tested]] = -1, -1
    monkeypatch.setattr(
        cross_validation,
        "load_whole",
        lambda data: dataclasses.replace(whole, action_units=units, emotion=emotion),
    )
    # Each sigmoid of the emotions counts as much as the one known action unit, but for its 0.25.
    sizes = [len(row.tested) for row in rows]
    weights = [0.0, 0.25 * sizes[1], 7.25 * sizes[2], 7.25 * sizes[3]]
    results = train_folds(CONFIG, folder, shards, folds_file)
    wanted = np.average([row.answers.loss for row in rows], weights=weights)
    assert results["test"]["loss"] == pytest.approx(wanted, rel=1e-6)
    with (folder / "folds.csv").open() as file:
        lines = [line["loss"] for line in csv.DictReader(file)]
    assert [line == "" for line in lines] == [True, False, False, False]
    assert float(lines[1]) == pytest.approx(rows[1].answers.loss)
    # As a single training has it.
    spec = network_spec(CONFIG, dataset_info(shards).input_spec)
    network = build_network(CONFIG, spec)
    variables = network.init(jax.random.key(0), jnp.zeros((1, 98, 80, 1)), train=False)
    predict = make_run_predictor(CONFIG, spec, make_mesh())
    changed = cross_validation.load_whole(shards)
    parts = [
        predict(variables, select(changed, np.isin(np.arange(32), row.tested))) for row in rows
    ]
    mine = np.concatenate([row.tested for row in rows])
    together = cross_validation.everybodys(mine, parts, weights)
    alone = predict(variables, changed)
    assert together.loss == pytest.approx(alone.loss, rel=1e-5)
    np.testing.assert_allclose(together.emotions, alone.emotions, rtol=1e-5)
    assert np.isnan(cross_validation.everybodys(mine, parts, [0.0] * 4).loss)


def test_a_training_does_not_write_over_a_cross_validation(
    shards: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    folder, _ = done
    # Of others here that went on in it, too.
    results = (folder / "results.json").read_bytes()
    with pytest.raises(UserError, match=r"holds a cross-validation \(folds.py\), and this is a"):
        train_run(CONFIG, folder, shards)
    assert (folder / "results.json").read_bytes() == results


def test_a_fold_of_people_without_a_face_is_left_out_for_a_network_that_only_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of every fourth there is the sound alone, and the folds are of all of them.
    data = noise_clips(tmp_path)
    path = tmp_path / "folds.json"
    write_json(path, make_folds(dataset_info(data), k=None))
    asked: list[int] = []

    def stop(trainings: Sequence[Training], *_: Any, **__: Any) -> None:
        asked.extend(len(one.tested) for one in trainings)
        raise StopTraining(0, 15)

    monkeypatch.setattr(cross_validation, "train_all", stop)
    config = TrainConfig(model="ar5", outputs="emotions", sound_features=0, batch_size=4)
    with pytest.raises(StopTraining):
        train_folds(config, tmp_path / "run", data, path)
    assert asked == [1] * 12
    assert capsys.readouterr().out.count("no example of P") == 5


def test_a_run_never_goes_on_with_other_folds(
    shards: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = done
    other = tmp_path / "folds.json"
    write_json(other, make_folds(dataset_info(shards), k=3))
    with pytest.raises(UserError, match="holds a run with other folds"):
        train_folds(CONFIG, folder, shards, other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "ar4"}, "ar4 is trained in two stages"),
        ({"patience": 2}, "no people to be watched on"),
        ({"input": "streaming"}, "use --input=resident"),
        ({"watch": "emotion_uar"}, "watch: a fold has no people to be watched on"),
        ({"checkpoint_minutes": 1.0}, "checkpoint_minutes: a fold is kept when it is done"),
    ],
)
def test_settings_that_folds_cannot_have_are_refused(
    shards: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    config = dataclasses.replace(CONFIG, **change)
    with pytest.raises(UserError, match=words):
        train_folds(config, tmp_path / "run", shards)
    assert not (tmp_path / "run").exists()


def test_all_folds_start_from_one_run_on_other_people(
    shards: Path, folds_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    others = noise_pictures(tmp_path / "set", people="another-", train=8, validation=8, test=8)
    start = tmp_path / "start"
    train_run(dataclasses.replace(CONFIG, epochs=1), start, others, baseline=False)
    # A rate of nearly nothing: what is tested is the run that was started from, its average too.
    optim = dataclasses.replace(CONFIG.optim, learning_rate=1e-12, average=0.9)
    config = dataclasses.replace(CONFIG, init=str(start), optim=optim, epochs=1)
    run = tmp_path / "run"
    results = train_folds(config, run, shards, folds_file)
    network, whole = load_network(start), load_whole(shards)
    predict = make_run_predictor(network.config, network.spec, make_mesh())
    wanted = predict(network.variables, keep_labels(whole, network.spec))
    for number in range(4):
        with np.load(tmp_path / "run" / "folds" / f"{number:04d}.npz", allow_pickle=False) as kept:
            found, mine = kept["emotions"], kept["tested"]
        np.testing.assert_allclose(found, wanted.emotions[mine], atol=1e-5)
    # Trained again meanwhile, the folds that are missing would start from another network.
    kept = (run / "folds" / "0002.npz").read_bytes()
    (run / "folds" / "0002.npz").unlink()
    begin = cross_validation.start_variables
    noted = (run / "folds.json").read_bytes()

    def trained_again(*given: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf * 1.5, begin(*given))

    with monkeypatch.context() as patch:
        patch.setattr(cross_validation, "start_variables", trained_again)
        with pytest.raises(UserError, match=f"started from other parameters than {start} holds"):
            train_folds(config, run, shards, folds_file)
        assert (run / "folds.json").read_bytes() == noted
        assert len(list((run / "folds").iterdir())) == 3
        # Of before it was noted nobody can tell.
        fields = read_json(run / "folds.json")
        del fields["start_sha256"]
        write_json(run / "folds.json", fields)
        train_folds(config, run, shards, folds_file)
        assert read_json(run / "folds.json") == fields
    (run / "folds.json").write_bytes(noted)
    (run / "folds" / "0002.npz").unlink()
    again = train_folds(config, run, shards, folds_file)
    assert again["test"] == results["test"]
    (run / "folds" / "0002.npz").write_bytes(kept)
    # Nothing is left to start: it may be gone.
    shutil.rmtree(start)
    assert train_folds(config, run, shards, folds_file)["test"] == results["test"]
    assert (run / "folds.json").read_bytes() == noted


def test_folds_do_not_start_from_a_run_that_knows_their_people(
    shards: Path, folds_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    same = noise_pictures(tmp_path / "set", validation=8, train=8, test=1)
    start = tmp_path / "start"
    train_run(dataclasses.replace(CONFIG, epochs=1), start, same, baseline=False)
    config = dataclasses.replace(CONFIG, init=str(start))
    with pytest.raises(UserError, match="was trained on 'test0' and 7 others who are tested here"):
        train_folds(config, tmp_path / "run", shards, folds_file)
    with pytest.raises(UserError, match="nobody knows whom it has seen"):
        train_folds(
            dataclasses.replace(config, model="resnet_small", init="faces", outputs="emotions"),
            *(tmp_path / "run", shards, folds_file),
        )
    assert not (tmp_path / "run").exists()


def test_a_model_that_comes_with_emojax_says_whom_it_has_seen(
    shards: Path, folds_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(find_model("voices"), model)
    fields = read_json(model / "config.json")
    # CREMA-D's actors are 1001 .. 1091; 71 of them were heard.
    assert len(fields["people"]) == 71
    assert set(fields["people"]) < {str(number) for number in range(1001, 1092)}
    someone = load_whole(shards).subjects[3]
    write_json(model / "config.json", fields | {"people": [someone, "1001"]})
    config = dataclasses.replace(CONFIG, init=str(model))
    monkeypatch.setattr("emojax.cross_validation.start_variables", lambda *_: None)
    with pytest.raises(UserError, match=f"was trained on '{someone}' and 0 others"):
        train_folds(config, tmp_path / "run", shards, folds_file)


@pytest.mark.slow
def test_the_script_leaves_one_person_out_at_a_time(
    shards: Path, tmp_path: Path, run_python: RunPython, repository: Path
) -> None:
    script = repository / "experiments" / "folds.py"
    out = tmp_path / "run"
    arguments = [f"--data={shards}", "--epochs=1", "--batch-size=8", "--stacked=no", f"--out={out}"]
    done = run_python(script, *arguments, timeout=600)
    assert done.returncode == 0, done.stderr
    people = len(load_whole(shards).subjects)
    assert f"{people} folds in" in done.stdout
    assert "emotion UAR" in done.stdout
    assert len(list((out / "folds").iterdir())) == people
