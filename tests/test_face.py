from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import skimage.data
from cv2.data import haarcascades

from emojax.errors import UserError
from emojax.face import (
    Detection,
    HaarDetector,
    crop_face,
    crop_ready,
    detect_faces,
    largest,
    make_detector,
    normalise,
    overlap,
    to_gray,
    without_overlaps,
)
from emojax.spec import InputSpec

SPEC = InputSpec()


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return to_gray(skimage.data.astronaut()[:, :, ::-1].copy())


def test_the_astronaut_has_one_face_in_its_place(astronaut):
    (face,) = HaarDetector()(astronaut)
    # The eyes are at (205, 110) and (245, 108), the chin at (225, 158).
    assert overlap(face, Detection(177, 66, 95, 95)) > 0.8
    assert face.confidence > 3


@pytest.mark.parametrize("min_neighbours", [2, 3, 5, 7, 12, 20, 22, 24, 26])
def test_boxes_are_those_of_opencvs_own_grouping(astronaut, min_neighbours):
    detector = HaarDetector(min_neighbours=min_neighbours)
    cascade = cv2.CascadeClassifier(haarcascades + "haarcascade_frontalface_default.xml")
    expected = cascade.detectMultiScale(
        astronaut, detector.scale_factor, detector.min_neighbours - 1, minSize=(51, 51)
    )
    found = [(face.x, face.y, face.w, face.h) for face in detector(astronaut)]
    assert found == sorted(tuple(box) for box in expected)


def test_enough_neighbours_leave_nothing(astronaut):
    counts = [len(HaarDetector(min_neighbours=number)(astronaut)) for number in (10, 200)]
    assert counts == [1, 0]


def test_of_boxes_that_cover_each_other_the_best_supported_one_stays():
    group, face = Detection(0, 0, 260, 260, 9.0), Detection(100, 80, 120, 120, 5.0)
    beside = Detection(210, 80, 120, 120, 1.0)
    found = without_overlaps([(4, group), (60, face), (20, beside)])
    assert found == [face, beside]


def test_a_picture_twice_gives_two_faces_from_left_to_right(astronaut):
    both = np.hstack([astronaut, astronaut])
    left, right = detect_faces(both, HaarDetector())
    assert right.x - left.x == pytest.approx(astronaut.shape[1], abs=3)
    assert left.confidence == pytest.approx(right.confidence, rel=0.5)


def test_detect_faces_orders_what_any_detector_gives(astronaut):
    boxes = [Detection(50, 0, 10, 10), Detection(5, 9, 10, 10), Detection(5, 3, 10, 10)]
    assert detect_faces(astronaut, lambda _: boxes) == [boxes[2], boxes[1], boxes[0]]


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (23, 23), (24, 24), (200, 3)])
def test_tiny_frames_have_no_face(shape):
    assert HaarDetector()(np.zeros(shape, np.uint8)) == []


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_frames_have_no_face(value):
    assert HaarDetector()(np.full((240, 320), value, np.uint8)) == []


def test_memory_layout_does_not_matter(astronaut):
    wide = np.zeros((512, 1024), np.uint8)
    wide[:, ::2] = astronaut
    assert HaarDetector()(wide[:, ::2]) == HaarDetector()(astronaut)
    assert HaarDetector()(np.asfortranarray(astronaut)) == HaarDetector()(astronaut)


def test_the_number_of_threads_does_not_matter(astronaut):
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = HaarDetector()(astronaut)
        cv2.setNumThreads(4)
        assert HaarDetector()(astronaut) == one
    finally:
        cv2.setNumThreads(before)


def test_large_frames_are_searched_smaller_and_boxes_scaled_back(astronaut):
    large = cv2.resize(astronaut, (3000, 3000), interpolation=cv2.INTER_CUBIC)
    (face,) = HaarDetector()(large)
    expected = Detection(*(round(side * 3000 / 512) for side in (177, 66, 95, 95)))
    assert overlap(face, expected) > 0.8


def test_the_smallest_face_is_a_share_of_the_frame(astronaut):
    assert HaarDetector(min_face_share=0.3)(astronaut) == []


def test_detector_settings_make_the_same_detector(astronaut):
    detector = HaarDetector(scale_factor=1.2, min_neighbours=4)
    assert make_detector(detector.settings()) == detector
    assert make_detector({"name": "haar"}) == HaarDetector()
    # Worker processes get a copy: nothing of OpenCV's may hang on it.
    assert copy.deepcopy(detector)(astronaut) == detector(astronaut)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"name": "dnn"},
        {"name": "haar", "cascade": "haarcascade_eye"},
        {"name": "haar", "min_neighbors": 3},
        {"name": "haar", "min_neighbours": "3"},
        {"name": "haar", "min_neighbours": True},
        {"name": "haar", "min_neighbours": 0},
        {"name": "haar", "min_neighbours": 10**30},
        {"name": "haar", "scale_factor": 1.0},
        # A frame would be searched for minutes.
        {"name": "haar", "scale_factor": 1.00001},
        {"name": "haar", "scale_factor": float("nan")},
        {"name": "haar", "min_size": 10**30},
        {"name": "haar", "max_side": 10**30},
        {"name": "haar", "min_face_share": 2},
    ],
)
def test_wrong_detector_settings_are_refused(settings):
    with pytest.raises(UserError, match=r"^spec\.json: "):
        make_detector(settings, "spec.json")


