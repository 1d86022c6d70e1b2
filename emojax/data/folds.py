"""The folds of a cross-validation as a file that a paper can cite.

The file says who trains and who is tested in each fold, what is in it, how the
folds were drawn and from which build. It holds no date and no path: the same
data and the same rule give the same bytes. Its `sha256` is that of the folds
alone, names and people as JSON with sorted keys, no spaces and ASCII letters,
so that it stays the same where the data is built again.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emojax.data.shards import SAME_BYTES, DatasetInfo, read_batches
from emojax.data.splits import (
    SPLITS,
    Fold,
    assert_disjoint,
    k_folds_by_subject,
    leave_one_subject_out,
)
from emojax.errors import UserError
from emojax.files import require_file
from emojax.spec import read_json
from emojax.version import __version__

FOLDS_VERSION = 1
"""Raised when a reader of the old form would misread the new one."""

MAX_LEFT_OUT = 2000
"""People up to which each may have a fold of their own: every fold lists all the others."""

_MAX_BYTES = 256 * 2**20
_UNKNOWN = "unknown"
_REMEDY = "write it again with  emojax data folds"


class Labelled(NamedTuple):
    """What dividing people has to know of an example."""

    subject: str
    emotion: str
    """A name of the shards' emotion set, or `unknown`."""
    domain: str


def read_labelled(info: DatasetInfo) -> list[Labelled]:
    """Return all examples of a built data set, whatever their split, sorted.

    Sorted, because the order in which shards hold examples must not decide who
    is tested with whom.

    Raises:
        UserError: a shard is missing, truncated or altered.
    """
    names = (*info.input_spec.emotions, _UNKNOWN)
    found: list[Labelled] = []
    for split in SPLITS:
        for batch in read_batches(info, split, ("subject", "emotion", "domain")):
            columns = (batch["subject"].tolist(), batch["emotion"].tolist(), batch["domain"])
            for subject, emotion, domain in zip(*columns, strict=True):
                # Unknown is -1: the last name.
                found.append(Labelled(subject, names[emotion], str(domain)))
    return sorted(found)


def make_folds(info: DatasetInfo, *, k: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Return the folds of a built data set and their description, as JSON can hold them.

    Args:
        info: of the data set.
        k: how many folds, each with as equal a share of every emotion and domain as
            its people allow; None: one fold per person, who alone is tested.
        seed: orders people who have equally many examples; not used without `k`.

    Files of which each is a person of its own (`--own-groups`) are tested together where they
    have the same bytes, as the build found.

    Raises:
        UserError: too few people, too many to leave out one by one, a seed that can't be one,
            or a damaged shard.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed}: wanted 0 .. 4294967295")
    examples = read_labelled(info)
    subjects = [example.subject for example in examples]
    people = sorted(set(subjects))
    together = _together(info, people)
    if k is None:
        if len(people) > MAX_LEFT_OUT:
            raise UserError(
                f"{info.folder}: {len(people)} people are too many to leave out one by one "
                f"(up to {MAX_LEFT_OUT}): divide them with --k"
            )
        folds = leave_one_out(info, people)
        rule: dict[str, Any] = {"kind": "leave_one_subject_out"}
    else:
        strata = [(example.emotion, example.domain) for example in examples]
        dealt = [together[subject] for subject in subjects]
        folds = k_folds_by_subject(dealt, k, seed, strata)
        folds = tuple(_with_all(fold, together) for fold in folds)
        rule = {"kind": "k_folds", "k": k, "seed": seed, "strata": ["emotion", "domain"]}
    counts = dict.fromkeys(people, 0) | collections.Counter(subjects)
    emotions: dict[str, collections.Counter[str]] = {}
    for example in examples:
        emotions.setdefault(example.subject, collections.Counter())[example.emotion] += 1
    return {
        "version": FOLDS_VERSION,
        "dataset": info.name,
        "fingerprint": str(info.report.get("fingerprint", "")),
        "emojax": __version__,
        "rule": rule,
        "people": len(people),
        "examples": len(examples),
        "sha256": folds_sha256(folds),
        "folds": [
            {
                "name": fold.name,
                "train_examples": sum(counts[person] for person in fold.train),
                "test_examples": sum(counts[person] for person in fold.test),
                "test_emotions": _summed(
                    fold.test, emotions, (*info.input_spec.emotions, _UNKNOWN)
                ),
                "test": list(fold.test),
                "train": list(fold.train),
            }
            for fold in folds
        ],
    }


def leave_one_out(info: DatasetInfo, people: Iterable[str]) -> tuple[Fold, ...]:
    """Return a fold for each person, who alone is tested, or with those of the same bytes.

    Args:
        info: of the data set.
        people: of it, each at least once.
    """
    together = _together(info, sorted({*people}))
    folds = leave_one_subject_out(together.values())
    return tuple(_with_all(fold, together) for fold in folds)


def _together(info: DatasetInfo, people: Sequence[str]) -> dict[str, str]:
    """Return by person the first of those whose files have the same bytes: mostly the same one."""
    together = {person: person for person in people}
    for alike in info.report.get(SAME_BYTES, ()):
        there = [person for person in alike if person in together]
        together |= dict.fromkeys(there, min(there, default=""))
    return together


def _with_all(fold: Fold, together: Mapping[str, str]) -> Fold:
    """Return a fold of the first ones with the others in their places."""
    train, test = (
        tuple(sorted(person for person, first in together.items() if first in side))
        for side in (set(fold.train), set(fold.test))
    )
    return Fold(fold.name, train, test)


