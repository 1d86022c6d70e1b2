"""Grad-CAM against NumPy's own, against CAM, and against what a network really looks at."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from scipy.signal import correlate2d

from emojax.data.resident import normalise
from emojax.errors import UserError
from emojax.explain.examples import Examples
from emojax.explain.explanation import explain_network
from emojax.explain.feature_map import FeatureMap, find_feature_map, map_owners
from emojax.explain.grad_cam import Method, make_grad_cam, scale, spread
from emojax.face import Detection, HaarDetector, crop_face, to_gray
from emojax.models import MODELS, build_model, forward, looks_at
from emojax.models.ar2 import AR2
from emojax.models.inputs import fit_spec, zero_inputs
from emojax.models.layers import Conv, Head, Outputs, activate
from emojax.network import TrainedNetwork, load_network
from emojax.shipped import shipped_folder
from emojax.spec import InputSpec, SpectrogramSpec
from emojax.train import init_variables


class SmallNetwork(nn.Module):
    """A convolution, and a hidden layer behind it: its gradients differ from face to face."""

    @nn.compact
    def __call__(self, images: Any, *, train: bool) -> Outputs:
        x = activate(Conv(4, (3, 3), padding="VALID", name="conv")(images), "relu", "prelu")
        x = nn.relu(nn.Dense(6, name="hidden")(x.reshape(x.shape[0], -1)))
        return Head(3, name="head")(x, train=train)


def fresh(model: nn.Module, images: Any) -> Any:
    return jax.jit(functools.partial(model.init, train=False))(jax.random.key(1), images)


def grad_cam_in_numpy(params: Any, image: np.ndarray, output: int, method: Method) -> np.ndarray:
    """The equations by hand: the chain rule through two rectifiers."""
    kernel, bias = (np.asarray(params["conv"][name], np.float64) for name in ("kernel", "bias"))
    before = np.stack(
        [correlate2d(image, kernel[:, :, 0, k], "valid") + bias[k] for k in range(4)], axis=-1
    )
    maps = np.maximum(before, 0)
    hidden = maps.ravel() @ np.asarray(params["hidden"]["kernel"]) + params["hidden"]["bias"]
    last = np.asarray(params["head"]["logits"]["kernel"], np.float64)[:, output]
    slope = np.asarray(params["hidden"]["kernel"], np.float64) @ (last * (hidden > 0))
    weights = slope.reshape(maps.shape)
    if method == "grad_cam":
        weights = weights.mean(axis=(0, 1))
    return np.maximum((maps * weights).sum(axis=-1), 0)


@pytest.mark.parametrize("method", ["grad_cam", "by_place"])
def test_it_is_what_the_papers_equations_give(method: Method) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4, 9, 8, 1)).astype(np.float32)
    model = SmallNetwork()
    variables = fresh(model, images)
    layer = find_feature_map(model, variables, images)
    assert layer == FeatureMap(("relu",), (7, 6, 4))
    outputs = np.array([0, 2, 1, 2])
    heat, logits = make_grad_cam(model, layer, method)(variables, images, jnp.asarray(outputs))
    assert logits.shape == (4, 3)
    wanted = [
        grad_cam_in_numpy(variables["params"], image[..., 0], output, method)
        for image, output in zip(images, outputs, strict=True)
    ]
    assert np.max(wanted) > 0.01
    np.testing.assert_allclose(heat, wanted, atol=1e-6)


def random_values(tree: Any, seed: int) -> Any:
    """Statistics that are not those of a fresh network, so that a wrong use of them shows."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(np.abs(rng.normal(0.3, 0.2, leaf.shape)), leaf.dtype), tree
    )


