"""What each network costs: parameters, multiply-accumulates, time, each with its device."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax.compiler import compiler_options
from emojax.config import TrainConfig, network_spec
from emojax.files import write_json
from emojax.inventory import measure_cost, median_seconds
from emojax.models import forward, looks_at
from emojax.models.inputs import zero_inputs
from emojax.network import build_network
from emojax.run import provenance
from emojax.spec import InputSpec, read_json
from emojax.tables import published
from emojax.tables.table import Column, Table
from emojax.tables.trained import DRAWN, PictureStudy
from emojax.train import compute_dtype, init_variables

ROUNDS = 15
"""Timed predictions, of which the median is taken."""

REAL_TIME_S = 1 / 30
"""A frame of a camera."""


def training_seconds(history: Sequence[Mapping[str, Any]]) -> float:
    """Return what 1,000 pictures took in training, from the rows of a run's epochs.

    The first epoch compiles; where there are others it is left out.
    """
    rows = history[1:] or history
    return 1000 * sum(1 / row["examples_per_second"] for row in rows) / len(rows)


def predict_seconds(config: TrainConfig, spec: InputSpec) -> float:
    """Return the median time of one face, forward, on the default device, weights at random."""
    model, looks = build_network(config, spec), looks_at(config.model)
    # To draw them as a network's are drawn takes longer to compile than all that is timed here.
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.01, 0.02, leaf.shape), leaf.dtype),
        jax.eval_shape(lambda: init_variables(model, looks, spec, jax.random.key(0))),
    )
    one = zero_inputs(looks, spec)
    compiled = jax.jit(
        lambda given, inputs: forward(model, given, inputs).logits,
        compiler_options=compiler_options(),
    )
    return median_seconds(lambda: compiled(variables, one), ROUNDS)


def _measured(path: Path, key: dict[str, Any], measure: Any) -> dict[str, Any]:
    """Return a measurement from its file, taken now where there is none of these settings."""
    if path.exists() and (kept := read_json(path)).get("of") == key:
        return kept
    found = {"of": key, **measure()}
    write_json(path, found)
    return found


def _place(device: Any, dtype: Any) -> str | None:
    """Return a device, as `provenance` tells it, and a compute type in words; None: no such."""
    if not isinstance(device, dict) or not {"count", "kind", "platform"} <= set(device):
        return None
    return f"{device['count']} x {device['kind']} ({device['platform']}), {dtype}"


def _training_place(folder: Path) -> str | None:
    """Return what a run was trained on; None where the run does not tell."""
    path = folder / "results.json"
    results = read_json(path) if path.exists() else {}
    return _place(results.get("provenance", {}).get("device"), results.get("compute_dtype"))


def _places(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    """Return where these rows' times were taken: a place, or several with their networks."""
    networks: dict[str, list[str]] = {}
    for row in rows:
        if row.get(key):
            networks.setdefault(row[key], []).append(row["network"])
    if len(networks) == 1:
        return next(iter(networks))
    return "; on ".join(f"{place}: {', '.join(names)}" for place, names in networks.items())


def _network_row(
    name: str, config: TrainConfig, spec: InputSpec, folder: Path, device: dict[str, Any]
) -> dict[str, Any]:
    spec, dtype = network_spec(config, spec), compute_dtype(config.dtype)

    def measure() -> dict[str, Any]:
        print(f"{name}: parameters and the time of a face ...", flush=True)
        cost = measure_cost(build_network(config, spec), looks_at(config.model), spec)
        return {**cost._asdict(), "prediction_s": predict_seconds(config, spec)}

    key = {
        "config": config.to_dict(),
        "spec": spec.to_dict(),
        "device": device,
        "compute_dtype": dtype,
    }
    found = _measured(folder / f"cost-{name}.json", json.loads(json.dumps(key)), measure)
    return {
        "network": name,
        "parameters": found["parameters"],
        "macs": found["multiply_accumulates"] / 1e6,
        "prediction_ms": 1000 * found["prediction_s"],
        "predicted_on": _place(device, dtype),
        "fast": "yes" if found["prediction_s"] < REAL_TIME_S else "no",
    }


def cost_table(
    study: PictureStudy,
    spec: InputSpec,
    deeper: Sequence[TrainConfig],
    folder: Path,
    commands: Sequence[str],
    jobs: int = 1,
) -> Table:
    """Return the table of parameters and times.

    Args:
        study: trainings whose times are shown.
        spec: what networks see and answer.
        deeper: networks whose prediction alone is timed: more and fewer blocks.
        folder: where measurements are kept.
        commands: that make it.
        jobs: trainings that were done at a time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = provenance()["device"]
    rows: list[dict[str, Any]] = []
    for (network, protocol), trained in study.runs.items():
        if protocol != "E1":
            continue
        row = _network_row(network, trained[0].config, spec, folder, device)
        row["training_s"] = training_seconds(trained[0].history)
        row["trained_on"] = _training_place(trained[0].folder)
        hours = published.TRAINING_HOURS.get(network)
        rows.append(row | ({"published_h": hours} if hours else {}))
    for base in [row for row in rows if row["network"] == "resnet18"]:
        for row in rows:
            # Two devices' times say nothing of two networks.
            if row["trained_on"] == base["trained_on"]:
                row["training_ratio"] = row["training_s"] / base["training_s"]
            if row["predicted_on"] == base["predicted_on"]:
                row["prediction_ratio"] = row["prediction_ms"] / base["prediction_ms"]
    for config in deeper:
        blocks = "-".join(map(str, config.blocks))
        row = _network_row(f"{config.model} {blocks}".strip(), config, spec, folder, device)
        rows.append(row | {"blocks": sum(config.blocks)})
    where = _places(rows, "trained_on")
    return Table(
        name="times",
        title="Times and parameters",
        columns=(
            Column("network", "network"),
            Column("blocks", "residual blocks", "count"),
            Column("parameters", "parameters", "count"),
            Column("macs", "million multiply-accumulates", "number"),
            Column("training_s", "training, s per 1,000 pictures", "number"),
            Column("training_ratio", "of ResNet-18's", "number"),
            Column("prediction_ms", "a face, ms", "number"),
            Column("prediction_ratio", "of ResNet-18's", "number"),
            Column("fast", "30 a second"),
            Column("published_h", f"{published.THESIS}, h for 10 epochs", "number"),
        ),
        rows=tuple(rows),
        notes=(
            f"In JAX. A face: median of {ROUNDS} calls on {_places(rows, 'predicted_on')}; "
            "detection is not included. Training: all epochs but the first, which compiles"
            f"{_beside(jobs)}{f', on {where}' if where else ''}. Times differ from run to run and "
            f"with what else the machine does. The thesis: {published.CLAIMS_OF_TIME}",
            *((DRAWN,) if study.synthetic else ()),
        ),
        commands=tuple(commands),
    )


def _beside(jobs: int) -> str:
    return f"; {jobs} at a time, each on its share of the cores" if jobs > 1 else ""


def shapes_of(base: TrainConfig, blocks: Sequence[tuple[int, ...]]) -> list[TrainConfig]:
    """Return a network's settings with other numbers of blocks."""
    return [dataclasses.replace(base, blocks=shape) for shape in blocks]
