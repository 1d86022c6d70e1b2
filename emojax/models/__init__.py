"""The registry: a key on the command line, and the network it builds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp

from emojax.errors import UserError
from emojax.models.ar1 import AR1
from emojax.models.ar2 import AR2
from emojax.models.ar3 import AR3
from emojax.models.ar4 import AR4
from emojax.models.ar5 import AR5, SoundBranch
from emojax.models.inception_resnet import (
    inception_resnet,
    inception_resnet_v1,
    inception_resnet_v2,
)
from emojax.models.inception_v4 import InceptionV4
from emojax.models.inputs import Looks
from emojax.models.layers import Activation, Outputs
from emojax.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet_small

MODELS: dict[str, Callable[..., nn.Module]] = {
    "ar1": AR1,
    "ar2": AR2,
    "ar3": AR3,
    "ar4": AR4,
    "ar5": AR5,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet_small": resnet_small,
    "inception_v4": InceptionV4,
    "inception_resnet": inception_resnet,
    "inception_resnet_v1": inception_resnet_v1,
    "inception_resnet_v2": inception_resnet_v2,
}
"""Every network takes `num_outputs`, `dropout`, `activation` and `dtype`."""

_CLIP_NETWORKS: dict[str, Looks] = {"ar3": "frames", "ar5": "clip"}

DEFAULT_EXTRACTOR = "resnet18"
"""What `ar4` reads action units with when nothing is said: the thesis's first network."""


def check_model_key(key: str) -> None:
    """Refuse a key that no network has.

    Raises:
        UserError: names the keys there are.
    """
    if key not in MODELS:
        raise UserError(f"model {key!r} is not known: use one of {', '.join(MODELS)}")


def looks_at(key: str) -> Looks:
    """Return what the network of that key looks at."""
    return _CLIP_NETWORKS.get(key, "picture")


def check_extractor(key: str) -> None:
    """Refuse a network that can't be the extractor of `ar4`.

    Raises:
        UserError: names the keys that can.
    """
    able = [name for name in MODELS if looks_at(name) == "picture" and name != "ar4"]
    if key not in able:
        raise UserError(f"extractor {key!r}: use one of {', '.join(able)}")


def build_model(
    key: str,
    num_outputs: int,
    *,
    dropout: float | None = None,
    activation: Activation = "relu",
    norm_momentum: float | None = None,
    blocks: Sequence[int] = (),
    widths: Sequence[int] = (),
    dtype: str = "float32",
    extractor: str | None = None,
    frozen: bool | None = None,
    video_features: int | None = None,
    sound_features: int | None = None,
    sound_branch: SoundBranch | None = None,
    sound_widths: Sequence[int] = (),
) -> nn.Module:
    """Return the network of that key, without parameters.

    Args:
        key: one of `MODELS`.
        num_outputs: number of logits.
        dropout: share of the feature vector left out in training; None keeps the network's own.
        activation: `relu`, or `prelu` with a learned slope for each channel.
        norm_momentum: share of BatchNorm's running statistics that a step keeps; None keeps the
            network's own. In `ar4` it is the extractor's.
        blocks: blocks of each stage; none given: the network's own. In `ar4` the extractor's.
        widths: of AR1, AR2 and the ResNets, channels of each stage; none given: the network's own.
            In `ar4` the extractor's.
        dtype: compute type, `float32` or `bfloat16`.
        extractor: of `ar4`, the network that reads action units; None: `DEFAULT_EXTRACTOR`.
        frozen: of `ar4`, whether its extractor stays as it is.
        video_features: of `ar5`, length of the video branch's feature vector, 0 for no branch.
        sound_features: of `ar5`, length of the sound branch's feature vector, 0 for no branch.
        sound_branch: of `ar5`, how the sound is looked at; None: the network's own.
        sound_widths: of `ar5`, channels of the sound branch's stages; none: the network's own.

    Raises:
        UserError: no network has that key, or it lacks what a setting is about.
    """
    check_model_key(key)
    build = MODELS[key]
    shared: dict[str, Any] = {"activation": activation, "dtype": jnp.dtype(dtype)}
    shape = {
        "norm_momentum": norm_momentum,
        "blocks": tuple(blocks) or None,
        "widths": tuple(widths) or None,
    }
    shape = {name: value for name, value in shape.items() if value is not None}
    if key == "ar4":
        extractor = extractor or DEFAULT_EXTRACTOR
        check_extractor(extractor)
    if blocks:
        _check_blocks(extractor or key, MODELS[extractor or key], blocks)
    if widths and min(widths) < 1:
        raise UserError(f"widths {', '.join(map(str, widths))}: wanted 1 or more in each stage")
    if sound_widths and min(sound_widths) < 1:
        said = ", ".join(map(str, sound_widths))
        raise UserError(f"sound_widths {said}: wanted 1 or more in each stage")
    if key == "ar4" and extractor:
        _check_settings(extractor, MODELS[extractor], shape)
        build = functools.partial(
            build, extractor=functools.partial(MODELS[extractor], **shared, **shape)
        )
        shape, extractor = {}, None
    settings = {
        "dropout": dropout,
        "extractor": extractor,
        "frozen": frozen,
        "video_features": video_features,
        "sound_features": sound_features,
        "sound_branch": sound_branch,
        "sound_widths": tuple(sound_widths) or None,
    }
    chosen = shape | {name: value for name, value in settings.items() if value is not None}
    _check_settings(key, build, chosen)
    return build(num_outputs=num_outputs, **shared, **chosen)


def _check_blocks(key: str, build: Callable[..., nn.Module], blocks: Sequence[int]) -> None:
    if "blocks" not in inspect.signature(build).parameters:
        return
    said = ", ".join(map(str, blocks))
    if min(blocks) < 1:
        raise UserError(f"blocks {said}: wanted 1 or more in each stage")
    if key.startswith("inception") and len(blocks) != 3:
        raise UserError(f"blocks {said}: {key!r} has 3 stages, A, B and C: as 3 5 2")


def _check_settings(key: str, build: Callable[..., nn.Module], chosen: dict[str, Any]) -> None:
    if unknown := sorted(set(chosen) - set(inspect.signature(build).parameters)):
        what = "BatchNorm" if unknown[0] == "norm_momentum" else unknown[0]
        raise UserError(f"model {key!r} has no {what}: leave {unknown[0]} out")


def forward(model: nn.Module, variables: Any, inputs: Any) -> Outputs:
    """Return a network's outputs as in evaluation, for inputs as `models.inputs` makes them."""
    return cast(Outputs, model.apply(variables, inputs, train=False))
