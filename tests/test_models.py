from __future__ import annotations

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.errors import UserError
from emojax.models import MODELS, build_model, check_model_key
from emojax.models.resnet import ResNet


class Row(NamedTuple):
    """What is known of a network before it has been run."""

    parameters: int
    """With one channel, 98 x 80 and 22 outputs; counted by hand below."""
    features: int
    """Length of the vector that the last linear layer sees."""
    smallest: tuple[int, int]
    """Height and width."""
    layers: str
    """Top-level names: once a checkpoint exists, a name is an API."""


# Convolutions k k in out + out; four times halved, 98 x 80 ends at 3 x 2.
AR1 = (
    *(25 * 1 * 24 + 24, 9 * 24 * 48 + 48, 9 * 48 * 96 + 96, 9 * 96 * 128 + 128),
    *(3 * 2 * 128 * 256 + 256, 256 * 22 + 22),
)
# The published 11,689,512 with two colour channels less in the stem and 22 classes for 1000.
RESNET18 = (11_689_512, -2 * 49 * 64, -(1000 - 22) * (512 + 1))

ROWS: dict[str, Row] = {
    "ar1": Row(sum(AR1), 256, (32, 32), "conv1 conv2 conv3 conv4 fully_connected head"),
    "resnet18": Row(
        sum(RESNET18),
        512,
        (16, 16),
        "head stage1_block1 stage1_block2 stage2_block1 stage2_block2 stage3_block1 "
        "stage3_block2 stage4_block1 stage4_block2 stem_conv stem_norm",
    ),
}
every_model = pytest.mark.parametrize("key", MODELS)


def test_every_registered_model_has_a_row() -> None:
    assert set(ROWS) == set(MODELS)


def shapes_of(model: nn.Module, height: int, width: int, channels: int = 1) -> Any:
    """Shapes and dtypes of a network's variables, without computing any."""
    image = jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
    init = functools.partial(model.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), image)


def count(variables: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@every_model
def test_parameter_count(key: str) -> None:
    assert count(shapes_of(build_model(key, 22), 98, 80)) == ROWS[key].parameters


def test_resnet18_has_the_published_parameter_count() -> None:
    variables = shapes_of(build_model("resnet18", 1000), 224, 224, channels=3)
    assert count(variables) == 11_689_512
    # Two statistics for each of the 4,800 channels that 20 normalisations see.
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["batch_stats"])) == 2 * 4800


def test_resnet18_has_the_published_stages() -> None:
    # He et al. 2016, table 1: output sizes of conv1 and of conv2_x .. conv5_x at 224 x 224.
    model = build_model("resnet18", 1000)
    image = jnp.zeros((1, 224, 224, 3))

    def stages(variables: Any) -> Any:
        wanted = {"stem_conv", *(f"stage{stage}_block2" for stage in (1, 2, 3, 4))}
        _, seen = model.apply(
            variables,
            image,
            train=False,
            capture_intermediates=lambda module, _: module.name in wanted,
            mutable=["intermediates"],
        )
        return seen["intermediates"]

    seen = jax.eval_shape(stages, shapes_of(model, 224, 224, channels=3))
    assert {name: outputs["__call__"][0].shape[1:] for name, outputs in seen.items()} == {
        "stem_conv": (112, 112, 64),
        "stage1_block2": (56, 56, 64),
        "stage2_block2": (28, 28, 128),
        "stage3_block2": (14, 14, 256),
        "stage4_block2": (7, 7, 512),
    }


@every_model
def test_layer_names(key: str) -> None:
    assert sorted(shapes_of(build_model(key, 22), 98, 80)["params"]) == ROWS[key].layers.split()


