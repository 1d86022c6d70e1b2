from __future__ import annotations

import pytest

from emojax.data.builders.mmi_units import (
    APEX,
    NEUTRAL,
    OFFSET,
    ONSET,
    Unit,
    apex_frames,
    intensities_of,
    is_neutral,
    presence_at,
    presence_in_picture,
    presence_over_clip,
)
from emojax.labels import ACTION_UNITS


def _course(number: int, *frames: int, plain: bool = True) -> Unit:
    """Neutral, onset, apex, offset and neutral again at the frames given, as many as there are."""
    kinds = (NEUTRAL, ONSET, APEX, OFFSET, NEUTRAL)
    return Unit(number, plain, tuple(zip(frames, kinds, strict=False)))


SMILE = _course(12, 0, 5, 10, 20, 25)


def _of(presence: tuple[int, ...], unit: int) -> int:
    return presence[ACTION_UNITS.index(unit)]


@pytest.mark.parametrize(
    ("frame", "presence"),
    [(0, 0), (4, 0), (5, -1), (9, -1), (10, 1), (19, 1), (20, -1), (24, -1), (25, 0), (999, 0)],
)
def test_a_unit_is_there_at_its_apex_and_partly_before_and_after(frame: int, presence: int) -> None:
    assert _of(presence_at([SMILE], frame), 12) == presence
    assert _of(presence_at([SMILE], frame), 6) == 0


def test_before_its_first_marker_a_unit_is_neutral() -> None:
    late = Unit(12, True, ((7, APEX),))
    assert _of(presence_at([late], 6), 12) == 0
    assert is_neutral([late], 6)
    assert not is_neutral([late], 7)


def test_of_two_markers_at_one_frame_the_later_counts() -> None:
    sudden = Unit(12, True, ((3, ONSET), (3, APEX)))
    assert _of(presence_at([sudden], 3), 12) == 1


def test_a_unit_with_letters_is_never_sure_to_be_there() -> None:
    one_sided = _course(12, 0, 5, 10, 20, 25, plain=False)
    assert [_of(presence_at([one_sided], frame), 12) for frame in (0, 12, 25)] == [0, -1, 0]
    assert _of(presence_over_clip([one_sided]), 12) == -1
    assert _of(presence_over_clip([one_sided, SMILE]), 12) == 1


def test_of_two_lines_about_a_unit_presence_wins_and_then_doubt() -> None:
    late = _course(12, 0, 15, 30, 40)
    frames = (14, 16, 22, 27, 30, 45)
    assert [_of(presence_at([SMILE, late], frame), 12) for frame in frames] == [1, 1, -1, -1, 1, -1]


def test_a_clip_shows_what_reaches_its_apex() -> None:
    units = [SMILE, _course(4, 0, 3), Unit(9, True, ((0, NEUTRAL),)), Unit(17, True, ())]
    presence = presence_over_clip(units)
    assert [_of(presence, unit) for unit in (12, 4, 9, 17, 1)] == [1, -1, 0, -1, 0]


def test_a_unit_listed_without_markers_is_there_in_a_picture_only() -> None:
    bare = Unit(12, True, ())
    assert _of(presence_in_picture([bare]), 12) == 1
    assert _of(presence_in_picture([bare]), 6) == 0
    assert _of(presence_at([bare], 0), 12) == -1
    assert not is_neutral([bare], 0)
    assert apex_frames([bare]) == ()


def test_intensities_are_known_of_absent_units_only() -> None:
    assert intensities_of((1, 0, -1)) == (-1.0, 0.0, -1.0)


def test_the_apex_s_first_middle_and_last_frame_are_taken() -> None:
    assert apex_frames([SMILE]) == (10, 14, 19)


@pytest.mark.parametrize(
    ("units", "frames"),
    [
        ([], ()),
        ([_course(12, 0, 5)], ()),
        # Nobody says where it ends.
        ([_course(12, 0, 5, 10)], (10,)),
        ([_course(12, 0, 5, 10, 11)], (10,)),
        ([_course(12, 0, 5, 10, 12)], (10, 11)),
        # Most units: both from 14 to 19.
        ([SMILE, _course(6, 0, 12, 14, 30)], (14, 16, 19)),
        # A unit that none of the 15 is helps to find the peak.
        ([SMILE, _course(25, 0, 12, 14, 30)], (14, 16, 19)),
        # Two moments of one unit each: the longer.
        ([_course(12, 0, 5, 10, 12), _course(6, 0, 20, 30, 40)], (30, 34, 39)),
        # Equally long: the first.
        ([_course(12, 0, 5, 10, 20), _course(6, 0, 25, 30, 40)], (10, 14, 19)),
        # Another unit that only comes or goes doesn't cut the moment in two.
        ([SMILE, _course(6, 0, 15)], (10, 14, 19)),
    ],
)
def test_the_moment_with_most_units_is_found(units: list[Unit], frames: tuple[int, ...]) -> None:
    assert apex_frames(units) == frames
