"""What a run ends with: its figures on a split, its pictures, results.json and the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from emojax import labels, plots
from emojax.ancestors import refuse_evaluation
from emojax.baseline import pixel_baseline
from emojax.cluster import is_first
from emojax.config import TrainConfig, network_spec
from emojax.data.resident import keep_faces, keep_labels
from emojax.data.shards import DatasetInfo, FaceArrays, dataset_info, load_split
from emojax.errors import UserError
from emojax.evaluate import Modality, Predictor, make_predictor, score
from emojax.files import write_json
from emojax.models import looks_at
from emojax.models.inputs import fit_spec
from emojax.network import TrainedNetwork, load_network, variables_of
from emojax.report import write_report
from emojax.run import load_run, own_shards, provenance
from emojax.sharding import make_mesh
from emojax.shipped import find_model
from emojax.spec import InputSpec
from emojax.train import TrainState


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


_ANSWERS = ("action_units", "emotions", "action_unit_activation", "emotion_activation")
"""What of an `InputSpec` is about a network's outputs."""


def _differences(found: InputSpec, wanted: InputSpec) -> dict[str, str]:
    there, own = _fields(found), _fields(wanted)
    return {
        name: f"{name} ({_tell_difference(there.get(name), own.get(name))})"
        for name in there | own
        if there.get(name) != own.get(name)
    }


def _fields(spec: InputSpec) -> dict[str, Any]:
    fields = spec.to_dict()
    sound = fields.pop("sound") or {}
    return fields | {f"sound.{name}": value for name, value in sound.items()}


def _tell_difference(found: Any, wanted: Any) -> str:
    if not isinstance(found, tuple):
        return f"{found}, not {wanted}"
    more = ", ".join(name for name in found if name not in wanted)
    less = ", ".join(name for name in wanted if name not in found)
    parts = [
        f"there alone: {more}" if more else "",
        f"of the network alone: {less}" if less else "",
    ]
    return "; ".join(filter(None, parts)) or "in another order"


def choose_shards(run: str, network: TrainedNetwork, data: Path | None, split: str) -> DatasetInfo:
    """Return the shards that a trained network is asked about: its own, or others that suit it.

    Of others the faces, and the sound where it listens, are as in its own; labels may be named
    otherwise.

    Args:
        run: folder of a run, or a network that comes with emojax.
        network: the same, loaded.
        data: folder of the shards; None: its own.
        split: whose people it is asked about.

    Raises:
        UserError: shards that were cut in another way or whose people it was trained on, or its own
            were built anew with other people in their splits.
    """
    if data is None or data.resolve() == network.data:
        hint = "build those as they were, or give other shards with --data"
        shards = own_shards(find_model(run), hint)
    else:
        shards = dataset_info(data)
        refuse_evaluation(run, shards, split)
    looks, hears = looks_at(network.config.model), network.config.sound_features != 0
    cut = fit_spec(shards.input_spec, looks, hears=hears)
    answers = {name: getattr(network.spec, name) for name in _ANSWERS}
    if others := _differences(cut.replace(**answers), network.spec):
        raise UserError(
            f"{shards.folder}: was cut in another way than the shards of {run}: "
            f"{', '.join(others.values())}: build it as those were"
        )
    return shards


def _refuse_other_labels(run: str, network: TrainedNetwork, shards: DatasetInfo) -> None:
    if others := _differences(network_spec(network.config, shards.input_spec), network.spec):
        flag = ": emojax data build --emotions" if "emotions" in others else ""
        raise UserError(
            f"{shards.folder}: its labels are not what {run} answers: "
            f"{', '.join(others.values())}: build it with the network's{flag}"
        )


def evaluate_run(folder: Path, data: Path | None, split: str) -> dict[str, Any]:
    """Return the figures of a trained run on a split of its own or other shards.

    Raises:
        UserError: no run, no such split, shards of `choose_shards` or with other labels.
    """
    network = load_network(folder)
    config, spec = network.config, network.spec
    shards = choose_shards(str(folder), network, data, split)
    _refuse_other_labels(str(folder), network, shards)
    arrays = keep_labels(load_split(shards.folder, split), spec, shards.input_spec.emotions)
    predict = make_predictor(network.model, looks_at(config.model), spec, make_mesh())
    return drop_nan(
        {
            "model": config.model,
            "run": str(folder),
            "reported_on": split,
            "provenance": provenance(),
            "data": data_facts(shards.folder, {split: arrays}),
            "test": score_modalities(arrays, predict, network.variables, config, spec),
        }
    )


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
