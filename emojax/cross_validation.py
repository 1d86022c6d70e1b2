"""A training for each fold of a data set, compiled once for all, and one table of all people.

The whole data set lies in device memory; who is left out is an argument of the compiled step,
by the examples that an epoch's order names. A fold that is done is kept in a file: a run that
was stopped goes on with the fold that it was at.

```
runs/folds-ar1-crema_d-0/
  config.json      settings, and the data set they were used on
  folds.json       who trains and who is tested in each fold, and what all of them started from
  folds/           scores of the people tested, a file a fold (and network, where several answer)
  folds.csv        a line for each fold
  results.json     figures over everybody, each as somebody whom the network had never seen
```
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from emojax.alone import alone_in_folder
from emojax.ancestors import refuse_known_people
from emojax.config import TrainConfig, network_spec
from emojax.data.folds import MAX_LEFT_OUT, folds_sha256, leave_one_out, load_folds
from emojax.data.resident import Batch, keep_labels, put_on_device, select
from emojax.data.shards import SAME_BYTES, DatasetInfo, FaceArrays, dataset_info, load_whole
from emojax.data.splits import Fold
from emojax.errors import UserError
from emojax.evaluate import Predictions, score
from emojax.files import write_json
from emojax.finite import name_examples
from emojax.lanes import Training
from emojax.losses import output_losses
from emojax.network import build_network, start_variables
from emojax.preconditions import labelled, require_labels, require_votes
from emojax.results import drop_nan, sides_of
from emojax.run import (
    check_run,
    full_disk_is_told,
    has_begun,
    is_thrown_away,
    open_run,
    provenance,
)
from emojax.sharding import make_mesh, replicated
from emojax.spec import InputSpec, read_json
from emojax.stacking import Stacked, Stacking
from emojax.stopping import going_on_unheard
from emojax.trainings import Finished, check_trainings, row_figures, train_all

_SEEDS = 2**32
"""How many there are."""

_START = "start_sha256"
"""In folds.json: the digest of the variables that all folds start from, where `init` names them."""


@going_on_unheard()
@full_disk_is_told
@alone_in_folder
def train_folds(
    config: TrainConfig,
    folder: Path,
    data: Path,
    folds_file: Path | None = None,
    *,
    fresh: bool = False,
    stacked: Stacked = "auto",
    stack_size: int = 8,
    networks: int = 1,
) -> dict[str, Any]:
    """Return the figures of all folds together, having trained those that were not done yet.

    Every fold starts from the same parameters and makes the same number of steps: as many as
    the smallest one has batches for.

    Args:
        config: settings of each training.
        folder: of the run; one that was stopped there goes on.
        data: folder of the shards; its splits are put together.
        folds_file: what `emojax data folds` wrote; None: one person is left out at a time, or
            those together whose files have the same bytes.
        fresh: throw away a run that is there.
        stacked: whether a device trains several folds at once.
        stack_size: how many at most.
        networks: how many answer each fold together, by the mean of what they say: seeds
            `config.seed`, `config.seed + 1`, .. A run goes on with more than it had, never fewer.

    Raises:
        UserError: settings, folds and data do not fit together, or a loss became NaN; the other
            folds are trained all the same.
        StopTraining: someone asked to stop; the folds that are done are kept.
    """
    _refuse_what_needs_more(config)
    if networks < 1:
        raise UserError(f"networks={networks}: wanted 1 or more")
    if config.seed + networks > _SEEDS:
        raise UserError(
            f"seed={config.seed}: {networks} networks have this seed and those after it, and there "
            f"are none beyond {_SEEDS - 1}: use --seed={_SEEDS - networks} or less"
        )
    config = dataclasses.replace(config, input="resident")
    info = dataset_info(data)
    spec = network_spec(config, info.input_spec)
    fingerprint = info.report["fingerprint"]
    fresh = fresh or is_thrown_away(folder)
    check_run(folder, config, spec, data, fingerprint, fresh, kind="folds")
    if not fresh:
        _refuse_fewer(folder, networks)
    require_votes(config, info)
    whole = load_whole(data)
    everybody = _people_on(whole)
    whole = keep_labels(whole, spec, info.input_spec.emotions)
    people = _people_on(whole)
    folds = (
        _without_nobody(
            load_folds(folds_file, everybody, info.report.get(SAME_BYTES, ())), set(people)
        )
        if folds_file
        else _leave_one_out(info, people)
    )
    # Not needed any more by a run that only has to be put together.
    done = not fresh and all(
        (folder / "folds" / f"{_file_of(number, network)}.npz").exists()
        for network in range(networks)
        for number in range(len(folds))
    )
    trained = None if done else start_variables(config, spec)
    if config.init and not done:
        refuse_known_people(config.init, info, people)
    trains = [_examples_of(whole, fold.train) for fold in folds]
    steps = max(1, min(map(len, trains)) // config.batch_size)
    if min(map(len, trains)) == 0:
        raise UserError(f"{data}: a fold has nobody to train on: use other folds")
    told = labelled(config, whole)
    for fold, train in zip(folds, trains, strict=True):
        where = f"{data}: fold {fold.name}"
        require_labels(config, where, *map(bool, np.any(told[train], axis=0)))
    network = build_network(config, spec)
    check_trainings(network, config, spec, steps, "folds")
    resident = put_on_device(whole, replicated(make_mesh()), config.loss.votes)
    # Only now is anything thrown away.
    open_run(folder, config, spec, data, fingerprint, fresh, kind="folds")
    _settle_folds(folder, folds, config.init, trained)

    def training_of(network: int, number: int) -> Training:
        seed, train = config.seed + network, trains[number]
        return Training(
            name=_file_of(number, network),
            about={"fold": folds[number].name} | ({"network": network} if network else {}),
            seed=seed,
            learning_rate=config.optim.learning_rate,
            order=lambda epoch: fold_order(train, seed, number, epoch, steps, config.batch_size),
            tested=_examples_of(whole, folds[number].test),
        )

    trainings = [
        training_of(network, number) for network in range(networks) for number in range(len(folds))
    ]
    rows, stacking = train_all(
        trainings,
        network,
        config,
        spec,
        resident,
        steps,
        folder / "folds",
        stacked=stacked,
        stack_size=stack_size,
        what="folds",
        trained=trained,
        modalities=sides_of(config, spec),
    )
    together = [_together(rows[number :: len(folds)]) for number in range(len(folds))]
    each = _loss_weights(whole, spec)
    weights = [float(each[row.tested].sum()) for row in together]
    _fold_table(whole, spec, together, weights).to_csv(folder / "folds.csv", index=False)

    def batch_of(number: int, step: int) -> str:
        epoch, place = divmod(step - 1, steps)
        seen = trainings[number].order(epoch)[place]
        return name_examples(
            [whole.paths[index] for index in seen], folder / "not_finite.json", step
        )

    _refuse_diverged(folder, rows, trainings, batch_of)
    results = _put_together(config, spec, whole, together, weights, stacking)
    results["networks"] = networks
    results["data"] = {"name": info.name, "folder": str(data), "sha256": folds_sha256(folds)}
    results = drop_nan(results)
    write_json(folder / "results.json", results)
    return results


def _refuse_fewer(folder: Path, networks: int) -> None:
    """Refuse to put together fewer networks than have answered: who reads the folder takes all."""
    held = max(map(len, files_by_fold(folder)), default=0)
    if held > networks:
        raise UserError(
            f"{folder}: {held} networks have answered there, and {networks} "
            f"{'is' if networks == 1 else 'are'} asked for: use --networks={held} or more, or "
            "another --out"
        )


def _people_on(arrays: FaceArrays) -> list[str]:
    return [arrays.subjects[index] for index in arrays.subject.tolist()]


def _without_nobody(folds: Sequence[Fold], people: set[str]) -> tuple[Fold, ...]:
    """Return the folds in which somebody is tested that the network can be asked about.

    Folds are of everybody; of people of whom no face was found it has no example.
    """
    kept = tuple(fold for fold in folds if people & {*fold.test})
    for fold in folds:
        if fold not in kept:
            print(f"fold {fold.name}: no example of {', '.join(fold.test)} for this network")
    return kept


def _refuse_diverged(
    folder: Path,
    rows: Sequence[Finished],
    trainings: Sequence[Training],
    batch_of: Callable[[int, int], str],
) -> None:
    bad = [
        (number, row.diverged_at) for number, row in enumerate(rows) if row.diverged_at is not None
    ]
    if not bad:
        return
    number, step = bad[0]
    mine, several = trainings[number], "network" in trainings[-1].about
    name = mine.about["fold"]
    if several:
        name += f", network {mine.about.get('network', 0)} (seed {mine.seed})"
    # Of several networks each trains every fold.
    what = "trainings" if several else "folds"
    more = f" (and in {len(bad) - 1} more {what})" if len(bad) > 1 else ""
    raise UserError(
        f"fold {name}: the loss became nan at step {step}{more}; {batch_of(number, step)}; "
        f"{len(rows) - len(bad)} {what} are kept, see {folder / 'folds.csv'}: try a smaller "
        "--optim.learning-rate and another --out"
    )


def _refuse_what_needs_more(config: TrainConfig) -> None:
    if config.model == "ar4":
        raise UserError("ar4 is trained in two stages: cross-validate its extractor by itself")
    if config.patience:
        raise UserError("patience: a fold has no people to be watched on: leave it 0")
    if config.input == "streaming":
        raise UserError("folds share what lies in device memory: use --input=resident")
    if config.teachers:
        raise UserError("teachers: only a single run has them yet: leave them out")
    if config.loss.class_weights != "none":
        raise UserError("loss.class_weights: would have to be compiled for each fold: leave none")
    usual = TrainConfig()
    # Not `report_on` and `validate_every`: what trains a single run beside its folds has them.
    if config.watch != usual.watch:
        raise UserError("watch: a fold has no people to be watched on: leave it out")
    if config.checkpoint_minutes != usual.checkpoint_minutes:
        raise UserError("checkpoint_minutes: a fold is kept when it is done: leave it out")


def _leave_one_out(info: DatasetInfo, people: Sequence[str]) -> tuple[Fold, ...]:
    # Every fold lists all the others: of tens of thousands the lists alone fill the memory.
    if (count := len(set(people))) > MAX_LEFT_OUT:
        raise UserError(
            f"{info.folder}: {count} people are too many to leave out one by one (up to "
            f"{MAX_LEFT_OUT}): divide them with  emojax data folds --k  and give what it wrote as "
            "--folds"
        )
    return leave_one_out(info, people)


def _file_of(fold: int, network: int = 0) -> str:
    """Return the name, without its ending, of the file in `folds` that a training leaves."""
    return f"{fold:04d}-{network}" if network else f"{fold:04d}"


def files_by_fold(folder: Path) -> list[list[Path]]:
    """Return the files of each fold, one of each network that answers it.

    Args:
        folder: of a cross-validation.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted((folder / "folds").glob("*.npz")):
        found.setdefault(path.stem.split("-")[0], []).append(path)
    return list(found.values())


