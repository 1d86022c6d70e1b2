from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from emojax.errors import UserError
from emojax.models import MODELS, build_model, check_model_key, looks_at
from emojax.models.ar1 import AR1
from emojax.models.inception_resnet import VERSION_1, VERSION_2, InceptionResNet
from emojax.models.inception_v4 import InceptionV4
from emojax.models.inputs import Clip, Looks
from emojax.models.layers import PReLU, smallest_side
from emojax.models.resnet import Bottleneck, ResNet


class Row(NamedTuple):
    """What is known of a network before it has been run."""

    parameters: int
    """With one channel, 98 x 80 and 22 outputs; counted by hand below."""
    features: int
    """Length of the vector that the last linear layer sees."""
    smallest: tuple[int, int]
    """Height and width."""
    layers: list[str]
    """Top-level names, in any order: once a checkpoint exists, a name is an API."""
    dropout: float
    """The network's own."""


# Convolutions k k in out + out; four times halved, 98 x 80 ends at 3 x 2.
AR1_PARAMETERS = (
    *(25 * 1 * 24 + 24, 9 * 24 * 48 + 48, 9 * 48 * 96 + 96, 9 * 96 * 128 + 128),
    *(3 * 2 * 128 * 256 + 256, 256 * 22 + 22),
)
AR2_WIDTHS = (16, 24, 32, 48, 64, 96)
# Time is halved twice, 20 to 5; the picture five times, 98 x 80 to 3 x 2.
AR3_PARAMETERS = (
    *(75 * 1 * 16 + 2 * 16, 27 * 16 * 32 + 2 * 32, 27 * 32 * 64 + 2 * 64, 27 * 64 * 96 + 2 * 96),
    *(5 * 3 * 2 * 96 * 256 + 256, 256 * 22 + 22),
)
# Trainable parameters with three colour channels and 1000 classes, as published.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "inception_v4": 42_679_816,
    # Keras's 55,813,192 and the BatchNorm scales that it leaves out.
    "inception_resnet_v2": 55_813_192 + 30_272,
}


def gray_22(published: int, stem: int, features: int) -> int:
    """Two colour channels less in the stem's first convolution and 22 classes for 1000."""
    return published - 2 * stem - (1000 - 22) * (features + 1)


def unit(inputs: int, width: int, kernel: int = 1) -> int:
    """Parameters of a convolution without bias, and its normalisation's."""
    return kernel * inputs * width + 2 * width


def chain(inputs: int, *steps: tuple[int, int]) -> int:
    """Parameters of units one after the other, each given by its width and its kernel's area."""
    total = 0
    for width, kernel in steps:
        total += unit(inputs, width, kernel)
        inputs = width
    return total


def up(inputs: int, width: int) -> int:
    """Parameters of a residual's last convolution: a bias and no normalisation."""
    return (inputs + 1) * width


# No one publishes a count of version 1: figures 14, 10, 7, 11, 12 and 13, term by term.
INCEPTION_RESNET_V1 = (
    chain(1, (32, 9), (32, 9), (64, 9), (80, 1), (192, 9), (256, 9)),
    *5 * (chain(256, (32, 1)), chain(256, (32, 1), (32, 9)), up(96, 256)),
    *5 * (chain(256, (32, 1), (32, 9), (32, 9)),),
    *(chain(256, (384, 9)), chain(256, (192, 1), (192, 9), (256, 9))),
    *10 * (chain(896, (128, 1)), chain(896, (128, 1), (128, 7), (128, 7)), up(256, 896)),
    *(chain(896, (256, 1), (384, 9)), chain(896, (256, 1), (256, 9))),
    chain(896, (256, 1), (256, 9), (256, 9)),
    *5 * (chain(1792, (192, 1)), chain(1792, (192, 1), (192, 3), (192, 3)), up(384, 1792)),
    (1792 + 1) * 22,
)
# 7 of 10 blocks A, 15 of 20 B and 8 of 10 C less than version 2.
INCEPTION_RESNET = (
    gray_22(PUBLISHED["inception_resnet_v2"], 9 * 32, 1536),
    -7 * (chain(320, (32, 1)) + chain(320, (32, 1), (32, 9)) + up(128, 320)),
    -7 * chain(320, (32, 1), (48, 9), (64, 9)),
    -15 * (chain(1088, (192, 1)) + chain(1088, (128, 1), (160, 7), (192, 7)) + up(384, 1088)),
    -8 * (chain(2080, (192, 1)) + chain(2080, (192, 1), (224, 3), (256, 3)) + up(448, 2080)),
)


