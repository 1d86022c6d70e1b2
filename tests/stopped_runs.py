"""Real training processes that are stopped at chosen moments, and what has to be left of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from small_sets import noise_pictures

from emojax.checkpoint import open_checkpoints

ROOT = Path(__file__).resolve().parents[1]
EPOCHS, STEPS = 3, 6
"""Of a run: 18 steps, a checkpoint in every third or so and at each epoch's end."""
PATIENCE_S = 1800
"""How long a process may take: twenty seconds, where nothing else runs."""


def make_set(folder: Path) -> Path:
    """Shards of noise: each epoch is `STEPS` batches of 16."""
    return noise_pictures(folder, train=16 * STEPS, validation=21, test=21)


@dataclasses.dataclass(frozen=True)
class Command:
    """A training, as a person starts it; the same again goes on with it."""

    data: Path
    out: Path
    cache: Path
    """Where compiled calls are kept: compiling is all the same, and most of the time."""
    more: tuple[str, ...] = ()

    def start(self) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "experiments" / "train.py"),
                "--model=ar1",
                f"--data={self.data}",
                f"--out={self.out}",
                f"--epochs={EPOCHS}",
                "--batch-size=16",
                "--checkpoint-minutes=0.002",
                "--no-baseline",
                *self.more,
            ],
            env=os.environ
            | {
                "JAX_COMPILATION_CACHE_DIR": str(self.cache),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> str:
        """Run it to its end and return what it said on stderr."""
        with self.start() as process:
            _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
        return errors


def written(out: Path) -> set[str]:
    """Names in the folder of checkpoints: a step's number, or orbax's name for half of one."""
    with contextlib.suppress(FileNotFoundError):
        return set(os.listdir(out / "checkpoints"))
    return set()


def half_written(out: Path) -> set[str]:
    """What was begun and not finished."""
    return {name for name in written(out) if "tmp" in name}


def moment(kind: str, out: Path, step: int) -> Callable[[], bool]:
    """Whether a moment has come, to be asked again and again.

    Args:
        kind: `load` the settings are written and the data are read; `save` a checkpoint is
            being written; `step` one is done; `end` training is over and the test begins.
        out: of the run.
        step: of the checkpoint, or a later one where that step has none.
    """
    if kind == "load":
        return (out / "config.json").exists
    if kind == "end":
        return (out / "history.csv").exists

    def has_come() -> bool:
        names = half_written(out) if kind == "save" else written(out) - half_written(out)
        return any(int(name.split(".")[0]) >= step for name in names)

    return has_come


def stop_at(command: Command, kind: str, step: int, delay: float, with_signal: int) -> str:
    """Start a training, send a signal so many seconds after a moment, return what it said.

    Where the training is over before the signal comes, it is started afresh and stopped sooner:
    the faster the machine, the shorter the time from a moment to the end. One that always comes
    to its end has not listened.
    """
    for halvings in range(8):
        status, errors = _start_and_stop(command, kind, step, delay / 2**halvings, with_signal)
        if not (command.out / "results.json").exists():
            break
        shutil.rmtree(command.out)
    else:
        raise AssertionError(f"{kind} {step}: no signal stops it; its last words: {errors}")
    wanted = -signal.SIGKILL if with_signal == signal.SIGKILL else 128 + with_signal
    assert status == wanted, (kind, step, status, errors)
    return errors


def _start_and_stop(
    command: Command, kind: str, step: int, delay: float, with_signal: int
) -> tuple[int, str]:
    has_come = moment(kind, command.out, step)
    with command.start() as process:
        end = time.monotonic() + PATIENCE_S
        while not has_come() and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.0005)
        time.sleep(delay)
        process.send_signal(with_signal)
        _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


def everything(out: Path) -> tuple[list[np.ndarray], Any, Any]:
    """A finished run's whole state, read from its checkpoint, and its results without times."""
    with open_checkpoints(out / "checkpoints") as checkpoints:
        assert checkpoints.latest_step() == EPOCHS * STEPS
        read = ocp.args.Composite(state=ocp.args.StandardRestore(), progress=ocp.args.JsonRestore())
        found = checkpoints.restore(EPOCHS * STEPS, args=read)
    results = json.loads((out / "results.json").read_text())
    # Someone may be at work in this checkout.
    del results["training_seconds_this_time"], results["provenance"]["commit"]
    for row in results["history"]:
        del row["examples_per_second"]
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(found["state"])]
    return leaves, found["progress"]["losses"], results


def assert_ends_alike(one: Path, other: Path) -> None:
    """Both runs ended with the same state, bit for bit, the same history and figures."""
    first, second = everything(one), everything(other)
    # Parameters, what the optimiser keeps of each, and two or three counts.
    assert len(first[0]) > 3 * 8
    assert [leaf.tobytes() for leaf in first[0]] == [leaf.tobytes() for leaf in second[0]]
    assert first[1:] == second[1:]
