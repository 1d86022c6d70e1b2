"""Train, from CREMA-D's voices, the network for sound that ships inside emojax: 6 emotions.

In order, each step done once and gone on with after a stop:

  1. the data is counted; spectrograms are compared with a checksum;
  2. it is built into shards (data/crema_d_voices), sound alone;
  3. five folds by person: everybody is tested by a network that never heard them;
  4. the network itself, on all but a few people, by whom its temperature is chosen;
  5. it is exported.

CREMA-D (Cao et al. 2014; Open Database License 1.0) is at
https://github.com/CheyneyComputerScience/CREMA-D: clone it and take the recordings with
`git lfs pull`. A `.npz` of spectrograms does as well, where somebody has made one: `clip`, the
names without a suffix, and `log_mel`, uint8 [clips, 64, 96] as `emojax.audio.PRESETS["speech"]`
makes them, 0..255 for -80..0 dB.

Examples:
  python experiments/recipes/crema_d.py --source CREMA-D/
  python experiments/recipes/crema_d.py --source log_mel.npz
  python experiments/recipes/crema_d.py --source log_mel.npz --check-only
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from cooking import check_runs, own_folder, run_recipe
from presets import VOICES

from emojax.archive import read_arrays
from emojax.audio import PRESETS
from emojax.config import TrainConfig
from emojax.cross_validation import train_folds
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.builders.crema_d import RENAMED
from emojax.data.builders.media_files import find_problem
from emojax.data.crema_d_votes import parse_clip_name
from emojax.data.folds import make_folds
from emojax.data.shards import dataset_info
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.export_run import export_run
from emojax.files import write_json
from emojax.labels import emotion_names
from emojax.report import terminal_table
from emojax.spec import InputSpec

CLIPS, PEOPLE = 7_442, 91
"""What the owner published."""

SPECTROGRAMS_SHA256 = "5c85e79a7e7f5e957e76eee14ab0af7cb763f43671bf6e83257cdb0b2c88283c"
"""Of the 5,802 spectrograms (71 people) that the shipped weights were trained on: SHA-256 over
the lines `CLIP SHA256-OF-ITS-BYTES`, sorted by clip."""

_LARGEST_BYTES = 2**30

_SILENCE = 2
"""What spectrograms that were read back from coloured pictures hold at the floor: of 0..255."""


@dataclasses.dataclass(frozen=True)
class RecipeOptions:
    """How the shipped network for voices is made."""

    source: Path
    """CREMA-D's folder with AudioWAV/, or a `.npz` of spectrograms."""
    data: Path = Path("data/crema_d_voices")
    """Where the shards are built."""
    out: Path = Path("runs/crema_d_voices")
    """Folder of the runs and of the artifact."""
    epochs: int = 50
    """Passes of each training."""
    folds: int = 5
    """Parts into which people are divided; each is tested once."""
    seed: int = 0
    """Of everything that is drawn."""
    workers: int = os.cpu_count() or 1
    """Processes that read the sounds."""
    any_copy: bool = False
    """Take spectrograms whose checksum is another one."""
    check_only: bool = False
    """Count and compare the data, and stop."""
    skip_folds: bool = False
    """Train the network itself at once: its figures are then those of few people."""


class Voices(NamedTuple):
    """Spectrograms by the names of their clips, in the order of the names."""

    clips: list[str]
    pictures: np.ndarray  # uint8 [clips, height, width], row 0 the highest frequency

    def sha256(self) -> str:
        """Return what they are known by."""
        lines = "".join(
            f"{clip} {hashlib.sha256(picture.tobytes()).hexdigest()}\n"
            for clip, picture in zip(self.clips, self.pictures, strict=True)
        )
        return hashlib.sha256(lines.encode()).hexdigest()


def read_voices(path: Path) -> Voices:
    """Return the spectrograms of a `.npz`.

    Raises:
        UserError: no such file, or it holds something else.
    """
    arrays = read_arrays(
        path, ("clip", "log_mel"), "spectrograms (.npz)", _LARGEST_BYTES, "make it again"
    )
    spec = PRESETS["speech"]
    wanted = f"wanted clip [n] and log_mel uint8 [n, {spec.height}, {spec.width}]"
    if missing := {"clip", "log_mel"} - set(arrays):
        raise UserError(f"{path}: no array {sorted(missing)[0]!r}: {wanted}")
    clips, pictures = arrays["clip"], arrays["log_mel"]
    if clips.ndim != 1:
        raise UserError(f"{path}: clip is of shape {list(clips.shape)}: {wanted}")
    if pictures.dtype != np.uint8 or pictures.shape != (len(clips), spec.height, spec.width):
        raise UserError(f"{path}: log_mel is {pictures.dtype} {list(pictures.shape)}: {wanted}")
    # One file lacked a letter of its name until 2022.
    names = [RENAMED.get(str(clip), str(clip)) for clip in clips]
    if foreign := [name for name in names if parse_clip_name(name) is None]:
        raise UserError(f"{path}: {foreign[0]!r} is no clip of CREMA-D's, as 1001_DFA_ANG_XX")
    if len(set(names)) != len(names):
        raise UserError(f"{path}: {len(names) - len(set(names))} clips are there twice")
    order = np.argsort(names)
    return Voices([names[at] for at in order], pictures[order])


