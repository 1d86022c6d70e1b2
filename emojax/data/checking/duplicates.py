"""Pictures that stand in a data set more than once: exact, near and mirrored copies.

Two crops are compared by their detail: shrunk to 24 x 20, freed of what a
Gaussian of one pixel keeps, shifted and scaled to mean 0 and length 1. The
likeness of two crops is the dot product, the normalised correlation, and every
pair is compared: no hash, so no copy above the threshold is missed. Light,
contrast, a watermark or another JPEG quality change it little; another person
in the same light has other detail.

The threshold, measured on FER2013 (35,887 faces, 48 x 48). A face is nearly its
own mirror image, so a face and a mirrored one are alike by chance as often as
two faces are, and true mirrored copies are few. Pairs of different pixels by
likeness, in steps of 0.02:

    from       0.60  0.62  0.64  0.66  0.68  0.70  0.72  0.74  0.76 .. 0.94
    as it is   1606   949   581   410   276   296   256   262   236 .. 335
    mirrored    886   448   219   127    63    34     5     8     0 .. 12

What chance gives has died out at 0.74; the copies go on. Looked at by eye, 68 of
72 pairs drawn from 0.72..0.75 and 71 of 72 from 0.75..0.80 were one photograph.

Where all faces look straight into one lamp, strangers are far more alike: among
5,040 drawn faces, without a copy, 81,255 pairs pass 0.75, and 62,642 mirrored
ones. So the mirrored pairs are counted in each set, and the threshold is raised
until they are few beside the others.
"""

from __future__ import annotations

import collections
import csv
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

