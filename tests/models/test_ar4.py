"""AR4: an extractor and a perceptron, apart and together."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from porting import draw_variables

from emojax.errors import UserError
from emojax.models import MODELS, build_model, looks_at

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 98, 80, 1)), jnp.float32)


def variables_of(model: Any) -> Any:
    return draw_variables(np.random.default_rng(0), model, IMAGES)


def shapes_of(model: Any) -> Any:
    """Of the outputs and of the variables."""
    init = functools.partial(model.init_with_output, train=False)
    return jax.eval_shape(init, jax.random.key(0), IMAGES)


def predict(model: Any, variables: Any) -> Any:
    return jax.jit(functools.partial(model.apply, train=False))(variables, IMAGES)


def test_the_first_logits_are_the_extractor_s_own() -> None:
    model, extractor = build_model("ar4", 22, extractor="ar1"), build_model("ar1", 15)
    variables = variables_of(model)
    inside = {"params": variables["params"]["extractor"]}
    outputs = predict(model, variables)
    units = predict(extractor, inside).logits
    np.testing.assert_allclose(outputs.logits[:, :15], units, rtol=1e-5, atol=1e-6)
    # The perceptron in double: 15 linear outputs, one hidden layer, 7.
    hidden, head = variables["params"]["hidden"], variables["params"]["head"]["logits"]
    features = np.maximum(np.float64(units) @ np.float64(hidden["kernel"]) + hidden["bias"], 0)
    np.testing.assert_allclose(outputs.features, features, rtol=1e-4, atol=1e-5)
    expected = features @ np.float64(head["kernel"]) + head["bias"]
    np.testing.assert_allclose(outputs.logits[:, 15:], expected, rtol=1e-4, atol=1e-5)
    assert np.std(expected) > 0.01


@pytest.mark.parametrize("num_outputs", [6, 7, 15])
def test_few_outputs_are_all_the_perceptron_s(num_outputs: int) -> None:
    model = build_model("ar4", num_outputs, extractor="ar1")
    outputs, variables = shapes_of(model)
    assert variables["params"]["head"]["logits"]["kernel"].shape == (32, num_outputs)
    assert outputs.logits.shape == (3, num_outputs)


def gradients_of(model: Any, variables: Any) -> Any:
    def loss(params: Any) -> jax.Array:
        outputs, _ = model.apply(
            {**variables, "params": params},
            IMAGES,
            train=True,
            rngs={"dropout": jax.random.key(1)},
            mutable=["batch_stats"],
        )
        return (outputs.logits**2).sum()

    return jax.jit(jax.grad(loss))(variables["params"])


def test_a_frozen_extractor_gets_no_gradient_and_runs_as_in_evaluation() -> None:
    joint = build_model("ar4", 22, extractor="ar2")
    frozen = build_model("ar4", 22, extractor="ar2", frozen=True)
    variables = variables_of(joint)
    assert any(np.abs(leaf).max() > 0 for leaf in leaves(gradients_of(joint, variables)))
    assert all(np.abs(leaf).max() == 0 for leaf in leaves(gradients_of(frozen, variables)))
    train = functools.partial(frozen.apply, train=True, mutable=["batch_stats"])
    outputs, updates = jax.jit(train)(variables, IMAGES)
    np.testing.assert_array_equal(outputs.logits, predict(joint, variables).logits)
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])


def leaves(gradients: Any) -> list[Any]:
    return jax.tree.leaves(gradients["extractor"])


@pytest.mark.parametrize("key", [key for key in MODELS if looks_at(key) == "picture"])
def test_any_network_for_pictures_can_be_the_extractor(key: str) -> None:
    if key == "ar4":
        with pytest.raises(UserError, match="extractor 'ar4': use one of ar1, ar2, resnet18"):
            build_model("ar4", 22, extractor=key)
        return
    model = build_model("ar4", 22, extractor=key)
    _, shapes = shapes_of(model)
    assert shapes["params"]["hidden"]["kernel"].shape == (15, 32)


def test_settings_reach_the_extractor_or_are_refused() -> None:
    with pytest.raises(UserError, match="model 'ar1' has no BatchNorm: leave norm_momentum out"):
        build_model("ar4", 22, extractor="ar1", norm_momentum=0.9)
    with pytest.raises(UserError, match="model 'ar1' has no extractor: leave extractor out"):
        build_model("ar1", 22, extractor="resnet18")
    with pytest.raises(UserError, match="extractor 'ar3'"):
        build_model("ar4", 22, extractor="ar3")


def test_blocks_and_widths_are_its_extractors() -> None:
    settings = {"blocks": (1, 1, 1, 1), "widths": (4, 6, 8, 10)}
    _, joint = shapes_of(build_model("ar4", 22, extractor="resnet18", **settings))
    _, alone = shapes_of(build_model("resnet18", 15, **settings))
    found, wanted = (jax.tree.map(jnp.shape, tree["params"]) for tree in (joint, alone))
    assert found["extractor"] == wanted
    with pytest.raises(UserError, match="'inception_v4' has 3 stages"):
        build_model("ar4", 22, extractor="inception_v4", blocks=(1, 1, 1, 1))
    with pytest.raises(UserError, match="'ar1' has no blocks"):
        build_model("ar4", 22, extractor="ar1", blocks=(1, 1))
