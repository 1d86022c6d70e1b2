"""Results -> an annotated copy: boxes on the picture, bars beside it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from emojax.labels import ACTION_UNIT_NAMES
from emojax.runtime.canvas import (
    FONT,
    MARGIN,
    ROW,
    Layout,
    begin_copy,
    choose_largest,
    draw_boxes,
    fit_layout,
    letter_height,
    write_words,
)
from emojax.runtime.predictor import FaceResult
from emojax.spec import InputSpec

# Blue, green, red.
_FAINT = (225, 225, 225)
_QUIET_BAR = (190, 170, 150)
_LOUD_BAR = (60, 130, 235)
_TOP_BAR = (90, 160, 70)

_PANEL_WIDTH = 330
_BAR_LEFT = 196
_BAR_RIGHT = 284


def _num_rows(spec: InputSpec) -> int:
    # A title over the faces' bars, and one line between the two groups.
    return 1 + len(spec.action_units) + 1 + len(spec.emotions)


def make_layout(
    width: int, height: int, spec: InputSpec, columns: int = 1, notice: str | None = None
) -> Layout:
    """Return the layout of the annotated copies of pictures of one size.

    A small picture is enlarged towards the panel's height, a very large one
    made smaller; its shape stays. Both sides are even, as video codecs want.

    Args:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        spec: names of the outputs.
        columns: faces whose bars are shown side by side.
        notice: stands under the picture.
    """
    panel = (_PANEL_WIDTH, _num_rows(spec) * ROW + 2 * MARGIN)
    return fit_layout(width, height, panel, columns, notice)


def _draw_bar(
    canvas: np.ndarray,
    name: str,
    value: float,
    left: float,
    top: float,
    scale: float,
    colour: tuple[int, int, int],
) -> None:
    baseline = top + 13 * scale
    write_words(canvas, name, left + MARGIN * scale, baseline, scale)
    begin, end = round(left + _BAR_LEFT * scale), round(left + _BAR_RIGHT * scale)
    upper, lower = round(top + 4 * scale), round(top + 14 * scale)
    cv2.rectangle(canvas, (begin, upper), (end, lower), _FAINT, -1)
    if (length := round(value * (end - begin))) > 0:
        cv2.rectangle(canvas, (begin, upper), (begin + length, lower), colour, -1)
    write_words(canvas, f"{value:.2f}", end + 6 * scale, baseline, scale)


def _draw_panel(
    canvas: np.ndarray,
    title: str,
    face: FaceResult,
    left: float,
    scale: float,
    spec: InputSpec,
    thresholds: np.ndarray,
) -> None:
    top, row = MARGIN * scale, ROW * scale
    write_words(canvas, title, left + MARGIN * scale, top + 13 * scale, scale)
    top += row
    for name, value, threshold in zip(
        spec.action_units, face.action_units, thresholds, strict=True
    ):
        words = f"{name} {ACTION_UNIT_NAMES[int(name[2:])]}"
        colour = _LOUD_BAR if value >= threshold else _QUIET_BAR
        _draw_bar(canvas, words, float(value), left, top, scale, colour)
        top += row
    top += row
    for name, value in zip(spec.emotions, face.emotions, strict=True):
        colour = _TOP_BAR if name == face.emotion else _QUIET_BAR
        _draw_bar(canvas, name, float(value), left, top, scale, colour)
        top += row


def annotate(
    picture: np.ndarray,
    faces: Sequence[FaceResult],
    face_ids: Sequence[int],
    spec: InputSpec,
    thresholds: np.ndarray,
    layout: Layout,
) -> np.ndarray:
    """Return an annotated copy: face boxes with their ids, bars beside the picture.

    Action units from their threshold on and the highest emotion stand out.
    Where there are more faces than columns, the largest get bars.

    Args:
        picture: blue, green, red, uint8 [height, width, 3].
        faces: what was found, any number.
        face_ids: the id of each face.
        spec: names of the outputs.
        thresholds: float32 [action units].
        layout: for pictures of this size; another size is fitted in.

    Returns:
        Blue, green, red, uint8 [layout.height, layout.width, 3].
    """
    canvas, view, factor = begin_copy(picture, layout)
    boxes = [face.detection for face in faces]
    draw_boxes(view, boxes, face_ids, factor)
    scale = layout.scale
    for column, index in enumerate(choose_largest(boxes, layout.columns)):
        left = layout.picture_width + column * _PANEL_WIDTH * scale
        title = f"face {face_ids[index]}"
        if len(faces) > layout.columns:
            title += f" (one of {len(faces)}, {'largest' if layout.columns == 1 else 'larger'})"
        _draw_panel(canvas, title, faces[index], left, scale, spec, thresholds)
    if not faces:
        left = layout.picture_width + MARGIN * scale
        write_words(canvas, "no face found", left, (MARGIN + 13) * scale, scale)
    return canvas


def write_state(canvas: np.ndarray, words: str, alarm: bool = False) -> None:
    """Write a line into the upper left corner of the picture, on a dark ground, in place.

    Args:
        canvas: what `annotate` gave.
        words: letters of ASCII; others become question marks.
        alarm: in red.
    """
    scale = max(1.0, min(canvas.shape[:2]) / 480)
    (width, height), _ = cv2.getTextSize(words, FONT, letter_height(scale), max(1, round(scale)))
    margin = round(MARGIN * scale)
    ground = canvas[: height + 2 * margin, : width + 2 * margin]
    ground[:] = ground // 4
    colour = (80, 80, 255) if alarm else (255, 255, 255)
    write_words(canvas, words, margin, margin + height, scale, colour)
