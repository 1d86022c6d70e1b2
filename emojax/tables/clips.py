"""Trainings on clips: everybody tested by a network that never saw them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emojax.audio import PRESETS
from emojax.config import TrainConfig, network_spec
from emojax.cross_validation import everybodys, files_by_fold, mean_answers, train_folds
from emojax.data.folds import make_folds
from emojax.data.resident import keep_labels, select
from emojax.data.shards import MANIFEST, PEOPLE_FILE, DatasetInfo, dataset_info, load_whole
from emojax.errors import UserError
from emojax.evaluate import Predictions
from emojax.files import write_json
from emojax.run import load_run
from emojax.spec import read_json
from emojax.tables.ahead import Task
from emojax.tables.outcome import Outcome, load_outcomes, make_outcome, save_outcomes
from emojax.tables.trained import ANSWERS
from emojax.trainings import read_training

INPUTS: dict[str, dict[str, Any]] = {
    "video": {"sound_features": 0, "modality_dropout": 0.0},
    "sound": {"video_features": 0, "modality_dropout": 0.0},
    "both": {"modality_dropout": 0.0},
    "both_one_head": {"modality_dropout": 0.0, "auxiliary_weight": 0.0},
    "both_dropout": {"modality_dropout": 0.3},
}
"""Settings by which networks for clips differ: the branches that they have; whether each branch
has a head of its own in training, beside the common one; whether clips lose a side in training."""

EVERYBODY = "everybody"
"""In a file of answers: those to whole clips, beside those to `video` or `sound` alone."""


@dataclasses.dataclass(frozen=True)
class CrossValidated:
    """A cross-validation on clips, and everybody's answers."""

    inputs: str
    """One of `INPUTS`."""
    sound: str
    """How the sound is seen: a name of `audio.PRESETS`, or `other`; empty without sound."""
    data: Path
    name: str
    """What people call the data set."""
    owner: str
    """The builder's name of it: whose layout it has."""
    config: TrainConfig
    folder: Path
    seeds: tuple[int, ...]
    tested: tuple[tuple[str, ...], ...]
    """Who is tested in each fold."""
    answers: list[Outcome]
    """Of everybody, for each seed."""
    alone: dict[str, list[Outcome]]
    """Given `video` or `sound` of each clip that has it, the other side masked; empty where the
    network has one branch, or was trained before that was asked."""
    groups: dict[str, dict[str, str]]
    """What the owner says of each person, by name; empty where nothing is known."""
    networks: int = 1
    """How many answer together, by the mean of what they say."""
    folds_file: Path | None = None
    """Says who is tested when; None: of a run that was not made for the tables."""

    @property
    def folds(self) -> int:
        """How many."""
        return len(self.tested)

    @property
    def rule(self) -> str:
        """How people were left out, in words."""
        one_each = all(len(people) == 1 for people in self.tested)
        who = "person" if self.people_are_known else "file"
        return "leave one out" if one_each else f"{self.folds} folds by {who}"

    @property
    def people_are_known(self) -> bool:
        """Whether somebody said who they are: else each file is one."""
        return self.answers[0].people_are_known

    @property
    def synthetic(self) -> bool:
        """Whether its people are drawn."""
        return self.owner == "synthetic"

    @property
    def other_model(self) -> str:
        """The network's name; empty of 6.8's own."""
        return "" if self.config.model == "ar5" else self.config.model


def sound_of(info: DatasetInfo) -> str:
    """Return what a data set's spectrograms are called; empty where it has none."""
    if info.input_spec.sound is None:
        return ""
    known = (name for name, preset in PRESETS.items() if preset == info.input_spec.sound)
    return next(known, "other")


def _read_folds(folder: Path, config: TrainConfig, data: Path) -> dict[str, Outcome]:
    """Return the answers to all clips, and to a side alone where that was asked.

    Args:
        folder: of a cross-validation that is done.
        config: its settings.
        data: folder of the shards.
    """
    info = dataset_info(data)
    spec = network_spec(config, info.input_spec)
    whole = keep_labels(load_whole(data), spec, info.input_spec.emotions)
    tested: list[np.ndarray] = []
    answers: dict[str, list[Predictions]] = {}
    for paths in files_by_fold(folder):
        networks = [read_training(path) for path in paths]
        for path, network in zip(paths, networks, strict=True):
            if network.diverged_at is not None:
                raise UserError(
                    f"{path}: its loss became nan at step {network.diverged_at}, so it has no "
                    "answers: train it again with a smaller --optim.learning-rate"
                )
        tested.append(networks[0].tested)
        given_each = [{EVERYBODY: network.answers, **network.alone} for network in networks]
        for given in given_each[0]:
            parts = [answers_to[given] for answers_to in given_each if given in answers_to]
            if len(parts) == len(paths):
                answers.setdefault(given, []).append(mean_answers(parts))
    order = np.concatenate(tested)
    mask = np.zeros(len(whole.emotion), bool)
    mask[order] = True
    mine = select(whole, mask)
    there = {"video": mine.num_frames > 0, "sound": mine.has_sound > 0}
    found = {}
    for given, parts in answers.items():
        if len(parts) == len(tested):
            outcome = make_outcome(mine, everybodys(order, parts), spec)
            found[given] = outcome.select(there[given]) if given in there else outcome
    return found


