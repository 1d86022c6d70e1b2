from __future__ import annotations

import numpy as np
import pytest

from emojax.data.synthetic.expressions import (
    LOWEST_INTENSITY,
    compatible,
    sample_emotion,
    sample_expression,
    sample_free,
)
from emojax.data.synthetic.manifest import expression_of
from emojax.labels import ACTION_UNITS, PROTOTYPES, SEVEN, emotion_from_action_units


@pytest.mark.parametrize("emotion", SEVEN)
def test_an_emotion_stays_itself(emotion: str) -> None:
    prototype = set(PROTOTYPES[emotion])
    whole = 0
    for seed in range(300):
        expression = sample_emotion(np.random.default_rng(seed), emotion)
        present = set(expression.present)
        assert expression.emotion == emotion
        assert emotion_from_action_units(sorted(present)) == emotion
        assert len(prototype - present) <= 1
        assert len(present - prototype) <= 1
        whole += prototype <= present
    assert whole >= 240


def test_present_units_have_intensities_from_a_trace_to_the_maximum() -> None:
    values = np.array(
        [sample_expression(np.random.default_rng(seed)).intensities for seed in range(500)]
        + [sample_emotion(np.random.default_rng(seed), "fear").intensities for seed in range(500)]
    )
    assert values.shape == (1000, 15)
    shown = values[values > 0]
    assert shown.min() >= LOWEST_INTENSITY == 0.2
    assert shown.max() <= 1
    # The whole range is used.
    assert (shown < 0.35).mean() > 0.08
    assert (shown > 0.8).mean() > 0.08


def test_free_units_are_compatible_and_unnamed_unless_they_are_a_prototype() -> None:
    sizes = set()
    for seed in range(1500):
        expression = sample_free(np.random.default_rng(seed))
        present = expression.present
        sizes.add(len(present))
        assert all(compatible(a, b) for a in present for b in present if a != b)
        named = [name for name in SEVEN if set(PROTOTYPES[name]) == set(present)]
        assert expression.emotion == (named[0] if named else "")
    assert sizes == {1, 2, 3, 4}
    assert not compatible(12, 15)
    assert not compatible(26, 17)
    assert compatible(1, 2)


def test_every_unit_and_emotion_has_its_share_of_the_set() -> None:
    shown = [expression_of(0, person, item) for person in range(120) for item in range(28)]
    share = np.mean([[value > 0 for value in each.intensities] for each in shown], axis=0)
    for number, value in zip(ACTION_UNITS, share, strict=True):
        assert 0.08 <= value <= 0.5, f"AU{number}: {value:.3f}"
    for emotion in SEVEN:
        assert 0.09 < np.mean([each.emotion == emotion for each in shown]) < 0.12
