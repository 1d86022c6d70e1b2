"""What the device at hand can do at most: products, memory, and copies from the host."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from emojax.compiler import compiler_options
from emojax.inventory import median_seconds

_ROUNDS = 7


def device_dtypes(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the compute types that are wanted; none named: the device's usual one."""
    return wanted or (("float32",) if jax.default_backend() == "cpu" else ("bfloat16",))


def matrix_rate(dtype: str, side: int = 0) -> float:
    """Return the device's multiply-accumulates a second in a large matrix product.

    Args:
        dtype: of the matrices.
        side: of them; 0: what fills the device.
    """
    side = side or (2048 if jax.default_backend() == "cpu" else 8192)
    # Of random numbers: a GPU's clock falls with the bits that change, and ones change none.
    matrix = jax.random.normal(jax.random.key(0), (side, side), dtype)
    product = jax.jit(jnp.matmul, compiler_options=compiler_options())
    return side**3 / median_seconds(lambda: product(matrix, matrix), _ROUNDS)


def memory_rate(mebibytes: int = 0) -> float:
    """Return the bytes a second that the device reads and writes, far beyond its caches.

    Args:
        mebibytes: of the array that is read, one as large being written; 0: what is beyond
            the caches of the device.
    """
    mebibytes = mebibytes or (256 if jax.default_backend() == "cpu" else 2048)
    values = jnp.zeros(mebibytes * 2**18, jnp.float32)
    # Into the memory it came from: fresh pages would be cleared by the system first.
    add = jax.jit(lambda values: values + 1, donate_argnums=0)
    held = {"values": values}

    def run() -> jax.Array:
        held["values"] = add(held["values"])
        return held["values"]

    return 2 * values.nbytes / median_seconds(run, _ROUNDS)


def copy_rate(mebibytes: int = 64) -> float | None:
    """Return the bytes a second of large copies from the host's memory to the device's.

    None on a CPU, which computes on the host's memory as it is.
    """
    if jax.default_backend() == "cpu":
        return None
    values = np.zeros(mebibytes * 2**20, np.uint8)
    return values.nbytes / median_seconds(functools.partial(jax.device_put, values), _ROUNDS)
