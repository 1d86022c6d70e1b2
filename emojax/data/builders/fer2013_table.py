"""The original `fer2013.csv`: one picture a line, its 48 x 48 gray values as text.

    emotion,pixels,Usage
    0,70 80 82 ... 106 109,Training

The competition's own file has the same columns in another order
(`icml_face_data.csv`: `emotion, Usage, pixels`). The file has 300 MB, so it is
read line by line and each picture is unpacked at once.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np

from emojax import labels
from emojax.errors import UserError

SPLIT_OF_USAGE: dict[str, str] = {
    "Training": "train",
    "PublicTest": "validation",
    "PrivateTest": "test",
}

SIDE = 48
"""Rows and columns of a picture."""

_COLUMNS = ("emotion", "pixels", "usage")
_MAX_LINE = 2**16
_MAX_LINES = 100_000
_DIGITS = re.compile(r"[0-9 ]*")


class TableRow(NamedTuple):
    """A line of the table, its picture unpacked."""

    number: int
    """Place below the header, 0 the first; empty lines have none."""
    path: Path | None
    """The PNG; None where the line is broken."""
    emotion: str | None
    split: str
    """Empty where the line is broken."""
    problem: str = ""
    """What is wrong with the line; empty where nothing is."""


def read_table(table: Path, work: Path) -> Iterator[TableRow]:
    """Yield each line of the table; the pictures of good ones are in `work` then.

    Args:
        table: the CSV.
        work: folder for the pictures, `00012.png` for row 12.

    Raises:
        UserError: the file can't be read, lacks a column, or has over a hundred
            thousand lines; a picture can't be written.
    """
    try:
        file = table.open("rb")
    except OSError as error:
        raise UserError(f"{table}: can't be read ({error.strerror})") from None
    with file:
        lines = _bounded_lines(file)
        places = _read_header(table, next(lines, b""))
        number = 0
        for line in lines:
            if line is not None and not line.strip():
                continue
            if number == _MAX_LINES:
                raise UserError(f"{table}: over {_MAX_LINES} lines: FER2013 has 35,887")
            yield _read_line(line, number, places, work)
            number += 1


def _bounded_lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines, None for one that is too long to be a picture's."""
    while line := file.readline(_MAX_LINE):
        if len(line) < _MAX_LINE or line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
            pass
        yield None


def _read_header(table: Path, line: bytes | None) -> tuple[int, ...]:
    """Return where emotion, pixels and usage stand."""
    text = (line or b"").decode("utf-8-sig", errors="replace")
    found = [cell.strip().strip('"').lower() for cell in text.split(",")]
    for column in _COLUMNS:
        if found.count(column) != 1:
            raise UserError(
                f"{table}: the first line is {text.strip()[:80]!r}, wanted the columns of "
                "fer2013.csv (emotion, pixels, Usage): give the original file"
            )
    return tuple(found.index(column) for column in _COLUMNS)


def _read_line(line: bytes | None, number: int, places: tuple[int, ...], work: Path) -> TableRow:
    try:
        emotion, gray, split = _parse(line, places)
    except ValueError as error:
        return TableRow(number, None, None, "", f"row {number}: {error}")
    path = work / f"{number:05d}.png"
    done, data = cv2.imencode(".png", gray, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise UserError(
            f"{path}: can't be written ({error.strerror}): make room for 150 MB"
        ) from None
    return TableRow(number, path, emotion, split)


def _parse(line: bytes | None, places: tuple[int, ...]) -> tuple[str, np.ndarray, str]:
    """Return emotion, picture and split.

    Raises:
        ValueError: the line is no picture of FER2013; the message says why.
    """
    if line is None:
        raise ValueError(f"a line of over {_MAX_LINE} bytes")
    try:
        cells = next(csv.reader([line.decode("ascii")], strict=True))
        code, pixels, usage = (cells[place].strip() for place in places)
    except (UnicodeDecodeError, csv.Error, StopIteration, IndexError):
        raise ValueError(f"wanted emotion, pixels and usage, found {line.strip()[:40]!r}") from None
    if code not in _EMOTION_OF_CODE:
        raise ValueError(f"emotion is {code[:20]!r}, wanted 0..6")
    if usage not in SPLIT_OF_USAGE:
        raise ValueError(f"usage is {usage[:20]!r}, wanted {', '.join(SPLIT_OF_USAGE)}")
    values = pixels.split(" ")
    if len(values) != SIDE * SIDE:
        raise ValueError(f"{len(values)} gray values, wanted {SIDE * SIDE}")
    if not _DIGITS.fullmatch(pixels):
        raise ValueError("gray values that are no whole numbers")
    try:
        gray = np.frombuffer(bytes(map(int, values)), np.uint8)
    except ValueError:
        raise ValueError("a gray value out of 0..255") from None
    return _EMOTION_OF_CODE[code], gray.reshape(SIDE, SIDE), SPLIT_OF_USAGE[usage]


_EMOTION_OF_CODE = {str(code): name for code, name in labels.FER2013_CODES.items()}
