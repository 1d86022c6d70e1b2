from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from emojax.face import Detection, HaarDetector, overlap
from emojax.picture import to_gray
from emojax.quick_search import search_quickly


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return to_gray(cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))


@pytest.fixture(scope="module")
def scene(astronaut) -> np.ndarray:
    """640 x 480: her face four times, 52 to 160 pixels wide, before coffee."""
    picture = cv2.resize(to_gray(data.coffee()[:, :, ::-1].copy()), (640, 480))
    head = astronaut[20:220, 120:330]
    for side, left, top in ((115, 20, 20), (160, 330, 10), (230, 30, 210), (340, 290, 130)):
        picture[top : top + side, left : left + side] = cv2.resize(
            head, (side, side), interpolation=cv2.INTER_AREA
        )
    return picture


def assert_same(found: list[Detection], expected: list[Detection], least: float = 0.8) -> None:
    assert len(found) == len(expected)
    for box, whole in zip(found, expected, strict=True):
        assert overlap(box, whole) > least


def test_faces_of_all_sizes_are_found_where_the_whole_search_finds_them(scene):
    expected = HaarDetector()(scene)
    assert len(expected) == 4
    assert max(box.w for box in expected) > 2.5 * min(box.w for box in expected)
    assert_same(search_quickly(scene, HaarDetector()), expected)


def test_a_crowd_is_searched_at_once(astronaut):
    head = cv2.resize(astronaut[20:220, 120:330], (120, 120), interpolation=cv2.INTER_AREA)
    crowd = np.tile(head, (4, 5))
    expected = HaarDetector()(crowd)
    assert len(expected) == 20
    assert search_quickly(crowd, HaarDetector()) == expected


@pytest.mark.parametrize("size", [(1920, 1440), (320, 240), (160, 120)])
def test_frames_of_other_sizes_are_searched_too(scene, size):
    frame = cv2.resize(scene, size, interpolation=cv2.INTER_AREA)
    assert_same(search_quickly(frame, HaarDetector()), HaarDetector()(frame))


def test_no_box_is_wider_on_the_whole(astronaut):
    widths = {"whole": [], "quick": []}
    for number in range(12):
        way = np.array([[1, 0, 1.3 * number], [0, 1, 0.7 * number]], np.float64)
        frame = cv2.warpAffine(astronaut, way, (512, 512), borderMode=cv2.BORDER_REPLICATE)
        widths["whole"].append(HaarDetector()(frame)[0].w)
        widths["quick"].append(search_quickly(frame, HaarDetector())[0].w)
    assert np.mean(widths["quick"]) == pytest.approx(np.mean(widths["whole"]), rel=0.02)


def test_settings_are_the_detectors_own(scene):
    assert search_quickly(scene, HaarDetector(min_neighbours=200)) == []
    large = search_quickly(scene, HaarDetector(min_face_share=0.3))
    assert_same(large, HaarDetector(min_face_share=0.3)(scene))
    assert 0 < len(large) < 4


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (24, 24), (47, 900), (480, 640)])
@pytest.mark.parametrize("value", [0, 255])
def test_flat_and_tiny_frames_have_no_face(shape, value):
    assert search_quickly(np.full(shape, value, np.uint8), HaarDetector()) == []


def test_another_detector_searches_everything_once(scene):
    seen = []

    def detect(gray: np.ndarray) -> list[Detection]:
        seen.append(gray.shape)
        return [Detection(50, 0, 10, 10), Detection(5, 9, 10, 10)]

    assert [box.x for box in search_quickly(scene, detect)] == [5, 50]
    assert seen == [scene.shape]


def test_memory_layout_does_not_matter(scene):
    expected = search_quickly(scene, HaarDetector())
    assert search_quickly(np.asfortranarray(scene), HaarDetector()) == expected


def test_real_clips_have_exactly_one_face_a_frame(shared_data):
    from emojax.video import read_frames

    for path in sorted((shared_data / "crema_d" / "VideoFlash").glob("*.flv")):
        for frame in read_frames(path):
            if frame.number % 6 == 0:
                gray = to_gray(frame.picture)
                assert_same(search_quickly(gray, HaarDetector()), HaarDetector()(gray))
