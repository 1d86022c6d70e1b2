from __future__ import annotations

import numpy as np
import pytest

from emojax.face import Detection
from emojax.runtime.predictor import FaceResult
from emojax.runtime.tracking import FaceTracker, Smoother


def box(x: int, y: int = 0, side: int = 100) -> Detection:
    return Detection(x, y, side, side)


def test_first_faces_are_numbered_from_left_to_right():
    assert FaceTracker().update([box(0), box(200), box(400)], 0.0) == [0, 1, 2]


def test_a_face_keeps_its_id_while_it_moves():
    tracker = FaceTracker()
    for step in range(50):
        assert tracker.update([box(10 * step), box(2000 - 10 * step)], step / 25) == [0, 1]


def test_ids_follow_faces_that_pass_each_other_in_depth():
    # Left and right swap, by way of different heights: the boxes never touch.
    tracker = FaceTracker()
    ids = [
        tracker.update(
            sorted([box(10 * step, 0), box(300 - 10 * step, 300)], key=lambda face: face.x),
            step / 25,
        )
        for step in range(31)
    ]
    assert ids[0] == [0, 1]
    assert ids[-1] == [1, 0]


def test_a_face_that_is_lost_for_a_moment_gets_its_id_back():
    tracker = FaceTracker(patience_s=0.5)
    assert tracker.update([box(0), box(500)], 0.0) == [0, 1]
    assert tracker.update([box(500)], 0.1) == [1]
    assert tracker.update([box(5), box(500)], 0.4) == [0, 1]


def test_a_face_that_is_long_gone_comes_back_as_a_new_one():
    tracker = FaceTracker(patience_s=0.5)
    tracker.update([box(0)], 0.0)
    tracker.update([], 0.3)
    assert tracker.update([box(0)], 0.9) == [1]


def test_a_face_keeps_its_id_where_frames_are_far_apart():
    tracker = FaceTracker(patience_s=0.5)
    assert [tracker.update([box(0)], float(second)) for second in range(4)] == [[0]] * 4
    # Missing from one frame: gone for two seconds.
    tracker.update([], 4.0)
    assert tracker.update([box(0)], 5.0) == [1]


def test_a_new_face_on_the_left_does_not_take_an_id():
    tracker = FaceTracker()
    tracker.update([box(500)], 0.0)
    assert tracker.update([box(0), box(505)], 0.04) == [1, 0]


def test_the_better_overlap_wins():
    tracker = FaceTracker()
    tracker.update([box(0)], 0.0)
    assert tracker.update([box(-40), box(10)], 0.04) == [1, 0]


def test_a_jump_is_another_face():
    tracker = FaceTracker()
    tracker.update([box(0)], 0.0)
    assert tracker.update([box(300)], 0.04) == [1]


def said(value: float) -> FaceResult:
    return FaceResult(
        box(0), np.full(2, value, np.float32), np.array([value, 1 - value], np.float32), ("a", "b")
    )


@pytest.mark.parametrize("rate_hz", [10, 25, 60])
def test_a_change_has_come_through_by_63_per_cent_after_the_time_constant(rate_hz):
    smoother = Smoother(0.5)
    smoother.smooth([said(0)], [0], 0.0)
    for number in range(1, rate_hz // 2 + 1):
        (face,) = smoother.smooth([said(1)], [0], number / rate_hz)
    expected = 1 - np.exp(-(rate_hz // 2) / rate_hz / 0.5)
    np.testing.assert_allclose(face.action_units, expected, atol=1e-5)
    np.testing.assert_allclose(face.emotions, [expected, 1 - expected], atol=1e-5)
    assert face.emotion == "a"


def test_each_face_has_its_own_past_and_a_new_one_has_none():
    smoother = Smoother(1.0)
    smoother.smooth([said(0), said(1)], [4, 9], 0.0)
    first, second, third = smoother.smooth([said(1), said(1), said(1)], [9, 4, 5], 0.1)
    assert first.action_units[0] == 1
    assert second.action_units[0] == pytest.approx(1 - np.exp(-0.1), abs=1e-6)
    assert third.action_units[0] == 1


def test_a_past_that_counts_for_nothing_is_forgotten():
    smoother = Smoother(0.5)
    # A camera that sees somebody new every second.
    for second in range(200):
        smoother.smooth([said(0)], [second], float(second))
        assert len(smoother._past) <= 6
    # One that still counts is kept, and frames without a face clear the others.
    (face,) = smoother.smooth([said(1)], [199], 199.5)
    assert face.action_units[0] == pytest.approx(1 - np.exp(-1), abs=1e-6)
    assert smoother.smooth([], [], 999.0) == []
    assert not smoother._past


def test_no_smoothing_leaves_faces_as_they_are():
    faces = [said(0.25)]
    assert Smoother(0.0).smooth(faces, [0], 1.0) == faces
