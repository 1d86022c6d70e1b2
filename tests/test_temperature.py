from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from emojax.spec import InputSpec
from emojax.temperature import Temperatures, scale, scale_group

LOGITS = np.random.default_rng(0).normal(0, 3, (50, 22))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_temperature_divides_the_logits(activation, temperature):
    function = {"sigmoid": expit, "softmax": lambda logits: softmax(logits, axis=-1)}[activation]
    found = scale_group(function(LOGITS).astype(np.float32), activation, temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, function(LOGITS / temperature), atol=2e-5)


@pytest.mark.parametrize("temperature", [0.05, 20.0])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_answers_at_the_ends_stay_numbers(activation, temperature):
    ends = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], np.float32)
    found = scale_group(ends, activation, temperature)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_array_equal(found.argmax(axis=1), [1, 0])


def test_each_group_has_its_own():
    answers = expit(LOGITS).astype(np.float32)
    spec = InputSpec(emotion_activation="softmax")
    answers[:, 15:] = softmax(LOGITS[:, 15:], axis=1)
    found = scale(answers, spec, Temperatures(action_units=2.0, emotions=0.5))
    np.testing.assert_allclose(found[:, :15], expit(LOGITS[:, :15] / 2), atol=2e-5)
    np.testing.assert_allclose(found[:, 15:], softmax(LOGITS[:, 15:] / 0.5, axis=1), atol=2e-5)
    np.testing.assert_array_equal(found[:, 15:].argmax(axis=1), answers[:, 15:].argmax(axis=1))


def test_one_changes_nothing_at_all():
    answers = expit(LOGITS).astype(np.float32)
    np.testing.assert_array_equal(scale(answers, InputSpec(), Temperatures()), answers)


def test_a_model_without_a_group():
    spec = InputSpec(action_units=())
    answers = expit(LOGITS[:, :7]).astype(np.float32)
    found = scale(answers, spec, Temperatures(3.0, 2.0))
    np.testing.assert_allclose(found, expit(LOGITS[:, :7] / 2), atol=2e-5)
    assert scale(answers[:0], spec, Temperatures(3.0, 2.0)).shape == (0, 7)