def folds_sha256(folds: Iterable[Fold]) -> str:
    """Return the digest that stands for folds in a paper: of their names and people alone."""
    plain = [
        {"name": fold.name, "test": list(fold.test), "train": list(fold.train)} for fold in folds
    ]
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def load_folds(
    path: Path, subjects: Iterable[str], same_bytes: Iterable[Sequence[str]] = ()
) -> tuple[Fold, ...]:
    """Return the folds in a file, checked against the data that they are to divide.

    Args:
        path: what `emojax data folds` wrote.
        subjects: the person on each example of the data.
        same_bytes: groups of people whose files have the same bytes, as the build's report has
            them.

    Raises:
        UserError: no such file or not of this form; its `sha256` is not that of its
            folds; a person both trains and is tested, or is not tested exactly once;
            its people are not those of the data; of a group one trains and one is tested.
    """
    if require_file(path, "the folds of a data set").stat().st_size > _MAX_BYTES:
        raise UserError(f"{path}: larger than {_MAX_BYTES >> 20} MB, no file of folds: {_REMEDY}")
    try:
        fields = read_json(path)
    except RecursionError:
        raise UserError(f"{path}: nested too deep, no file of folds: {_REMEDY}") from None
    version = fields.get("version")
    if version != FOLDS_VERSION:
        raise UserError(
            f"{path}: version {version!r} of folds, this emojax reads {FOLDS_VERSION}: {_REMEDY}"
        )
    entries = fields.get("folds")
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: holds no list of folds: {_REMEDY}")
    folds = tuple(_read_fold(path, number, entry) for number, entry in enumerate(entries))
    found = folds_sha256(folds)
    if found != fields.get("sha256"):
        raise UserError(
            f"{path}: the folds are not those that it was written with (sha256 {found[:12]}..., "
            f"the file says {str(fields.get('sha256'))[:12]}...): take the original, or {_REMEDY}"
        )
    _check_people(path, folds, set(subjects))
    _check_copies(path, folds, same_bytes)
    return folds


def _read_fold(path: Path, number: int, entry: Any) -> Fold:
    where = f"{path}: fold {number}"
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UserError(f"{where} has no name: {_REMEDY}")
    sides: dict[str, tuple[str, ...]] = {}
    for side in ("train", "test"):
        people = entry.get(side)
        if (
            not isinstance(people, list)
            or not people
            or not all(isinstance(person, str) for person in people)
        ):
            raise UserError(f"{where} ({entry['name']!r}): {side} lists no people: {_REMEDY}")
        if len(set(people)) != len(people):
            raise UserError(f"{where} ({entry['name']!r}): {side} names somebody twice: {_REMEDY}")
        sides[side] = tuple(people)
    return Fold(entry["name"], sides["train"], sides["test"])


def _check_people(path: Path, folds: Sequence[Fold], people: set[str]) -> None:
    """Refuse folds that leak, that test somebody never or twice, or that divide other people."""
    for fold in folds:
        assert_disjoint({"train": fold.train, "test": fold.test}, f"{path}: {fold.name}")
        named = {*fold.train, *fold.test}
        for some, what in (
            (named - people, "names people whom the data does not hold"),
            (people - named, "lacks people whom the data holds"),
        ):
            if some:
                raise UserError(
                    f"{path}: {fold.name} {what}: {len(some)}, the first {min(some)!r}: these are "
                    "the folds of other data, or of another build of it: write folds for this one"
                )
    tested = collections.Counter(itertools.chain.from_iterable(fold.test for fold in folds))
    for person in sorted(people):
        if tested[person] != 1:
            raise UserError(
                f"{path}: person {person!r} is tested in {tested[person]} folds, wanted 1: "
                f"{_REMEDY}"
            )
    if len({fold.name for fold in folds}) != len(folds):
        raise UserError(f"{path}: two folds have one name: {_REMEDY}")


def _check_copies(path: Path, folds: Sequence[Fold], same_bytes: Iterable[Sequence[str]]) -> None:
    tested = {person: fold.name for fold in folds for person in fold.test}
    for alike in same_bytes:
        # Of some of them no example may have come.
        first, *others = [person for person in alike if person in tested] or [""]
        for other in others:
            if tested[other] != tested[first]:
                raise UserError(
                    f"{path}: {tested[first]} tests {first!r} and trains on {other!r}, whose files "
                    f"have the same bytes: {_REMEDY},  which tests them together"
                )


def folds_table(fields: Mapping[str, Any], most: int = 100) -> str:
    """Return the folds as lines of text: people and examples on both sides, emotions tested.

    Args:
        fields: what `make_folds` returned.
        most: rows that are shown; a last line tells of the others.
    """
    folds = fields["folds"]
    emotions = [
        name
        for name in dict.fromkeys(name for fold in folds for name in fold["test_emotions"])
        if any(fold["test_emotions"][name] for fold in folds)
    ]
    rows = [["fold", "train people", "examples", "test people", "examples", *emotions]]
    for fold in folds[:most]:
        sides = (
            len(fold["train"]),
            fold["train_examples"],
            len(fold["test"]),
            fold["test_examples"],
        )
        cells = (*sides, *(fold["test_emotions"][name] for name in emotions))
        # A subject's name is the owner's: one that would move the cursor is quoted.
        name = fold["name"] if fold["name"].isprintable() else repr(fold["name"])
        rows.append([name, *map(str, cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    ]
    if len(folds) > most:
        lines.append(f"... and {len(folds) - most} more")
    return "\n".join(lines)


def _summed(
    people: Iterable[str], emotions: Mapping[str, collections.Counter[str]], names: Sequence[str]
) -> dict[str, int]:
    total: collections.Counter[str] = collections.Counter()
    for person in people:
        total.update(emotions[person])
    return {name: total[name] for name in names}
