"""The frames that stand for a clip, in training and in use."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from emojax.clip import equally_spaced, middle_sample, nearest_found, sample_clip
from emojax.data.resident import middle_frames


def test_the_runner_takes_the_frames_that_evaluation_takes() -> None:
    counts = np.arange(1, 130)
    for wanted in (1, 4, 20):
        expected = np.asarray(middle_frames(jnp.asarray(counts), wanted))
        found = np.stack([middle_sample(int(count), wanted) for count in counts])
        np.testing.assert_array_equal(found, expected)


def test_a_long_clip_is_sampled_by_way_of_the_frames_that_shards_keep() -> None:
    kept = equally_spaced(300, 60)
    np.testing.assert_array_equal(sample_clip(300, 60, 20), kept[middle_sample(60, 20)])
    # One that is kept whole loses nothing on the way.
    np.testing.assert_array_equal(sample_clip(56, 60, 20), middle_sample(56, 20))
    assert sample_clip(1, 60, 20).tolist() == [0] * 20


def test_the_nearest_face_stands_in_the_earlier_of_two() -> None:
    found = [False, True, False, False, False, True, False]
    assert nearest_found(found).tolist() == [1, 1, 1, 1, 5, 5, 5]
