"""`fer2013`: 35,887 faces from the web, as folders of files or as the original table."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emojax import labels
from emojax.data.builders.base import Defaults, FaceBuilder
from emojax.data.builders.fer2013_table import SPLIT_OF_USAGE, TableRow, read_table
from emojax.data.builders.ferplus import VOTES_FILE, VoteLine, read_votes, votes_by_name
from emojax.data.builders.media_files import show_path
from emojax.data.builders.owner_files import OUTSIDE, lies_inside, list_names
from emojax.data.rows import Expected, Rejection, Request, Row, Source
from emojax.errors import UserError
from emojax.picture import PICTURE_SUFFIXES

TABLES = ("fer2013.csv", "icml_face_data.csv")
"""What the original table is called, in the folder or in one named `fer2013` inside."""

FOLDERS = {
    **{"train": "train", "test": "test"},
    **dict.fromkeys(("val", "valid", "validation", "public_test"), "validation"),
}
"""Folders that are read, with their split; the owner's copy has none of validation, others do."""

_USAGE_IN_NAME = re.compile(r"(training|publictest|privatetest)_", re.IGNORECASE)
_SPLIT_IN_NAME = {usage.lower(): split for usage, split in SPLIT_OF_USAGE.items()}
_ADDED = "aug_"

# The owner's folder names, those of a copy that many have (disgusted, fearful, surprised),
# the vocabulary's own, and the table's codes.
_EMOTION_OF_FOLDER: dict[str, str] = {
    **{name: name for name in labels.SEVEN},
    **labels.FER2013_EMOTIONS,
    **{"disgusted": "disgust", "fearful": "fear", "surprised": "surprise"},
    **{str(code): name for code, name in labels.FER2013_CODES.items()},
}

_ONE_IN = 10
_HEAD_BYTES = 2**16


class Fer2013(FaceBuilder):
    """FER2013 in both of its layouts, with FERPlus's votes where they can be joined."""

    DESCRIPTION = (
        "FER2013: 35,887 faces of 48 x 48 gray pixels, found on the web by words for emotions and "
        "sorted into seven. People agree with its labels in about two cases of three. Nobody says "
        "who is on the pictures, so each is a group of its own, and many stand in the set more "
        "than once, across splits too: `emojax data verify` counts them. FERPlus adds ten "
        "raters' votes to each."
    )
    CITATION = """\
@inproceedings{goodfellow2013challenges,
  title = {Challenges in Representation Learning: A Report on Three Machine Learning Contests},
  author = {Goodfellow, Ian J. and Erhan, Dumitru and Carrier, Pierre-Luc and Courville, Aaron
    and Mirza, Mehdi and others},
  booktitle = {Neural Information Processing (ICONIP)},
  pages = {117--124},
  year = {2013},
}
@inproceedings{barsoum2016training,
  title = {Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
    Distribution},
  author = {Barsoum, Emad and Zhang, Cha and Canton Ferrer, Cristian and Zhang, Zhengyou},
  booktitle = {International Conference on Multimodal Interaction (ICMI)},
  pages = {279--283},
  year = {2016},
}"""
    LICENCE = (
        "Web photographs gathered for a competition in 2013; their owners gave no open licence: "
        "train and measure, never redistribute, neither the pictures nor the shards. FERPlus's "
        "votes are MIT."
    )
    SOURCE_HELP = (
        "the folder with train/EMOTION/*.jpg and test/EMOTION/*.jpg, or fer2013.csv or its folder "
        "(from the Kaggle competition `Challenges in Representation Learning: Facial Expression "
        f"Recognition Challenge`); FERPlus's {VOTES_FILE} beside it adds votes"
    )
    SPLIT_RULE = "the owner's: Training, PublicTest as validation, PrivateTest as test"
    DEFAULTS = Defaults(faces="ready")
    EXPECTED = Expected(
        rows=35_887,
        people=None,
        splits={"train": 28_709, "validation": 3_589, "test": 3_589},
    )

    @classmethod
    def read_source(cls, source: Path, request: Request) -> Source:
        """Return the pictures of the table, unpacked as PNG, or those of the folders.

        Where both are there, the table is read. FERPlus's votes are joined to
        the table by place, all or none: where a line is missing from one of them,
        the places mean nothing. The numbers in the folders' file names are random
        ones below 10^8, no places: votes are joined there only to pictures
        under FERPlus's own names (`fer0000012.png`).

        Raises:
            UserError: neither table nor folders are there, or they hold no
                picture of a known emotion.
        """
        table = _find_table(source)
        lines, notes = _find_votes(source if table is None else table.parent, source)
        if table is None:
            read = _read_folders(source, lines)
        else:
            read = _read_table(table, request.work, lines)
        if not read.rows:
            first = f"; the first problem: {read.left_out[0].detail}" if read.left_out else ""
            raise UserError(f"{table or source}: no picture of a known emotion{first}")
        read = dataclasses.replace(read, notes=(*notes, *read.notes))
        return _with_validation(read)


