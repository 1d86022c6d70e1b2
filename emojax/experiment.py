"""One experiment from shards to results: train, watch, and hand over to be evaluated."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from tqdm import tqdm

from emojax import labels
from emojax.alone import alone_in_folder
from emojax.ancestors import refuse_seen_people
from emojax.checkpoint import open_checkpoints
from emojax.cluster import first_alone, is_first
from emojax.config import TrainConfig, network_spec
from emojax.curves import Curves
from emojax.data.feed import Usable, find_usable, make_stream, streamed_examples
from emojax.data.resident import check_fits, keep_labels, put_on_device
from emojax.data.shards import DatasetInfo, FaceArrays, dataset_info, load_split, read_batches
from emojax.errors import UserError
from emojax.evaluate import Predictions, Predictor, score, to_predictions
from emojax.finite import name_examples
from emojax.losses import balance, count_labels
from emojax.network import (
    BEST,
    extractor_config,
    load_network,
    load_teachers,
    make_run_predictor,
    make_run_trainer,
    perceptron_config,
    start_variables,
    variables_of,
)
from emojax.preconditions import (
    labelled,
    labels_counted,
    require_labels,
    require_people,
    require_votes,
)
from emojax.results import data_facts, finish_run
from emojax.run import (
    EXTRACTOR,
    check_run,
    full_disk_is_told,
    newest_checkpoint,
    open_run,
    provenance,
    settle_input,
)
from emojax.sharding import replicated, split_batch
from emojax.spec import InputSpec, read_json
from emojax.stopping import going_on_unheard
from emojax.train import Trainer, TrainState, best_epoch, compute_dtype, fit


def _load_known(info: DatasetInfo, split: str, spec: InputSpec) -> FaceArrays:
    """Return what of a split the network is about."""
    return keep_labels(load_split(info.folder, split), spec, info.input_spec.emotions)


def _class_weights(
    config: TrainConfig,
    spec: InputSpec,
    info: DatasetInfo,
    train: FaceArrays | None,
    usable: Usable,
) -> np.ndarray | None:
    """Return what labels weigh, from a loaded training split or, for None, from its shards."""
    if config.loss.class_weights == "none":
        return None
    if train is not None:
        units, emotion = train.action_units, train.emotion
    else:
        wanted = ("action_units", "emotion")
        parts = [
            tuple(part[name] for name in wanted) for part in read_batches(info, "train", wanted)
        ]
        keep = slice(None) if usable.keep is None else usable.keep
        units, emotion = (np.concatenate(column)[keep] for column in zip(*parts, strict=True))
        units = units if spec.action_units else units[:, :0]
    counts = count_labels(units, emotion, len(spec.emotions))
    return balance(counts, spec, config.loss.class_weight_limit)


def _validation_row(
    predict: Predictor, state: TrainState, arrays: FaceArrays, spec: InputSpec
) -> dict[str, Any]:
    return _watched_figures(arrays, predict(variables_of(state), arrays), spec)


def _watched_figures(
    arrays: FaceArrays, predictions: Predictions, spec: InputSpec
) -> dict[str, Any]:
    # Intervals are for results, not for watching: no replicates here.
    overall = score(arrays, predictions, spec, replicates=2)["overall"]

    def value(group: str, name: str) -> float | None:
        return overall[group].get(name, {}).get("value")

    return {
        "validation_loss": predictions.loss,
        "emotion_uar": value("emotion", "unweighted_average_recall"),
        "action_unit_f1": value("action_units", "macro_f1"),
        "action_unit_roc_area": value("action_units", "macro_roc_area"),
    }


class _Watcher:
    """Progress bar, log lines and TensorBoard of a run; it never touches the device."""

    def __init__(self, trainer: Trainer, folder: Path, done: int) -> None:
        batch, total = trainer.config.batch_size, trainer.total_steps
        self._batch, self._done = batch, done
        self._curves = Curves(folder / "tensorboard", done)
        self.bar = tqdm(
            total=total * batch,
            initial=done * batch,
            unit="example",
            unit_scale=True,
            dynamic_ncols=True,
            desc=trainer.config.model,
            # A log file gets a line now and then, a terminal a live bar.
            mininterval=0.2 if sys.stderr.isatty() else 20,
        )

    def steps(self, steps: int, loss: float) -> None:
        self._done += steps
        self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self.bar.update(steps * self._batch)
        if self._done % 10 == 0 or steps > 1:
            self._curves.add("train/step_loss", loss, self._done)

    def epoch(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if value is not None and name not in ("epoch", "step"):
                self._curves.add(f"epoch/{name}", value, row["step"])
        self._curves.flush()
        shown = {
            "loss": row["loss"],
            "validation": row["validation_loss"],
            "UAR": row["emotion_uar"],
            "AU F1": row["action_unit_f1"],
            "AU ROC": row["action_unit_roc_area"],
        }
        figures = "  ".join(
            f"{name} {value:.3f}" for name, value in shown.items() if value is not None
        )
        rate = row["examples_per_second"]
        self.bar.write(f"epoch {row['epoch']:3d}  {figures}  {rate:.0f} examples/s", sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        self.bar.close()
        self._curves.close()


class _Silent:
    """What watches a run in all processes but the first."""

    def steps(self, *_: Any) -> None:
        pass

    epoch = steps

    def close(self) -> None:
        pass


def _require_watched(
    config: TrainConfig, spec: InputSpec, validation: FaceArrays, data: Path
) -> None:
    if not config.patience:
        return
    nothing = np.zeros(len(validation.emotion), np.float32)
    answers = np.full((len(nothing), spec.num_outputs), 0.5, np.float32)
    # Whether there is a figure depends on the labels alone.
    row = _watched_figures(validation, to_predictions(answers, nothing, nothing, spec), spec)
    labelled = (validation.emotion != labels.UNKNOWN).any()
    if not (labelled or (validation.action_units != labels.UNKNOWN).any()):
        row["validation_loss"] = None
    if row[config.watch] is None:
        known = [name for name, value in row.items() if value is not None]
        raise UserError(
            f"{data}: the validation people have no {config.watch} of what this network answers, "
            f"which patience={config.patience} looks at: use "
            + (f"--watch={' or '.join(known)}" if known else "--patience=0")
        )


@going_on_unheard()
@full_disk_is_told
@alone_in_folder
def train_run(
    config: TrainConfig, folder: Path, data: Path, *, fresh: bool = False, baseline: bool = True
) -> dict[str, Any]:
    """Return a run's results, having trained what was not trained yet.

    Args:
        config: its settings.
        folder: the run's own; a stopped run there is continued.
        data: folder of the shards.
        fresh: throw away a run that is there.
        baseline: also fit logistic regression on pixels, to stand beside the network;
            a streamed split is too large for it.

    Raises:
        UserError: shards, settings and folder do not fit together, the loss became NaN, or the
            disk is full.
        StopTraining: someone asked to stop; run again to go on.
    """
    info = dataset_info(data)
    config = settle_input(config, folder, info, fresh)
    spec = network_spec(config, info.input_spec)
    fingerprint = info.report["fingerprint"]
    # The first process's to look at: it may throw the folder away before another one has looked.
    first_alone(lambda: is_first() and check_run(folder, config, spec, data, fingerprint, fresh))
    # Not needed any more by a run that goes on.
    begun = newest_checkpoint(folder) is not None and not fresh
    trained = None if begun else start_variables(config, spec)
    noted = None if begun else refuse_seen_people(config, info).to_note()
    require_people(info, "validation", "which training is watched on")
    require_people(info, config.report_on, "so there is nothing to report on")
    require_votes(config, info)
    if config.input == "streaming":
        train, usable = None, find_usable(info, "train", spec)
    else:
        train = _load_known(info, "train", spec)
        usable = Usable(None, len(train.emotion), len(np.unique(train.subject)))
    validation = _load_known(info, "validation", spec)
    make = functools.partial(
        make_run_trainer,
        config,
        spec,
        usable.examples,
        class_weights=_class_weights(config, spec, info, train, usable),
        trained=trained,
        teachers=load_teachers(config, spec),
    )
    trainer = make()
    stream = make_stream(
        info,
        "train",
        spec,
        usable,
        batch_size=config.batch_size,
        seed=config.seed,
        sharding=split_batch(trainer.mesh),
        votes=config.loss.votes,
    )
    _check_training(trainer, config, spec, info, train, validation)
    if train is None:
        # Nothing is read for that, and a batch that is larger than the split is refused.
        stream(0)
    if config.model == "ar4":
        _check_extractor(config, info, usable.examples, validation)
    # Only now is anything thrown away. Once is enough: the others come when the first has begun.
    first_alone(
        lambda: open_run(folder, config, spec, data, fingerprint, fresh and is_first(), noted)
    )
    if config.model == "ar4":
        # The extractor's training holds the split too, and there may be room for one of them.
        train = None
        trainer = make(extractor=_train_extractor(config, folder, data))
        if config.input != "streaming":
            train = _load_known(info, "train", spec)
    examples = (
        stream
        if train is None
        else put_on_device(train, replicated(trainer.mesh), config.loss.votes)
    )
    predict = make_run_predictor(config, spec, trainer.mesh)
    checkpoints = open_checkpoints(folder / "checkpoints", clean=True)
    best = open_checkpoints(folder / BEST, clean=True) if config.patience else None
    done = checkpoints.latest_step() or 0
    watcher = _Watcher(trainer, folder, done) if is_first() else _Silent()

    def on_begin(left: bool) -> None:
        if done >= trainer.total_steps:
            tqdm.write(f"{folder}: already trained for {trainer.config.epochs} epochs")
        elif not left:
            tqdm.write(f"{folder}: already trained, until patience={config.patience} ended it")
        elif done:
            tqdm.write(f"{folder}: going on from step {done} of {trainer.total_steps}")

    def on_epoch(state: TrainState, row: dict[str, Any]) -> None:
        row |= _validation_row(predict, state, validation, spec)
        watcher.epoch(row)

    def name_batch(step: int) -> str:
        if train is None:
            seen = streamed_examples(info, "train", usable, config.batch_size, config.seed, step)
        else:
            epoch, place = divmod(step, trainer.steps_per_epoch)
            seen = [train.paths[index] for index in np.asarray(trainer.order(epoch))[place]]
        # Each process has streamed a part of its own.
        number = "" if is_first() else f".{jax.process_index()}"
        return name_examples(seen, folder / f"not_finite{number}.json", step + 1)

    started = time.monotonic()
    with contextlib.ExitStack() as closing:
        # Each is closed, whatever the others say; the progress bar first.
        closing.callback(checkpoints.close)
        if best is not None:
            closing.callback(best.close)
        closing.callback(watcher.close)
        state, history = fit(
            trainer,
            examples,
            checkpoints,
            on_steps=watcher.steps,
            on_epoch=on_epoch,
            on_begin=on_begin,
            best=best,
            name_batch=name_batch,
        )
    if config.patience:
        row = best_epoch(history, trainer.config.watch)
        # Without one `fit` has refused.
        assert row is not None
        print(
            f"kept: epoch {row + 1} of {len(history)}, the best {trainer.config.watch}", flush=True
        )
    if is_first():
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    results = {
        "model": config.model,
        "parameters": int(sum(np.size(leaf) for leaf in jax.tree.leaves(state.params))),
        "compute_dtype": compute_dtype(config.dtype),
        "training_seconds_this_time": time.monotonic() - started,
        "config": config.to_dict(),
        "provenance": provenance(),
        "data": data_facts(data, {"validation": validation}),
        "history": history,
    }
    results["data"]["splits"]["train"] = {"examples": usable.examples, "people": usable.people}
    if history[-1]["step"] == done:
        results |= _as_trained(folder, results["provenance"])
    return finish_run(folder, results, predict, state, train if baseline else None)


def _as_trained(folder: Path, now: dict[str, Any]) -> dict[str, Any]:
    """Return what a run says of the time when it was trained, and what it is read with now.

    Nothing where it was stopped before it wrote that down.
    """
    path = folder / "results.json"
    old = read_json(path) if path.exists() else {}
    kept = ("provenance", "compute_dtype", "training_seconds_this_time")
    if not all(name in old for name in kept):
        return {}
    return {name: old[name] for name in kept} | {"evaluated_with": now}


def _check_training(
    trainer: Trainer,
    config: TrainConfig,
    spec: InputSpec,
    info: DatasetInfo,
    train: FaceArrays | None,
    validation: FaceArrays,
) -> None:
    """Refuse what a training would be refused for later, before its folder is touched.

    Args:
        trainer: of the run, or of ar4's perceptron.
        config: of the run.
        spec: what its network sees and answers.
        info: of the shards.
        train: the training split; None: it is streamed.
        validation: the validation split.
    """
    # Sizes that no network can have are seen when its shapes are asked for.
    trainer.like()
    _require_watched(trainer.config, spec, validation, info.folder)
    if train is None:
        require_labels(config, info.folder, *labels_counted(config, spec, info))
        return
    require_labels(config, info.folder, *map(bool, np.any(labelled(config, train), axis=0)))
    check_fits(train.faces.nbytes + train.spectrograms.nbytes, jax.local_devices())


def _check_extractor(
    config: TrainConfig, info: DatasetInfo, num_examples: int, validation: FaceArrays
) -> None:
    """Refuse what ar4's extractor would be refused for, as `_check_training`."""
    chosen = extractor_config(config)
    spec = network_spec(chosen, info.input_spec)
    make_run_trainer(chosen, spec, num_examples).like()
    _require_watched(chosen, spec, keep_labels(validation, spec), info.folder)


def _train_extractor(config: TrainConfig, folder: Path, data: Path) -> Any:
    """Return the variables of ar4's extractor, trained on action units into a run of its own."""
    chosen, place = extractor_config(config), folder / EXTRACTOR

    watched = [
        f" ({each.watch} is watched)" if config.patience else ""
        for each in (chosen, perceptron_config(config))
    ]
    print(f"1/2: {chosen.model} reads action units, trained into {place}{watched[0]}", flush=True)
    train_run(chosen, place, data, baseline=False)
    print(f"2/2: the perceptron, from 15 action units to emotions{watched[1]}", flush=True)
    # In the run's own compute type nothing changes: parameters are float32 in each.
    return load_network(place).variables
