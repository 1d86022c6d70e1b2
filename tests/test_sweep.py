"""The sweep: each row is the run that one would do by itself; it grows, goes on, and is a table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import signal
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_sets import noise_pictures
from tiny_network import STILL, TinyNetwork

from emojax import sweep, trainings
from emojax.config import TrainConfig, network_spec
from emojax.data.resident import put_on_device
from emojax.data.shards import dataset_info, load_split
from emojax.errors import UserError
from emojax.evaluate import make_predictor, score
from emojax.models import build_model
from emojax.network import variables_of
from emojax.sharding import make_mesh, replicated
from emojax.stopping import StopTraining
from emojax.sweep import (
    Grid,
    best_setting,
    csv_table,
    markdown_table,
    read_blocks,
    train_sweep,
    write_rate,
)
from emojax.train import make_trainer, run_epoch

CONFIG = TrainConfig(batch_size=8, epochs=2, augment=STILL)
GRID = Grid(seeds=(3,), learning_rates=(1e-3, 9.0), blocks=((), (1, 1)))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    return noise_pictures(folder, train=21, validation=14, test=14)


@pytest.fixture(scope="module", autouse=True)
def tiny_networks() -> Any:
    patch = pytest.MonkeyPatch()
    patch.setattr(
        sweep, "build_network", lambda config, spec: TinyNetwork(spec.num_outputs, config.blocks)
    )
    yield
    patch.undo()


@pytest.fixture(scope="module")
def done(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sweeps") / "sweep"
    return folder, train_sweep(CONFIG, folder, shards, GRID, stacked="no")


def test_a_row_is_the_run_that_training_by_itself_gives(
    shards: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    _, results = done
    (row,) = [
        run for run in results["runs"] if (run["blocks"], run["learning_rate"]) == ("1-1", 1e-3)
    ]
    optim = dataclasses.replace(CONFIG.optim, learning_rate=1e-3)
    config = dataclasses.replace(CONFIG, seed=3, optim=optim)
    spec = network_spec(config, dataset_info(shards).input_spec)
    network, mesh = TinyNetwork(spec.num_outputs, (1, 1)), make_mesh()
    trainer = make_trainer(network, spec, config, 21)
    examples = put_on_device(load_split(shards, "train"), replicated(mesh))
    state, losses = trainer.init(), []
    for epoch in range(2):
        for new, metrics, _ in run_epoch(trainer, state, examples, epoch * trainer.steps_per_epoch):
            state = new
            losses.append(float(metrics["loss"]))
    assert row["training_loss"] == pytest.approx(np.mean(losses[-2:]), rel=1e-5)
    predict = make_predictor(network, "picture", spec, mesh, batch_size=16)
    for split in ("validation", "test"):
        arrays = load_split(shards, split)
        figures = score(arrays, predict(variables_of(state), arrays), spec)["overall"]
        recall = figures["emotion"]["unweighted_average_recall"]["value"]
        assert row[f"{split}_emotion_uar"] == pytest.approx(recall)
        assert row[f"{split}_action_unit_f1"] == pytest.approx(
            figures["action_units"]["macro_f1"]["value"]
        )


def test_a_shape_is_compiled_once(done: tuple[Path, dict[str, Any]]) -> None:
    _, results = done
    assert [shape["blocks"] for shape in results["shapes"]] == ["own", "1-1"]
    for shape in results["shapes"]:
        assert shape["compilations"][0] > 0
        assert shape["compilations"][1:] == [0]


def test_the_table_has_a_line_a_run(done: tuple[Path, dict[str, Any]]) -> None:
    folder, results = done
    with (folder / "sweep.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["blocks"], line["learning_rate"], line["seed"]) for line in lines] == [
        ("own", "0.001", "3"),
        ("own", "9", "3"),
        ("1-1", "0.001", "3"),
        ("1-1", "9", "3"),
    ]
    assert json.loads((folder / "results.json").read_text()) == results
    picture = cv2.imread(str(folder / "sweep.png"))
    assert picture is not None
    assert picture.std() > 10


def test_a_grid_may_grow(shards: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, results = done
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")}
    larger = dataclasses.replace(GRID, learning_rates=(1e-3, 1e-4), blocks=((),))
    again = train_sweep(CONFIG, folder, shards, larger, stacked="no")
    assert [run["learning_rate"] for run in again["runs"]] == [1e-3, 1e-4]
    assert again["runs"][0] == results["runs"][0]
    assert all(path.stat().st_mtime_ns == files[path] for path in files)
    other = dataclasses.replace(CONFIG, batch_size=4)
    with pytest.raises(UserError, match="holds a run with other settings"):
        train_sweep(other, folder, shards, GRID)


def test_a_signal_at_the_end_of_a_shape_stops_the_sweep(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainings.save_training

    def stop_after(path: Path, row: Any) -> None:
        whole(path, row)
        if row.about["learning_rate"] == GRID.learning_rates[-1]:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(trainings, "save_training", stop_after)
    with pytest.raises(StopTraining) as stop:
        train_sweep(CONFIG, tmp_path / "sweep", shards, GRID, stacked="no")
    assert stop.value.number == signal.SIGINT
    kept = {path.parent.name for path in (tmp_path / "sweep").rglob("*.npz")}
    assert kept == {"own"}
    assert not (tmp_path / "sweep" / "results.json").exists()


def test_two_near_rates_are_two_runs(shards: Path, tmp_path: Path) -> None:
    config, near = dataclasses.replace(CONFIG, epochs=1), (1e-3, 0.00100000001)
    grid = dataclasses.replace(GRID, learning_rates=near, blocks=((),))
    results = train_sweep(config, tmp_path / "sweep", shards, grid, stacked="no")
    assert [run["learning_rate"] for run in results["runs"]] == [*near]
    names = sorted(path.name for path in (tmp_path / "sweep").rglob("*.npz"))
    assert names == ["rate-0.00100000001_seed-3.npz", "rate-0.001_seed-3.npz"]
    with (tmp_path / "sweep" / "sweep.csv").open() as file:
        assert [line["learning_rate"] for line in csv.DictReader(file)] == [
            "0.001",
            "0.00100000001",
        ]


@pytest.mark.parametrize(
    ("rate", "name"),
    [(1e-3, "0.001"), (1e-6, "1e-06"), (3e-4, "0.0003"), (9.0, "9"), (0.1 + 0.2, f"{0.1 + 0.2!r}")],
)
def test_usual_rates_are_written_as_ever(rate: float, name: str) -> None:
    assert write_rate(rate) == name


def run_of(blocks: str, rate: float, seed: int, uar: float | None, f1: float | None) -> Any:
    return {
        "blocks": blocks,
        "learning_rate": rate,
        "seed": seed,
        "validation_emotion_uar": uar,
        "validation_action_unit_f1": f1,
        "diverged_at": None if uar is not None else 7,
        "seconds": 1.25,
    }


def test_the_best_setting_is_the_best_on_average_and_never_one_that_diverged() -> None:
    runs = [
        run_of("own", 1e-3, 0, 0.9, 0.9),
        run_of("own", 1e-3, 1, None, None),
        run_of("own", 1e-4, 0, 0.8, 0.2),
        run_of("own", 1e-4, 1, 0.4, 0.6),
        run_of("1-1", 1e-4, 0, 0.5, 0.5),
        run_of("1-1", 1e-4, 1, 0.5, 0.6),
    ]
    assert best_setting(runs) == {"blocks": "1-1", "learning_rate": 1e-4}
    assert best_setting(runs[1:2]) is None


def test_a_run_that_diverged_says_so() -> None:
    runs = [run_of("own", 1e-3, 0, 0.91234, 0.5), run_of("own", 1e-6, 1, None, None)]
    first, second = list(csv.DictReader(io.StringIO(csv_table(runs))))
    assert (first["validation_emotion_uar"], first["diverged_at"]) == ("0.9123", "")
    assert (second["validation_emotion_uar"], second["diverged_at"]) == ("", "7")
    assert second["learning_rate"] == "1e-06"
    lines = markdown_table(runs).splitlines()
    assert lines[2] == "| own | 0.001 | 0 | 0.9123 | 0.5000 | well | 1.2 |"
    assert lines[3] == "| own | 1e-06 | 1 |  |  | diverged at step 7 | 1.2 |"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "ar4"}, "ar4 is trained in two stages"),
        ({"patience": 2}, "leave it 0"),
        ({"input": "streaming"}, "use --input=resident"),
        ({"init": "runs/a"}, "starts from random parameters"),
        ({"report_on": "validation"}, "report_on: the table has the validation and the test"),
        ({"validate_every": 2}, "validate_every: nobody is looked at before the end"),
        ({"watch": "emotion_uar"}, "watch: nobody is looked at before the end"),
        ({"checkpoint_minutes": 1.0}, "checkpoint_minutes: a run is kept when it is done"),
    ],
)
def test_settings_that_a_sweep_cannot_have_are_refused(
    shards: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        train_sweep(dataclasses.replace(CONFIG, **change), tmp_path / "run", shards, GRID)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"seeds": ()}, "seeds"),
        ({"learning_rates": (1e-3, 1e-3)}, "each once"),
    ],
)
def test_a_grid_without_runs_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        dataclasses.replace(GRID, **fields)


def test_blocks_are_read() -> None:
    assert read_blocks("2-2-10") == (2, 2, 10)
    assert read_blocks("own") == ()
    with pytest.raises(UserError, match="wanted 2-2-2-2, or own"):
        read_blocks("2,2")


def test_networks_have_the_blocks_that_are_asked_for() -> None:
    names = {
        key: sorted(
            jax.eval_shape(
                lambda key=key, blocks=blocks: build_model(key, 7, blocks=blocks).init(
                    jax.random.key(0), jnp.zeros((1, 98, 80, 1)), train=False
                )
            )["params"]
        )
        for key, blocks in (("resnet18", (1, 2)), ("inception_resnet", (1, 2, 1)))
    }
    assert [name for name in names["resnet18"] if name.startswith("stage")] == [
        *("stage1_block1", "stage2_block1", "stage2_block2")
    ]
    blocks = [name for name in names["inception_resnet"] if name[:-1].endswith(("_a", "_b", "_c"))]
    assert blocks == ["inception_a1", "inception_b1", "inception_b2", "inception_c1"]


@pytest.mark.parametrize(
    ("key", "blocks", "words"),
    [
        ("ar1", (2, 2), "model 'ar1' has no blocks"),
        ("resnet18", (2, 0), "wanted 1 or more in each stage"),
        ("inception_v4", (2, 2), "has 3 stages"),
    ],
)
def test_blocks_that_a_network_cannot_have_are_refused(
    key: str, blocks: tuple[int, ...], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        build_model(key, 7, blocks=blocks)