def test_before_global_pooling_it_is_class_activation_mapping() -> None:
    model = AR2(3, widths=(8, 16), depth=1)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(3, 20, 16, 1)), jnp.float32)
    variables = fresh(model, images)
    variables = {**variables, "batch_stats": random_values(variables["batch_stats"], 3)}
    layer = find_feature_map(model, variables, images)
    look = functools.partial(model.apply, train=False, capture_intermediates=True)
    _, seen = jax.jit(look)(variables, images)
    maps = seen["intermediates"]["stage2_conv1"]["__call__"][0]
    weights = variables["params"]["head"]["logits"]["kernel"]
    outputs = jnp.array([2, 0, 1])
    # Zhou et al. 2016, Learning Deep Features for Discriminative Localization, equation 2.
    cam = jnp.einsum("bhwc,cb->bhw", maps, weights[:, outputs])
    heat = make_grad_cam(model, layer)(variables, images, outputs)[0]
    places = maps.shape[1] * maps.shape[2]
    np.testing.assert_allclose(heat * places, np.maximum(cam, 0), rtol=1e-4, atol=1e-6)
    assert (np.asarray(cam) < 0).any()
    assert (np.asarray(heat) > 0).any()


class CueFinder(nn.Module):
    """Fires where an 8 x 8 square is bright, and sums: set by hand, never trained."""

    @nn.compact
    def __call__(self, images: Any, *, train: bool) -> Outputs:
        x = Conv(1, (8, 8), (8, 8), padding="VALID", name="conv")(images)
        return Head(1, name="head")(activate(x, "relu", "prelu").mean(axis=(1, 2)), train=train)


def test_heat_is_where_the_cue_is_drawn() -> None:
    pictures = np.full((2, 96, 80), -0.1, np.float32)
    corners = [(16, 56), (72, 8)]
    for picture, (top, left) in zip(pictures, corners, strict=True):
        picture[top : top + 8, left : left + 8] = 1
    model, inputs = CueFinder(), jnp.asarray(pictures)[..., None]
    params = {
        "conv": {"kernel": jnp.ones((8, 8, 1, 1)) / 64, "bias": jnp.zeros(1)},
        "head": {"logits": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}},
    }
    layer = find_feature_map(model, {"params": params}, inputs)
    cam = make_grad_cam(model, layer)
    heat = np.asarray(cam({"params": params}, inputs, jnp.zeros(2, int))[0])
    wide = spread(scale(heat), 96, 80)
    assert wide.shape == (2, 96, 80)
    for picture, (top, left) in zip(wide, corners, strict=True):
        row, column = np.unravel_index(picture.argmax(), picture.shape)
        assert top <= row < top + 8
        assert left <= column < left + 8
        assert picture.max() > 0.85
        assert picture[(top + 40) % 96, (left + 40) % 80] == 0


SPEC = InputSpec(sound=SpectrogramSpec())

# Where each network's pictures are last 3 x 3 or more, for faces of 98 x 80.
LAST_MAPS: dict[str, dict[str, str]] = {
    "ar1": {"face": "relu4, 6 x 5"},
    "ar2": {"face": "stage5_conv2, 4 x 3"},
    "ar3": {"face": "relu4, 5 x 6 x 5"},
    "ar4": {"face": "extractor/stage4_block2, 4 x 3"},
    "ar5": {"face": "video/stage4_conv2, 6 x 5", "sound": "sound/stage4_conv1, 8 x 12"},
    "resnet18": {"face": "stage4_block2, 4 x 3"},
    "resnet34": {"face": "stage4_block3, 4 x 3"},
    "resnet50": {"face": "stage4_block3, 4 x 3"},
    "resnet101": {"face": "stage4_block3, 4 x 3"},
    "resnet_small": {"face": "stage4_block1, 7 x 5"},
    "inception_v4": {"face": "inception_b7, 4 x 3"},
    "inception_resnet": {"face": "inception_b5, 4 x 3"},
    "inception_resnet_v1": {"face": "inception_b10, 4 x 3"},
    "inception_resnet_v2": {"face": "inception_b20, 4 x 3"},
}


def test_every_network_has_a_row() -> None:
    assert set(LAST_MAPS) == set(MODELS)


