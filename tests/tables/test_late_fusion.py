"""Late fusion: the product of two networks' probabilities, by a weight that others choose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from emojax.tables.fusion import WEIGHTS, choose_weights, fuse
from emojax.tables.outcome import Outcome

NAMES = ("happiness", "sadness", "anger")


def make_side(paths: list[int], seed: int, sharp: float = 1.0) -> Outcome:
    """A network's answers; labels and people are those of the path, whatever the seed."""
    rng = np.random.default_rng(seed)
    numbers = np.array(paths)
    emotion = numbers % 3
    logits = rng.normal(size=(len(paths), 3)) + sharp * np.eye(3)[emotion]
    return Outcome(
        emotion=emotion,
        emotion_scores=softmax(logits, axis=1).astype(np.float32),
        action_units=np.zeros((len(paths), 0), int),
        unit_scores=np.zeros((len(paths), 0), np.float32),
        subject=np.array([f"P{number % 4}" for number in paths]),
        domain=np.full(len(paths), ""),
        path=np.array([f"{number:03d}.avi" for number in paths]),
        emotions=NAMES,
        units=(),
    )


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_scores_are_the_product_of_powers(weight: float) -> None:
    # In another order, and each with clips of its own.
    video, sound = make_side([5, 1, 2, 7], 0), make_side([2, 3, 5, 0], 1)
    fused = fuse(video, sound, weight)
    assert [path[:3] for path in fused.path] == ["000", "001", "002", "003", "005", "007"]
    seen = dict(zip(video.path, video.emotion_scores.astype(np.float64), strict=True))
    heard = dict(zip(sound.path, sound.emotion_scores.astype(np.float64), strict=True))
    for place, path in enumerate(fused.path):
        number = int(path[:3])
        if path in seen and path in heard:
            wanted = seen[path] ** weight * heard[path] ** (1 - weight)
        else:
            wanted = {**seen, **heard}[path]
        np.testing.assert_allclose(
            fused.emotion_scores[place], wanted / wanted.sum(), rtol=1e-5, atol=1e-7
        )
        assert (fused.emotion[place], fused.subject[place]) == (number % 3, f"P{number % 4}")


def test_a_network_that_is_sure_does_not_silence_the_other_for_good() -> None:
    video, sound = make_side([0], 0), make_side([0], 1)
    video.emotion_scores[0] = 1.0, 0.0, 0.0
    sound.emotion_scores[0] = 0.0, 0.9, 0.1
    scores = fuse(video, sound).emotion_scores[0]
    assert np.isfinite(scores).all()
    assert scores.sum() == pytest.approx(1)
    assert (scores > 0).all()


def test_each_folds_weight_is_the_best_one_of_the_others() -> None:
    clips = list(range(60))
    video, sound = make_side(clips, 0, 0.4), make_side(clips, 1, 1.2)
    folds = [["P0"], ["P1", "P2"], ["P3"]]
    weights = choose_weights(video, sound, folds)
    for people in folds:
        mine = np.isin(video.subject, people)
        losses = [
            log_loss(
                video.emotion[~mine],
                fuse(video, sound, weight).emotion_scores[~mine],
                labels=[0, 1, 2],
            )
            for weight in WEIGHTS
        ]
        assert set(weights[mine]) == {WEIGHTS[int(np.argmin(losses))]}


def test_nobodys_own_clips_choose_their_weight() -> None:
    video, sound = make_side(list(range(40)), 0), make_side(list(range(40)), 1)
    first = np.isin(video.subject, ["P0", "P1"])
    # One half of the people is only to be read by eye, the other one only by ear.
    right = np.where(np.arange(3) == video.emotion[:, None], 0.98, 0.01).astype(np.float32)
    wrong = np.full_like(right, 1 / 3)
    video.emotion_scores[:] = np.where(first[:, None], right, wrong)
    sound.emotion_scores[:] = np.where(first[:, None], wrong, right)
    weights = choose_weights(video, sound, [["P0", "P1"], ["P2", "P3"]])
    assert set(weights[first]) == {0.0}
    assert set(weights[~first]) == {1.0}


def test_where_nobody_else_is_the_weights_are_equal() -> None:
    video, sound = make_side([0, 1], 0), make_side([0, 1], 1)
    assert choose_weights(video, sound, [["P0", "P1"]]).tolist() == [0.5, 0.5]
    # Nor where no clip has both sides.
    apart = choose_weights(make_side([0], 0), make_side([1], 1), [["P0"], ["P1"]])
    assert apart.tolist() == [0.5, 0.5]
