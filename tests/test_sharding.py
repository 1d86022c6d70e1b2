from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from emojax.sharding import DATA_AXIS, check_batch_size, make_mesh, replicated, split_batch

if TYPE_CHECKING:
    from conftest import RunPython

FOUR = "--xla_force_host_platform_device_count=4"


def test_a_mesh_of_every_device() -> None:
    mesh = make_mesh()
    assert mesh.axis_names == (DATA_AXIS,) == ("data",)
    assert list(mesh.devices.flat) == jax.devices()


def test_a_mesh_of_chosen_devices() -> None:
    mesh = make_mesh(jax.devices()[:1])
    assert mesh.size == 1
    assert split_batch(mesh).spec == PartitionSpec("data")
    assert replicated(mesh).spec == PartitionSpec()
    assert jax.device_put(jnp.ones(3), split_batch(mesh)).is_fully_addressable


def test_one_device_takes_any_batch() -> None:
    mesh = make_mesh(jax.devices()[:1])
    for batch_size in (1, 3, 64):
        check_batch_size(batch_size, mesh)


ON_FOUR = """
import json
import jax, jax.numpy as jnp, numpy as np
from emojax.errors import UserError
from emojax.sharding import check_batch_size, make_mesh, replicated, split_batch

mesh = make_mesh()
few = make_mesh(jax.devices()[1:3])
batch = jax.device_put(jnp.arange(8.0), split_batch(mesh))
whole = jax.device_put(jnp.arange(8.0), replicated(mesh))
refusals = []
for batch_size, over in ((62, mesh), (3, mesh), (64, mesh), (6, few), (5, few)):
    try:
        check_batch_size(batch_size, over)
        refusals.append(None)
    except UserError as error:
        refusals.append(str(error))
print(json.dumps({
    "devices": [mesh.size, few.size, [device.id for device in few.devices.flat]],
    "parts": {str(s.device.id): np.asarray(s.data).tolist() for s in batch.addressable_shards},
    "copies": [np.asarray(s.data).shape[0] for s in whole.addressable_shards],
    "mean": float(jax.jit(jnp.mean, out_shardings=replicated(mesh))(batch)),
    "refusals": refusals,
}))
"""


@pytest.fixture(scope="module")
def on_four(run_python: RunPython) -> dict:
    done = run_python("-c", ON_FOUR, XLA_FLAGS=FOUR, JAX_PLATFORMS="cpu")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_four_devices_share_a_batch(on_four: dict) -> None:
    assert on_four["devices"] == [4, 2, [1, 2]]
    assert on_four["parts"] == {"0": [0, 1], "1": [2, 3], "2": [4, 5], "3": [6, 7]}
    assert on_four["mean"] == 3.5


def test_four_devices_each_hold_what_is_replicated(on_four: dict) -> None:
    assert on_four["copies"] == [8, 8, 8, 8]


def test_a_batch_that_four_cannot_share_is_refused(on_four: dict) -> None:
    assert on_four["refusals"] == [
        "batch_size=62 can't be shared by 4 devices: use a multiple of 4",
        "batch_size=3 can't be shared by 4 devices: use a multiple of 4",
        None,
        None,
        "batch_size=5 can't be shared by 2 devices: use a multiple of 2",
    ]
