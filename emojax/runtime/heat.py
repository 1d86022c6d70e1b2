"""A picture -> a copy that shows where the network looks: heat over each face."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np

from emojax.face import Detection, crop_rectangle, detect_faces, to_gray
from emojax.picture import read_picture
from emojax.runtime.canvas import (
    MARGIN,
    ROW,
    begin_copy,
    choose_largest,
    draw_boxes,
    fit_layout,
    wrap_words,
    write_words,
)
from emojax.runtime.heat_colours import (
    FAINTEST,
    SCALE_HEIGHT,
    blend,
    draw_covered,
    draw_scale,
    tell,
)
from emojax.runtime.occlusion import (
    HIGHEST,
    Heat,
    find_output,
    occlude,
    spread_falls,
    without_pause,
)
from emojax.runtime.predictor import Predictor

MOST_FACES = 12
"""Faces of a picture that are looked into, the largest: each costs some 100 runs of the network."""

MOST_COLUMNS = 4
"""Faces that are shown large beside the picture, as in the copies with bars."""

_PANEL_WIDTH = 270
_CROP_HEIGHT = 280
_LINES = 4


@dataclasses.dataclass(frozen=True)
class FaceHeat(Heat):
    """What covering shows of one face."""

    face_id: int
    """Its number, from the left."""
    box: Detection
    """Where it is."""
    crop: np.ndarray
    """uint8 [height, width], what the network sees."""


def look_for_heat(
    picture: np.ndarray, predictor: Predictor, wanted: str = HIGHEST
) -> Generator[None, None, tuple[list[Detection], list[FaceHeat]]]:
    """Return where the faces of a picture are, and what covering shows of the largest of them.

    Yields many times a second, so that whoever runs it may let others have a turn.

    Args:
        picture: blue, green, red, uint8 [height, width, 3].
        predictor: finds the faces and runs the network.
        wanted: an output's name, or `HIGHEST`.

    Raises:
        UserError: the network has no such output.
    """
    spec = predictor.spec
    find_output(wanted, np.zeros(spec.num_outputs), spec)
    gray = to_gray(picture)
    boxes = detect_faces(gray, predictor.detector)
    found = []
    for number in choose_largest(boxes, MOST_FACES):
        crop = predictor.cut(gray, [boxes[number]])[0]
        occlusion = yield from occlude(crop, predictor.predict_crops, round(float(crop.mean())))
        place, output = find_output(wanted, occlusion.whole, spec)
        found.append(FaceHeat(output, place, occlusion, number, boxes[number], crop))
    return boxes, found


def _cover_picture(
    view: np.ndarray,
    face: FaceHeat,
    heat: np.ndarray,
    top: float,
    factor: float,
    predictor: Predictor,
) -> None:
    """Lay a face's heat over the picture, in place; what the network sees of it turns gray."""
    left, upper, width, height = (
        round(side * factor) for side in crop_rectangle(face.box, predictor.spec)
    )
    large = cv2.resize(heat, (max(1, width), max(1, height)), interpolation=cv2.INTER_LINEAR)
    rows = slice(max(0, upper), max(0, upper + height))
    columns = slice(max(0, left), max(0, left + width))
    part = view[rows, columns]
    first_row, first_column = rows.start - upper, columns.start - left
    inside = large[first_row : first_row + part.shape[0], first_column:][:, : part.shape[1]]
    gray = cv2.cvtColor(to_gray(part), cv2.COLOR_GRAY2BGR)
    view[rows, columns] = blend(gray, inside, top)


def _draw_face(
    canvas: np.ndarray, face: FaceHeat, heat: np.ndarray, top: float, left: float, scale: float
) -> None:
    """Draw one face's column."""
    left, upper = left + MARGIN * scale, MARGIN * scale
    room = (_PANEL_WIDTH - 2 * MARGIN) * scale
    title = f"face {face.face_id}: {face.output} {face.whole:.2f}"
    write_words(canvas, title, left, upper + 13 * scale, scale)
    factor = min(_CROP_HEIGHT * scale / face.crop.shape[0], room / face.crop.shape[1])
    row = round(upper + 1.4 * ROW * scale)
    foot = draw_covered(canvas[row:, round(left) :], face.crop, face, heat, top, factor, scale)
    lines = [line for words in tell(face) for line in wrap_words(words, room, scale)]
    for number, line in enumerate(lines):
        write_words(canvas, line, left, row + foot + (number + 1) * ROW * scale, scale)


def _panel_height() -> int:
    return 2 * MARGIN + _CROP_HEIGHT + SCALE_HEIGHT + (2 + _LINES) * ROW


def draw_heat(
    picture: np.ndarray, boxes: list[Detection], found: list[FaceHeat], predictor: Predictor
) -> np.ndarray:
    """Return a copy of a picture with the heat of its faces.

    Args:
        picture: blue, green, red, uint8 [height, width, 3].
        boxes: all faces.
        found: those that were looked into, of `look_for_heat`.
        predictor: whose faces they are.

    Returns:
        Blue, green, red, uint8 [height, width, 3].
    """
    heats = [spread_falls(face.occlusion, face.place) for face in found]
    # One scale for all faces of a picture.
    top = max([FAINTEST, *(float(np.abs(heat).max()) for heat in heats)])
    note = ""
    if found:
        side = found[0].occlusion.side
        rows, columns = found[0].occlusion.shape
        note = (
            f"A gray square of {side} x {side} pixels was moved over what the network sees of a "
            f"face, {rows} x {columns} pixels. Orange: covered, the score falls. Blue: it rises. "
            "This is what the network goes by, right or wrong."
        )
    height, width = picture.shape[:2]
    panel = (_PANEL_WIDTH, _panel_height())
    shown = min(max(len(found), 1), MOST_COLUMNS)
    layout = fit_layout(width, height, panel, shown, predictor.artifact.notice, note)
    canvas, view, factor = begin_copy(picture, layout)
    for face, heat in zip(found, heats, strict=True):
        _cover_picture(view, face, heat, top, factor, predictor)
    draw_boxes(view, boxes, range(len(boxes)), factor)
    for column, number in enumerate(choose_largest([face.box for face in found], shown)):
        left = layout.picture_width + column * _PANEL_WIDTH * layout.scale
        _draw_face(canvas, found[number], heats[number], top, left, layout.scale)
    if found:
        left = layout.picture_width + MARGIN * layout.scale
        upper = (panel[1] - MARGIN - SCALE_HEIGHT) * layout.scale
        draw_scale(canvas, top, left, upper, panel[0] * layout.scale, layout.scale)
    else:
        left = layout.picture_width + MARGIN * layout.scale
        write_words(canvas, "no face found", left, (MARGIN + 13) * layout.scale, layout.scale)
    return canvas


def write_heat(source: Path, predictor: Predictor, wanted: str, to: Path) -> None:
    """Write a copy of a picture file with the heat of its faces, as PNG.

    Args:
        source: the picture.
        predictor: finds the faces and runs the network.
        wanted: an output's name, or `HIGHEST`.
        to: the copy.

    Raises:
        UserError: it can't be read, or the network has no such output.
    """
    picture = read_picture(source)
    boxes, found = without_pause(look_for_heat(picture, predictor, wanted))
    copy = draw_heat(picture, boxes, found, predictor)
    to.write_bytes(cv2.imencode(".png", copy)[1].tobytes())
