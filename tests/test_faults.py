"""A full disk and requests to stop, wherever a training is when they come."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tensorboardX.record_writer
from small_sets import noise_pictures

from emojax import train
from emojax.checkpoint import Progress, open_checkpoints, save
from emojax.cli import run_guarded
from emojax.config import TrainConfig
from emojax.curves import Curves
from emojax.data.resident import put_on_device
from emojax.data.shards import dataset_info, load_split
from emojax.errors import UserError
from emojax.models import build_model
from emojax.run import full_disk_is_told, newest_checkpoint
from emojax.sharding import replicated
from emojax.stopping import StopTraining, signals_interrupt
from emojax.train import Trainer, fit, make_trainer

CONFIG = TrainConfig(batch_size=8, epochs=2, checkpoint_minutes=1e-6)
TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing "a/0" in OCDBT database at local file "x": '
    "Failed to write 1746531 bytes to file 4: No space left on device [os_error_code='28']"
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pictures(tmp_path_factory.mktemp("set"), train=24, validation=7, test=7)


@pytest.fixture(scope="module")
def trainer(shards: Path) -> Trainer:
    spec = dataset_info(shards).input_spec
    return make_trainer(build_model("ar1", spec.num_outputs), spec, CONFIG, 24)


@pytest.fixture(scope="module")
def fitted(shards: Path, trainer: Trainer) -> Callable[..., Any]:
    resident = put_on_device(load_split(shards, "train"), replicated(trainer.mesh))

    def run(folder: Path, on_steps: Any = None, on_epoch: Any = None) -> Any:
        with open_checkpoints(folder, clean=True) as checkpoints:
            return fit(
                trainer,
                resident,
                checkpoints,
                on_steps=on_steps or (lambda *_: None),
                on_epoch=on_epoch or (lambda *_: None),
            )

    return run


@pytest.fixture(scope="module")
def straight(fitted: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fitted(tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize(
    ("moment", "number", "wanted"),
    [
        ("compile", signal.SIGTERM, 1),
        ("compile", signal.SIGINT, 1),
        ("save", signal.SIGTERM, 2),
        ("save", signal.SIGINT, 2),
        ("evaluation", signal.SIGTERM, 3),
        ("step", signal.SIGINT, 5),
        ("last evaluation", signal.SIGTERM, 6),
    ],
)
def test_a_stop_waits_for_the_step_and_its_checkpoint(
    moment: str,
    number: signal.Signals,
    wanted: int,
    fitted: Callable[..., Any],
    straight: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done, saved = [0], train.save

    def step(count: int, _: float) -> None:
        done[0] += count
        if (moment, done[0]) in (("compile", 1), ("step", 5)):
            os.kill(os.getpid(), number)

    def evaluate(state: Any, row: dict[str, Any]) -> None:
        if (moment, row["epoch"]) in (("evaluation", 1), ("last evaluation", 2)):
            os.kill(os.getpid(), number)

    def save(manager: Any, step: int, *rest: Any) -> None:
        saved(manager, step, *rest)
        if moment == "save" and step == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(train, "save", save)
    with pytest.raises(StopTraining) as stop:
        fitted(tmp_path, step, evaluate)
    assert stop.value.number == number
    assert stop.value.step == wanted
    assert {path.name for path in tmp_path.iterdir()} == {str(wanted - 1), str(wanted)}
    monkeypatch.undo()
    (state, history), (resumed, again) = straight, fitted(tmp_path)
    for left, right in zip(jax.tree.leaves(state), jax.tree.leaves(resumed), strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()
    assert [row["loss"] for row in again] == [row["loss"] for row in history]


@pytest.mark.parametrize("left", [(3,), (3, 6), (6, 9)], ids=str)
def test_a_best_epoch_of_a_killed_attempt_is_never_the_run_s(
    left: tuple[int, ...], shards: Path, trainer: Trainer, tmp_path: Path
) -> None:
    watching = dataclasses.replace(trainer, config=dataclasses.replace(CONFIG, patience=2))
    resident = put_on_device(load_split(shards, "train"), replicated(trainer.mesh))
    states: list[Any] = []

    def evaluate(state: Any, row: dict[str, Any]) -> None:
        states.append(jax.tree.map(np.array, state))
        row["validation_loss"] = float(row["epoch"])

    spoilt = jax.tree.map(lambda leaf: leaf * 0, trainer.init())
    with (
        open_checkpoints(tmp_path / "checkpoints") as checkpoints,
        open_checkpoints(tmp_path / "best") as best,
    ):
        # Saved before the epoch counted as done, which it never did.
        for step in left:
            save(best, step, spoilt, Progress())
        best.wait_until_finished()
        state, _ = fit(
            watching,
            resident,
            checkpoints,
            on_steps=lambda *_: None,
            on_epoch=evaluate,
            best=best,
        )
        assert best.all_steps() == [3]
    assert len(states) == 2
    for found, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(states[0]), strict=True):
        np.testing.assert_array_equal(np.asarray(found), wanted)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_outside_of_the_steps_a_stop_acts_at_once(
    number: signal.Signals, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def evaluate() -> int:
        with signals_interrupt():
            signal.raise_signal(number)
        return 0

    assert run_guarded("train.py", evaluate) == status
    assert capsys.readouterr().err.strip() == "train.py: stopped; what was already written is kept"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("half", ["7.orbax-checkpoint-tmp", "0.orbax-checkpoint-tmp"])
def test_what_a_kill_left_half_written_is_removed_by_the_one_that_goes_on(
    half: str, fitted: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / half / "state").mkdir(parents=True)
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
    # Someone who only reads may be reading beside one that writes.
    assert (tmp_path / half).is_dir()
    fitted(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"5", "6"}


@pytest.mark.parametrize(
    ("error", "left", "kept"),
    [
        (OSError(errno.ENOSPC, "No space left"), ["checkpoints/12", "checkpoints/9"], "step 12"),
        (OSError(errno.EDQUOT, "Quota exceeded"), [], "nothing is kept yet"),
        (ValueError(TENSORSTORE), ["checkpoints/3", "checkpoints/5.orbax-tmp"], "step 3"),
    ],
)
def test_a_full_disk_is_one_line_that_says_what_is_kept(
    error: Exception, left: list[str], kept: str, tmp_path: Path
) -> None:
    for name in left:
        (tmp_path / name).mkdir(parents=True)

    @full_disk_is_told
    def run(config: TrainConfig, folder: Path) -> None:
        raise error

    with pytest.raises(
        UserError, match=rf"no room left on the disk; .*{kept}.*: free some"
    ) as told:
        run(CONFIG, tmp_path)
    assert str(told.value).startswith(str(tmp_path))


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    @full_disk_is_told
    def run(config: TrainConfig, folder: Path) -> None:
        raise ValueError("os_error_code='2'")

    with pytest.raises(ValueError, match="os_error_code='2'"):
        run(CONFIG, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_curves_without_room_raise_and_wait_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - closed by the writer
    monkeypatch.setattr(tensorboardX.record_writer, "open_file", lambda path: full)
    with pytest.raises(OSError, match="No space left"):
        Curves(tmp_path, 0)
    full.close()


def test_curves_are_read_back_and_what_was_taken_back_is_hidden(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    from emojax.data.records import find_records, read_record

    curves = Curves(tmp_path, 3)
    for step in range(12):
        curves.add("train/step_loss", step / 2, step)
    curves.close()
    (file,) = tmp_path.iterdir()
    events = [Event.FromString(read_record(file, *row)) for row in find_records(file).tolist()]
    assert [event.step for event in events[1:3]] == [3, 3]
    values = [event.summary.value[0] for event in events[3:]]
    assert {value.tag for value in values} == {"train/step_loss"}
    assert [value.simple_value for value in values] == [step / 2 for step in range(12)]


def test_a_run_begins_with_its_first_whole_checkpoint(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    (tmp_path / "checkpoints" / "0.orbax-checkpoint-tmp").mkdir(parents=True)
    assert newest_checkpoint(tmp_path) is None
    for step in (9, 10):
        (tmp_path / "checkpoints" / str(step)).mkdir()
    assert newest_checkpoint(tmp_path) == 10