def _find_table(source: Path) -> Path | None:
    """Return the original table, None for folders of pictures."""
    if source.is_file():
        return source
    for folder in (source, source / "fer2013"):
        for name in TABLES:
            table = folder / name
            if table.is_file() and not lies_inside(table, source.resolve()):
                raise UserError(
                    f"{table}: a link that leads out of {source}: give the file itself as --source"
                )
            if table.is_file():
                return table
    if not any(name.lower() in FOLDERS for name in list_names(source)):
        found = (
            "neither fer2013.csv nor train/ and test/ are there"
            if source.is_dir()
            else ("no such file or folder")
        )
        raise UserError(f"{source}: {found}: give {Fer2013.SOURCE_HELP}")
    return None


def _find_votes(*folders: Path) -> tuple[list[VoteLine], list[str]]:
    """Return FERPlus's lines where its file is there, and what has to be said about it."""
    for folder in folders:
        if (folder / VOTES_FILE).is_file():
            try:
                return read_votes(folder / VOTES_FILE), []
            except UserError as error:
                return [], [f"no votes are joined: {error}"]
    return [], []


def _read_table(table: Path, work: Path, lines: list[VoteLine]) -> Source:
    rows: list[Row] = []
    left_out: list[Rejection] = []
    counts: collections.Counter[str] = collections.Counter()
    read = list(read_table(table, work))
    doubt = _doubt_votes(table, read, lines)
    if doubt:
        lines = []
    for line in read:
        key = f"{table.name}#{line.number}"
        row = Row(key=key, path=line.path, subject=key, emotion=line.emotion, split=line.split)
        if line.problem:
            left_out.append(Rejection(row, "broken line", f"{table}: {line.problem}"))
            continue
        if lines:
            row = _with_votes(row, lines[line.number], counts)
        rows.append(row)
    notes = [doubt] if doubt else []
    if lines and (missing := len(rows) - counts["with_votes"]):
        notes.append(
            f"{missing} pictures have no votes: {VOTES_FILE} has no readable line for them"
        )
    return Source(tuple(rows), tuple(notes), tuple(left_out), facts=_facts(counts))


def _doubt_votes(table: Path, read: Sequence[TableRow], lines: Sequence[VoteLine]) -> str:
    """Return why FERPlus's lines are not those of the table in the same places, empty if they are.

    A line that one of them lacks would move the votes of all that follow to other pictures.
    """
    if not lines:
        return ""
    wanted = f"give both files as their owners publish them, {VOTES_FILE} goes by rows"
    if len(read) != len(lines):
        counts = f"{table} has {len(read)} rows, {VOTES_FILE} {len(lines)}"
        return f"no votes are joined: {counts}: {wanted}"
    for row, line in zip(read, lines, strict=True):
        if row.split and line.usage and SPLIT_OF_USAGE.get(line.usage) != row.split:
            return (
                f"no votes are joined: row {row.number} of {table} is of {row.split}, its line in "
                f"{VOTES_FILE} says {line.usage[:20]!r}: {wanted}"
            )
    return ""


def _with_votes(row: Row, line: VoteLine, counts: collections.Counter[str]) -> Row:
    """Return the row with the votes of the line in its place, if that can be read."""
    if not line.usage:
        return row
    counts["with_votes"] += 1
    counts["taken_out_by_ferplus"] += not line.name
    return dataclasses.replace(row, votes=line.votes)


def _facts(counts: collections.Counter[str]) -> dict[str, Any]:
    return {"ferplus": dict(sorted(counts.items()))} if counts else {}


# Folders.


class _Picture(NamedTuple):
    """A file that is called a picture, by the names that lead to it."""

    folder: str
    emotion: str
    name: str
    inside: bool
    """Whether its folder lies in the source: false for a link that leads out."""


def _read_folders(source: Path, lines: list[VoteLine]) -> Source:
    votes = votes_by_name(lines)
    rows: list[Row] = []
    left_out: list[Rejection] = []
    joined: collections.Counter[str] = collections.Counter()
    pictures, ignored, astray = _list_pictures(source)
    with_usage = any(
        picture.folder.lower() == "test" and _USAGE_IN_NAME.match(picture.name)
        for picture in pictures
    )
    for picture in pictures:
        row, problem = _picture_row(source, picture, with_usage)
        if problem:
            left_out.append(Rejection(row, problem[0], f"{source / row.key}: {problem[1]}"))
            continue
        if picture.name in votes:
            joined["with_votes"] += 1
            row = dataclasses.replace(row, votes=votes[picture.name].votes)
        rows.append(row)
    notes = [
        f"{folder}/ holds {count} pictures that are not read: wanted {', '.join(FOLDERS)}, and in "
        "them a folder for each emotion"
        for folder, count in astray.items()
    ]
    if ignored:
        notes.append(f"{ignored} files that are no pictures are ignored")
    if not with_usage and any(row.split == "test" for row in rows):
        notes.append(
            "the file names in test/ don't tell PublicTest from PrivateTest: all of it is test"
        )
    if lines and (missing := len(rows) - joined["with_votes"]):
        notes.append(
            f"{missing} pictures have no votes: their file names don't say which rows of "
            f"fer2013.csv they are, and {VOTES_FILE} goes by rows: give fer2013.csv"
        )
    return Source(tuple(rows), tuple(notes), tuple(left_out), facts=_facts(joined))


