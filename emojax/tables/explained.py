"""Why the tables' networks answer as they do: kernels, heat, action units; each made once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emojax.data.resident import keep_labels
from emojax.data.shards import FaceArrays, dataset_info, load_split
from emojax.explain.contributions import REPEATS, Contributions, contributions
from emojax.explain.drawings import draw_contributions, draw_heats, draw_kernels
from emojax.explain.examples import take_people
from emojax.explain.explanation import Explanation, Side, explain_network
from emojax.explain.report import CONTRIBUTIONS, HEAT, KERNELS
from emojax.labels import ACTION_UNIT_NAMES
from emojax.network import TrainedNetwork, load_network
from emojax.run import newest_checkpoint
from emojax.tables import published
from emojax.tables.ahead import Task
from emojax.tables.kept import keep_arrays, kept_arrays
from emojax.tables.table import Column, Table
from emojax.tables.trained import ANSWERS, DRAWN, PictureRun, PictureStudy, Trained, read_trained

EXPLAINED = "explained.npz"
"""What was made of a run, beside its answers."""

EACH = 2
"""Test people of each emotion that are shown."""


def _network_and_people(trained: Trained, data: Path) -> tuple[TrainedNetwork, FaceArrays]:
    network = load_network(trained.folder)
    named = dataset_info(data).input_spec.emotions
    return network, keep_labels(load_split(data, "test"), network.spec, named)


def _find(trained: Trained, data: Path) -> dict[str, Any] | None:
    """Return a run's explanation as arrays, made now if it was not yet.

    None where there is nothing to make it from: the run's checkpoint is gone.
    """
    path = trained.folder / EXPLAINED
    if not path.exists() and newest_checkpoint(trained.folder) is None:
        return None
    about = {
        "config": trained.config.to_dict(),
        "fingerprint": dataset_info(data).report["fingerprint"],
    }
    if (kept := kept_arrays(path, about)) is None:
        network, people = _network_and_people(trained, data)
        if trained.protocol == "AU first":
            made = dataclasses.asdict(contributions(network, people))
        else:
            explained = explain_network(network, take_people(people, network.spec, EACH))
            made = {**vars(explained.sides["face"]), **vars(explained)}
            del made["sides"]
        keep_arrays(path, made, about)
        kept = kept_arrays(path, about)
    assert kept is not None
    texts = ("emotions", "units", "outputs", "truth", "names")
    return {name: tuple(kept[name].tolist()) if name in texts else kept[name] for name in kept}


def explanation_of(trained: Trained, data: Path) -> Explanation | None:
    """Return where a picture network looked on a few test people; None without a checkpoint.

    Args:
        trained: of the protocol E1 or E2.
        data: folder of the shards.
    """
    if (found := _find(trained, data)) is None:
        return None
    side = {field.name: found.pop(field.name) for field in dataclasses.fields(Side)}
    face = Side(**{**side, "layer": str(side["layer"])})
    return Explanation(sides={"face": face}, **found)


def contributions_of(trained: Trained, data: Path) -> Contributions | None:
    """Return what action units do in a network that reads them first; None without a checkpoint.

    Args:
        trained: of the protocol AU first.
        data: folder of the shards.
    """
    found = _find(trained, data)
    return None if found is None else Contributions(**found)


def picture_task(run: PictureRun, *, explained: bool) -> Task:
    """Return a training as something to be done ahead of the tables.

    Args:
        run: the training.
        explained: whether it is also explained, as the first seed of a protocol is.
    """
    explained = explained and run.protocol in ("E1", "AU first")
    kept = [run.folder / ANSWERS]
    # Of a run that is done and whose checkpoint is gone nothing can be explained.
    if explained and not (kept[0].exists() and newest_checkpoint(run.folder) is None):
        kept.append(run.folder / EXPLAINED)
    return Task(run.title, functools.partial(_train_and_explain, run, explained), tuple(kept))


def _train_and_explain(run: PictureRun, explained: bool) -> None:
    trained = read_trained(run)
    if explained:
        _find(trained, run.data)


def draw_explained(study: PictureStudy) -> list[tuple[str, str, str, bytes]]:
    """Return pictures of each network: name, title, caption and PNG; of several seeds the first."""
    drawn: list[tuple[str, str, str, bytes]] = []
    for network in published.NETWORKS:
        for trained in study.runs.get((network, "E1"), ())[:1]:
            if found := explanation_of(trained, study.data):
                face = found.sides["face"]
                kernels = draw_kernels(face.kernels)
                heat = draw_heats(found, EACH)
                drawn += [
                    (f"kernels-{network}", f"First kernels, {network}", KERNELS, kernels),
                    (
                        f"heat-{network}",
                        f"Where it looked, {network}",
                        f"{HEAT} Map: {face.layer}.",
                        heat,
                    ),
                ]
        for trained in study.runs.get((network, "AU first"), ())[:1]:
            if found := contributions_of(trained, study.data):
                title = f"What action units do to emotions, {network}"
                content = draw_contributions(found)
                drawn.append((f"contributions-{network}", title, CONTRIBUTIONS, content))
    return drawn


def contributions_table(studies: Sequence[PictureStudy], commands: Sequence[str]) -> Table | None:
    """Return what each action unit does to each emotion, by network; None without such a network.

    Args:
        studies: sets of pictures; of several seeds the first.
        commands: what makes it.
    """
    rows: list[dict[str, Any]] = []
    emotions: dict[str, None] = {}
    for study in studies:
        for network in published.NETWORKS:
            for trained in study.runs.get((network, "AU first"), ())[:1]:
                if found := contributions_of(trained, study.data):
                    emotions |= dict.fromkeys(found.emotions)
                    about = {"data": study.name, "network": network, "seed": trained.config.seed}
                    about["examples"] = len(trained.test.path)
                    if trained.test.people_are_known:
                        about["people"] = len(np.unique(trained.test.subject))
                    rows += [about | row for row in _unit_rows(found)]
    if not rows:
        return None
    return Table(
        name="contributions",
        title="What action units do to emotions, where they are read first (ar4)",
        columns=(
            Column("data", "data"),
            Column("network", "network"),
            Column("unit", "action unit"),
            *(Column(f"to_{emotion}", emotion, "number") for emotion in emotions),
            Column("accuracy_lost", "accuracy lost, points", "points"),
            Column("accuracy_spread", "± over shuffles", "points"),
            Column("people", "people", "count"),
            Column("examples", "pictures", "count"),
            Column("seed", "seed", "count"),
        ),
        rows=tuple(rows),
        notes=(
            *((DRAWN,) if any(study.synthetic for study in studies) else ()),
            "Under an emotion: how much the unit speaks for it where it is, in its logit: "
            "gradient times distance from the unit's mean, averaged over each test person's faces, "
            "then over people. Accuracy lost: with the unit's values shuffled over all test faces, "
            f"mean and deviation of {REPEATS} shuffles. Of several seeds the first.",
        ),
        commands=tuple(commands),
    )


def _unit_rows(found: Contributions) -> list[dict[str, Any]]:
    rows = []
    for place, unit in enumerate(found.units):
        to = {
            f"to_{name}": float(found.contribution[k, place])
            for k, name in enumerate(found.emotions)
        }
        rows.append(
            {
                "unit": f"{unit} {ACTION_UNIT_NAMES[int(unit[2:])]}",
                **to,
                "accuracy_lost": float(found.accuracy_lost[place]),
                "accuracy_spread": float(found.accuracy_spread[place]),
            }
        )
    return rows