def basic_block(inputs: int, width: int) -> int:
    """Parameters of two 3 x 3 convolutions, and of a projection where the width changes."""
    projection = unit(inputs, width) if inputs != width else 0
    return chain(inputs, (width, 9), (width, 9)) + projection


# 1, 2, 2 and 1 blocks of 32, 64, 128 and 192 channels behind 5 x 5.
RESNET_SMALL = (
    unit(1, 32, 25),
    *(basic_block(32, 32), basic_block(32, 64), basic_block(64, 64)),
    *(basic_block(64, 128), basic_block(128, 128), basic_block(128, 192), (192 + 1) * 22),
)


# 98 x 80 ends at 3 x 2 after a stride and four poolings, 64 x 96 at 4 x 6 after four.
AR5_PARAMETERS = (
    chain(20, (32, 25), *((width, 9) for width in (32, 64, 64, 96, 96, 128, 128))),
    *(3 * 2 * 128 * 256 + 256, chain(1, (16, 9), (32, 9), (64, 9), (64, 9))),
    *(4 * 6 * 64 * 64 + 64, (256 + 64) * 128 + 128, 128 * 22 + 22),
    # What each branch answers by itself.
    *(256 * 22 + 22, 64 * 22 + 22),
)


def numbered(name: str, *counts: int) -> list[str]:
    """`{name}`'s layers, counted from 1."""
    return [f"{name.format(i)}{j}" for i, n in enumerate(counts, 1) for j in range(1, n + 1)]


def resnet_layers(*blocks: int) -> list[str]:
    return ["head", "stem_conv", "stem_norm", *numbered("stage{}_block", *blocks)]


def inception_layers(stem: str, a: int, b: int, c: int) -> list[str]:
    blocks = [
        *numbered("inception_a", a),
        *numbered("inception_b", b),
        *numbered("inception_c", c),
    ]
    return ["head", "reduction_a", "reduction_b", *stem.split(), *blocks]


STEM_3 = "stem_conv1 stem_conv2 stem_conv3"
STEM_V4 = f"{STEM_3} mixed_3a mixed_4a mixed_5a"
STEM_V1 = f"{STEM_3} stem_conv4 stem_conv5 stem_conv6"
STEM_V2 = f"{STEM_3} stem_conv4 stem_conv5 mixed_5b last_conv"