def mean_answers(answers: Sequence[Predictions]) -> Predictions:
    """Return what several networks say of the same examples on average; the loss is theirs."""
    return Predictions(
        np.mean([answer.action_units for answer in answers], axis=0),
        np.mean([answer.emotions for answer in answers], axis=0),
        statistics.fmean(answer.loss for answer in answers),
    )


def _together(rows: Sequence[Finished]) -> Finished:
    """Return the networks of one fold as if they were one."""
    sides = [side for side in rows[0].alone if all(side in row.alone for row in rows)]
    return dataclasses.replace(
        rows[0],
        answers=mean_answers([row.answers for row in rows]),
        loss=statistics.fmean(row.loss for row in rows),
        diverged_at=next((row.diverged_at for row in rows if row.diverged_at is not None), None),
        seconds=sum(row.seconds for row in rows),
        compilations=sum(row.compilations for row in rows),
        alone={side: mean_answers([row.alone[side] for row in rows]) for side in sides},
    )


def _examples_of(whole: FaceArrays, people: Sequence[str]) -> np.ndarray:
    wanted = np.isin(np.array(whole.subjects), np.array(people))
    return np.flatnonzero(wanted[whole.subject])


def _mask(whole: FaceArrays, examples: np.ndarray) -> np.ndarray:
    mask = np.zeros(len(whole.emotion), bool)
    mask[examples] = True
    return mask


