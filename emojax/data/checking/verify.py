"""A built data set held against what its owner says, and against what can be true."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emojax.data.builders import BUILDERS
from emojax.data.checking.duplicates import (
    MAX_PAIRS,
    NEAR,
    Example,
    Look,
    Pair,
    choose_shown,
    conflicts,
    copies_in,
    count_by_splits,
    draw_pairs,
    find_duplicates,
    look_at,
    write_pairs,
)
from emojax.data.checking.sanity import PROBLEMS, find_problems
from emojax.data.shards import REPORT_FILE, DatasetInfo, dataset_info, read_batches
from emojax.data.splits import SPLITS
from emojax.data.summary import write_sheet
from emojax.errors import UserError

PAIRS_FILE = "duplicates.csv"
SHEET_FILE = "duplicates.png"

SHOWN = {"exact": 12, "near": 36, "mirrored": 12}
"""Pairs of each kind on the sheet."""

# Left out because somebody else added them: not among what the owner says that there is.
_NOT_THE_OWNERS = ("augmented copy", "foreign name", "unknown label", "split in doubt")


class Check(NamedTuple):
    """One line of the table."""

    name: str
    holds: bool | None
    """None: there is nothing to compare with."""
    found: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a data set was found to be."""

    checks: tuple[Check, ...]
    pairs: tuple[Pair, ...]
    """Copies."""
    examples: tuple[Example, ...]
    """What the pairs' places mean."""

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return all(check.holds is not False for check in self.checks)

    def table(self) -> str:
        """Return the checks as text, a line each."""
        marks = {True: "ok", False: "FOUND", None: "-"}
        width = max(len(check.name) for check in self.checks)
        return "\n".join(
            f"{check.name:{width}}  {marks[check.holds]:5}  {check.found}" for check in self.checks
        )


@dataclasses.dataclass
class _Content:
    """What one pass through the shards gathers."""

    examples: list[Example] = dataclasses.field(default_factory=list)
    looks: list[Look] = dataclasses.field(default_factory=list)
    place_of_look: list[int] = dataclasses.field(default_factory=list)
    problems: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    first: dict[str, str] = dataclasses.field(default_factory=dict)
    """The first example with each problem."""


def verify(
    folder: Path, *, near: float | None = None, source: Path | None = None, out: Path | None = None
) -> Verdict:
    """Return what holds of a data set and what doesn't; copies are written beside its shards.

    Args:
        folder: what `build_dataset` wrote.
        near: likeness from which two pictures are called copies, above 0 and up to 1; None:
            as the set needs, see `duplicates.NEAR`.
        source: the owner's files, to be compared where a table of their checksums is known.
        out: folder for `duplicates.csv` and `duplicates.png`; None: `folder`.

    Raises:
        UserError: no data set of emojax, or a value that can't be.
    """
    if near is not None and not 0 < near <= 1:
        raise UserError(f"near={near!r}: wanted a likeness above 0 and up to 1, such as {NEAR[0]}")
    info = dataset_info(folder)
    checks = [check_files(info), check_expected(info), check_checksums(info.name, source)]
    content = _Content()
    try:
        for split in SPLITS:
            _gather(info, split, content)
    except UserError as error:
        checks.append(Check("reading", False, str(error)))
        return Verdict(tuple(checks), (), tuple(content.examples))
    examples = tuple(content.examples)
    checks.append(check_people(examples))
    checks.append(check_keys(examples))
    checks += check_problems(content.problems, content.first, len(examples))
    checks.append(check_classes(info, examples))
    found = find_duplicates(
        content.looks, [examples[place].subject for place in content.place_of_look], near
    )
    pairs = tuple(
        pair._replace(
            first=content.place_of_look[pair.first], second=content.place_of_look[pair.second]
        )
        for pair in found.pairs
    )
    checks += check_pairs(pairs, examples, found.near)
    verdict = Verdict(tuple(checks), pairs, examples)
    write_findings(info, verdict, out or folder)
    return verdict


def _gather(info: DatasetInfo, split: str, content: _Content) -> None:
    """Read a split once."""
    emotions = (*info.input_spec.emotions, "")
    for batch in read_batches(info, split):
        paths, subjects = batch["path"].tolist(), batch["subject"].tolist()
        problems = find_problems(batch, info.input_spec)
        for name, bad in problems.items():
            if bad.any():
                content.problems[name] += int(bad.sum())
                content.first.setdefault(name, paths[int(bad.argmax())])
        for row, (path, subject) in enumerate(zip(paths, subjects, strict=True)):
            emotion = int(batch["emotion"][row])
            known = -1 <= emotion < len(info.input_spec.emotions)
            place = len(content.examples)
            content.examples.append(
                Example(split, path, subject, emotions[emotion] if known else "")
            )
            count = int(batch["num_frames"][row])
            if 0 < count <= info.max_frames and not problems["blank"][row]:
                content.looks.append(look_at(batch["faces"][row, _middle(count)]))
                content.place_of_look.append(place)


