"""Trainings on pictures for the tables: each done once, its answers in a file beside the run."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emojax.baseline import pixel_baseline
from emojax.config import TrainConfig
from emojax.data.resident import keep_faces, keep_labels
from emojax.data.shards import DatasetInfo, dataset_info, load_split
from emojax.experiment import train_run
from emojax.labels import NEUTRAL, UNKNOWN
from emojax.network import load_network, make_run_predictor
from emojax.sharding import make_mesh
from emojax.spec import read_json
from emojax.tables.outcome import (
    Outcome,
    answer_neutral,
    choose_neutral_threshold,
    load_outcomes,
    make_outcome,
    save_outcomes,
)

ANSWERS = "answers.npz"
"""What a run's network answered to the validation and the test people."""

PROTOCOLS: dict[str, dict[str, Any]] = {
    "E1": {},
    "E2": {"outputs": "without_neutral"},
    "AU first": {"model": "ar4"},
}
"""Settings by which the thesis's experiments differ from a network's own."""

DRAWN = (
    "Where the data are called synthetic, people are drawn: nothing follows about real faces and "
    "voices."
)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network that was trained on pictures, and its answers."""

    network: str
    protocol: str
    """One of `PROTOCOLS`."""
    config: TrainConfig
    folder: Path
    test: Outcome
    validation: Outcome
    """Of the people whom thresholds and temperatures are chosen on."""
    threshold: float | None
    """Of E2: the score below which all emotions are low."""
    history: list[dict[str, Any]]
    """A row an epoch."""
    parameters: int


@dataclasses.dataclass(frozen=True)
class PictureStudy:
    """All that was trained on a set of pictures."""

    data: Path
    name: str
    synthetic: bool
    runs: dict[tuple[str, str], list[Trained]]
    """By network and protocol, a training for each seed."""
    pixels: Outcome
    """What logistic regression on the pixels says."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the parts of the test people's pictures; none where no part has a name.

        That of the pictures that are in no domain, beside others that are in one, is empty.
        """
        names = np.unique(self.pixels.domain).tolist()
        return tuple(names) if any(names) else ()

    def outcomes(self, network: str, protocol: str) -> list[Outcome]:
        """Return the test people's answers, one for each seed; none where it was not trained."""
        return [trained.test for trained in self.runs.get((network, protocol), ())]


def protocol_config(base: TrainConfig, protocol: str, seed: int) -> TrainConfig:
    """Return a network's settings under a protocol.

    Args:
        base: the network's own.
        protocol: one of `PROTOCOLS`.
        seed: of the training.
    """
    changes = dict(PROTOCOLS[protocol], seed=seed)
    if changes.get("model") == "ar4":
        changes["extractor"] = base.model
    return dataclasses.replace(base, **changes)


def train_command(config: TrainConfig, preset: TrainConfig, data: Path, folder: Path) -> str:
    """Return the command that trains a run by itself, once more and into a folder of its own.

    Args:
        config: its settings.
        preset: what `experiments/train.py` does for this network when nothing else is said.
        data: folder of the shards.
        folder: of the run in the tables.
    """
    return _command("train", config, preset, data, folder)


def folds_command(
    config: TrainConfig, preset: TrainConfig, data: Path, folder: Path, folds: Path
) -> str:
    """Return the command that does a cross-validation by itself, as `train_command`.

    Args:
        config: its settings.
        preset: what `experiments/folds.py` does for this network when nothing else is said.
        data: folder of the shards.
        folder: of the run in the tables.
        folds: who is tested when.
    """
    more = ["--stacked=no", f"--folds={shlex.quote(str(folds))}"]
    return " ".join([_command("folds", config, preset, data, folder), *more])


def _command(
    script: str, config: TrainConfig, preset: TrainConfig, data: Path, folder: Path
) -> str:
    again = folder.with_name(f"{folder.name}-again")
    places = [f"--data={shlex.quote(str(data))}", f"--out={shlex.quote(str(again))}"]
    flags = _flags(config.to_dict(), preset.to_dict(), "--")
    return " ".join([f"python experiments/{script}.py --model={config.model}", *places, *flags])


def _flags(fields: Mapping[str, Any], known: Mapping[str, Any], prefix: str) -> list[str]:
    words: list[str] = []
    for name, value in fields.items():
        flag = f"{prefix}{name.replace('_', '-')}"
        if name in ("model", "data") or value == known[name]:
            continue
        if isinstance(value, dict):
            words += _flags(value, known[name], f"{flag}.")
        elif isinstance(value, tuple | list):
            words.append(" ".join([flag, *(shlex.quote(str(part)) for part in value)]))
        else:
            words.append(f"{flag}={shlex.quote(str(value))}")
    return words


