from __future__ import annotations

import numpy as np
import pytest

from emojax.errors import UserError
from emojax.runtime.neutral import (
    Differences,
    Neutral,
    difference_types,
    mean_probabilities,
    parse_seconds,
)
from emojax.runtime.rows import Row
from emojax.spec import InputSpec

SPEC = InputSpec(action_units=("AU12",), emotions=("neutral", "anger"))


def row(time_s: float, face_id: int | None, value: float = 0.0) -> Row:
    found = face_id is not None
    return {
        "timestamp": time_s,
        "face_id": face_id,
        "success": int(found),
        "AU12_p": value if found else None,
        "emotion_neutral_p": 0.5 if found else None,
        "emotion_anger_p": value / 2 if found else None,
    }


def run(frames: list[list[Row]], neutral: Neutral, is_video: bool = True) -> list[list[Row]]:
    """What each frame gives back, and what is left at the end."""
    differences = Differences(SPEC, neutral, is_video)
    return [*(differences.add(rows) for rows in frames), differences.rest()]


def test_each_face_is_held_against_its_own_first_seconds():
    values = (0.1, 0.3, 0.7, 0.7, 0.2)
    frames = [[row(t, 0, values[t]), row(t, 1, 0.6)] for t in range(5)]
    ready = [one for rows in run(frames, Neutral(2.0)) for one in rows]
    assert [(one["timestamp"], one["face_id"]) for one in ready] == [
        (t, face) for t in range(5) for face in (0, 1)
    ]
    mine = [one["AU12_d"] for one in ready if one["face_id"] == 0]
    np.testing.assert_allclose(mine, [-0.1, 0.1, 0.5, 0.5, 0.0], atol=1e-9)
    np.testing.assert_allclose(
        [one["emotion_anger_d"] for one in ready[::2]], np.divide(mine, 2), atol=1e-9
    )
    assert {round(one["AU12_d"], 9) for one in ready if one["face_id"] == 1} == {0.0}
    assert list(ready[0])[-3:] == list(difference_types(SPEC))


def test_rows_wait_for_no_longer_than_the_seconds_and_stay_in_order():
    # Somebody new each half second, and frames without a face between.
    frames = [[row(t / 4, t // 2, 0.1)] if t % 2 == 0 else [row(t / 4, None)] for t in range(40)]
    out = run(frames, Neutral(1.0))
    for number, rows in enumerate(out[:-1]):
        for one in rows:
            assert number / 4 - one["timestamp"] <= 1.0
    times = [one["timestamp"] for rows in out for one in rows]
    assert times == [t / 4 for t in range(40)]
    assert len(out[-1]) <= 5


def test_a_face_that_goes_early_is_held_against_what_there_was():
    frames = [[row(0.0, 0, 0.2)], [row(0.5, 0, 0.4)], [row(1.0, None)]]
    *_, rest = run(frames, Neutral(2.0))
    np.testing.assert_allclose([one["AU12_d"] for one in rest[:2]], [-0.1, 0.1])
    assert rest[2]["AU12_d"] is None


def test_a_file_s_means_are_subtracted_at_once_from_everything():
    means = mean_probabilities([row(0, 0, 0.2), row(1, None), row(2, 1, 0.4)], SPEC, "calm.png")
    assert means["AU12_p"] == pytest.approx(0.3)
    for is_video in (True, False):
        first, second, rest = run(
            [[row(0, 0, 0.5)], [row(1, None)]], Neutral(means=means), is_video
        )
        assert first[0]["AU12_d"] == pytest.approx(0.2)
        assert first[0]["emotion_neutral_d"] == pytest.approx(0.0)
        assert second[0]["AU12_d"] is None
        assert rest == []


def test_a_picture_has_no_first_seconds():
    ((one,), rest) = run([[row(0, 0, 0.5)]], Neutral(2.0), is_video=False)
    assert one["AU12_d"] is None
    assert rest == []


def test_no_face_is_no_neutral_face():
    with pytest.raises(UserError, match=r"calm\.png: no face in it"):
        mean_probabilities([row(0, None)], SPEC, "calm.png")


@pytest.mark.parametrize(("text", "seconds"), [("first:2s", 2.0), ("first:0.5s", 0.5), ("a", None)])
def test_seconds_are_read(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["first:2", "first:", "first:0s", "first:-1s", "first:xs"])
def test_seconds_that_are_none_are_refused(text):
    with pytest.raises(UserError, match="wanted seconds above 0, such as first:2s"):
        parse_seconds(text)
