"""What is drawn on: colours under light, with soft and sharp strokes.

A canvas holds the colour of things, the light that falls on them and the
furrows in the skin apart, so that a furrow or a shadow is the same share of
the light on every skin. Points are in canvas units, origin midway between the
pupils, x to the right of the picture, y down; neutral pupils are 64 units apart.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

SIDE = 256
"""Height and width of the canvas, in pixels; one unit is one pixel."""
ORIGIN = (128.0, 118.0)
"""Place of the origin on the canvas: x, y in pixels."""
_SHIFT = 4


@functools.lru_cache(maxsize=256)
def _curve_weights(count: int, samples: int, closed: bool) -> np.ndarray:
    """Return Catmull-Rom weights [samples, count] that turn control points into a curve."""
    weights = np.zeros((samples, count))
    spans = count if closed else count - 1
    for row, place in enumerate(np.linspace(0, spans, samples, endpoint=not closed)):
        span = min(int(place), spans - 1)
        t = place - span
        basis = 0.5 * np.array(
            [
                -t + 2 * t**2 - t**3,
                2 - 5 * t**2 + 3 * t**3,
                t + 4 * t**2 - 3 * t**3,
                -(t**2) + t**3,
            ]
        )
        for offset, weight in zip(range(-1, 3), basis, strict=True):
            index = (span + offset) % count if closed else min(max(span + offset, 0), count - 1)
            weights[row, index] += weight
    return weights


def curve(points: np.ndarray, samples: int = 24, closed: bool = False) -> np.ndarray:
    """Return a smooth curve [samples, 2] through control points [n, 2]."""
    points = np.asarray(points, dtype=float)
    return _curve_weights(len(points), samples, closed) @ points


class Canvas:
    """Colours, light and furrows of one drawing.

    Attributes:
        colours: uint8 [SIDE, SIDE, 3], blue, green, red.
        light: float32 [SIDE, SIDE], 1 is even light.
        furrows: uint8 [SIDE, SIDE], depth of fine lines.
        folds: uint8 [SIDE, SIDE], depth of broad, soft lines.
        cover: uint8 [SIDE, SIDE], 255 where the person hides the background.
    """

    def __init__(self, yaw: float = 0.0, pitch: float = 0.0, crease: float = 1.0) -> None:
        self.colours = np.zeros((SIDE, SIDE, 3), np.uint8)
        self.light = np.ones((SIDE, SIDE), np.float32)
        self.furrows = np.zeros((SIDE, SIDE), np.uint8)
        self.folds = np.zeros((SIDE, SIDE), np.uint8)
        self.cover = np.zeros((SIDE, SIDE), np.uint8)
        self._crease = crease
        self._yaw, self._pitch = (np.cos(yaw), np.sin(yaw)), (np.cos(pitch), np.sin(pitch))

    def turn(self, points: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Return points on the turned head, as seen from the front.

        Args:
            points: [n, 2] units on the head that looks straight ahead.
            lift: how far they stand out of the round of the head, in units.
        """
        points = np.asarray(points, dtype=float).reshape(-1, 2)
        round_of_head = np.sqrt(np.clip(1 - (points[:, 0] / 74) ** 2, 0, 1))
        depth = 44 * round_of_head - 22 + lift
        across = points[:, 0] * self._yaw[0] + depth * self._yaw[1]
        down = (points[:, 1] - 20) * self._pitch[0] + 20 + depth * self._pitch[1]
        return np.stack([across, down], axis=1)

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        return np.rint((points + ORIGIN) * (1 << _SHIFT)).astype(np.int32)

    def _window(self, points: np.ndarray, margin: int) -> tuple[slice, slice]:
        low = np.maximum(np.floor(points.min(axis=0) + ORIGIN) - margin, 0).astype(int)
        high = np.minimum(np.ceil(points.max(axis=0) + ORIGIN) + margin + 1, SIDE).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0])

    def fill(self, points: np.ndarray, colour: tuple[int, int, int]) -> None:
        """Fill a polygon [n, 2]."""
        pixels = [self._pixels(points)]
        cv2.fillPoly(self.colours, pixels, colour, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.cover, pixels, 255, cv2.LINE_AA, _SHIFT)

    def line(self, points: np.ndarray, colour: tuple[int, int, int], width: float) -> None:
        """Draw an open line [n, 2] of a width in units."""
        thickness = max(1, round(width))
        cv2.polylines(
            self.colours, [self._pixels(points)], False, colour, thickness, cv2.LINE_AA, _SHIFT
        )

    def disc(self, centre: np.ndarray, radius: float, colour: tuple[int, int, int]) -> None:
        """Fill a circle."""
        x, y = self._pixels(np.asarray(centre, dtype=float))
        size = max(1, round(radius * (1 << _SHIFT)))
        cv2.circle(self.colours, (int(x), int(y)), size, colour, -1, cv2.LINE_AA, _SHIFT)

    def blend(
        self, points: np.ndarray, colour: tuple[int, int, int], share: float, soft: float
    ) -> None:
        """Mix a colour into a polygon [n, 2] with an edge of `soft` units."""
        rows, columns = self._window(points, round(2 * soft) + 1)
        mask = self._mask(points, rows, columns)
        if soft > 0:
            mask = cv2.GaussianBlur(mask, (0, 0), soft)
        weight = (mask.astype(np.float32) * (share / 255))[..., None]
        patch = self.colours[rows, columns]
        patch[:] = (patch + (np.array(colour, np.float32) - patch) * weight).astype(np.uint8)

    def _mask(self, points: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        moved = points - (columns.start, rows.start)
        cv2.fillPoly(mask, [self._pixels(moved)], 255, cv2.LINE_AA, _SHIFT)
        return mask

    def inside(self, points: np.ndarray) -> Inside:
        """Return a context in which drawing of colours stays inside a polygon [n, 2]."""
        rows, columns = self._window(points, 2)
        return Inside(self, rows, columns, self._mask(points, rows, columns))

    def glow(self, x: float, y: float, width: float, height: float, amount: float) -> None:
        """Add light (or take it, `amount` < 0) in a soft ellipse of half-axes width, height."""
        if amount == 0:
            return
        x, y = x + ORIGIN[0], y + ORIGIN[1]
        left, right = max(int(x - 2.2 * width), 0), min(int(x + 2.2 * width) + 2, SIDE)
        top, bottom = max(int(y - 2.2 * height), 0), min(int(y + 2.2 * height) + 2, SIDE)
        if left >= right or top >= bottom:
            return
        across = np.exp(-(((np.arange(left, right) - x) / width) ** 2)).astype(np.float32)
        down = np.exp(-(((np.arange(top, bottom) - y) / height) ** 2)) * amount
        self.light[top:bottom, left:right] += down.astype(np.float32)[:, None] * across

    def swell(
        self, point: np.ndarray, width: float, height: float, amount: float, lift: float = 0.0
    ) -> None:
        """Add light around a point [2] on the head, which turns with it; see `glow`, `turn`."""
        x, y = self.turn(point, lift)[0]
        self.glow(float(x), float(y), width, height, amount)

    def furrow(self, points: np.ndarray, depth: float, width: float = 2.0) -> None:
        """Press a fine line [n, 2] into the skin; depth 0..1."""
        self._press(self.furrows, points, depth, width)

    def fold(self, points: np.ndarray, depth: float, width: float = 5.0) -> None:
        """Press a broad, soft line [n, 2] into the skin; depth 0..1."""
        self._press(self.folds, points, depth, width)

    def _press(self, layer: np.ndarray, points: np.ndarray, depth: float, width: float) -> None:
        value = round(255 * min(depth, 1.0) * self._crease)
        if value < 8:
            return
        pixels, thickness = self._pixels(points), max(1, round(width))
        # A furrow is shallow and thin at its ends.
        end = len(points) // 5
        cv2.polylines(
            layer, [pixels], False, value // 2, max(thickness - 1, 1), cv2.LINE_AA, _SHIFT
        )
        middle = pixels[end : len(pixels) - end]
        cv2.polylines(layer, [middle], False, value, thickness, cv2.LINE_AA, _SHIFT)

    def finish(self) -> np.ndarray:
        """Return the lit drawing, uint8 [SIDE, SIDE, 3], blue, green, red."""
        fine = cv2.GaussianBlur(self.furrows, (0, 0), 1.1).astype(np.float32)
        broad = cv2.GaussianBlur(self.folds, (0, 0), 2.6).astype(np.float32)
        light = self.light - fine * (0.62 / 255) - broad * (0.62 / 255)
        # The lower edge of a groove catches the light from above.
        light[3:] += fine[:-3] * (0.22 / 255)
        light[6:] += broad[:-6] * (0.20 / 255)
        np.clip(light, 0.12, 1.6, out=light)
        light = 1 + (light - 1) * (self.cover.astype(np.float32) / 255)
        lit = self.colours * light[..., None]
        return np.clip(lit, 0, 255, out=lit).astype(np.uint8)


class Inside:
    """Keeps colours drawn in the `with` block inside one polygon."""

    def __init__(self, canvas: Canvas, rows: slice, columns: slice, mask: np.ndarray) -> None:
        self._canvas, self._rows, self._columns, self._mask = canvas, rows, columns, mask

    def __enter__(self) -> None:
        """Remember what is there now."""
        self._before = self._canvas.colours.copy()

    def __exit__(self, *_: object) -> None:
        """Put back what lies outside the polygon."""
        drawn = self._canvas.colours[self._rows, self._columns].astype(np.float32)
        before = self._before[self._rows, self._columns]
        weight = (self._mask.astype(np.float32) / 255)[..., None]
        self._canvas.colours[:] = self._before
        self._canvas.colours[self._rows, self._columns] = (
            before + (drawn - before) * weight
        ).astype(np.uint8)