def _list_pictures(source: Path) -> tuple[list[_Picture], int, dict[str, int]]:
    """Return the files that are called pictures, sorted.

    Also how many files among them are none, and how many pictures each folder holds that lie
    where none are read.
    """
    found: list[_Picture] = []
    astray: dict[str, int] = {}
    ignored = 0
    home = source.resolve()
    for folder in list_names(source):
        read = folder.lower() in FOLDERS
        if count := _count_astray(source / folder, home, deep=not read):
            astray[show_path(Path(folder))] = count
        if not read:
            continue
        for emotion in list_names(source / folder):
            inside = lies_inside(source / folder / emotion, home)
            for name in list_names(source / folder / emotion):
                if _is_called_picture(name):
                    found.append(_Picture(folder, emotion, name, inside))
                else:
                    ignored += 1
    return found, ignored, astray


def _count_astray(folder: Path, home: Path, *, deep: bool) -> int:
    """Return how many pictures lie in a folder, and with `deep` in the folders in it."""
    if not lies_inside(folder, home):
        return 0
    names = list_names(folder)
    count = sum(_is_called_picture(name) and not (folder / name).is_dir() for name in names)
    if deep:
        count += sum(_count_astray(folder / name, home, deep=False) for name in names)
    return count


def _is_called_picture(name: str) -> bool:
    # What macOS leaves beside a file has its suffix too, after a point.
    return not name.startswith(".") and Path(name).suffix.lower() in PICTURE_SUFFIXES


def _picture_row(
    source: Path, picture: _Picture, with_usage: bool
) -> tuple[Row, tuple[str, str] | None]:
    """Return a picture's row, and the reason and a sentence if it is to be left out."""
    folder, emotion, name, inside = picture
    path = source / folder / emotion / name
    split = FOLDERS[folder.lower()]
    usage = _USAGE_IN_NAME.match(name)
    named = _SPLIT_IN_NAME[usage[1].lower()] if usage else split
    if split == "test" and named == "validation":
        split = "validation"
    written = f"{folder}/{emotion}/{name}"
    key = written.encode("utf-8", "backslashreplace").decode()
    label = _EMOTION_OF_FOLDER.get(emotion.lower())
    row = Row(key=key, path=path, subject=key, emotion=label, split=split)
    problem = None
    if name.startswith(_ADDED):
        problem = "augmented copy", "somebody added this changed copy (aug_)"
    elif label is None:
        known = ", ".join(labels.FER2013_EMOTIONS)
        problem = "unknown label", f"the folder {emotion!r} is none of {known}"
    elif named != split or (split == "test" and with_usage and not usage):
        said = usage[1] if usage else "no usage"
        problem = "split in doubt", f"the name says {said}, the folder {folder!r}"
    elif key != written:
        problem = "bad name", "the name is not UTF-8: name it anew"
    elif not path.is_file():
        problem = "no file", "a folder or a broken link, no file"
    elif not inside or (path.is_symlink() and not lies_inside(path, source.resolve())):
        problem = OUTSIDE, f"a link that leads out of {source}: put the files there"
    return row, problem


# Validation, where the owner's is not there.


def _with_validation(read: Source) -> Source:
    """Return the source with a tenth of train as validation, if it has no validation.

    The content decides, so that exact copies of a picture stay on one side.
    """
    splits = {row.split for row in read.rows}
    if "validation" in splits or "train" not in splits:
        return read
    rows = tuple(
        dataclasses.replace(row, split="validation")
        if row.split == "train" and _content_number(row) % _ONE_IN == 0
        else row
        for row in read.rows
    )
    drawn = sum(row.split == "validation" for row in rows)
    note = (
        f"the owner's validation pictures are not there: {drawn} of train, about one in "
        f"{_ONE_IN}, drawn by a digest of their content, are validation"
    )
    return dataclasses.replace(read, rows=rows, notes=(*read.notes, note))


def _content_number(row: Row) -> int:
    """Return a number that the picture's content gives; of a file that can't be read, its name."""
    content = row.key.encode()
    if row.path is not None:
        with contextlib.suppress(OSError), row.path.open("rb") as file:
            content = file.read(_HEAD_BYTES)
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