ROWS: dict[str, Row] = {
    "ar1": Row(
        sum(AR1_PARAMETERS),
        *(256, (31, 31), [*numbered("conv", 4), "fully_connected", "head"], 0.3),
    ),
    "ar2": Row(
        chain(1, *((width, 9) for width in AR2_WIDTHS for _ in range(2))) + (96 + 1) * 22,
        *(96, (1, 1), [*numbered("stage{}_conv", *(2,) * 6), "head"], 0.2),
    ),
    "ar3": Row(
        sum(AR3_PARAMETERS),
        256,
        (31, 31),
        [
            *(f"conv{number}_kernel" for number in range(1, 5)),
            *numbered("norm", 4),
            "fully_connected",
            "head",
        ],
        0.3,
    ),
    # ResNet-18 with 15 outputs, 15 to 32, 32 to 7.
    "ar4": Row(
        gray_22(PUBLISHED["resnet18"], 49 * 64, 512) - 7 * 513 + 16 * 32 + 33 * 7,
        *(32, (1, 1), ["extractor", "hidden", "head"], 0.0),
    ),
    "ar5": Row(
        sum(AR5_PARAMETERS),
        *(
            320,
            (31, 31),
            ["fully_connected", "head", "sound", "sound_logits", "video", "video_logits"],
            0.3,
        ),
    ),
    "resnet18": Row(
        gray_22(PUBLISHED["resnet18"], 49 * 64, 512), 512, (1, 1), resnet_layers(2, 2, 2, 2), 0.0
    ),
    "resnet34": Row(
        gray_22(PUBLISHED["resnet34"], 49 * 64, 512), 512, (1, 1), resnet_layers(3, 4, 6, 3), 0.0
    ),
    "resnet50": Row(
        gray_22(PUBLISHED["resnet50"], 49 * 64, 2048),
        *(2048, (1, 1), resnet_layers(3, 4, 6, 3), 0.0),
    ),
    "resnet101": Row(
        gray_22(PUBLISHED["resnet101"], 49 * 64, 2048),
        *(2048, (1, 1), resnet_layers(3, 4, 23, 3), 0.0),
    ),
    "resnet_small": Row(sum(RESNET_SMALL), *(192, (1, 1), resnet_layers(1, 2, 2, 1), 0.2)),
    "inception_v4": Row(
        gray_22(PUBLISHED["inception_v4"], 9 * 32, 1536),
        *(1536, (75, 75), inception_layers(STEM_V4, 4, 7, 3), 0.2),
    ),
    "inception_resnet": Row(
        sum(INCEPTION_RESNET), 1536, (75, 75), inception_layers(STEM_V2, 3, 5, 2), 0.2
    ),
    "inception_resnet_v1": Row(
        sum(INCEPTION_RESNET_V1), 1792, (75, 75), inception_layers(STEM_V1, 5, 10, 5), 0.2
    ),
    "inception_resnet_v2": Row(
        gray_22(PUBLISHED["inception_resnet_v2"], 9 * 32, 1536),
        *(1536, (75, 75), inception_layers(STEM_V2, 10, 20, 10), 0.2),
    ),
}
every_model = pytest.mark.parametrize("key", MODELS)
# Tracing hundreds of layers takes seconds, compiling them minutes; it says the same as some of the
# same kind do.
LARGE = (
    *("resnet34", "resnet50", "resnet101", "inception_v4"),
    *("inception_resnet_v1", "inception_resnet_v2"),
)
large_ones_wait = pytest.mark.parametrize(
    "key", [pytest.param(key, marks=pytest.mark.release if key in LARGE else []) for key in MODELS]
)


def test_every_registered_model_has_a_row() -> None:
    assert set(ROWS) == set(MODELS) == {*QUICK, *ALSO, *LARGE}


def inputs_of(looks: Looks, height: int, width: int, channels: int = 1, batch: int = 1) -> Any:
    """Inputs of zeros for a network that looks at that."""
    frames = jnp.zeros((batch, 20, height, width))
    clip = Clip(frames, jnp.zeros((batch, 64, 96, 1)), jnp.ones(batch), jnp.ones(batch))
    picture = jnp.zeros((batch, height, width, channels))
    return {"picture": picture, "frames": frames, "clip": clip}[looks]


def shapes_of(
    model: nn.Module, height: int, width: int, channels: int = 1, looks: Looks = "picture"
) -> Any:
    """Shapes and dtypes of a network's variables, without computing any."""
    inputs = jax.eval_shape(lambda: inputs_of(looks, height, width, channels))
    init = functools.partial(model.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), inputs)


@functools.cache
def shapes_by_key(
    key: str, height: int = 98, width: int = 80, num_outputs: int = 22, **settings: Any
) -> Any:
    """Shapes and dtypes of a registered network's variables."""
    model = build_model(key, num_outputs, **settings)
    return shapes_of(model, height, width, looks=looks_at(key))


