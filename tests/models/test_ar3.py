"""AR3's 3-D convolutions: the form that is computed, against the thesis's and PyTorch's sums."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from porting import draw_variables
from scipy.ndimage import correlate

from emojax.errors import UserError
from emojax.models.ar3 import (
    AR3,
    VolumeLayer,
    convolve_folded,
    convolve_volume,
    pool_volume,
    smallest_clip,
)

RNG = np.random.default_rng(0)
SHAPES = [
    # time, height, width, kernel, stride
    ((5, 7, 6), (3, 3, 3), (1, 1, 1)),
    ((6, 9, 8), (3, 5, 5), (1, 2, 2)),
    ((7, 5, 5), (5, 1, 3), (2, 1, 1)),
    ((20, 6, 5), (1, 3, 3), (3, 2, 1)),
]


def convolve_in_numpy(x: np.ndarray, kernel: np.ndarray, stride: tuple[int, ...]) -> np.ndarray:
    """The same sums by SciPy: one channel pair at a time, then every stride-th value."""
    answer = np.zeros((*x.shape[:-1], kernel.shape[-1]))
    for example in range(len(x)):
        for source in range(kernel.shape[-2]):
            for target in range(kernel.shape[-1]):
                answer[example, ..., target] += correlate(
                    x[example, ..., source], kernel[..., source, target], mode="constant"
                )
    return answer[:, :: stride[0], :: stride[1], :: stride[2]]


@pytest.mark.parametrize(("size", "kernel", "stride"), SHAPES)
@pytest.mark.parametrize("convolve", [convolve_folded, convolve_volume])
def test_both_forms_are_the_printed_sums(
    convolve: Any, size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    x = RNG.normal(size=(2, *size, 3))
    weights = RNG.normal(size=(*kernel, 3, 4))
    found = convolve(jnp.asarray(x, jnp.float32), jnp.asarray(weights, jnp.float32), stride)
    expected = convolve_in_numpy(x, weights, stride)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_pooling_takes_the_maximum_of_each_volume() -> None:
    x = RNG.normal(size=(2, 5, 7, 6, 3)).astype(np.float32)
    found = np.asarray(pool_volume(jnp.asarray(x), (2, 3, 2)))
    assert found.shape == (2, 2, 2, 3, 3)
    for t, h, w in np.ndindex(2, 2, 3):
        volume = x[:, 2 * t : 2 * t + 2, 3 * h : 3 * h + 3, 2 * w : 2 * w + 2]
        np.testing.assert_array_equal(found[:, t, h, w], volume.max(axis=(1, 2, 3)))


@pytest.fixture(scope="module")
def clip() -> jax.Array:
    return jnp.asarray(RNG.normal(size=(3, 8, 36, 34)), jnp.float32)


@pytest.fixture(scope="module")
def variables(clip: jax.Array) -> Any:
    return draw_variables(RNG, AR3(6), clip)


def test_one_set_of_weights_serves_both_forms(clip: jax.Array, variables: Any) -> None:
    def outputs(form: str) -> tuple[Any, Any]:
        model = AR3(6, form=form, dropout=0.0)

        @jax.jit
        def loss(params: Any) -> tuple[jax.Array, jax.Array]:
            answer, _ = model.apply(
                {**variables, "params": params}, clip, train=True, mutable=["batch_stats"]
            )
            return (answer.logits**2).mean(), answer.logits

        (_, logits), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        return logits, gradients

    (logits, gradients), (expected, expected_gradients) = outputs("folded"), outputs("volume")
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    for found, wanted in zip(
        jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_the_order_of_the_frames_matters(clip: jax.Array, variables: Any) -> None:
    model = AR3(6)
    forward, backward = (
        model.apply(variables, frames, train=False).logits for frames in (clip, clip[:, ::-1])
    )
    assert np.abs(forward - backward).max() > 1e-3


@pytest.mark.parametrize(
    ("layers", "smallest"),
    [
        ((VolumeLayer(8, (3, 3, 3), (1, 1, 1), (2, 2, 2)),), (2, 2, 2)),
        ((VolumeLayer(8, (3, 5, 5), (2, 2, 3), (2, 1, 2)),), (3, 1, 4)),
    ],
)
def test_the_smallest_clip_leaves_one_value(
    layers: tuple[VolumeLayer, ...], smallest: tuple[int, int, int]
) -> None:
    assert smallest_clip(layers) == smallest
    model = AR3(6, layers=layers)
    init = functools.partial(model.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, *smallest)))
    assert shapes["params"]["fully_connected"]["kernel"].shape[0] == layers[-1].width
    for axis in range(3):
        too_small = [side - (axis == place) for place, side in enumerate(smallest)]
        if too_small[axis] > 0:
            with pytest.raises(UserError, match=r"ar3 can't take .* clips: the smallest is"):
                jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, *too_small)))
