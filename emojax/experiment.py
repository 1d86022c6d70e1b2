"""One experiment from shards to results: train, evaluate, draw, report."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import pandas as pd
from tqdm import tqdm

from emojax import labels, plots
from emojax.ancestors import refuse_evaluation, refuse_seen_people
from emojax.baseline import pixel_baseline
from emojax.checkpoint import open_checkpoints, restore
from emojax.cluster import first_alone, is_first
from emojax.config import TrainConfig, network_spec
from emojax.curves import Curves
from emojax.data.feed import Usable, find_usable, make_stream, streamed_examples
from emojax.data.resident import check_fits, keep_faces, keep_labels, put_on_device
from emojax.data.shards import DatasetInfo, FaceArrays, dataset_info, load_split, read_batches
from emojax.errors import UserError
from emojax.evaluate import (
    Modality,
    Predictions,
    Predictor,
    make_predictor,
    score,
    to_predictions,
)
from emojax.finetune import take_over
from emojax.finite import name_examples
from emojax.losses import balance, count_labels
from emojax.models import DEFAULT_EXTRACTOR, build_model, looks_at
from emojax.preconditions import (
    labelled,
    labels_counted,
    require_labels,
    require_people,
    require_votes,
)
from emojax.report import write_report
from emojax.run import (
    EXTRACTOR,
    alone_in_folder,
    check_run,
    full_disk_is_told,
    load_run,
    newest_checkpoint,
    open_run,
    own_shards,
    provenance,
    settle_input,
    write_json,
)
from emojax.sharding import make_mesh, replicated, split_batch
from emojax.shipped import find_model
from emojax.spec import InputSpec, read_json
from emojax.train import (
    Teacher,
    Trainer,
    TrainState,
    best_epoch,
    compute_dtype,
    fit,
    init_variables,
    make_trainer,
)
from emojax.weights import averaged
from emojax.weights_file import WEIGHTS, read_weights

BEST = "best"
"""Folder of the best epoch's state in a run with `patience`."""


def variables_of(state: TrainState) -> dict[str, Any]:
    """Return what `apply` wants of a state."""
    params = averaged(state.opt_state, state.params)
    return {"params": params, "batch_stats": state.batch_stats}


def build_network(config: TrainConfig, spec: InputSpec, *, frozen: bool | None = None) -> nn.Module:
    """Return the network of a run's settings; `frozen`: of ar4, with its extractor held still."""
    return build_model(
        config.model,
        spec.num_outputs,
        dropout=config.dropout,
        activation=config.activation,
        norm_momentum=config.norm_momentum,
        blocks=config.blocks,
        widths=config.widths,
        dtype=compute_dtype(config.dtype),
        extractor=config.extractor,
        frozen=frozen,
        video_features=config.video_features,
        sound_features=config.sound_features,
        sound_branch=config.sound_branch,
        sound_widths=config.sound_widths,
    )


def make_run_predictor(config: TrainConfig, spec: InputSpec, mesh: jax.sharding.Mesh) -> Predictor:
    """Return the compiled predictor of a run's network."""
    return make_predictor(build_network(config, spec), looks_at(config.model), spec, mesh)


def perceptron_config(config: TrainConfig) -> TrainConfig:
    """Return the settings by which ar4's perceptron is trained, out of those of its run."""
    return dataclasses.replace(
        config,
        epochs=config.perceptron_epochs,
        optim=dataclasses.replace(config.optim, learning_rate=config.perceptron_learning_rate),
        # Its action units are the extractor's, which stands still: they never get better.
        watch="validation_loss" if config.watch.startswith("action_unit") else config.watch,
    )


def extractor_config(config: TrainConfig) -> TrainConfig:
    """Return the settings by which ar4's extractor is trained, out of those of its run."""
    return dataclasses.replace(
        config,
        model=config.extractor or DEFAULT_EXTRACTOR,
        extractor=None,
        outputs="action_units",
        # It has no emotions to be watched, nor to be voted on.
        watch="validation_loss" if config.watch == "emotion_uar" else config.watch,
        loss=dataclasses.replace(config.loss, votes="none"),
    )


