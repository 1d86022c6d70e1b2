"""Heat in colours: what an output goes by in orange, what goes against it in blue, and a scale."""

from __future__ import annotations

import cv2
import numpy as np

from emojax.runtime.canvas import INK, MARGIN, ROW, write_words
from emojax.runtime.occlusion import Heat, deepest

# In blue, green, red: told apart without red-green vision too.
_FALLS = np.array((0, 105, 235), np.float32)
_RISES = np.array((215, 120, 20), np.float32)
_STRONGEST = 0.8

FAINTEST = 0.05
"""A scale never ends below this: a finer one would make noise look like an answer."""

# Below this a fall is not worth pointing at: int8 answers come in steps of 1/256.
_WORTH_TELLING = 0.02

_BAR_HEIGHT = 10
SCALE_HEIGHT = _BAR_HEIGHT + ROW
"""Of a scale with its figures, at scale 1."""


def blend(picture: np.ndarray, heat: np.ndarray, top: float) -> np.ndarray:
    """Return a picture under its heat: the stronger it is, the less of the picture.

    Args:
        picture: uint8 [height, width, 3].
        heat: float32 [height, width].
        top: the value of the strongest colour.
    """
    strength = np.clip(np.abs(heat) / top, 0, 1)[..., None] * _STRONGEST
    colour = np.where(heat[..., None] > 0, _FALLS, _RISES)
    return np.rint(picture * (1 - strength) + colour * strength).astype(np.uint8)


def tell(heat: Heat) -> list[str]:
    """Return what heat says, a sentence each."""
    if heat.whole - heat.least < _WORTH_TELLING:
        told = [f"no square lowers it by {_WORTH_TELLING} or more"]
    else:
        told = [f"{heat.least:.2f} with the framed square covered"]
    if heat.rise >= _WORTH_TELLING:
        told.append(f"a blue one raises it by up to {heat.rise:.2f}")
    return told


def draw_covered(
    part: np.ndarray,
    seen: np.ndarray,
    about: Heat,
    heat: np.ndarray,
    top: float,
    factor: float,
    scale: float,
) -> int:
    """Draw what a network sees under its heat, and a frame around the square that costs most.

    Args:
        part: of a canvas; it is drawn into its upper left corner.
        seen: uint8 [height, width].
        about: which output, and how far it falls.
        heat: float32 [height, width].
        top: the value of the strongest colour.
        factor: how much it is enlarged.
        scale: of lines.

    Returns:
        How many rows it takes.
    """
    rows, columns = seen.shape
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    gray = cv2.cvtColor(cv2.resize(seen, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    place = part[: size[1], : size[0]]
    place[:] = blend(gray, cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), top)
    if about.whole - about.least >= _WORTH_TELLING:
        first_row, first_column, _ = deepest(about.occlusion, about.place)
        side = about.occlusion.side
        corner = round(first_column * factor), round(first_row * factor)
        opposite = round((first_column + side) * factor), round((first_row + side) * factor)
        # A dark line on a light one can be seen on any ground.
        for colour, thick in (((255, 255, 255), 3), (INK, 1)):
            cv2.rectangle(place, corner, opposite, colour, max(1, round(thick * scale)))
    return size[1]


def draw_scale(
    canvas: np.ndarray, top: float, left: float, upper: float, width: float, scale: float
) -> None:
    """Draw which colour stands for how much, in place.

    Args:
        canvas: blue, green, red, uint8 [height, width, 3].
        top: the value of the strongest colour.
        left: where it begins, in pixels.
        upper: its upper edge, in pixels.
        width: of it and of a margin on either side, in pixels.
        scale: of letters.
    """
    width -= 2 * MARGIN * scale
    rows, columns = round(_BAR_HEIGHT * scale), round(width)
    values = np.broadcast_to(np.linspace(-top, top, columns, dtype=np.float32), (rows, columns))
    ground = np.full((rows, columns, 3), 128, np.uint8)
    row, column = round(upper), round(left)
    canvas[row : row + rows, column : column + columns] = blend(ground, values, top)
    below = upper + (_BAR_HEIGHT + 14) * scale
    for share, words in ((0.0, f"+{top:.2f}"), (0.47, "0"), (0.83, f"-{top:.2f}")):
        write_words(canvas, words, left + share * width, below, scale)
