"""Measure a network for voices on RAVDESS: 8 emotions, one of 24 people left out at a time.

Nothing of it ships: RAVDESS (Livingstone and Russo 2018) is CC BY-NC-SA 4.0, not for commerce.
Each of the 24 trainings starts from the network for voices that comes with emojax, whose people are
CREMA-D's (--from-scratch: from nothing). Protocol: speech alone, 1,440 utterances; every setting
was chosen on CREMA-D or beforehand, no epoch is picked by the person who is tested, and figures are
over all utterances together, each answered by a network that never heard its speaker.

Example:
  python experiments/recipes/ravdess.py --source ravdess/
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cooking import run_recipe
from crema_d import config_of

from emojax.audio import PRESETS
from emojax.config import TrainConfig
from emojax.cross_validation import train_folds
from emojax.data.build import BuildOptions, build_dataset
from emojax.labels import emotion_names
from emojax.report import terminal_table
from emojax.shipped import VOICES
from emojax.spec import InputSpec


@dataclasses.dataclass(frozen=True)
class RecipeOptions:
    """How RAVDESS is measured."""

    source: Path
    """The folder that holds Actor_01 .. Actor_24, of https://zenodo.org/records/1188976."""
    init: str = VOICES
    """What each training starts from: a network that comes with emojax, or a run, whose shards have
    to be there still."""
    from_scratch: bool = False
    """Start from nothing."""
    data: Path = Path("data/ravdess_voices")
    """Where the shards are built."""
    out: Path = Path("runs/ravdess_voices")
    """Folder of the run."""
    epochs: int = 25
    """Passes of each training."""
    learning_rate: float = 1e-3
    """Half of what the network that is started from had."""
    seed: int = 0
    """Of everything that is drawn."""
    workers: int = os.cpu_count() or 1
    """Processes that read the sounds."""


def ravdess_config(options: RecipeOptions) -> TrainConfig:
    """Return the settings of every training."""
    config = config_of(options.data, options.epochs, options.seed)
    return dataclasses.replace(
        config,
        init="" if options.from_scratch else options.init,
        optim=dataclasses.replace(config.optim, learning_rate=options.learning_rate),
    )


def cook(options: RecipeOptions) -> None:
    """Build the shards and train all folds."""
    spec = InputSpec(emotions=emotion_names("ravdess8"), sound=PRESETS["speech"])
    settings = BuildOptions(input_spec=spec, workers=options.workers, clip_frames=1)
    build_dataset("ravdess", source=options.source, out=options.data, options=settings)
    results = train_folds(ravdess_config(options), options.out, options.data)
    print(terminal_table(results))
    print(f"wrote {options.out / 'results.json'} and {options.out / 'folds.csv'}")


if __name__ == "__main__":
    sys.exit(run_recipe("ravdess.py", RecipeOptions, cook, __doc__, "with the next person"))
