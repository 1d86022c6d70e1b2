"""A trained run's folder -> its artifact, with the figures of each precision on held-out people."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from emojax.calibration import Calibration, Labels, calibrate, errors_before_and_after, macro_f1
from emojax.data.resident import keep_labels, select
from emojax.data.shards import FaceArrays, load_split
from emojax.drawn_examples import draw_examples
from emojax.errors import UserError
from emojax.evaluate import score, to_predictions
from emojax.export import SYNTHETIC_NOTICE, export_artifact, record, record_examples, spread
from emojax.golden import name_inputs
from emojax.litert import Network
from emojax.models import looks_at
from emojax.models.inputs import Looks
from emojax.network import load_network
from emojax.results import drop_nan
from emojax.run import own_shards
from emojax.spec import InputSpec, read_json
from emojax.temperature import scale

CALIBRATION_EXAMPLES = 128
"""Training examples that int8 takes its scales from."""

DRAWN_EXAMPLES, DRAWN_CLIPS = 56, 12
"""Drawn people that travel with the artifact: two of each emotion in each domain; fewer clips."""

SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 0.5, 60.0
"""Seconds of a clip that the runner takes out of a video, whatever the training clips had."""

UNTIMED_S = 2.0
"""The same where no training clip tells how long it is."""

HELD_OUT_EXAMPLES = 2000
"""Test examples on which each precision is measured."""

VALIDATION_EXAMPLES = 4000
"""Validation examples on which temperatures and thresholds are chosen."""

_AT_A_TIME = 64


def _some(arrays: FaceArrays, wanted: int) -> FaceArrays:
    """Return up to so many examples of a split, evenly spread."""
    mask = np.zeros(len(arrays.emotion), bool)
    mask[spread(len(mask), wanted)] = True
    return select(arrays, mask)


def _answers(network: Network, arrays: FaceArrays, looks: Looks, spec: InputSpec) -> np.ndarray:
    """Return an exported model's probabilities for a split, float32 [examples, outputs]."""
    parts = []
    for start in range(0, len(arrays.emotion), _AT_A_TIME):
        places = np.arange(len(arrays.emotion))[start : start + _AT_A_TIME]
        parts.append(network.answers(name_inputs(record(arrays, spec, places), looks, spec)))
    return np.concatenate(parts)


def _labels(arrays: FaceArrays) -> Labels:
    return Labels(arrays.action_units.astype(int), arrays.emotion.astype(int))


def _calibrator(
    arrays: FaceArrays, looks: Looks, spec: InputSpec
) -> Callable[[Network], Calibration]:
    """Return a function from an exported model to what validation people teach about it.

    Args:
        arrays: the validation split; up to `VALIDATION_EXAMPLES` of it are looked at.
        looks: what the network looks at.
        spec: names the outputs.
    """
    some = _some(arrays, VALIDATION_EXAMPLES)

    def fit(network: Network) -> Calibration:
        found = calibrate(_labels(some), _answers(network, some, looks, spec), spec)
        seen = {"people": len(np.unique(some.subject)), "examples": len(some.emotion)}
        return dataclasses.replace(found, facts={"split": "validation", **seen, **found.facts})

    return fit


def _exported_score(
    arrays: FaceArrays, split: str, looks: Looks, spec: InputSpec
) -> Callable[[Network, Calibration | None], dict[str, Any]]:
    """Return a function from an exported model to its figures on a split.

    The figures are the network's own, without temperatures and at thresholds of one half, as a
    training has them, but for those that are named after the calibration.

    Args:
        arrays: the split; up to `HELD_OUT_EXAMPLES` of it are looked at, evenly spread.
        split: its name.
        looks: what the network looks at.
        spec: names the outputs.
    """
    some = _some(arrays, HELD_OUT_EXAMPLES)
    weights = np.ones(len(some.emotion), np.float32)

    def figures(network: Network, calibrated: Calibration | None) -> dict[str, Any]:
        found = _answers(network, some, looks, spec)
        answers = to_predictions(found, 0 * weights, weights, spec)
        told = overall_figures(score(some, answers, spec, replicates=2)["overall"], split)
        # Two precisions are compared on the same people: an interval would say nothing of that.
        plain = {
            name: value["value"] if isinstance(value, dict) else value
            for name, value in told.items()
        }
        if calibrated is not None:
            scaled = scale(found, spec, calibrated.temperatures)
            plain |= {
                "expected_calibration_error": errors_before_and_after(
                    _labels(some), found, spec, calibrated.temperatures
                ),
                "action_unit_macro_f1_at_thresholds": macro_f1(
                    some.action_units, scaled[:, : len(spec.action_units)], calibrated.thresholds
                ),
            }
        return drop_nan(plain)

    return figures


