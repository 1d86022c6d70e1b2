from __future__ import annotations

import numpy as np
import pytest

from emojax.clip import equally_spaced
from emojax.data.frames import turn, upright_turns
from emojax.face import Detection


@pytest.mark.parametrize(("count", "wanted"), [(1, 60), (59, 60), (60, 60), (61, 60), (1000, 60)])
def test_equally_spaced_frames_are_distinct_and_span_the_clip(count: int, wanted: int) -> None:
    kept = equally_spaced(count, wanted)
    assert len(kept) == min(count, wanted) == len(set(kept.tolist()))
    assert kept[0] == 0
    assert kept[-1] == count - 1
    gaps = np.diff(kept)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_one_frame_of_a_clip_is_its_middle() -> None:
    assert equally_spaced(101, 1).tolist() == [50]


def test_the_way_up_whose_faces_score_highest_is_taken() -> None:
    # The corner that is bright says how often the frame was turned.
    gray = np.zeros((40, 40), np.uint8)
    gray[:20, :20] = 255

    def detect(turned: np.ndarray) -> list[Detection]:
        score = 2.0 if turned[30, 10] else 1.0 if turned[10, 10] else 0.0
        return [Detection(0, 0, 40, 40, score)] if score else []

    turns = upright_turns([gray] * 7, detect)
    assert turn(gray, turns)[30, 10] == 255
    assert upright_turns([np.zeros((4, 4), np.uint8)], lambda _: []) == 0
