"""Many trainings of one network: which are left to do, how many at once, a file for each.

A training that is done is a file: what was stopped goes on with those that have none. One whose
loss is no longer finite ends as diverged and stops none of the others.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from tqdm import tqdm

from emojax.config import TrainConfig
from emojax.data.resident import Resident, select
from emojax.data.shards import FaceArrays
from emojax.errors import UserError
from emojax.evaluate import Modality, Predictions, score
from emojax.lanes import Lanes, Training, make_lanes
from emojax.models import looks_at
from emojax.spec import InputSpec
from emojax.stacking import Stacked, Stacking, check_stack_size, settle_stacking
from emojax.stopping import StopTraining, stop_signals
from emojax.train import TrainState, init_variables, make_update_rule

_COMPILED = "/jax/core/compile/backend_compile_duration"


@dataclasses.dataclass(frozen=True)
class Finished:
    """A training that is done."""

    about: dict[str, Any]
    """As in `Training`."""
    tested: np.ndarray
    """As in `Training`."""
    answers: Predictions
    """To those examples, a row each."""
    loss: float
    """Mean of the last epoch's steps."""
    diverged_at: int | None
    """The first step whose loss was not finite, counted from 1; None: all were."""
    seconds: float
    """Its share of the time that it took together with those that it ran beside."""
    compilations: int
    """Programs that were compiled in that time."""
    alone: Mapping[str, Predictions] = dataclasses.field(default_factory=dict)
    """To the same examples, given one side of them; of a network that was asked for them."""


class Compilations:
    """Counts what XLA compiles while it is open."""

    def __init__(self) -> None:
        self.count = 0

    def _note(self, event: str, duration_secs: float, **_: Any) -> None:
        del duration_secs
        self.count += event == _COMPILED

    def __enter__(self) -> Compilations:
        jax.monitoring.register_event_duration_secs_listener(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._note)


def check_trainings(
    network: nn.Module, config: TrainConfig, spec: InputSpec, steps_per_epoch: int, what: str
) -> None:
    """Refuse what `train_all` can't train, while no folder has been touched.

    Args:
        network: without parameters.
        config: settings of all trainings.
        spec: what the network sees and answers.
        steps_per_epoch: of each training.
        what: they are called.

    Raises:
        UserError: sizes that no network can have, stages that it lacks, more steps to accumulate
            than there are, or several processes.
    """
    if jax.process_count() > 1:
        raise UserError(
            f"{jax.process_count()} processes: {what} run on the devices of one: start one, "
            "or give each its own part and its own --out"
        )
    looks = looks_at(config.model)
    jax.eval_shape(lambda: init_variables(network, looks, spec, jax.random.key(0)))
    make_update_rule(network, spec, config, steps_per_epoch, rate_is_argument=True)


