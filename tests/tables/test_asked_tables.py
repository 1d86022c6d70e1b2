"""What `experiments/tables.py` makes of what it is asked: refusals, notes, names, commands."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_up_study import make_study
from test_modality_tables import make_network

from emojax.errors import UserError
from emojax.tables.clip_tables import DRAWN_CLIPS
from emojax.tables.modalities import NETWORKS, ablate
from emojax.tables.pictures import SYNTHETIC
from emojax.tables.table import Table
from emojax.tables.trained import PictureStudy

EVERYBODY = {"train": 8, "validation": 7, "test": 7}


@pytest.fixture
def tables(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, which neither draws nor trains: each network is there when it is wanted."""
    monkeypatch.syspath_prepend(repository / "experiments")
    module = importlib.import_module("tables")
    known = make_study()

    def train(data: Path, runs: Path, presets: Any, pairs: Any, seeds: Any) -> Any:
        return {pair: known.runs.get(pair, known.runs["resnet18", "E1"]) for pair in pairs}

    def study(data: Path, *_: Any) -> PictureStudy:
        return dataclasses.replace(make_study(data.name.partition("-")[0], ("",)), data=data)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "train_each", train)
    monkeypatch.setattr(module, "study_pictures", study)
    monkeypatch.setattr(module, "draw_study", lambda study: [])
    monkeypatch.setattr(module, "cross", lambda homes: ([], []))
    monkeypatch.setattr(module, "has_sound", lambda data: True)
    monkeypatch.setattr(module, "same_clips", lambda data: [[folder] for folder in data])
    for name in ("find_given", "work_ahead", "study_clips"):
        monkeypatch.setattr(module, name, refuse)
    return module


def make_given(tables: Any, **there: Any) -> Any:
    nothing = {"pictures": (), "clips": (), "clips_for": (), "voices": ()}
    return tables.Given(**nothing | {"votes": None, "studio": None} | there)


