"""From one data set to another: networks that were trained on one, asked about the other's people.

The two may have other emotions and other action units. What both have labels for is compared: a
picture of another emotion is left out, and a network's answer is the highest of the shared ones.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emojax.data.resident import keep_faces, select
from emojax.data.shards import DatasetInfo, FaceArrays, dataset_info, load_split, load_whole
from emojax.errors import UserError
from emojax.labels import UNKNOWN
from emojax.models import looks_at
from emojax.models.inputs import fit_spec
from emojax.network import load_network, make_run_predictor
from emojax.sharding import make_mesh
from emojax.significance import Figure, compare, emotion_f1, estimate
from emojax.spec import InputSpec
from emojax.tables.outcome import (
    Outcome,
    common_examples,
    labelled,
    load_outcomes,
    make_outcome,
    renumber,
    restrict,
    save_outcomes,
    stack_counts,
)
from emojax.tables.pairs import FIGURES
from emojax.tables.pictures import unknown_people
from emojax.tables.table import Column, Table
from emojax.tables.trained import Trained

CROSS_FIGURES: dict[str, tuple[Literal["emotion", "units"], Figure]] = {
    "emotion accuracy": FIGURES["emotion accuracy"],
    "emotion UAR": FIGURES["emotion UAR"],
    "emotion macro F1": ("emotion", emotion_f1),
    "AU macro F1": FIGURES["AU macro F1"],
}
"""What is shown of each pair of data sets, and the counts that it is of."""

ONE_SET = (
    "From one data set to another needs two: give both as --data, for example "
    "--data data/fer2013 data/ck_plus, or two sets of clips. A set without people to train on is "
    "tested on alone."
)


_ABSENT = ({"network": "all", "home": "a second data set: absent, see below"},)


@dataclasses.dataclass(frozen=True)
class Home:
    """A data set, and the networks that were trained on it."""

    data: Path
    networks: Mapping[str, Sequence[Trained]]
    """By name, a training for each seed; none where nobody was trained on."""


@dataclasses.dataclass(frozen=True)
class Crossed:
    """A network that was trained on one data set, and its answers about another."""

    network: str
    home: str
    """Folder of what it was trained on."""
    away: str
    """Folder of what it is tested on."""
    answers: Sequence[Outcome]
    """About the other's people, for each seed; of the names that both sets have labels for."""
    there: Sequence[Outcome]
    """Of the same network trained on the other set, about its test people; empty: it was not."""
    at_home: Sequence[Outcome]
    """About the test people of the set that it was trained on."""


def _same_input(config: Any, home: InputSpec, away: InputSpec) -> str:
    """Return why a network can't be shown a data set, in words; empty where it can."""
    looks, hears = looks_at(config.model), config.sound_features != 0
    try:
        one, other = (fit_spec(spec, looks, hears=hears).to_dict() for spec in (home, away))
    except UserError as error:
        return str(error)
    answers = {"emotions", "action_units", "emotion_activation", "action_unit_activation"}
    names = [name for name in one if one[name] != other[name] and name not in answers]
    return f"built with another {', '.join(names)}" if names else ""


def as_named(arrays: FaceArrays, shards: InputSpec, spec: InputSpec) -> FaceArrays:
    """Return examples with their labels as a network of another data set calls them.

    Args:
        arrays: the examples.
        shards: names their labels.
        spec: names the network's outputs; what it has no output for becomes unknown.
    """
    columns = [
        shards.action_units.index(unit) if unit in shards.action_units else None
        for unit in spec.action_units
    ]

    def of_units(values: np.ndarray, otherwise: float) -> np.ndarray:
        missing = np.full(len(values), otherwise, values.dtype)
        parts = [missing if at is None else values[:, at] for at in columns]
        return np.stack(parts, axis=1) if parts else values[:, :0]

    return dataclasses.replace(
        arrays,
        emotion=renumber(arrays.emotion, shards.emotions, spec.emotions),
        action_units=of_units(arrays.action_units, UNKNOWN),
        intensities=of_units(arrays.intensities, UNKNOWN),
        action_unit_confidence=of_units(arrays.action_unit_confidence, 0),
    )


