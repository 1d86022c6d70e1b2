from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.face import Detection, HaarDetector, to_gray
from emojax.runtime.hiding import AFTER_S, BEFORE_S, FaceHider, hide
from emojax.runtime.predictor import FaceResult
from emojax.runtime.rows import Seen
from emojax.runtime.sources import Frame

STEP_S = 0.1


def test_few_colours_are_left_of_a_box():
    picture = np.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=np.uint8)
    hidden = hide(picture, [(20.2, 30.0, 70.0, 99.5)])
    outside = np.ones(picture.shape[:2], bool)
    outside[30:100, 20:70] = False
    np.testing.assert_array_equal(hidden[outside], picture[outside])
    inside = hidden[30:100, 20:70].astype(float)
    # Noise of 74 levels; its mean over cells of 8 x 8 has 9.
    assert inside.std() < 12
    assert np.abs(np.diff(inside, axis=0)).max() < 8


def test_boxes_may_reach_out_of_the_picture():
    picture = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    hidden = hide(picture, [(-30.0, -30.0, 20.0, 20.0), (60.0, 60.0, 80.0, 80.0), (49, 49, 99, 99)])
    assert hidden[:20, :20].std() < 20
    np.testing.assert_array_equal(hidden[20:49, 20:49], picture[20:49, 20:49])


def test_the_detector_finds_no_face_any_more(astronaut):
    (seen,) = run([astronaut], HaarDetector())
    detector = HaarDetector(min_neighbours=2)
    assert detector(to_gray(astronaut))
    (face,) = HaarDetector()(to_gray(astronaut))
    found = detector(to_gray(seen.frame.picture))
    assert not any(abs(box.x - face.x) < face.w and abs(box.y - face.y) < face.h for box in found)
    # The rest of the picture is as it was.
    np.testing.assert_array_equal(seen.frame.picture[:, :100], astronaut[:, :100])


def frame(number: int, picture: np.ndarray) -> Frame:
    return Frame(Path("a.mp4"), number, number * STEP_S, picture)


def run(pictures: list[np.ndarray], detector) -> list[Seen]:
    hider = FaceHider(detector)
    out: list[Seen] = []
    for number, picture in enumerate(pictures):
        out += hider.add(Seen(frame(number, picture), [], []))
        waiting = number + 1 - len(out)
        assert waiting <= round(BEFORE_S / STEP_S)
    return [*out, *hider.rest()]


NONE = np.zeros(0, np.float32)
NOISE = np.random.default_rng(0).integers(0, 256, (200, 400, 3), dtype=np.uint8)


def hidden_places(seen: Seen) -> np.ndarray:
    """Which pixels of a frame of `NOISE` are no longer what they were."""
    return (seen.frame.picture != NOISE).any(axis=2)


def scripted(boxes: list[Detection | None]):
    """A detector that finds one box after the other."""
    script = iter(boxes)

    def detect(gray: np.ndarray) -> list[Detection]:
        box = next(script)
        return [] if box is None else [box]

    return detect


def test_a_face_that_is_lost_for_a_moment_is_hidden_where_it_must_have_been():
    # By 2.5 times its width in all: no box in the middle would be hidden by its neighbours' alone.
    boxes = [Detection(50 + 25 * number, 80, 40, 40) for number in range(5)]
    script = [boxes[0], None, None, None, boxes[4]]
    out = run([NOISE] * 5, scripted(list(script)))
    for seen, box in zip(out, boxes, strict=True):
        places = hidden_places(seen)[box.y : box.y + box.h, box.x : box.x + box.w]
        assert places.mean() > 0.95, seen.frame.number


def test_a_face_is_hidden_before_it_is_found_and_after_it_is_lost():
    box = Detection(150, 80, 60, 60)
    before, after = round(BEFORE_S / STEP_S), round(AFTER_S / STEP_S)
    out = run([NOISE] * 40, scripted([box if n == 15 else None for n in range(40)]))
    assert [seen.frame.number for seen in out] == list(range(40))
    hidden = [n for n, seen in enumerate(out) if hidden_places(seen)[90:130, 160:200].mean() > 0.95]
    assert hidden[1:-1] == list(range(hidden[0] + 1, hidden[-1]))
    assert hidden[0] in (15 - before, 16 - before)
    assert hidden[-1] in (14 + after, 15 + after)
    # The longer ago, the more is hidden: it may have moved.
    sizes = [hidden_places(out[n]).sum() for n in (15, 18, 22)]
    assert sizes == sorted(sizes)
    assert sizes[2] > 1.5 * sizes[0]


def test_nothing_is_hidden_where_there_was_nobody():
    out = run([NOISE] * 8, scripted([None] * 8))
    assert not any(hidden_places(seen).any() for seen in out)


def test_two_faces_are_hidden_each_on_its_own():
    left, right = Detection(20, 80, 50, 50), Detection(300, 80, 50, 50)

    def detect(gray: np.ndarray) -> list[Detection]:
        return [left, right]

    places = hidden_places(run([NOISE], detect)[0])
    for box in (left, right):
        assert places[box.y : box.y + box.h, box.x : box.x + box.w].mean() > 0.95
    assert not places[:, 150:220].any()


def test_a_face_that_is_lost_beside_another_is_hidden_all_the_same():
    # Closer than a lost face may move: each could be the other, a frame later.
    left, right = Detection(60, 80, 50, 50), Detection(170, 80, 50, 50)
    found = iter([[right] if n == 3 else [left] if n == 6 else [left, right] for n in range(10)])
    for seen in run([NOISE] * 10, lambda gray: next(found)):
        for box in (left, right):
            places = hidden_places(seen)[box.y : box.y + box.h, box.x : box.x + box.w]
            assert places.mean() > 0.95, (seen.frame.number, box)


def test_what_both_detectors_find_is_one_track():
    known, found = Detection(100, 80, 50, 50), Detection(104, 78, 54, 54)
    hider, face = FaceHider(lambda gray: [found]), FaceResult(known, NONE, NONE, ())
    for number in range(4):
        list(hider.add(Seen(frame(number, NOISE), [face], [0])))
    (track,) = hider._tracks.values()
    assert [(when, box.x, box.x + box.w) for when, box in track][-1] == (3 * STEP_S, 100, 158)


@pytest.mark.parametrize("size", [(40, 30), (1, 1)])
def test_tiny_pictures_are_no_reason_to_stop(size):
    picture = cv2.resize(NOISE, size)
    (seen,) = run([picture], HaarDetector())
    assert seen.frame.picture.shape == picture.shape


def test_tracks_are_forgotten():
    rng = np.random.default_rng(0)
    hider = FaceHider(lambda gray: [Detection(int(rng.integers(300)), 5, 20, 20)])
    for number in range(60):
        list(hider.add(Seen(frame(number, NOISE), [], [])))
    kept = sum(len(track) for track in hider._tracks.values())
    assert kept <= (AFTER_S + 2 * BEFORE_S) / STEP_S