def _trainer(
    config: TrainConfig,
    spec: InputSpec,
    num_examples: int,
    *,
    devices: Sequence[Any] | None = None,
    extractor: Any = None,
    class_weights: np.ndarray | None = None,
    trained: Mapping[str, Any] | None = None,
    teachers: Sequence[Teacher] = (),
) -> Trainer:
    """Return the compiled calls of a run; of ar4's, those of its perceptron.

    Args:
        config: the run's settings.
        spec: what its network sees and answers.
        num_examples: length of the training split.
        devices: JAX devices, all of them for None.
        extractor: of ar4, the trained variables of its extractor, by collection; None
            where they come from a checkpoint.
        class_weights: of `losses.balance`.
        trained: variables to start from, of `finetune.take_over`.
        teachers: of `load_teachers`; of ar4 none.
    """
    if config.model != "ar4":
        return make_trainer(
            build_network(config, spec),
            spec,
            config,
            num_examples,
            devices,
            trained=trained,
            class_weights=class_weights,
            teachers=teachers,
        )
    return make_trainer(
        build_network(config, spec, frozen=True),
        spec,
        perceptron_config(config),
        num_examples,
        devices,
        frozen=("extractor",),
        # A network without normalisation has no statistics to hand on.
        trained={name: {"extractor": tree} for name, tree in (extractor or {}).items() if tree},
        class_weights=class_weights,
    )


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


def load_teachers(config: TrainConfig, spec: InputSpec) -> list[Teacher]:
    """Return the networks that a run learns from, in the run's own compute type.

    Raises:
        UserError: a folder without a trained network, or one that sees or answers other things.
    """
    teachers = []
    for folder in config.teachers:
        old = load_network(find_model(folder))
        if old.spec != spec:
            fields = old.spec.to_dict()
            other = [name for name, value in spec.to_dict().items() if fields[name] != value]
            raise UserError(
                f"{folder}: its {', '.join(other)} is not this run's: a teacher answers the same "
                "question about the same input"
            )
        model = build_network(dataclasses.replace(old.config, dtype=config.dtype), spec)
        teachers.append(Teacher(model, looks_at(old.config.model), old.variables))
    return teachers


