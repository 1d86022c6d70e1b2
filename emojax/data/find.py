"""From what a person types after `--data` to a folder of shards."""

from __future__ import annotations

from pathlib import Path

from emojax.data.build import BuildOptions, build_dataset
from emojax.data.shards import dataset_info
from emojax.errors import UserError


def find_dataset(data: str, workers: int = 1) -> Path:
    """Return the folder of shards that is meant, built first where that is possible.

    Args:
        data: `synthetic` (`data/synthetic`, whatever size was built there; drawn in its
            default size where there is none), a folder of shards, or a manifest CSV
            (built into `data/` and the name of its folder).
        workers: processes for a build.

    Raises:
        UserError: none of these, or the build found a mistake.
    """
    options = BuildOptions(workers=workers)
    path = Path(data)
    if data == "synthetic":
        path = Path("data") / data
        if not path.exists():
            return build_dataset("synthetic", out=path, options=options)
    if path.suffix.lower() == ".csv":
        name = path.resolve().parent.name or path.stem
        return build_dataset("manifest", source=path, out=Path("data") / name, options=options)
    if not path.exists():
        raise UserError(
            f"{data}: no such data set: give `synthetic`, a folder of shards, or a manifest.csv"
        )
    dataset_info(path)
    return path
