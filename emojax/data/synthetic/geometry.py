"""Where the features of a face lie, for a person and the strength of each action unit.

All points are in canvas units (see canvas.py). Action units move landmarks as
FACS describes their appearance changes; several together add up.

Source: Ekman, Friesen and Hager (2002), Facial Action Coding System, the
appearance changes of each unit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from emojax.data.synthetic.canvas import curve
from emojax.data.synthetic.people import Person
from emojax.labels import ACTION_UNITS

_VISIBILITY = 0.6
"""Exponent from intensity to strength: below 1, since a FACS trace is by definition visible."""


@dataclasses.dataclass(frozen=True)
class Eye:
    """One eye and its brow; side is -1 on the left of the picture, 1 on the right."""

    side: int
    centre: np.ndarray
    """The pupil at rest, [2]."""
    half_width: float
    upper_lid: np.ndarray
    """[n, 2] from the nose outwards, as are all lines of the eye and the brow."""
    lower_lid: np.ndarray
    iris_radius: float
    brow: np.ndarray
    """Middle line of the brow."""
    brow_thickness: float


@dataclasses.dataclass(frozen=True)
class Mouth:
    """Lip lines [n, 2], from the left of the picture to the right."""

    outer_upper: np.ndarray
    inner_upper: np.ndarray
    inner_lower: np.ndarray
    outer_lower: np.ndarray
    gap: float
    """Greatest opening between the lips, in units."""

    @property
    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Left and right lip corner, [2] each."""
        return self.inner_upper[0], self.inner_upper[-1]


@dataclasses.dataclass(frozen=True)
class Landmarks:
    """All landmarks of a face that looks straight ahead."""

    outline: np.ndarray
    """Closed outline of face and skull, [n, 2]."""
    eyes: tuple[Eye, Eye]
    mouth: Mouth
    nose_tip: float
    """Height (y) of the nose's tip."""
    nose_base: float
    """Height (y) of the nose's lower edge."""
    nose_half_width: float
    wing_lift: float
    """How far the nostril wings are drawn up, in units."""
    chin: float
    """Height (y) of the chin's edge."""
    half_width: float
    """Half the width of the face at the cheekbones."""


def strengths(intensities: Sequence[float]) -> dict[int, float]:
    """Return how strongly each action unit shows, 0..1 by FACS number.

    Args:
        intensities: 15 values, 0 (absent) to 1, in the order of `labels.ACTION_UNITS`.
    """
    return {
        number: float(np.clip(value, 0, 1)) ** _VISIBILITY
        for number, value in zip(ACTION_UNITS, intensities, strict=True)
    }


def _eye(person: Person, s: Mapping[int, float], side: int) -> Eye:
    x = 32 * person.eye_spacing
    half = 14.5 * person.eye_width
    # The lower lid under AU7 is straight and covers the iris; under AU6 the cheek
    # pushes its outer half only.
    upper = 6.6 * person.eye_height + 6.0 * s[5] - 2.6 * s[7] - 1.0 * s[6] - 1.0 * s[9]
    lower = 6.0 * person.eye_height + 0.6 * s[5] - 5.2 * s[7] - 1.6 * s[6] - 1.2 * s[9]
    upper, lower = max(upper, 2.2), max(lower, 0.8)
    flat = 0.55 + 0.35 * s[7]
    lid = curve(
        np.array(
            [
                [x - half, 1.6],
                [x - 0.62 * half, -0.66 * upper],
                [x - 0.05 * half, -upper],
                [x + 0.6 * half, -0.72 * upper],
                [x + half, -0.4],
            ]
        ),
        18,
    )
    under = curve(
        np.array(
            [
                [x - half, 1.6],
                [x - 0.5 * half, (0.25 + flat) * lower],
                [x + 0.1 * half, lower],
                [x + 0.62 * half, (0.2 + flat) * lower - 1.2 * s[6]],
                [x + half, -0.4],
            ]
        ),
        18,
    )
    y = -21.0 - person.brow_lift
    inner = y + 1.5 - 10.0 * s[1] + 7.5 * s[4] * (1 - 0.75 * s[1]) + 2.0 * s[9]
    middle = y - person.brow_arch - 3.5 * s[1] - 5.5 * s[2] + 6.5 * s[4]
    outer = y + 1.0 - 9.0 * s[2] + 3.5 * s[4] + 1.5 * s[1] * (1 - s[2])
    brow = curve(
        np.array(
            [
                [x - 20 - 4.5 * s[4], inner],
                [x - 10 - 3.0 * s[4], 0.5 * (inner + middle) - 0.6],
                [x + 3 - 1.0 * s[4], middle],
                [x + 13, 0.55 * middle + 0.45 * outer - 0.4],
                [x + 20, outer],
            ]
        ),
        20,
    )
    if side < 0:
        brow = brow - [0, person.lopsided]
    turn = np.array([side, 1.0])
    return Eye(
        side=side,
        centre=np.array([side * x, 0.0]),
        half_width=half,
        upper_lid=lid * turn,
        lower_lid=under * turn,
        iris_radius=6.6,
        brow=brow * turn,
        brow_thickness=5.2 * person.brow_thickness,
    )


