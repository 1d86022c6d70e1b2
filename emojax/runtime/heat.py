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
    INK,
    MARGIN,
    ROW,
    Layout,
    begin_copy,
    choose_largest,
    draw_boxes,
    fit_layout,
    wrap_words,
    write_words,
)
from emojax.runtime.occlusion import (
    HIGHEST,
    Occlusion,
    deepest,
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

# Orange and blue, in blue, green, red: told apart without red-green vision too.
_FALLS = np.array((0, 105, 235), np.float32)
_RISES = np.array((215, 120, 20), np.float32)
_STRONGEST = 0.8

_FAINT_SCALE = 0.05
# Below this a fall is not worth pointing at: int8 answers come in steps of 1/256.
_WORTH_TELLING = 0.02

_PANEL_WIDTH = 270
_CROP_HEIGHT = 280
_LINES = 4
_SCALE_HEIGHT = 10


@dataclasses.dataclass(frozen=True)
class FaceHeat:
    """What covering shows of one face."""

    face_id: int
    """Its number, from the left."""
    box: Detection
    """Where it is."""
    crop: np.ndarray
    """uint8 [height, width], what the network sees."""
    output: str
    """Which output is asked about."""
    place: int
    """The output's, among action units, then emotions."""
    occlusion: Occlusion
    """How far the outputs fall."""

    @property
    def whole(self) -> float:
        """The output with nothing covered, 0..1."""
        return float(self.occlusion.whole[self.place])

    @property
    def least(self) -> float:
        """The output with that square covered which costs most, 0..1."""
        return self.whole - deepest(self.occlusion, self.place)[2]

    @property
    def rise(self) -> float:
        """How far covering some other square raises the output; 0: none does."""
        return max(0.0, -float(self.occlusion.falls[..., self.place].min()))


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
        found.append(FaceHeat(number, boxes[number], crop, output, place, occlusion))
    return boxes, found


def _blend(picture: np.ndarray, heat: np.ndarray, top: float) -> np.ndarray:
    """Return a picture under its heat: the stronger it is, the less of the picture.

    Args:
        picture: uint8 [height, width, 3].
        heat: float32 [height, width].
        top: the value of the strongest colour.
    """
    strength = np.clip(np.abs(heat) / top, 0, 1)[..., None] * _STRONGEST
    colour = np.where(heat[..., None] > 0, _FALLS, _RISES)
    return np.rint(picture * (1 - strength) + colour * strength).astype(np.uint8)


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
    view[rows, columns] = _blend(gray, inside, top)


def tell(face: FaceHeat) -> list[str]:
    """Return what a face's heat says, a sentence each."""
    if face.whole - face.least < _WORTH_TELLING:
        told = [f"no square lowers it by {_WORTH_TELLING} or more"]
    else:
        told = [f"{face.least:.2f} with the framed square covered"]
    if face.rise >= _WORTH_TELLING:
        told.append(f"a blue one raises it by up to {face.rise:.2f}")
    return told


def _draw_face(
    canvas: np.ndarray, face: FaceHeat, heat: np.ndarray, top: float, left: float, scale: float
) -> None:
    """Draw one face's column."""
    left, upper = left + MARGIN * scale, MARGIN * scale
    room = (_PANEL_WIDTH - 2 * MARGIN) * scale
    title = f"face {face.face_id}: {face.output} {face.whole:.2f}"
    write_words(canvas, title, left, upper + 13 * scale, scale)
    rows, columns = face.crop.shape
    factor = min(_CROP_HEIGHT * scale / rows, room / columns)
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    crop = cv2.cvtColor(
        cv2.resize(face.crop, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR
    )
    large = cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR)
    column, row = round(left), round(upper + 1.4 * ROW * scale)
    part = canvas[row : row + size[1], column : column + size[0]]
    part[:] = _blend(crop, large, top)
    if face.whole - face.least >= _WORTH_TELLING:
        first_row, first_column, _ = deepest(face.occlusion, face.place)
        corner = round(first_column * factor), round(first_row * factor)
        side = face.occlusion.side
        opposite = round((first_column + side) * factor), round((first_row + side) * factor)
        # A dark line on a light one can be seen on any ground.
        for colour, thick in (((255, 255, 255), 3), (INK, 1)):
            cv2.rectangle(part, corner, opposite, colour, max(1, round(thick * scale)))
    lines = [line for words in tell(face) for line in wrap_words(words, room, scale)]
    for number, line in enumerate(lines):
        write_words(canvas, line, left, row + size[1] + (number + 1) * ROW * scale, scale)


def _draw_scale(canvas: np.ndarray, top: float, layout: Layout) -> None:
    """Draw which colour stands for how much, below the first column."""
    scale = layout.scale
    left, width = layout.picture_width + MARGIN * scale, (_PANEL_WIDTH - 2 * MARGIN) * scale
    upper = _panel_height() * scale - (MARGIN + _SCALE_HEIGHT + ROW) * scale
    rows, columns = round(_SCALE_HEIGHT * scale), round(width)
    values = np.broadcast_to(np.linspace(-top, top, columns, dtype=np.float32), (rows, columns))
    ground = np.full((rows, columns, 3), 128, np.uint8)
    row, column = round(upper), round(left)
    canvas[row : row + rows, column : column + columns] = _blend(ground, values, top)
    below = upper + (_SCALE_HEIGHT + 14) * scale
    for share, words in ((0.0, f"+{top:.2f}"), (0.47, "0"), (0.83, f"-{top:.2f}")):
        write_words(canvas, words, left + share * width, below, scale)


def _panel_height() -> int:
    return 2 * MARGIN + _CROP_HEIGHT + _SCALE_HEIGHT + (3 + _LINES) * ROW


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
    # One scale for all faces of a picture; it never grows so fine that noise looks like an answer.
    top = max([_FAINT_SCALE, *(float(np.abs(heat).max()) for heat in heats)])
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
        _draw_scale(canvas, top, layout)
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
