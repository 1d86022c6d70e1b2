"""Late fusion: two networks that each saw one side of a clip, and one answer from their scores.

Fused is the weighted mean of log-probabilities, made to sum to 1 again. Source: Kittler, Hatef,
Duin and Matas (1998), On combining classifiers, IEEE TPAMI 20(3), the product rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from emojax.labels import UNKNOWN
from emojax.tables.outcome import Outcome

WEIGHTS = np.linspace(0, 1, 21)
"""Of the video's scores, that are tried."""

# What a score of 0 is taken for: a network that is sure must not silence the other one for good.
_FLOOR = 1e-6


def fuse(
    video: Outcome, sound: Outcome, weight: float | Float[np.ndarray, " clips"] = 0.5
) -> Outcome:
    """Return the fused answers to all clips that either network answered, in the order of paths.

    A clip that has one side alone keeps the answer of the network that was given it.

    Args:
        video: of the network that sees.
        sound: of the network that hears, to the same emotions.
        weight: of the video's scores, 0..1, and what is left of 1 of the sound's; one for all, or
            one for each clip in the order of paths.
    """
    assert video.emotions == sound.emotions
    paths, first, place = np.unique(
        np.concatenate([video.path, sound.path]), return_index=True, return_inverse=True
    )
    weights = np.broadcast_to(weight, paths.shape)
    seen, heard = np.split(place, [len(video.path)])
    each = np.concatenate([weights[seen], 1 - weights[heard]])
    each = np.where(np.bincount(place)[place] == 2, each, 1.0)
    scores = np.concatenate([video.emotion_scores, sound.emotion_scores]).astype(np.float64)
    fused = np.zeros((len(paths), len(video.emotions)))
    np.add.at(fused, place, each[:, None] * np.log(np.maximum(scores, _FLOOR)))
    powers = np.exp(fused - fused.max(axis=1, keepdims=True))
    labels = {
        name: np.concatenate([getattr(video, name), getattr(sound, name)])[first]
        for name in ("emotion", "action_units", "unit_scores", "subject", "domain", "path")
    }
    share = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return dataclasses.replace(video, **labels, emotion_scores=share)


def choose_weights(
    video: Outcome, sound: Outcome, tested: Sequence[Sequence[str]]
) -> Float[np.ndarray, " clips"]:
    """Return the weight of the video's scores for each clip of `fuse`, in its order.

    Those of a fold are fused by the weight that gives the other folds' people the least
    cross-entropy: nobody's own clips choose the weight that they are fused by.

    Args:
        video: of the network that sees, each person by the network of their fold.
        sound: of the network that hears.
        tested: people of each fold.
    """
    whole = fuse(video, sound)
    counts = np.isin(whole.path, video.path) & np.isin(whole.path, sound.path)
    counts &= whole.emotion != UNKNOWN
    right = np.arange(len(whole.path)), whole.emotion
    losses = np.stack(
        [-np.log(fuse(video, sound, weight).emotion_scores[right]) for weight in WEIGHTS]
    )
    weights = np.full(len(whole.path), 0.5)
    for people in tested:
        mine = np.isin(whole.subject, people)
        if (counts & ~mine).any():
            weights[mine] = WEIGHTS[losses[:, counts & ~mine].sum(axis=1).argmin()]
    return weights
