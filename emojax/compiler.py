"""What XLA is told for the device at hand; measured in docs/performance.md."""

from __future__ import annotations

import functools

import jax

# XLA:CPU hands convolutions to YNNPACK, which is 1.6 times slower at 3 x 3 kernels than the
# code it had before; matrix products are faster there and stay.
_CPU = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}


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