NEAR = (0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
"""Likeness from which two crops are called copies: the first one that chance hardly reaches."""

MAX_PAIRS = 200_000
"""Pairs of a kind that are listed at most: a set of one picture has half of n squared."""

KINDS = ("exact", "near", "mirrored")
Kind = Literal["exact", "near", "mirrored"]

_SHAPE = (24, 20)
_BLUR = 1.0
_FLAT = 0.25
_ROWS, _COLUMNS = 1024, 8192
_FEW_MIRRORED = 20
_CHANCE_SHARE = 0.1


class Look(NamedTuple):
    """What is kept of a crop to compare it by."""

    digest: bytes
    """Of its pixels."""
    detail: np.ndarray
    """float16 [480], length 1; zeros for a crop without detail, which is like no other."""


class Pair(NamedTuple):
    """Two examples that show one picture."""

    kind: Kind
    likeness: float
    """1 for the same pixels."""
    first: int
    second: int
    """Places in the list that was searched, the first one smaller."""


def look_at(crop: np.ndarray) -> Look:
    """Return what a crop is compared by.

    Args:
        crop: uint8 [height, width], gray.
    """
    small = cv2.resize(crop, _SHAPE[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), _BLUR)
    detail -= detail.mean()
    length = float(np.linalg.norm(detail))
    # Below a quarter of a gray value per pixel there is only the noise of compression.
    flat = length < _FLAT * np.sqrt(detail.size)
    detail = np.zeros_like(detail) if flat else detail / length
    digest = hashlib.blake2b(np.ascontiguousarray(crop).tobytes(), digest_size=16).digest()
    return Look(digest, detail.astype(np.float16).ravel())


class Found(NamedTuple):
    """What a search gives."""

    pairs: tuple[Pair, ...]
    """Exact ones first, then the most alike."""
    near: float | None
    """Likeness from which a pair counts; None: strangers are too alike for any to be told."""


def find_duplicates(
    looks: Sequence[Look], people: Sequence[str], near: float | None = None
) -> Found:
    """Return all pairs that show one picture.

    Near and mirrored copies are looked for between different people only:
    pictures of one person in one room are alike, and a person never crosses
    splits.

    Args:
        looks: one per example.
        people: who is on it; one of a kind each where nobody knows.
        near: likeness from which a pair counts, 0..1; None: one of `NEAR`, as the set needs.
    """
    _, person = np.unique(np.array(people, str), return_inverse=True)
    details = np.stack([look.detail for look in looks]) if looks else np.zeros((0, 480), "f2")
    digests = [look.digest for look in looks]
    exact = [
        Pair("exact", 1.0, first, second)
        for first, second in itertools.islice(_exact_pairs(digests), MAX_PAIRS)
    ]

    def search(kind: Kind, threshold: float) -> list[Pair]:
        pairs = (
            Pair(kind, likeness, first, second)
            for first, second, likeness in _alike(details, person, threshold, kind == "mirrored")
            if digests[first] != digests[second]
        )
        return list(itertools.islice(pairs, MAX_PAIRS))

    plain, mirrored, threshold = [], [], None
    for step in NEAR if near is None else (near,):
        plain, mirrored = search("near", step), search("mirrored", step)
        if near is not None or _beats_chance(len(plain), len(mirrored), step):
            threshold = step
            break
    else:
        plain, mirrored = [], []
    best: dict[tuple[int, int], Pair] = {}
    for pair in sorted((*plain, *mirrored), key=lambda pair: -pair.likeness):
        # A face that is symmetric is like its copy both ways round.
        best.setdefault((pair.first, pair.second), pair)
    pairs = sorted(
        (*exact, *best.values()),
        key=lambda pair: (KINDS.index(pair.kind), -pair.likeness, pair.first, pair.second),
    )
    return Found(tuple(pairs), threshold)


def _beats_chance(plain: int, mirrored: int, threshold: float) -> bool:
    """Return whether the pairs are more than chance gives, which the mirrored ones tell.

    A few mirrored pairs may be true copies. Once the lowest threshold has been
    found to be too low, a single pair above a higher one proves nothing.
    """
    if threshold == NEAR[0] and mirrored <= _FEW_MIRRORED:
        return True
    return mirrored + 1 <= _CHANCE_SHARE * plain


def _exact_pairs(digests: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    places: dict[bytes, list[int]] = {}
    for place, digest in enumerate(digests):
        places.setdefault(digest, []).append(place)
    for members in places.values():
        yield from itertools.combinations(members, 2)


def _alike(
    details: np.ndarray, person: np.ndarray, near: float, mirrored: bool
) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs of different people that are alike, by tiles of one matrix product."""
    count = len(details)
    some_repeat = len(np.unique(person)) < count
    for left in range(0, count, _COLUMNS):
        columns = details[left : left + _COLUMNS].astype(np.float32)
        if mirrored:
            columns = columns.reshape(-1, *_SHAPE)[:, :, ::-1].reshape(len(columns), -1)
        for top in range(0, min(left + _COLUMNS, count), _ROWS):
            likeness = details[top : top + _ROWS].astype(np.float32) @ columns.T
            if some_repeat:
                same = person[top : top + _ROWS, None] == person[None, left : left + _COLUMNS]
                likeness[same] = -1
            rows, places = np.nonzero(likeness >= near)
            once = top + rows < left + places
            rows, places = rows[once][:MAX_PAIRS], places[once][:MAX_PAIRS]
            values = np.minimum(likeness[rows, places], 1.0).tolist()
            yield from zip((top + rows).tolist(), (left + places).tolist(), values, strict=True)


def group(pairs: Sequence[Pair]) -> dict[int, int]:
    """Return the group of each example that has a copy: 0, 1, .. in the order of the examples.

    Copies of copies are in one group, so that one of each group can be kept.
    """
    root: dict[int, int] = {}

    def find(place: int) -> int:
        while root.setdefault(place, place) != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    for pair in pairs:
        one, other = find(pair.first), find(pair.second)
        root[max(one, other)] = min(one, other)
    numbers: dict[int, int] = {}
    return {place: numbers.setdefault(find(place), len(numbers)) for place in sorted(root)}


class Example(NamedTuple):
    """What is said of an example beside its pictures."""

    split: str
    path: str
    subject: str
    emotion: str
    """Empty: unknown."""


def conflicts(pair: Pair, examples: Sequence[Example]) -> bool:
    """Return whether one picture stands under two emotions."""
    one, other = examples[pair.first].emotion, examples[pair.second].emotion
    return bool(one and other and one != other)


def count_by_splits(pairs: Sequence[Pair], examples: Sequence[Example]) -> dict[str, int]:
    """Return the number of pairs by where their two sides stand: `train`, `train-test`, ..."""
    counts = collections.Counter(
        "-".join(dict.fromkeys((examples[pair.first].split, examples[pair.second].split)))
        for pair in pairs
    )
    return dict(sorted(counts.items()))


def copies_in(home: str, other: str, pairs: Sequence[Pair], examples: Sequence[Example]) -> int:
    """Return how many examples of the split `home` have a copy in the split `other`."""
    found: set[int] = set()
    for pair in pairs:
        for here, there in ((pair.first, pair.second), (pair.second, pair.first)):
            if examples[here].split == home and examples[there].split == other:
                found.add(here)
    return len(found)


def write_pairs(path: Path, pairs: Sequence[Pair], examples: Sequence[Example]) -> None:
    """Write a CSV with a line per pair."""
    groups = group(pairs)
    sides = [f"{name}_{side}" for side in (1, 2) for name in Example._fields]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "likeness", "group", "conflict", *sides])
        for pair in pairs:
            writer.writerow(
                [
                    *(pair.kind, f"{pair.likeness:.3f}", groups[pair.first]),
                    int(conflicts(pair, examples)),
                    *examples[pair.first],
                    *examples[pair.second],
                ]
            )


def choose_shown(pairs: Sequence[Pair], wanted: Mapping[str, int]) -> list[Pair]:
    """Return the pairs for a sheet: of each kind the least alike, which a person may doubt."""
    chosen: list[Pair] = []
    for kind in KINDS:
        of_kind = [pair for pair in pairs if pair.kind == kind]
        chosen += of_kind[max(0, len(of_kind) - wanted.get(kind, 0)) :]
    return chosen


def draw_pairs(
    pairs: Sequence[Pair],
    crops: Mapping[int, np.ndarray],
    examples: Sequence[Example],
    columns: int = 6,
) -> np.ndarray:
    """Return a sheet of pairs side by side, uint8 [height, width], gray.

    Args:
        pairs: at least one.
        crops: uint8 [height, width] of each example that is shown.
        examples: of the whole set.
        columns: pairs in a row.
    """
    cells = [_cell(pair, crops, examples) for pair in pairs]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return np.vstack(rows)


def _cell(pair: Pair, crops: Mapping[int, np.ndarray], examples: Sequence[Example]) -> np.ndarray:
    second = crops[pair.second]
    both = np.hstack([crops[pair.first], second[:, ::-1] if pair.kind == "mirrored" else second])
    cell = cv2.copyMakeBorder(both, 38, 4, 4, 4, cv2.BORDER_CONSTANT, value=(255,))
    one, other = examples[pair.first], examples[pair.second]
    lines = (
        f"{pair.kind} {pair.likeness:.3f}",
        f"{one.split} {one.emotion or '?'}",
        f"{other.split} {other.emotion or '?'}",
    )
    for index, text in enumerate(lines):
        place = (5, 10 + 11 * index)
        cv2.putText(cell, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0,), 1, cv2.LINE_AA)
    return cell
