"""Cross-validate a network: a training for each fold, everybody tested by one that never saw them.

Without --folds one person is left out at a time; of a set built with --own-groups, where each file
is a person, files with the same bytes are left out together. The step is compiled once for all
folds; a run that was stopped goes on with the fold that it was at.

Examples:
  emojax data folds data/crema_d --k 5 --out=folds.json
  python experiments/folds.py --model=ar1 --data=data/crema_d --folds=folds.json
  python experiments/folds.py --model=ar1 --data=data/ck_plus --epochs=20
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
from emojax.cross_validation import train_folds
from emojax.data.find import find_dataset
from emojax.memory import keep_freed_memory
from emojax.models import MODELS, looks_at
from emojax.report import terminal_table
from emojax.stacking import Stacked, check_stack_size
from emojax.stopping import StopTraining, going_on_unheard, signals_interrupt


@dataclasses.dataclass(frozen=True)
class FoldOptions(TrainConfig):
    """The settings of each training, who is tested when, and where it goes."""

    folds: Path | None = None
    """What  emojax data folds  wrote; unset: one person is left out at a time, of up to 2000."""
    out: Path | None = None
    """Folder of the run; unset: runs/folds-MODEL-DATA-SEED."""
    fresh: bool = False
    """Throw away a run that is in that folder, instead of going on with it."""
    stacked: Stacked = "auto"
    """Whether a device trains several folds at once; auto: whichever way a few steps are faster."""
    stack_size: int = 8
    """How many at most."""
    networks: int = 1
    """How many answer each fold together, by the mean of what they say; each has a seed of its own
    (seed, seed + 1, ..), and the rest of the settings in common."""


@going_on_unheard()
def main(arguments: Sequence[str]) -> int:
    """Train, put together, report; return the exit status."""
    keep_freed_memory()
    preset = preset_for(arguments)
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    options = tyro.cli(
        FoldOptions,
        args=list(arguments),
        default=FoldOptions(**{name: getattr(preset, name) for name in names}),
        description=f"{__doc__}\nModels: {', '.join(MODELS)}.",
        prog="folds.py",
    )
    check_stack_size(options.stack_size)
    config = TrainConfig(**{name: getattr(options, name) for name in names})
    hears = looks_at(config.model) == "clip" and config.sound_features != 0
    data = find_dataset(options.data, sound=PRESET_SPECTROGRAMS["log_mel"] if hears else None)
    folder = options.out or Path("runs") / f"folds-{config.model}-{data.name}-{config.seed}"
    try:
        with signals_interrupt():
            results = train_folds(
                config,
                folder,
                data,
                options.folds,
                fresh=options.fresh,
                stacked=options.stacked,
                stack_size=options.stack_size,
                networks=options.networks,
            )
    except StopTraining as stop:
        again = "the same command, without --fresh," if options.fresh else "the same command"
        print(f"stopped: {again} goes on with the next fold in {folder}", file=sys.stderr)
        return 128 + stop.number
    print(terminal_table(results))
    print(
        f"{results['folds']} folds in {sum(results['seconds']):.0f} s, "
        f"{results['cost_over_median']:.2f} times as long as so many median ones"
    )
    print(f"wrote {folder / 'results.json'} and {folder / 'folds.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("folds.py", lambda: main(sys.argv[1:])))