def clip_settings(train: FaceArrays, spec: InputSpec, *, sees: bool) -> dict[str, Any]:
    """Return how clips like the training ones are taken out of a video, as spec.json says it.

    A window is as long as the median of the training clips, and the next one begins a quarter of
    that later.

    Args:
        train: the training split.
        spec: of the network.
        sees: whether the network has a branch for frames.
    """
    several = np.flatnonzero(train.num_frames > 1)
    last = train.num_frames[several] - 1
    spans = train.timestamps[several, last] - train.timestamps[several, 0]
    # The last frame is shown as long as the others.
    lengths = (spans * (last + 1) / last)[spans > 0]
    # Ready crops have no times, and sounds no frames.
    without = (spec.sound and spec.sound.duration_s) or UNTIMED_S
    seconds = float(np.median(lengths)) if lengths.size else without
    window_s = round(min(max(seconds, SHORTEST_WINDOW_S), LONGEST_WINDOW_S), 3)
    return {
        "window_s": window_s,
        "step_s": round(window_s / 4, 3),
        "kept_frames": train.faces.shape[1],
        "sees": sees,
    }


def overall_figures(overall: dict[str, Any], split: str) -> dict[str, Any]:
    """Return what an artifact tells of a split's figures."""
    return {
        "split": split,
        "people": overall["people"],
        "examples": overall["examples"],
        "emotion_unweighted_average_recall": overall["emotion"].get("unweighted_average_recall"),
        "action_unit_macro_f1": overall["action_units"].get("macro_f1"),
        "action_unit_macro_roc_area": overall["action_units"].get("macro_roc_area"),
    }


def export_run(
    folder: Path,
    out: Path,
    faces: int = 64,
    mirrored: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Write the artifact of a trained run and return what its spec.json says.

    Args:
        folder: of the run.
        out: the artifact's folder.
        faces: how many validation examples Flax and the artifact have to agree on.
        mirrored: a face is answered with the mean for itself and for its mirror image.
        say: is told what comes next.

    Raises:
        UserError: no trained run, an artifact that disagrees with Flax, or shards that are no
            longer those of the run.
    """
    network = load_network(folder)
    if not (folder / "results.json").exists():
        raise UserError(
            f"{folder}: the run is not finished (no results.json): give its training command again"
        )
    own_shards(folder)
    results = read_json(folder / "results.json")
    looks, spec = looks_at(network.config.model), network.spec
    if mirrored and looks != "picture":
        raise UserError(f"{folder}: looks at clips: only a network for pictures can be mirrored")
    if network.config.outputs == "without_neutral":
        raise UserError(f"{folder}: never answers neutral, which an artifact has to: outputs=all")
    reported = network.config.report_on
    splits = {
        split: keep_labels(load_split(network.data, split), spec)
        for split in ("train", "validation", reported)
    }
    data = results["data"]
    sees = network.config.video_features != 0
    return export_artifact(
        network.model,
        network.variables,
        looks,
        spec,
        record_examples(splits["validation"], looks, spec, faces, sees=sees),
        draw_examples(looks, spec, DRAWN_EXAMPLES if looks == "picture" else DRAWN_CLIPS),
        record_examples(splits["train"], looks, spec, CALIBRATION_EXAMPLES, sees=sees),
        out,
        training={
            "data": data["name"],
            "synthetic": data["synthetic"],
            "notice": SYNTHETIC_NOTICE if data["synthetic"] else "",
            "model": network.config.model,
            "config": network.config.to_dict(),
        },
        metrics=overall_figures(results["test"]["overall"], reported),
        clip=None if looks == "picture" else clip_settings(splits["train"], spec, sees=sees),
        calibrate=_calibrator(splits["validation"], looks, spec),
        score=_exported_score(splits[reported], reported, looks, spec),
        mirrored=mirrored,
        threads=os.cpu_count() or 1,
        say=say,
    )
