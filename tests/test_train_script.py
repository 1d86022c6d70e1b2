"""What the scripts that train tell of themselves: their defaults, and what goes on from where."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
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


def test_a_run_that_goes_on_does_not_look_for_the_one_it_started_from(tmp_path: Path) -> None:
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
    begun = dataclasses.replace(CONFIG, init=str(tmp_path / "gone"))
    # Without --init the network's own settings are the defaults.
    assert preset_for([f"--out={out}"]).model != begun.model


@pytest.mark.parametrize(("restarts", "kept"), [("0", True), ("1", False)])
def test_a_job_back_from_the_queue_leaves_fresh_out(
    restarts: str, kept: bool, tmp_path: Path, repository: Path
) -> None:
    (tmp_path / "srun").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    given = ["--model=ar1", "--fresh", "--out=runs/two words", "--frozen", "conv*"]
    done = subprocess.run(
        ["bash", str(repository / "experiments" / "cluster" / "slurm.sbatch"), *given],
        env=os.environ
        | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_RESTART_COUNT": restarts},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = given if kept else [word for word in given if word != "--fresh"]
    assert done.stdout.splitlines()[-len(wanted) :] == wanted
    assert ("--fresh" in done.stdout) == kept
