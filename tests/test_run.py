from __future__ import annotations

import dataclasses
import errno
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import pytest

import emojax
from emojax import alone, run
from emojax.alone import alone_in_folder
from emojax.config import TrainConfig
from emojax.errors import UserError
from emojax.optim import OptimConfig
from emojax.run import (
    check_run,
    full_disk_is_told,
    has_begun,
    is_still_to_throw_away,
    is_thrown_away,
    load_run,
    newest_checkpoint,
    open_run,
    provenance,
    source_commit,
    write_json,
)
from emojax.spec import InputSpec

if TYPE_CHECKING:
    from conftest import RunPython

CONFIG = TrainConfig(epochs=3, optim=OptimConfig(learning_rate=0.01))
SPEC = InputSpec(height=48, width=48)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def begun(folder: Path, **changes: Any) -> None:
    """A run that was opened and has a checkpoint."""
    opened(folder, **changes)
    (folder / "checkpoints" / "10").mkdir(parents=True)


def opened(folder: Path, **changes: Any) -> None:
    arguments = {
        "config": CONFIG,
        "spec": SPEC,
        "data": Path("data/mine"),
        "fingerprint": "5f3a",
        "fresh": False,
    }
    open_run(folder, **(arguments | changes))


# write_json


def test_written_json_is_read_back(tmp_path: Path) -> None:
    fields = {"a": [1, 2.5, None], "ß": {"nested": True}}
    write_json(tmp_path / "x.json", fields)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == fields
    assert (tmp_path / "x.json").read_text().endswith("}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), object(), {1, 2}])
def test_a_file_that_cannot_be_written_leaves_the_old_one(wrong: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"good": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"first": "is written", "then": wrong})
    assert json.loads(path.read_text()) == {"good": 1}


def test_a_write_that_breaks_half_way_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"good": 1})
    seen: list[bytes] = []

    def full_disk(descriptor: int) -> None:
        seen.append(path.read_bytes())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"new": 2})
    # The old one was whole even at the last moment before the new one took its name.
    assert [json.loads(content) for content in seen] == [{"good": 1}]
    assert json.loads(path.read_text()) == {"good": 1}


def test_a_write_that_fails_leaves_nothing_aside(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


# open_run and load_run


def test_a_new_run_is_made_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    opened(folder)
    assert list(files_in(folder)) == ["config.json"]
    # Absolute, so that the run can be evaluated from another folder.
    assert load_run(folder) == (CONFIG, SPEC, Path.cwd() / "data" / "mine")


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    opened(tmp_path)
    assert load_run(tmp_path)[0] == CONFIG


def test_the_same_run_is_taken_up_untouched(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "history.csv").write_text("epoch\n1\n")
    before = files_in(tmp_path)
    opened(tmp_path)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 4}, ["epochs: 3 -> 4"]),
        ({"optim": OptimConfig(learning_rate=0.02)}, ["optim.learning_rate: 0.01 -> 0.02"]),
        (
            {"seed": 1, "model": "resnet18"},
            ['model: "ar1" -> "resnet18"', "seed: 0 -> 1"],
        ),
    ],
)
def test_other_settings_are_refused_by_name(
    change: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    begun(tmp_path)
    before = files_in(tmp_path)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}: ")) as refusal:
        opened(tmp_path, config=dataclasses.replace(CONFIG, **change))
    for word in (*words, "--fresh", "--out"):
        assert word in str(refusal.value)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [
        {"spec": InputSpec(height=48, width=48, equalise=True)},
        {"fingerprint": "77aa"},
    ],
    ids=["another input spec", "built from other pictures"],
)
def test_other_shards_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    begun(tmp_path)
    before = files_in(tmp_path)
    with pytest.raises(UserError, match=r"holds a run on other shards than data/mine has now"):
        opened(tmp_path, **change)
    assert files_in(tmp_path) == before


def test_shards_that_moved_are_the_same_shards(tmp_path: Path) -> None:
    begun(tmp_path)
    opened(tmp_path, data=Path("elsewhere/mine"))
    assert load_run(tmp_path)[2] == Path.cwd() / "elsewhere" / "mine"


def test_data_that_are_called_otherwise_are_the_same_data(tmp_path: Path) -> None:
    begun(tmp_path, config=dataclasses.replace(CONFIG, data="data/mine"))
    other = dataclasses.replace(CONFIG, data=str(Path("data/mine").absolute()))
    opened(tmp_path, config=other)
    assert load_run(tmp_path)[0] == other
    with pytest.raises(UserError, match="holds a run on other shards"):
        opened(tmp_path, config=CONFIG, fingerprint="77aa")


