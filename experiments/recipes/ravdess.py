"""Measure a network for voices on RAVDESS: 8 emotions, one of 24 people left out at a time.

Nothing of it ships: RAVDESS (Livingstone and Russo 2018) is CC BY-NC-SA 4.0, not for commerce.
Each of the 24 trainings starts from the network for voices that comes with emojax, whose people are
CREMA-D's (--from-scratch: from nothing). Protocol: speech alone, 1,440 utterances, no epoch is
picked by the person who is tested, and figures are over all utterances together, each answered by a
network that never heard its speaker. What is cut off, the rate and the number of epochs were chosen
on people 01 to 08 (tested four at a time); everything else on CREMA-D. folds.csv has a line for
each person: 09 to 24 were not looked at before, and are right less often (docs/results).
Minutes on a GPU, hours on two cores.

A recording begins with a second of silence and may last longer than the three seconds that a
spectrogram shows: what is quieter than 40 dB below the loudest moment is cut off at both ends, but
for 0.2 s.

Example:
  python experiments/recipes/ravdess.py --source ravdess/
"""

from __future__ import annotations

import dataclasses
import os
import sys
import wave
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from cooking import own_folder, run_recipe
from crema_d import config_of
from tqdm import tqdm

from emojax.audio import PRESETS
from emojax.config import TrainConfig
from emojax.cross_validation import train_folds
from emojax.data.build import BuildOptions, build_dataset
from emojax.errors import UserError
from emojax.labels import emotion_names
from emojax.report import terminal_table
from emojax.shipped import VOICES
from emojax.spec import InputSpec
from emojax.video import read_sound

RATE_HZ = PRESETS["speech"].sample_rate_hz

UTTERANCES, PEOPLE = 1_440, 24
"""What the owner published of speech."""

_QUIET_DB, _MOMENT_S, _KEPT_S = -40.0, 0.02, 0.2


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
    epochs: int = 90
    """Passes of each training."""
    learning_rate: float = 3e-3
    """At its highest."""
    seed: int = 0
    """Of everything that is drawn."""
    networks: int = 1
    """How many answer for each person together, by the mean of what they say: seeds `seed`,
    `seed + 1`, .. Given later, a run goes on with more than it had."""
    workers: int = os.cpu_count() or 1
    """Processes that read the sounds."""
    any_copy: bool = False
    """Take a source that has not all utterances."""


def trim(sound: np.ndarray) -> np.ndarray:
    """Return a sound without the silence at its ends.

    Args:
        sound: [samples], at `RATE_HZ`.
    """
    moment = round(_MOMENT_S * RATE_HZ)
    whole = sound[: len(sound) // moment * moment].reshape(-1, moment)
    power = np.square(whole, dtype=np.float64).mean(axis=1)
    heard = np.flatnonzero(power > power.max(initial=0.0) * 10 ** (_QUIET_DB / 10))
    if heard.size == 0:
        return sound
    kept = round(_KEPT_S * RATE_HZ)
    return sound[max(0, heard[0] * moment - kept) : (heard[-1] + 1) * moment + kept]


def write_trimmed(source: Path, out: Path, *, any_copy: bool = False) -> Path:
    """Write each utterance of speech as trimmed, unless it is there, and return the folder.

    Args:
        source: the owner's folder.
        out: has the source's utterances afterwards, and no others.
        any_copy: take fewer than all.

    Raises:
        UserError: no utterance in the source, not all of them, or one that can't be read; the
            folder is not the recipe's own.
    """
    # The owner's archives unpack into each other: what is there twice is taken once.
    found = {path.name: path for path in sorted(source.glob("**/Actor_*/03-01-*.wav"))}
    if not found:
        raise UserError(
            f"{source}: no Actor_01/03-01-..wav there: give RAVDESS's speech, unpacked from "
            "https://zenodo.org/records/1188976"
        )
    people = {path.parent.name for path in found.values()}
    if (len(found), len(people)) != (UTTERANCES, PEOPLE) and not any_copy:
        raise UserError(
            f"{source}: {len(found):,} utterances of {len(people)} people; RAVDESS has "
            f"{UTTERANCES:,} of {PEOPLE}: unpack its archive again, or use --any-copy"
        )
    own_folder(out, source)
    wanted: set[Path] = set()
    for name, path in tqdm(sorted(found.items()), desc="trim", unit="sound", disable=None):
        target = out / path.parent.name / name
        wanted.add(target)
        # Of the same source, and not of another one that was given before, or at another rate.
        if (
            target.exists()
            and target.stat().st_mtime_ns == path.stat().st_mtime_ns
            and _rate_of(target) == RATE_HZ
        ):
            continue
        sound = read_sound(path, RATE_HZ)
        if sound is None:
            raise UserError(f"{path}: no sound in it: unpack the archive again")
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = target.with_suffix(".part")
        with wave.open(str(whole), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes(np.round(trim(sound) * 32767).astype("<i2").tobytes())
        changed = path.stat()
        os.utime(whole, ns=(changed.st_atime_ns, changed.st_mtime_ns))
        # A kill leaves no half of a sound under its name.
        whole.replace(target)
    for left in {*out.glob("Actor_*/*.wav")} - wanted:
        left.unlink()
    return out


def _rate_of(path: Path) -> int:
    try:
        with wave.open(str(path)) as file:
            return file.getframerate()
    except (wave.Error, EOFError):
        # The machine lost its power before it was on the disk.
        return 0


def ravdess_config(options: RecipeOptions) -> TrainConfig:
    """Return the settings of every training."""
    config = config_of(options.data, options.epochs, options.seed)
    return dataclasses.replace(
        config,
        init="" if options.from_scratch else options.init,
        optim=dataclasses.replace(config.optim, learning_rate=options.learning_rate),
    )


def cook(options: RecipeOptions) -> None:
    """Trim the utterances, build the shards and train all folds."""
    trimmed = options.data.with_name(f"{options.data.name}-source")
    source = write_trimmed(options.source, trimmed, any_copy=options.any_copy)
    spec = InputSpec(emotions=emotion_names("ravdess8"), sound=PRESETS["speech"])
    settings = BuildOptions(input_spec=spec, workers=options.workers, clip_frames=1)
    build_dataset("ravdess", source=source, out=options.data, options=settings)
    results = train_folds(
        ravdess_config(options), options.out, options.data, networks=options.networks
    )
    print(terminal_table(results))
    print(f"wrote {options.out / 'results.json'} and {options.out / 'folds.csv'}")


if __name__ == "__main__":
    sys.exit(run_recipe("ravdess.py", RecipeOptions, cook, __doc__, "with the next person"))
