"""What a streamed training draws its batches from: the shards, by way of the host's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from emojax.data.resident import Resident, share_votes
from emojax.data.shards import DatasetInfo, read_batches
from emojax.data.streaming import stream_batches
from emojax.errors import UserError
from emojax.labels import UNKNOWN
from emojax.spec import InputSpec

TRAINING_COLUMNS = (
    "faces",
    "num_frames",
    "action_units",
    "action_unit_confidence",
    "emotion",
    "emotion_confidence",
    "has_sound",
)
"""What a training step needs; `spectrogram` too where the network listens, `votes` and
`votes_total` where they are what it aims at."""

Batches = Callable[[int], Iterator[Resident]]
"""`step -> the batches from that step of the run to the end of its epoch`, on the device."""


class Usable(NamedTuple):
    """The examples of a split that a network can take in."""

    keep: np.ndarray | None
    """Which, in the shards' order; None: all."""
    examples: int
    people: int


def find_usable(info: DatasetInfo, split: str, spec: InputSpec) -> Usable:
    """Return which examples a network is trained on, as `resident.keep_labels` has it.

    A network without an ear never sees an example without a face; how many there were is
    printed. The shards are read for it only where the build counted such examples.

    Raises:
        UserError: the split holds examples, and none of them has a face.
    """
    if spec.sound is not None or not info.report.get("examples_without_face"):
        people = info.report.get("splits", {}).get(split, {}).get("people", {})
        return Usable(None, info.num_examples[split], len(people))
    frames, subjects = [np.zeros(0, np.int32)], [np.zeros(0, str)]
    for batch in read_batches(info, split, ("num_frames", "subject")):
        frames.append(batch["num_frames"])
        subjects.append(batch["subject"])
    seen = np.concatenate(frames) > 0
    count, without = len(seen), int((~seen).sum())
    if count and without == count:
        raise UserError(
            f"all {count} examples are sound without a face, and faces are what is looked at "
            "here: use a network that listens (--model=ar5), or build from clips"
        )
    if without:
        print(f"{without} of {count} examples are sound without a face: left out", flush=True)
    people = np.unique(np.concatenate(subjects)[seen])
    return Usable(seen if without else None, count - without, len(people))


def to_resident(
    columns: Mapping[str, np.ndarray], spec: InputSpec, votes: str = "none"
) -> Resident:
    """Return a batch in the form that the training step takes, still on the host.

    All frames of a clip go to the device, where the step chooses among them with its key:
    copying them costs a fraction of what reading them did.

    Args:
        columns: `TRAINING_COLUMNS` of a batch.
        spec: what the network sees and answers; labels that no output is about are left out.
        votes: whose shares are the targets of emotions, as `resident.share_votes` has it.
    """
    count = len(columns["num_frames"])
    units = slice(None) if spec.action_units else slice(0, 0)
    emotion = columns["emotion"].astype(np.int32)
    return Resident(
        faces=columns["faces"],
        spectrograms=columns.get("spectrogram", np.zeros((count, 0, 0), np.uint8)),
        has_sound=columns.get("has_sound", np.zeros(count)).astype(np.float32),
        num_frames=columns["num_frames"].astype(np.int32),
        action_units=columns["action_units"][:, units].astype(np.int8),
        action_unit_confidence=columns["action_unit_confidence"][:, units].astype(np.float32),
        emotion=emotion if spec.emotions else np.full_like(emotion, UNKNOWN),
        emotion_confidence=columns["emotion_confidence"].astype(np.float32),
        emotion_shares=share_votes(
            columns.get("votes", np.zeros((count, 0, 0), np.int32)),
            votes,
            columns.get("votes_total"),
        ),
    )


def prefetch(
    batches: Iterator[Resident], sharding: jax.sharding.Sharding, ahead: int = 1
) -> Iterator[Resident]:
    """Yield batches in device memory; the next ones are on their way while one is used.

    Args:
        batches: on the host; each process has its own part of a batch.
        sharding: of a whole batch.
        ahead: how many batches are copied before they are asked for.
    """

    def put(batch: Resident) -> Resident:
        parts = (jax.make_array_from_process_local_data(sharding, part) for part in batch)
        return Resident(*parts)

    waiting: list[Resident] = []
    for batch in batches:
        waiting.append(put(batch))
        if len(waiting) > ahead:
            yield waiting.pop(0)
    yield from waiting


def streamed_examples(
    info: DatasetInfo, split: str, usable: Usable, batch_size: int, seed: int, step: int
) -> list[str]:
    """Return the ids of the examples that this process streams for the update from a step on.

    Args:
        info: of the folder of shards.
        split: which is trained on.
        usable: which examples.
        batch_size: examples of a step, over all processes together.
        seed: of the run.
        step: of the run.
    """
    epoch, first_step = divmod(step, max(1, usable.examples // batch_size))
    batches = stream_batches(
        info,
        split,
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
        first_step=first_step,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        columns=("path",),
        keep=usable.keep,
    )
    return next(batches)["path"].tolist()


def make_stream(
    info: DatasetInfo,
    split: str,
    spec: InputSpec,
    usable: Usable,
    *,
    batch_size: int,
    seed: int,
    sharding: jax.sharding.Sharding,
    votes: str = "none",
) -> Batches:
    """Return `step -> batches on the device`, from that step of a run to its epoch's end.

    Args:
        info: of the folder of shards.
        split: which is trained on.
        spec: what the network sees and answers.
        usable: which examples.
        batch_size: examples of a step, over all processes together.
        seed: of the run.
        sharding: of a batch.
        votes: whose shares are the targets of emotions, as `resident.share_votes` has it.
    """
    heard = ["spectrogram"] if spec.sound is not None else []
    voted = ["votes", "votes_total"] if votes != "none" else []
    columns = (*TRAINING_COLUMNS, *heard, *voted)
    buffer: dict[str, np.ndarray] = {}

    def batches(step: int) -> Iterator[Resident]:
        epoch, first_step = divmod(step, max(1, usable.examples // batch_size))
        streamed = stream_batches(
            info,
            split,
            batch_size=batch_size,
            seed=seed,
            epoch=epoch,
            first_step=first_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            columns=columns,
            keep=usable.keep,
            buffer=buffer,
        )
        return prefetch((to_resident(columns, spec, votes) for columns in streamed), sharding)

    return batches
