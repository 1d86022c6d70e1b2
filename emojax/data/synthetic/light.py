"""Light from a direction on the relief of a head."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from emojax.data.synthetic.canvas import ORIGIN, SIDE

# Bumps of the relief: x, y, width, height (half-axes) and how far they stand out, in units.
_BUMPS: tuple[tuple[float, float, float, float, float], ...] = (
    (0, 14, 8, 26, 10),
    (0, 36, 11, 9, 9),
    (0, 66, 24, 15, 6),
    (0, 92, 18, 12, 5),
    (0, -24, 46, 10, 4),
    (-34, 0, 17, 11, -7),
    (34, 0, 17, 11, -7),
    (-42, 28, 18, 15, 4),
    (42, 28, 18, 15, 4),
    (0, 51, 18, 5, -3),
    (0, 80, 16, 5, -3),
)


@functools.lru_cache(maxsize=1)
def _normals() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the surface's normals x, y, z and the head's mask, float32 [SIDE, SIDE] each."""
    x = (np.arange(SIDE) - ORIGIN[0])[None, :]
    y = (np.arange(SIDE) - ORIGIN[1])[:, None]
    inside = 1 - (x / 80) ** 2 - ((y - 4) / 122) ** 2
    relief = 62 * np.sqrt(np.clip(inside, 0.02, 1))
    for centre_x, centre_y, width, height, amount in _BUMPS:
        bump = np.exp(-(((x - centre_x) / width) ** 2) - ((y - centre_y) / height) ** 2)
        relief = relief + amount * bump
    down, across = np.gradient(relief)
    length = np.sqrt(across**2 + down**2 + 1)
    mask = cv2.GaussianBlur(np.clip(inside * 12 + 0.5, 0, 1).astype(np.float32), (0, 0), 2)
    smooth = [
        cv2.GaussianBlur((part / length).astype(np.float32), (0, 0), 1.5)
        for part in (-across, -down, np.ones_like(across))
    ]
    return smooth[0], smooth[1], smooth[2], mask


def shine(
    drawing: np.ndarray,
    cover: np.ndarray,
    direction: tuple[float, float],
    ambient: float,
    strength: float,
) -> np.ndarray:
    """Return a drawing lit by one lamp, uint8 of the same shape.

    Args:
        drawing: uint8 [SIDE, SIDE, 3], in even light.
        cover: uint8 [SIDE, SIDE], 255 where the person hides the background.
        direction: where the lamp stands, x (right) and y (down) on the unit disc;
            (0, 0) is straight ahead.
        ambient: share of light that comes from everywhere, 0..1.
        strength: light on a surface that faces the lamp, 1 as drawn.
    """
    across, down, ahead, mask = _normals()
    x, y = direction
    z = float(np.sqrt(max(1 - x * x - y * y, 0.0)))
    facing = np.maximum(across * np.float32(x) + down * np.float32(y) + ahead * np.float32(z), 0)
    factor = np.float32(strength) * (np.float32(ambient) + np.float32(1 - ambient) * facing)
    # What is not the head is lit from the front and falls off only a little.
    mask = mask * (cover.astype(np.float32) / 255)
    factor = factor * mask + np.float32(strength * (ambient + (1 - ambient) * 0.75)) * (1 - mask)
    lit = drawing * factor[..., None]
    return np.clip(lit, 0, 255, out=lit).astype(np.uint8)
