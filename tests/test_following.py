from __future__ import annotations

import cv2
import numpy as np
import pytest

from emojax.face import Detection, HaarDetector, largest, overlap
from emojax.following import WHOLE_EVERY, FaceFollower, find_near, make_follower
from emojax.picture import to_gray


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    from skimage import data

    return to_gray(cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))


def moved(picture: np.ndarray, across: float, down: float) -> np.ndarray:
    """Return a picture shifted by so many pixels, its border repeated."""
    way = np.array([[1, 0, across], [0, 1, down]], np.float64)
    size = picture.shape[::-1]
    return cv2.warpAffine(picture, way, size, borderMode=cv2.BORDER_REPLICATE)


class Counting:
    """A detector that notes the size of what it is shown."""

    def __init__(self, answers: list[list[Detection]]) -> None:
        self.answers = answers
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, gray: np.ndarray) -> list[Detection]:
        self.seen.append(gray.shape)
        return self.answers[len(self.seen) - 1]


def test_a_moving_face_is_found_where_the_whole_search_finds_it(astronaut):
    detect = HaarDetector()
    follow = make_follower(detect)
    for number in range(25):
        frame = moved(astronaut, 4 * number - 50, 3 * number)
        box, whole = follow(frame), largest(detect(frame))
        assert box is not None
        assert whole is not None
        assert overlap(box, whole) > 0.8, number


def test_a_face_that_jumps_or_goes_and_comes_back_is_found(astronaut):
    follow = make_follower(HaarDetector())
    first = follow(astronaut)
    jumped = follow(moved(astronaut, 180, 200))
    assert first is not None
    assert jumped is not None
    assert (jumped.x - first.x, jumped.y - first.y) == pytest.approx((180, 200), abs=8)
    assert follow(np.zeros_like(astronaut)) is None
    again = follow(astronaut)
    assert again is not None
    assert overlap(first, again) > 0.8


def test_only_every_tenth_search_is_of_the_whole_frame():
    frame, box = np.zeros((200, 300), np.uint8), Detection(100, 80, 40, 40)
    # Near the box 80 x 80 pixels from (80, 60) on are searched.
    near = [Detection(20, 20, 40, 40)]
    detect = Counting([[box], *[near] * (WHOLE_EVERY - 1), [box], near])
    follow = make_follower(detect)
    found = [follow(frame) for _ in range(WHOLE_EVERY + 2)]
    whole, part = frame.shape, (80, 80)
    assert detect.seen == [whole, *[part] * (WHOLE_EVERY - 1), whole, part]
    assert found == [box] * (WHOLE_EVERY + 2)


@pytest.mark.parametrize(
    "near", [[], [Detection(31, 20, 40, 40)]], ids=["nothing there", "moved by over a quarter"]
)
def test_what_is_lost_or_has_moved_is_searched_for_everywhere(near):
    frame, box = np.zeros((200, 300), np.uint8), Detection(100, 80, 40, 40)
    moved_box = Detection(111, 80, 40, 40)
    detect = Counting([[box], near, [moved_box]])
    follow = make_follower(detect)
    assert follow(frame) == box
    assert follow(frame) == moved_box
    assert detect.seen == [(200, 300), (80, 80), (200, 300)]


def test_a_frame_of_another_size_is_searched_whole():
    box = Detection(100, 80, 40, 40)
    detect = Counting([[box], [box]])
    follow = make_follower(detect)
    follow(np.zeros((200, 300), np.uint8))
    follow(np.zeros((300, 200), np.uint8))
    assert detect.seen == [(200, 300), (300, 200)]


def test_a_box_at_the_border_is_searched_as_far_as_there_is_a_frame():
    frame = np.zeros((100, 100), np.uint8)
    detect = Counting([[Detection(0, 0, 50, 50)]])
    assert find_near(frame, Detection(-10, 60, 60, 60), detect) == Detection(0, 30, 50, 50)
    assert detect.seen == [(70, 80)]  # 120 x 120 around (20, 90), cut off at the frame
    assert find_near(frame, Detection(150, 150, 40, 40), detect) is None


@pytest.fixture(scope="module")
def pair(astronaut) -> np.ndarray:
    """One photograph beside its mirror image: two people."""
    return np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)


def test_all_faces_are_found_where_the_whole_search_finds_them(pair):
    detect = HaarDetector()
    find = FaceFollower(detect)
    for number in range(25):
        frame = moved(pair, 3 * number - 40, 2 * number)
        found, whole = find(frame), detect(frame)
        assert len(found) == len(whole) == 2
        for box, expected in zip(found, whole, strict=True):
            assert overlap(box, expected) > 0.8, number


def test_every_frame_is_searched_whole_where_that_is_asked_for(pair):
    find = FaceFollower(HaarDetector(), every=1)
    # A picture by itself is searched exactly as the data sets' pictures are.
    assert find(pair) == HaarDetector()(pair)
    for number in range(1, 4):
        frame = moved(pair, 40 * number, 0)
        found, whole = find(frame), HaarDetector()(frame)
        assert len(found) == len(whole) == 2
        for box, expected in zip(found, whole, strict=True):
            assert overlap(box, expected) > 0.8, number


def test_whole_searches_are_rare_and_somebody_new_is_seen_soon(astronaut, pair):
    sizes: list[tuple[int, ...]] = []

    def detect(gray: np.ndarray) -> list[Detection]:
        sizes.append(gray.shape)
        # What is searched near a face lies elsewhere: its own detector is asked.
        return HaarDetector()(gray)

    alone = np.concatenate([astronaut, np.zeros_like(astronaut)], axis=1)
    find = FaceFollower(detect, every=5)
    counts = [len(find(alone if number < 7 else pair)) for number in range(12)]
    assert counts[:7] == [1] * 7
    assert counts[10:] == [2, 2]
    assert [number for number, size in enumerate(sizes) if size == pair.shape][:2] == [0, 5]


def test_somebody_who_leaves_is_noticed_at_once(astronaut, pair):
    find = FaceFollower(HaarDetector(), every=100)
    alone = np.concatenate([astronaut, np.zeros_like(astronaut)], axis=1)
    assert [len(find(frame)) for frame in (pair, pair, alone, alone)] == [2, 2, 1, 1]
    assert len(find(np.zeros_like(pair))) == 0
    assert len(find(pair)) == 2


def test_two_who_meet_are_not_one_face_twice():
    left, right = Detection(0, 0, 80, 80), Detection(60, 0, 80, 80)
    # Whole; near the left one, at 15; near the right one, 20 from the frame's border, at 50: they
    # share half of their width. Whole again.
    answers = [[left, right], [Detection(15, 0, 80, 80)], [Detection(30, 0, 80, 80)]]
    detect = Counting([*answers, [left, right]])
    find = FaceFollower(detect)
    gray = np.zeros((200, 300), np.uint8)
    assert find(gray) == [left, right]
    assert find(gray) == [left, right]
    assert [size == gray.shape for size in detect.seen] == [True, False, False, True]
