"""Train one network with several seeds, learning rates and numbers of blocks; one table at the end.

Every combination is a run. Runs with the same number of blocks share a compilation and lie on the
devices one after the other or stacked, whichever is faster here. A run that is done is a
file: a sweep that was stopped, or whose grid has grown, goes on with those that are missing.

Examples:
  python experiments/sweep.py --model=ar1 --seeds 0 1 2 --learning-rates 1e-3 1e-4 1e-5 1e-6
  python experiments/sweep.py --model=resnet18 --block-counts 1-1-1-1 2-2-2-2 --epochs=4
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tyro
from presets import preset_for

from emojax.audio import PRESETS as PRESET_SPECTROGRAMS
from emojax.cli import run_guarded
from emojax.config import TrainConfig
from emojax.data.find import find_dataset
from emojax.memory import keep_freed_memory
from emojax.models import MODELS, looks_at
from emojax.stacking import Stacked, check_stack_size
from emojax.stopping import StopTraining, going_on_unheard, signals_interrupt
from emojax.sweep import (
    Grid,
    best_setting,
    markdown_table,
    read_blocks,
    train_sweep,
    write_rate,
)


@dataclasses.dataclass(frozen=True)
class SweepOptions(TrainConfig):
    """The settings that all runs share, what is varied, and where it goes."""

    seeds: tuple[int, ...] = ()
    """Unset: --seed."""
    learning_rates: tuple[float, ...] = ()
    """Peaks, as 1e-3 1e-4 1e-5 1e-6; unset: --optim.learning-rate."""
    block_counts: tuple[str, ...] = ()
    """Blocks of each stage, as 1-1-1-1 2-2-2-2, or own for the network's; unset: --blocks."""
    out: Path | None = None
    """Folder of the sweep; unset: runs/sweep-MODEL-DATA."""
    fresh: bool = False
    """Throw away a sweep that is in that folder, instead of going on with it."""
    stacked: Stacked = "auto"
    """Whether a device trains several runs at once; auto: whichever way a few steps are faster."""
    stack_size: int = 8
    """How many at most."""


@going_on_unheard()
def main(arguments: Sequence[str]) -> int:
    """Train, print the table; return the exit status."""
    keep_freed_memory()
    preset = preset_for(arguments)
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    options = tyro.cli(
        SweepOptions,
        args=list(arguments),
        default=SweepOptions(**{name: getattr(preset, name) for name in names}),
        description=f"{__doc__}\nModels: {', '.join(MODELS)}.",
        prog="sweep.py",
    )
    check_stack_size(options.stack_size)
    config = TrainConfig(**{name: getattr(options, name) for name in names})
    grid = Grid(
        seeds=options.seeds or (config.seed,),
        learning_rates=options.learning_rates or (config.optim.learning_rate,),
        blocks=tuple(map(read_blocks, options.block_counts)) or (config.blocks,),
    )
    hears = looks_at(config.model) == "clip" and config.sound_features != 0
    data = find_dataset(options.data, sound=PRESET_SPECTROGRAMS["log_mel"] if hears else None)
    folder = options.out or Path("runs") / f"sweep-{config.model}-{data.name}"
    try:
        with signals_interrupt():
            results = train_sweep(
                config,
                folder,
                data,
                grid,
                fresh=options.fresh,
                stacked=options.stacked,
                stack_size=options.stack_size,
            )
    except StopTraining as stop:
        again = "the same command, without --fresh," if options.fresh else "the same command"
        print(f"stopped: {again} goes on with the next run in {folder}", file=sys.stderr)
        return 128 + stop.number
    print(markdown_table(results["runs"]))
    if best := best_setting(results["runs"]):
        print(
            f"best on the validation people: blocks {best['blocks']}, learning rate "
            f"{write_rate(best['learning_rate'])} (mean over {len(grid.seeds)} seeds)"
        )
    print(f"wrote {folder / 'sweep.csv'}, results.json and sweep.png beside it")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("sweep.py", lambda: main(sys.argv[1:])))
