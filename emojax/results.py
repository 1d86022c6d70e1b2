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
from emojax.data.shards import FaceArrays, dataset_info, load_split
from emojax.errors import UserError
from emojax.evaluate import Modality, Predictor, make_predictor, score
from emojax.files import write_json
from emojax.models import looks_at
from emojax.network import load_network, variables_of
from emojax.report import write_report
from emojax.run import load_run, own_shards, provenance
from emojax.sharding import make_mesh
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