def test_real_clips_have_exactly_one_face_a_frame(shared_data):
    from emojax.video import read_frames

    folder = shared_data / "crema_d" / "VideoFlash"
    counts = {
        path.stem.split("_")[2]: [
            len(HaarDetector()(to_gray(frame.picture)))
            for frame in read_frames(path)
            if frame.number % 6 == 0
        ]
        for path in sorted(folder.glob("*.flv"))
    }
    assert len(counts) == 6
    assert {count for found in counts.values() for count in found} == {1}


def test_overlap_is_intersection_over_union():
    box = Detection(0, 0, 10, 10)
    assert overlap(box, box) == 1
    assert overlap(box, Detection(5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert overlap(box, Detection(10, 0, 10, 10)) == 0
    assert overlap(box, Detection(2, 2, 5, 5)) == pytest.approx(25 / 100)


def test_largest_is_the_one_with_the_largest_area():
    small, large = Detection(0, 0, 5, 5), Detection(9, 9, 6, 6)
    assert largest([small, large]) == large
    assert largest([]) is None


def test_a_box_has_an_area():
    with pytest.raises(UserError, match="0 x 4"):
        Detection(0, 0, 0, 4)


def ramp(rows: int, columns: int) -> np.ndarray:
    return (np.arange(rows)[:, None] + np.arange(columns)[None]).astype(np.uint8)


def test_a_crop_of_the_networks_size_is_cut_not_resized():
    gray = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    crop = crop_face(gray, Detection(40, 50, 98, 98), SPEC)
    np.testing.assert_array_equal(crop, gray[50:148, 49:129])


def test_a_face_is_never_stretched():
    # A circle of the box's height stays one: as wide as it is high.
    gray = np.zeros((400, 400), np.uint8)
    cv2.circle(gray, (200, 200), 60, 255, -1)
    crop = crop_face(gray, Detection(80, 80, 240, 240), SPEC)
    rows, columns = np.nonzero(crop > 127)
    assert crop.shape == (98, 80)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=1)
    assert np.ptp(rows) == pytest.approx(98 * 120 / 240, abs=2)
    assert columns.mean() == pytest.approx(39.5, abs=1)


def test_crop_scale_widens_the_view_around_the_centre():
    gray = ramp(120, 120)
    box = Detection(50, 40, 20, 20)
    crop = crop_face(gray, box, InputSpec(crop_scale=2.0))
    # 40 rows from 30, 33 columns from round(60 - 16.5) = 44.
    expected = cv2.resize(gray[30:70, 44:77], (80, 98), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize(
    "box", [(-30, -30), (60, -30), (-30, 60), (60, 60)], ids=["tl", "tr", "bl", "br"]
)
def test_beyond_the_border_the_edge_is_repeated(box):
    gray = ramp(100, 100)
    crop = crop_face(gray, Detection(*box, 98, 98), SPEC)
    wide = np.pad(gray, 100, mode="edge")
    top, left = box[1] + 100, box[0] + 9 + 100
    np.testing.assert_array_equal(crop, wide[top : top + 98, left : left + 80])


def test_a_box_outside_the_frame_is_refused():
    with pytest.raises(UserError, match="outside the frame"):
        crop_face(ramp(50, 50), Detection(200, 0, 20, 20), SPEC)


@pytest.mark.parametrize("shape", [(48, 48), (98, 80), (10, 200), (200, 10), (1, 1)])
def test_ready_crops_are_cut_to_the_aspect_around_the_centre(shape):
    gray = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    crop = crop_ready(gray, SPEC)
    rows = min(shape[0], max(1, round(shape[1] * 98 / 80)))
    columns = min(shape[1], max(1, round(shape[0] * 80 / 98)))
    top, left = (shape[0] - rows) // 2, (shape[1] - columns) // 2
    method = cv2.INTER_AREA if rows >= 98 else cv2.INTER_LINEAR
    expected = cv2.resize(
        gray[top : top + rows, left : left + columns].copy(), (80, 98), interpolation=method
    )
    np.testing.assert_array_equal(crop, expected)
    assert crop.dtype == np.uint8


def test_fer2013_pictures_keep_their_height_and_lose_their_sides():
    gray = ramp(48, 48)
    np.testing.assert_array_equal(
        crop_ready(gray, SPEC), cv2.resize(gray[:, 4:43].copy(), (80, 98))
    )


def test_shrinking_averages():
    # A fine checkerboard turns gray, it does not turn into a coarser one.
    gray = (np.indices((980, 980)).sum(axis=0) % 2 * 255).astype(np.uint8)
    crop = crop_face(gray, Detection(0, 0, 980, 980), SPEC)
    assert np.abs(crop.astype(int) - 127).max() <= 2


def test_equalisation_is_opencvs():
    gray = ramp(200, 200) // 4
    box = Detection(20, 20, 98, 98)
    plain = crop_face(gray, box, SPEC)
    equalised = crop_face(gray, box, InputSpec(equalise=True))
    np.testing.assert_array_equal(equalised, cv2.equalizeHist(plain))
    assert equalised.max() == 255
    assert plain.max() < 255


def test_normalise_is_x_minus_127_over_128():
    found = normalise(np.array([[0, 127, 255]], np.uint8), SPEC)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float32([[-127 / 128, 0, 1]]))
    other = normalise(np.array([10], np.uint8), InputSpec(offset=0.0, scale=255.0))
    np.testing.assert_allclose(other, 10 / 255)