def count(variables: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@every_model
def test_parameter_count(key: str) -> None:
    assert count(shapes_by_key(key)) == ROWS[key].parameters


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_parameter_counts(key: str) -> None:
    variables = shapes_of(build_model(key, 1000), 224, 224, channels=3)
    assert count(variables) == PUBLISHED[key]
    # Two statistics for each channel that a normalisation scales and shifts.
    scales_and_biases = sum(
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if "norm" in path[-2].key
    )
    statistics = sum(leaf.size for leaf in jax.tree.leaves(variables["batch_stats"]))
    assert statistics == scales_and_biases
    assert statistics == {"resnet18": 2 * 4800, "inception_resnet_v2": 60_544}.get(key, statistics)


def output_shapes(model: nn.Module, side: int, layers: str) -> dict[str, tuple[int, ...]]:
    """Height, width and channels that layers give for a square colour picture."""
    image = jnp.zeros((1, side, side, 3))

    def seen() -> Any:
        _, found = model.init_with_output(
            jax.random.key(0),
            image,
            train=False,
            capture_intermediates=lambda module, _: module.name in layers.split(),
            mutable=True,
        )
        return found["intermediates"]

    found = jax.eval_shape(seen)
    return {name: outputs["__call__"][0].shape[1:] for name, outputs in found.items()}


@pytest.mark.parametrize(("key", "factor"), [("resnet18", 1), ("resnet50", 4)])
def test_resnet_has_the_published_stages(key: str, factor: int) -> None:
    # He et al. 2016, table 1: output sizes of conv1 and of conv2_x .. conv5_x at 224 x 224.
    layers = "stem_conv stage1_block2 stage2_block2 stage3_block2 stage4_block2"
    assert output_shapes(build_model(key, 1000), 224, layers) == {
        "stem_conv": (112, 112, 64),
        "stage1_block2": (56, 56, 64 * factor),
        "stage2_block2": (28, 28, 128 * factor),
        "stage3_block2": (14, 14, 256 * factor),
        "stage4_block2": (7, 7, 512 * factor),
    }


@pytest.mark.parametrize(
    ("key", "widths"),
    [
        # Szegedy et al. 2017, figures 9 and 15; version 2 as it was released.
        ("inception_v4", (384, 1024, 1536)),
        ("inception_resnet_v1", (256, 896, 1792)),
        ("inception_resnet_v2", (320, 1088, 2080)),
        ("inception_resnet", (320, 1088, 2080)),
    ],
)
def test_inception_has_the_published_grids(key: str, widths: tuple[int, int, int]) -> None:
    layers = "inception_a1 reduction_a inception_b1 reduction_b inception_c1"
    a, b, c = widths
    assert output_shapes(build_model(key, 1000), 299, layers) == {
        "inception_a1": (35, 35, a),
        "reduction_a": (17, 17, b),
        "inception_b1": (17, 17, b),
        "reduction_b": (8, 8, c),
        "inception_c1": (8, 8, c),
    }


def test_the_coarse_stem_halves_the_picture_once() -> None:
    layers = "stem_conv stage1_block1 stage2_block2 stage3_block2 stage4_block1"
    assert output_shapes(build_model("resnet_small", 7), 96, layers) == {
        "stem_conv": (48, 48, 32),
        "stage1_block1": (48, 48, 32),
        "stage2_block2": (24, 24, 64),
        "stage3_block2": (12, 12, 128),
        "stage4_block1": (6, 6, 192),
    }


def test_stages_are_as_wide_as_said() -> None:
    model = build_model("resnet18", 7, blocks=(1, 1), widths=(24, 40))
    assert output_shapes(model, 64, "stage1_block1 stage2_block1") == {
        "stage1_block1": (16, 16, 24),
        "stage2_block1": (8, 8, 40),
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": "resnet18", "widths": (64, 0, 64, 64)}, r"widths 64, 0, 64, 64: wanted 1 or more"),
        (
            {"key": "inception_v4", "widths": (8,)},
            r"model 'inception_v4' has no widths: leave widths out",
        ),
    ],
)
def test_widths_that_no_network_has_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_model(num_outputs=7, **settings)


