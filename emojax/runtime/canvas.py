"""What annotated copies have in common: a picture, columns beside it, lines under it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from emojax.face import Detection

# Blue, green, red.
INK = (40, 40, 40)
_PAPER = (250, 250, 250)
_ALARM = (60, 60, 180)
_BOX = (60, 200, 60)
FONT = cv2.FONT_HERSHEY_SIMPLEX

_LONGEST_SIDE = 1920
ROW = 18
"""Height of a line of letters, at scale 1."""
MARGIN = 8
"""Around what stands beside and under the picture, at scale 1."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where things stand in an annotated copy. Fixed for all frames of a video."""

    picture_width: int
    """Columns of the picture in the copy."""
    picture_height: int
    """Rows of the picture in the copy."""
    scale: float
    """Size of the panel's letters and bars; 1 is the smallest that reads well."""
    columns: int
    """Faces whose bars are shown side by side."""
    width: int
    """Columns of the copy."""
    height: int
    """Rows of the copy."""
    footer: tuple[str, ...]
    """Lines under the picture, as a warning."""
    notes: tuple[str, ...] = ()
    """Lines under those, not as one."""


def letter_height(scale: float) -> float:
    """Return the size that OpenCV draws letters in."""
    return 0.42 * scale


def write_words(
    canvas: np.ndarray,
    words: str,
    left: float,
    baseline: float,
    scale: float,
    colour: tuple[int, int, int] = INK,
) -> None:
    """Write a line, in place.

    Args:
        canvas: blue, green, red, uint8 [height, width, 3].
        words: letters of ASCII; others become question marks.
        left: where the line begins, in pixels.
        baseline: what the letters stand on, in pixels from the top.
        scale: of the letters; 1 is the smallest that reads well.
        colour: blue, green, red.
    """
    place = (round(left), round(baseline))
    # Hershey letters are ASCII; anything else would be drawn as question marks.
    plain = words.encode("ascii", "replace").decode("ascii")
    thickness = max(1, round(scale * 0.9))
    cv2.putText(canvas, plain, place, FONT, letter_height(scale), colour, thickness, cv2.LINE_AA)


def wrap_words(words: str, width: float, scale: float) -> tuple[str, ...]:
    """Return a text as lines that are no wider than so many pixels, but for single words."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        size, _ = cv2.getTextSize(longer, FONT, letter_height(scale), max(1, round(scale)))
        if size[0] <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(line for line in lines if line)


def fit_layout(
    width: int,
    height: int,
    panel: tuple[int, int],
    columns: int,
    notice: str | None,
    note: str = "",
) -> Layout:
    """Return the layout of the copies of pictures of one size.

    A small picture is enlarged towards the panel's height, a very large one
    made smaller; its shape stays. Both sides are even, as video codecs want.

    Args:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        panel: width and height of a column beside the picture, at scale 1.
        columns: how many of them.
        notice: stands under the picture, as a warning; None: there is none.
        note: stands below it; empty: nothing does.
    """
    panel_width, panel_height = panel
    # An icon is enlarged by at most 8: beyond that there is nothing more to see.
    factor = min(max(panel_height / height, 1.0), max(1.0, 960 / width), 8.0)
    factor = min(factor, _LONGEST_SIDE / max(width, height))
    picture_width, picture_height = max(1, round(width * factor)), max(1, round(height * factor))
    scale = max(1.0, min(picture_height / panel_height, 3.0))
    total_width = picture_width + round(columns * panel_width * scale)
    room = total_width - 2 * MARGIN * scale
    footer = wrap_words(notice or "", room, scale)
    notes = wrap_words(note, room, scale)
    lines = footer + notes
    total_height = max(picture_height, round(panel_height * scale))
    total_height += round((len(lines) * ROW + MARGIN) * scale) if lines else 0
    return Layout(
        picture_width=picture_width,
        picture_height=picture_height,
        scale=scale,
        columns=columns,
        width=total_width + total_width % 2,
        height=total_height + total_height % 2,
        footer=footer,
        notes=notes,
    )


def begin_copy(picture: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray, float]:
    """Return a copy with its picture and what stands under it; draw the rest into it.

    Args:
        picture: blue, green, red, uint8 [height, width, 3].
        layout: for pictures of this size; another size is fitted in.

    Returns:
        The copy, blue, green, red, uint8 [layout.height, layout.width, 3]; the part of it that is
        the picture; and how much larger the picture is in it.
    """
    canvas = np.full((layout.height, layout.width, 3), _PAPER, np.uint8)
    # A video may change its size in the middle; its copy can't.
    factor = min(layout.picture_width / picture.shape[1], layout.picture_height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    view = canvas[: size[1], : size[0]]
    view[:] = picture if factor == 1 else cv2.resize(picture, size, interpolation=method)
    lines = [(line, _ALARM) for line in layout.footer] + [(line, INK) for line in layout.notes]
    for number, (line, colour) in enumerate(reversed(lines)):
        baseline = layout.height - (MARGIN + number * ROW) * layout.scale
        write_words(canvas, line, MARGIN * layout.scale, baseline, layout.scale, colour)
    return canvas, view, factor


def draw_boxes(
    canvas: np.ndarray, boxes: Sequence[Detection], face_ids: Sequence[int], factor: float
) -> None:
    """Draw a box around each face, its id on the upper edge, in place.

    Args:
        canvas: the picture.
        boxes: where the faces are, in pixels of the picture before it was enlarged.
        face_ids: the id of each.
        factor: how much the picture is enlarged.
    """
    thickness = max(1, round(min(canvas.shape[:2]) / 240))
    size = max(0.4, min(canvas.shape[:2]) / 900)
    for box, face_id in zip(boxes, face_ids, strict=True):
        left, top = round(box.x * factor), round(box.y * factor)
        right, bottom = round((box.x + box.w) * factor), round((box.y + box.h) * factor)
        cv2.rectangle(canvas, (left, top), (right, bottom), _BOX, thickness)
        words = str(face_id)
        (width, height), _ = cv2.getTextSize(words, FONT, size, thickness)
        # On the box's upper edge and outside, or the number would cover the face.
        foot = max(top - 1, height + 5)
        cv2.rectangle(canvas, (left, foot - height - 5), (left + width + 5, foot), _BOX, -1)
        place = (left + 2, foot - 3)
        cv2.putText(canvas, words, place, FONT, size, (0, 0, 0), thickness, cv2.LINE_AA)


def choose_largest(boxes: Sequence[Detection], most: int) -> list[int]:
    """Return the places of the largest boxes, so many at most, in their order."""
    by_size = sorted(range(len(boxes)), key=lambda place: -boxes[place].w * boxes[place].h)
    return sorted(by_size[:most])