@pytest.mark.parametrize("num_outputs", [6, 7, 15, 22])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("train", [False, True])
@every_model
def test_shapes_and_dtypes(key: str, train: bool, dtype: str, num_outputs: int) -> None:
    model = build_model(key, num_outputs, dtype=dtype)
    variables = shapes_of(model, 98, 80)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}

    def apply(variables: Any, images: jax.Array, key: jax.Array) -> Any:
        rngs = {"dropout": key}
        return model.apply(variables, images, train=train, rngs=rngs, mutable=["batch_stats"])

    images = jax.ShapeDtypeStruct((5, 98, 80, 1), jnp.float32)
    outputs, updates = jax.eval_shape(apply, variables, images, jax.random.key(0))
    assert (outputs.logits.shape, outputs.logits.dtype) == ((5, num_outputs), jnp.float32)
    assert (outputs.features.shape, outputs.features.dtype) == (
        (5, ROWS[key].features),
        jnp.float32,
    )
    # What training puts back has to be what it took, or the next step compiles anew.
    for name, tree in updates.items():
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), variables[name]
        )


@pytest.mark.parametrize("key", ["ar1", "resnet18"])
def test_bfloat16_is_what_it_computes_in(key: str) -> None:
    model = build_model(key, 22, dtype="bfloat16")
    image = jnp.zeros((1, 98, 80, 1))

    def convolutions(variables: Any) -> Any:
        _, seen = model.apply(
            variables,
            image,
            train=False,
            capture_intermediates=lambda module, _: isinstance(module, nn.Conv),
            mutable=["intermediates"],
        )
        return seen["intermediates"]

    computed = jax.eval_shape(convolutions, shapes_of(model, 98, 80))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(computed)} == {"bfloat16"}


@every_model
def test_the_smallest_picture(key: str) -> None:
    model = build_model(key, 22)
    height, width = ROWS[key].smallest
    shapes_of(model, height, width)
    for too_small in ((height - 1, width), (height, width - 1), (1, 1)):
        with pytest.raises(UserError) as refusal:
            shapes_of(model, *too_small)
        assert f"can't take {too_small[0]}x{too_small[1]} pictures" in str(refusal.value)
        assert f"the smallest is {height}x{width} (height x width)" in str(refusal.value)


class Network(NamedTuple):
    """A network with parameters and its two compiled ways to run."""

    variables: Any
    images: jax.Array
    evaluate: Any
    train: Any


def drawn(shapes: Any) -> Any:
    """Variables of those shapes, of about the size that initialisers give; quicker than they."""
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> jax.Array:
        name = path[-1].key
        if name in ("scale", "var"):
            values = rng.uniform(0.5, 1.5, leaf.shape)
        else:
            fan_in = max(leaf.size // leaf.shape[-1], 100)
            values = rng.normal(0, (2 / fan_in) ** 0.5, leaf.shape)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope="module", params=list(MODELS))
