from __future__ import annotations

import numpy as np

from emojax.drawn_examples import draw_examples
from emojax.spec import InputSpec, SpectrogramSpec


def test_drawn_pictures_are_faces_and_the_same_each_time():
    spec = InputSpec()
    drawn = draw_examples("picture", spec, 4)
    assert drawn.crops.shape == (4, 1, 98, 80)
    assert drawn.spectrograms.shape == (4, 0, 0)
    # Brows and mouth are darker than the cheeks between them.
    middle = drawn.crops[:, 0, :, 30:50].astype(float)
    assert (middle.std(axis=(1, 2)) > 10).all()
    assert len({crop.tobytes() for crop in drawn.crops}) == 4
    again = draw_examples("picture", spec, 4)
    for first, second in zip(drawn, again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_drawn_clips_move_and_speak_and_miss_one_side_in_turn():
    spec = InputSpec(frames=20, sound=SpectrogramSpec())
    drawn = draw_examples("clip", spec, 3)
    assert drawn.crops.shape == (3, 20, 98, 80)
    assert np.abs(np.diff(drawn.crops.astype(int), axis=1)).max(axis=(2, 3)).min() > 0
    assert (drawn.spectrograms.max(axis=(1, 2)) > 240).all()
    assert drawn.has_frames.tolist() == [1, 0, 1]
    assert drawn.has_sound.tolist() == [1, 1, 0]