def _middle(count: int) -> int:
    return (count - 1) // 2


# Files and counts.


def check_files(info: DatasetInfo) -> Check:
    """Return whether the shards have the sizes that the report says."""
    written = info.report.get("shard_bytes")
    if not isinstance(written, dict):
        return Check("shards", False, "report.json does not say how large they are")
    there = {file.name: file.stat().st_size for file in sorted(info.folder.glob("*.tfrecord-*"))}
    for name in sorted({*written, *there}):
        if written.get(name) != there.get(name):
            return Check(
                "shards",
                False,
                f"{name} has {there.get(name, 'no')} bytes, report.json says "
                f"{written.get(name, 'none')}: build the data set again",
            )
    return Check("shards", True, f"{len(there)} files of {sum(there.values())} bytes")


def check_expected(info: DatasetInfo) -> Check:
    """Return whether the counts are the owner's; a row left out, and said so, counts as there.

    Raises:
        UserError: report.json is not what a build writes.
    """
    name, report = "expected counts", info.report
    try:
        splits = {split: int(counts["examples"]) for split, counts in report["splits"].items()}
        people = {who for counts in report["splits"].values() for who in counts["people"]}
        reasons = {reason: int(count) for reason, count in report["left_out"].items()}
        added = sum(reasons.pop(reason, 0) for reason in _NOT_THE_OWNERS)
        rows, left_out = int(report["rows_read"]) - added, sum(reasons.values())
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{info.folder / REPORT_FILE}: not what a build writes: build the data set again"
        ) from None
    in_shards = {split: count for split, count in info.num_examples.items() if count}
    counts = ", ".join(f"{split} {in_shards[split]}" for split in SPLITS if split in in_shards)
    found = f"{rows} rows, {left_out} left out, {len(people)} people; {counts}"
    if splits != in_shards or rows - left_out != sum(splits.values()):
        return Check(name, False, f"{found}; but report.json counts {splits}")
    expected = BUILDERS[info.name].EXPECTED if info.name in BUILDERS else None
    if expected is None:
        return Check(name, None, f"{found}; nobody says how many there should be")
    missing = {split: count - splits.get(split, 0) for split, count in expected.splits.items()}
    wrong = []
    if rows != expected.rows:
        wrong.append(f"{expected.rows} rows")
    if expected.people not in (None, len(people)):
        wrong.append(f"{expected.people} people")
    if any(count < 0 for count in missing.values()) or sum(missing.values()) > left_out:
        wrong += [f"{split} {count}" for split, count in expected.splits.items()]
    if wrong:
        return Check(name, False, f"{found}; its owner says {', '.join(wrong)}")
    return Check(name, True, found)


def check_checksums(name: str, source: Path | None) -> Check:
    """Return whether the owner's files have the SHA-256 that the owner publishes.

    Args:
        name: of the data set; its builder may have a table `CHECKSUMS`, path to hex digest.
        source: the owner's files.
    """
    published: Mapping[str, str] = getattr(BUILDERS.get(name), "CHECKSUMS", {})
    if not published:
        asked = "" if source is None else f": --source {source} is compared with nothing"
        return Check("checksums", None, f"no table of the owner's checksums is known{asked}")
    if source is None:
        return Check("checksums", None, f"{len(published)} published: --source DIR compares them")
    there = {path: source / path for path in published if (source / path).is_file()}
    for path, file in sorted(there.items()):
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != published[path].lower():
            return Check("checksums", False, f"{file} is not the owner's file: fetch it again")
    found = f"{len(there)} of {len(published)} published files are there and are the owner's"
    return Check("checksums", True if there else None, found)


# People and labels.


def check_people(examples: Sequence[Example]) -> Check:
    """Return whether each person stands in one split."""
    homes: dict[str, set[str]] = {}
    for example in examples:
        homes.setdefault(example.subject, set()).add(example.split)
    crossing = sorted(person for person, splits in homes.items() if len(splits) > 1)
    if crossing:
        where = " and ".join(split for split in SPLITS if split in homes[crossing[0]])
        return Check(
            "people",
            False,
            f"{len(crossing)} of {len(homes)} stand in more than one split, "
            f"{crossing[0]!r} in {where}",
        )
    return Check("people", True, f"{len(homes)}, each in one split")


def check_keys(examples: Sequence[Example]) -> Check:
    """Return whether each example has a name of its own."""
    counts = collections.Counter(example.path for example in examples)
    path, count = counts.most_common(1)[0] if counts else ("", 0)
    if count > 1:
        return Check("names", False, f"{path!r} stands {count} times in the set")
    return Check("names", True, f"{len(counts)} different")