LARGE = {key for key in LAST_MAPS if key.startswith(("resnet1", "resnet5", "inception"))} - {
    "resnet18"
}


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=pytest.mark.slow) if key in LARGE else key for key in LAST_MAPS]
)
def test_the_last_map_of_every_network_is_found(key: str) -> None:
    looks = looks_at(key)
    spec = fit_spec(SPEC, looks)
    model = build_model(key, 22)
    variables = jax.eval_shape(lambda: init_variables(model, looks, spec, jax.random.key(0)))
    inputs = jax.eval_shape(lambda: zero_inputs(looks, spec, 2))
    found = {
        what: find_feature_map(model, variables, inputs, owner).name
        for what, owner in map_owners(key, variables).items()
    }
    assert found == LAST_MAPS[key]


def test_pictures_that_are_too_small_are_refused() -> None:
    model, images = AR2(3, widths=(8, 16), depth=1), jnp.zeros((1, 4, 4, 1))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    with pytest.raises(UserError, match="AR2: no layer has a map of 3 x 3"):
        find_feature_map(model, variables, images)


# A network that was trained, and a person that it never saw.


@pytest.fixture(scope="module")
def shipped() -> TrainedNetwork:
    return load_network(shipped_folder("faces"))


@pytest.fixture(scope="module")
def faces(shipped: TrainedNetwork) -> np.ndarray:
    gray = to_gray(skimage.data.astronaut()[:, :, ::-1].copy())
    (box,) = HaarDetector()(gray)
    boxes = [
        Detection(box.x + shift, box.y, box.w + larger, box.h + larger)
        for shift, larger in ((0, 0), (-5, 0), (0, 8))
    ]
    crops = [crop_face(gray, one, shipped.spec) for one in boxes]
    return np.stack([*crops, crops[0][:, ::-1]])


def as_examples(frames: np.ndarray) -> Examples:
    count = len(frames)
    return Examples(
        frames=frames[:, None],
        has_frames=np.ones(count, np.float32),
        spectrograms=np.zeros((count, 0, 0), np.uint8),
        has_sound=np.zeros(count, np.float32),
        emotion=np.full(count, -1),
        names=tuple(map(str, range(count))),
    )


@pytest.fixture(scope="module")
def ranked(shipped: TrainedNetwork, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels from the coldest to the hottest, and which output was asked about."""
    found = explain_network(shipped, as_examples(faces))
    heat = found.sides["face"].heat[:, 0, 0].reshape(len(faces), -1)
    return np.argsort(heat, axis=1, kind="stable"), found.asked[:, 0]


@pytest.fixture(scope="module")
def speaks_for(
    shipped: TrainedNetwork, ranked: tuple[np.ndarray, np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """How far the answer's logit is above the mean of all."""

    @jax.jit
    def answer(frames: Any) -> Any:
        inputs = normalise(frames, shipped.spec)[..., None]
        return forward(shipped.model, shipped.variables, inputs).logits

    def score(frames: np.ndarray) -> np.ndarray:
        logits = np.asarray(answer(frames))
        return logits[np.arange(len(logits)), ranked[1]] - logits.mean(axis=1)

    return score


def keep(frames: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pictures of which all but some pixels are gray."""
    kept = np.full_like(frames, 127).reshape(len(frames), -1)
    rows = np.arange(len(frames))[:, None]
    kept[rows, places] = frames.reshape(len(frames), -1)[rows, places]
    return kept.reshape(frames.shape)


def test_an_answer_rests_on_the_hot_part(
    faces: np.ndarray,
    ranked: tuple[np.ndarray, np.ndarray],
    speaks_for: Callable[[np.ndarray], np.ndarray],
) -> None:
    order = ranked[0]
    third = order.shape[1] * 3 // 10
    whole = speaks_for(faces)
    only_hot, only_cold = (
        speaks_for(keep(faces, places)) for places in (order[:, -third:], order[:, :third])
    )
    without_hot, without_cold = (
        speaks_for(keep(faces, places)) for places in (order[:, :-third], order[:, third:])
    )
    # The smile is in the hottest part, and nothing of it in the coldest.
    assert (only_hot > 0.8 * whole).all()
    assert (only_cold < 0.3 * whole).all()
    assert (without_hot < without_cold - 0.2).all()
