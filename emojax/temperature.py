"""Probabilities that mean what they say: temperature scaling, as spec.json carries it.

Each group of outputs, action units and emotions, has one temperature, which divides its logits:
above 1 the answers become more doubtful, below 1 surer; which output is the highest stays.

Source: Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from emojax.spec import InputSpec

SMALLEST, LARGEST = 0.05, 20.0
"""Temperatures that are used: beyond them a network says nothing but 0, 1 or one half."""

# Half of float32's distance from 1 to the number below it: what a sigmoid of 1 may have been.
_EDGE = 2.0**-25


@dataclasses.dataclass(frozen=True)
class Temperatures:
    """What the logits of each group are divided by."""

    action_units: float = 1.0
    """Of the action units."""
    emotions: float = 1.0
    """Of the emotions."""


def scale_group(
    probabilities: np.ndarray, activation: Literal["sigmoid", "softmax"] | str, temperature: float
) -> np.ndarray:
    """Return the probabilities of a group as they are at a temperature.

    Args:
        probabilities: [..., outputs], 0..1, at temperature 1.
        activation: what made them from logits.
        temperature: `SMALLEST` to `LARGEST`; 1 leaves everything as it is.

    Returns:
        The same type and shape, 0..1.
    """
    if temperature == 1.0 or not probabilities.size:
        return probabilities
    wide = probabilities.astype(np.float64)
    if activation == "softmax":
        powers = np.log(np.maximum(wide, np.finfo(np.float32).tiny)) / temperature
        powers = np.exp(powers - powers.max(axis=-1, keepdims=True))
        scaled = powers / powers.sum(axis=-1, keepdims=True)
    else:
        inside = np.clip(wide, _EDGE, 1 - _EDGE)
        scaled = 1 / (1 + np.exp((np.log1p(-inside) - np.log(inside)) / temperature))
    return scaled.astype(probabilities.dtype)


def scale(probabilities: np.ndarray, spec: InputSpec, temperatures: Temperatures) -> np.ndarray:
    """Return a network's answers, each group at its temperature.

    Args:
        probabilities: [..., outputs], 0..1: action units, then emotions.
        spec: names the outputs and their activations.
        temperatures: of the groups.
    """
    if temperatures == Temperatures():
        return probabilities
    units, emotions = np.split(probabilities, [len(spec.action_units)], axis=-1)
    return np.concatenate(
        [
            scale_group(units, spec.action_unit_activation, temperatures.action_units),
            scale_group(emotions, spec.emotion_activation, temperatures.emotions),
        ],
        axis=-1,
    )