def test_a_width_for_each_stage_is_wanted() -> None:
    with pytest.raises(UserError, match=r"widths 64, 128: wanted one for each of the 4 stages"):
        shapes_by_key("resnet18", widths=(64, 128))


def test_the_stride_of_a_bottleneck_has_a_place() -> None:
    for stride_in, middle in (("3x3", 28), ("1x1", 14)):
        block = functools.partial(Bottleneck, stride_in=stride_in)
        model = ResNet(7, blocks=(1, 1), block=block)

        def inside(variables: Any, model: nn.Module = model) -> Any:
            _, seen = model.apply(
                variables,
                jnp.zeros((1, 112, 112, 1)),
                train=False,
                capture_intermediates=lambda module, _: module.name == "conv1",
                mutable=["intermediates"],
            )
            return seen["intermediates"]["stage2_block1"]["conv1"]["__call__"][0]

        assert jax.eval_shape(inside, shapes_of(model, 112, 112)).shape[1:] == (middle, middle, 128)


def test_any_number_of_blocks() -> None:
    layers = shapes_of(InceptionResNet(7, VERSION_1, blocks=(0, 2, 1)), 98, 80)["params"]
    assert sorted(layers) == sorted(inception_layers(STEM_V1, 0, 2, 1))
    layers = shapes_of(InceptionV4(7, blocks=(1, 0, 2)), 98, 80)["params"]
    assert sorted(layers) == sorted(inception_layers(STEM_V4, 1, 0, 2))
    layers = shapes_of(ResNet(7, blocks=(1, 0, 3), block=Bottleneck), 98, 80)["params"]
    assert sorted(layers) == sorted(resnet_layers(1, 0, 3))


@every_model
def test_layer_names(key: str) -> None:
    layers = shapes_by_key(key)["params"]
    assert sorted(layers) == sorted(ROWS[key].layers)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("num_outputs", "dtype"), [(6, "bfloat16"), (22, "float32")])
@large_ones_wait
def test_shapes_and_dtypes(key: str, num_outputs: int, dtype: str, train: bool) -> None:
    model = build_model(key, num_outputs, dtype=dtype)
    variables = shapes_by_key(key, num_outputs=num_outputs, dtype=dtype)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}

    def apply(variables: Any, images: Any, key: jax.Array) -> Any:
        rngs = {"dropout": key}
        return model.apply(variables, images, train=train, rngs=rngs, mutable=["batch_stats"])

    inputs = jax.eval_shape(lambda: inputs_of(looks_at(key), 98, 80, batch=5))
    outputs, updates = jax.eval_shape(apply, variables, inputs, jax.random.key(0))
    for own in outputs.auxiliary:
        assert (own.shape, own.dtype) == ((5, num_outputs), jnp.float32)
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


def every_equation(graph: Any) -> Iterator[Any]:
    """Operations of a graph and of the graphs inside it."""
    for equation in graph.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from every_equation(inner)


@large_ones_wait
def test_bfloat16_is_what_it_computes_in(key: str) -> None:
    model = build_model(key, 22, dtype="bfloat16")
    inputs = inputs_of(looks_at(key), 98, 80)
    graph = jax.make_jaxpr(lambda variables: model.apply(variables, inputs, train=False))(
        shapes_by_key(key)
    )
    computed = {
        equation.outvars[0].aval.dtype.name
        for equation in every_equation(graph.jaxpr)
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    }
    assert computed == {"bfloat16"}


