"""What XLA is told for the device at hand; measured in docs/performance.md."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

import jax
from jax import lax
from jax.experimental.compilation_cache.compilation_cache import reset_cache, set_cache_dir

T = TypeVar("T")

# XLA:CPU hands convolutions to YNNPACK, which is 1.6 times slower at 3 x 3 kernels than the
# code it had before; matrix products are faster there and stay.
# And it drops optimization barriers before it fuses, so that what made a value is computed again
# inside each transpose of it; without that pass they hold.
_CPU = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    "xla_disable_hlo_passes": "cse_barrier_expander",
}

# Two thirds of the time, and the same values: for what runs once, as drawing a network's first
# parameters, which takes longer to compile than its prediction does.
_CPU_ONCE = {"xla_backend_optimization_level": "1"}

_CACHE_DIR = "jax_compilation_cache_dir"
_quickly = contextvars.ContextVar("quickly", default=False)
_litert = contextvars.ContextVar("litert", default=False)


def compiler_options() -> dict[str, str]:
    """Return the `compiler_options` of `jax.jit` for the default device.

    Another jaxlib may not know an option: then there are none.
    """
    return _known(tuple((_CPU | (_CPU_ONCE if _quickly.get() else {})).items()))


def options_to_run_once() -> dict[str, str]:
    """Return the `compiler_options` of what takes longer to compile than to run."""
    return _known(tuple(_CPU_ONCE.items()))


@functools.cache
def _known(options: tuple[tuple[str, str], ...]) -> dict[str, str]:
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=dict(options)).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return dict(options)


def compiled_quickly() -> AbstractContextManager[None]:
    """Let a CPU's programs be simpler and optimised less: for trainings of a minute."""
    return _turned_on(_quickly)


def made_for_litert() -> AbstractContextManager[None]:
    """Let what is traced here be made of what LiteRT is quick at, whatever XLA would rather have.

    The numbers are the same but for rounding.
    """
    return _turned_on(_litert)


@contextlib.contextmanager
def _turned_on(choice: contextvars.ContextVar[bool]) -> Iterator[None]:
    before = choice.set(True)
    try:
        yield
    finally:
        choice.reset(before)


def is_compiled_quickly() -> bool:
    """Return whether what compiles soon is wanted, rather than what runs fast."""
    return _quickly.get()


def is_made_for_litert() -> bool:
    """Return whether what is traced becomes a TFLite model."""
    return _litert.get()


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """Keep what is compiled, in a folder that vanishes: the same program again costs no time.

    For several trainings in one process: each makes its functions anew, so that JAX by itself takes
    their programs for others. Nothing changes where JAX_COMPILATION_CACHE_DIR names a folder.
    """
    if jax.config.values[_CACHE_DIR]:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="emojax-compiled-") as folder:
        set_cache_dir(folder)
        try:
            yield
        finally:
            jax.config.update(_CACHE_DIR, None)
            # JAX would go on with the folder that it has begun with.
            reset_cache()


def keep_in_memory(values: T) -> T:
    """Return arrays, or a tree of them, that XLA:CPU computes once and writes to memory.

    Else it makes them again for each use: inside a transpose value by value, up to eight times as
    slowly. Elsewhere the compiler decides. Holds in what is compiled with `compiler_options`.
    """
    return lax.optimization_barrier(values) if jax.default_backend() == "cpu" else values
