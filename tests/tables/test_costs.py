"""Table `times`: each time stands beside the device and the type that it was measured with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from made_up_study import make_study

from emojax.config import TrainConfig
from emojax.inventory import Cost
from emojax.spec import InputSpec
from emojax.tables import costs
from emojax.tables.costs import cost_table
from emojax.tables.table import Table
from emojax.tables.trained import DRAWN, PictureStudy

GPU = {"platform": "gpu", "kind": "NVIDIA H100", "count": 1}
CPU = {"platform": "cpu", "kind": "cpu", "count": 1}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What this machine seems to be, how long a face takes on it, and how many were timed."""
    here: dict[str, Any] = {"device": GPU, "dtype": "bfloat16", "seconds": 0.001, "timed": 0}

    def seconds(*_: Any) -> float:
        here["timed"] += 1
        return here["seconds"]

    monkeypatch.setattr(costs, "provenance", lambda: {"device": here["device"]})
    monkeypatch.setattr(costs, "compute_dtype", lambda _: here["dtype"])
    monkeypatch.setattr(costs, "measure_cost", lambda *_: Cost(10, 20, 30))
    monkeypatch.setattr(costs, "build_network", lambda *_: None)
    monkeypatch.setattr(costs, "predict_seconds", seconds)
    return here


def trained_on(runs: Path, facts: dict[str, tuple[Any, Any]], name: str = "synthetic") -> Any:
    """A study whose runs were trained on these devices in these types."""
    study = make_study(name)
    for (network, _), trained in study.runs.items():
        trained[:] = [dataclasses.replace(one, folder=runs / network) for one in trained]
        if network in facts:
            (runs / network).mkdir(parents=True, exist_ok=True)
            device, dtype = facts[network]
            results = {"provenance": {"device": device}, "compute_dtype": dtype}
            (runs / network / "results.json").write_text(json.dumps(results))
    return study


def times(study: PictureStudy, folder: Path) -> Table:
    return cost_table(study, InputSpec(), [TrainConfig(blocks=(1, 1))], folder / "costs", ["make"])


def test_times_of_another_device_are_taken_again(machine: dict[str, Any], tmp_path: Path) -> None:
    study = trained_on(tmp_path, {})
    assert times(study, tmp_path).rows[0]["prediction_ms"] == 1
    assert machine["timed"] == 4
    times(study, tmp_path)
    assert machine["timed"] == 4
    machine.update(device=CPU, dtype="float32", seconds=0.02)
    table = times(study, tmp_path)
    assert machine["timed"] == 8
    assert {row["prediction_ms"] for row in table.rows} == {20.0}
    assert "on 1 x cpu (cpu), float32" in table.notes[0]
    machine.update(dtype="bfloat16")
    assert "on 1 x cpu (cpu), bfloat16" in times(study, tmp_path).notes[0]
    assert machine["timed"] == 12


def test_a_training_stands_under_the_device_that_its_run_names(
    machine: dict[str, Any], tmp_path: Path
) -> None:
    names = ("resnet18", "inception_v4", "inception_resnet")
    machine.update(device=CPU, dtype="float32")
    study = trained_on(tmp_path, dict.fromkeys(names, (GPU, "bfloat16")))
    table = times(study, tmp_path)
    assert "which compiles, on 1 x NVIDIA H100 (gpu), bfloat16." in table.notes[0]
    assert "median of 15 calls on 1 x cpu (cpu), float32; detection" in table.notes[0]
    assert [row.get("training_ratio") for row in table.rows[:3]] == [1, 1, 1]
    study = trained_on(tmp_path, {"resnet18": (CPU, "float32")})
    table = times(study, tmp_path)
    assert (
        "on 1 x cpu (cpu), float32: resnet18; on 1 x NVIDIA H100 (gpu), bfloat16: "
        "inception_v4, inception_resnet" in table.notes[0]
    )
    # Two devices' times say nothing of two networks.
    assert [row.get("training_ratio") for row in table.rows[:3]] == [1, None, None]


@pytest.mark.parametrize("device", [None, "a GPU", {"kind": 3}])
def test_a_run_that_names_no_device_has_none_told(
    machine: dict[str, Any], tmp_path: Path, device: Any
) -> None:
    study = trained_on(tmp_path, {"resnet18": (device, "float32")})
    assert "which compiles. Times differ" in times(study, tmp_path).notes[0]


def test_drawn_people_are_called_so(machine: dict[str, Any], tmp_path: Path) -> None:
    said = DRAWN
    assert said in times(trained_on(tmp_path, {}), tmp_path).notes
    assert said not in times(trained_on(tmp_path, {}, "fer2013"), tmp_path).notes
