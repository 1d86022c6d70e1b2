"""Networks that were never trained, and what they answered: tables without an hour of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emojax.config import TrainConfig, network_spec
from emojax.data.folds import make_folds
from emojax.data.resident import keep_labels
from emojax.data.shards import dataset_info, load_whole
from emojax.evaluate import Predictions
from emojax.files import write_json
from emojax.labels import AU_COLUMNS, SEVEN
from emojax.run import open_run
from emojax.tables.outcome import Outcome
from emojax.tables.trained import PictureStudy, Trained
from emojax.trainings import Finished, save_training

PEOPLE, EACH = 8, 16


def make_outcome(
    seed: int, skill: float = 0.6, domains: tuple[str, ...] = ("S1", "S2", "S3", "S4")
) -> Outcome:
    """Answers to the same people's pictures, whatever the seed: some right, some labels unknown."""
    labels, rng = np.random.default_rng(99), np.random.default_rng(seed)
    count = PEOPLE * EACH
    emotion = labels.integers(-1, 7, count)
    units = labels.integers(-1, 2, (count, 15))
    scores = rng.random((count, 7)).astype(np.float32)
    known = np.flatnonzero(emotion >= 0)
    scores[known, emotion[known]] += skill * (rng.random(len(known)) < 0.7)
    unit_scores = np.clip(rng.random((count, 15)) * 0.9 + skill / 3 * (units == 1), 0, 1)
    return Outcome(
        emotion=emotion,
        emotion_scores=np.clip(scores, 0, 1),
        action_units=units,
        unit_scores=unit_scores.astype(np.float32),
        subject=np.repeat([f"P{number:03d}" for number in range(PEOPLE)], EACH),
        domain=np.tile(np.array(domains, str), count // len(domains)),
        path=np.array([f"{number:04d}.png" for number in range(count)]),
        emotions=SEVEN,
        units=AU_COLUMNS,
    )


def make_study(
    name: str = "synthetic",
    domains: tuple[str, ...] = ("S1", "S2", "S3", "S4"),
    seeds: tuple[int, ...] = (0,),
) -> PictureStudy:
    """The three networks under each protocol."""
    networks = ("resnet18", "inception_v4", "inception_resnet")
    runs = {
        (network, protocol): [
            Trained(
                network=network,
                protocol=protocol,
                config=TrainConfig(model=network, seed=seed),
                folder=Path("runs") / network,
                test=make_outcome(100 * place + 10 * turn + seed, 0.3 + 0.2 * place, domains),
                validation=make_outcome(500 + place + seed, 0.5, domains),
                threshold=0.4 if protocol == "E2" else None,
                history=[
                    {"epoch": epoch, "loss": 1 / epoch, "validation_loss": 2 / epoch,
                     "examples_per_second": 50.0}
                    for epoch in (1, 2, 3)
                ],
                parameters=1000,
            )
            for seed in seeds
        ]
        for place, network in enumerate(networks)
        for turn, protocol in enumerate(("E1", "E2", "AU first"))
    }  # fmt: skip
    return PictureStudy(
        Path("data") / name, name, name == "synthetic", runs, make_outcome(7, 0.4, domains)
    )


def finish_folds(folder: Path, data: Path, config: TrainConfig) -> Path:
    """What three folds of a cross-validation leave behind, of a network that is always right."""
    info = dataset_info(data)
    spec = network_spec(config, info.input_spec)
    open_run(folder, config, spec, data, info.report["fingerprint"], False)
    folds = make_folds(info, k=3)
    write_json(folder / "folds.json", folds)
    whole = keep_labels(load_whole(data), spec, info.input_spec.emotions)
    names = np.array([whole.subjects[index] for index in whole.subject])
    (folder / "folds").mkdir()
    for number, fold in enumerate(folds["folds"]):
        tested = np.flatnonzero(np.isin(names, fold["test"]))
        units = np.zeros((len(tested), len(spec.action_units)), np.float32)
        # Neutral, to a network that does not answer it, is beyond its last emotion.
        emotions = np.eye(7, dtype=np.float32)[whole.emotion[tested], : len(spec.emotions)]
        right = Predictions(units, emotions, 0.1)
        done = Finished({"fold": fold["name"]}, tested, right, 0.5, None, 1.0, 0)
        save_training(folder / "folds" / f"{number:04d}.npz", done)
    return folder