def check_problems(
    problems: Mapping[str, int], first: Mapping[str, str], number: int
) -> list[Check]:
    """Return a check for each of `sanity.PROBLEMS`.

    Args:
        problems: how many examples have it.
        first: one of them, by its name.
        number: of examples.
    """
    return [
        Check(name, False, f"{problems[name]} of {number} examples have {what}: {first[name]}, ..")
        if problems.get(name)
        else Check(name, True, f"no example of {number} has {what}")
        for name, what in PROBLEMS.items()
    ]


def check_classes(info: DatasetInfo, examples: Sequence[Example]) -> Check:
    """Return whether each emotion that is tested is trained, and is counted as in the report."""
    counts = collections.Counter((example.split, example.emotion) for example in examples)
    emotions = info.input_spec.emotions
    held = [name for name in emotions if any(counts[split, name] for split in SPLITS)]
    splits = [split for split in SPLITS if any(counts[split, name] for name in held)]
    if not held:
        return Check("classes", None, "no emotion is labelled")
    table = "; ".join(f"{name} {'/'.join(str(counts[s, name]) for s in splits)}" for name in held)
    found = f"in {'/'.join(splits)}: {table}"
    untrained = [name for name in held if "train" in splits and not counts["train", name]]
    if untrained:
        return Check("classes", False, f"no {' and no '.join(untrained)} in train; {found}")
    for split in splits:
        reported = info.report["splits"].get(split, {}).get("emotions", {})
        if any(reported.get(name, 0) != counts[split, name] for name in emotions):
            return Check("classes", False, f"{found}; but report.json counts {reported} in {split}")
    return Check("classes", True, found)


# Copies.


def check_pairs(
    pairs: Sequence[Pair], examples: Sequence[Example], near: float | None
) -> list[Check]:
    """Return a check for each kind of copy, for copies in two splits, and under two emotions."""
    told = {
        "exact": "the same pixels",
        "near": f"likeness of {near} or more",
        "mirrored": f"likeness of {near} or more to a mirror image",
    }
    checks = []
    for kind, what in told.items():
        of_kind = [pair for pair in pairs if pair.kind == kind]
        splits = count_by_splits(of_kind, examples)
        where = ", ".join(f"{count} {name}" for name, count in splits.items())
        least = "at least " if len(of_kind) >= MAX_PAIRS else ""
        found = f"{least}{len(of_kind)} pairs ({what}): {where}" if of_kind else f"none ({what})"
        if near is None and kind != "exact":
            too_alike = "can't be told: strangers are as alike as copies would be; --near tries"
            checks.append(Check(f"{kind} copies", None, too_alike))
        else:
            checks.append(Check(f"{kind} copies", not of_kind, found))
    leaks = []
    sizes = collections.Counter(example.split for example in examples)
    for home, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        if count := copies_in(home, other, pairs, examples):
            share = 100 * count / sizes[home]
            leaks.append(f"{count} of {sizes[home]} in {home} ({share:.1f}%) have one in {other}")
    checks.append(
        Check("copies across", not leaks, "; ".join(leaks) or "no example has one in another split")
    )
    double = [pair for pair in pairs if conflicts(pair, examples)]
    exact = sum(pair.kind == "exact" for pair in double)
    found = f"{len(double)} pairs of copies have two emotions, {exact} of them the same pixels"
    checks.append(Check("labels of copies", not double, found if double else "no pair has two"))
    return checks


def write_findings(info: DatasetInfo, verdict: Verdict, out: Path) -> None:
    """Write the pairs as CSV and, where there are any, the least alike of each kind as PNG.

    Raises:
        UserError: they can't be written.
    """
    pairs = choose_shown(verdict.pairs, SHOWN)
    sheet = out / SHEET_FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_pairs(out / PAIRS_FILE, verdict.pairs, verdict.examples)
        if pairs:
            crops = _read_crops(info, {place for pair in pairs for place in pair[2:]})
            write_sheet(sheet, draw_pairs(pairs, crops, verdict.examples))
        else:
            sheet.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{out}: can't be written ({error.strerror}): choose another --out"
        ) from None


def _read_crops(info: DatasetInfo, wanted: set[int]) -> dict[int, np.ndarray]:
    """Return the crops that were compared, by place in the data set."""
    crops: dict[int, np.ndarray] = {}
    place = 0
    for split in SPLITS:
        for batch in read_batches(info, split, ("faces", "num_frames")):
            for faces, count in zip(batch["faces"], batch["num_frames"].tolist(), strict=True):
                if place in wanted:
                    crops[place] = faces[_middle(count)].copy()
                place += 1
    return crops
