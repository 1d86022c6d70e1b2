"""One mesh over all devices, and how arrays lie on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from emojax.errors import UserError

DATA_AXIS = "data"


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Return a mesh of one axis, `data`, over JAX devices: all of them where none are named."""
    chosen = jax.devices() if devices is None else list(devices)
    return jax.make_mesh(
        (len(chosen),),
        (DATA_AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=chosen,
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of what every device holds whole: parameters, resident pictures."""
    return NamedSharding(mesh, PartitionSpec())


def split_batch(mesh: Mesh) -> NamedSharding:
    """Return the sharding of a batch: its first axis spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Refuse a batch that the devices can't share evenly.

    Raises:
        UserError: the batch size is no multiple of the number of devices.
    """
    if batch_size % mesh.size:
        raise UserError(
            f"batch_size={batch_size} can't be shared by {mesh.size} devices: "
            f"use a multiple of {mesh.size}"
        )
