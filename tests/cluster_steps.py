"""A program that takes some steps, alone or as one of several processes, and writes what came out.

`python cluster_steps.py OUT STEPS TYPE CHECKPOINTS [COORDINATOR PROCESSES PROCESS]`; CHECKPOINTS
is a folder where the run begins and ends, or `none`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from emojax.checkpoint import Progress, open_checkpoints, restore, save
from emojax.cluster import ClusterOptions, is_first, join_cluster, part
from emojax.config import TrainConfig
from emojax.data.resident import Resident, place
from emojax.models.resnet import ResNet
from emojax.optim import OptimConfig
from emojax.sharding import replicated
from emojax.spec import InputSpec
from emojax.train import make_trainer, run_order

EXAMPLES, BATCH = 48, 8


def examples(spec: InputSpec) -> Resident:
    """Noise with labels."""
    rng = np.random.default_rng(0)
    units, emotions = len(spec.action_units), len(spec.emotions)
    return Resident(
        faces=rng.integers(0, 256, (EXAMPLES, 1, spec.height, spec.width), np.uint8),
        spectrograms=np.zeros((EXAMPLES, 0, 0), np.uint8),
        has_sound=np.zeros(EXAMPLES, np.float32),
        num_frames=np.ones(EXAMPLES, np.int32),
        action_units=rng.integers(-1, 2, (EXAMPLES, units), np.int8),
        action_unit_confidence=np.ones((EXAMPLES, units), np.float32),
        emotion=rng.integers(0, emotions, EXAMPLES, np.int32),
        emotion_confidence=np.ones(EXAMPLES, np.float32),
        emotion_shares=np.zeros((EXAMPLES, 0), np.float32),
    )


def main(out: str, steps: str, kind: str, checkpoints: str, *company: str) -> None:
    if company:
        coordinator, processes, process = company
        options = ClusterOptions(
            coordinator=coordinator,
            processes=int(processes),
            process=int(process),
            heartbeat_seconds=20,
            join_seconds=60,
        )
        join_cluster(options, "cluster_steps.py")
    spec = InputSpec(height=32, width=32)
    # Augmentation is on, as it is by default.
    # A warm-up would leave the first step without a rate.
    optim = OptimConfig(name="sgd", learning_rate=0.05, schedule="constant")
    config = TrainConfig(batch_size=BATCH, epochs=9, optim=optim)
    model = ResNet(spec.num_outputs, blocks=(1, 1), widths=(8, 16), dtype=np.dtype(kind))
    trainer = make_trainer(model, spec, config, EXAMPLES)

    def widen(leaf: Any) -> Any:
        floating = jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)
        return leaf.astype(kind) if floating else leaf

    everywhere = replicated(trainer.mesh)
    state = jax.jit(lambda tree: jax.tree.map(widen, tree), out_shardings=everywhere)(
        trainer.init()
    )
    manager = None if checkpoints == "none" else open_checkpoints(Path(checkpoints))
    if manager is not None and manager.latest_step() is not None:
        state, _ = restore(manager, state)
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]
    resident = place(examples(spec), everywhere)
    begun = done = int(state.step)
    while done < begun + int(steps):
        epoch, first = divmod(done, trainer.steps_per_epoch)
        for new_state, _, taken in run_order(trainer, state, resident, trainer.order(epoch), first):
            state, done = new_state, done + taken
            if done == begun + int(steps):
                break
    if manager is not None:
        save(manager, done, state, Progress())
        manager.close()
    if is_first():
        leaves = jax.tree.leaves((state.params, state.batch_stats))
        after = map(np.asarray, jax.tree.leaves(state.params))
        moved = [np.abs(new - old).max() for new, old in zip(after, before, strict=True)]
        # Each by more than what two ways may differ by.
        assert min(moved) > 2e-5, moved
        assert all(leaf.dtype == kind for leaf in leaves)
        arrays = {str(place): np.asarray(leaf) for place, leaf in enumerate(leaves)}
        np.savez(out, devices=jax.device_count(), begun=begun, **arrays)
    part()


if __name__ == "__main__":
    main(*sys.argv[1:])
