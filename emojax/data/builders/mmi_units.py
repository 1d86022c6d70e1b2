"""Action units over time, as MMI codes them, and what they say of a frame or a clip.

A marker says that something begins at its frame: 0 neutral, 1 onset, 2 apex, 3
offset. It lasts until the unit's next marker; before its first a unit is
neutral. A unit that comes or goes is partly there, so it is unknown, and present
only at its apex. A unit that the file doesn't list is absent.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from emojax import labels
from emojax.labels import UNKNOWN

NEUTRAL, ONSET, APEX, OFFSET = range(4)


class Unit(NamedTuple):
    """One action unit over time."""

    number: int
    """Of FACS."""
    is_plain: bool
    """False where letters stand beside the number (`L12`: one side only): then its presence
    is unknown wherever it is not neutral."""
    markers: tuple[tuple[int, int], ...]
    """(frame, state that begins there) by frame, 0 the first; empty: listed without any."""

    def state(self, frame: int) -> int | None:
        """Return the state at a frame; None for a unit that is listed without markers."""
        if not self.markers:
            return None
        place = bisect.bisect_right(self.markers, frame, key=lambda marker: marker[0])
        return self.markers[place - 1][1] if place else NEUTRAL

    @property
    def states(self) -> set[int | None]:
        """All states that it ever has; None alone where it is listed without markers."""
        if not self.markers:
            return {None}
        return {NEUTRAL, *(state for _, state in self.markers)}


def is_neutral(units: Sequence[Unit], frame: int) -> bool:
    """Return whether no unit, of whatever number, moves at a frame."""
    return all(unit.state(frame) == NEUTRAL for unit in units)


def presence_at(units: Sequence[Unit], frame: int) -> tuple[int, ...]:
    """Return 1, 0 or -1 at a frame, in the order of `labels.ACTION_UNITS`."""
    return _presence({unit: _judge({unit.state(frame)}, unit.is_plain) for unit in units})


def presence_over_clip(units: Sequence[Unit]) -> tuple[int, ...]:
    """Return 1 for each unit that reaches its apex, 0 for those that never move, else -1."""
    return _presence({unit: _judge(unit.states, unit.is_plain) for unit in units})


def presence_in_picture(units: Sequence[Unit]) -> tuple[int, ...]:
    """Return 1, 0 or -1 for a single picture, where a listed unit needs no markers."""
    return _presence(
        {unit: _judge(unit.states if unit.markers else {APEX}, unit.is_plain) for unit in units}
    )


def intensities_of(presence: Sequence[int]) -> tuple[float, ...]:
    """Return 0 for absent units; MMI grades nothing, so the others are unknown."""
    return tuple(0.0 if value == 0 else float(UNKNOWN) for value in presence)


def apex_frames(units: Sequence[Unit]) -> tuple[int, ...]:
    """Return the first, middle and last frame of the moment in which most units are at apex.

    Units outside the 15 count too: it is the face's peak that is looked for. Of
    equal moments the longest is taken, then the first. A moment that no marker
    ends may end anywhere up to the clip's end: only its first frame is sure.

    Returns:
        One to three frames in order, none where no unit reaches its apex.
    """
    changes = sorted({frame for unit in units for frame, _ in unit.markers})
    at_apex = [
        (frozenset(i for i, unit in enumerate(units) if unit.state(frame) == APEX), frame)
        for frame in changes
    ]
    moments: list[tuple[int, int, int]] = []
    for apexes, group in itertools.groupby(at_apex, key=lambda pair: pair[0]):
        first = next(group)[1]
        # It lasts until the first change of another kind.
        ends = (frame for other, frame in at_apex if frame > first and other != apexes)
        if apexes:
            moments.append((len(apexes), first, next(ends, first + 1)))
    if not moments:
        return ()
    _, first, end = max(moments, key=lambda moment: (moment[0], moment[2] - moment[1], -moment[1]))
    return tuple(sorted({first, (first + end - 1) // 2, end - 1}))


def _judge(states: set[int | None], is_plain: bool) -> int:
    """Return presence from the states that a unit has."""
    if states == {NEUTRAL}:
        return 0
    return 1 if APEX in states and is_plain else UNKNOWN


def _presence(judged: dict[Unit, int]) -> tuple[int, ...]:
    """Return one value per unit; of several lines about one, presence wins, then unknown."""
    by_number: dict[int, set[int]] = {number: set() for number in labels.ACTION_UNITS}
    for unit, value in judged.items():
        if unit.number in by_number:
            by_number[unit.number].add(value)
    return tuple(
        1 if 1 in values else UNKNOWN if UNKNOWN in values else 0 for values in by_number.values()
    )