def _settle_folds(runs: Path, data: Path, k: int | None) -> Path:
    """Return the file that says who is tested when, written where it is not there yet."""
    path = runs / f"folds-{data.name}-{k or 'one_out'}.json"
    if not path.exists():
        runs.mkdir(parents=True, exist_ok=True)
        write_json(path, make_folds(dataset_info(data), k=k))
    return path


def _training_of(
    data: Path, runs: Path, base: TrainConfig, inputs: str, seed: int
) -> tuple[TrainConfig, Path]:
    """Return a cross-validation's settings and folder."""
    config = dataclasses.replace(base, seed=seed, **INPUTS[inputs])
    return config, runs / f"{data.name}-{base.model}-{inputs}-{seed}"


def clip_tasks(
    data: Path, runs: Path, base: TrainConfig, inputs: str, seeds: Sequence[int], k: int | None
) -> list[Task]:
    """Return a network's cross-validations, one a seed, as what is done ahead of the tables.

    The arguments are those of `study_clips`, for one of its `wanted`.
    """
    return [
        Task(
            f"{base.model}, {inputs}, seed {seed}, on {data}",
            functools.partial(study_clips, data, runs, base, [inputs], [seed], k),
            (_training_of(data, runs, base, inputs, seed)[1] / ANSWERS,),
        )
        for seed in seeds
    ]


def study_clips(
    data: Path,
    runs: Path,
    base: TrainConfig,
    wanted: Sequence[str],
    seeds: Sequence[int],
    k: int | None,
) -> list[CrossValidated]:
    """Return the cross-validations of a set of clips, having trained what was not trained yet.

    Args:
        data: folder of the shards.
        runs: folder of all runs.
        base: settings of the network for clips.
        wanted: of `INPUTS`.
        seeds: of the trainings.
        k: folds by person; None: one person is left out at a time.
    """
    info, folds_file = dataset_info(data), _settle_folds(runs, data, k)
    folds = read_json(folds_file)
    found = []
    for inputs in wanted:
        config, folder = base, runs
        answers: dict[str, list[Outcome]] = {}
        for seed in seeds:
            config, folder = _training_of(data, runs, base, inputs, seed)
            about = {
                "config": config.to_dict(),
                "fingerprint": info.report["fingerprint"],
                "folds": folds["sha256"],
            }
            kept = load_outcomes(folder / ANSWERS, about)
            if kept is None:
                print(f"{base.model}, {inputs}, seed {seed}, on {data}", flush=True)
                # Which way is faster is measured, and a measurement would decide about rounding.
                train_folds(config, folder, data, folds_file, stacked="no")
                kept = _read_folds(folder, config, data)
                save_outcomes(folder / ANSWERS, kept, about)
            for given, outcome in kept.items():
                answers.setdefault(given, []).append(outcome)
        found.append(
            CrossValidated(
                inputs=inputs,
                sound="" if inputs == "video" else sound_of(info),
                data=data,
                name=info.title,
                owner=info.name,
                config=config,
                folder=folder,
                seeds=tuple(seeds),
                tested=tuple(tuple(fold["test"]) for fold in folds["folds"]),
                answers=answers.pop(EVERYBODY),
                # A seed that was trained before it was asked for leaves all of them out.
                alone={given: one for given, one in answers.items() if len(one) == len(seeds)},
                groups=read_groups(data),
                folds_file=folds_file,
            )
        )
    return found


