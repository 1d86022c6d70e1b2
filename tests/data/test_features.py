from __future__ import annotations

from pathlib import Path

import numpy as np

from emojax.data.examples import Example
from emojax.data.features import count_votes, features, to_features
from emojax.data.rows import Row, Vote
from emojax.labels import AU_COLUMNS
from emojax.spec import InputSpec

SPEC = InputSpec()


def test_features_follow_the_spec_and_are_padded() -> None:
    spec = InputSpec(action_units=("AU12", "AU01"), emotions=("fear", "neutral"))
    values = {"AU01": (1, 0.25, 0.5), "AU12": (0, 0.0, 0.75)}
    row = Row(
        key="a.png",
        path=Path("a.png"),
        subject="Ada",
        emotion="neutral",
        emotion_confidence=0.5,
        action_units=tuple(values.get(name, (-1, 0.0, 1.0))[0] for name in AU_COLUMNS),
        intensities=tuple(values.get(name, (-1, -1.0, 1.0))[1] for name in AU_COLUMNS),
        action_unit_confidence=tuple(values.get(name, (-1, 0.0, 1.0))[2] for name in AU_COLUMNS),
        domain="S1",
    )
    faces = np.full((2, 98, 80), 7, np.uint8)
    example = Example(row, faces, np.array([0, 0.04], np.float32), np.array([1, 0], np.uint8))
    record = to_features(example, spec, max_frames=3)
    np.testing.assert_array_equal(record["faces"][:, 0, 0], [7, 7, 0])
    assert record["num_frames"] == 2
    np.testing.assert_allclose(record["timestamps"], [0, 0.04, 0])
    assert record["success"].tolist() == [1, 0, 0]
    assert record["emotion"] == 1
    assert record["emotion_confidence"] == 0.5
    assert record["action_units"].tolist() == [0, 1]
    assert record["intensities"].tolist() == [0.0, 0.25]
    assert record["action_unit_confidence"].tolist() == [0.75, 0.5]
    assert (record["subject"], record["domain"], record["path"]) == ("Ada", "S1", "a.png")
    assert set(record) == set(features(spec, 3))


def test_an_emotion_outside_the_spec_is_unknown() -> None:
    row = Row(key="a.png", path=Path("a.png"), subject="Ada", emotion="contempt")
    still = np.zeros((1, 98, 80), np.uint8)
    example = Example(row, still, np.zeros(1, np.float32), np.ones(1, np.uint8))
    assert to_features(example, SPEC, 1)["emotion"] == -1


def test_votes_are_counted_by_side_and_those_for_other_emotions_in_the_total() -> None:
    votes = (
        Vote("voice", "anger", 3),
        Vote("voice", "neutral", 1),
        Vote("both", "contempt", 2),
        Vote("both", "fear", 5),
    )
    row = Row(key="a", path=None, subject="Ada", votes=votes)
    counts, total = count_votes(row, InputSpec(emotions=("neutral", "anger", "fear")))
    assert counts.tolist() == [[1, 3, 0], [0, 0, 0], [0, 0, 5]]
    assert total.tolist() == [4, 0, 7]
