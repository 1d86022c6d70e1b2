from __future__ import annotations

import numpy as np
from tiny_artifact import NOTICE

import emojax.runtime
from emojax.face import Detection
from emojax.runtime.heat import MOST_FACES, FaceHeat, draw_heat, look_for_heat
from emojax.runtime.heat_colours import tell
from emojax.runtime.occlusion import Occlusion, place_patches, without_pause

TOPS, LEFTS, SIDE = place_patches(98, 28), place_patches(80, 28), 28
BOX = Detection(120, 60, 98, 98)


def face_with(falls: np.ndarray, whole: float = 0.8) -> FaceHeat:
    """A gray face whose only output falls like this."""
    occlusion = Occlusion(
        np.array([whole], np.float32), falls[..., None], TOPS, LEFTS, SIDE, (98, 80)
    )
    return FaceHeat("AU12", 0, occlusion, 0, BOX, np.full((98, 80), 128, np.uint8))


def colours(artifact_folder, face: FaceHeat) -> tuple[np.ndarray, np.ndarray]:
    """Red less blue: where the face is in the picture, and in its column; 80 x 98 each."""
    predictor = emojax.runtime.load(artifact_folder)
    picture = np.full((480, 640, 3), 128, np.uint8)
    copy = draw_heat(picture, [BOX], [face], predictor).astype(int)
    difference = copy[..., 2] - copy[..., 0]
    # A crop is 80 of its box's 98 columns.
    left = BOX.x + (98 - 80) // 2
    in_picture = difference[BOX.y : BOX.y + 98, left : left + 80]
    return in_picture, difference[:400, 648:]


def test_falls_are_orange_and_rises_blue_where_they_are(artifact_folder) -> None:
    falls = np.zeros((len(TOPS), len(LEFTS)), np.float32)
    falls[0, 0] = 0.4
    falls[-1, -1] = -0.4
    in_picture, in_column = colours(artifact_folder, face_with(falls))
    assert in_picture[2, 6] > 100
    assert in_picture[-6, -2] < -100
    assert abs(in_picture[50, 40]) < 3
    assert in_column.max() > 100
    assert in_column.min() < -100


def test_noise_is_no_heat(artifact_folder) -> None:
    falls = np.random.default_rng(0).normal(0, 0.002, (len(TOPS), len(LEFTS))).astype(np.float32)
    in_picture, _ = colours(artifact_folder, face_with(falls))
    assert np.abs(in_picture[4:-4, 4:-4]).max() < 20


def test_what_it_says_is_what_was_measured() -> None:
    falls = np.zeros((len(TOPS), len(LEFTS)), np.float32)
    assert tell(face_with(falls)) == ["no square lowers it by 0.02 or more"]
    falls[3, 4], falls[5, 5] = 0.43, -0.11
    face = face_with(falls, 0.93)
    assert round(face.least, 2) == 0.5
    assert tell(face) == [
        "0.50 with the framed square covered",
        "a blue one raises it by up to 0.11",
    ]


def test_of_a_crowd_the_largest_are_looked_into(artifact_folder) -> None:
    predictor = emojax.runtime.load(artifact_folder)
    boxes = [Detection(40 * number, 10, 30 + number % 3, 30 + number % 3) for number in range(15)]
    predictor.detector = lambda gray: boxes
    picture = np.random.default_rng(0).integers(0, 256, (60, 660, 3), np.uint8)
    found_boxes, found = without_pause(look_for_heat(picture, predictor))
    assert found_boxes == boxes
    assert len(found) == MOST_FACES
    assert {face.box.w for face in found} == {30, 31, 32}
    assert sum(face.box.w == 30 for face in found) == 2
    assert draw_heat(picture, boxes, found, predictor).shape[2] == 3
    assert predictor.artifact.notice == NOTICE
