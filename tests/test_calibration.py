from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import f1_score

from emojax.calibration import (
    FEWEST,
    LEAST_CONFIDENCE,
    Labels,
    calibrate,
    calibration_errors,
    choose_certainty,
    choose_threshold,
    expected_calibration_error,
    fit_temperature,
    macro_f1,
)
from emojax.spec import InputSpec

SOFTMAX = InputSpec(emotion_activation="softmax")


def people(count: int = 4000, seed: int = 0) -> tuple[np.ndarray, Labels]:
    """Logits that tell the truth about labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 22))
    units = (rng.random((count, 15)) < expit(logits[:, :15])).astype(int)
    chances = softmax(logits[:, 15:], axis=1)
    emotions = (chances.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return logits, Labels(units, np.minimum(emotions, 6))


def answers(logits: np.ndarray) -> np.ndarray:
    return np.hstack([expit(logits[:, :15]), softmax(logits[:, 15:], axis=1)]).astype(np.float32)


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_the_temperature_is_how_much_too_sure_a_network_is(too_sure):
    logits, labels = people()
    found = calibrate(labels, answers(logits * too_sure), SOFTMAX).temperatures
    assert found.action_units == pytest.approx(too_sure, rel=0.05)
    assert found.emotions == pytest.approx(too_sure, rel=0.05)


def test_no_other_temperature_has_a_smaller_loss():
    rng = np.random.default_rng(1)
    scores = expit(rng.normal(0, 4, (300, 3)))
    truth = (rng.random((300, 3)) < 0.25 + 0.5 * (scores > 0.5)).astype(int)
    truth[:40] = -1

    def loss(temperature: float) -> float:
        logits = np.log(scores / (1 - scores)) / temperature
        right = np.where(truth == 1, expit(logits), expit(-logits))
        return -np.log(right[truth != -1]).mean()

    found = fit_temperature(scores, truth, "sigmoid")
    assert loss(found) <= min(loss(found * 1.02), loss(found / 1.02), loss(1.0))


def test_the_error_of_a_network_that_is_too_sure_shrinks_on_other_people():
    logits, labels = people()
    fitted = calibrate(labels, answers(logits * 3), SOFTMAX)
    facts = fitted.facts["expected_calibration_error"]
    for group in ("emotions", "action_units"):
        assert facts[group]["before"] > 0.1
        assert facts[group]["after"] < 0.03
    assert fitted.facts["certain"]["accuracy"] >= 0.9


def test_the_calibration_error_is_worked_out_by_hand():
    # Two bins: 0.9 of which half are right, 0.3 of which none is.
    confidence = np.array([0.9] * 4 + [0.3] * 4)
    right = np.array([True, True, False, False] + [False] * 4)
    assert expected_calibration_error(confidence, right) == pytest.approx((0.4 + 0.3) / 2)
    assert expected_calibration_error(np.array([1.0]), np.array([True])) == 0
    assert expected_calibration_error(np.empty(0), np.empty(0, bool)) is None


def test_unknown_labels_count_nowhere():
    logits, labels = people(500)
    whole = calibrate(labels, answers(logits), SOFTMAX)
    nonsense = np.random.default_rng(3).normal(0, 9, (300, 22))
    unknown = Labels(np.full((300, 15), -1), np.full(300, -1))
    more = Labels(*(np.concatenate(pair) for pair in zip(labels, unknown, strict=True)))
    found = calibrate(more, answers(np.concatenate([logits, nonsense])), SOFTMAX)
    assert found == whole


def test_without_labels_everything_stays_as_it_is():
    logits, _ = people(200)
    labels = Labels(np.full((200, 15), -1), np.full(200, -1))
    found = calibrate(labels, answers(logits), SOFTMAX)
    assert (found.temperatures.action_units, found.temperatures.emotions) == (1.0, 1.0)
    assert found.thresholds == (0.5,) * 15
    assert found.uncertain_below == LEAST_CONFIDENCE
    assert calibration_errors(labels, answers(logits), SOFTMAX) == {
        "emotions": None,
        "action_units": None,
    }


def test_a_network_of_action_units_alone_is_never_uncertain():
    logits, labels = people(500)
    spec = SOFTMAX.replace(emotions=())
    assert calibrate(labels, answers(logits)[:, :15], spec).uncertain_below is None


def test_no_threshold_has_a_larger_f1():
    rng = np.random.default_rng(2)
    scores = rng.random(400).astype(np.float32)
    truth = (rng.random(400) < scores**3).astype(int)
    found = choose_threshold(truth, scores)
    best = f1_score(truth, scores >= found)
    assert found > 0.55
    assert best >= max(f1_score(truth, scores >= other) for other in np.linspace(0, 1, 201))


NEXT_TO_ONE = float(np.nextafter(np.float32(1), np.float32(0)))


@pytest.mark.parametrize(
    ("absent", "present"),
    [
        (0.9999, 0.99999),
        (1e-5, 4e-5),
        (0.30001, 0.30004),
        (3e-30, 4e-30),
        # Neighbours, whose middle is the lower one as a float32, and the upper one.
        (NEXT_TO_ONE - 2**-24, NEXT_TO_ONE),
        (NEXT_TO_ONE, 1.0),
    ],
)
def test_a_threshold_parts_what_it_lies_between(absent: float, present: float):
    truth = np.repeat([0, 1], FEWEST)
    scores = np.where(truth == 1, present, absent).astype(np.float32)
    found = choose_threshold(truth, scores)
    assert macro_f1(truth[:, None], scores[:, None], (found,)) == 1.0
    # As wide a room as it may have still has a short one.
    assert choose_threshold(truth, np.where(truth == 1, 0.61, 0.58)) == 0.595


def test_a_unit_that_is_hardly_seen_keeps_one_half():
    scores = np.linspace(0, 1, 100)
    truth = np.zeros(100, int)
    truth[-9:] = 1
    assert choose_threshold(truth, scores) == 0.5
    truth[-10:] = 1
    assert choose_threshold(truth, scores) > 0.8
    # One that the network knows nothing about, too: F1 is best where every face has it.
    assert choose_threshold(np.tile([1, 0], 50), np.full(100, 0.3)) == 0.5


def test_faces_are_certain_from_where_nine_in_ten_are_right():
    confidence = np.linspace(0.2, 1.0, 801)
    right = np.random.default_rng(4).random(801) < confidence
    found = choose_certainty(confidence, right)
    assert right[confidence >= found].mean() >= 0.9
    assert 0.7 < found < 0.95
    # A lower one would keep too many that are wrong.
    assert right[confidence >= found - 0.03].mean() < 0.9


def test_ties_are_kept_or_left_out_together():
    confidence = np.repeat([0.9, 0.8, 0.7], 100)
    right = np.repeat([True, True, False], [100, 75, 125])
    # All of 0.9 and 0.8 are 87.5% right; some of 0.8 would have done, in this order.
    assert choose_certainty(confidence, right) == 0.9


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_less_than_one_half_is_uncertain_whatever_people_say(share):
    confidence = np.linspace(0.15, 0.99, 500)
    right = np.full(500, bool(share))
    assert choose_certainty(confidence, right) == LEAST_CONFIDENCE
    assert choose_certainty(confidence[: FEWEST - 1], right[: FEWEST - 1]) == LEAST_CONFIDENCE


def test_the_mean_f1_is_scikit_learns():
    logits, labels = people(300)
    units = expit(logits[:, :3]).astype(np.float32)
    truth = labels.action_units[:, :3].copy()
    truth[:, 2] = 0
    expected = np.mean([f1_score(truth[:, k], units[:, k] >= 0.25) for k in range(2)])
    assert macro_f1(truth, units, (0.25,) * 3) == pytest.approx(expected)
    assert macro_f1(np.full((5, 1), -1), units[:5, :1], (0.5,)) is None


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_handful_of_faces_fits_no_temperature(activation):
    logits, labels = people(FEWEST)
    spec = InputSpec(emotion_activation=activation)
    too_sure = answers(3 * logits)
    few = Labels(labels.action_units[1:], labels.emotions[1:])
    found = calibrate(few, too_sure[1:], spec).temperatures
    assert (found.action_units, found.emotions) == (1.0, 1.0)
    assert calibrate(labels, too_sure, spec).temperatures.action_units > 1.5
