"""What a data set's own files say before any picture is looked at: rows, labels, people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from emojax import labels
from emojax.labels import UNKNOWN
from emojax.picture import PICTURE_SUFFIXES

_ALL_UNKNOWN = (UNKNOWN,) * len(labels.ACTION_UNITS)


class Vote(NamedTuple):
    """How many people named an emotion when they were shown one side of a clip."""

    modality: str
    """One of `labels.MODALITIES`."""
    emotion: str
    """A name from any emotion set, or what else the owner lets people say (`not a face`)."""
    number: int


@dataclasses.dataclass(frozen=True)
class Row:
    """A picture, clip, frame or sound and its labels, as a data set's own files name them."""

    key: str
    """Unique and stable: the path as its owner writes it, and the frame or time span if any."""
    path: Path | None
    """Where the picture or clip lies; None: there is only sound."""
    subject: str
    """The person."""
    emotion: str | None = None
    """Name of the emotion in any set; None where nobody said."""
    emotion_confidence: float = 1.0
    """How sure the annotators are of the emotion, 0..1."""
    level: str = ""
    """How strongly it was acted, in the owner's word (`LO`, `strong`); empty where nobody said."""
    votes: tuple[Vote, ...] = ()
    """What raters named; empty where nobody voted."""
    action_units: tuple[int, ...] = _ALL_UNKNOWN
    """1 present, 0 absent, -1 unknown; in the order of `labels.ACTION_UNITS`."""
    intensities: tuple[float, ...] = tuple(float(value) for value in _ALL_UNKNOWN)
    """0..1 (FACS A..E are 0.2..1), -1 unknown; the same order."""
    action_unit_confidence: tuple[float, ...] = (1.0,) * len(labels.ACTION_UNITS)
    """How sure the annotators are of each action unit, 0..1; the same order."""
    domain: str = ""
    """Where and how it was recorded; empty for a set of one kind."""
    split: str = ""
    """The owner's split; empty where there is none."""
    audio_path: Path | None = None
    """The sound, where it is not in the clip itself."""
    spectrogram_path: Path | None = None
    """The spectrogram, already made: a `.npy`; the sound is then not listened to."""
    start_s: float | None = None
    """First moment of the clip that counts, in seconds; None: its beginning."""
    end_s: float | None = None
    """Last moment that counts, in seconds; None: its end."""
    frame: int | None = None
    """The one frame of the clip that counts, 0 the first; None: all of them."""
    view: Literal["whole", "left", "right"] = "whole"
    """Half of each frame that counts, where two cameras' pictures stand side by side."""
    any_way_up: bool = False
    """The recording may lie on its side: quarter turns are tried until a face is found."""

    @property
    def is_picture(self) -> bool:
        """Whether the file's name is a picture's; any other is read as a clip."""
        return self.path is not None and self.path.suffix.lower() in PICTURE_SUFFIXES

    @property
    def is_still(self) -> bool:
        """Whether it gives one face at most: a picture, one frame of a clip, or sound alone."""
        return self.path is None or self.frame is not None or self.is_picture


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A row that gave no example, and why."""

    row: Row
    reason: str
    """What to count it under: `missing file`, `unreadable file`, `broken clip`, `no face`,
    `known bad`, `no label`, ..."""
    detail: str
    """The full sentence: which file, what was found."""


@dataclasses.dataclass(frozen=True)
class Source:
    """All that a data set's own files say."""

    rows: tuple[Row, ...]
    """In a fixed order, whatever order the file system lists them in; keys are unique."""
    notes: tuple[str, ...] = ()
    """What was left aside, one sentence each."""
    left_out: tuple[Rejection, ...] = ()
    """Rows that are not to be read at all: known to be bad, or with a broken label file."""
    people: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """What is known of each person: `age`, `sex`, `race`, `ethnicity`, as the owner writes it."""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else the report should hold, as JSON can: counts of labels dropped and so on."""
    own_groups: bool = False
    """Nobody says who the people are: each file is taken as one."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What a builder may want to know before it lists its rows."""

    work: Path
    """An empty folder for what has to be unpacked before it can be read."""
    own_groups: bool = False
    """Take each file as a person of its own where the people are not known."""
    clips: bool = False
    """Whole clips are wanted of a set that could also give single frames (`mmi`, `ck_plus`)."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the owner says that the whole set holds; `emojax data verify` compares."""

    rows: int
    """Files or frames named, before any is left out."""
    people: int | None
    """None where the people are not known."""
    splits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Rows of each split, where the owner splits."""
