"""Train a network and report on people it has never seen.

Draws and builds the synthetic set first if there is none: pictures, or clips with
voices for the networks that look at clips (ar3, ar5). A run that was
stopped, by Ctrl-C, SIGTERM or a power cut, goes on when the same command is
given again.

Examples:
  python experiments/train.py --model=ar1
  python experiments/train.py --model=resnet18 --epochs=10
  python experiments/train.py --model=ar4 --extractor=inception_resnet
  python experiments/train.py --model=ar5 --data=clips/manifest.csv
  python experiments/train.py --model=ar1 --data=faces/manifest.csv --out=runs/mine
  python experiments/train.py --model=ar1 --optim.learning-rate=3e-4 --augment.noise=0
  python experiments/train.py --init=runs/resnet18-fer2013-0 --data=faces/manifest.csv --patience=3
  python experiments/train.py --init=runs/ar1-synthetic-0 --data=faces/manifest.csv --frozen "conv*"
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# TensorFlow only reads shards here; its start-up messages are about what it does not do.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tyro
from presets import preset_for

from emojax.audio import PRESETS as PRESET_SPECTROGRAMS
from emojax.cli import run_guarded
from emojax.cluster import (
    ClusterOptions,
    first_alone,
    is_first,
    join_cluster,
    part,
    quiet_others,
    run_together,
)
from emojax.config import TrainConfig
from emojax.data.find import find_dataset
from emojax.experiment import train_run
from emojax.memory import keep_freed_memory
from emojax.models import MODELS, looks_at
from emojax.report import terminal_table
from emojax.run import is_still_to_throw_away
from emojax.spec import SpectrogramSpec
from emojax.stopping import StopTraining, going_on_unheard, signals_interrupt


@dataclasses.dataclass(frozen=True)
class TrainOptions(TrainConfig):
    """The settings of a run, and where it goes."""

    out: Path | None = None
    """Folder of the run; unset: runs/MODEL-DATA-SEED."""
    fresh: bool = False
    """Throw away a run that is in that folder, instead of going on with it."""
    baseline: bool = True
    """Fit logistic regression on pixels too, to stand beside the network."""
    cluster: ClusterOptions = dataclasses.field(default_factory=ClusterOptions)
    """Other processes that train with this one; docs/clusters.md."""
    workers: int = os.cpu_count() or 1
    """Processes that find faces when a data set has to be built."""


def main(arguments: Sequence[str]) -> int:
    """Train, evaluate, report; return the exit status."""
    keep_freed_memory()
    preset = preset_for(arguments)
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    options = tyro.cli(
        TrainOptions,
        args=list(arguments),
        default=TrainOptions(**{name: getattr(preset, name) for name in names}),
        description=f"{__doc__}\nModels: {', '.join(MODELS)}.",
    )
    config = TrainConfig(**{name: getattr(options, name) for name in names})
    hears = looks_at(config.model) == "clip" and config.sound_features != 0
    sound = PRESET_SPECTROGRAMS["log_mel"] if hears else None
    join_cluster(options.cluster, "train.py")
    with quiet_others():
        return _train(config, options, sound)


@going_on_unheard()
def _train(config: TrainConfig, options: TrainOptions, sound: SpectrogramSpec | None) -> int:
    data = first_alone(lambda: find_dataset(options.data, workers=options.workers, sound=sound))
    folder = options.out or Path("runs") / f"{config.model}-{data.name}-{config.seed}"
    fresh = is_still_to_throw_away(folder, options.fresh)
    try:
        with signals_interrupt():
            results = train_run(config, folder, data, fresh=fresh, baseline=options.baseline)
    except StopTraining as stop:
        if is_first():
            again = "the same command, without --fresh," if options.fresh else "the same command"
            print(f"{stop}, saved in {folder}: {again} goes on from there", file=sys.stderr)
        part()
        return 128 + stop.number
    if not is_first():
        return 0
    print(terminal_table(results))
    print(f"wrote {folder / 'results.json'}, {folder / 'report.html'} and the pictures beside them")
    print(f"next: python experiments/export.py {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(run_together("train.py", lambda: run_guarded("train.py", lambda: main(sys.argv[1:]))))
