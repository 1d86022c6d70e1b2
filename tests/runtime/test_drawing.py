from __future__ import annotations

import numpy as np
import pytest
from tiny_artifact import NOTICE, SPEC

from emojax.face import Detection
from emojax.runtime.drawing import annotate, make_layout
from emojax.runtime.predictor import FaceResult

THRESHOLDS = np.full(15, 0.5, np.float32)
SIZES = [(640, 480), (64, 48), (16, 16), (1, 1), (1000, 40), (40, 1000), (4000, 3000), (321, 241)]


def make_face(x: int, y: int, side: int, value: float = 0.0) -> FaceResult:
    values = np.full(22, value, np.float32)
    return FaceResult(Detection(x, y, side, side), values[:15], values[15:], SPEC.emotions)


def draw(size: tuple[int, int], faces: list[FaceResult], columns: int = 1, notice=None):
    width, height = size
    layout = make_layout(width, height, SPEC, columns, notice)
    picture = np.full((height, width, 3), 77, np.uint8)
    return annotate(picture, faces, list(range(len(faces))), SPEC, THRESHOLDS, layout), layout


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("notice", [None, NOTICE, "word " * 200])
def test_copies_have_room_for_everything_and_even_sides(size, columns, notice):
    faces = [make_face(0, 0, max(1, size[0] // 2), 0.7)] * 3
    copy, layout = draw(size, faces, columns, notice)
    assert copy.shape == (layout.height, layout.width, 3)
    assert copy.dtype == np.uint8
    assert layout.width % 2 == layout.height % 2 == 0
    assert layout.scale >= 1
    # Two groups of bars, a title and a gap, 18 pixels each at the smallest scale.
    assert layout.height >= 24 * 18
    assert layout.width >= layout.picture_width + columns * 320 * layout.scale
    assert max(layout.picture_width, layout.picture_height) <= 1920
    aspect = layout.picture_width / layout.picture_height
    assert aspect == pytest.approx(size[0] / size[1], rel=0.05)


def test_the_picture_is_covered_by_nothing_but_boxes():
    copy, layout = draw((640, 480), [make_face(200, 100, 150, 0.9)], notice=NOTICE)
    view = copy[: layout.picture_height, : layout.picture_width]
    factor = layout.picture_width / 640
    assert (view != 77).any(axis=2).mean() < 0.03
    inside = view[
        round(110 * factor) : round(240 * factor), round(210 * factor) : round(340 * factor)
    ]
    assert (inside == 77).all()


def bars(copy: np.ndarray, layout) -> np.ndarray:
    """How many pixels of each of the 22 bars are filled, 0..1."""
    filled = []
    for row in range(22):
        line = 1 + row + (row >= 15)
        y = round((8 + 18 * line + 9) * layout.scale)
        left = round(layout.picture_width + 196 * layout.scale)
        right = round(layout.picture_width + 284 * layout.scale)
        strip = copy[y, left:right].astype(int)
        filled.append(((strip.max(axis=1) - strip.min(axis=1)) > 15).mean())
    return np.array(filled)


@pytest.mark.parametrize("size", [(640, 480), (64, 48), (1920, 1080)])
def test_bars_are_as_long_as_the_probabilities(size):
    face = make_face(0, 0, 40)
    values = np.linspace(0, 1, 22).astype(np.float32)
    face = FaceResult(face.detection, values[:15], values[15:], SPEC.emotions)
    copy, layout = draw(size, [face])
    np.testing.assert_allclose(bars(copy, layout), values, atol=0.03)


def test_present_units_and_the_highest_emotion_stand_out():
    values = np.full(22, 0.4, np.float32)
    values[[2, 16]] = 0.8
    face = FaceResult(Detection(0, 0, 40, 40), values[:15], values[15:], SPEC.emotions)
    copy, layout = draw((640, 480), [face])
    left = round(layout.picture_width + 198 * layout.scale)
    colours = [
        tuple(copy[round((8 + 18 * (1 + row + (row >= 15)) + 9) * layout.scale), left])
        for row in range(22)
    ]
    assert len(set(colours)) == 3
    assert [row for row in range(22) if colours[row] != colours[0]] == [2, 16]


def test_without_columns_enough_the_largest_faces_get_bars():
    faces = [make_face(0, 0, 20, 0.2), make_face(100, 0, 90, 0.9), make_face(300, 0, 40, 0.4)]
    copy, layout = draw((640, 480), faces)
    assert bars(copy, layout).mean() == pytest.approx(0.9, abs=0.03)


def test_no_face_is_said_in_words():
    empty, layout = draw((640, 480), [])
    panel = empty[:, layout.picture_width :]
    assert (panel < 128).any()
    assert not bars(empty, layout).any()


def test_the_notice_stands_under_the_picture():
    with_notice, layout = draw((640, 480), [], notice=NOTICE)
    _, plain = draw((640, 480), [])
    assert layout.height > plain.height
    footer = with_notice[layout.height - 24 :]
    assert (footer.min(axis=2) < 128).any()
    assert layout.footer == (NOTICE,)


def test_a_frame_of_another_size_is_fitted_in():
    layout = make_layout(640, 480, SPEC)
    picture = np.full((720, 1280, 3), 77, np.uint8)
    copy = annotate(picture, [make_face(600, 300, 100)], [0], SPEC, THRESHOLDS, layout)
    assert copy.shape == (layout.height, layout.width, 3)


def test_the_input_picture_is_left_as_it_is():
    layout = make_layout(640, 480, SPEC)
    picture = np.full((480, 640, 3), 77, np.uint8)
    annotate(picture, [make_face(10, 10, 100)], [0], SPEC, THRESHOLDS, layout)
    assert (picture == 77).all()
