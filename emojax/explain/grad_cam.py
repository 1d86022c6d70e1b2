"""Grad-CAM: which parts of a picture speak for an answer.

Source: Selvaraju et al. 2017, Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization, section 3, equations 1 and 2. By place: Draelos and Carin 2020, Use HiResCAM instead
of Grad-CAM for faithful explanations of convolutional neural networks, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import cv2
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from emojax.compiler import compiler_options
from emojax.explain.feature_map import FeatureMap, perturbed
from emojax.models import forward

Method = Literal["grad_cam", "by_place"]
"""`grad_cam` weighs a channel by its gradient's mean over all places, `by_place` by the gradient at
each place. Behind global pooling both are the same. A fully connected layer (ar1, ar3, ar5) treats
each place in its own way: there a mean over places loses what is looked for, often all of it."""

GradCam = Callable[[Any, Any, Int[Any, " batch"]], tuple[jax.Array, jax.Array]]
"""`(variables, inputs, outputs) -> heat, logits`."""


def make_grad_cam(model: nn.Module, layer: FeatureMap, method: Method = "grad_cam") -> GradCam:
    """Return `(variables, inputs, outputs) -> heat, logits`, compiled once for batches of a size.

    An output's score is its logit, before sigmoid or softmax. A channel weighs what the score's
    gradient is on average over its map (equation 1); the heat is the weighted sum of the channels
    where it is positive (equation 2). A clip's map has time as a further axis, over which is
    averaged as over the other two. `outputs` has the index of one output for each example; heat
    is batch (time) height width, 0 and more, as coarse as the map.

    Args:
        model: the network.
        layer: of `feature_map.find_feature_map`.
        method: what a channel weighs; described here is `grad_cam`.
    """

    def explain(variables: Any, inputs: Any, outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        def score(added: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            with perturbed(layer, added) as seen:
                logits = forward(model, variables, inputs).logits
            # In evaluation no example depends on another: the gradient of their sum is each one's.
            chosen = jnp.take_along_axis(logits, outputs[:, None], axis=1)
            return chosen.sum(), (seen[0], logits)

        added = jnp.zeros((len(outputs), *layer.shape))
        slope, (maps, logits) = jax.grad(score, has_aux=True)(added)
        places = tuple(range(1, slope.ndim - 1))
        weights = slope if method == "by_place" else slope.mean(axis=places, keepdims=True)
        return nn.relu((weights * maps).sum(axis=-1)), logits

    return jax.jit(explain, compiler_options=compiler_options())


def spread(
    heat: Float[np.ndarray, "*batch rows columns"], height: int, width: int
) -> Float[np.ndarray, "*batch height width"]:
    """Return heat of a picture's size: linear between the middles of the map's cells.

    A cell stands for the part of the picture at its own place, as is usual, and right to 16 pixels
    of 98 x 80: what a cell of the last stage sees is centred elsewhere. The inceptions, whose first
    layers have no padding, have their four rows at 21, 37, 53 and 69, drawn at 12, 36, 61 and 85;
    resnet18, padded throughout, has its three columns at 0, 32 and 64, drawn at 13, 40 and 66.
    """
    cells = heat.reshape(-1, *heat.shape[-2:]).astype(np.float32)
    size = (width, height)
    wide = [cv2.resize(cell, size, interpolation=cv2.INTER_LINEAR) for cell in cells]
    return np.reshape(wide, (*heat.shape[:-2], height, width))


def scale(heat: Float[np.ndarray, "example *rest"]) -> Float[np.ndarray, "example *rest"]:
    """Return each example's heat as a share of its own highest; 0 where there is none at all."""
    highest = heat.reshape(len(heat), -1).max(axis=1)
    return heat / np.where(highest > 0, highest, 1).reshape(-1, *[1] * (heat.ndim - 1))