def _mouth(person: Person, s: Mapping[int, float]) -> Mouth:
    rest = 64.0 + person.mouth_drop
    half = 22.5 * person.mouth_width
    half += 7.5 * s[12] + 10.0 * s[20] - 6.5 * s[23] - 1.5 * s[17] - 3.0 * s[26] * (1 - s[20])
    corner = rest + person.mouth_tilt - 10.0 * s[12] + 9.0 * s[15] + 2.0 * s[20]
    corner += 4.0 * s[26] + 2.0 * s[17] - 1.0 * s[10]
    upper = rest - 8.0 * s[10] - 1.5 * s[9] - 5.0 * s[17] + 1.0 * s[12] - 1.5 * s[15]
    lower = rest + 10.0 * s[16] + 17.0 * s[26] - 5.0 * s[17] + 2.5 * s[12] - 1.5 * s[15]
    lower += 1.0 * s[10] + 1.5 * s[20]
    lower = max(lower, upper)
    press = (1 - 0.68 * s[23]) * (1 - 0.35 * s[20])
    upper_lip = 6.2 * person.upper_lip * press * (1 - 0.25 * s[12]) * (1 - 0.15 * s[26])
    lower_lip = 8.2 * person.lower_lip * press * (1 - 0.2 * s[12]) * (1 - 0.15 * s[26])
    lower_lip += 3.0 * s[17]

    # How square the opening is: AU10 lifts the lip at its sides as much as in the
    # middle, AU16 and AU20 pull the lower lip down there.
    square_up = 0.72 + 0.26 * s[10]
    square_down = 0.72 + 0.22 * s[16] + 0.1 * s[20] + 0.1 * s[26]
    side_up = corner + (upper - corner) * square_up
    side_down = corner + (lower - corner) * square_down
    side = 0.55 * half
    tilt = np.linspace(-person.lopsided, person.lopsided, 5)[:, None] * [0, 0.6]
    across = np.array([-half, -side, 0.0, side, half])

    def lip(ends: float, sides: float, middle: float) -> np.ndarray:
        heights = np.array([ends, sides, middle, sides, ends])
        return curve(np.stack([across, heights], axis=1) + tilt, 29)

    outer_upper = lip(corner, side_up - 0.92 * upper_lip, upper - upper_lip)
    # Cupid's bow.
    outer_upper[:, 1] += 1.3 * press * np.exp(-((outer_upper[:, 0] / 4.0) ** 2))
    return Mouth(
        outer_upper=outer_upper,
        inner_upper=lip(corner, side_up + 0.5, upper),
        inner_lower=lip(corner, side_down + 0.5, lower),
        outer_lower=lip(corner, side_down + 0.72 * lower_lip, lower + lower_lip),
        gap=lower - upper,
    )


def _outline(person: Person, s: Mapping[int, float], half: float, chin: float) -> np.ndarray:
    jaw = person.jaw_width * person.face_width
    drop = chin - 106
    right = np.array(
        [
            [0, -98],
            [40, -92],
            [62, -64],
            [half, -28],
            [half + 1, 4],
            [half - 2 + 1.5 * s[6] + 1.5 * s[12], 32],
            [56 * jaw + 1.5 * s[20], 66 + 0.3 * drop],
            [44 * jaw, 89 + 0.7 * drop],
            [23 * jaw, 103 + drop],
            [0, 106 + drop],
        ],
        dtype=float,
    )
    left = right[-2:0:-1] * [-1, 1]
    return curve(np.concatenate([right, left]), 72, closed=True)


def make_landmarks(person: Person, s: Mapping[int, float]) -> Landmarks:
    """Return the landmarks of a person's face.

    Args:
        person: whose face.
        s: strength of each action unit by FACS number, from `strengths`.
    """
    half = 68.0 * person.face_width
    chin = 106.0 * person.face_height + 12.0 * s[26] - 3.5 * s[17]
    base = 44.0 * person.nose_length - 2.0 * s[9] - 0.8 * s[10]
    return Landmarks(
        outline=_outline(person, s, half, chin),
        eyes=(_eye(person, s, -1), _eye(person, s, 1)),
        mouth=_mouth(person, s),
        nose_tip=base - 8,
        nose_base=base,
        nose_half_width=14.5 * person.nose_width + 1.8 * s[9] + 1.2 * s[10] + 0.8 * s[12],
        wing_lift=5.0 * s[9] + 2.6 * s[10],
        chin=chin,
        half_width=half,
    )