@every_model
def test_the_smallest_picture(key: str) -> None:
    height, width = ROWS[key].smallest
    # Blocks keep the sides.
    settings = {"blocks": (1,) * (4 if key.startswith("resnet") else 3)} if key in LARGE else {}
    shapes_by_key(key, height, width, **settings)
    found, smallest = "{}x{} pictures", f"{height}x{width} (height x width)"
    if key == "ar3":
        found, smallest = "20x{}x{} clips", f"4x{height}x{width} (time x height x width)"
    for too_small in ((height - 1, width), (height, width - 1), (height - 1, width - 1)):
        with pytest.raises(UserError) as refusal:
            shapes_by_key(key, *too_small, **settings)
        assert f"can't take {found.format(*too_small)}" in str(refusal.value)
        assert f"the smallest is {smallest}" in str(refusal.value)


@pytest.mark.parametrize(
    "model",
    [
        InceptionV4(7, blocks=(1, 1, 1)),
        InceptionResNet(7, VERSION_1, blocks=(1, 1, 1)),
        InceptionResNet(7, VERSION_2, blocks=(1, 1, 1)),
    ],
)
def test_one_pixel_less_than_the_smallest_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, model: nn.Module
) -> None:
    monkeypatch.setattr(sys.modules[type(model).__module__], "check_input_size", lambda *_: None)
    assert output_shapes(model, 75, "reduction_b")["reduction_b"][:2] == (1, 1)
    assert output_shapes(model, 74, "reduction_b")["reduction_b"][:2] == (0, 0)


@pytest.mark.parametrize("windows", [[], [(3, 2)], [(7, 2), (3, 1), (1, 1), (5, 3)]])
def test_smallest_side(windows: list[tuple[int, int]]) -> None:
    def remaining(side: int) -> int:
        for kernel, stride in windows:
            side = len(range(0, side - kernel + 1, stride))
        return side

    side = smallest_side(windows)
    assert remaining(side) == 1
    assert remaining(side - 1) == 0


class Network(NamedTuple):
    """A network with parameters and its two compiled ways to run."""

    key: str
    variables: Any
    images: Any
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


# Every kind of block that the large networks have and the quick ones have not.
SMALL: dict[str, Callable[..., nn.Module]] = {
    "resnet50": functools.partial(ResNet, blocks=(2, 1, 1, 1), block=Bottleneck),
    "inception_v4": functools.partial(InceptionV4, blocks=(1, 1, 1)),
    "inception_resnet_v1": functools.partial(InceptionResNet, design=VERSION_1, blocks=(1, 1, 1)),
}
QUICK = ("ar1", "ar2", "ar3", "ar5", "resnet18", "inception_resnet")
ALSO = ("ar4", "resnet_small")


@pytest.fixture(
    scope="module",
    params=[
        *QUICK,
        *(pytest.param(key, marks=pytest.mark.slow) for key in ALSO),
        *(pytest.param(f"small {key}", marks=pytest.mark.slow) for key in SMALL),
        *(pytest.param(key, marks=pytest.mark.release) for key in LARGE),
    ],
)
def network(request: pytest.FixtureRequest) -> Network:
    key = request.param.removeprefix("small ")
    build = functools.partial(build_model, key) if key == request.param else SMALL[key]
    model = build(num_outputs=22, dropout=0.5)
    # Small pictures: what is asked below does not depend on the size.
    height, width = (max(side, 32) + 4 for side in ROWS[key].smallest)
    looks = looks_at(key)
    shapes = inputs_of(looks, height, width, batch=4)
    images = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(1), leaf.shape), shapes)
    if isinstance(images, Clip):
        images = images._replace(has_frames=jnp.ones(4), has_sound=jnp.ones(4))

    @jax.jit
    def evaluate(variables: Any, images: Any, key: jax.Array) -> Any:
        rngs = {"dropout": key}
        return model.apply(variables, images, train=False, rngs=rngs, mutable=["batch_stats"])

    @jax.jit
    def train(variables: Any, images: Any, key: jax.Array) -> Any:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            outputs, updates = model.apply(
                {**variables, "params": params},
                images,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            answers = jnp.stack([outputs.logits, *outputs.auxiliary])
            return (answers**2).mean(), (outputs, updates)

        gradients, (outputs, updates) = jax.grad(loss, has_aux=True)(variables["params"])
        return outputs, updates, gradients

    variables = drawn(shapes_of(model, height, width, looks=looks))
    return Network(key, variables, images, evaluate, train)


def test_gradients_are_finite_and_reach_every_layer(network: Network) -> None:
    _, _, gradients = network.train(network.variables, network.images, jax.random.key(2))
    assert jax.tree.structure(gradients) == jax.tree.structure(network.variables["params"])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), name
        assert np.abs(leaf).max() > 0, name