def _settle_folds(
    folder: Path, folds: Sequence[Fold], init: str, trained: Mapping[str, Any] | None
) -> None:
    """Write down who is tested when, and what is started from; a run goes on with the same only.

    Args:
        folder: of the run.
        folds: of it.
        init: the network that they start from.
        trained: its variables; None: there is none, or nothing is left to start.
    """
    path, digest = folder / "folds.json", folds_sha256(folds)
    held = read_json(path) if path.exists() else {}
    # Those of a command that trained none of them hold nobody.
    if has_begun(folder) and path.exists() and held.get("sha256") != digest:
        raise UserError(
            f"{folder}: holds a run with other folds: choose another --out, or --fresh to throw "
            "that run away"
        )
    plain = [{"name": f.name, "train": list(f.train), "test": list(f.test)} for f in folds]
    started: dict[str, Any] = {}
    if files_by_fold(folder):
        # Of before it was noted: nobody can tell any more.
        started = {name: held[name] for name in (_START,) if name in held}
    elif trained is not None:
        started = {_START: _digest_of(trained)}
    if trained is not None and started and started[_START] != _digest_of(trained):
        raise UserError(
            f"{folder}: its folds started from other parameters than {init} holds now: put back "
            "what it held, choose another --out, or --fresh to throw that run away"
        )
    write_json(path, {"sha256": digest, **started, "folds": plain})


