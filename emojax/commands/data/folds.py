"""`emojax data folds`: who trains and who is tested, in a file that a paper can cite."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

from emojax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Folds:
    """Divide the people of a built data set into folds, and write them down.

    Nobody is ever both trained on and tested. With --k each person is tested in one
    of k folds, which get as equal a share of every emotion and domain as their people
    allow; with --leave-one-out each person is tested alone.

    For example `emojax data folds crema_d --k 5` or
    `emojax data folds data/mine --leave-one-out --out mine_folds.json`.
    Of a set built with --own-groups each file is a person; files with the same bytes are
    tested together.
    The same data, rule and seed give the same file, byte for byte. Its `sha256` names
    the folds: cite it, and whoever has the file can check that they test the same people.
    """

    name: tyro.conf.Positional[str]
    """The data set: the folder that `emojax data build` wrote, or its name under data/."""
    k: int | None = None
    """Number of folds, 2 or more."""
    leave_one_out: bool = False
    """One fold per person."""
    seed: int = 0
    """0 .. 4294967295; orders people who have equally many examples, for --k."""
    out: Path = Path("folds.json")
    """The file to write. One that holds other folds is never replaced."""


def run(command: Folds) -> int:
    """Write the folds, print them as a table, and return the exit status."""
    from emojax.data.find import built_folder
    from emojax.data.folds import folds_table, make_folds
    from emojax.data.shards import dataset_info
    from emojax.files import write_json

    if (command.k is None) != command.leave_one_out:
        found = "both" if command.leave_one_out else "neither"
        raise UserError(f"--k or --leave-one-out, found {found}: say how people are divided")
    if command.leave_one_out and command.seed != 0:
        raise UserError("--seed belongs to --k: leaving out one person at a time draws nothing")
    info = dataset_info(built_folder(command.name))
    fields = make_folds(info, k=command.k, seed=command.seed)
    if command.out.exists() and not _holds(command.out, fields["sha256"]):
        raise UserError(
            f"{command.out}: is there already and holds something else: move it, or choose "
            "another --out"
        )
    write_json(command.out, fields)
    print(folds_table(fields))
    print(
        f"{command.out}: {len(fields['folds'])} folds of {fields['people']} people, "
        f"{fields['examples']} examples\nsha256 {fields['sha256']}"
    )
    return 0


def _holds(path: Path, sha256: str) -> bool:
    """Return whether a file holds the folds with this digest."""
    from emojax.spec import read_json

    try:
        return read_json(path).get("sha256") == sha256
    except (UserError, RecursionError):
        return False