def test_settings_of_a_command_that_never_began_hold_nobody(tmp_path: Path) -> None:
    opened(tmp_path, config=dataclasses.replace(CONFIG, epochs=9), fingerprint="77aa")
    (tmp_path / ".config.json.x1").write_text("{")
    opened(tmp_path)
    assert load_run(tmp_path)[0] == CONFIG
    assert json.loads((tmp_path / "config.json").read_text())["data_fingerprint"] == "5f3a"


def test_a_folder_of_what_nobody_trained_holds_nobody(tmp_path: Path) -> None:
    opened(tmp_path)
    opened(tmp_path / "extractor")
    for name in ("folds", "runs/2-2-2-2"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "folds.json").write_text("{}")
    assert not has_begun(tmp_path)
    other = dataclasses.replace(CONFIG, epochs=4)
    opened(tmp_path, config=other)
    assert load_run(tmp_path)[0] == other
    (tmp_path / "runs" / "2-2-2-2" / "rate-0.1_seed-0.npz").write_text("hours")
    assert has_begun(tmp_path)


def test_what_a_refused_command_would_throw_away_stays(tmp_path: Path) -> None:
    begun(tmp_path)
    before = files_in(tmp_path)
    arguments = (SPEC, Path("data/mine"), "5f3a")
    check_run(tmp_path, CONFIG, *arguments, fresh=False)
    other = dataclasses.replace(CONFIG, epochs=4)
    check_run(tmp_path, other, *arguments, fresh=True)
    with pytest.raises(UserError, match="holds a run with other settings"):
        check_run(tmp_path, other, *arguments, fresh=False)
    assert files_in(tmp_path) == before
    assert (tmp_path / "checkpoints" / "10").is_dir()
    check_run(tmp_path / "new", CONFIG, *arguments, fresh=False)
    assert not (tmp_path / "new").exists()


def test_what_a_run_notes_when_it_begins_stays_where_its_data_move(tmp_path: Path) -> None:
    begun(tmp_path, more={"ancestors": 3})
    opened(tmp_path, data=Path("elsewhere/mine"))
    fields = json.loads((tmp_path / "config.json").read_text())
    assert fields["ancestors"] == 3
    assert fields["data_folder"] == str(Path.cwd() / "elsewhere" / "mine")
    # Thrown away, it is another run.
    opened(tmp_path, fresh=True)
    assert "ancestors" not in json.loads((tmp_path / "config.json").read_text())


@pytest.mark.parametrize("result", ["folds/0000.npz", "extractor/checkpoints", "0000.npz"])
def test_results_without_a_checkpoint_are_protected_too(result: str, tmp_path: Path) -> None:
    opened(tmp_path)
    if result.startswith("extractor"):
        opened(tmp_path / "extractor")
    (tmp_path / result).parent.mkdir(exist_ok=True)
    (tmp_path / result).write_text("hours")
    with pytest.raises(UserError, match="holds a run with other settings"):
        opened(tmp_path, config=dataclasses.replace(CONFIG, epochs=4))


def test_a_config_json_alone_that_is_somebody_else_s_is_spared(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="not written by emojax"):
        opened(tmp_path)
    assert files_in(tmp_path) == {"config.json": b'{"model_type": "bert"}'}


def test_fresh_removes_links_and_spares_what_they_lead_to(tmp_path: Path) -> None:
    folder, link, kept = tmp_path / "disk", tmp_path / "run", tmp_path / "kept"
    folder.mkdir()
    link.symlink_to(folder, target_is_directory=True)
    kept.mkdir()
    (kept / "thesis.tex").write_text("years of work")
    begun(link)
    (link / "tensorboard").symlink_to(kept, target_is_directory=True)
    other = dataclasses.replace(CONFIG, epochs=7)
    opened(link, config=other, fresh=True)
    assert link.is_symlink()
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert files_in(kept) == {"thesis.tex": b"years of work"}
    assert load_run(link)[0] == other


def test_a_full_disk_tells_to_leave_fresh_out_where_it_was_given(tmp_path: Path) -> None:
    @full_disk_is_told
    def train(config: TrainConfig, folder: Path, *, fresh: bool = False) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"give the same command again$"):
        train(CONFIG, tmp_path)
    with pytest.raises(UserError, match=r"give the same command again, without --fresh$"):
        train(CONFIG, tmp_path, fresh=True)


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (["runs/own/a.npz", "runs/2-2/a.npz", "runs/own/b.part"], "2 runs are kept"),
        (["folds/0000.npz"], "1 fold is kept"),
        (["runs/own.stacking.json"], "nothing is kept yet"),
    ],
)
def test_a_full_disk_tells_of_the_runs_and_folds_that_are_kept(
    left: list[str], kept: str, tmp_path: Path
) -> None:
    for name in left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"hours")

    @full_disk_is_told
    def train(config: TrainConfig, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=f"no room left on the disk; {kept}: free"):
        train(CONFIG, tmp_path)


