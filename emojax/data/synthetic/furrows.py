"""Furrows, folds and bulges of the skin: the signs of action units beside the moved features.

Each unit has signs of its own, since several move the same feature: the lines
of AU6 lie outside the eye and on the cheek, those of AU7 under the lid.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from emojax.data.synthetic.canvas import Canvas, curve
from emojax.data.synthetic.geometry import Landmarks
from emojax.data.synthetic.people import Person

_AT_REST = 0.16
"""Depth of an old person's furrows at rest, as a share of the unit's own."""


# Orange-peel dimples on the chin, x and y in units around the boss.
_DIMPLES = (
    (-10, -1),
    (-7, 4),
    (-4, -3),
    (-2, 3),
    (1, -2),
    (4, 4),
    (6, -3),
    (9, 2),
    (-5, 8),
    (2, 9),
)


def _both(points: list[tuple[float, float]], samples: int = 12) -> list[np.ndarray]:
    """Return a curve on the right of the face and its mirror image."""
    right = curve(np.array(points, dtype=float), samples)
    return [right, right * [-1, 1]]


def draw_upper_furrows(
    canvas: Canvas, face: Landmarks, person: Person, s: Mapping[int, float]
) -> None:
    """Draw the signs of AU1, 2, 4, 5, 6, 7 and 9 around brows, eyes and nose."""
    rest = _AT_REST * person.age
    right = face.eyes[1]
    x, half = right.centre[0], right.half_width

    # AU1: short furrows in the middle of the forehead; AU2: arcs above the outer brow.
    for row, y in enumerate((-44.0, -52.0, -60.0)):
        depth = max(0.95 * s[1], rest) * (1 - 0.12 * row)
        lift = 5 * s[4] * s[1]
        middle = curve(
            np.array([[-21, y + 1], [-9, y - 2 + lift], [9, y - 2 + lift], [21, y + 1]], float), 14
        )
        canvas.furrow(canvas.turn(middle), depth, 3)
    for row, y in enumerate((-46.0, -54.0)):
        depth = max(0.9 * s[2], 0.6 * rest) * (1 - 0.1 * row)
        for line in _both([(26, y - 4), (38, y - 6), (50, y - 2), (57, y + 5)]):
            canvas.furrow(canvas.turn(line), depth, 3)
    canvas.swell(np.array([0, -38]), 18, 5, 0.16 * s[1])

    # AU4: upright lines between the brows, and a bulge that throws a shadow.
    for line in _both([(5.0, -30), (4.0, -20), (5.5, -8)]):
        canvas.furrow(canvas.turn(line), max(1.0 * s[4], rest), 3)
    canvas.swell(np.array([0, -16]), 15, 9, -0.20 * s[4])

    for eye in face.eyes:
        # AU6: crow's feet, the fold under the eye and the raised cheek.
        out = eye.side
        edge = x + half
        for tip_y, tip_x in ((-10.0, 14.0), (0.0, 17.0), (10.0, 13.0)):
            foot = [
                [edge + 2.5, 0.25 * tip_y],
                [edge + 0.55 * tip_x, 0.45 * tip_y],
                [edge + tip_x, tip_y],
            ]
            canvas.furrow(
                canvas.turn(curve(np.array(foot) * [out, 1], 10)), max(0.9 * s[6], rest), 2
            )
        fold = np.array([[x - 14, 13], [x - 4, 16.5], [x + 8, 15.5], [x + 18, 9]]) * [out, 1]
        canvas.fold(canvas.turn(curve(fold)), 0.75 * s[6] + 0.1 * rest, 4)
        cheek = np.array([out * (x + 6), 27.0 - 2 * s[6]])
        canvas.swell(cheek, 17, 8, 0.24 * s[6])
        canvas.swell(cheek + np.array([0, 15]), 17, 5, -0.15 * s[6])
        # AU7: the tense lower lid, a sharp line close under it and a pale roll between.
        lid = eye.lower_lid[2:-2] + np.array([0, 4.0])
        canvas.furrow(canvas.turn(lid), 0.95 * s[7], 2)
        canvas.swell(eye.centre + np.array([0, 6.0]), 13, 2.5, 0.12 * s[7])

    # AU9: lines across the root of the nose and slanting down its sides.
    for row, y in enumerate((-5.0, 1.0, 7.0)):
        across = curve(np.array([[-10, y + 3], [-4, y - 1], [4, y - 1], [10, y + 3]], float), 10)
        canvas.furrow(canvas.turn(across, 8), 0.95 * s[9] * (1 - 0.1 * row), 2)
    for y in (10.0, 16.0, 22.0):
        for line in _both([(5, y), (10, y + 2), (16, y + 7)], 10):
            canvas.furrow(canvas.turn(line, 4), 0.75 * s[9], 2)


def draw_lower_furrows(
    canvas: Canvas, face: Landmarks, person: Person, s: Mapping[int, float]
) -> None:
    """Draw the signs of AU9, 10, 12, 15, 16, 17, 20, 23 and 26 around mouth and chin."""
    rest = _AT_REST * person.age
    corners = face.mouth.corners
    width, corner = float(corners[1][0]), float(corners[0][1] + corners[1][1]) / 2
    wing = face.nose_half_width + 3

    # The nasolabial furrow: its upper end under AU9 and AU10, the whole of it under AU12.
    base = face.nose_base
    for line in _both(
        [(wing, base - 7), (wing + 9, base + 3), (width + 7, corner - 6), (width + 8, corner + 3)],
        16,
    ):
        canvas.fold(canvas.turn(line), 0.95 * s[12] + 0.9 * rest, 4)
    for line in _both([(wing - 3, base - 15), (wing + 3, base - 5), (wing + 9, base + 5)]):
        canvas.fold(canvas.turn(line), 0.7 * s[9] + 0.5 * s[10], 4)
    # AU10 alone: the pouch beside the nose is pushed up and its lower edge drawn out.
    for line in _both(
        [(wing + 1, base - 13), (wing + 13, base - 9), (wing + 21, base), (wing + 22, base + 11)]
    ):
        canvas.fold(canvas.turn(line), 0.8 * s[10], 3)
        canvas.swell(line[5] - np.array([0, 7]), 9, 5, 0.10 * s[10])

    for out in (-1, 1):
        # AU12: the cheek above the corner is round and catches light.
        cheek = np.array([out * (width + 16), corner - 16])
        canvas.swell(cheek, 14, 11, 0.16 * s[12])
        # AU15: a line and a pouch below the drawn-down corner.
        below = np.array(
            [[width - 1, corner + 1], [width + 3, corner + 7], [width + 2, corner + 15]]
        )
        canvas.fold(canvas.turn(curve(below * [out, 1])), 0.95 * s[15] + 0.5 * rest, 4)
        canvas.swell(np.array([out * (width - 6), corner + 10]), 8, 5, 0.16 * s[15])
        # AU20: bows beside the stretched corner, the skin taut between.
        for gap, depth in ((4.0, 0.8), (11.0, 0.6)):
            bow = [
                [width + gap - 4, corner - 12],
                [width + gap, corner],
                [width + gap - 4, corner + 13],
            ]
            canvas.fold(canvas.turn(curve(np.array(bow) * [out, 1])), depth * s[20], 3)
        # AU26: the cheek is drawn long and hollow.
        canvas.swell(np.array([out * (width + 20), corner - 2]), 8, 20, -0.16 * s[26])

    top = float(face.mouth.outer_upper[14, 1])
    bottom = float(face.mouth.outer_lower[14, 1])
    # AU23: the lips are rolled in; a dent lies above and below them, with fine rays.
    rim = np.array([[-width, corner - 4], [-9, top - 4], [9, top - 4], [width, corner - 4]])
    canvas.fold(canvas.turn(curve(rim)), 0.5 * s[23], 3)
    rim = np.array([[-width, corner + 4], [-9, bottom + 4], [9, bottom + 4], [width, corner + 4]])
    canvas.fold(canvas.turn(curve(rim)), 0.6 * s[23], 3)
    for place in (-11.0, -6.0, 6.0, 11.0):
        ray = np.array([[1.25 * place, top - 9], [1.1 * place, top - 5], [place, top - 1]])
        canvas.furrow(canvas.turn(curve(ray, 8)), 0.5 * s[23], 2)
        ray = np.array([[place, bottom + 1], [1.1 * place, bottom + 5], [1.25 * place, bottom + 9]])
        canvas.furrow(canvas.turn(curve(ray, 8)), 0.5 * s[23], 2)
    canvas.swell(np.array([0, top - 8]), 18, 3, 0.12 * s[23])

    # AU16: the lowered lip flattens against a crease of its own shape.
    crease = np.array(
        [[-16, bottom + 5], [-8, bottom + 8], [8, bottom + 8], [16, bottom + 5]], float
    )
    canvas.fold(canvas.turn(curve(crease)), 0.75 * s[16], 4)

    # AU17: the raised chin boss, a crease above it and dimples on it.
    boss = max(face.chin - 17, bottom + 13)
    arch = np.array([[-17, bottom + 9], [-9, bottom + 4], [9, bottom + 4], [17, bottom + 9]])
    canvas.fold(canvas.turn(curve(arch)), 0.95 * s[17], 4)
    canvas.swell(np.array([0, boss - 2]), 14, 7, 0.22 * s[17])
    for dot_x, dot_y in _DIMPLES:
        canvas.swell(np.array([dot_x, boss + dot_y]), 2.0, 2.0, -0.55 * s[17])
