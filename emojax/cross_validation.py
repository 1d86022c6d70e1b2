"""A training for each fold of a data set, compiled once for all, and one table of all people.

The whole data set lies in device memory; who is left out is an argument of the compiled step,
by the examples that an epoch's order names. A fold that is done is kept in a file: a run that
was stopped goes on with the fold that it was at.

```
runs/folds-ar1-crema_d-0/
  config.json      settings, and the data set they were used on
  folds.json       who trains and who is tested in each fold
  folds/           scores of the people tested, a file a fold
  folds.csv        a line for each fold
  results.json     figures over everybody, each as somebody whom the network had never seen
```
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from tqdm import tqdm

from emojax.config import TrainConfig, network_spec
from emojax.data.folds import folds_sha256, load_folds
from emojax.data.resident import keep_labels, put_on_device, select
from emojax.data.shards import FaceArrays, dataset_info, load_whole
from emojax.data.splits import Fold, leave_one_subject_out
from emojax.errors import UserError
from emojax.evaluate import Predictions, score
from emojax.experiment import build_network, drop_nan, make_run_predictor, variables_of
from emojax.files import write_json
from emojax.finite import finite_losses, name_examples
from emojax.run import full_disk_is_told, open_run, provenance
from emojax.sharding import make_mesh, replicated
from emojax.spec import InputSpec, read_json
from emojax.train import StopTraining, Trainer, TrainState, make_trainer, run_order, stop_signals

_COMPILED = "/jax/core/compile/backend_compile_duration"


@full_disk_is_told
def train_folds(
    config: TrainConfig,
    folder: Path,
    data: Path,
    folds_file: Path | None = None,
    *,
    fresh: bool = False,
) -> dict[str, Any]:
    """Return the figures of all folds together, having trained those that were not done yet.

    Every fold starts from the same parameters and makes the same number of steps: as many as
    the smallest one has batches for.

    Args:
        config: settings of each training.
        folder: of the run; one that was stopped there goes on.
        data: folder of the shards; its splits are put together.
        folds_file: what `emojax data folds` wrote; None: one person is left out at a time.
        fresh: throw away a run that is there.

    Raises:
        UserError: settings, folds and data do not fit together, or a loss became NaN.
        StopTraining: someone asked to stop; the folds that are done are kept.
    """
    _refuse_what_needs_more(config)
    config = dataclasses.replace(config, input="resident")
    info = dataset_info(data)
    spec = network_spec(config, info.input_spec)
    whole = keep_labels(load_whole(data), spec)
    people = [whole.subjects[index] for index in whole.subject.tolist()]
    folds = load_folds(folds_file, people) if folds_file else tuple(leave_one_subject_out(people))
    trains = [_examples_of(whole, fold.train) for fold in folds]
    smallest = min(map(len, trains))
    open_run(folder, config, spec, data, info.report["fingerprint"], fresh)
    _settle_folds(folder, folds)
    mesh = make_mesh()
    network = build_network(config, spec)
    trainer = make_trainer(network, spec, config, smallest)
    predict = make_run_predictor(config, spec, mesh)
    resident = put_on_device(whole, replicated(mesh), config.loss.votes)
    rows, compiled = [], _Compilations()
    with compiled, stop_signals() as stopping:
        for number, (fold, train) in enumerate(
            zip(tqdm(folds, desc="folds", disable=None), trains, strict=True)
        ):
            path = folder / "folds" / f"{number:04d}.npz"
            row = _load_fold(path, fold)
            if row is None:
                before, started = compiled.count, time.monotonic()

                def describe(step: int, number: int = number, train: np.ndarray = train) -> str:
                    order = _order_of(trainer, train, number, (step - 1) // trainer.steps_per_epoch)
                    seen = order[(step - 1) % trainer.steps_per_epoch]
                    named = name_examples(
                        [whole.paths[index] for index in seen], folder / "not_finite.json", step
                    )
                    return (
                        f"{named}; {number} folds are kept: look at the batch, or try a smaller "
                        "--optim.learning-rate and another --out"
                    )

                state = _train_fold(trainer, resident, train, number, stopping, describe)
                tested = _examples_of(whole, fold.test)
                answers = predict(variables_of(state), select(whole, _mask(whole, tested)))
                seconds = time.monotonic() - started
                row = {
                    "fold": fold.name,
                    "tested": tested,
                    "answers": answers,
                    "seconds": seconds,
                    "compilations": compiled.count - before,
                }
                _save_fold(path, row)
            rows.append(row)
    results = _put_together(config, spec, whole, rows)
    results["data"] = {"name": info.name, "folder": str(data), "sha256": folds_sha256(folds)}
    results = drop_nan(results)
    _fold_table(whole, spec, rows).to_csv(folder / "folds.csv", index=False)
    write_json(folder / "results.json", results)
    return results


def _refuse_what_needs_more(config: TrainConfig) -> None:
    if config.model == "ar4":
        raise UserError("ar4 is trained in two stages: cross-validate its extractor by itself")
    if config.patience:
        raise UserError("patience: a fold has no people to be watched on: leave it 0")
    if config.input == "streaming":
        raise UserError("folds share what lies in device memory: use --input=resident")
    if config.init:
        raise UserError("init: its people may be tested here: cross-validate without it")
    if config.loss.class_weights != "none":
        raise UserError("loss.class_weights: would have to be compiled for each fold: leave none")


def _examples_of(whole: FaceArrays, people: Sequence[str]) -> np.ndarray:
    wanted = np.isin(np.array(whole.subjects), np.array(people))
    return np.flatnonzero(wanted[whole.subject])


def _mask(whole: FaceArrays, examples: np.ndarray) -> np.ndarray:
    mask = np.zeros(len(whole.emotion), bool)
    mask[examples] = True
    return mask


def _settle_folds(folder: Path, folds: Sequence[Fold]) -> None:
    """Write down who is tested when; a run goes on with the same folds only."""
    path, digest = folder / "folds.json", folds_sha256(folds)
    if path.exists() and read_json(path).get("sha256") != digest:
        raise UserError(
            f"{folder}: holds a run with other folds: choose another --out, or --fresh to throw "
            "that run away"
        )
    (folder / "folds").mkdir(exist_ok=True)
    plain = [{"name": f.name, "train": list(f.train), "test": list(f.test)} for f in folds]
    write_json(path, {"sha256": digest, "folds": plain})


def fold_order(
    train: np.ndarray, seed: int, fold: int, epoch: int, steps: int, batch_size: int
) -> np.ndarray:
    """Return each step's examples, int32 [step, batch]: a new permutation in each epoch.

    Args:
        train: the examples of the fold's training people.
        seed: of the run.
        fold: its number.
        epoch: of the training.
        steps: of an epoch; the odd rest is left out, another one each time.
        batch_size: examples of a step.
    """
    order = np.random.default_rng((seed, fold, epoch)).permutation(train)
    return np.resize(order, (steps, batch_size)).astype(np.int32)


def _order_of(trainer: Trainer, train: np.ndarray, fold: int, epoch: int) -> np.ndarray:
    config = trainer.config
    return fold_order(train, config.seed, fold, epoch, trainer.steps_per_epoch, config.batch_size)


def _train_fold(
    trainer: Trainer,
    resident: Any,
    train: np.ndarray,
    fold: int,
    stopping: Sequence[int],
    describe: Callable[[int], str],
) -> TrainState:
    everywhere = replicated(trainer.mesh)
    state, losses, norms = trainer.init(), [], []
    for epoch in range(trainer.config.epochs):
        placed = jax.device_put(_order_of(trainer, train, fold, epoch), everywhere)
        for new_state, metrics, _ in run_order(trainer, state, resident, placed, 0):
            state = new_state
            losses.append(metrics["loss"])
            norms.append(metrics["gradient_norm"])
            if stopping:
                raise StopTraining(int(state.step), stopping[0])
    try:
        finite_losses(losses, norms, state, trainer.total_steps, describe)
    except UserError as error:
        raise UserError(f"fold {fold}: {error}") from None
    return state


class _Compilations:
    """Counts what XLA compiles while it is open."""

    def __init__(self) -> None:
        self.count = 0

    def _note(self, event: str, duration_secs: float, **_: Any) -> None:
        del duration_secs
        self.count += event == _COMPILED

    def __enter__(self) -> _Compilations:
        jax.monitoring.register_event_duration_secs_listener(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._note)


def _save_fold(path: Path, row: Mapping[str, Any]) -> None:
    aside = path.with_suffix(".part")
    with aside.open("wb") as file:
        np.savez(
            file,
            about=np.array(
                json.dumps({name: row[name] for name in ("fold", "seconds", "compilations")})
            ),
            tested=row["tested"],
            action_units=row["answers"].action_units,
            emotions=row["answers"].emotions,
            loss=np.float64(row["answers"].loss),
        )
    aside.replace(path)


def _load_fold(path: Path, fold: Fold) -> dict[str, Any] | None:
    """Return a fold that is done, None for one that is not."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as kept:
        row = json.loads(str(kept["about"]))
        answers = Predictions(kept["action_units"], kept["emotions"], float(kept["loss"]))
        row |= {"tested": kept["tested"], "answers": answers}
    if row["fold"] != fold.name:
        raise UserError(f"{path}: is fold {row['fold']!r}, wanted {fold.name!r}: remove it")
    return row


