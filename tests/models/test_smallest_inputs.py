"""The smallest inputs that networks take are the true ones: they work, and one pixel less can't."""

from __future__ import annotations

import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from porting import draw_variables

from emojax.errors import UserError
from emojax.models import build_model
from emojax.models.ar1 import AR1
from emojax.models.ar2 import AR2
from emojax.models.ar5 import AR5
from emojax.models.inputs import Clip
from emojax.models.resnet import Bottleneck, ResNet

BATCH = 3
NARROW = (8, 8, 8)
VIDEO = AR5(6, sound_features=0, video_widths=NARROW)
SOUND = AR5(6, video_features=0, sound_widths=NARROW)
SMALLEST = {
    "ar1": (AR1(6, widths=NARROW), (15, 15)),
    "ar2": (AR2(6, widths=NARROW), (1, 1)),
    "resnet": (ResNet(6, blocks=(1, 1, 1), widths=NARROW), (1, 1)),
    "resnet with a stem of 5 x 5": (ResNet(6, blocks=(1, 1, 1), stem="5x5", widths=NARROW), (1, 1)),
    "bottlenecks": (ResNet(6, blocks=(1, 1, 1), block=Bottleneck, widths=NARROW), (1, 1)),
    "ar5's video": (VIDEO, (15, 15)),
    "ar5's plain sound": (SOUND, (8, 8)),
    "ar5's residual sound": (SOUND.clone(sound_branch="residual"), (3, 3)),
}
every_network = pytest.mark.parametrize("name", SMALLEST)


def inputs_of(model: nn.Module, height: int, width: int) -> Any:
    """Noise for a network, a picture or the one side of a clip that it takes."""
    rng, ones = np.random.default_rng(0), jnp.ones(BATCH)
    picture = jnp.asarray(rng.normal(size=(BATCH, height, width, 1)), jnp.float32)
    if not isinstance(model, AR5):
        return picture
    if model.video_features:
        return Clip(picture.transpose(0, 3, 1, 2), jnp.zeros((BATCH, 0, 0, 1)), ones, 0 * ones)
    return Clip(jnp.zeros((BATCH, 1, 1, 1)), picture, 0 * ones, ones)


@every_network
def test_the_smallest_is_answered_and_learnt_from(name: str) -> None:
    model, smallest = SMALLEST[name]
    inputs = inputs_of(model, *smallest)
    variables = draw_variables(np.random.default_rng(1), model, inputs)

    def loss(params: Any) -> Any:
        outputs, _ = model.apply(
            {**variables, "params": params},
            inputs,
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        return (outputs.logits**2).sum(), outputs.logits

    @jax.jit
    def results(params: Any) -> Any:
        answered = model.apply({**variables, "params": params}, inputs, train=False)
        return jax.grad(loss, has_aux=True)(params), answered

    (gradients, _), answered = found = results(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    # What is seen counts: it is not all padding.
    assert np.ptp(answered.logits, axis=0).max() > 1e-4
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients["head"]))


@every_network
@pytest.mark.parametrize("side", [0, 1])
def test_one_pixel_less_is_refused_and_would_leave_nothing(
    name: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, smallest = SMALLEST[name]
    sizes = [size - (place == side) for place, size in enumerate(smallest)]
    inputs = inputs_of(model, *sizes)

    def shapes() -> Any:
        return jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))

    named = f"the smallest is {smallest[0]}x{smallest[1]}"
    with pytest.raises(UserError, match=named):
        shapes()
    if max(smallest) == 1:
        return
    # Of nothing there is no first weight and no largest value.
    monkeypatch.setattr(sys.modules[type(model).__module__], "check_input_size", lambda *_: None)
    with pytest.raises((ZeroDivisionError, ValueError), match=r"division by zero|zero-size array"):
        shapes()


def test_seven_stages_fit_a_face() -> None:
    model = build_model("resnet18", 22, blocks=(1,) * 7)
    inputs = jnp.zeros((1, 98, 80, 1))
    outputs, _ = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), inputs, train=False)
    )
    assert outputs.logits.shape == (1, 22)