def test_logits_are_a_linear_layer_of_the_features(network: Network) -> None:
    if network.key == "ar5":
        pytest.skip("fuses its features first: see tests/models/test_ar5.py")
    outputs, _ = network.evaluate(network.variables, network.images, jax.random.key(2))
    head = network.variables["params"]["head"]["logits"]
    expected = np.asarray(outputs.features, np.float64) @ np.asarray(head["kernel"], np.float64)
    # ar4's first 15 are its extractor's.
    logits = outputs.logits[:, -len(head["bias"]) :]
    np.testing.assert_allclose(logits, expected + head["bias"], rtol=1e-4, atol=1e-5)
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
    others = jax.tree.map(lambda leaf: leaf.at[1:].set(0.5), network.images)
    alone, _ = network.evaluate(network.variables, others, key)
    np.testing.assert_allclose(together.logits[0], alone.logits[0], rtol=1e-5, atol=1e-6)
    assert np.abs(together.logits[1:] - alone.logits[1:]).max() > 1e-3


@pytest.mark.parametrize(
    ("model", "momentum", "norm"),
    [
        # Flax and ResNet's published code mean opposite things by "momentum".
        (ResNet(7, blocks=(1,)), 0.9, "stem_norm"),
        (ResNet(7, blocks=(1,), norm_momentum=0.5), 0.5, "stem_norm"),
        (InceptionV4(7, blocks=(1, 0, 0)), 0.9997, "stem_conv1"),
        (InceptionResNet(7, blocks=(1, 0, 0)), 0.9997, "stem_conv1"),
    ],
)
def test_running_statistics_keep_their_momentum(
    model: nn.Module, momentum: float, norm: str
) -> None:
    images = jax.random.normal(jax.random.key(1), (3, 80, 80, 1)) + 0.5
    shapes = shapes_of(model, 80, 80)
    # As initialised: mean 0, variance 1.
    fresh = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.full(leaf.shape, float(path[-1].key == "var")),
        shapes["batch_stats"],
    )
    variables = {"params": drawn(shapes["params"]), "batch_stats": fresh}
    first = "/".join([norm, "conv"]) if norm == "stem_conv1" else "stem_conv"

    @jax.jit
    def stem(variables: Any) -> Any:
        _, seen = model.apply(
            variables,
            images,
            train=True,
            capture_intermediates=lambda module, _: "/".join(module.path) == first,
            rngs={"dropout": jax.random.key(2)},
            mutable=["intermediates", "batch_stats"],
        )
        found = seen["batch_stats"][norm]
        return jax.tree.leaves(seen["intermediates"]), found.get("norm", found)

    (seen,), found = stem(variables)
    values = np.asarray(seen, np.float64)
    gain = 1 - momentum
    np.testing.assert_allclose(found["mean"] / gain, values.mean((0, 1, 2)), rtol=1e-3, atol=1e-3)
    # What is left of the initial 1 is subtracted in double: 0.9997 takes most of a float32.
    moved = (np.asarray(found["var"], np.float64) - momentum) / gain
    np.testing.assert_allclose(moved, values.var((0, 1, 2)), rtol=2e-3)