def read_cross_validation(folder: Path) -> CrossValidated:
    """Return a cross-validation that `experiments/folds.py` or a recipe has finished.

    Args:
        folder: of the run; its shards have to be where it found them.

    Raises:
        UserError: no such run there, its shards are gone or others, folds are missing, damaged
            or diverged, or its network does not answer every emotion.
    """
    config, spec, data = load_run(folder)
    if not (folder / "folds").is_dir():
        raise UserError(f"{folder}: a run, but no cross-validation: give one of folds.py's")
    if config.outputs == "without_neutral" or not spec.emotions:
        answered = ", ".join(spec.emotions) or "action units alone"
        raise UserError(
            f"{folder}: its network answers {answered}, and the tables of clips and voices are of "
            "all emotions: give a run with --outputs=all or emotions"
        )
    folds = read_json(folder / "folds.json")["folds"]
    files = files_by_fold(folder)
    networks = max(map(len, files), default=1)
    done, wanted = sum(map(len, files)), networks * len(folds)
    if done != wanted:
        what = "folds are" if networks == 1 else f"folds of {networks} networks are"
        raise UserError(
            f"{folder}: {done} of {wanted} {what} trained: start its command again first"
        )
    info = dataset_info(data)
    if read_json(folder / "config.json").get("data_fingerprint") != info.report["fingerprint"]:
        raise UserError(
            f"{folder}: answers about other shards than {data} holds now: build those as they "
            "were, or train it again in another --out"
        )
    kept = _read_folds(folder, config, data)
    # Most networks have no ear whatever the settings say, which are ar5's.
    silent, blind = spec.sound is None, config.video_features == 0
    return CrossValidated(
        inputs="video" if silent else "sound" if blind else "both",
        sound="" if silent else sound_of(info),
        data=data,
        name=info.title,
        owner=info.name,
        config=config,
        folder=folder,
        seeds=(config.seed,),
        tested=tuple(tuple(fold["test"]) for fold in folds),
        answers=[kept.pop(EVERYBODY)],
        alone={given: [outcome] for given, outcome in kept.items()},
        groups=read_groups(data),
        networks=networks,
    )


def has_faces(data: Path) -> bool:
    """Return whether any example of a set shows a face: else there is only sound."""
    return dataset_info(data).report["frames_with_face"] > 0


def has_sound(data: Path) -> bool:
    """Return whether the shards of a set hold sound: else only networks without an ear see it."""
    return dataset_info(data).input_spec.sound is not None


def say_mute(data: Path) -> str:
    """Return what is said of a set of clips whose shards hold no sound."""
    return (
        f"{data}: its shards hold no sound: only 6.8's network without a sound branch is trained "
        "on it. Build the clips with --sound=log_mel for the others, modalities and cross."
    )


def same_clips(data: Sequence[Path]) -> list[list[Path]]:
    """Return folders of shards, those that are builds of the same clips together.

    They have one owner and the same people, and differ in how the sound is seen; emojax's own
    spectrogram comes first, and a build without sound last. Manifests have as many owners as there
    are: theirs are the same where all clips are called alike and have the same labels.
    """
    infos = [dataset_info(folder) for folder in data]
    several = sum(info.name == MANIFEST for info in infos) > 1
    found: dict[Any, list[Path]] = {}
    for folder, info in zip(data, infos, strict=True):
        people = frozenset(
            who for split in info.report["splits"].values() for who in split["people"]
        )
        clips = _clips_of(folder) if several and info.name == MANIFEST else None
        found.setdefault((info.name, people, clips), []).append(folder)

    def place(folder: Path) -> tuple[bool, bool]:
        sound = sound_of(dataset_info(folder))
        return not sound, sound != "log_mel"

    return [sorted(builds, key=place) for builds in found.values()]


@functools.cache
def _clips_of(data: Path) -> frozenset[Any]:
    whole = load_whole(data)
    people = (whole.subjects[index] for index in whole.subject.tolist())
    return frozenset(zip(whole.paths, people, whole.emotion.tolist(), strict=True))


def mark_alike(tested: Sequence[CrossValidated], called: Sequence[Hashable]) -> list[str]:
    """Return what tells those apart that are called alike; nothing of the others.

    Their folders: the last name, as in ` (folds)`, and as many of the parents' as it takes.

    Args:
        tested: cross-validations, each once.
        called: what each is called.
    """
    alike: dict[Hashable, list[int]] = {}
    for place, name in enumerate(called):
        alike.setdefault(name, []).append(place)
    marks = [""] * len(tested)
    for places in alike.values():
        parts = [tested[place].folder.resolve().parts for place in places]
        ends = [""] * len(parts)
        for depth in range(1, max(map(len, parts)) + 1):
            ends = ["/".join(part[-depth:]) for part in parts]
            if len({*ends}) == len(ends):
                break
        for place, end in zip(places, ends, strict=True):
            marks[place] = f" ({end})" if len(places) > 1 else ""
    return marks


def label_each(tested: Sequence[CrossValidated]) -> list[str]:
    """Return what each is called beside the others of its data set.

    By what it sees and hears, and a network other than 6.8's by its name; where two would be called
    alike, their folders tell them apart.
    """
    plain = [" ".join(filter(None, (one.other_model, one.inputs, one.sound))) for one in tested]
    marks = mark_alike(
        tested, [(one.name, label) for one, label in zip(tested, plain, strict=True)]
    )
    return [f"{label}{mark}" for label, mark in zip(plain, marks, strict=True)]


def read_groups(data: Path) -> dict[str, dict[str, str]]:
    """Return what the owner of a data set says of each person; empty where nothing is known."""
    path = data / PEOPLE_FILE
    if not path.exists():
        return {}
    people: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return {who: {name: str(value) for name, value in is_.items()} for who, is_ in people.items()}