# Which kind of run


@pytest.mark.parametrize(
    ("kind", "other", "words"),
    [
        ("folds", "training", r"holds a cross-validation \(folds.py\), and this is a training"),
        ("training", "folds", r"holds a training \(train.py\), and this is a cross-validation"),
        ("sweep", "folds", r"holds a sweep \(sweep.py\), and this is a cross-validation"),
    ],
)
def test_a_run_does_not_write_over_one_of_another_kind(
    kind: run.Kind, other: run.Kind, words: str, tmp_path: Path
) -> None:
    opened(tmp_path, kind=kind)
    (tmp_path / "results.json").write_text("{}")
    before = files_in(tmp_path)
    opened(tmp_path, kind=kind)
    with pytest.raises(UserError, match=f"{words}.*: choose another --out, or --fresh"):
        opened(tmp_path, kind=other)
    assert files_in(tmp_path) == before
    opened(tmp_path, kind=other, fresh=True)
    begun(tmp_path, kind=other)
    # Settings that nobody trained with are in nobody's way.
    shutil.rmtree(tmp_path / "checkpoints")
    opened(tmp_path, kind=kind)
    assert json.loads((tmp_path / "config.json").read_text())["kind"] == kind


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ("checkpoints/10/state", "training"),
        ("history.csv", "training"),
        ("folds/0000.npz", "folds"),
        ("runs/own/rate-0.1_seed-0.npz", "sweep"),
    ],
)
def test_a_folder_of_before_tells_its_kind_by_what_it_holds(
    result: str, kind: run.Kind, tmp_path: Path
) -> None:
    opened(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    del fields["kind"]
    write_json(tmp_path / "config.json", fields)
    (tmp_path / result).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / result).write_text("hours")
    kinds: tuple[run.Kind, ...] = ("training", "folds", "sweep")
    for other in kinds:
        if other == kind:
            opened(tmp_path, kind=other)
            continue
        with pytest.raises(UserError, match=r", and this is a .*would write over its results"):
            opened(tmp_path, kind=other)
    # Of one that holds two kinds already, either goes on.
    for more in ("folds/0000.npz", "history.csv"):
        (tmp_path / more).parent.mkdir(exist_ok=True)
        (tmp_path / more).write_text("hours")
    opened(tmp_path, kind="training")
    opened(tmp_path, kind="folds")


# One at a time


_AT_WORK = """
import sys, time
from pathlib import Path
from emojax.config import TrainConfig
from emojax.alone import alone_in_folder

def train(config, folder):
    print("begun", flush=True)
    time.sleep(60)

alone_in_folder(train)(TrainConfig(), Path(sys.argv[1]))
"""