def test_prelu_is_linear_on_each_side() -> None:
    x = jnp.asarray([[-2.0, -2.0], [3.0, 0.0]])
    np.testing.assert_array_equal(
        PReLU().apply({"params": {"slope": jnp.asarray([0.5, 0.0])}}, x), [[-1.0, 0.0], [3.0, 0.0]]
    )
    assert PReLU().init(jax.random.key(0), x)["params"]["slope"].tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("build", "slopes", "every_norm"),
    [
        # One slope a channel: after the four convolutions and the fully connected layer;
        (AR1, 24 + 48 + 96 + 128 + 256, False),
        # after the stem and twice a block, in a bottleneck twice its width and once four times it;
        (functools.partial(ResNet, blocks=(1, 1)), 64 + 2 * (64 + 128), False),
        (functools.partial(ResNet, blocks=(1, 1), block=Bottleneck), 64 + 6 * (64 + 128), False),
        # after every normalisation, and after every sum but the linear one.
        (functools.partial(InceptionV4, blocks=(1, 1, 1)), 0, True),
        (functools.partial(InceptionResNet, blocks=(1, 1, 1)), 320 + 1088, True),
        (functools.partial(InceptionResNet, design=VERSION_1, blocks=(1, 1, 1)), 2944, True),
    ],
)
def test_prelu_stands_wherever_relu_does(build: Any, slopes: int, every_norm: bool) -> None:
    relu, prelu = build(7), build(7, activation="prelu")
    shapes = shapes_of(prelu, 76, 75)
    if every_norm:
        slopes += sum(leaf.size for leaf in jax.tree.leaves(shapes["batch_stats"])) // 2
    assert count(shapes) - count(shapes_of(relu, 76, 75)) == slopes
    variables = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.zeros_like(leaf) if path[-1].key == "slope" else leaf, drawn(shapes)
    )
    images = jax.random.normal(jax.random.key(1), (2, 76, 75, 1))
    found, expected = (
        jax.jit(functools.partial(model.apply, train=False))(variables, images)
        for model in (prelu, relu)
    )
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5, atol=1e-5)
    assert np.std(expected.logits) > 0.1


@every_model
def test_build_model_sets_what_is_asked(key: str) -> None:
    assert build_model(key, 22).activation == "relu"
    assert build_model(key, 22, activation="prelu").activation == "prelu"
    if key == "ar4":
        extractor = build_model(key, 22, norm_momentum=0.5).extractor(num_outputs=15)
        assert extractor.norm_momentum == 0.5
        assert build_model(key, 22, activation="prelu").extractor(num_outputs=15).activation == (
            "prelu"
        )
    elif key == "ar1":
        with pytest.raises(UserError, match=r"model 'ar1' has no BatchNorm: leave norm_momentum"):
            build_model(key, 22, norm_momentum=0.5)
    else:
        assert build_model(key, 22, norm_momentum=0.5).norm_momentum == 0.5


def test_presets_know_every_model(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.syspath_prepend(repository / "experiments")
    from presets import PRESETS

    assert {name: preset.model for name, preset in PRESETS.items()} == {k: k for k in MODELS}


@every_model
def test_dropout_is_the_network_s_own_unless_set(key: str) -> None:
    own = build_model(key, 22)
    assert own.dropout == ROWS[key].dropout
    assert build_model(key, 22, dropout=0.0).dropout == 0.0
    assert build_model(key, 22, dropout=0.7).dropout == 0.7


@pytest.mark.parametrize("refuse", [check_model_key, lambda key: build_model(key, 22)])
def test_an_unknown_key_is_refused_with_the_known(refuse: Any) -> None:
    with pytest.raises(UserError, match="model 'resnet19' is not known") as refusal:
        refuse("resnet19")
    for key in MODELS:
        assert key in str(refusal.value)
