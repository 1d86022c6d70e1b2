"""A network's variables in one NumPy file, to hand on: no optimiser, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from emojax.archive import read_arrays
from emojax.errors import UserError

WEIGHTS = "weights.npz"
"""In the folder of a shipped model, beside config.json."""

LARGEST_BYTES = 1 << 30
"""What its arrays may take: five times the largest network's."""


def write_weights(path: Path, variables: Any) -> None:
    """Write variables, each under its place in the tree, as `params/stem_conv/kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    named: dict[str, Any] = {
        "/".join(step.key for step in place): np.asarray(leaf) for place, leaf in leaves
    }
    np.savez_compressed(path, **named)


def read_weights(path: Path, shapes: Any) -> Any:
    """Return the variables that a file holds, as a tree like `shapes`.

    Args:
        path: of the file.
        shapes: of the network, from `jax.eval_shape`.

    Raises:
        UserError: no such file, a damaged one, or the variables of another network.
    """
    remedy = "install emojax again"
    found = read_arrays(path, None, "a network's weights", LARGEST_BYTES, remedy)

    def take(place: Any, shape: jax.ShapeDtypeStruct) -> np.ndarray:
        name = "/".join(step.key for step in place)
        values = found.pop(name, None)
        if values is None or values.shape != shape.shape or values.dtype != shape.dtype:
            held = "nothing" if values is None else f"{values.dtype} {list(values.shape)}"
            raise UserError(
                f"{path}: {name} is {held}, the network of config.json wants "
                f"{shape.dtype} {list(shape.shape)}: the two do not belong together"
            )
        return values

    tree = jax.tree_util.tree_map_with_path(take, shapes)
    if found:
        raise UserError(f"{path}: {sorted(found)[0]} is no part of the network of config.json")
    return tree
