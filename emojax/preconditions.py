"""What a training needs of its data; asked before its folder is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from emojax.config import TrainConfig
from emojax.data.shards import DatasetInfo, FaceArrays
from emojax.errors import UserError
from emojax.labels import MODALITIES, UNKNOWN
from emojax.spec import InputSpec


def require_people(info: DatasetInfo, split: str, what_for: str) -> None:
    """Refuse a split without people.

    Args:
        info: of the data set.
        split: train, validation or test.
        what_for: it is needed, as the message has it.

    Raises:
        UserError: nobody is in it.
    """
    if info.num_examples[split] == 0:
        raise UserError(
            f"{info.folder}: nobody is in the split `{split}`, {what_for}: "
            "put some people there in the manifest, or leave its column `split` empty"
        )


def require_votes(config: TrainConfig, info: DatasetInfo) -> None:
    """Refuse to aim at raters' votes where nobody voted.

    Raises:
        UserError: the settings ask for votes, and no example has any.
    """
    if config.loss.votes != "none" and not info.report.get("examples_with_votes"):
        raise UserError(
            f"{info.folder}: no example has raters' votes, which loss.votes={config.loss.votes} "
            "aims at: leave it out, or build CREMA-D, or FER2013 beside FER+'s fer2013new.csv"
        )


def labelled(config: TrainConfig, arrays: FaceArrays) -> Bool[np.ndarray, "example 2"]:
    """Return which examples have a known action unit, and which a known emotion.

    Args:
        config: where raters' votes are aimed at, they say an emotion too.
        arrays: labels that the network answers, as `resident.keep_labels` leaves them.
    """
    units = (arrays.action_units != UNKNOWN).any(axis=1)
    emotions = arrays.emotion != UNKNOWN
    if config.loss.votes != "none":
        emotions = emotions | arrays.votes[:, MODALITIES.index(config.loss.votes)].any(axis=1)
    return np.stack([units, emotions], axis=1)


def labels_counted(config: TrainConfig, spec: InputSpec, info: DatasetInfo) -> tuple[bool, bool]:
    """Return whether any training example has a known action unit, and an emotion.

    By the build's own counts: where the shards are streamed nobody has read them yet.

    Args:
        config: of the run.
        spec: what its network answers.
        info: of the data set.
    """
    counts = info.report["splits"]["train"]
    units = any(
        counts["action_units"][name][said]
        for name in spec.action_units
        for said in ("present", "absent")
    )
    emotions = any(number for name, number in counts["emotions"].items() if name != "unknown")
    return units, bool(spec.emotions) and (emotions or config.loss.votes != "none")


def require_labels(config: TrainConfig, where: Path | str, units: bool, emotions: bool) -> None:
    """Refuse to train on what nobody has labelled: the loss would be 0, and nothing be learned.

    Args:
        config: of the training.
        where: its examples come from, for the message.
        units: whether an action unit that is answered is known of any of them.
        emotions: whether an emotion is.

    Raises:
        UserError: neither is known, and there is no teacher to say it; of ar4, no action unit.
    """
    if config.model == "ar4" and not units:
        raise UserError(
            f"{where}: no example to train on has a known action unit, which ar4 learns emotions "
            "from: choose another --model, or data with action units"
        )
    if units or emotions or (config.teachers and config.loss.teacher_weight > 0):
        return
    asked = {"action_units": "action unit", "all": "action unit and no known emotion"}
    raise UserError(
        f"{where}: no example to train on has a known {asked.get(config.outputs, 'emotion')}, so "
        "nothing would be learned: choose other --outputs, or data with such labels"
    )