def _put_together(
    config: TrainConfig, spec: InputSpec, whole: FaceArrays, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the figures over everybody; each person's scores are those of their own fold."""
    tested = np.concatenate([row["tested"] for row in rows])
    answers = [row["answers"] for row in rows]
    # Back into the data set's order: a person's examples were scored in one fold.
    order = np.argsort(tested, kind="stable")
    everybody = Predictions(
        np.concatenate([answer.action_units for answer in answers])[order],
        np.concatenate([answer.emotions for answer in answers])[order],
        statistics.fmean(answer.loss for answer in answers),
    )
    seconds = [row["seconds"] for row in rows]
    return {
        "model": config.model,
        "config": config.to_dict(),
        "provenance": provenance(),
        "folds": len(rows),
        "seconds": seconds,
        "compilations": [row["compilations"] for row in rows],
        "cost_over_median": sum(seconds) / (len(seconds) * statistics.median(seconds)),
        "test": score(select(whole, _mask(whole, tested)), everybody, spec),
    }


def _fold_table(
    whole: FaceArrays, spec: InputSpec, rows: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    lines = []
    for row in rows:
        tested = select(whole, _mask(whole, row["tested"]))
        figures = score(tested, row["answers"], spec, replicates=2)["overall"]
        lines.append(
            {
                "fold": row["fold"],
                "examples": len(row["tested"]),
                "emotion_accuracy": figures["emotion"].get("accuracy", {}).get("value"),
                "action_unit_accuracy": figures["action_units"]
                .get("macro_accuracy", {})
                .get("value"),
                "loss": row["answers"].loss,
                "seconds": round(row["seconds"], 2),
            }
        )
    return pd.DataFrame(lines)
