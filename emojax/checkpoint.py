"""Checkpoints: asynchronous, atomic, the last two kept; orbax does the work."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from emojax.errors import UserError

State = TypeVar("State")


@dataclasses.dataclass
class Progress:
    """What a run has reported so far: it is saved with the state, so that curves have no gap."""

    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """One row per finished epoch."""
    losses: list[float] = dataclasses.field(default_factory=list)
    """Losses of the steps done in the unfinished epoch."""


def open_checkpoints(folder: Path, *, clean: bool = False) -> ocp.CheckpointManager:
    """Return the checkpoints of a folder, which is made where it is missing.

    Args:
        folder: of the checkpoints.
        clean: remove what a run that was killed, or found the disk full, left half written. For
            the one that trains: to another, a checkpoint that is being written looks the same.
    """
    # Orbax logs a dozen lines a save through absl, and hundreds about a full disk; what matters
    # raises.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    return ocp.CheckpointManager(
        folder.absolute(),
        options=ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.LatestN(2),
            cleanup_tmp_directories=clean,
        ),
    )


def save(manager: ocp.CheckpointManager, step: int, state: Any, progress: Progress) -> None:
    """Start writing a checkpoint; a half-written one is never seen by `restore`.

    Raises:
        ValueError: an earlier save met a full disk; the checkpoint before it is whole.
    """
    # The next step donates the state's buffers while orbax still reads them.
    kept = jax.tree.map(jnp.copy, state)
    manager.save(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardSave(kept),
            # `asdict` would copy each epoch so far, and each time: rows never change.
            progress=ocp.args.JsonSave(
                {"history": list(progress.history), "losses": list(progress.losses)}
            ),
        ),
        force=True,
    )


def restore(manager: ocp.CheckpointManager, like: State) -> tuple[State, Progress]:
    """Return the state and the progress of the newest whole checkpoint.

    Args:
        manager: from `open_checkpoints`.
        like: a state of the same shapes, with the shardings wanted.

    Raises:
        UserError: there is none, or it holds another network's state.
    """
    step = manager.latest_step()
    if step is None:
        raise UserError(f"{manager.directory}: holds no checkpoint: train first")
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
        restored = manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target), progress=ocp.args.JsonRestore()
            ),
        )
    except (ValueError, KeyError, FileNotFoundError) as error:
        reason = str(error).split("\n")[0][:200]
        raise UserError(
            f"{manager.directory}/{step}: not a checkpoint of this network ({reason}): "
            "train into another folder or remove it"
        ) from None
    return restored["state"], Progress(**restored["progress"])
