"""A person's face from action units, drawn feature by feature from back to front."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np

from emojax.data.synthetic.canvas import ORIGIN, SIDE, Canvas, curve
from emojax.data.synthetic.furrows import draw_lower_furrows, draw_upper_furrows
from emojax.data.synthetic.geometry import Eye, Landmarks, make_landmarks, strengths
from emojax.data.synthetic.people import Colour, Person

_TEETH: Colour = (214, 226, 232)
_TONGUE: Colour = (92, 88, 168)
_MOUTH: Colour = (26, 20, 48)
_LASH: Colour = (26, 26, 32)


@dataclasses.dataclass(frozen=True)
class Pose:
    """How the head is held and what the eyes return of the light."""

    yaw: float = 0.0
    """Turn of the head to the right of the picture, in radians."""
    pitch: float = 0.0
    """Nod of the head downwards, in radians."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Shift of the irises, x and y, in canvas units."""
    pupil: Colour = (12, 12, 14)
    """Colour of the pupils; bright where a lamp sits beside the lens."""


def _shaded(colour: Colour, factor: float) -> Colour:
    """Return a lighter or darker colour."""
    blue, green, red = (min(int(value * factor), 255) for value in colour)
    return blue, green, red


@functools.lru_cache(maxsize=16)
def _texture(seed: int) -> np.ndarray:
    """Return a person's skin texture, float32 [SIDE, SIDE] around 0."""
    noise = np.random.default_rng(seed).normal(0, 1, (SIDE // 2, SIDE // 2)).astype(np.float32)
    noise = cv2.resize(cv2.GaussianBlur(noise, (0, 0), 0.8), (SIDE, SIDE))
    return noise * 0.018


def _draw_behind(canvas: Canvas, person: Person, face: Landmarks) -> None:
    """Draw what the head stands in front of: long hair, neck, shoulders, ears."""
    half = face.half_width
    if person.hair_style == "long":
        back = [(-half - 12, -40), (-half - 16, 20), (-half - 12, 96), (-30, 118)]
        points = np.array([*back, *[(-x, y) for x, y in reversed(back)], (0, -106)], float)
        canvas.fill(curve(points, 60, closed=True), _shaded(person.hair, 0.9))
    neck = np.array([[-40, 60], [40, 60], [44, 118], [92, 150], [-92, 150], [-44, 118]], float)
    canvas.fill(neck, _shaded(person.skin, 0.72))
    shirt = [
        (-128, 150),
        (-128, 138),
        (-84, 122),
        (-46, 116),
        (0, 138),
        (46, 116),
        (84, 122),
        (128, 138),
        (128, 150),
    ]
    canvas.fill(np.array(shirt, float), person.clothes)
    for out in (-1, 1):
        ear = np.array(
            [[half - 2, -8], [half + 8, -10], [half + 9, 8], [half + 3, 26], [half - 4, 26]]
        )
        canvas.fill(curve(ear * [out, 1], 20, closed=True), _shaded(person.skin, 0.86))


def _draw_head(canvas: Canvas, person: Person, face: Landmarks) -> None:
    """Draw the face's skin, the beard on it and the light on its round."""
    canvas.fill(face.outline, person.skin)
    if person.beard:
        jaw = face.outline[(face.outline[:, 1] > 34)]
        jaw = jaw[np.argsort(-jaw[:, 0])]
        moustache = np.array([[-40, 66], [-22, 55], [0, 53], [22, 55], [40, 66]], float)
        shape = np.concatenate([jaw * [0.99, 0.99], canvas.turn(moustache)])
        canvas.blend(shape, person.hair, 0.34 * person.beard, 4)
    rows = slice(12, SIDE)
    canvas.light[rows] += _texture(person.texture)[rows]

    def glow(
        x: float, y: float, width: float, height: float, amount: float, lift: float = 0.0
    ) -> None:
        canvas.swell(np.array([x, y]), width, height, amount, lift)

    half = face.half_width
    glow(0, -50, 44, 22, 0.08)
    glow(0, 10, 5.5, 30, 0.17, 10)
    glow(0, face.nose_tip, 8, 7, 0.12, 16)
    glow(0, face.nose_base + 5, 15, 5, -0.20)
    glow(0, face.chin - 14, 15, 9, 0.08)
    below = float(face.mouth.outer_lower[14, 1])
    glow(0, below + 6, 17, 5, -0.18)
    for out in (-1, 1):
        eye = face.eyes[0 if out < 0 else 1]
        glow(eye.centre[0], -5, 21, 12, -0.27)
        glow(out * 15, 2, 6, 12, -0.14)
        glow(out * 12, 26, 5, 16, -0.13, 8)
        glow(out * 40, 28, 18, 14, 0.11)
        glow(out * 27, -38, 20, 8, 0.05)
        canvas.glow(out * (half + 4), 0, 15, 60, -0.34)
        canvas.glow(out * 52, face.chin - 24, 18, 30, -0.24)
    canvas.glow(0, face.chin + 12, 46, 11, -0.38)


def _draw_nose(canvas: Canvas, person: Person, face: Landmarks) -> None:
    width, base, lift = face.nose_half_width, face.nose_base, face.wing_lift
    for out in (-1, 1):
        wing = np.array(
            [
                [width - 3, base - 13 - lift],
                [width + 1, base - 6 - lift],
                [width - 1, base - lift * 0.7],
                [width - 6, base + 1],
            ]
        )
        canvas.fold(canvas.turn(curve(wing * [out, 1]), 8), 0.62, 3)
        nostril = np.array(
            [
                [3.2, base - 1.0],
                [6.5, base - 3.5 - 0.5 * lift],
                [width - 4, base - 1.5 - 0.5 * lift],
                [7, base + 0.8],
            ]
        )
        shape = canvas.turn(curve(nostril * [out, 1], 16, closed=True), 12)
        canvas.fill(shape, _shaded(person.skin, 0.30))
    septum = np.array([[-4, base + 1], [0, base + 2.2], [4, base + 1]])
    canvas.furrow(canvas.turn(septum, 12), 0.35, 2)


def _draw_eye(canvas: Canvas, person: Person, eye: Eye, pose: Pose, s5: float) -> None:
    upper, lower = canvas.turn(eye.upper_lid), canvas.turn(eye.lower_lid)
    opening = np.concatenate([upper, lower[::-1]])
    iris = canvas.turn(eye.centre + pose.gaze + [0, 0.3])[0]
    with canvas.inside(opening):
        canvas.fill(opening, (222, 228, 232))
        canvas.disc(iris, eye.iris_radius, _shaded(person.iris, 0.55))
        canvas.disc(iris, eye.iris_radius - 1.2, person.iris)
        canvas.disc(iris, 3.0, pose.pupil)
        canvas.line(upper + np.array([0, 1.0]), (120, 124, 130), 2)
    canvas.disc(iris - np.array([2, 2.2]), 1.2, (250, 250, 250))
    # The eyeball lies in its socket's shade; without this it would be too dark.
    canvas.swell(eye.centre, eye.half_width, 6, 0.20 + 0.1 * s5)
    canvas.line(upper, _LASH, 2)
    canvas.line(lower, _shaded(person.skin, 0.55), 1)
    crease = upper[2:-1] - np.array([0, 4.0 - 1.2 * s5])
    canvas.furrow(crease, 0.45, 2)


def _draw_brow(canvas: Canvas, person: Person, eye: Eye) -> None:
    line = canvas.turn(eye.brow)
    taper = np.interp(np.linspace(0, 1, len(line)), [0, 0.12, 0.5, 1], [0.62, 1.0, 0.95, 0.32])
    half = (0.5 * eye.brow_thickness * taper)[:, None] * [0, 1]
    shape = np.concatenate([line - half, (line + half)[::-1]])
    canvas.blend(shape, _shaded(person.hair, 0.8), 0.88, 0.8)


def _draw_mouth(canvas: Canvas, person: Person, face: Landmarks, s: dict[int, float]) -> None:
    mouth = face.mouth
    outer_upper, inner_upper = canvas.turn(mouth.outer_upper), canvas.turn(mouth.inner_upper)
    inner_lower, outer_lower = canvas.turn(mouth.inner_lower), canvas.turn(mouth.outer_lower)
    blue, green, red = person.skin
    rose = 1 - person.redness
    lips: Colour = (
        int(blue * (0.52 + 0.22 * rose)),
        int(green * (0.50 + 0.22 * rose)),
        int(red * (0.74 + 0.12 * rose)),
    )
    if mouth.gap > 0.8:
        opening = np.concatenate([inner_upper, inner_lower[::-1]])
        with canvas.inside(opening):
            canvas.fill(opening, _MOUTH)
            if mouth.gap > 12:
                canvas.disc(inner_lower[14] + np.array([0, 7.0]), 11, _TONGUE)
            # Upper teeth stay with the skull, lower teeth with the jaw.
            teeth = 64.0 + person.mouth_drop + 1.5
            jaw = teeth + 17.0 * s[26] + 0.5
            if s[10] > 0 or s[12] > 0 or s[26] > 0:
                band = np.array(
                    [[-17, teeth - 12], [17, teeth - 12], [17, teeth], [-17, teeth]], float
                )
                canvas.fill(canvas.turn(band), _TEETH)
            if s[16] > 0 or s[20] > 0:
                band = np.array(
                    [[-15, jaw + 0.5], [15, jaw + 0.5], [15, jaw + 13], [-15, jaw + 13]], float
                )
                canvas.fill(canvas.turn(band), _TEETH)
    canvas.fill(np.concatenate([outer_upper, inner_upper[::-1]]), _shaded(lips, 0.88))
    canvas.fill(np.concatenate([inner_lower, outer_lower[::-1]]), lips)
    canvas.line(inner_upper, _shaded(lips, 0.42), 2)
    if mouth.gap > 0.8:
        canvas.line(inner_lower, _shaded(lips, 0.6), 1)
    x, y = (inner_lower[14] + outer_lower[14]) / 2
    canvas.glow(float(x), float(y), 10, 3, 0.10)
    for x, y in (inner_upper[0], inner_upper[-1]):
        canvas.glow(float(x), float(y), 4, 4, -0.22)


def _strands(
    canvas: Canvas, person: Person, shape: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> None:
    """Fill a shape with hair that runs from `starts` to `ends`, [n, 2] each."""
    rng = np.random.default_rng(person.texture)
    with canvas.inside(shape):
        canvas.fill(shape, person.hair)
        for start, end, tone in zip(starts, ends, rng.uniform(0.72, 1.4, len(starts)), strict=True):
            bend = (start + end) / 2 + rng.normal(0, 2, 2)
            strand = curve(np.array([start, bend, end]), 6)
            canvas.line(strand, _shaded(person.hair, tone), 2)


def _draw_hair(canvas: Canvas, person: Person, face: Landmarks) -> None:
    """Draw the hair in front of the head."""
    half, low = face.half_width, person.hairline
    style = person.hair_style
    fronts = {
        "cropped": [(-half, -24), (-55, -56), (-30, -69), (30, -69), (55, -56), (half, -24)],
        "parted": [(-half, -14), (-57, -46), (-36, -64), (22, -80), (50, -60), (half, -14)],
        "fringe": [(-half, -10), (-58, -48), (-28, -63), (24, -62), (58, -48), (half, -10)],
        "long": [(-half, 10), (-60, -42), (-14, -80), (14, -80), (60, -42), (half, 10)],
        "receding": [(-half, -26), (-60, -56), (-36, -84), (36, -84), (60, -56), (half, -26)],
    }
    front = curve(np.array(fronts[style], float) + np.array([0, low]), 36)
    if style == "fringe":
        front[:, 1] += 2.0 * np.sin(np.arange(36) * 2.1) * (np.abs(front[:, 0]) < 52)
    puff = {"cropped": 3, "receding": 0}.get(style, 10)
    edge = half + 1 + 0.5 * puff
    crown = [(edge, -16), (edge, -58), (44, -93 - puff), (0, -102 - puff)]
    crown = np.array([*crown, *[(-x, y) for x, y in crown[-2::-1]]], float)
    top = curve(crown, 40)
    parting = np.array([26.0 if style == "parted" else 0.0, -100 - puff])
    starts = parting + (top[2:-2:2] - parting) * 0.45
    roots = np.linspace(len(front) - 3, 2, len(starts)).astype(int)
    _strands(canvas, person, np.concatenate([front, top]), starts, front[roots])
    canvas.glow(-16, -88, 30, 8, 0.28)
    if style == "long":
        for out in (-1, 1):
            lock = [
                (half - 8, -44),
                (half + 6, -30),
                (half + 12, 40),
                (half + 4, 104),
                (half - 12, 100),
                (half - 3, 30),
            ]
            shape = curve(np.array(lock, float) * [out, 1], 40, closed=True)
            across = np.linspace(half - 6, half + 10, 7)
            starts = np.stack([out * across, np.full(7, -40.0)], axis=1)
            _strands(canvas, person, shape, starts, starts + np.array([0, 140]))


def _draw_glasses(canvas: Canvas, person: Person, face: Landmarks) -> None:
    frame = _shaded(person.hair, 0.7)
    for eye in face.eyes:
        around = np.linspace(0, 2 * np.pi, 29)
        ring = eye.centre + np.stack([22 * np.cos(around), 3 + 17 * np.sin(around)], axis=1)
        canvas.line(canvas.turn(ring, 6), frame, 1)
        arm = np.array([[eye.side * 53, 0], [eye.side * face.half_width, -4]], float)
        canvas.line(canvas.turn(arm), frame, 1)
    bridge = np.array([[-11, 1], [0, -2], [11, 1]], float)
    canvas.line(canvas.turn(bridge, 12), frame, 1)


def draw_person(
    person: Person, intensities: Sequence[float], background: np.ndarray, pose: Pose = Pose()
) -> tuple[np.ndarray, np.ndarray]:
    """Return a drawing in even light, and where it covers the background.

    Args:
        person: who is drawn.
        intensities: 15 values, 0 (absent) to 1, in the order of `labels.ACTION_UNITS`.
        background: uint8 [SIDE, SIDE, 3], what lies behind; it is not changed.
        pose: how the head is held.

    Returns:
        uint8 [SIDE, SIDE, 3], blue, green, red; uint8 [SIDE, SIDE], 255 on the person.
    """
    s = strengths(intensities)
    face = make_landmarks(person, s)
    canvas = Canvas(pose.yaw, pose.pitch, person.crease)
    canvas.colours[:] = background
    _draw_behind(canvas, person, face)
    _draw_head(canvas, person, face)
    draw_upper_furrows(canvas, face, person, s)
    draw_lower_furrows(canvas, face, person, s)
    _draw_hair(canvas, person, face)
    _draw_nose(canvas, person, face)
    for eye in face.eyes:
        _draw_eye(canvas, person, eye, pose, s[5])
        _draw_brow(canvas, person, eye)
    _draw_mouth(canvas, person, face, s)
    if person.glasses:
        _draw_glasses(canvas, person, face)
    return canvas.finish(), canvas.cover


__all__ = ["ORIGIN", "SIDE", "Pose", "draw_person"]
