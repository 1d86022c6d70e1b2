"""The same random weights in PyTorch networks and in ours give the same logits.

The others are timm's and, for Inception-ResNet-v1, facenet-pytorch's.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from porting import (
    Unit,
    assert_same,
    draw,
    inception_resnet_v1_units,
    inception_v4_units,
    logits_of,
    put,
    put_head,
    put_unit,
)

from emojax.models import build_model
from emojax.models.inception_resnet import VERSION_1, InceptionResNet

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def torchvision(repository: Path) -> Iterator[None]:
    sys.path.insert(0, str(repository / "experiments"))
    from torchvision_stand_in import stand_in

    with stand_in():
        yield
    sys.path.remove(str(repository / "experiments"))


def load(name: str) -> Any:
    """A package that not every machine has; without it the test is skipped."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"no {name}")
    with warnings.catch_warnings():
        # Their own, at their first import.
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def randomised(model: Any) -> dict[str, np.ndarray]:
    """Draw every weight of a PyTorch network, statistics included, and return them."""
    rng = np.random.default_rng(0)
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            continue
        # Of a normalisation, the only weights with one axis.
        kind = "scale" if name.endswith("weight") and len(shape) == 1 else name
        state[name] = draw(rng, kind, shape, fan_in=int(np.prod(shape[1:])))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, False)
    return state


def unit_of(state: dict[str, np.ndarray], conv: str, norm: str) -> Unit:
    return Unit(
        kernel=state[f"{conv}.weight"].transpose(2, 3, 1, 0),
        scale=state[f"{norm}.weight"],
        bias=state[f"{norm}.bias"],
        mean=state[f"{norm}.running_mean"],
        var=state[f"{norm}.running_var"],
    )


def torch_logits(model: Any, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        pictures = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return model.eval()(pictures).numpy()


# Bottlenecks have their stride in the 3 x 3 convolution here, and in the 1 x 1 in Keras.
@pytest.mark.parametrize(
    ("key", "blocks", "steps"), [("resnet18", (2, 2, 2, 2), 2), ("resnet50", (3, 4, 6, 3), 3)]
)
def test_resnet(key: str, blocks: tuple[int, ...], steps: int) -> None:
    images = np.random.default_rng(1).standard_normal((2, 98, 80, 3)).astype(np.float32)
    theirs = load("timm").create_model(key, pretrained=False, num_classes=1000)
    state = randomised(theirs)
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}

    def port(ours: str, norm: str, conv: str, bn: str) -> None:
        put_unit(variables, ours, norm, unit_of(state, conv, bn))

    port("stem_conv", "stem_norm", "conv1", "bn1")
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            ours, name = f"stage{stage}_block{block + 1}", f"layer{stage}.{block}"
            for step in range(1, steps + 1):
                names = (f"{name}.conv{step}", f"{name}.bn{step}")
                port(f"{ours}/conv{step}", f"{ours}/norm{step}", *names)
            if f"{name}.downsample.0.weight" in state:
                names = (f"{name}.downsample.0", f"{name}.downsample.1")
                port(f"{ours}/projection", f"{ours}/projection_norm", *names)
    put_head(variables, state["fc.weight"].T, state["fc.bias"])
    found = logits_of(build_model(key, 1000), variables, images)
    assert_same(found, torch_logits(theirs, images))


def test_inception_v4() -> None:
    images = np.random.default_rng(1).standard_normal((2, 139, 107, 3)).astype(np.float32)
    theirs = load("timm").create_model("inception_v4", pretrained=False, num_classes=1000)
    state = randomised(theirs)
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    # A state lists its layers in the order in which they were made.
    names = [name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")]
    for ours, name in zip(inception_v4_units(), names, strict=True):
        unit = unit_of(state, f"{name}.conv", f"{name}.bn")
        put_unit(variables, f"{ours}/conv", f"{ours}/norm", unit)
    put_head(variables, state["last_linear.weight"].T, state["last_linear.bias"])
    found = logits_of(build_model("inception_v4", 1000), variables, images)
    assert_same(found, torch_logits(theirs, images))


def test_inception_resnet_v1() -> None:
    images = np.random.default_rng(1).standard_normal((2, 139, 107, 3)).astype(np.float32)
    theirs = load("facenet_pytorch").InceptionResnetV1(classify=True, num_classes=7)
    state = randomised(theirs)
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    names = [name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")]
    counts = {"a": 5, "b": 10, "c": 6}
    for ours, name in zip(inception_resnet_v1_units(*counts.values()), names, strict=True):
        unit = unit_of(state, f"{name}.conv", f"{name}.bn")
        put_unit(variables, f"{ours}/conv", f"{ours}/norm", unit)
    ups = [name.removesuffix(".weight") for name in state if name.endswith(".conv2d.weight")]
    blocks = [f"{kind}{number + 1}" for kind in counts for number in range(counts[kind])]
    for block, name in zip(blocks, ups, strict=True):
        kernel = state[f"{name}.weight"].transpose(2, 3, 1, 0)
        put(variables["params"], f"inception_{block}/up/kernel", kernel)
        put(variables["params"], f"inception_{block}/up/bias", state[f"{name}.bias"])
    # Facenet's end is its own: what is compared is the linear layer after the pooling.
    put_head(variables, state["last_linear.weight"].T, np.zeros(512, np.float32))
    expected: list[np.ndarray] = []
    theirs.last_linear.register_forward_hook(lambda *call: expected.append(call[-1].numpy()))
    torch_logits(theirs, images)
    # It ends as version 2 does, in one more block C, which is linear.
    model = InceptionResNet(512, VERSION_1._replace(linear_end=True), blocks=tuple(counts.values()))
    assert_same(logits_of(model, variables, images), expected[0])
