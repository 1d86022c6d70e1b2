"""The same random weights in keras.applications and in ours give the same logits."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest
from porting import (
    Unit,
    assert_same,
    draw,
    inception_resnet_v2_units,
    logits_of,
    put,
    put_head,
    put_unit,
)

from emojax.models import build_model
from emojax.models.resnet import Bottleneck, resnet50

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def applications() -> Any:
    with warnings.catch_warnings():
        # TensorFlow's own, at its first import.
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras").applications


def randomise(model: Any) -> None:
    """Draw every weight of a Keras network, statistics included."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            name = {"gamma": "scale", "moving_variance": "var"}.get(weight.name, weight.name)
            shape = tuple(weight.shape)
            weight.assign(draw(rng, name, shape, fan_in=int(np.prod(shape[:-1]))))


def weights_of(model: Any, name: str) -> dict[str, np.ndarray]:
    return {weight.name: np.asarray(weight) for weight in model.get_layer(name).weights}


def unit_of(model: Any, conv: str, norm: str, epsilon: float) -> Unit:
    """A convolution with its normalisation, as one without bias and with our epsilon."""
    convolution, normalisation = weights_of(model, conv), weights_of(model, norm)
    var = normalisation["moving_variance"]
    return Unit(
        kernel=convolution["kernel"],
        # InceptionResNetV2 leaves the scale out.
        scale=normalisation.get("gamma", np.ones_like(var)),
        bias=normalisation["beta"],
        # ResNet50's convolutions have a bias, which moves the mean.
        mean=normalisation["moving_mean"] - convolution.get("bias", 0.0),
        # ResNet50's epsilon is 1.001e-5.
        var=var + np.float32(model.get_layer(norm).epsilon - epsilon),
    )


def keras_logits(model: Any, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images, training=False))


def test_resnet50(applications: Any) -> None:
    images = np.random.default_rng(1).standard_normal((2, 98, 80, 3)).astype(np.float32)
    theirs = applications.ResNet50(
        weights=None, classifier_activation=None, input_shape=images.shape[1:]
    )
    randomise(theirs)
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}

    def port(conv: str, norm: str, name: str) -> None:
        put_unit(variables, conv, norm, unit_of(theirs, f"{name}_conv", f"{name}_bn", 1e-5))

    port("stem_conv", "stem_norm", "conv1")
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(1, blocks + 1):
            ours, name = f"stage{stage}_block{block}", f"conv{stage + 1}_block{block}"
            if block == 1:
                port(f"{ours}/projection", f"{ours}/projection_norm", f"{name}_0")
            for step in (1, 2, 3):
                port(f"{ours}/conv{step}", f"{ours}/norm{step}", f"{name}_{step}")
    head = weights_of(theirs, "predictions")
    put_head(variables, head["kernel"], head["bias"])
    # Keras has the stride where the paper has it, in the first 1 x 1.
    block = functools.partial(Bottleneck, stride_in="1x1")
    found = logits_of(resnet50(num_outputs=1000, block=block), variables, images)
    assert_same(found, keras_logits(theirs, images))


def made_as(model: Any, kind: str) -> list[str]:
    """Names of the layers that were given none, in the order in which they were made."""
    found = [
        (int(number or 0), layer.name)
        for layer in model.layers
        for name, _, number in [layer.name.partition(f"{kind}_")]
        if layer.name == kind or (not name and number.isdigit())
    ]
    return [name for _, name in sorted(found)]


def test_inception_resnet_v2(applications: Any) -> None:
    images = np.random.default_rng(1).standard_normal((2, 139, 107, 3)).astype(np.float32)
    theirs = applications.InceptionResNetV2(
        weights=None, classes=1000, classifier_activation=None, input_shape=images.shape[1:]
    )
    randomise(theirs)
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    convolutions = [*made_as(theirs, "conv2d"), "conv_7b"]
    norms = [*made_as(theirs, "batch_normalization"), "conv_7b_bn"]
    units = inception_resnet_v2_units()
    for ours, conv, norm in zip(units, convolutions, norms, strict=True):
        unit = unit_of(theirs, conv, norm, 1e-3)
        put_unit(variables, f"{ours}/conv", f"{ours}/norm", unit)
    for kind, name, blocks in (("a", "block35", 10), ("b", "block17", 20), ("c", "block8", 10)):
        for block in range(1, blocks + 1):
            up = weights_of(theirs, f"{name}_{block}_conv")
            for leaf in ("kernel", "bias"):
                put(variables["params"], f"inception_{kind}{block}/up/{leaf}", up[leaf])
    head = weights_of(theirs, "predictions")
    put_head(variables, head["kernel"], head["bias"])
    found = logits_of(build_model("inception_resnet_v2", 1000), variables, images)
    assert_same(found, keras_logits(theirs, images))
