"""Results -> an annotated copy: boxes on the picture, bars beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from emojax.labels import ACTION_UNIT_NAMES
from emojax.runtime.predictor import FaceResult
from emojax.spec import InputSpec

# Blue, green, red.
_PAPER = (250, 250, 250)
_INK = (40, 40, 40)
_FAINT = (225, 225, 225)
_QUIET_BAR = (190, 170, 150)
_LOUD_BAR = (60, 130, 235)
_TOP_BAR = (90, 160, 70)
_BOX = (60, 200, 60)
_FONT = cv2.FONT_HERSHEY_SIMPLEX

_LONGEST_SIDE = 1920
_ROW = 18
_PANEL_WIDTH = 330
_BAR_LEFT = 196
_BAR_RIGHT = 284
_MARGIN = 8


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
    """Lines under the picture."""


def _text_height(scale: float) -> float:
    return 0.42 * scale


def _text(
    canvas: np.ndarray,
    words: str,
    left: float,
    baseline: float,
    scale: float,
    colour: tuple[int, int, int] = _INK,
) -> None:
    place = (round(left), round(baseline))
    # Hershey letters are ASCII; anything else would be drawn as question marks.
    plain = words.encode("ascii", "replace").decode("ascii")
    thickness = max(1, round(scale * 0.9))
    cv2.putText(canvas, plain, place, _FONT, _text_height(scale), colour, thickness, cv2.LINE_AA)


def _wrap(words: str, width: float, scale: float) -> tuple[str, ...]:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        size, _ = cv2.getTextSize(longer, _FONT, _text_height(scale), max(1, round(scale)))
        if size[0] <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(line for line in lines if line)


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
    panel_height = _num_rows(spec) * _ROW + 2 * _MARGIN
    # An icon is enlarged by at most 8: beyond that there is nothing more to see.
    factor = min(max(panel_height / height, 1.0), max(1.0, 960 / width), 8.0)
    factor = min(factor, _LONGEST_SIDE / max(width, height))
    picture_width, picture_height = max(1, round(width * factor)), max(1, round(height * factor))
    scale = max(1.0, min(picture_height / panel_height, 3.0))
    total_width = picture_width + round(columns * _PANEL_WIDTH * scale)
    footer = _wrap(notice, total_width - 2 * _MARGIN * scale, scale) if notice else ()
    total_height = max(picture_height, round(panel_height * scale))
    total_height += round((len(footer) * _ROW + _MARGIN) * scale) if footer else 0
    return Layout(
        picture_width=picture_width,
        picture_height=picture_height,
        scale=scale,
        columns=columns,
        width=total_width + total_width % 2,
        height=total_height + total_height % 2,
        footer=footer,
    )


def _draw_boxes(
    canvas: np.ndarray, faces: Sequence[FaceResult], face_ids: Sequence[int], factor: float
) -> None:
    thickness = max(1, round(min(canvas.shape[:2]) / 240))
    size = max(0.4, min(canvas.shape[:2]) / 900)
    for face, face_id in zip(faces, face_ids, strict=True):
        box = face.detection
        left, top = round(box.x * factor), round(box.y * factor)
        right, bottom = round((box.x + box.w) * factor), round((box.y + box.h) * factor)
        cv2.rectangle(canvas, (left, top), (right, bottom), _BOX, thickness)
        words = str(face_id)
        (width, height), _ = cv2.getTextSize(words, _FONT, size, thickness)
        # On the box's upper edge and outside, or the number would cover the face.
        foot = max(top - 1, height + 5)
        cv2.rectangle(canvas, (left, foot - height - 5), (left + width + 5, foot), _BOX, -1)
        place = (left + 2, foot - 3)
        cv2.putText(canvas, words, place, _FONT, size, (0, 0, 0), thickness, cv2.LINE_AA)


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
    _text(canvas, name, left + _MARGIN * scale, baseline, scale)
    begin, end = round(left + _BAR_LEFT * scale), round(left + _BAR_RIGHT * scale)
    upper, lower = round(top + 4 * scale), round(top + 14 * scale)
    cv2.rectangle(canvas, (begin, upper), (end, lower), _FAINT, -1)
    if (length := round(value * (end - begin))) > 0:
        cv2.rectangle(canvas, (begin, upper), (begin + length, lower), colour, -1)
    _text(canvas, f"{value:.2f}", end + 6 * scale, baseline, scale)


def _draw_panel(
    canvas: np.ndarray,
    title: str,
    face: FaceResult,
    left: float,
    scale: float,
    spec: InputSpec,
    thresholds: np.ndarray,
) -> None:
    top, row = _MARGIN * scale, _ROW * scale
    _text(canvas, title, left + _MARGIN * scale, top + 13 * scale, scale)
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


def _shown(faces: Sequence[FaceResult], columns: int) -> list[int]:
    """Return which faces get bars: the largest ones, in their order."""
    by_size = sorted(
        range(len(faces)),
        key=lambda index: -faces[index].detection.w * faces[index].detection.h,
    )
    return sorted(by_size[:columns])


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
    canvas = np.full((layout.height, layout.width, 3), _PAPER, np.uint8)
    # A video may change its size in the middle; its copy can't.
    factor = min(layout.picture_width / picture.shape[1], layout.picture_height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    view = picture.copy() if factor == 1 else cv2.resize(picture, size, interpolation=method)
    _draw_boxes(view, faces, face_ids, factor)
    canvas[: view.shape[0], : view.shape[1]] = view
    scale = layout.scale
    for column, index in enumerate(_shown(faces, layout.columns)):
        left = layout.picture_width + column * _PANEL_WIDTH * scale
        title = f"face {face_ids[index]}"
        if len(faces) > layout.columns:
            title += f" (one of {len(faces)}, {'largest' if layout.columns == 1 else 'larger'})"
        _draw_panel(canvas, title, faces[index], left, scale, spec, thresholds)
    if not faces:
        left = layout.picture_width + _MARGIN * scale
        _text(canvas, "no face found", left, (_MARGIN + 13) * scale, scale)
    for number, line in enumerate(reversed(layout.footer)):
        baseline = layout.height - (_MARGIN + number * _ROW) * scale
        _text(canvas, line, _MARGIN * scale, baseline, scale, (60, 60, 180))
    return canvas


def write_state(canvas: np.ndarray, words: str, alarm: bool = False) -> None:
    """Write a line into the upper left corner of the picture, on a dark ground, in place.

    Args:
        canvas: what `annotate` gave.
        words: letters of ASCII; others become question marks.
        alarm: in red.
    """
    scale = max(1.0, min(canvas.shape[:2]) / 480)
    (width, height), _ = cv2.getTextSize(words, _FONT, _text_height(scale), max(1, round(scale)))
    margin = round(_MARGIN * scale)
    ground = canvas[: height + 2 * margin, : width + 2 * margin]
    ground[:] = ground // 4
    colour = (80, 80, 255) if alarm else (255, 255, 255)
    _text(canvas, words, margin, margin + height, scale, colour)
