"""FERPlus: ten raters' votes on each picture of FER2013, from `fer2013new.csv`.

    Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
    Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0

A line belongs to the row of `fer2013.csv` in the same place. The number in the
name does not say which: it falls behind by one for some of the 173 pictures
whose name is empty, those that FERPlus takes out (ten votes for "not a face"),
and four names stand on two lines.

Source: Barsoum et al. (2016), https://github.com/microsoft/FERPlus
"""

from __future__ import annotations

import collections
import re
from pathlib import Path
from typing import NamedTuple

from emojax.data.builders.owner_files import read_label_file
from emojax.data.rows import Vote
from emojax.errors import UserError

VOTES_FILE = "fer2013new.csv"

_ANSWERS = (
    *("neutral", "happiness", "surprise", "sadness", "anger"),
    *("disgust", "fear", "contempt", "unknown", "not a face"),
)
_HEADER = ("usage", "image name", *_ANSWERS[:-1], "nf")
_MAX_BYTES = 32 * 2**20
_COUNT = re.compile(r"[0-9]{1,3}")


class VoteLine(NamedTuple):
    """A line of FERPlus."""

    usage: str
    """`Training`, `PublicTest` or `PrivateTest`; empty: the line can't be read."""
    name: str
    """`fer0000000.png`; empty: FERPlus takes the picture out of the set."""
    votes: tuple[Vote, ...]
    """Answers that got a vote."""


def read_votes(path: Path) -> list[VoteLine]:
    """Return FERPlus's lines, one per row of `fer2013.csv`; a broken one keeps its place, empty.

    Raises:
        UserError: the file can't be read, is too large, or has other columns.
    """
    content = read_label_file(path, path.parent.resolve(), _MAX_BYTES)
    text = content.decode("utf-8-sig", errors="replace")
    header, *lines = text.split("\n")
    if tuple(cell.strip().lower() for cell in header.split(",")) != _HEADER:
        raise UserError(f"{path}: the first line is {header[:120]!r}, wanted FERPlus's columns")
    return [_read_line(line) for line in lines if line.strip()]


def votes_by_name(lines: list[VoteLine]) -> dict[str, VoteLine]:
    """Return the lines by picture name, without names that stand on two of them."""
    counts = collections.Counter(line.name for line in lines)
    return {line.name: line for line in lines if line.name and counts[line.name] == 1}


def _read_line(line: str) -> VoteLine:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(_HEADER) or not all(_COUNT.fullmatch(cell) for cell in cells[2:]):
        return VoteLine("", "", ())
    counts = map(int, cells[2:])
    votes = tuple(
        Vote("face", answer, count) for answer, count in zip(_ANSWERS, counts, strict=True) if count
    )
    return VoteLine(cells[0], cells[1], votes)
