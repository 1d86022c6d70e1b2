from __future__ import annotations

import cv2
import numpy as np
import pytest

from emojax.data.synthetic.canvas import ORIGIN, SIDE
from emojax.data.synthetic.drawing import draw_person
from emojax.data.synthetic.people import make_person
from emojax.labels import ACTION_UNIT_NAMES, ACTION_UNITS

BACKGROUND = np.full((SIDE, SIDE, 3), 140, np.uint8)
FOREHEAD, EYES, MOUTH = slice(-70, -12), slice(-16, 36), slice(36, 106)

# Where each unit has to be seen, in canvas units below the line of the eyes.
PLACES: dict[int, slice] = {
    1: FOREHEAD,
    2: FOREHEAD,
    4: FOREHEAD,
    5: EYES,
    6: EYES,
    7: EYES,
    9: EYES,
    10: MOUTH,
    12: MOUTH,
    15: MOUTH,
    16: MOUTH,
    17: MOUTH,
    20: MOUTH,
    23: MOUTH,
    26: MOUTH,
}


def view(index: int, values: dict[int, float]) -> np.ndarray:
    """Return the face in gray, [SIDE rows, 80-wide crop's columns], as float."""
    intensities = [values.get(number, 0.0) for number in ACTION_UNITS]
    drawing, _ = draw_person(make_person(9, index), intensities, BACKGROUND)
    return cv2.cvtColor(drawing, cv2.COLOR_BGR2GRAY).astype(float)[:, 54:202]


def change(first: np.ndarray, second: np.ndarray, rows: slice) -> float:
    """Return the mean absolute difference at the network's resolution, in gray levels."""
    top = round(ORIGIN[1])
    parts = [part[top + rows.start : top + rows.stop] for part in (first, second)]
    # 98 rows of crop show about 180 units of face.
    small = [
        cv2.resize(part, None, fx=98 / 180, fy=98 / 180, interpolation=cv2.INTER_AREA)
        for part in parts
    ]
    return float(np.abs(small[0] - small[1]).mean())


def test_every_unit_has_a_place_to_be_seen() -> None:
    assert set(PLACES) == set(ACTION_UNITS)


@pytest.mark.parametrize("number", ACTION_UNITS, ids=lambda number: f"AU{number}")
def test_a_unit_shows_in_its_place_and_grows(number: int) -> None:
    for index in range(4):
        neutral = view(index, {})
        trace, half, full = (view(index, {number: value}) for value in (0.2, 0.5, 1.0))
        name = ACTION_UNIT_NAMES[number]
        seen = [change(neutral, other, PLACES[number]) for other in (trace, half, full)]
        assert seen[0] > 0.7, f"a trace of {name} can't be seen on person {index}"
        assert seen[0] < seen[1] < seen[2]
        # What is left alone shows nothing at all: the threshold means something.
        assert change(neutral, view(index, {}), PLACES[number]) == 0
        upper_face = number <= 9 and number != 9
        elsewhere = MOUTH if upper_face else FOREHEAD
        assert change(neutral, full, elsewhere) < seen[2]


@pytest.mark.parametrize("number", ACTION_UNITS, ids=lambda number: f"AU{number}")
def test_a_unit_looks_like_no_other(number: int) -> None:
    neutral = view(1, {})
    own = (view(1, {number: 0.8}) - neutral).ravel()
    for other in ACTION_UNITS:
        if other == number:
            continue
        theirs = (view(1, {other: 0.8}) - neutral).ravel()
        likeness = own @ theirs / (np.linalg.norm(own) * np.linalg.norm(theirs))
        assert likeness < 0.8, f"AU{number} and AU{other} look alike ({likeness:.2f})"


def test_units_compose() -> None:
    # Fear's units add up: each of them is still seen beside the others.
    units = (1, 2, 4, 5, 7, 20, 26)
    whole = view(2, dict.fromkeys(units, 0.8))
    for number in units:
        without = view(2, {other: 0.8 for other in units if other != number})
        assert change(whole, without, PLACES[number]) > 0.7, f"AU{number} is lost in fear"


def test_people_differ_more_than_nothing_and_stay_themselves() -> None:
    neutral = [view(index, {}) for index in range(6)]
    for index, face in enumerate(neutral):
        np.testing.assert_array_equal(face, view(index, {}))
        for other in neutral[index + 1 :]:
            assert change(face, other, EYES) > 2
    assert make_person(9, 1) == make_person(9, 1)
    assert make_person(9, 1) != make_person(10, 1)
