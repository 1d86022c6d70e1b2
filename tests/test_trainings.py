"""Many trainings: what is measured, what goes on, what is kept of one that diverged."""

from __future__ import annotations

import dataclasses
import functools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from tiny_network import SPEC, STILL, TinyNetwork, random_examples

from emojax import stacking, trainings
from emojax.config import TrainConfig
from emojax.errors import UserError
from emojax.lanes import Training
from emojax.sharding import make_mesh, replicated
from emojax.stacking import even_width
from emojax.stopping import StopTraining
from emojax.trainings import train_all

CONFIG = TrainConfig(batch_size=8, epochs=2, augment=STILL)
STEPS = 3
RATES = (1e-3, float("inf"), 1e-4, 1e-5, 1e-3)
TESTED = (5, 9, 1, 30, 7)


def wanted() -> list[Training]:
    rng = np.random.default_rng(1)
    return [
        Training(
            name=f"run-{number}",
            about={"rate": str(rate)},
            seed=number,
            learning_rate=rate,
            order=rng.integers(0, 40, (2, STEPS, 8)).astype(np.int32).__getitem__,
            tested=np.arange(count),
        )
        for number, (rate, count) in enumerate(zip(RATES, TESTED, strict=True))
    ]


@pytest.fixture(autouse=True, scope="module")
def compile_once() -> Iterator[None]:
    whole = trainings.make_lanes
    trainings.make_lanes = functools.cache(whole)
    yield
    trainings.make_lanes = whole


def do(folder: Path, runs: Any = None, **options: Any) -> Any:
    resident = jax.device_put(random_examples(40), replicated(make_mesh()))
    return train_all(
        runs or wanted(), TinyNetwork(), CONFIG, SPEC, resident, STEPS, folder, **options
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("many") / "runs"
    return folder, do(folder, stacked="no")[0]


@pytest.mark.parametrize(
    ("runs", "devices", "most", "width"),
    [(91, 1, 8, 7), (91, 4, 8, 8), (5, 1, 8, 5), (3, 4, 8, 1), (16, 2, 8, 8), (9, 1, 1, 1)],
)
def test_few_lanes_stay_empty(runs: int, devices: int, most: int, width: int) -> None:
    found = even_width(runs, devices, most)
    assert found == width
    empty = {w: -runs % (w * devices) for w in range(found // 2 + 1, most + 1)}
    assert empty[found] <= min(empty[w] for w in empty if w <= found)


def test_a_run_that_diverged_is_marked_and_the_others_are_done(done: tuple[Path, Any]) -> None:
    _, rows = done
    assert [row.diverged_at is not None for row in rows] == [False, True, False, False, False]
    # An infinite rate: the second step is the first that sees what it did.
    assert rows[1].diverged_at == 2
    for row, count in zip(rows, TESTED, strict=True):
        assert row.answers.action_units.shape == (count, 15)
        assert np.isfinite(row.answers.action_units).all() == (row.diverged_at is None)


def test_nothing_is_compiled_after_the_first_run(done: tuple[Path, Any]) -> None:
    _, rows = done
    assert rows[0].compilations > 0
    assert [row.compilations for row in rows[1:]] == [0, 0, 0, 0]


def test_stacked_runs_give_the_same_files(done: tuple[Path, Any], tmp_path: Path) -> None:
    _, rows = done
    stacked, how = do(tmp_path / "runs", stacked="yes", stack_size=3)
    assert how.width == 3
    for one, many in zip(rows, stacked, strict=True):
        assert one.about == many.about
        assert one.diverged_at == many.diverged_at
        np.testing.assert_allclose(one.answers.emotions, many.answers.emotions, atol=5e-5)
        np.testing.assert_allclose(one.loss, many.loss, rtol=1e-5)


def test_only_what_is_missing_is_trained(done: tuple[Path, Any]) -> None:
    folder, rows = done
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "run-2.npz").unlink()
    (folder / "run-2.part").write_bytes(b"half a file")
    again, _ = do(folder, stacked="no")
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"run-2.npz"}
    for old, new in zip(rows, again, strict=True):
        np.testing.assert_array_equal(old.answers.emotions, new.answers.emotions)
        assert old.loss == new.loss or np.isnan(old.loss)
    assert do(folder)[1] is None


def test_a_file_of_another_training_is_refused(done: tuple[Path, Any]) -> None:
    folder, _ = done
    runs = wanted()
    runs[3] = dataclasses.replace(runs[3], about={"rate": "other"})
    with pytest.raises(UserError, match=r"run-3.npz: is the training .*: remove it"):
        do(folder, runs)


def test_a_signal_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trainings.save_training

    def stop_after(path: Path, row: Any) -> None:
        whole(path, row)
        if path.stem == "run-1":
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(trainings, "save_training", stop_after)
    with pytest.raises(StopTraining) as stop:
        do(tmp_path / "runs", stacked="no")
    assert stop.value.number == signal.SIGTERM
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"run-0.npz", "run-1.npz"}


