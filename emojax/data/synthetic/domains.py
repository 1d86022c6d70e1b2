"""The four test domains: the light, the camera and its noise around a drawing.

S1 studio; S2 hard light; S3 pose and camera; S4 near infrared with noise. A
scene is drawn once and holds for a clip; the sensor's noise is new in each frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from emojax.data.synthetic.canvas import ORIGIN, SIDE
from emojax.data.synthetic.drawing import Pose, draw_person
from emojax.data.synthetic.light import shine
from emojax.data.synthetic.people import Person

DOMAINS: tuple[str, ...] = ("S1", "S2", "S3", "S4")
DOMAIN_NAMES: dict[str, str] = {
    "S1": "studio",
    "S2": "hard light",
    "S3": "pose and camera",
    "S4": "near infrared, noise",
}
PICTURE_SIDE = 200
"""Height and width of a picture, in pixels."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """Everything about a picture that is not the person or the expression."""

    domain: str
    background: np.ndarray
    """uint8 [SIDE, SIDE, 3], blue, green, red."""
    pose: Pose
    warp: np.ndarray
    """[2, 3] from canvas to picture pixels."""
    lamp: tuple[float, float]
    """Where the lamp stands, x (right) and y (down) on the unit disc; (0, 0) is ahead."""
    ambient: float
    """Share of the light that comes from everywhere, 0..1."""
    strength: float
    """Light on a surface that faces the lamp, 1 as drawn."""
    gain: tuple[float, float, float]
    """Factors on blue, green and red."""
    gamma: float
    blur: float
    """Standard deviation of the lens blur, in picture pixels."""
    reduction: float
    """Share of the resolution that the camera has."""
    noise: float
    """Standard deviation of the sensor noise, in gray levels."""


def _background(rng: np.random.Generator) -> np.ndarray:
    """Return a plain wall with a soft gradient and a few blurred things on it."""
    colour = rng.uniform(60, 200) * rng.uniform(0.85, 1.15, 3)
    small = np.ones((16, 16, 3)) * colour
    small *= np.linspace(rng.uniform(0.75, 1.2), rng.uniform(0.75, 1.2), 16)[:, None, None]
    small *= np.linspace(rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.2), 16)[None, :, None]
    for _ in range(int(rng.integers(0, 3))):
        column, width = int(rng.integers(0, 16)), int(rng.integers(1, 4))
        small[:, column : column + width] *= rng.uniform(0.7, 1.25)
    return cv2.resize(np.clip(small, 0, 255).astype(np.uint8), (SIDE, SIDE))


def _camera(scale: float, tilt: float, shift: np.ndarray) -> np.ndarray:
    """Return the affine map [2, 3] that puts the face near the middle of the picture.

    Args:
        scale: pixels per canvas unit.
        tilt: roll of the head in degrees, counter-clockwise.
        shift: x, y in pixels.
    """
    centre = (ORIGIN[0], ORIGIN[1] + 18)
    warp = cv2.getRotationMatrix2D(centre, tilt, scale)
    warp[:, 2] += PICTURE_SIDE / 2 - np.array(centre) + shift
    return warp


def _lamp(rng: np.random.Generator, nearest: float, furthest: float) -> tuple[float, float]:
    """Return a lamp's place between two distances from straight ahead, never below the chin."""
    angle, distance = rng.uniform(-np.pi, 0), rng.uniform(nearest, furthest)
    return float(distance * np.cos(angle)), float(0.75 * distance * np.sin(angle))


