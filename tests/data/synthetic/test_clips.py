from __future__ import annotations

import numpy as np
import pytest

from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import make_scene
from emojax.data.synthetic.people import make_person
from emojax.errors import UserError
from emojax.labels import ACTION_UNITS

PEAK = tuple(0.8 if number in (6, 12) else 0.0 for number in ACTION_UNITS)


@pytest.mark.parametrize("frames", [6, 9, 25, 70])
@pytest.mark.parametrize("returns", [False, True])
def test_a_clip_goes_from_neutral_to_its_peak(frames: int, returns: bool) -> None:
    for seed in range(20):
        timeline = make_timeline(np.random.default_rng(seed), PEAK, frames, returns)
        course = timeline.intensities
        assert course.shape == (frames, 15)
        assert (course[: timeline.onset] == 0).all()
        assert (course[timeline.onset] > 0).any()
        np.testing.assert_allclose(course[timeline.apex], PEAK)
        assert (np.diff(course[: timeline.apex + 1], axis=0) >= 0).all()
        assert (course <= np.array(PEAK) + 1e-12).all()
        if returns:
            assert timeline.offset is not None
            assert timeline.apex < timeline.offset < frames
            assert (course[timeline.offset] < PEAK).any()
            np.testing.assert_allclose(course[-1], 0, atol=1e-12)
        else:
            assert timeline.offset is None
            np.testing.assert_allclose(course[-1], PEAK)


def test_a_clip_that_is_too_short_is_refused() -> None:
    with pytest.raises(UserError, match="frames=5"):
        make_timeline(np.random.default_rng(0), PEAK, 5)


def test_frames_differ_from_the_first_as_the_units_rise() -> None:
    rng = np.random.default_rng(1)
    timeline = make_timeline(rng, PEAK, 12)
    frames = list(render_clip(make_person(0, 0), timeline, make_scene(rng, "S1"), rng))
    assert len(frames) == 12
    moved = [np.abs(frame.astype(int) - frames[0]).mean() for frame in frames]
    assert moved[-1] > moved[timeline.onset + 1] > 0
