"""What XLA is told for the device at hand, and the C library; measured in docs/performance.md."""

from __future__ import annotations

import ctypes
import functools
import sys

import jax

# XLA:CPU hands convolutions to YNNPACK, which is 1.6 times slower at 3 x 3 kernels than the
# code it had before; matrix products are faster there and stay.
_CPU = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}

# From glibc's malloc.h: one arena, no mappings of their own for large blocks, and nothing given
# back while less than 2 GiB are unused. Only the first arena can hold large blocks.
_KEEP = ((-8, 1), (-4, 0), (-1, 2**31 - 1))


@functools.cache
def compiler_options() -> dict[str, str]:
    """Return the `compiler_options` of `jax.jit` for the default device.

    Another jaxlib may not know an option: then there are none.
    """
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=_CPU).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _CPU


def keep_freed_memory() -> bool:
    """Let the process keep what it frees; return whether the C library can.

    XLA:CPU allocates a call's intermediate results, hundreds of megabytes, and frees them when it
    returns. glibc hands such blocks back to the system at once, which then clears each page again
    when the next call touches it: an eighth of a training step. Call it before anything is
    computed: a thread that has allocated already keeps to its own arena.
    """
    if not sys.platform.startswith("linux"):
        return False
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    return change is not None and sum(change(*setting) for setting in _KEEP) == len(_KEEP)