def _seen(home: DatasetInfo, away: DatasetInfo) -> set[str]:
    """Return people of the one set that a network of the other has seen in training.

    Names are the owner's: in sets of one owner the same name is the same person.
    """
    if home.name != away.name:
        return set()
    splits = home.report["splits"]
    return {
        who for part in ("train", "validation") for who in splits.get(part, {}).get("people", ())
    }


def answer_elsewhere(trained: Trained, home: Path, away: Path, *, everybody: bool) -> Outcome:
    """Return a network's answers about another data set, asked now or found as they were left.

    Nobody of that set whom the network has seen in training is among them.

    Args:
        trained: the network.
        home: folder of what it was trained on.
        away: folder of what it is asked about.
        everybody: whether about all people, or about the test people alone.

    Raises:
        UserError: its checkpoint is gone.
    """
    one, other = dataset_info(home), dataset_info(away)
    about = {
        "config": trained.config.to_dict(),
        "fingerprint": one.report["fingerprint"],
        "away": other.report["fingerprint"],
        "everybody": everybody,
    }
    path = trained.folder / f"answers-on-{away.name}.npz"
    if kept := load_outcomes(path, about):
        return kept["away"]
    print(f"{trained.folder.name}, asked about {away}", flush=True)
    arrays = load_whole(away) if everybody else load_split(away, "test")
    named = np.array(arrays.subjects, str)[arrays.subject]
    arrays = select(arrays, ~np.isin(named, list(_seen(one, other))))
    network = load_network(trained.folder)
    arrays = as_named(
        keep_faces(arrays) if network.spec.sound is None else arrays, other.input_spec, network.spec
    )
    predict = make_run_predictor(network.config, network.spec, make_mesh())
    outcome = make_outcome(arrays, predict(network.variables, arrays), network.spec)
    save_outcomes(path, {"away": outcome}, about)
    return outcome


