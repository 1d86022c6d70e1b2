"""Where in a network its last pictures are, and the way in: for any network, without editing it.

Flax tells of every module that is called. What a network's own layers return, in the order in
which they are done, is a list that ends with vectors; the last one that still is a picture is
the map that Grad-CAM reads. Adding zeros to it, and asking for the gradient with respect to the
zeros, gives the gradient with respect to the map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from emojax.errors import UserError

LEAST_SIDE = 3
"""Rows and columns of the coarsest map that is looked at: the inceptions end at 1 x 1 and AR2 at
2 x 2 for pictures of 98 x 80, which say nothing of where."""

_OWNERS: dict[str, dict[str, tuple[str, ...]]] = {
    "ar4": {"face": ("extractor",)},
    "ar5": {"face": ("video",), "sound": ("sound",)},
}


class FeatureMap(NamedTuple):
    """What a layer returns."""

    path: tuple[str, ...]
    """Names of the modules from the network down to the layer."""
    shape: tuple[int, ...]
    """(time) height width channels, of one example."""

    @property
    def name(self) -> str:
        """The layer and its size, as a caption says it."""
        return f"{'/'.join(self.path)}, {' x '.join(map(str, self.shape[:-1]))}"


def map_owners(key: str, variables: Any) -> dict[str, tuple[str, ...]]:
    """Return the module in which pictures are looked at, by what they show: `face`, `sound`.

    Args:
        key: of the network's registry.
        variables: the network's; of ar5's two branches one may be missing.
    """
    owners = _OWNERS.get(key, {"face": ()})
    return {
        what: path for what, path in owners.items() if not path or path[0] in variables["params"]
    }


def find_feature_map(
    model: nn.Module, variables: Any, inputs: Any, owner: tuple[str, ...] = ()
) -> FeatureMap:
    """Return the last map of `LEAST_SIDE` rows and columns among the layers of a module.

    Only the module's own layers are looked at, not those inside of them: a chain of an inception
    block would be a part of what the network knows there.

    Args:
        model: the network.
        variables: its parameters and statistics, or their shapes.
        inputs: a batch as the network takes it, or its shapes.
        owner: names down to the module; none: the network itself.

    Raises:
        UserError: no layer returns such a map.
    """
    found: list[FeatureMap] = []

    def look(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        path = context.module.path
        inside = len(path) == len(owner) + 1 and path[:-1] == owner
        if inside and isinstance(output, jax.Array) and output.ndim >= 4:
            found.append(FeatureMap(path, output.shape[1:]))
        return output

    with nn.intercept_methods(look):
        jax.eval_shape(lambda *given: model.apply(*given, train=False), variables, inputs)
    for layer in reversed(found):
        if min(layer.shape[-3:-1]) >= LEAST_SIDE:
            return layer
    raise UserError(
        f"{'/'.join(owner) or type(model).__name__}: no layer has a map of {LEAST_SIDE} x "
        f"{LEAST_SIDE} or more to look at: the pictures are too small for this network"
    )


@contextmanager
def perturbed(layer: FeatureMap, perturbation: jax.Array) -> Iterator[list[jax.Array]]:
    """Add to what a layer returns, for every network that is applied inside.

    Args:
        layer: which one.
        perturbation: what is added: batch, and the layer's shape.

    Yields:
        A list to which the layer's output, with what was added, is appended.
    """
    seen: list[jax.Array] = []

    def add(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        if context.module.path == layer.path and context.method_name == "__call__":
            output = output + perturbation.astype(output.dtype)
            seen.append(output)
        return output

    with nn.intercept_methods(add):
        yield seen
