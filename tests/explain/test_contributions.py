"""What action units do: against finite differences, scikit-learn, and a network set by hand."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hand_made_ar4 import EMOTIONS, HIDDEN, UNITS, make_arrays, make_network
from sklearn import inspection
from sklearn.base import BaseEstimator, ClassifierMixin

from emojax.explain.contributions import (
    average_people,
    contributions,
    draw_orders,
    permutation_importance,
    slopes,
    split_network,
)


def perceive_in_numpy(params: Any, units: np.ndarray) -> np.ndarray:
    layers = [params["hidden"], params["head"]["logits"]]
    (first, bias), (last, last_bias) = (
        (np.asarray(layer["kernel"], np.float64), np.asarray(layer["bias"], np.float64))
        for layer in layers
    )
    return np.maximum(units @ first + bias, 0) @ last + last_bias


def test_the_halves_are_the_whole_network() -> None:
    network = make_network("sigmoid")
    faces = np.random.default_rng(1).integers(0, 256, (5, 98, 80), dtype=np.uint8)
    read_units, perceive = split_network(network)
    inputs = (jnp.asarray(faces, jnp.float32)[..., None] - 127) / 128
    whole = np.asarray(network.model.apply(network.variables, inputs, train=False).logits)
    units = np.asarray(read_units(faces))
    np.testing.assert_allclose(units, whole[:, :UNITS], atol=1e-6)
    np.testing.assert_allclose(perceive(units), whole[:, UNITS:], atol=1e-5)


def test_slopes_are_finite_differences_less_what_all_emotions_share() -> None:
    network, step = make_network("softmax"), 1e-6
    units = np.random.default_rng(2).normal(size=(4, UNITS))
    wanted = np.zeros((4, EMOTIONS, UNITS))
    for unit in range(UNITS):
        aside = np.eye(UNITS)[unit] * step
        ends = [perceive_in_numpy(network.variables["params"], units + s * aside) for s in (1, -1)]
        wanted[:, :, unit] = (ends[0] - ends[1]) / (2 * step)
    wanted -= wanted.mean(axis=1, keepdims=True)
    found = slopes(split_network(network)[1], units.astype(np.float32))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.abs(wanted).max() > 0.5


class Perceptron(ClassifierMixin, BaseEstimator):
    """The same perceptron, as scikit-learn takes it."""

    def __init__(self, params: Any = None) -> None:
        self.params = params

    def fit(self, x: np.ndarray, y: np.ndarray) -> Perceptron:
        self.classes_ = np.arange(EMOTIONS)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return perceive_in_numpy(self.params, x).argmax(axis=1)


def test_importance_is_scikit_learn_s() -> None:
    network, rng, count = make_network(), np.random.default_rng(3), 300
    params = network.variables["params"]
    units = rng.normal(size=(count, UNITS)).astype(np.float32)
    emotion = perceive_in_numpy(params, units).argmax(axis=1)
    emotion[::5] = rng.integers(0, EMOTIONS, len(emotion[::5]))
    theirs = inspection.permutation_importance(
        Perceptron(params).fit(units, emotion),
        units,
        emotion,
        scoring={"accuracy": "accuracy", "recall": _recall_of_emotion_2},
        n_repeats=4,
        random_state=np.random.RandomState(0),
    )
    # Its shuffles: one seed for all columns, and each repeat shuffles what the last one left.
    shuffle = np.random.RandomState(np.random.RandomState(0).randint(np.iinfo(np.int32).max + 1))
    places, order, orders = np.arange(count), np.arange(count), []
    for _ in range(4):
        shuffle.shuffle(places)
        order = order[places]
        orders.append(order)
    accuracy, recall = permutation_importance(
        split_network(network)[1], units, emotion, np.stack(orders)
    )
    np.testing.assert_allclose(accuracy.T, theirs["accuracy"]["importances"], atol=1e-9)
    np.testing.assert_allclose(recall[:, 2].T, theirs["recall"]["importances"], atol=1e-9)
    assert accuracy.max() > 0.05


def _recall_of_emotion_2(estimator: Any, x: np.ndarray, y: np.ndarray) -> float:
    return float((estimator.predict(x)[y == 2] == 2).mean())


def test_orders_come_again_and_differ() -> None:
    orders = draw_orders(30, 5)
    np.testing.assert_array_equal(orders, draw_orders(30, 5))
    np.testing.assert_array_equal(np.sort(orders), np.tile(np.arange(30), (5, 1)))
    assert len(np.unique(orders, axis=0)) == 5


def test_a_person_counts_once() -> None:
    values, subject = np.array([[1.0], [3.0], [10.0]]), np.array([4, 4, 9])
    np.testing.assert_array_equal(average_people(values, subject), [6.0])
    assert np.isnan(average_people(values[:0], subject[:0])).all()


def test_the_unit_that_the_network_asks_is_the_one_that_is_named() -> None:
    """Happiness where AU12 is high, anger where AU4 is; the other units are noise."""
    network = make_network("sigmoid")
    smile, frown, happiness, anger = 8, 2, 1, 6
    hidden, last = np.zeros((UNITS, HIDDEN)), np.zeros((HIDDEN, EMOTIONS))
    hidden[smile, 0], hidden[frown, 1] = 1, 1
    last[0, happiness], last[1, anger] = 3, 2
    params = network.variables["params"]
    params["hidden"] = {"kernel": jnp.asarray(hidden), "bias": jnp.zeros(HIDDEN)}
    params["head"]["logits"] = {"kernel": jnp.asarray(last), "bias": jnp.zeros(EMOTIONS)}
    rng = np.random.default_rng(4)
    emotion = np.where(np.arange(80) % 2, happiness, anger)
    # One nobody labelled, one of an emotion that the network does not answer.
    emotion[[0, 1]] = -1, EMOTIONS
    faces = rng.integers(0, 256, (80, 98, 80), dtype=np.uint8)
    faces[:, 0, smile] = np.where(emotion == happiness, 230, 100)
    faces[:, 0, frown] = np.where(emotion == anger, 220, 90)
    found = contributions(network, make_arrays(faces, emotion, np.arange(80) // 4))
    for name, place, unit, weight in (("happiness", 1, smile, 3), ("anger", 6, frown, 2)):
        assert found.emotions[place] == name
        assert found.contribution[place].argmax() == unit
        np.testing.assert_allclose(np.delete(found.contribution[place], unit), 0, atol=1e-6)
        # Anger is missed without its own unit, and beside a smile that came from another face.
        np.testing.assert_array_equal(np.delete(found.recall_lost[place], (smile, frown)), 0)
        # Half of the people's faces have the unit above 0, where the rectifier lets it pass.
        assert found.sensitivity[place, unit] == pytest.approx(weight / 2, abs=0.2)
        assert found.recall_lost[place, unit] > 0.3
    assert found.accuracy_lost.argmax() in (smile, frown)
    assert found.accuracy_spread[smile] > 0
    # Nobody showed fear.
    assert np.isnan(found.contribution[4]).all()
    assert np.isnan(found.recall_lost[4]).all()
    units = 2 * (faces[:, 0, smile].astype(float) - 127) / 128
    mean = np.mean([units[4 * who : 4 * who + 4].mean() for who in range(20)])
    assert found.contribution[1, smile] == pytest.approx(3 * (2 * 103 / 128 - mean), abs=1e-5)
