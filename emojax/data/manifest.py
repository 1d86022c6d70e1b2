"""The manifest: a CSV that names one's own pictures, clips and sounds, and their labels.

Columns, in any order (only the first two are required):

    path             file, relative to the manifest's folder (or absolute); empty
                     where there is only sound
    subject          the person
    emotion          a name from `labels.EMOTION_SETS`; empty: unknown
    level            how strongly it was acted, in any word; empty: unknown
    AU01 .. AU26     1 present, 0 absent, empty or -1 unknown (AU1 is AU01)
    AU01_i ..        intensity 0..1 (FACS A..E: 0.2..1); empty or -1: unknown
    AU01_confidence, emotion_confidence   0..1; empty: 1
    domain           where it was recorded; empty: a set of one kind
    split            train, validation or test: for all rows or for none
    audio_path, start_s, end_s            of clips: the sound, the part that counts
    spectrogram_path the sound as a spectrogram that is made already: a `.npy` of
                     [frequency, time], row 0 the highest frequency, uint8 0..255
                     or float 0..1; the sound itself is then not listened to

Comma, semicolon or tab between the fields; UTF-8, with or without a mark.
Paths may climb (`..`) or be absolute: a manifest is its owner's own list, its
files are only ever read, and nothing is written under a name that it gives.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import re
import unicodedata
from collections.abc import Hashable, Sequence
from pathlib import Path

from emojax import labels
from emojax.data.rows import Row
from emojax.data.splits import SPLITS, assert_disjoint
from emojax.errors import UserError
from emojax.labels import UNKNOWN

_SOUND_COLUMNS = ("audio_path", "spectrogram_path")
_PLAIN_COLUMNS = (
    "path",
    "subject",
    "emotion",
    "emotion_confidence",
    "level",
    "domain",
    "split",
    *_SOUND_COLUMNS,
    "start_s",
    "end_s",
)
# A million rows of a hundred bytes are far below.
_MAX_BYTES = 512 * 2**20
_MAX_COLUMNS = 4096
_UNIT_COLUMN = re.compile(r"au0*(\d{1,2})(_i|_confidence)?")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a manifest says, checked."""

    path: Path
    rows: tuple[Row, ...]
    """In the file's order; keys are unique."""
    notes: tuple[str, ...]
    """What was left aside, one sentence each."""
    own_groups: bool = False
    """Nobody says who the people are: each file is taken as one."""

    @property
    def has_splits(self) -> bool:
        """Whether the owner says who trains and who tests."""
        return self.rows[0].split != ""


@dataclasses.dataclass(frozen=True)
class _Line:
    """The cells of one line by column, with what a message about them needs."""

    where: str
    cells: dict[str, str]
    decimal_comma: bool

    def text(self, column: str) -> str:
        return self.cells.get(column, "")

    def number(self, column: str, low: float, high: float, wanted: str) -> float | None:
        """Return a finite number in low..high, None for an empty cell."""
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or math.isinf(value):
            raise self.mistake(column, wanted)
        return value

    def mistake(self, column: str, wanted: str) -> UserError:
        return UserError(f"{self.where}: {column} is {self.text(column)!r}: {wanted}")


def read_manifest(path: Path, *, own_groups: bool = False) -> Manifest:
    """Return the rows of a manifest.

    Args:
        path: the CSV, or a folder that holds it as `manifest.csv`.
        own_groups: where there is no column `subject`, take each file as a
            person of its own (FER2013, whose people are not known).

    Raises:
        UserError: a column that is missing, a value that is none of those
            wanted, a file named twice, a person spelt in two ways or in two
            splits; the message names the file, the line, what was found and
            what is wanted.
    """
    if path.is_dir():
        path = path / "manifest.csv"
    header, lines, notes = _read_lines(path, own_groups)
    rows: list[Row] = []
    first_seen: dict[Hashable, tuple[str, str]] = {}
    spelt: dict[str, tuple[str, str]] = {}
    for line in lines:
        row = _read_row(line, path.parent, header, own_groups)
        number = line.where.rsplit(": ", 1)[-1]
        for mark in (row.key, _part_of_file(row)):
            known, first = first_seen.setdefault(mark, (row.key, number))
            if first != number:
                name = "" if known == row.key else f", as {known!r}"
                raise UserError(
                    f"{line.where}: {row.key!r} stands already in {first}{name}: keep one"
                )
        if "subject" in header:
            known, first = spelt.setdefault(_folded(row.subject), (row.subject, number))
            if known != row.subject:
                raise _two_spellings(line, known, first, row.subject)
        if (row.split == "") != ((rows[0] if rows else row).split == ""):
            raise line.mistake("split", "name the split of every row, or of none")
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: a header and no rows: add one line per picture or clip")
    manifest = Manifest(path, tuple(rows), tuple(notes), "subject" not in header)
    if manifest.has_splits:
        assert_disjoint(
            {split: {row.subject for row in rows if row.split == split} for split in SPLITS},
            str(path),
        )
    return manifest


