"""From what a person types after `--data` to a folder of shards."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

from emojax.audio import PRESETS
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.claim import OccupiedError, report_of
from emojax.data.shards import INFO_FILE, MANIFEST, dataset_info
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

    A folder that is no build does not hide one: the owner's files of `data/fer2013` may well lie
    in `fer2013`.

    Raises:
        UserError: there is none; the message says how to build it.
    """
    path = Path(name)
    for folder in (path, Path("data") / path):
        if (folder / INFO_FILE).is_file():
            return folder
    # Says what is wrong with it.
    return dataset_info(path).folder


def shards_of(data: str, *, sound: bool) -> Path:
    """Return the folder in which the shards of a data set are, or will be.

    A manifest's are in `data/` and its folder's name, with its own unless that is `manifest`:
    `faces/manifest.csv` in `data/faces`, `faces/old.csv` in `data/faces-old`. Where anything
    else stands there, another manifest's shards among it, a digest of its path is added.

    Args:
        data: as for `find_dataset`.
        sound: whether that of a manifest's clips is kept.
    """
    path = Path(data)
    if data in DRAWN:
        return Path("data") / data
    if path.suffix.lower() != ".csv":
        return path
    own = "" if path.stem.lower() == "manifest" else path.stem
    name = "-".join(part for part in (path.resolve().parent.name, own) if part) or path.stem
    folder = Path("data") / (f"{name}-sound" if sound else name)
    if not _is_for(folder, path):
        digest = hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()
        folder = folder.with_name(f"{folder.name}-{digest[:6]}")
    return folder


def _is_for(folder: Path, manifest: Path) -> bool:
    """Return whether nothing is in the way of a manifest's shards, or an older build of them."""
    if not os.path.lexists(folder):
        return True
    if not folder.is_dir() or manifest.resolve().is_relative_to(folder.resolve()):
        return False
    if not any(folder.iterdir()):
        return True
    report = report_of(folder)
    # Older builds don't name their source: taken for this one's, as they were.
    source = report.get("source") or manifest
    return report.get("name") == MANIFEST and os.path.realpath(source) == os.path.realpath(manifest)


def find_dataset(data: str, workers: int = 1, sound: SpectrogramSpec | None = None) -> Path:
    """Return the folder of shards that is meant, built first where that is possible.

    Args:
        data: one of `DRAWN` (`data/NAME`, whatever size was built there; drawn in its
            default size where there is none), a folder of shards, or a manifest CSV
            (built into the folder that `shards_of` tells).
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
        try:
            return build_dataset("manifest", source=Path(data), out=path, options=options)
        except OccupiedError as error:
            raise UserError(f"{error.found}: move it away") from None
    if not path.exists():
        raise UserError(
            f"{data}: no such data set: give {', '.join(f'`{name}`' for name in DRAWN)}, "
            "a folder of shards, or a manifest.csv"
        )
    dataset_info(path)
    return path
