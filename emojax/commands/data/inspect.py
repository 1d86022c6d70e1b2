"""`emojax data inspect`: what a built data set holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class Inspect:
    """Show what a built data set holds: counts by label, domain and person, and a sheet of faces.

    For example `emojax data inspect synthetic`, or `emojax data inspect data/mine`.
    """

    name: tyro.conf.Positional[Path]
    """The folder that `emojax data build` wrote, or its name in data/."""
    people: bool = False
    """List each person with their split, examples and emotions too."""
    sheet: Path | None = None
    """Where the picture goes; contact_sheet.png beside the shards if not given."""


def run(command: Inspect) -> int:
    """Print the counts, write the sheet, and return the exit status."""
    from emojax.data.find import built_folder
    from emojax.data.shards import dataset_info
    from emojax.data.summary import contact_sheet, counts_table, people_table, write_sheet

    info = dataset_info(built_folder(command.name))
    print(counts_table(info))
    if command.people:
        print(f"\n{people_table(info)}")
    sheet = command.sheet or info.folder / "contact_sheet.png"
    write_sheet(sheet, contact_sheet(info))
    print(f"{sheet}: faces by label")
    return 0