def network(request: pytest.FixtureRequest) -> Network:
    model = build_model(request.param, 22, dropout=0.5)
    # Small pictures: what is asked below does not depend on the size.
    images = jax.random.normal(jax.random.key(1), (4, 36, 32, 1))

    @jax.jit
    def evaluate(variables: Any, images: jax.Array, key: jax.Array) -> Any:
        rngs = {"dropout": key}
        return model.apply(variables, images, train=False, rngs=rngs, mutable=["batch_stats"])

    @jax.jit
    def train(variables: Any, images: jax.Array, key: jax.Array) -> Any:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            outputs, updates = model.apply(
                {**variables, "params": params},
                images,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            return (outputs.logits**2).mean(), (outputs, updates)

        gradients, (outputs, updates) = jax.grad(loss, has_aux=True)(variables["params"])
        return outputs, updates, gradients

    return Network(drawn(shapes_of(model, 36, 32)), images, evaluate, train)


def test_gradients_are_finite_and_reach_every_layer(network: Network) -> None:
    _, _, gradients = network.train(network.variables, network.images, jax.random.key(2))
    assert jax.tree.structure(gradients) == jax.tree.structure(network.variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), name
        assert np.abs(leaf).max() > 0, name


def test_logits_are_a_linear_layer_of_the_features(network: Network) -> None:
    outputs, _ = network.evaluate(network.variables, network.images, jax.random.key(2))
    head = network.variables["params"]["head"]["logits"]
    expected = np.asarray(outputs.features, np.float64) @ np.asarray(head["kernel"], np.float64)
    np.testing.assert_allclose(outputs.logits, expected + head["bias"], rtol=1e-4, atol=1e-5)
    assert np.isfinite(outputs.logits).all()


def test_dropout_draws_in_training_and_never_in_evaluation(network: Network) -> None:
    first, second = (
        network.train(network.variables, network.images, jax.random.key(seed))[0] for seed in (2, 3)
    )
    assert np.abs(first.logits - second.logits).max() > 1e-3
    again = network.train(network.variables, network.images, jax.random.key(2))[0]
    np.testing.assert_array_equal(first.logits, again.logits)
    # The features are what came before the drop: what is measured on them has no noise.
    np.testing.assert_array_equal(first.features, second.features)
    one, other = (
        network.evaluate(network.variables, network.images, jax.random.key(seed))[0]
        for seed in (2, 3)
    )
    np.testing.assert_array_equal(one.logits, other.logits)


def test_statistics_change_in_training_only(network: Network) -> None:
    _, kept = network.evaluate(network.variables, network.images, jax.random.key(2))
    _, changed, _ = network.train(network.variables, network.images, jax.random.key(2))
    before = network.variables.get("batch_stats", {})
    assert jax.tree.structure(changed.get("batch_stats", {})) == jax.tree.structure(before)
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before),
        jax.tree.leaves(changed.get("batch_stats", {})),
        strict=True,
    ):
        assert np.abs(np.asarray(new) - np.asarray(old)).max() > 0, jax.tree_util.keystr(path)
    jax.tree.map(np.testing.assert_array_equal, kept.get("batch_stats", {}), before)


def test_evaluation_sees_each_picture_by_itself(network: Network) -> None:
    key = jax.random.key(2)
    together, _ = network.evaluate(network.variables, network.images, key)
    others = network.images.at[1:].set(0.5)
    alone, _ = network.evaluate(network.variables, others, key)
    np.testing.assert_allclose(together.logits[0], alone.logits[0], rtol=1e-5, atol=1e-6)
    assert np.abs(together.logits[1:] - alone.logits[1:]).max() > 1e-3


def test_running_statistics_move_by_a_tenth() -> None:
    # Flax and the paper's code mean opposite things by "momentum".
    model = ResNet(7, blocks=(1,))
    images = jax.random.normal(jax.random.key(1), (3, 32, 32, 1)) + 0.5
    shapes = shapes_of(model, 32, 32)
    # As initialised: mean 0, variance 1.
    fresh = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.full(leaf.shape, float(path[-1].key == "var")),
        shapes["batch_stats"],
    )
    variables = {"params": drawn(shapes["params"]), "batch_stats": fresh}

    @jax.jit
    def stem(variables: Any) -> Any:
        _, seen = model.apply(
            variables,
            images,
            train=True,
            capture_intermediates=lambda module, _: module.name == "stem_conv",
            mutable=["intermediates", "batch_stats"],
        )
        return seen["intermediates"]["stem_conv"]["__call__"][0], seen["batch_stats"]["stem_norm"]

    seen, found = stem(variables)
    values = np.asarray(seen, np.float64)
    np.testing.assert_allclose(found["mean"], 0.1 * values.mean((0, 1, 2)), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["var"], 0.9 + 0.1 * values.var((0, 1, 2)), rtol=1e-3)


@every_model
def test_dropout_is_the_network_s_own_unless_set(key: str) -> None:
    own = build_model(key, 22)
    assert own.dropout == {"ar1": 0.3, "resnet18": 0.0}[key]
    assert build_model(key, 22, dropout=0.0).dropout == 0.0
    assert build_model(key, 22, dropout=0.7).dropout == 0.7


@pytest.mark.parametrize("refuse", [check_model_key, lambda key: build_model(key, 22)])
def test_an_unknown_key_is_refused_with_the_known(refuse: Any) -> None:
    with pytest.raises(UserError, match="model 'resnet19' is not known") as refusal:
        refuse("resnet19")
    for key in MODELS:
        assert key in str(refusal.value)
