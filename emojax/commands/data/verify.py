"""`emojax data verify`: a built data set held against what is known of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class Verify:
    """Check a built data set: its counts, files, people and labels, and look for copies.

    `emojax data verify data/fer2013`, or `emojax data verify fer2013` for short. A line per
    check: `ok`, `FOUND` with what was found, or `-` where there is nothing to compare with.
    Status 0: all holds; 1: something was found; 2: it is no data set.

    Copies are pictures that stand in the set more than once: with the same pixels, nearly
    (another crop's edge, light, watermark), or mirrored. A picture that is trained on and
    tested makes a result too good. They are listed in duplicates.csv, a line per pair, with
    a group number of which one may be kept; duplicates.png shows the least alike of each kind.
    """

    name: tyro.conf.Positional[str]
    """The folder that `emojax data build` wrote, or the name of a set in data/."""
    near: float | None = None
    """Likeness from which two pictures are called copies, up to 1: the correlation of their
    detail. Unset: 0.75, at which about 99 of 100 pairs of FER2013 are one photograph, and more
    where strangers are that alike, as in a studio."""
    source: Path | None = None
    """The owner's files, to compare the owner's checksums where emojax knows some: of none of its
    own data sets yet, and the answer says so."""
    out: Path | None = None
    """Folder for duplicates.csv and duplicates.png; beside the shards if not given."""


def run(command: Verify) -> int:
    """Print the table and return the exit status."""
    from emojax.data.checking.verify import PAIRS_FILE, SHEET_FILE, verify
    from emojax.data.find import built_folder

    folder = built_folder(command.name)
    verdict = verify(folder, near=command.near, source=command.source, out=command.out)
    print(verdict.table())
    if verdict.pairs:
        out = command.out or folder
        print(f"{out / PAIRS_FILE}: all pairs; {out / SHEET_FILE}: the least alike of each kind")
    return 0 if verdict.holds else 1