def train_once(config: TrainConfig, folder: Path, data: Path) -> dict[str, Outcome]:
    """Return a run's answers to `validation` and `test`, trained now or found as they were left.

    Args:
        config: its settings.
        folder: of the run; one that was stopped there goes on.
        data: folder of the shards.

    Raises:
        UserError: the folder holds something else, or the data do not fit the network.
        StopTraining: someone asked to stop.
    """
    info = dataset_info(data)
    about = {"config": config.to_dict(), "fingerprint": info.report["fingerprint"]}
    if kept := load_outcomes(folder / ANSWERS, about):
        return kept
    train_run(config, folder, data, baseline=False)
    network = load_network(folder)
    predict = make_run_predictor(network.config, network.spec, make_mesh())
    outcomes = {}
    for split in ("validation", "test"):
        arrays = keep_labels(load_split(data, split), network.spec, info.input_spec.emotions)
        outcomes[split] = make_outcome(arrays, predict(network.variables, arrays), network.spec)
    save_outcomes(folder / ANSWERS, outcomes, about)
    return outcomes


@dataclasses.dataclass(frozen=True)
class PictureRun:
    """A training that a table wants, done or not."""

    network: str
    """What it is called in the tables: of ar4, its extractor."""
    protocol: str
    """One of `PROTOCOLS`."""
    config: TrainConfig
    folder: Path
    data: Path
    """Folder of the shards."""

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{self.network}, {self.protocol}, seed {self.config.seed}, on {self.data}"


def picture_runs(
    data: Path,
    runs: Path,
    presets: Mapping[str, TrainConfig],
    wanted: Sequence[tuple[str, str]],
    seeds: Sequence[int],
) -> list[PictureRun]:
    """Return a data set's trainings, in the order in which they are wanted.

    Args:
        data: folder of the shards.
        runs: folder of all runs.
        presets: settings of each network, and of `ar4` without an extractor.
        wanted: networks and protocols.
        seeds: of the trainings.
    """
    return [
        PictureRun(
            network,
            protocol,
            protocol_config(presets[network], protocol, seed),
            runs / f"{data.name}-{network}-{protocol.replace(' ', '_')}-{seed}",
            data,
        )
        for network, protocol in wanted
        for seed in seeds
    ]


def read_trained(run: PictureRun) -> Trained:
    """Return a training and its answers, done now if it was not yet."""
    config, folder = run.config, run.folder
    outcomes = train_once(config, folder, run.data)
    results, threshold = read_json(folder / "results.json"), None
    if config.outputs == "without_neutral":
        threshold = choose_neutral_threshold(outcomes["validation"])
        names = dataset_info(run.data).input_spec.emotions
        outcomes = {
            split: answer_neutral(outcome, threshold, names) for split, outcome in outcomes.items()
        }
    return Trained(
        network=run.network,
        protocol=run.protocol,
        config=config,
        folder=folder,
        test=outcomes["test"],
        validation=outcomes["validation"],
        threshold=threshold,
        history=results["history"],
        parameters=results["parameters"],
    )


def _answer_pixels(info: DatasetInfo, folder: Path) -> Outcome:
    """Return what logistic regression on the pixels says of the test people."""
    about = {"fingerprint": info.report["fingerprint"]}
    if kept := load_outcomes(folder / ANSWERS, about):
        return kept["test"]
    print("logistic regression on pixels, to compare with ...", flush=True)
    spec = info.input_spec.replace(sound=None)
    train, test = (keep_faces(load_split(info.folder, split)) for split in ("train", "test"))
    answers = pixel_baseline(train, test, len(spec.emotions))
    outcome = make_outcome(test, answers, spec)
    folder.mkdir(parents=True, exist_ok=True)
    save_outcomes(folder / ANSWERS, {"test": outcome}, about)
    return outcome


def train_each(
    data: Path,
    runs: Path,
    presets: Mapping[str, TrainConfig],
    wanted: Sequence[tuple[str, str]],
    seeds: Sequence[int],
) -> dict[tuple[str, str], list[Trained]]:
    """Return a data set's networks by network and protocol, having trained what was not yet.

    The arguments are those of `picture_runs`.
    """
    todo = picture_runs(data, runs, presets, wanted, seeds)
    found: dict[tuple[str, str], list[Trained]] = {}
    for number, run in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {run.title}", flush=True)
        found.setdefault((run.network, run.protocol), []).append(read_trained(run))
    return found


def study_pictures(
    data: Path,
    runs: Path,
    presets: Mapping[str, TrainConfig],
    wanted: Sequence[tuple[str, str]],
    seeds: Sequence[int],
) -> PictureStudy:
    """Return a set of pictures' study, having trained what was not trained yet.

    The arguments are those of `picture_runs`.
    """
    info = dataset_info(data)
    found = train_each(data, runs, presets, wanted, seeds)
    pixels = _answer_pixels(info, runs / f"{data.name}-pixels")
    return PictureStudy(data, info.title, info.name == "synthetic", found, pixels)


def called_apart(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Return what data sets are called, with their folders' names where that is alike.

    Args:
        names: what each is called.
        folders: of their shards.
    """
    return [
        f"{name} ({folder.name})" if names.count(name) > 1 else name
        for name, folder in zip(names, folders, strict=True)
    ]


def has_neutral(data: Path) -> bool:
    """Return whether E2 can be asked of a set: it has neutral faces and others."""
    emotions = dataset_info(data).input_spec.emotions
    return NEUTRAL in emotions and len(emotions) > 1


@functools.cache
def has_units(data: Path) -> bool:
    """Return whether a network can learn action units from a set: some are labelled."""
    return bool((load_split(data, "train").action_units != UNKNOWN).any())
