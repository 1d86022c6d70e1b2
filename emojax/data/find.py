"""From what a person types after `--data` to a folder of shards."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from emojax.audio import PRESETS
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.shards import dataset_info
from emojax.data.synthetic.layouts import SetSize
from emojax.errors import UserError
from emojax.labels import emotion_names
from emojax.spec import InputSpec, SpectrogramSpec

DRAWN: dict[str, BuildOptions] = {
    "synthetic": BuildOptions(),
    # The same people, talking: each emotion once. Twelve frames a second are enough for the
    # 20 that a network sees, and drawing and finding them is what the time goes into.
    "synthetic-clips": BuildOptions(
        size=SetSize(pictures=0, clips=6, frames_per_second=12, clip_emotions="crema6"),
        clip_frames=40,
        input_spec=InputSpec(emotions=emotion_names("crema6"), sound=PRESETS["log_mel"]),
    ),
}
"""Sets that are drawn when they are asked for by name, and how."""


def built_folder(name: str | Path) -> Path:
    """Return the folder of shards that is meant: a folder, or the name of one in `data/`.

    Raises:
        UserError: there is none; the message says how to build it.
    """
    path = Path(name)
    beside = Path("data") / path
    if not path.exists() and beside.is_dir():
        path = beside
    dataset_info(path)
    return path


def shards_of(data: str, *, sound: bool) -> Path:
    """Return the folder in which the shards of a data set are, or will be.

    Args:
        data: as for `find_dataset`.
        sound: whether that of a manifest's clips is kept.
    """
    path = Path(data)
    if data in DRAWN:
        return Path("data") / data
    if path.suffix.lower() != ".csv":
        return path
    name = path.resolve().parent.name or path.stem
    return Path("data") / (f"{name}-sound" if sound else name)


def find_dataset(data: str, workers: int = 1, sound: SpectrogramSpec | None = None) -> Path:
    """Return the folder of shards that is meant, built first where that is possible.

    Args:
        data: one of `DRAWN` (`data/NAME`, whatever size was built there; drawn in its
            default size where there is none), a folder of shards, or a manifest CSV
            (built into `data/` and the name of its folder).
        workers: processes for a build.
        sound: how the sound of a manifest's clips is kept, for networks that listen;
            None: not at all.

    Raises:
        UserError: none of these, or the build found a mistake.
    """
    path = shards_of(data, sound=sound is not None)
    if data in DRAWN and not path.exists():
        options = dataclasses.replace(DRAWN[data], workers=workers)
        return build_dataset("synthetic", out=path, options=options)
    if Path(data).suffix.lower() == ".csv":
        options = BuildOptions(workers=workers, input_spec=InputSpec(sound=sound))
        return build_dataset("manifest", source=Path(data), out=path, options=options)
    if not path.exists():
        raise UserError(
            f"{data}: no such data set: give {', '.join(f'`{name}`' for name in DRAWN)}, "
            "a folder of shards, or a manifest.csv"
        )
    dataset_info(path)
    return path