def make_scene(rng: np.random.Generator, domain: str) -> Scene:
    """Return a scene of a domain.

    Args:
        rng: source of the variation.
        domain: one of `DOMAINS`.
    """
    # The studio; the other domains change what makes them different.
    lamp, ambient, strength = _lamp(rng, 0.0, 0.45), rng.uniform(0.5, 0.7), rng.uniform(0.95, 1.15)
    scale, tilt, spread = rng.uniform(0.74, 0.82), rng.normal(0, 2.0), 4.0
    yaw, pitch = rng.normal(0, 0.05), rng.normal(0, 0.05)
    gain, gamma, blur, reduction, noise = np.ones(3), 1.0, 0.0, 1.0, 0.7
    pupil = (12, 12, 14)
    if domain == "S2":
        lamp, ambient, strength = _lamp(rng, 0.6, 0.9), rng.uniform(0.2, 0.4), rng.uniform(1.1, 1.5)
        gamma = rng.uniform(0.9, 1.2)
    elif domain == "S3":
        scale, tilt, spread = rng.uniform(0.62, 0.92), rng.uniform(-12, 12), 10.0
        yaw, pitch = rng.uniform(-0.24, 0.24), rng.normal(0, 0.09)
        warmth, brightness = rng.uniform(-0.18, 0.18), rng.uniform(0.75, 1.15)
        gain = brightness * np.array([1 - warmth, rng.uniform(0.95, 1.03), 1 + warmth])
        gamma = rng.uniform(0.85, 1.25)
        blur, reduction, noise = rng.uniform(0.3, 1.1), rng.uniform(0.5, 0.9), 1.5
    elif domain == "S4":
        lamp, ambient = _lamp(rng, 0.0, 0.25), rng.uniform(0.1, 0.35)
        strength, gamma = rng.uniform(1.1, 1.4), rng.uniform(0.75, 1.0)
        blur, noise = rng.uniform(0.3, 0.8), rng.uniform(5.0, 11.0)
        pupil = (225, 225, 225) if rng.random() < 0.5 else (8, 8, 8)
    gaze = rng.normal(0, 0.6, 2)
    return Scene(
        domain=domain,
        background=_background(rng),
        pose=Pose(float(yaw), float(pitch), (float(gaze[0]), float(gaze[1])), pupil),
        warp=_camera(float(scale), float(tilt), rng.uniform(-spread, spread, 2)),
        lamp=lamp,
        ambient=float(ambient),
        strength=float(strength),
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        gamma=float(gamma),
        blur=float(blur),
        reduction=float(reduction),
        noise=float(noise),
    )


def _near_infrared(drawing: np.ndarray) -> np.ndarray:
    """Return what a near-infrared camera sees: gray, skin bright, lips and skins alike."""
    gray = cv2.transform(drawing, np.array([[0.0, 0.15, 0.85]]))
    gray = cv2.LUT(gray, (255 * (np.arange(256) / 255) ** 0.75).astype(np.uint8))
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


def render(
    person: Person, intensities: Sequence[float], scene: Scene, rng: np.random.Generator
) -> np.ndarray:
    """Return a picture of a person, uint8 [PICTURE_SIDE, PICTURE_SIDE, 3], blue, green, red.

    Args:
        person: who is drawn.
        intensities: 15 values, 0 (absent) to 1, in the order of `labels.ACTION_UNITS`.
        scene: light, camera and background.
        rng: source of this frame's sensor noise.
    """
    drawing, cover = draw_person(person, intensities, scene.background, scene.pose)
    if scene.domain == "S4":
        drawing = _near_infrared(drawing)
    drawing = shine(drawing, cover, scene.lamp, scene.ambient, scene.strength)
    picture = cv2.warpAffine(
        drawing,
        scene.warp,
        (PICTURE_SIDE, PICTURE_SIDE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if scene.reduction < 1:
        side = round(PICTURE_SIDE * scene.reduction)
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (PICTURE_SIDE, PICTURE_SIDE), interpolation=cv2.INTER_LINEAR)
    if scene.blur > 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), scene.blur)
    levels = np.linspace(0, 1, 256)[:, None] ** scene.gamma * 255 * np.array(scene.gain)
    table = np.clip(levels, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    picture = cv2.LUT(picture, table)
    # A table of normal values read at random places: far cheaper than as many draws.
    grain = rng.standard_normal(4096, dtype=np.float32) * scene.noise
    places = rng.integers(0, 4096, (PICTURE_SIDE, PICTURE_SIDE, 1), dtype=np.uint16)
    noisy = picture + grain[places]
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