def train_all(
    trainings: Sequence[Training],
    network: nn.Module,
    config: TrainConfig,
    spec: InputSpec,
    resident: Resident,
    steps_per_epoch: int,
    folder: Path,
    *,
    stacked: Stacked = "auto",
    stack_size: int = 8,
    what: str = "runs",
    trained: Mapping[str, Any] | None = None,
    modalities: Sequence[Modality] = (),
) -> tuple[list[Finished], Stacking | None]:
    """Return all trainings, having done those that have no file yet, and how they were stacked.

    What can be refused before the folder is touched, `check_trainings` refuses.

    Args:
        trainings: what is wanted; all of one shape.
        network: without parameters.
        config: settings that they share; its seed and learning rate count for nothing.
        spec: what the network sees and answers.
        resident: all examples, replicated on every device.
        steps_per_epoch: of each training.
        folder: where their files are, a folder of their own.
        stacked: whether a device holds several at once; auto: a measurement decides.
        stack_size: how many at most.
        what: they are called, on the progress bar.
        trained: variables that all of them start from, by collection and top name; None: fresh.
        modalities: sides of which each network, trained on both, is also asked alone.

    Raises:
        UserError: a file in the folder is of another training.
        StopTraining: someone asked to stop; those that are done are kept.
    """
    check_stack_size(stack_size)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {training.name: folder / f"{training.name}.npz" for training in trainings}
    left = [
        training for training in trainings if load_training(paths[training.name], training) is None
    ]
    stacking = None
    if left:
        # All of them: going on with one must not compile for its size.
        longest = max(1, *(len(training.tested) for training in trainings))
        make = functools.cache(
            lambda width: make_lanes(
                network,
                spec,
                config,
                steps_per_epoch,
                width,
                min(longest, max(1, 256 // spec.frames)),
                trained=trained,
            )
        )
        with stop_signals() as stopping, Compilations() as compiled:
            stacking = settle_stacking(
                left, make, resident, _stacking_file(folder), stacked, stack_size
            )
            print(f"{len(left)} {what} to train, {stacking.why}", flush=True)
            lanes = make(stacking.width)
            _train_left(left, config, lanes, resident, paths, stopping, compiled, what, modalities)
        if stopping:
            # After the last of them too: who trains others next must not begin with those.
            raise StopTraining(config.epochs * steps_per_epoch, stopping[0])
    finished = [load_training(paths[training.name], training) for training in trainings]
    return [row for row in finished if row is not None], stacking


def _train_left(
    left: Sequence[Training],
    config: TrainConfig,
    lanes: Lanes,
    resident: Resident,
    paths: dict[str, Path],
    stopping: Sequence[int],
    compiled: Compilations,
    what: str,
    modalities: Sequence[Modality],
) -> None:
    """Train and save what has no file yet; a signal ends it after those that are being trained.

    Raises:
        StopTraining: a signal came between two steps.
    """
    steps = config.epochs * lanes.steps_per_epoch
    with tqdm(
        total=len(left) * steps,
        unit="step",
        desc=what,
        dynamic_ncols=True,
        mininterval=0.2 if sys.stderr.isatty() else 20,
    ) as bar:
        marked, before = time.monotonic(), compiled.count
        for first in range(0, len(left), lanes.count):
            group = left[first : first + lanes.count]

            def on_steps(steps: int, loss: float, runs: int = len(group)) -> None:
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                bar.update(steps * runs)

            state, losses = _train_group(lanes, resident, group, config, stopping, on_steps)
            filled = [group[min(lane, len(group) - 1)].tested for lane in range(lanes.count)]
            answers = lanes.predict(state, resident, filled)
            alone = {name: lanes.predict(state, resident, filled, name) for name in modalities}
            # What a group leaves for the next one to wait for (files) counts there.
            now, done = time.monotonic(), compiled.count
            for lane, (training, mine) in enumerate(zip(group, losses, strict=False)):
                answer = answers[lane]
                bad = np.flatnonzero(~np.isfinite(mine))
                finished = Finished(
                    about=training.about,
                    tested=training.tested,
                    answers=answer,
                    loss=float(np.mean(mine[-lanes.steps_per_epoch :])),
                    diverged_at=int(bad[0]) + 1
                    if bad.size
                    else _diverged_in_the_end(answer, steps),
                    seconds=(now - marked) / len(group),
                    compilations=done - before,
                    alone={name: each[lane] for name, each in alone.items()},
                )
                save_training(paths[training.name], finished)
            marked, before = now, done
            if stopping:
                return


def _stacking_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.stacking.json")


def _diverged_in_the_end(answers: Predictions, steps: int) -> int | None:
    # The last update has no loss after it that would show what it did.
    whole = np.isfinite(answers.action_units).all() and np.isfinite(answers.emotions).all()
    return None if whole else steps


def _train_group(
    lanes: Lanes,
    resident: Resident,
    group: Sequence[Training],
    config: TrainConfig,
    stopping: Sequence[int],
    on_steps: Callable[[int, float], None],
) -> tuple[TrainState, np.ndarray]:
    """Return the trained states, and the losses `lane step`."""
    state, keys, rates = lanes.begin(group)
    losses: list[np.ndarray] = []
    for epoch in range(config.epochs):
        order = lanes.place_order(group, epoch)
        parts: list[jax.Array] = []
        for new_state, loss, steps in lanes.run_order(state, resident, order, keys, rates):
            state = new_state
            parts.append(loss)
            # A step or two behind, as in `train.fit`: the device never runs dry, and a signal
            # is seen soon.
            seen = np.asarray(parts[max(-3, -len(parts))]).reshape(lanes.count, -1)[
                : len(group), -1
            ]
            finite = seen[np.isfinite(seen)]
            on_steps(steps, float(finite.mean()) if finite.size else math.nan)
            if stopping:
                raise StopTraining(epoch * lanes.steps_per_epoch + len(parts), stopping[0])
        losses += [np.asarray(part).reshape(lanes.count, -1) for part in parts]
    return state, np.concatenate(losses, axis=1)


def save_training(path: Path, finished: Finished) -> None:
    """Write a training that is done; the file is there whole or not at all."""
    fields = ("about", "diverged_at", "seconds", "compilations")
    alone = {
        f"{name}/{part}": value
        for name, answers in finished.alone.items()
        for part, value in answers._asdict().items()
    }
    aside = path.with_suffix(".part")
    with aside.open("wb") as file:
        np.savez(
            file,
            about=np.array(json.dumps({name: getattr(finished, name) for name in fields})),
            tested=finished.tested,
            action_units=finished.answers.action_units,
            emotions=finished.answers.emotions,
            loss=np.float64(finished.answers.loss),
            training_loss=np.float64(finished.loss),
            **alone,
        )
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def load_training(path: Path, training: Training) -> Finished | None:
    """Return a training that is done, None for one that is not.

    Raises:
        UserError: the file is damaged, or of another one.
    """
    if not path.exists():
        return None
    found = read_training(path)
    if found.about != training.about or not np.array_equal(found.tested, training.tested):
        raise UserError(
            f"{path}: is the training {found.about}, wanted {training.about}: remove it"
        )
    return found


def read_training(path: Path) -> Finished:
    """Return what `save_training` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return Finished(
                **json.loads(str(kept["about"])),
                tested=kept["tested"],
                answers=Predictions(kept["action_units"], kept["emotions"], float(kept["loss"])),
                loss=float(kept["training_loss"]),
                alone=_read_alone(kept),
            )
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: can't be read ({error}): remove it, and the command that made it trains it "
            "again"
        ) from None


def _read_alone(kept: Mapping[str, np.ndarray]) -> dict[str, Predictions]:
    """Return the answers to one side alone, out of the arrays of a training's file."""
    return {
        side: Predictions(
            kept[f"{side}/action_units"], kept[f"{side}/emotions"], float(kept[f"{side}/loss"])
        )
        for side in ("video", "sound")
        if f"{side}/loss" in kept
    }


def row_figures(whole: FaceArrays, examples: np.ndarray, row: Finished, spec: InputSpec) -> Any:
    """Return the figures of a table's row, by name; none of a training that diverged.

    Args:
        whole: all examples.
        examples: those that the figures are over, of those that the training was tested on.
        row: the training.
        spec: names the outputs.
    """
    names = {
        "emotion_accuracy": ("emotion", "accuracy"),
        "emotion_uar": ("emotion", "unweighted_average_recall"),
        "action_unit_accuracy": ("action_units", "macro_accuracy"),
        "action_unit_f1": ("action_units", "macro_f1"),
        "action_unit_roc_area": ("action_units", "macro_roc_area"),
    }
    if row.diverged_at is not None:
        return dict.fromkeys(names)
    mask = np.zeros(len(whole.emotion), bool)
    mask[examples] = True
    place = np.isin(row.tested, examples)
    mine = Predictions(row.answers.action_units[place], row.answers.emotions[place], row.loss)
    # Intervals are for results, not for tables of runs: no replicates here.
    overall = score(select(whole, mask), mine, spec, replicates=2)["overall"]
    return {
        name: overall[group].get(figure, {}).get("value") for name, (group, figure) in names.items()
    }
