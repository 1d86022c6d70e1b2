"""CREMA-D's clip names and its table of votes: what was acted, what people saw and heard.

`processedResults/tabulatedVotes.csv` has one row per clip and modality:

    "","A","D","F","H","N","S","fileName","numResponses","agreement", ...
    "100001",0,0,0,1,10,0,"1001_IEO_NEU_XX",11,0.909090909090909, ...

The column without a name numbers the rows, and the number's first digit is the
only place that says what raters were given: 1 the voice, 2 the face, 3 both.
The columns A to S count who named anger, disgust, fear, happiness, neutral and
sadness.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from emojax import labels
from emojax.errors import UserError
from emojax.files import require_file

SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
"""The owner's short names of the twelve sentences."""

LEVELS = ("LO", "MD", "HI", "XX")
"""How strongly a clip was acted: low, medium, high, not specified."""

RATED = labels.emotion_names("crema6")
"""The emotions that raters chose from, in the order of `ClipVotes.counts`."""

MAX_TABLE_BYTES = 32 * 2**20
"""Size from which a table is none; the owner's largest that is read here has 4 MB."""

CLIPS = 7442
"""Clips of the whole data set; each was rated in each way."""

_NAME = re.compile(
    rf"([0-9]{{4}})_({'|'.join(SENTENCES)})_({'|'.join(labels.CREMA_D_EMOTIONS)})"
    rf"_({'|'.join(LEVELS)})"
)
_MODALITY_OF_DIGIT = dict(zip("123", labels.MODALITIES, strict=True))
_COLUMNS = {code[0]: emotion for code, emotion in labels.CREMA_D_EMOTIONS.items()}
_ROW_NUMBER = re.compile(r"[123][0-9]{5}")
_COUNT = re.compile(r"[0-9]{1,6}")


class ClipName(NamedTuple):
    """What the name of a clip says."""

    actor: str
    """Four digits: the person."""
    sentence: str
    """One of `SENTENCES`."""
    emotion: str
    """The emotion that was acted, in our word."""
    level: str
    """One of `LEVELS`."""


class ClipVotes(NamedTuple):
    """Who named what, of one clip given in one way."""

    clip: str
    """The clip's name, without a suffix."""
    modality: str
    """One of `labels.MODALITIES`."""
    counts: tuple[int, ...]
    """Votes for each of `RATED`."""


class VoteTable(NamedTuple):
    """All rows of the table that can be read."""

    rows: tuple[ClipVotes, ...]
    """In the file's order; each clip and modality once."""
    skipped: int = 0
    """Rows that can't be read."""
    first_skipped: str = ""
    """Which was the first of them, and why, in a sentence."""

    @property
    def clips(self) -> set[str]:
        """Names of the clips that were rated."""
        return {row.clip for row in self.rows}


def parse_clip_name(stem: str) -> ClipName | None:
    """Return what a clip's name says, as `1001_IEO_ANG_HI`; None for any other name."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    actor, sentence, code, level = match.groups()
    return ClipName(actor, sentence, labels.CREMA_D_EMOTIONS[code], level)


def read_votes(path: Path) -> VoteTable:
    """Return the table of votes in a file.

    Raises:
        UserError: the file is missing, too large, not the owner's table, or without votes.
    """
    with require_file(path, "CREMA-D's table of votes, tabulatedVotes.csv").open("rb") as file:
        content = file.read(MAX_TABLE_BYTES + 1)
    return parse_votes(content, str(path))


def parse_votes(content: bytes, source: str) -> VoteTable:
    """Return the table of votes; a row that can't be read is skipped and counted.

    Args:
        content: of the file.
        source: its name, for messages.

    Raises:
        UserError: it is too large, no text, lacks a column, or has no votes that can be read.
    """
    lines = read_table(content, source)
    _, header = next(lines, (1, []))
    # The numbers' column has no name.
    wanted = ("", "fileName", *_COLUMNS)
    if absent := [name for name in wanted if name not in header]:
        what = "of row numbers (its name is empty)" if absent[0] == "" else repr(absent[0])
        raise UserError(
            f"{source}: no column {what}: wanted CREMA-D's processedResults/tabulatedVotes.csv "
            "as its owner publishes it"
        )
    places = {name: header.index(name) for name in wanted}
    order = [next(code for code, named in _COLUMNS.items() if named == name) for name in RATED]
    rows: dict[tuple[str, str], ClipVotes] = {}
    skipped, first_skipped = 0, ""
    for number, cells in lines:
        problem = ""
        if len(cells) != len(header):
            problem = f"{len(cells)} fields, the header has {len(header)}"
        else:
            cell = {name: cells[place] for name, place in places.items()}
            counts = [cell[code] for code in order]
            if not _ROW_NUMBER.fullmatch(cell[""]):
                problem = f"row number {cell[''][:20]!r}, wanted six digits that begin with 1, 2, 3"
            elif parse_clip_name(cell["fileName"]) is None:
                problem = f"{cell['fileName'][:40]!r} is no clip's name"
            elif not all(map(_COUNT.fullmatch, counts)):
                problem = f"votes {', '.join(counts)[:60]}, wanted whole numbers"
            else:
                modality = _MODALITY_OF_DIGIT[cell[""][0]]
                row = ClipVotes(cell["fileName"], modality, tuple(map(int, counts)))
                if (row.clip, modality) in rows:
                    problem = f"{row.clip} was rated by {modality} already"
                else:
                    rows[row.clip, modality] = row
        if problem:
            skipped += 1
            first_skipped = first_skipped or f"{source}: line {number}: {problem}"
    if not any(any(row.counts) for row in rows.values()):
        first = f", the first one: {first_skipped}" if skipped else ""
        raise UserError(
            f"{source}: no votes ({skipped} rows can't be read{first}): wanted CREMA-D's "
            "processedResults/tabulatedVotes.csv as its owner publishes it"
        )
    return VoteTable(tuple(rows.values()), skipped, first_skipped)


def read_table(content: bytes, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV with the line that each ends on, blank ones left out.

    Args:
        content: of the file.
        source: its name, for messages.

    Raises:
        UserError: it is too large, no text, or no CSV.
    """
    if len(content) > MAX_TABLE_BYTES:
        raise UserError(f"{source}: over {MAX_TABLE_BYTES} bytes, the owner's are far smaller")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: no text (byte {error.start}): copy it again") from None
    if "\0" in text:
        raise UserError(f"{source}: holds zero bytes: copy it again")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UserError(f"{source}: line {reader.line_num}: not CSV ({error})") from None