def _part_of_file(row: Row) -> tuple[str, float, float | None]:
    """Return what a row is about, however its path is written: the file, and from when to when."""
    file = row.path or row.audio_path or row.spectrogram_path
    assert file is not None
    return os.path.abspath(file), row.start_s or 0.0, row.end_s


def _folded(name: str) -> str:
    """Return a name without what people and programs write in more than one way."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _two_spellings(line: _Line, known: str, where: str, found: str) -> UserError:
    # Two ways to store one letter look the same.
    is_alike = unicodedata.normalize("NFC", known) == unicodedata.normalize("NFC", found)
    show = ascii if is_alike else repr
    return UserError(
        f"{line.where}: subject is {show(found)}, which stands in {where} as {show(known)}: write "
        "one person in one way"
    )


def _read_lines(path: Path, own_groups: bool) -> tuple[list[str], list[_Line], list[str]]:
    """Return the columns, the lines below the header, and what is left aside."""
    text = _read_text(path)
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[_Line] = []
    try:
        cells = next((cells for cells in reader if any(cell.strip() for cell in cells)), [])
        header, notes = _read_header(f"{path}: line {reader.line_num}", cells, own_groups)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}: line {reader.line_num}"
            if len(cells) != len(header):
                raise UserError(
                    f"{where}: {len(cells)} fields, the header has {len(header)}: "
                    "put quotes around a field that holds the separator"
                )
            stripped = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            lines.append(_Line(where, stripped, decimal_comma=delimiter == ";"))
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not CSV ({error})") from None
    return header, lines, notes


def _read_text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is no regular file: give the manifest, a CSV")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UserError(
                f"{path}: over {_MAX_BYTES >> 20} MiB: too large for a manifest, give a CSV that "
                "names the files"
            )
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the manifest, a CSV") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text (byte {error.start}): save the table as CSV in UTF-8"
        ) from None
    if not text.strip():
        raise UserError(f"{path}: the file is empty: wanted a header with path and subject")
    if "\0" in text:
        raise UserError(f"{path}: holds zero bytes: save the table as CSV in UTF-8")
    return text


def _read_header(where: str, cells: Sequence[str], own_groups: bool) -> tuple[list[str], list[str]]:
    """Return the columns under their own names, and notes about those that are not used."""
    if len(cells) > _MAX_COLUMNS:
        raise UserError(
            f"{where}: {len(cells)} columns, wanted {_MAX_COLUMNS} at most: give one row per file"
        )
    header: list[str] = []
    ignored: list[str] = []
    other_units: list[str] = []
    for cell in cells:
        name = cell.strip()
        plain = name.lower()
        unit = _UNIT_COLUMN.fullmatch(plain)
        if unit:
            name = f"AU{int(unit[1]):02d}{unit[2] or ''}"
            if name[:4] not in labels.AU_COLUMNS:
                other_units.append(name)
        elif plain in _PLAIN_COLUMNS:
            name = plain
        else:
            ignored.append(name)
        if name in header and name:
            raise UserError(f"{where}: two columns {name!r}: keep one")
        header.append(name)
    required = ("path",) if own_groups else ("path", "subject")
    for name in required:
        # A set of sounds alone has no pictures to name.
        heard = name == "path" and any(column in header for column in _SOUND_COLUMNS)
        if name not in header and not heard:
            remedy = (
                ": name the person on each, or ask for each file to be its own group "
                "where the people are not known (--own-groups)"
                if name == "subject"
                else ": name each file, relative to the manifest's folder"
            )
            found = ", ".join(header) or "nothing"
            raise UserError(f"{where}: no column {name!r} (found {found[:200]}){remedy}")
    notes = []
    if ignored:
        notes.append(f"columns that are not known are ignored: {', '.join(ignored)}")
    if other_units:
        notes.append(f"action units outside the 15 are dropped: {', '.join(other_units)}")
    return header, notes


def _read_row(line: _Line, folder: Path, header: Sequence[str], own_groups: bool) -> Row:
    path, audio, spectrogram = (line.text(name) for name in ("path", *_SOUND_COLUMNS))
    # A row of sound alone goes by the sound's name.
    main = path or audio or spectrogram
    if not main:
        raise line.mistake("path", "name the file")
    name = Path(os.path.normpath(main)).as_posix()
    start = line.number("start_s", 0.0, math.inf, "wanted seconds, 0 or more")
    end = line.number("end_s", 0.0, math.inf, "wanted seconds, 0 or more")
    if end is not None and end <= (start or 0.0):
        raise line.mistake("end_s", f"wanted a moment after start_s ({start or 0:g})")
    spanned = start is not None or end is not None
    if spanned and not (path or audio):
        column = "start_s" if start is not None else "end_s"
        raise line.mistake(column, "a spectrogram counts as a whole, leave it empty")
    key = f"{name}#{_moment(start or 0.0)}-{'' if end is None else _moment(end)}"
    key = key if spanned else name
    subject = line.text("subject")
    if not subject:
        if not own_groups or "subject" in header:
            raise line.mistake("subject", "name the person")
        subject = name
    confidence = line.number("emotion_confidence", 0.0, 1.0, "wanted a number from 0 to 1")
    return Row(
        key=key,
        path=folder / name if path else None,
        subject=subject,
        emotion=_emotion(line),
        emotion_confidence=1.0 if confidence is None else confidence,
        action_units=tuple(_presence(line, column) for column in labels.AU_COLUMNS),
        intensities=tuple(_intensity(line, column) for column in labels.AU_COLUMNS),
        action_unit_confidence=tuple(_confidence(line, column) for column in labels.AU_COLUMNS),
        domain=line.text("domain"),
        split=_split(line),
        level=line.text("level"),
        audio_path=folder / audio if audio else None,
        spectrogram_path=folder / spectrogram if spectrogram else None,
        start_s=start,
        end_s=end,
    )


def _moment(seconds: float) -> str:
    """Return a time for a key: short, but never the same for two times."""
    short = f"{seconds:g}"
    return short if float(short) == seconds else repr(seconds)


def _emotion(line: _Line) -> str | None:
    name = line.text("emotion").lower()
    if not name:
        return None
    try:
        labels.emotion_index(name)
    except UserError as error:
        raise UserError(f"{line.where}: {error}") from None
    return name


def _split(line: _Line) -> str:
    split = line.text("split").lower()
    if split and split not in SPLITS:
        raise line.mistake("split", f"use {', '.join(SPLITS)}")
    return split


def _presence(line: _Line, column: str) -> int:
    wanted = "wanted 1 (present), 0 (absent), or empty (unknown)"
    value = line.number(column, float(UNKNOWN), 1.0, wanted)
    if value is None:
        return UNKNOWN
    if value not in (UNKNOWN, 0, 1):
        raise line.mistake(column, wanted)
    return int(value)


def _intensity(line: _Line, column: str) -> float:
    wanted = "wanted an intensity from 0 to 1 (divide FACS A..E, 1..5, by 5), or empty"
    value = line.number(f"{column}_i", float(UNKNOWN), 1.0, wanted)
    if value is None or value == UNKNOWN:
        return float(UNKNOWN)
    if value < 0:
        raise line.mistake(f"{column}_i", wanted)
    return value


def _confidence(line: _Line, column: str) -> float:
    value = line.number(f"{column}_confidence", 0.0, 1.0, "wanted a number from 0 to 1")
    return 1.0 if value is None else value