def test_a_signal_that_comes_while_the_last_ones_answer_stops_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever called may have others to train next.
    whole = trainings.save_training

    def stop_after(path: Path, row: Any) -> None:
        whole(path, row)
        if path.stem == "run-4":
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(trainings, "save_training", stop_after)
    with pytest.raises(StopTraining) as stop:
        do(tmp_path / "runs", stacked="no")
    assert stop.value.number == signal.SIGTERM
    assert len(list((tmp_path / "runs").iterdir())) == 5
    assert len(do(tmp_path / "runs")[0]) == 5


class Clock:
    """Stands in for `time`: a stacked step takes as long as it is told."""

    def __init__(self, slow: dict[int, float]) -> None:
        self.slow, self.now = slow, 0.0

    def perf_counter(self) -> float:
        return self.now

    monotonic = perf_counter


@pytest.mark.parametrize(("alone", "together", "width"), [(1.0, 4.0, 5), (1.0, 6.0, 1)])
def test_the_faster_way_is_taken_and_remembered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    alone: float,
    together: float,
    width: int,
) -> None:
    clock = Clock({1: alone, 5: together})
    monkeypatch.setattr(stacking, "time", clock)
    asked: list[int] = []

    def steps_of(lanes: Any, left: Any, resident: Any) -> Any:
        asked.append(lanes.width)

        def call() -> None:
            clock.now += 2 * clock.slow[lanes.width]

        return call

    monkeypatch.setattr(stacking, "_steps_of", steps_of)
    monkeypatch.setattr(trainings, "_train_left", stopped)
    with pytest.raises(StopTraining):
        do(tmp_path / "runs")
    assert asked == [1, 5]
    kept = json.loads((tmp_path / "runs.stacking.json").read_text())
    assert kept["width"] == width
    assert kept["seconds"] == {"1": alone, "5": together / 5}
    said = capsys.readouterr().out
    assert f"takes {1e3 * alone:.3g} ms alone and {1e3 * together / 5:.3g} ms in 5" in said
    with pytest.raises(StopTraining):
        do(tmp_path / "runs")
    assert asked == [1, 5]


def stopped(left: Any, config: Any, lanes: Any, *rest: Any) -> None:
    raise StopTraining(0, 2)


def test_what_does_not_fit_is_not_stacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps_of(lanes: Any, left: Any, resident: Any) -> Any:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(stacking, "_steps_of", steps_of)
    monkeypatch.setattr(trainings, "_train_left", lambda *rest: None)
    _, how = do(tmp_path / "runs")
    assert how.width == 1
    assert "do not fit" in how.why


def test_a_real_measurement_steps_both_ways() -> None:
    def make(width: int) -> Any:
        return trainings.make_lanes(TinyNetwork(), SPEC, CONFIG, STEPS, width, max(TESTED))

    found = stacking.measure_stacking(wanted(), make, jax.device_put(random_examples(40)), 3)
    assert set(found.seconds) == {"1", "3"}
    assert found.width == int(min(found.seconds, key=lambda width: found.seconds[width]))
    assert found.measured_in > 6 * min(found.seconds.values())


@pytest.mark.parametrize("stacked", ["auto", "yes", "no"])
def test_a_device_holds_one_run_at_least(tmp_path: Path, stacked: stacking.Stacked) -> None:
    with pytest.raises(UserError, match="stack_size=0: wanted 1 or more"):
        do(tmp_path / "runs", stacked=stacked, stack_size=0)
