"""What the exporter converts answers as Flax does; random weights, faces of the real size."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from porting import draw

from emojax.export import (
    TOLERANCE,
    check_agreement,
    convert_to_tflite,
    flax_answers,
    tflite_answers,
    write_saved_model,
)
from emojax.models import MODELS, build_model, forward
from emojax.models.inception_resnet import VERSION_1, InceptionResNet
from emojax.models.inception_v4 import InceptionV4
from emojax.models.resnet import Bottleneck, ResNet
from emojax.spec import InputSpec

SPEC = InputSpec()
SMALL = {
    "inception_resnet": functools.partial(InceptionResNet, blocks=(1, 1, 1), activation="prelu"),
    "inception_resnet_v1": functools.partial(InceptionResNet, design=VERSION_1, blocks=(1, 1, 1)),
    "inception_v4": functools.partial(InceptionV4, blocks=(1, 1, 1)),
    "bottleneck": functools.partial(ResNet, blocks=(1, 1), block=Bottleneck, activation="prelu"),
}


def variables_of(model: nn.Module, images: np.ndarray) -> Any:
    """Random variables with which the logits differ by about 1: no probability is near 0 or 1."""
    init = functools.partial(model.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), jnp.zeros(images.shape))
    rng = np.random.default_rng(0)

    def leaf(path: Any, leaf: Any) -> np.ndarray:
        return draw(rng, path[-1].key, leaf.shape, fan_in=leaf.size // leaf.shape[-1])

    variables = jax.tree_util.tree_map_with_path(leaf, shapes)
    head = variables["params"]["head"]["logits"]
    head["bias"] = np.zeros_like(head["bias"])
    head["kernel"] = head["kernel"] / np.std(forward(model, variables, jnp.asarray(images)).logits)
    return variables


def check(model: nn.Module, folder: Path) -> None:
    shape = (3, SPEC.height, SPEC.width, SPEC.channels)
    images = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    # Pure noise looks all alike to a deep network.
    images *= np.float32([0.1, 0.5, 1.0])[:, None, None, None]
    variables = variables_of(model, images)
    expected = flax_answers(model, variables, SPEC, images)
    assert expected.std() > 0.1
    assert np.abs(expected[0] - expected[1]).max() > 100 * TOLERANCE
    write_saved_model(model, variables, SPEC, folder)
    check_agreement(expected, tflite_answers(convert_to_tflite(folder), images))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if i == 0 else pytest.mark.slow) for i, name in enumerate(SMALL)],
)
def test_small_networks(name: str, tmp_path: Path) -> None:
    check(SMALL[name](SPEC.num_outputs), tmp_path / "saved_model")


@pytest.mark.slow
@pytest.mark.parametrize("key", MODELS)
def test_registered_networks(key: str, tmp_path: Path) -> None:
    check(build_model(key, SPEC.num_outputs), tmp_path / "saved_model")