def start_variables(config: TrainConfig, spec: InputSpec) -> dict[str, Any] | None:
    """Return the variables of the run that `config.init` names, None where it names none.

    By collection and top name; of a head for other labels nothing.

    Raises:
        UserError: no trained run there, or one of another network.
    """
    if not config.init:
        return None
    old = load_network(find_model(config.init))
    if old.config.model != config.model:
        raise UserError(f"{config.init}: is a {old.config.model}: use --model={old.config.model}")
    network, looks = build_network(config, spec), looks_at(config.model)
    fresh = jax.eval_shape(lambda: init_variables(network, looks, spec, jax.random.key(0)))
    return take_over(old.variables, old.spec, fresh, spec, config.init)


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
        train = keep_labels(load_split(data, "train"), spec, info.input_spec.emotions)
        usable = Usable(None, len(train.emotion), len(np.unique(train.subject)))
    validation = keep_labels(load_split(data, "validation"), spec, info.input_spec.emotions)
    make = functools.partial(
        _trainer,
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
        trainer = make(extractor=_train_extractor(config, folder, data))
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
    _trainer(chosen, spec, num_examples).like()
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


def data_facts(data: Path, splits: dict[str, FaceArrays]) -> dict[str, Any]:
    """Return what a results file says of the shards it was made from."""
    info = dataset_info(data)
    return {
        "name": info.name,
        "synthetic": info.name == "synthetic",
        "folder": str(data),
        "splits": {
            name: {
                "examples": len(arrays.emotion),
                "people": len(np.unique(arrays.subject)),
            }
            for name, arrays in splits.items()
        },
    }


def finish_run(
    folder: Path,
    results: dict[str, Any],
    predict: Predictor,
    state: TrainState,
    train: FaceArrays | None,
) -> dict[str, Any]:
    """Evaluate on the test people, draw, and write results.json and report.html.

    Args:
        folder: of the run.
        results: what is known so far; returned with the figures added.
        predict: the network's compiled predictor.
        state: its trained state.
        train: the training split for the pixel baseline, None to leave that out.
    """
    config, spec, data = load_run(folder)
    named = dataset_info(data).input_spec.emotions
    test = keep_labels(load_split(data, config.report_on), spec, named)
    results["reported_on"] = config.report_on
    results["data"]["splits"] |= data_facts(data, {config.report_on: test})["splits"]
    results["test"] = score_modalities(test, predict, variables_of(state), config, spec)
    if not is_first():
        return results
    if train is not None and (train.num_frames > 0).any() and (test.num_frames > 0).any():
        print("logistic regression on pixels, to compare with ...", flush=True)
        faces = keep_faces(test)
        answers = pixel_baseline(train, faces, len(spec.emotions))
        results["pixel_baseline"] = score(faces, answers, spec, replicates=2)
    results = drop_nan(results)
    write_json(folder / "results.json", results)
    draw_run(folder, results)
    write_report(folder, results)
    return results


def sides_of(config: TrainConfig, spec: InputSpec) -> tuple[Modality, ...]:
    """Return the sides of a clip that a network can be asked of alone; none where it has one."""
    return ("video", "sound") if spec.sound is not None and config.video_features != 0 else ()


def score_modalities(
    arrays: FaceArrays, predict: Predictor, variables: Any, config: TrainConfig, spec: InputSpec
) -> dict[str, Any]:
    """Return all figures of a split; of a network with two branches also those of either alone."""
    figures = score(arrays, predict(variables, arrays), spec)
    if sides := sides_of(config, spec):
        figures["modalities"] = {
            side: score(arrays, predict(variables, arrays, side), spec)["overall"] for side in sides
        }
    return figures


def drop_nan(value: Any) -> Any:
    """Return the tree with every NaN as None: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: drop_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [drop_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def draw_run(folder: Path, results: dict[str, Any]) -> None:
    """Draw a run's pictures from its results."""
    overall = results["test"]["overall"]
    name = f"{results['model']} on {results['data']['name']}"
    config = results["config"]
    softmax = config["emotion_activation"] == "softmax" and bool(overall["emotion"])
    losses = plots.name_losses(config["loss"]["kind"], softmax=softmax)
    plots.plot_curves(results["history"], folder / "curves.png", name, losses)
    if overall["emotion"].get("confusion"):
        plots.plot_confusion(
            overall["emotion"]["confusion"], overall["emotion"]["names"], folder / "confusion.png"
        )
    names = {f"AU{number:02d}": text for number, text in labels.ACTION_UNIT_NAMES.items()}
    if overall["action_units"]:
        units = overall["action_units"]["units"]
        plots.plot_action_units(units, names, folder / "action_units.png")


class TrainedNetwork(NamedTuple):
    """A run's network, ready to predict."""

    model: nn.Module
    variables: Any
    config: TrainConfig
    spec: InputSpec
    data: Path


def load_network(folder: Path) -> TrainedNetwork:
    """Return the network of a run from its newest checkpoint, computing in float32.

    A model that comes with emojax has its weights in a file instead.

    Raises:
        UserError: no run there, or no checkpoint yet.
    """
    config, spec, data = load_run(folder)
    if (folder / WEIGHTS).is_file():
        model = build_network(dataclasses.replace(config, dtype="float32"), spec)
        looks = looks_at(config.model)
        shapes = jax.eval_shape(lambda: init_variables(model, looks, spec, jax.random.key(0)))
        variables = read_weights(folder / WEIGHTS, shapes)
        return TrainedNetwork(model, variables, config, spec, data)
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder}: no checkpoint yet: train first")
    model = build_network(dataclasses.replace(config, dtype="float32"), spec)
    # The state's form does not depend on how many examples it was trained on; fewer would be
    # refused.
    examples = config.batch_size * config.optim.accumulate
    trainer = _trainer(config, spec, examples, devices=jax.local_devices()[:1])
    with open_checkpoints(folder / (BEST if config.patience else "checkpoints")) as checkpoints:
        state, _ = restore(checkpoints, trainer.like())
    return TrainedNetwork(model, variables_of(state), config, spec, data)


def evaluate_run(folder: Path, data: Path | None, split: str) -> dict[str, Any]:
    """Return the figures of a trained run on a split of its own or other shards.

    Raises:
        UserError: no run, no such split, shards whose input spec is another or whose people it was
            trained on, or its own were built anew.
    """
    network = load_network(folder)
    if data is None:
        own_shards(folder, "build those as they were, or give --data")
    elif data.resolve() != network.data:
        refuse_evaluation(folder, dataset_info(data), split)
    chosen = data or network.data
    shards = dataset_info(chosen).input_spec
    arrays = keep_labels(load_split(chosen, split), network.spec, shards.emotions)
    if network_spec(network.config, shards) != network.spec:
        raise UserError(
            f"{chosen}: its faces were cut by another input spec than the run's: "
            "build the shards again with the run's spec"
        )
    config, spec = network.config, network.spec
    predict = make_predictor(network.model, looks_at(config.model), spec, make_mesh())
    return drop_nan(
        {
            "model": network.config.model,
            "run": str(folder),
            "reported_on": split,
            "provenance": provenance(),
            "data": data_facts(chosen, {split: arrays}),
            "test": score_modalities(arrays, predict, network.variables, config, spec),
        }
    )
