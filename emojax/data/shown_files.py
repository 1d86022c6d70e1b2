"""Which files that a build left out may be opened again, to show them on its page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from emojax.data.builders.owner_files import OUTSIDE
from emojax.data.rows import Rejection


def files_to_show(
    left_out: Sequence[Rejection], homes: Sequence[Path] | None
) -> dict[str, Path | None]:
    """Return the file of each row that was left out, by its key; None for one not to be opened.

    Args:
        left_out: rows that were left out, for whatever reason.
        homes: folders that the files have to lie in; None: links may lead anywhere.
    """
    real_homes = None if homes is None else [home.resolve() for home in homes]
    return {
        rejection.row.key: rejection.row.path if _may_be_shown(rejection, real_homes) else None
        for rejection in left_out
    }


def _may_be_shown(rejection: Rejection, homes: Sequence[Path] | None) -> bool:
    path = rejection.row.path
    if path is None or rejection.reason == OUTSIDE:
        return False
    if homes is None:
        return True
    # A name can be reason enough to leave a row out before anybody looks where its file leads.
    real = os.path.realpath(path)
    # Where a whole folder of the owner's is a link its builder has followed it: none is left.
    return real == os.path.abspath(path) or any(Path(real).is_relative_to(home) for home in homes)