def shared_names(
    one: Sequence[Outcome], other: Sequence[Outcome]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the emotions and the action units that both have labels for, in the first's order."""

    def has(outcomes: Sequence[Outcome]) -> set[str]:
        known: set[str] = set()
        for outcome in outcomes:
            present = np.unique(outcome.emotion[outcome.emotion != UNKNOWN])
            known |= {outcome.emotions[place] for place in present}
            rated = (outcome.action_units != UNKNOWN).any(axis=0)
            known |= set(itertools.compress(outcome.units, rated))
        return known

    both = has(one) & has(other)
    first = one[0]
    return (
        tuple(name for name in first.emotions if name in both),
        tuple(name for name in first.units if name in both),
    )


def cross(homes: Sequence[Home]) -> tuple[list[Crossed], list[str]]:
    """Return each network's answers about each other data set, and why some have none.

    Args:
        homes: data sets of one kind, pictures or clips.
    """
    found: list[Crossed] = []
    notes: list[str] = []
    for home, away in itertools.permutations(homes, 2):
        info = dataset_info(away.data)
        for network, trainings in home.networks.items():
            why = _same_input(
                trainings[0].config, dataset_info(home.data).input_spec, info.input_spec
            )
            answers = [] if why else [
                answer_elsewhere(one, home.data, away.data, everybody=not away.networks)
                for one in trainings
            ]  # fmt: skip
            labels = [part for one in trainings for part in (one.test, one.validation)]
            names = shared_names(labels, answers) if answers else ((), ())
            if len(names[0]) < 2 and not names[1]:
                reason = why or "nobody, or no label, that a network of the one can be tested by"
                notes.append(f"{home.data.name} to {away.data.name}, {network}: {reason}.")
                continue
            found.append(
                Crossed(
                    network=network,
                    home=home.data.name,
                    away=away.data.name,
                    answers=[restrict(one, *names) for one in answers],
                    there=[restrict(one.test, *names) for one in away.networks.get(network, ())],
                    at_home=[restrict(one.test, *names) for one in trainings],
                )
            )
    return found, notes


def constant_counts(counts: np.ndarray, kind: str) -> np.ndarray:
    """Return the confusion of one constant answer to the same examples.

    Args:
        counts: [e, e] of emotions, [u, 2, 2] of action units, rows the truth.
        kind: `emotion`: always the most frequent one; `units`: each always present.
    """
    truth = counts.sum(axis=-1)
    found = np.zeros_like(counts)
    found[..., truth.argmax() if kind == "emotion" else 1] = truth
    return found


def cross_rows(crossed: Crossed) -> list[dict[str, Any]]:
    """Return a row for each figure that the two data sets allow."""
    rows = []
    for name, (kind, figure) in CROSS_FIGURES.items():
        answers = [labelled(one, kind) for one in crossed.answers]
        if not len(answers[0].path) or (kind == "emotion" and len(answers[0].emotions) < 2):
            continue
        counts = stack_counts(answers, kind)
        value = estimate(counts, figure)
        at_home = stack_counts([labelled(one, kind) for one in crossed.at_home], kind)
        row = {
            "network": crossed.network,
            "home": crossed.home,
            "away": crossed.away,
            "figure": name,
            "value": value.value,
            "interval": value.interval,
            "at_home": estimate(at_home, figure).value,
            "chance": float(figure(constant_counts(counts[0].sum(axis=0), kind)[None])[0]),
            "names": len(answers[0].emotions if kind == "emotion" else answers[0].units),
            "people": value.people if crossed.answers[0].people_are_known else None,
            "examples": value.examples,
            "seeds": len(answers),
        }
        if crossed.there:
            pair = common_examples([*answers, *(labelled(one, kind) for one in crossed.there)])
            sides = pair[: len(answers)], pair[len(answers) :]
            first, second = (stack_counts(side, kind) for side in sides)
            gap = compare(first, second, figure)
            row |= {
                "there": estimate(second, figure).value,
                "gap": gap.value,
                "gap_interval": gap.interval,
                "p": gap.p,
            }
        rows.append(row)
    return rows


def cross_table(crossed: Sequence[Crossed], notes: Sequence[str], commands: Sequence[str]) -> Table:
    """Return the table of networks on other data sets than they were trained on.

    Args:
        crossed: a network and a pair of data sets each.
        notes: what has to be said of them; first whether they are drawn.
        commands: that make it.
    """
    unknown = [one.away for one in crossed if not one.answers[0].people_are_known]
    return Table(
        name="cross",
        title="From one data set to another",
        columns=(
            Column("network", "network"),
            Column("home", "trained on"),
            Column("away", "tested on"),
            Column("figure", "figure"),
            Column("value", "value, %", "percent"),
            Column("interval", "95% interval", "interval"),
            Column("there", "trained there, %", "percent"),
            Column("gap", "less that, points", "points"),
            Column("gap_interval", "95% interval", "interval"),
            Column("p", "p", "p"),
            Column("at_home", "at home, %", "percent"),
            Column("chance", "chance, %", "percent"),
            Column("names", "emotions or AUs", "count"),
            Column("people", "people", "count"),
            Column("examples", "examples", "count"),
            Column("seeds", "seeds", "count"),
        ),
        rows=tuple(row for one in crossed for row in cross_rows(one)) or _ABSENT,
        notes=(
            *notes,
            *unknown_people(list(dict.fromkeys(unknown))),
            "Over the emotions and action units that both sets have labels for: pictures of other "
            "emotions are left out, and an answer is the highest of the shared ones. Trained "
            "there: the same network trained on the set that is tested, on the same people; the "
            "difference is paired, its interval and p as in the first table, p not adjusted. At "
            "home: the network on the test people of its own set. Chance: always the most frequent "
            "emotion, every action unit always present. Tested are the other set's test people, "
            "and all of its people where no network was trained on it; in two sets of one owner, "
            "and in two manifests, a name is one person, and nobody who was trained on is tested.",
        ),
        commands=tuple(commands),
    )
