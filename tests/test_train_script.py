"""What the scripts that train tell of themselves: their defaults, and what goes on from where."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from emojax.config import TrainConfig
from emojax.errors import UserError
from emojax.optim import OptimConfig
from emojax.run import open_run
from emojax.spec import InputSpec
from emojax.stopping import StopTraining

CONFIG = TrainConfig(
    model="resnet18", blocks=(1, 1), widths=(4, 4), optim=OptimConfig(learning_rate=3e-5)
)


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """Import what lies in `experiments/`."""
    monkeypatch.syspath_prepend(repository / "experiments")


@pytest.mark.parametrize(
    ("script", "trains"),
    [("train", "train_run"), ("sweep", "train_sweep"), ("folds", "train_folds")],
)
def test_what_goes_on_is_the_same_command_without_fresh(
    script: str,
    trains: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module: Any = importlib.import_module(script)

    def stopped(*_: Any, **__: Any) -> None:
        raise StopTraining(5, 15)

    monkeypatch.setattr(module, trains, stopped)
    monkeypatch.setattr(module, "find_dataset", lambda *_, **__: tmp_path)
    monkeypatch.setattr(module, "keep_freed_memory", lambda: None)
    arguments = [f"--data={tmp_path}", f"--out={tmp_path / 'run'}"]
    assert module.main(arguments) == 143
    assert "the same command goes on" in capsys.readouterr().err
    assert module.main([*arguments, "--fresh"]) == 143
    assert "the same command, without --fresh, goes on" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["sweep", "folds"])
def test_no_stack_is_refused_before_a_set_is_looked_for(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = importlib.import_module(script)
    monkeypatch.setattr(module, "keep_freed_memory", lambda: None)
    with pytest.raises(UserError, match="stack_size=0: wanted 1 or more"):
        module.main(["--stack-size=0", "--data=nowhere"])


def test_a_run_that_goes_on_does_not_look_for_the_one_it_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from presets import preset_for

    out = tmp_path / "run"
    arguments = [f"--init={tmp_path / 'gone'}", f"--out={out}", "--epochs=3"]
    with pytest.raises(UserError, match="gone"):
        preset_for(arguments)
    open_run(out, CONFIG, InputSpec(), tmp_path, "5f3a", fresh=False)
    # Settings alone may be those of a command that was mistyped.
    with pytest.raises(UserError, match="gone"):
        preset_for(arguments)
    (out / "checkpoints").mkdir()
    preset = preset_for(arguments)
    assert (preset.model, preset.blocks, preset.widths) == ("resnet18", (1, 1), (4, 4))
    assert preset.optim.learning_rate == CONFIG.optim.learning_rate
    with pytest.raises(UserError, match="gone"):
        preset_for([*arguments, "--fresh"])
    # A job that is back from the queue, and has thrown the old run away before.
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    open_run(out, CONFIG, InputSpec(), tmp_path, "5f3a", fresh=True)
    (out / "checkpoints").mkdir()
    assert preset_for([*arguments, "--fresh"]).blocks == (1, 1)
    begun = dataclasses.replace(CONFIG, init=str(tmp_path / "gone"))
    # Without --init the network's own settings are the defaults.
    assert preset_for([f"--out={out}"]).model != begun.model


@pytest.mark.parametrize("restarts", ["0", "1"])
def test_a_job_gives_its_arguments_as_they_are(
    restarts: str, tmp_path: Path, repository: Path
) -> None:
    (tmp_path / "srun").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    given = ["--model=ar1", "--fresh", "--out=runs/two words", "--frozen", "conv*"]
    done = subprocess.run(
        ["bash", str(repository / "experiments" / "cluster" / "slurm.sbatch"), *given],
        env=os.environ
        | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_RESTART_COUNT": restarts,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-len(given) :] == given


SRUN = """#!/bin/bash
# Tasks, one for each of $STATUSES; as srun, it ends with the highest of their statuses.
[ "$1" = --kill-on-bad-exit=1 ] && shift
highest=0 number=0
for wanted in $STATUSES; do
    status=0
    SLURM_PROCID=$number WANTED=$wanted "$@" || status=$?
    [ "$status" -le "$highest" ] || highest=$status
    number=$((number + 1))
done
exit "$highest"
"""


@pytest.mark.parametrize(
    ("statuses", "restarts", "ended", "requeued"),
    [
        ("0 0", "0", 0, False),
        ("2 2", "0", 2, False),
        # Those whom SLURM ended after the mistake of one; by itself it would be the highest.
        ("143 2 137", "0", 2, False),
        ("143 143", "0", 143, True),
        ("137 134 75", "3", 137, True),
        ("137 134", "10", 137, False),
    ],
)
def test_a_job_goes_back_into_the_queue_unless_a_task_made_a_mistake(
    statuses: str, restarts: str, ended: int, requeued: bool, tmp_path: Path, repository: Path
) -> None:
    stubs = {
        "srun": SRUN,
        "scontrol": '#!/bin/bash\necho "$@" > scontrol.txt\n',
        ".venv/bin/python": '#!/bin/bash\n[ "$4" = "two words" ] || exit 99\nexit "$WANTED"\n',
    }
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name, text in stubs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    # Of the time before the job came back from the queue.
    left = tmp_path / ".emojax-mistakes-7"
    left.mkdir()
    (left / "0").touch()
    done = subprocess.run(
        ["bash", repository / "experiments" / "cluster" / "slurm.sbatch", "--x", "two words"],
        env=os.environ
        | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_RESTART_COUNT": restarts,
            "STATUSES": statuses,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (ended, "")
    assert (tmp_path / "scontrol.txt").exists() == requeued
    if requeued:
        assert (tmp_path / "scontrol.txt").read_text() == "requeue 7\n"
    assert not left.exists()


def test_a_task_of_a_job_waits_for_the_step_that_python_saves(
    tmp_path: Path, repository: Path
) -> None:
    if shutil.which("setsid") is None:
        pytest.skip("no setsid to stand in for srun")
    # SLURM signals all processes of a step, the task's shell among them.
    slow = """
import os, signal, sys, time
def save(*_):
    time.sleep(0.5)
    open("saved", "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
with open("begun.half", "w") as file:
    file.write(str(os.getpgid(0)))
os.rename("begun.half", "begun")
time.sleep(60)
"""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "train.py").write_text(slow)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    stubs = {"srun": '#!/bin/bash\nshift\nexec setsid --wait "$@"\n', "scontrol": "#!/bin/bash\n"}
    for name, text in stubs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    with subprocess.Popen(
        ["bash", repository / "experiments" / "cluster" / "slurm.sbatch"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
        cwd=tmp_path,
    ) as job:
        begun, end = tmp_path / "begun", time.monotonic() + 60
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.05)
        os.killpg(int(begun.read_text()), signal.SIGTERM)
        assert job.wait(timeout=60) == 143
    assert (tmp_path / "saved").exists()