def test_one_run_at_a_time_works_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emojax.alone.PATIENCE_S", 0.0)
    folder, seen = tmp_path / "run", []

    def train(config: TrainConfig, folder: Path) -> None:
        seen.append(folder)

    alone = alone_in_folder(train)
    words = [sys.executable, "-c", _AT_WORK, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "begun\n"
        with pytest.raises(UserError, match=f"^{folder}: another training is at work in it"):
            alone(CONFIG, folder)
        alone(CONFIG, tmp_path / "run" / "extractor")
        other.kill()
    assert seen == [folder / "extractor"]
    # What was killed holds nobody, and neither does what has ended.
    for _ in range(2):
        alone(CONFIG, folder)
    assert len(seen) == 3


def test_a_run_waits_a_moment_for_the_one_before_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [sys.executable, "-c", _AT_WORK, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        killing = threading.Timer(0.3, other.kill)
        killing.start()
        alone_in_folder(lambda config, folder: None)(CONFIG, folder)
        killing.join()


@pytest.mark.parametrize("made", [False, True])
def test_a_run_that_is_refused_leaves_no_folder_of_its_own(made: bool, tmp_path: Path) -> None:
    @alone_in_folder
    def train(config: TrainConfig, folder: Path) -> None:
        raise UserError("data: nobody is in the split")

    folder = tmp_path / "run"
    if made:
        folder.mkdir()
    with pytest.raises(UserError, match="nobody"):
        train(CONFIG, folder)
    assert folder.exists() == made


def test_a_lock_on_a_folder_that_was_taken_away_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, whole, taken = tmp_path / "run", alone.fcntl.flock, []
    folder.mkdir()

    def flock(opened: int, operation: int) -> None:
        # What the one before does between our opening of it and our lock, when it is refused.
        if not taken:
            folder.rmdir()
            taken.append(opened)
        whole(opened, operation)

    def is_claimed() -> bool:
        third = os.open(folder, os.O_RDONLY)
        try:
            whole(third, alone.fcntl.LOCK_EX | alone.fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(third)

    seen: list[bool] = []
    monkeypatch.setattr(alone.fcntl, "flock", flock)
    alone_in_folder(lambda config, folder: seen.append(is_claimed()))(CONFIG, folder)
    assert seen == [True]
    # Made by the one who was alone in it, and empty: it is taken away, while it is still locked.
    assert not folder.exists()
    remove = Path.rmdir

    def rmdir(path: Path) -> None:
        seen.append(is_claimed())
        remove(path)

    monkeypatch.setattr(Path, "rmdir", rmdir)
    alone_in_folder(lambda config, folder: None)(CONFIG, folder)
    assert seen == [True, True]
    assert not folder.exists()


def test_a_folder_that_knows_no_locks_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(alone.fcntl, "flock", refuse)
    assert alone_in_folder(lambda config, folder: 7)(CONFIG, tmp_path / "run") == 7


def test_fresh_throws_the_old_run_away(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    opened(folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "100").write_text("old")
    other = dataclasses.replace(CONFIG, epochs=7)
    opened(folder, config=other, fresh=True)
    assert list(files_in(folder)) == ["config.json"]
    assert not (folder / "checkpoints").exists()
    assert load_run(folder)[0] == other


def test_a_run_killed_while_it_throws_the_old_one_away_can_be_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    opened(folder)
    for number in range(8):
        (folder / f"epoch{number}").mkdir()
    whole, calls = shutil.rmtree, []

    def killed(path: Path) -> None:
        calls.append(path)
        if len(calls) == 5:
            raise KeyboardInterrupt
        whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(folder, fresh=True)
    assert len(list(folder.iterdir())) == 5
    opened(folder, fresh=True)
    assert set(files_in(folder)) == {"config.json"}
    assert len(list(folder.iterdir())) == 1


def test_what_a_kill_leaves_of_a_run_that_was_thrown_away_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    opened(folder)
    for name in ("checkpoints/100", "best/60"):
        (folder / name).mkdir(parents=True)

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(folder, fresh=True)
    assert (folder / "checkpoints" / "100").exists()
    assert not has_begun(folder)
    assert newest_checkpoint(folder) is None
    # Without --fresh, and with settings that the old run would have refused.
    other = dataclasses.replace(CONFIG, epochs=7)
    opened(folder, config=other)
    assert [left.name for left in folder.iterdir()] == ["config.json"]
    assert load_run(folder)[0] == other
    assert not is_thrown_away(folder)


def test_a_job_that_is_back_from_the_queue_throws_a_run_away_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    opened(folder, fresh=True)
    assert is_still_to_throw_away(folder, fresh=True)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    # The job ended before it came to that, as where a process was missing.
    assert is_still_to_throw_away(folder, fresh=True)
    opened(folder, fresh=True)
    assert not is_still_to_throw_away(folder, fresh=True)
    # It died once more, before its first checkpoint, and trained then.
    opened(folder, fresh=False)
    assert not is_still_to_throw_away(folder, fresh=True)
    # Two commands in one job.
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert is_still_to_throw_away(folder, fresh=True)
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert is_still_to_throw_away(folder, fresh=True)
    assert not is_still_to_throw_away(folder, fresh=False)


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_something_else_is_refused_and_spared(fresh: bool, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}: is not empty and holds no run")):
        opened(tmp_path, fresh=fresh)
    assert files_in(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize(
    "fresh",
    [
        False,
        True,
    ],
)
def test_somebody_else_s_config_json_is_no_run(fresh: bool, tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "weights.bin").write_text("years of work")
    before = files_in(folder)
    with pytest.raises(UserError, match=re.escape(f"{folder}")):
        opened(folder, fresh=fresh)
    assert files_in(folder) == before


@pytest.mark.parametrize("fresh", [False, True])
def test_a_file_in_place_is_refused_and_spared(fresh: bool, tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("mine")
    with pytest.raises(UserError, match=re.escape(f"{path}: is a file, wanted a folder")):
        opened(path, fresh=fresh)
    assert path.read_text() == "mine"


def test_a_folder_inside_a_file_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    # `run_guarded` makes one line of an error that names its file.
    with pytest.raises(OSError, match="Not a directory") as refusal:
        opened(tmp_path / "file" / "run")
    assert str(refusal.value.filename).startswith(str(tmp_path / "file"))


def test_a_run_that_found_no_room_starts_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space left"):
            opened(folder)
    opened(folder)


def test_no_run_here(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match=re.escape(f"{folder}: no run here")):
            load_run(folder)


GOOD: dict[str, Any] = {
    "config": CONFIG.to_dict(),
    "input": SPEC.to_dict(),
    "data_folder": "data/mine",
}
# A config.json that is not ours any more: its text, and what the message has to name.
DAMAGED: dict[str, tuple[str, str]] = {
    "empty": ("", "not JSON"),
    "cut off": (json.dumps(GOOD)[:100], "not JSON"),
    "a list": ("[]", "wanted a JSON object, found list"),
    "foreign": ('{"model_type": "bert"}', "lacks 'config'"),
    "no input": (json.dumps({"config": GOOD["config"]}), "lacks 'input'"),
    "no data": (
        json.dumps({name: GOOD[name] for name in ("config", "input")}),
        "lacks 'data_folder'",
    ),
    "bad setting": (json.dumps(GOOD | {"config": GOOD["config"] | {"epochs": 0}}), "epochs=0"),
    "other spec": (json.dumps(GOOD | {"input": {"version": 9}}), "input spec version 9"),
    "input is a list": (json.dumps(GOOD | {"input": [1]}), "input"),
    "data is null": (json.dumps(GOOD | {"data_folder": None}), "data_folder"),
}
READ_EACH = """
import json, sys
from pathlib import Path
from emojax.errors import UserError
from emojax.run import load_run
answers = {}
for folder in Path(sys.argv[1]).iterdir():
    try:
        load_run(folder)
        answers[folder.name] = "accepted"
    except UserError as error:
        answers[folder.name] = str(error)
    except Exception as error:
        answers[folder.name] = f"crashed: {error!r}"
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory, run_python: RunPython) -> dict[str, str]:
    # Without the type checker of the tests, which would stop some values before we do.
    root = tmp_path_factory.mktemp("runs")
    for name, (text, _) in DAMAGED.items():
        (root / name).mkdir()
        (root / name / "config.json").write_text(text)
    done = run_python("-c", READ_EACH, root)
    assert done.returncode == 0, done.stderr
    return {name: answer.replace(str(root), "") for name, answer in json.loads(done.stdout).items()}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_run_is_told_by_its_file(name: str, damaged: dict[str, str]) -> None:
    assert damaged[name].startswith(f"/{name}/config.json: ")
    assert DAMAGED[name][1] in damaged[name]
    assert "\n" not in damaged[name]


# source_commit and provenance

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """Run git in tmp_path, whatever the person who tests has set up for themselves."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.org")

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    return git


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's run.py, from which `source_commit` believes to be run."""
    path = tmp_path / "emojax" / "run.py"
    path.parent.mkdir()
    shutil.copy(str(run.__file__), path)
    monkeypatch.setattr(run, "__file__", str(path))
    return path


def test_outside_git_there_is_no_commit(copy: Path, git: Git) -> None:
    assert source_commit() is None


def test_the_commit_and_whether_files_differ(copy: Path, git: Git) -> None:
    git("init")
    assert source_commit() is None
    git("add", "emojax")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert source_commit() == commit
    (copy.parent / "notes.txt").write_text("not under version control")
    assert source_commit() == commit
    text = copy.read_text()
    copy.write_text(text + "# changed\n")
    assert source_commit() == f"{commit}+changes"
    git("add", "emojax/run.py")
    assert source_commit() == f"{commit}+changes"
    git("commit", "-m", "second")
    assert source_commit() == git("rev-parse", "HEAD") != commit


def test_somebody_else_s_repository_is_not_our_commit(
    tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / ".venv" / "lib" / "emojax" / "run.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    git("init")
    git("commit", "--allow-empty", "-m", "theirs")
    monkeypatch.setattr(run, "__file__", str(installed))
    assert source_commit() is None


def test_without_git_there_is_no_commit(
    copy: Path, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    assert source_commit() is not None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing here"))
    assert source_commit() is None


def test_provenance_goes_into_json(tmp_path: Path) -> None:
    found = provenance()
    write_json(tmp_path / "x.json", found)
    assert json.loads((tmp_path / "x.json").read_text()) == found
    assert found["emojax"] == emojax.__version__
    assert found["python"] == platform.python_version()
    assert found["packages"]["jax"] == jax.__version__
    assert found["device"]["count"] == len(jax.devices())
    assert found["device"]["platform"] == jax.devices()[0].platform
