"""Another library's weights under our names, for the parity tests, and weights that are drawn."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class Unit(NamedTuple):
    """A convolution without bias and its normalisation."""

    kernel: np.ndarray  # height width inputs outputs
    scale: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    var: np.ndarray


def draw(rng: np.random.Generator, name: str, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Weights far from what initialisers give, of a size that keeps the activations' size.

    Args:
        rng: source of all of them.
        name: of the weight; statistics and scales are recognised by it.
        shape: of the weight.
        fan_in: inputs that are summed for one output.
    """
    if "var" in name or "scale" in name:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    size = (2 / fan_in) ** 0.5 if len(shape) > 1 else 0.1
    return (size * rng.standard_normal(shape)).astype(np.float32)


def draw_variables(rng: np.random.Generator, model: nn.Module, inputs: Any) -> Any:
    """Variables of a network: initialisers would have to be compiled, and leave norms as ones."""
    shapes = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), inputs)

    def leaf(path: Any, leaf: Any) -> jax.Array:
        fan_in = leaf.size // leaf.shape[-1]
        return jnp.asarray(draw(rng, path[-1].key, leaf.shape, fan_in))

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def put(tree: dict[str, Any], path: str, value: np.ndarray) -> None:
    """Set a leaf of a nested dictionary; the path's names are separated by slashes."""
    *folders, name = path.split("/")
    for folder in folders:
        tree = tree.setdefault(folder, {})
    assert name not in tree, path
    tree[name] = value


def put_unit(variables: dict[str, Any], conv: str, norm: str, unit: Unit) -> None:
    """Set a convolution and its normalisation, at their paths."""
    put(variables["params"], f"{conv}/kernel", unit.kernel)
    put(variables["params"], f"{norm}/scale", unit.scale)
    put(variables["params"], f"{norm}/bias", unit.bias)
    put(variables["batch_stats"], f"{norm}/mean", unit.mean)
    put(variables["batch_stats"], f"{norm}/var", unit.var)


def put_head(variables: dict[str, Any], kernel: np.ndarray, bias: np.ndarray) -> None:
    """Set the last linear layer; kernel: features outputs."""
    put(variables["params"], "head/logits/kernel", kernel)
    put(variables["params"], "head/logits/bias", bias)


def logits_of(model: nn.Module, variables: dict[str, Any], images: np.ndarray) -> np.ndarray:
    """A network's logits, after checking that every variable was set and none besides."""
    init = functools.partial(model.init, train=False)
    wanted = jax.eval_shape(init, jax.random.key(0), jnp.zeros(images.shape))
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, wanted)
    apply = jax.jit(functools.partial(model.apply, train=False))
    return np.asarray(apply(variables, images).logits)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal to a relative 1e-4, and no two outputs or pictures are alike for another reason."""
    assert np.isfinite(expected).all()
    assert expected.std(axis=1).min() >= 0.1
    size = np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() >= 0.01 * size
    assert np.abs(found - expected).max() <= 1e-4 * size


def branch(name: str, *lengths: int, pooled: bool = False) -> list[str]:
    """The units of a module with chains of those lengths, branch by branch."""
    units = [
        f"{name}/branch{number}_conv{step}"
        for number, length in enumerate(lengths, start=1)
        for step in range(1, length + 1)
    ]
    return [*units, f"{name}/pooled_conv1"] if pooled else units


def branches(name: str, count: int, *lengths: int, pooled: bool = False) -> list[str]:
    """The units of `{name}1` and its followers, which are alike."""
    modules = [branch(f"{name}{number}", *lengths, pooled=pooled) for number in range(1, count + 1)]
    return [unit for module in modules for unit in module]


def inception_resnet_v2_units() -> list[str]:
    """Inception-ResNet-v2's units in the order in which others write them down."""
    return [
        *(f"stem_conv{number}" for number in range(1, 6)),
        *branch("mixed_5b", 1, 2, 3, pooled=True),
        *branches("inception_a", 10, 1, 2, 3),
        *branch("reduction_a", 1, 3),
        *branches("inception_b", 20, 1, 3),
        *branch("reduction_b", 2, 2, 3),
        *branches("inception_c", 10, 1, 3),
        "last_conv",
    ]


def inception_resnet_v1_units(a: int, b: int, c: int) -> list[str]:
    """Inception-ResNet-v1's units in the order in which others write them down."""
    return [
        *(f"stem_conv{number}" for number in range(1, 7)),
        *branches("inception_a", a, 1, 2, 3),
        *branch("reduction_a", 1, 3),
        *branches("inception_b", b, 1, 3),
        *branch("reduction_b", 2, 2, 3),
        *branches("inception_c", c, 1, 3),
    ]


def inception_v4_units() -> list[str]:
    """Inception-v4's units in the order in which others write them down."""
    forks = "branch1_conv1 branch2_conv1 branch2_1x3 branch2_3x1 branch3_conv1 branch3_conv2"
    forks = f"{forks} branch3_conv3 branch3_1x3 branch3_3x1 pooled_conv1"
    return [
        *(f"stem_conv{number}" for number in range(1, 4)),
        "mixed_3a/conv1",
        *("mixed_4a/branch1_conv1", "mixed_4a/branch1_last"),
        *(f"mixed_4a/branch2_{unit}" for unit in ("conv1", "conv2", "conv3", "last")),
        "mixed_5a/branch1_conv1",
        *branches("inception_a", 4, 1, 2, 3, pooled=True),
        *branch("reduction_a", 1, 3),
        *branches("inception_b", 7, 1, 3, 5, pooled=True),
        *branch("reduction_b", 2, 4),
        *(f"inception_c{number}/{unit}" for number in range(1, 4) for unit in forks.split()),
    ]
