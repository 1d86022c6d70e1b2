"""The account of a build: what was read, what was kept, what was left out and why."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

from emojax import labels
from emojax.data.examples import Result
from emojax.data.rows import Rejection, Row
from emojax.spec import InputSpec


@dataclasses.dataclass
class Tally:
    """Counts that grow while results come in; `report` gives them as JSON can hold them."""

    input_spec: InputSpec
    split_of: dict[str, str]
    """The split of each person."""
    notes: list[str] = dataclasses.field(default_factory=list)
    read: int = 0
    frames: int = 0
    frames_with_face: int = 0
    with_sound: int = 0
    without_face: int = 0
    with_votes: int = 0
    left_out: list[Rejection] = dataclasses.field(default_factory=list)
    unheard: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """Examples kept without the sound that they should have: key and reason."""
    longer_sounds: int = 0
    """Sounds that go on after what their spectrogram holds."""
    _read_by_domain: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    _kept: dict[str, _SplitCounts] = dataclasses.field(default_factory=dict)
    _foreign_emotions: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )

    def note(self, sentence: str) -> None:
        """Keep a sentence for the report."""
        self.notes.append(sentence)

    def add(self, result: Result) -> None:
        """Count one result."""
        row = result.row
        self.read += 1
        self._read_by_domain[row.domain] += 1
        if isinstance(result, Rejection):
            self.left_out.append(result)
            return
        self.frames += len(result.success)
        self.frames_with_face += int(result.success.sum())
        self.without_face += not result.success.any()
        self.with_votes += bool(row.votes)
        if result.sound is not None:
            self.with_sound += result.sound.has_sound
            self.longer_sounds += result.sound.goes_on
            if result.sound.problem:
                self.unheard.append((row.key, result.sound.problem))
        if row.emotion is not None and row.emotion not in self.input_spec.emotions:
            self._foreign_emotions[row.emotion] += 1
        split = self.split_of[row.subject]
        self._kept.setdefault(split, _SplitCounts()).add(row, self.input_spec)

    @property
    def kept(self) -> int:
        """Number of examples."""
        return self.read - len(self.left_out)

    @property
    def people(self) -> dict[str, list[str]]:
        """People of each split that keeps an example, sorted."""
        return {split: sorted(counts.people) for split, counts in self._kept.items()}

    def left_out_text(self) -> str:
        """Return the reasons with their counts, as `3 no face, 1 missing file`."""
        reasons = collections.Counter(rejection.reason for rejection in self.left_out)
        return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "none"

    def report(self) -> dict[str, Any]:
        """Return all counts, the files left out with their reasons, and the notes."""
        notes = list(self.notes)
        if self._foreign_emotions:
            counts = ", ".join(f"{n} {name}" for name, n in sorted(self._foreign_emotions.items()))
            notes.append(f"emotions that the set does not hold count as unknown: {counts}")
        if self.longer_sounds and self.input_spec.sound is not None:
            kept_s = f"{self.input_spec.sound.duration_s:g} s"
            notes.append(
                f"{self.longer_sounds} sounds are longer than {kept_s}: their first {kept_s} are "
                "kept"
            )
        if self.unheard:
            notes.append(
                f"{len(self.unheard)} examples are kept without their sound, the first one: "
                f"{self.unheard[0][1]}"
            )
        kept_by_domain: collections.Counter[str] = collections.Counter()
        for counts in self._kept.values():
            kept_by_domain.update(counts.domains)
        return {
            "rows_read": self.read,
            "examples_kept": self.kept,
            "frames_kept": self.frames,
            "frames_with_face": self.frames_with_face,
            "examples_with_sound": self.with_sound,
            "examples_without_face": self.without_face,
            "examples_with_votes": self.with_votes,
            "unheard": [{"path": path, "detail": detail} for path, detail in self.unheard],
            "left_out": dict(collections.Counter(r.reason for r in self.left_out)),
            "left_out_files": [
                {"path": r.row.key, "reason": r.reason, "detail": r.detail} for r in self.left_out
            ],
            "domains": {
                domain: {"rows_read": read, "examples_kept": kept_by_domain[domain]}
                for domain, read in sorted(self._read_by_domain.items())
            },
            "splits": {split: counts.report() for split, counts in sorted(self._kept.items())},
            "notes": notes,
        }


@dataclasses.dataclass
class _SplitCounts:
    examples: int = 0
    people: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    domains: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    emotions: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    present: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    absent: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def add(self, row: Row, input_spec: InputSpec) -> None:
        self.examples += 1
        self.people[row.subject] += 1
        self.domains[row.domain] += 1
        self.emotions[row.emotion if row.emotion in input_spec.emotions else "unknown"] += 1
        for name, value in zip(labels.AU_COLUMNS, row.action_units, strict=True):
            self.present[name] += value == 1
            self.absent[name] += value == 0

    def report(self) -> dict[str, Any]:
        return {
            "examples": self.examples,
            "people": dict(sorted(self.people.items())),
            "domains": dict(sorted(self.domains.items())),
            "emotions": dict(sorted(self.emotions.items())),
            "action_units": {
                name: {
                    "present": self.present[name],
                    "absent": self.absent[name],
                    "unknown": self.examples - self.present[name] - self.absent[name],
                }
                for name in labels.AU_COLUMNS
            },
        }
