"""Explanations of the tables' networks: made once, kept, drawn, and left out where none can be."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand_made_ar4 import make_arrays, make_network
from made_up_study import make_study

from emojax.config import TrainConfig
from emojax.data.shards import FaceArrays
from emojax.errors import UserError
from emojax.models.ar2 import AR2
from emojax.network import TrainedNetwork
from emojax.spec import InputSpec
from emojax.tables import explained
from emojax.tables.explained import (
    EACH,
    contributions_of,
    contributions_table,
    draw_explained,
    explanation_of,
)
from emojax.tables.table import to_csv
from emojax.tables.trained import PictureStudy, Trained

FACES = 28


def people() -> FaceArrays:
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (FACES, 98, 80), dtype=np.uint8)
    return make_arrays(faces, np.arange(FACES) % 7, np.arange(FACES) // 4)


def reader() -> TrainedNetwork:
    model, spec = AR2(22, widths=(8, 8), depth=1), InputSpec()
    init = jax.jit(lambda key: model.init(key, jnp.zeros((1, 98, 80, 1)), train=False))
    return TrainedNetwork(model, init(jax.random.key(0)), TrainConfig(model="ar2"), spec, Path())


@pytest.fixture
def made() -> list[str]:
    """Protocols whose explanations were computed, in their order."""
    return []


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[str]) -> PictureStudy:
    """One network under two protocols, its folders on the disk as after a training."""

    def load(trained: Trained, data: Path) -> Any:
        made.append(trained.protocol)
        return (make_network() if trained.protocol == "AU first" else reader()), people()

    monkeypatch.setattr(explained, "_network_and_people", load)
    info = types.SimpleNamespace(report={"fingerprint": "f"})
    monkeypatch.setattr(explained, "dataset_info", lambda data: info)
    whole, runs = make_study(), {}
    for protocol in ("E1", "AU first"):
        folder = tmp_path / protocol
        (folder / "checkpoints" / "12").mkdir(parents=True)
        trained = dataclasses.replace(whole.runs["resnet18", protocol][0], folder=folder)
        runs["resnet18", protocol] = [trained]
    return dataclasses.replace(whole, runs=runs)


def test_it_is_made_once_and_comes_back_as_it_was(study: PictureStudy, made: list[str]) -> None:
    (trained,), (units,) = study.runs["resnet18", "E1"], study.runs["resnet18", "AU first"]
    first = explanation_of(trained, study.data), contributions_of(units, study.data)
    drawn = draw_explained(study)
    # Without its checkpoint nothing could be made anew.
    for one in (trained, units):
        (one.folder / "checkpoints" / "12").rmdir()
    again = explanation_of(trained, study.data), contributions_of(units, study.data)
    assert draw_explained(study) == drawn
    assert made == ["E1", "AU first"]
    for one, other in zip(first, again, strict=True):
        assert one is not None
        assert other is not None
        jax.tree.map(np.testing.assert_array_equal, _fields(one), _fields(other))
    assert first[0] is not None
    assert first[0].sides["face"].layer == "stage2_conv1, 25 x 20"
    assert len(first[0].names) == 7 * EACH
    names = [name for name, *_ in drawn]
    assert names == ["kernels-resnet18", "heat-resnet18", "contributions-resnet18"]
    assert all(content.startswith(b"\x89PNG") for *_, content in drawn)


def _fields(found: Any) -> Any:
    if not dataclasses.is_dataclass(found):
        return found
    values = {name: _fields(value) for name, value in vars(found).items() if name != "sides"}
    sides = getattr(found, "sides", {})
    return values | {what: _fields(side) for what, side in sides.items()}


def test_another_run_in_its_place_is_refused(study: PictureStudy) -> None:
    (trained,) = study.runs["resnet18", "E1"]
    explanation_of(trained, study.data)
    other = dataclasses.replace(trained, config=dataclasses.replace(trained.config, seed=9))
    with pytest.raises(UserError, match=r"explained\.npz: is of other settings"):
        explanation_of(other, study.data)


def test_the_table_has_a_row_for_each_unit(study: PictureStudy) -> None:
    table = contributions_table([study], ["make it"])
    assert table is not None
    assert table.name == "contributions"
    found = contributions_of(study.runs["resnet18", "AU first"][0], study.data)
    assert found is not None
    head, *rows = to_csv(table).splitlines()
    assert head.startswith("data,network,unit,to_neutral,to_happiness")
    assert len(rows) == 15
    cells = rows[8].split(",")
    assert cells[:3] == ["synthetic", "resnet18", "AU12 lip corner puller"]
    assert float(cells[4]) == pytest.approx(found.contribution[1, 8], rel=1e-6)
    places = head.split(",")
    lost = float(cells[places.index("accuracy_lost")])
    assert lost == pytest.approx(found.accuracy_lost[8], rel=1e-6)
    assert [cells[places.index(name)] for name in ("people", "examples", "seed")] == [
        "8",
        "128",
        "0",
    ]


def test_where_no_network_is_left_nothing_is_shown() -> None:
    study = make_study()
    assert draw_explained(study) == []
    assert contributions_table([study], []) is None