def _digest_of(variables: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(variables)):
        value = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def fold_order(
    train: np.ndarray, seed: int, fold: int, epoch: int, steps: int, batch_size: int
) -> np.ndarray:
    """Return each step's examples, int32 [step, batch]: a new permutation in each epoch.

    Args:
        train: the examples of the fold's training people.
        seed: of the run.
        fold: its number.
        epoch: of the training.
        steps: of an epoch; the odd rest is left out, another one each time.
        batch_size: examples of a step.
    """
    order = np.random.default_rng((seed, fold, epoch)).permutation(train)
    return np.resize(order, (steps, batch_size)).astype(np.int32)


def everybodys(
    tested: np.ndarray, answers: Sequence[Predictions], weights: Sequence[float] = ()
) -> Predictions:
    """Return the folds' answers in the data set's order: a person's were all given in one fold.

    Args:
        tested: the examples, fold after fold.
        answers: of each fold.
        weights: of each fold's loss; without them, or where none weighs anything, it is NaN.
    """
    order = np.argsort(tested, kind="stable")
    told = [
        (answer.loss, weight)
        for answer, weight in zip(answers, weights or [0.0] * len(answers), strict=True)
        if weight
    ]
    whole = sum(weight for _, weight in told)
    return Predictions(
        np.concatenate([answer.action_units for answer in answers])[order],
        np.concatenate([answer.emotions for answer in answers])[order],
        sum(loss * weight for loss, weight in told) / whole if told else math.nan,
    )


def _loss_weights(whole: FaceArrays, spec: InputSpec) -> np.ndarray:
    """Return what each example's loss weighs in that of all: 0 where nobody labelled it."""
    nothing = jnp.zeros((len(whole.emotion), spec.num_outputs))
    labels = Batch(
        frames=None,
        has_frames=None,
        spectrograms=None,
        has_sound=None,
        action_units=jnp.asarray(whole.action_units, jnp.int8),
        action_unit_confidence=jnp.asarray(whole.action_unit_confidence, jnp.float32),
        emotion=jnp.asarray(whole.emotion, jnp.int32),
        emotion_confidence=jnp.asarray(whole.emotion_confidence, jnp.float32),
        emotion_shares=None,
    )
    _, weights = output_losses(nothing, labels, spec)
    return np.asarray(weights).sum(axis=1, dtype=np.float64)


def _put_together(
    config: TrainConfig,
    spec: InputSpec,
    whole: FaceArrays,
    rows: Sequence[Finished],
    weights: Sequence[float],
    stacking: Stacking | None,
) -> dict[str, Any]:
    """Return the figures over everybody; each person's scores are those of their own fold."""
    tested = np.concatenate([row.tested for row in rows])
    seconds = [row.seconds for row in rows]
    mine = select(whole, _mask(whole, tested))
    figures = score(mine, everybodys(tested, [row.answers for row in rows], weights), spec)
    # A run of before they were asked for has no answers to one side alone.
    sides = [side for side in sides_of(config, spec) if all(side in row.alone for row in rows)]
    if sides:
        figures["modalities"] = {
            side: score(mine, everybodys(tested, [row.alone[side] for row in rows]), spec)[
                "overall"
            ]
            for side in sides
        }
    return {
        "model": config.model,
        "config": config.to_dict(),
        "provenance": provenance(),
        "folds": len(rows),
        "seconds": seconds,
        "compilations": [row.compilations for row in rows],
        "cost_over_median": sum(seconds) / (len(seconds) * statistics.median(seconds)),
        "stacking": dataclasses.asdict(stacking) if stacking else None,
        "test": figures,
    }


def _fold_table(
    whole: FaceArrays, spec: InputSpec, rows: Sequence[Finished], weights: Sequence[float]
) -> pd.DataFrame:
    lines = []
    for row, weight in zip(rows, weights, strict=True):
        figures = row_figures(whole, row.tested, row, spec)
        lines.append(
            {
                "fold": row.about["fold"],
                "examples": len(row.tested),
                "emotion_accuracy": figures["emotion_accuracy"],
                "action_unit_accuracy": figures["action_unit_accuracy"],
                "loss": row.answers.loss if weight else None,
                "diverged_at": row.diverged_at,
                "seconds": round(row.seconds, 2),
            }
        )
    return pd.DataFrame(lines).astype({"diverged_at": "Int64"})
