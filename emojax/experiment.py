"""One experiment from shards to results: train, evaluate, draw, report."""

from __future__ import annotations

import contextlib
import dataclasses
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
from emojax.baseline import pixel_baseline
from emojax.checkpoint import open_checkpoints, restore
from emojax.cluster import first_alone, is_first
from emojax.config import TrainConfig, network_spec
from emojax.curves import Curves
from emojax.data.feed import Usable, find_usable, make_stream, streamed_examples
from emojax.data.resident import keep_faces, keep_labels, put_on_device
from emojax.data.shards import (
    MANIFEST,
    DatasetInfo,
    FaceArrays,
    dataset_info,
    load_split,
    read_batches,
)
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
from emojax.report import write_report
from emojax.run import (
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
    optim = dataclasses.replace(config.optim, learning_rate=config.perceptron_learning_rate)
    return make_trainer(
        build_network(config, spec, frozen=True),
        spec,
        dataclasses.replace(config, epochs=config.perceptron_epochs, optim=optim),
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


def _require_test_people(info: DatasetInfo, config: TrainConfig) -> None:
    # Known before an hour of training rather than after it.
    if info.num_examples[config.report_on] == 0:
        raise UserError(
            f"{info.folder}: nobody is in the split `{config.report_on}`, so there is nothing to "
            "report on: put some people there in the manifest, or leave its column `split` empty"
        )


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
        teachers.append(Teacher(model, old.variables))
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


def people_seen(init: str, splits: Sequence[str]) -> set[str] | None:
    """Return whom a network has seen while it was made; None where nobody can tell.

    Args:
        init: a run, or a network that comes with emojax: that one names all of its people.
        splits: those that count, where they are known.
    """
    folder = find_model(init)
    named = read_json(folder / "config.json").get("people")
    if isinstance(named, list):
        return set(map(str, named))
    try:
        report = own_shards(folder).report
    except UserError:
        return None
    return {who for split in splits for who in report["splits"].get(split, {}).get("people", ())}


def refuse_seen_people(config: TrainConfig, info: DatasetInfo) -> None:
    """Refuse to report on people whom the network to start from, or a teacher, was trained on.

    Names are the owner's: in sets of two owners the same name is two people, and in two manifests
    it may be, which is said.
    """
    reported = info.report["splits"].get(config.report_on, {}).get("people", ())
    # A run that is gone on with has its own validation people again.
    splits = ("train", "validation") if config.report_on == "test" else ("train",)
    for name in [*filter(None, [config.init]), *config.teachers]:
        seen = people_seen(name, splits)
        known = sorted((seen or set()) & {*reported})
        owner = _owner_of(name)
        if known and info.name not in (MANIFEST, owner) and owner != MANIFEST:
            continue
        if known and info.name == owner != MANIFEST:
            raise UserError(
                f"{name}: was trained on {known[0]!r} and {len(known) - 1} others, who are in "
                f"`{config.report_on}` here: figures on them would be too good: build the shards "
                "as that run had them, or leave it out"
            )
        if (known or seen is None) and is_first():
            why = (
                f"was trained on {known[0]!r} and {len(known) - 1} others, names that are in "
                f"`{config.report_on}` here too"
                if known
                else f"its shards are not here, so nobody knows whether it has seen the people in "
                f"`{config.report_on}`"
            )
            print(f"{name}: {why}: figures on them may be too good", file=sys.stderr)


def _owner_of(init: str) -> str:
    """Return the builder's name of the data set that a network was trained on."""
    folder = find_model(init)
    named = read_json(folder / "config.json").get("people")
    if isinstance(named, list):
        # Of the networks that come with emojax, the one for voices names its people.
        return "crema_d"
    try:
        return dataset_info(load_run(folder)[2]).name
    except UserError:
        return MANIFEST


def _require_votes(config: TrainConfig, info: DatasetInfo) -> None:
    if config.loss.votes != "none" and not info.report.get("examples_with_votes"):
        raise UserError(
            f"{info.folder}: no example has raters' votes, which loss.votes={config.loss.votes} "
            "aims at: leave it out, or build CREMA-D, or FER2013 beside FER+'s fer2013new.csv"
        )


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
    # Not needed any more by a run that goes on.
    begun = newest_checkpoint(folder) is not None and not fresh
    trained = None if begun else start_variables(config, spec)
    if not begun:
        refuse_seen_people(config, info)
    fingerprint = info.report["fingerprint"]
    # Once thrown away is enough: the others come when the first one has begun.
    first_alone(lambda: open_run(folder, config, spec, data, fingerprint, fresh and is_first()))
    if config.input == "streaming":
        train, usable = None, find_usable(info, "train", spec)
    else:
        train = keep_labels(load_split(data, "train"), spec, info.input_spec.emotions)
        usable = Usable(None, len(train.emotion), len(np.unique(train.subject)))
    validation = keep_labels(load_split(data, "validation"), spec, info.input_spec.emotions)
    if len(validation.emotion) == 0:
        raise UserError(
            f"{data}: nobody is in the split `validation`, which training is watched on: "
            "put some people there in the manifest, or leave its column `split` empty"
        )
    _require_test_people(info, config)
    _require_watched(config, spec, validation, data)
    extractor = _train_extractor(config, folder, data) if config.model == "ar4" else None
    _require_votes(config, info)
    weights = _class_weights(config, spec, info, train, usable)
    trainer = _trainer(
        config,
        spec,
        usable.examples,
        extractor=extractor,
        class_weights=weights,
        trained=trained,
        teachers=load_teachers(config, spec),
    )
    examples = (
        make_stream(
            info,
            "train",
            spec,
            usable,
            batch_size=config.batch_size,
            seed=config.seed,
            sharding=split_batch(trainer.mesh),
            votes=config.loss.votes,
        )
        if train is None
        else put_on_device(train, replicated(trainer.mesh), config.loss.votes)
    )
    predict = make_run_predictor(config, spec, trainer.mesh)
    checkpoints = open_checkpoints(folder / "checkpoints", clean=True)
    best = open_checkpoints(folder / BEST, clean=True) if config.patience else None
    done = checkpoints.latest_step() or 0
    if done >= trainer.total_steps:
        print(f"{folder}: already trained for {trainer.config.epochs} epochs")
    elif done:
        print(f"{folder}: going on from step {done} of {trainer.total_steps}")
    watcher = _Watcher(trainer, folder, done) if is_first() else _Silent()

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
            best=best,
            name_batch=name_batch,
        )
    if config.patience:
        row = best_epoch(history, config.watch)
        # Without one `fit` has refused.
        assert row is not None
        print(f"kept: epoch {row + 1} of {len(history)}, the best {config.watch}", flush=True)
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
    return finish_run(folder, results, predict, state, train if baseline else None)


def _train_extractor(config: TrainConfig, folder: Path, data: Path) -> Any:
    """Return the variables of ar4's extractor, trained on action units into a run of its own."""
    key = config.extractor or DEFAULT_EXTRACTOR
    chosen = dataclasses.replace(config, model=key, extractor=None, outputs="action_units")
    # It has no emotions to be watched.
    chosen = dataclasses.replace(chosen, watch="validation_loss")
    print(f"1/2: {key} reads action units, trained into {folder / 'extractor'}", flush=True)
    train_run(chosen, folder / "extractor", data, baseline=False)
    print("2/2: the perceptron, from 15 action units to emotions", flush=True)
    # In the run's own compute type nothing changes: parameters are float32 in each.
    return load_network(folder / "extractor").variables


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
        UserError: no run, no such split, shards whose input spec is another, or its own were
            built anew.
    """
    network = load_network(folder)
    if data is None:
        own_shards(folder, "build those as they were, or give --data")
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
            "provenance": provenance(),
            "data": data_facts(chosen, {split: arrays}),
            "test": score_modalities(arrays, predict, network.variables, config, spec),
        }
    )
