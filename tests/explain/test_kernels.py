"""The first kernels of every kind of network are its first convolution's weights."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from emojax.explain.feature_map import map_owners
from emojax.explain.kernels import first_kernels
from emojax.models import build_model, looks_at
from emojax.models.inputs import fit_spec, zero_inputs
from emojax.spec import InputSpec, SpectrogramSpec

# key, settings, what is looked at, way to the weights, kernels' shape.
CASES: list[tuple[str, dict[str, Any], str, str, tuple[int, ...]]] = [
    ("ar1", {}, "face", "conv1/kernel", (24, 1, 5, 5)),
    ("ar3", {}, "face", "conv1_kernel", (16, 3, 5, 5)),
    ("ar4", {"extractor": "ar1"}, "face", "extractor/conv1/kernel", (24, 1, 5, 5)),
    ("ar5", {}, "face", "video/stage1_conv1/conv/kernel", (32, 20, 5, 5)),
    ("ar5", {}, "sound", "sound/stage1_conv1/conv/kernel", (16, 1, 3, 3)),
    ("resnet_small", {}, "face", "stem_conv/kernel", (32, 1, 5, 5)),
]


@pytest.mark.parametrize(("key", "settings", "what", "way", "shape"), CASES)
def test_they_are_the_first_convolution_s_weights(
    key: str, settings: dict[str, Any], what: str, way: str, shape: tuple[int, ...]
) -> None:
    looks = looks_at(key)
    spec = fit_spec(InputSpec(sound=SpectrogramSpec()), looks)
    model = build_model(key, 22, **settings)
    inputs = jax.eval_shape(lambda: zero_inputs(looks, spec, 2))
    shapes = jax.eval_shape(lambda given: model.init(jax.random.key(0), given, train=False), inputs)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype("f4"), shapes)
    owner = map_owners(key, variables)[what]
    weights: Any = variables["params"]
    for name in way.split("/"):
        weights = weights[name]
    kernels = first_kernels(model, variables, inputs, owner)
    assert kernels.shape == shape
    for kernel, time in ((0, 0), (3, shape[1] - 1), (shape[0] - 1, shape[1] // 2)):
        wanted = weights[..., time, kernel] if weights.ndim == 4 else weights[time, :, :, 0, kernel]
        np.testing.assert_array_equal(kernels[kernel, time], wanted)