def check_source(source: Path, any_copy: bool) -> str:
    """Return what the data is known by.

    Raises:
        UserError: no CREMA-D there, or another one.
    """
    if source.is_file():
        voices = read_voices(source)
        digest = voices.sha256()
        if digest != SPECTROGRAMS_SHA256 and not any_copy:
            raise UserError(
                f"{source}: not the spectrograms of the shipped weights (SHA-256 {digest[:12]}..): "
                "use --any-copy to train on them all the same"
            )
        people = len({clip[:4] for clip in voices.clips})
        return f"spectrograms of {len(voices.clips):,} clips, {people} people, SHA-256 {digest}"
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder: give CREMA-D's folder, or a .npz")
    found = len(find_recordings(source))
    if found == 0 or (found != CLIPS and not any_copy):
        why = _first_problem(source)
        raise UserError(
            f"{source}: {found:,} recordings AudioWAV/*.wav; CREMA-D has {CLIPS:,}: "
            + (f"the first that is left out: {why}" if why else "take them with  git lfs pull")
            + (", or use --any-copy" if found else "")
        )
    return f"{found:,} recordings"


def find_recordings(source: Path) -> dict[str, Path]:
    """Return CREMA-D's recordings by the names of their clips; what Git LFS left out is none.

    Args:
        source: the folder that holds AudioWAV/.
    """
    home = source.resolve()
    named = {
        RENAMED.get(path.stem, path.stem): path
        for path in sorted((source / "AudioWAV").glob("*.wav"))
        if find_problem(path, home) is None
    }
    return {clip: path for clip, path in named.items() if parse_clip_name(clip)}


def _first_problem(source: Path) -> str:
    """Return why the first recording that can't be used is none, empty where all can."""
    home = source.resolve()
    for path in sorted((source / "AudioWAV").glob("*.wav")):
        if (problem := find_problem(path, home)) is not None:
            return problem.detail
    return ""


def unpack(voices: Voices, folder: Path) -> dict[str, Path]:
    """Write each spectrogram into a file, and return these by the names of their clips.

    Args:
        voices: the spectrograms.
        folder: where to; files that are there already are written again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {clip: folder / f"{clip}.npy" for clip in voices.clips}
    for path, picture in zip(found.values(), voices.pictures, strict=True):
        np.save(path, floor_at_silence(picture))
    return found


def floor_at_silence(pictures: np.ndarray) -> np.ndarray:
    """Return spectrograms that were read back from pictures as they are trained on, uint8."""
    return np.where(pictures <= _SILENCE, 0, pictures).astype(np.uint8)


def _link(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Return links to files, by the names of their clips: shards do not know where they lie."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {clip: folder / f"{clip}.wav" for clip in files}
    for clip, link in found.items():
        link.unlink(missing_ok=True)
        link.symlink_to(files[clip].resolve())
    return found


def write_manifest(folder: Path, column: str, files: Mapping[str, Path], seed: int) -> Path:
    """Return a manifest of sound alone, a tenth of the people in `validation`.

    Args:
        folder: where it goes.
        column: of the manifest, for the files.
        files: in that folder, by the names of their clips.
        seed: draws those by whom a network is looked at while it trains.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held_out = draw_people([clip[:4] for clip in files], 0.1, seed)
    table = folder / "manifest.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([column, "subject", "emotion", "level", "split"])
        for clip, path in files.items():
            name = parse_clip_name(clip)
            assert name is not None
            split = "validation" if name.actor in held_out else "train"
            rows.writerow([path.name, name.actor, name.emotion, name.level, split])
    return table


def draw_people(people: Sequence[str], share: float, seed: int) -> set[str]:
    """Return a share of the people, at least one."""
    names = sorted(set(people))
    chosen = np.random.default_rng(seed).permutation(names)[: max(1, round(share * len(names)))]
    return set(chosen.tolist())


def build(options: RecipeOptions) -> Path:
    """Return the folder of the shards: sound alone, a tenth of the people in `validation`."""
    spec = InputSpec(emotions=emotion_names("crema6"), sound=PRESETS["speech"])
    settings = BuildOptions(
        input_spec=spec, workers=options.workers, seed=options.seed, clip_frames=1
    )
    source = own_folder(options.data.with_name(f"{options.data.name}-source"), options.source)
    if options.source.is_dir():
        column, files = "audio_path", _link(find_recordings(options.source), source)
    else:
        column, files = "spectrogram_path", unpack(read_voices(options.source), source)
    table = write_manifest(source, column, files, options.seed)
    return build_dataset("manifest", source=table, out=options.data, options=settings)


def config_of(data: Path, epochs: int, seed: int) -> TrainConfig:
    """Return the settings of every training here."""
    return dataclasses.replace(VOICES, data=str(data), epochs=epochs, seed=seed)


def cook(options: RecipeOptions) -> None:
    """Do the steps, in order."""
    print(f"1/5 the data: {check_source(options.source, options.any_copy)}", flush=True)
    if options.check_only:
        return
    print(f"2/5 shards in {options.data}", flush=True)
    data = build(options)
    config = config_of(data, options.epochs, options.seed)
    run, folder = options.out / "network", options.out / "folds"
    check_runs([(config, run)], data)
    if not options.skip_folds:
        print(f"3/5 {options.folds} folds, in {folder}", flush=True)
        table = options.out / "folds.json"
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(table, make_folds(dataset_info(data), k=options.folds, seed=options.seed))
        print(terminal_table(train_folds(config, folder, data, table)))
    print(f"4/5 the network itself, in {run}", flush=True)
    print(terminal_table(train_run(config, run, data, baseline=False)))
    artifact = options.out / "artifact"
    print(f"5/5 the artifact, in {artifact}", flush=True)
    export_run(run, artifact, say=lambda what: print(f"    {what}", flush=True))
    print(f"next: emojax predict voice.wav --model {artifact}")


if __name__ == "__main__":
    sys.exit(run_recipe("crema_d.py", RecipeOptions, cook, __doc__))
