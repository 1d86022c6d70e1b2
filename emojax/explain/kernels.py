"""The first kernels of a network, which are pictures themselves. Source: thesis, figure 4.4."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float


def first_kernels(
    model: nn.Module, variables: Any, inputs: Any, owner: tuple[str, ...] = ()
) -> Float[np.ndarray, "kernel time height width"]:
    """Return the weights of the first convolution of a module, without its bias.

    Args:
        model: the network.
        variables: its parameters and statistics.
        inputs: a batch as the network takes it, or its shapes.
        owner: names down to the module that looks at the pictures, of `feature_map.map_owners`.

    Returns:
        A kernel each; time is 1 for a network that looks at a single picture, 20 where a clip's
        frames are the channels of one picture, and of a 3-D convolution its length in time.
    """
    first: list[tuple[str, ...]] = []

    def look(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        path = context.module.path
        if isinstance(context.module, nn.Conv) and path[: len(owner)] == owner:
            first.append(path)
        return call(*args, **kwargs)

    with nn.intercept_methods(look):
        jax.eval_shape(lambda *given: model.apply(*given, train=False), variables, inputs)
    # A 3-D convolution is not one of Flax's modules but a parameter of its network.
    kernel = variables["params"]
    for name in first[0] if first else owner:
        kernel = kernel[name]
    weights = np.asarray(kernel["kernel" if first else "conv1_kernel"], np.float32)
    if weights.ndim == 5:
        return weights[..., 0, :].transpose(3, 0, 1, 2)
    return weights.transpose(3, 2, 0, 1)