@pytest.fixture
def make(tables: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return the tables by name and the notices, of sets that are called after their owners."""

    def make_all(*wanted: str, there: Any = EVERYBODY, **given: Any) -> Any:
        def info(data: Path) -> Any:
            spec = SimpleNamespace(emotions=("neutral", "anger"))
            owner = data.name.partition("-")[0]
            return SimpleNamespace(name=owner, num_examples=there, input_spec=spec)

        written: list[Any] = []
        monkeypatch.setattr(tables, "dataset_info", info)
        monkeypatch.setattr(tables, "has_neutral", lambda data: True)
        monkeypatch.setattr(tables, "find_given", lambda *_, **__: make_given(tables, **given))
        monkeypatch.setattr(tables, "write_tables", lambda *words: written.append(words))
        tables.make_tables(tables.TablesOptions(tables=wanted, out=tmp_path), [])
        ((_, _, made, _, notices, _),) = written
        return {table.name: table for table in made}, notices

    return make_all


@pytest.mark.parametrize(
    ("words", "said"),
    [({"seeds": (0, -1)}, "seed=-1: wanted 0 .. "), ({"jobs": 0}, "jobs=0: wanted 1 or more")],
)
def test_a_number_that_can_t_be_is_refused_before_anything_is_drawn(
    tables: Any, words: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        tables.make_tables(tables.TablesOptions(tables=("6.1",), **words), [])


def test_clips_without_people_to_test_are_refused_before_anything_is_trained(
    tables: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = (Path("data/one"), Path("data/other"))
    make("cross", clips=clips)

    def train(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(tables, "train_each", train)
    with pytest.raises(UserError, match="data/one: nobody is in the split `test`"):
        make("cross", clips=clips, there=EVERYBODY | {"test": 0})


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        (("resnet18", "inception_v4"), "trained there too: resnet18."),
        (("inception_v4",), "nothing was trained there, and all are tested."),
    ],
)
def test_the_studio_s_networks_are_those_that_were_trained_there(
    tables: Any, monkeypatch: pytest.MonkeyPatch, networks: tuple[str, ...], said: str
) -> None:
    info = SimpleNamespace(name="synthetic", num_examples=EVERYBODY)
    monkeypatch.setattr(tables, "dataset_info", lambda data: info)
    options = tables.TablesOptions(networks=networks)
    drawn, studio = Path("data/synthetic"), Path("data/synthetic-studio")
    given = make_given(tables, pictures=(drawn,), studio=studio)
    crossing = tables._crossed_studies(given, options)
    table = tables._cross_all(crossing, given, options, tables.settings(options), [], "")
    assert table.notes[0] == SYNTHETIC
    assert f"synthetic-studio: other drawn people, in the studio (S1) alone; {said}" in table.notes


@pytest.mark.parametrize(("kind", "note"), [("pictures", SYNTHETIC), ("clips", DRAWN_CLIPS)])
@pytest.mark.parametrize("drawn", [False, True])
def test_drawn_people_among_those_who_are_tested_elsewhere_are_named(
    make: Any, drawn: bool, kind: str, note: str
) -> None:
    sets = (Path("data/crema_d"), Path("data/synthetic-x" if drawn else "data/ravdess"))
    made, notices = make("cross", **{kind: sets})
    assert (note in made["cross"].notes) == drawn
    assert any("Synthetic people" in notice for notice in notices) == drawn
    # A set alone is not tested elsewhere.
    made, _ = make("cross", **{kind: sets[1:]})
    assert note not in made["cross"].notes


def test_two_sets_of_one_builder_are_told_apart_in_the_tables(make: Any) -> None:
    sets = (Path("data/fer2013"), Path("data/fer2013-equalised"))
    names = ["fer2013 (fer2013)", "fer2013 (fer2013-equalised)"]
    made, _ = make("6.1", pictures=sets)
    rows = [row["data"] for row in made["6.1"].rows if row["protocol"] == "E1"]
    assert rows[:2] == [f"{name} all" for name in names]
    for table in ("pairs", "calibration"):
        assert list(dict.fromkeys(row["data"] for row in made[table].rows)) == names
    made, _ = make("6.1", pictures=sets[:1])
    assert made["6.1"].rows[0]["data"] == "fer2013 all"


def test_two_builds_of_one_owner_s_clips_are_told_apart_among_the_modalities(
    tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = [
        tables._ClipStudy(Path("data") / name, "ar5", tuple(NETWORKS), 3, False, True)
        for name in ("crema_d", "crema_d-part")
    ]

    def study(data: Path, *_: Any) -> Any:
        return [dataclasses.replace(make_network(inputs), data=data) for inputs in NETWORKS]

    monkeypatch.setattr(tables, "_clip_studies", lambda *_: studies)
    monkeypatch.setattr(tables, "study_clips", study)
    options = tables.TablesOptions()
    _, ablations = tables._study_all_clips([], (), None, options, tables.settings(options))
    wanted = ["synthetic (crema_d)", "synthetic (crema_d-part)"]
    assert [ablation.name for ablation in ablations] == wanted


# Commands.


def _made(tables: Any, wanted: str, studies: list[Any], ablations: list[Any]) -> list[Table]:
    options = tables.TablesOptions()
    given, presets = make_given(tables), tables.settings(options)
    return tables._all_tables(
        (wanted,), studies, [], ablations, None, given, options, presets, [], "the whole"
    )


def test_each_training_of_the_modalities_has_its_command(tables: Any) -> None:
    networks = [
        dataclasses.replace(
            make_network(inputs),
            folder=Path(f"runs/clips-ar5-{inputs}-1"),
            folds_file=Path("runs/folds-clips-3.json"),
            config=tables.protocol_config(tables.PRESETS["ar5"], "E1", 1),
        )
        for inputs in NETWORKS
    ]
    (table,) = (
        table
        for table in _made(tables, "modalities", [], [ablate(networks)])
        if table.name == "modalities"
    )
    assert table.commands[0] == "the whole"
    for inputs in NETWORKS:
        mine = [words for words in table.commands if f"clips-ar5-{inputs}-" in words]
        assert [words.split("--out=")[1].split()[0] for words in mine] == [
            f"runs/clips-ar5-{inputs}-{seed}-again" for seed in (0, 1)
        ]


def test_each_training_whose_time_is_shown_has_its_command(
    tables: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[str]] = []
    monkeypatch.setattr(tables, "cost_table", lambda *words: shown.append(words[4]))
    monkeypatch.setattr(tables, "dataset_info", lambda data: SimpleNamespace(input_spec=None))
    study = make_study("fer2013")
    runs = {key: trained for key, trained in study.runs.items() if key[1] == "E1"}
    _made(tables, "times", [dataclasses.replace(study, runs=runs)], [])
    ((whole, *trained),) = shown
    assert whole == "the whole"
    models = [words.split("--model=")[1].split()[0] for words in trained]
    assert models == ["resnet18", "inception_v4", "inception_resnet"]
