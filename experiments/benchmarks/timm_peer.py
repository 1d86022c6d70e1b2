"""The peer: timm's networks in PyTorch, in their quickest usual form on the same device."""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from torchvision_stand_in import stand_in

from emojax.spec import InputSpec

PEERS = ("resnet18", "resnet34", "resnet50", "resnet101", "inception_v4", "inception_resnet")
"""Our networks that timm has a like of."""


class Packages(NamedTuple):
    """PyTorch and timm."""

    torch: Any
    timm: Any

    @property
    def device(self) -> str:
        """Where PyTorch computes."""
        return "cuda" if self.torch.cuda.is_available() else "cpu"

    def versions(self) -> dict[str, str]:
        """Return what stands in the JSON."""
        return {"torch": self.torch.__version__, "timm": self.timm.__version__}


@functools.cache
def find_peer(threads: int = 0) -> Packages | None:
    """Return torch and timm; where they are missing, or compute elsewhere, say so: None.

    Args:
        threads: of PyTorch on a CPU; 0: as many as it takes by itself.
    """
    with warnings.catch_warnings(), stand_in():
        # Their own, at their first import.
        warnings.simplefilter("ignore")
        try:
            import timm  # pyright: ignore[reportMissingImports] - no part of any extra
            import torch  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            print(f"no column for PyTorch: {error.name} is missing (make peers installs it)")
            return None
    packages = Packages(torch, timm)
    if (packages.device == "cpu") != (jax.default_backend() == "cpu"):
        print(
            f"no column for PyTorch: it computes on {packages.device}, "
            f"JAX on {jax.default_backend()}: install both for one device"
        )
        return None
    if threads:
        torch.set_num_threads(threads)
    return packages


def build_peer(timm: Any, key: str, spec: InputSpec) -> Any:
    """Return timm's network of one of the keys of `PEERS`, of our size."""
    build = functools.partial(timm.create_model, num_classes=spec.num_outputs, in_chans=1)
    if key == "inception_resnet":
        network = build("inception_resnet_v2", drop_rate=0.2)
        # Blocks A, B and C of ours; the last block C stands by itself there.
        network.repeat, network.repeat_1 = network.repeat[:3], network.repeat_1[:5]
        network.repeat_2 = network.repeat_2[:1]
        return network
    return build(key, drop_rate=0.2) if key == "inception_v4" else build(key)


class PeerCalls(NamedTuple):
    """What a PyTorch network does; nothing waits for a GPU but `wait`."""

    predict: Callable[[Any], Any]
    """Returns the logits of pictures, NCHW."""
    train: Callable[[Any, Any], None]
    """One training step on pictures and targets: forward, backward, Adam."""
    put: Callable[[Any], Any]
    """Returns a tensor on the device; pictures with their channels last."""
    wait: Callable[[], None]
    """Returns when the device is done."""


@contextlib.contextmanager
def without_search(packages: Packages | None) -> Iterator[None]:
    """Let PyTorch compile with cuDNN's first proposals, and look for quicker kernels later.

    It takes the kernel of a convolution that is quickest at its first call and stays with it: that
    call is to be one at which nobody else uses the device.
    """
    if packages is None:
        yield
        return
    library = packages.torch.backends.cudnn
    searched, library.benchmark = library.benchmark, False
    try:
        yield
    finally:
        library.benchmark = searched


def make_peer(packages: Packages, key: str, dtype: str, spec: InputSpec) -> PeerCalls:
    """Return timm's network of that key, with channels last; compiled on a GPU.

    Args:
        packages: torch and timm.
        key: one of `PEERS`.
        dtype: compute type; below float32 by autocast.
        spec: of the pictures and outputs.
    """
    torch, device = packages.torch, packages.device
    network = build_peer(packages.timm, key, spec)
    network = network.to(device=device, memory_format=torch.channels_last)
    fast = {"fused": True} if device == "cuda" else {"foreach": True}
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, **fast)
    # As XLA does: kernels for one shape, and convolutions by the quickest of the library's ways.
    torch.backends.cudnn.benchmark = True
    called = torch.compile(network, dynamic=False) if device == "cuda" else network
    half = functools.partial(torch.autocast, device, torch.bfloat16, enabled=dtype == "bfloat16")

    def put(values: Any) -> Any:
        form = torch.channels_last if values.ndim == 4 else torch.preserve_format
        return values.to(device, non_blocking=True, memory_format=form)

    def predict(pictures: Any) -> Any:
        network.eval()
        with torch.inference_mode(), half():
            return called(pictures)

    def train(pictures: Any, targets: Any) -> None:
        network.train()
        optimiser.zero_grad(set_to_none=True)
        with half():
            logits = called(pictures)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), targets)
        entropy.backward()
        optimiser.step()

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    return PeerCalls(predict, train, put, wait)


def to_torch(packages: Packages, images: np.ndarray) -> Any:
    """Return pictures NHWC as PyTorch has them, NCHW, on the host."""
    return packages.torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def run_loader(peer: PeerCalls, loader: Any, steps: int) -> None:
    """Train through an epoch of a DataLoader and wait for the end."""
    for pictures, targets in itertools.islice(loader, steps):
        peer.train(peer.put(pictures), peer.put(targets))
    peer.wait()
