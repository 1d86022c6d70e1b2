"""What the exporter converts answers as Flax does; random weights, faces of the real size."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from porting import draw_variables

from emojax.evaluate import activation
from emojax.export import (
    TOLERANCE,
    check_agreement,
    convert_to_tflite,
    flax_answers,
    write_saved_model,
)
from emojax.golden import Recorded, input_ranges, name_inputs
from emojax.litert import Network
from emojax.models import MODELS, build_model, forward, looks_at
from emojax.models.ar3 import AR3, VolumeLayer
from emojax.models.ar5 import AR5
from emojax.models.inception_resnet import VERSION_1, InceptionResNet
from emojax.models.inception_v4 import InceptionV4
from emojax.models.inputs import Looks, to_inputs
from emojax.models.resnet import Bottleneck, ResNet
from emojax.quantise import to_float16, to_int8
from emojax.spec import InputSpec, SpectrogramSpec

SPEC = InputSpec()
SMALL = {
    "bottleneck": functools.partial(ResNet, blocks=(1, 1), block=Bottleneck, activation="prelu"),
    "inception_resnet": functools.partial(InceptionResNet, blocks=(1, 1, 1), activation="prelu"),
    "inception_resnet_v1": functools.partial(InceptionResNet, design=VERSION_1, blocks=(1, 1, 1)),
    "inception_v4": functools.partial(InceptionV4, blocks=(1, 1, 1)),
}


def variables_of(model: nn.Module, inputs: Any) -> Any:
    """Random variables with which the logits differ by about 1: no probability is near 0 or 1."""
    variables = draw_variables(np.random.default_rng(0), model, inputs)
    head = variables["params"]["head"]["logits"]
    head["bias"] = np.zeros_like(head["bias"])
    head["kernel"] = head["kernel"] / np.std(forward(model, variables, inputs).logits)
    return variables


def random_examples(spec: InputSpec) -> Recorded:
    """Three examples; noise of three strengths, since noise alone looks alike to deep networks.

    Where both sides of a clip exist, the second has no frames and the third no sound.
    """
    rng = np.random.default_rng(1)
    noise = rng.uniform(-127, 128, (3, spec.frames, spec.height, spec.width))
    strength = np.array([0.1, 0.5, 1.0])[:, None, None, None]
    size = (spec.sound.height, spec.sound.width) if spec.sound else (0, 0)
    return Recorded(
        crops=np.clip(127 + strength * noise, 0, 255).astype(np.uint8),
        spectrograms=rng.integers(0, 256, (3, *size)).astype(np.uint8),
        has_frames=np.array([1, 0 if spec.sound else 1, 1], np.float32),
        has_sound=np.array([1, 1, 0], np.float32),
    )


def check(model: nn.Module, folder: Path, looks: Looks = "picture", **seen: Any) -> bytes:
    """Return the int8 model."""
    spec = SPEC.replace(**seen)
    recorded = random_examples(spec)
    named = name_inputs(recorded, looks, spec)
    inputs = to_inputs(
        looks,
        jnp.asarray((recorded.crops.astype(np.float32) - spec.offset) / spec.scale),
        jnp.asarray(recorded.spectrograms.astype(np.float32) / 255),
        jnp.asarray(recorded.has_sound),
        jnp.asarray(recorded.has_frames),
    )
    variables = variables_of(model, inputs)
    expected = flax_answers(model, variables, looks, spec, named)
    # Named inputs reach the places that they are named after.
    logits = forward(model, variables, inputs).logits
    np.testing.assert_allclose(expected, activation(logits, spec), atol=1e-5)
    assert expected.std() > 0.1
    assert np.abs(expected[0] - expected[1]).max() > 100 * TOLERANCE
    write_saved_model(model, variables, looks, spec, named, folder)
    exact = convert_to_tflite(folder)
    check_agreement(expected, Network(exact, 1, folder.name).answers(named))
    # How near the others come depends on what was learnt: a hundred layers of random weights make
    # much of every rounding. Here, that LiteRT takes them and answers in probabilities.
    small = to_int8(exact, named, input_ranges(spec))
    for other in (to_float16(exact), small):
        assert len(other) < 0.8 * len(exact)
        found = Network(other, 1, folder.name).answers(named)
        assert ((found >= 0) & (found <= 1)).all()
        assert found.std(axis=0).max() > 0.01
    return small


def delegated_parts(model: bytes) -> int:
    """Stretches of the network that XNNPACK computes; between them it hands over to slower code."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    names = [details["op_name"] for details in interpreter._get_ops_details()]
    return names.count("DELEGATE")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if i == 0 else pytest.mark.slow) for i, name in enumerate(SMALL)],
)
def test_small_networks(name: str, tmp_path: Path) -> None:
    check(SMALL[name](SPEC.num_outputs), tmp_path / "saved_model")


SEEN: dict[Looks, dict[str, Any]] = {
    "picture": {},
    "frames": {"frames": 20},
    "clip": {"frames": 20, "sound": SpectrogramSpec()},
}


# The small networks of this file have the other ones' blocks.
OFTEN = ("ar2", "ar4", "resnet18", "resnet_small")


@pytest.mark.slow
@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=[] if key in OFTEN else pytest.mark.release) for key in MODELS]
)
def test_registered_networks(key: str, tmp_path: Path) -> None:
    looks = looks_at(key)
    model = build_model(key, SPEC.num_outputs)
    small = check(model, tmp_path / "saved_model", looks, **SEEN[looks])
    # Inception-v4's are between what is concatenated in two scales.
    most = {"resnet18": 1, "resnet_small": 1, "inception_resnet": 1, "inception_v4": 4}
    assert delegated_parts(small) <= most.get(key, 9)


def test_a_clip_network_with_its_branches(tmp_path: Path) -> None:
    model = AR5(SPEC.num_outputs, video_widths=(8, 16), sound_widths=(8, 8))
    check(model, tmp_path / "both", "clip", frames=4, sound=SpectrogramSpec())
    model = AR5(SPEC.num_outputs, video_widths=(8, 16), sound_features=0)
    check(model, tmp_path / "video", "clip", frames=4)
    model = AR5(SPEC.num_outputs, video_features=0, sound_widths=(8, 8))
    check(model, tmp_path / "sound", "clip", frames=4, sound=SpectrogramSpec())
    check(
        model.clone(sound_branch="residual"),
        tmp_path / "residual",
        "clip",
        frames=4,
        sound=SpectrogramSpec(),
    )


@pytest.mark.parametrize("form", ["folded", "volume"])
def test_both_forms_of_3d_convolutions(form: Any, tmp_path: Path) -> None:
    layers = (
        VolumeLayer(8, (3, 5, 5), (1, 2, 2), (2, 2, 2)),
        VolumeLayer(8, (3, 3, 3), (1, 1, 1), (2, 2, 2)),
    )
    model = AR3(SPEC.num_outputs, layers=layers, form=form)
    check(model, tmp_path / "saved_model", "frames", frames=6)
