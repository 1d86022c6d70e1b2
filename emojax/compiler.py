"""What XLA is told for the device at hand, and the C library; measured in docs/performance.md."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import sys
import tempfile
from collections.abc import Iterator
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

# From glibc's malloc.h: one arena, no mappings of their own for large blocks, nothing given back
# while less than 2 GiB are unused, and 2 GiB of addresses asked for at a time. Only the first
# arena can hold large blocks.
_KEEP = ((-8, 1), (-4, 0), (-1, 2**31 - 1), (-2, 2**31 - 1))
_LARGE_PAGE = 2 << 20
_ADVICE = 14  # MADV_HUGEPAGE of Linux's mman.h


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


@contextlib.contextmanager
def compiled_quickly() -> Iterator[None]:
    """Let a CPU's programs be simpler and optimised less: for trainings of a minute."""
    before = _quickly.set(True)
    try:
        yield
    finally:
        _quickly.reset(before)


def is_compiled_quickly() -> bool:
    """Return whether what compiles soon is wanted, rather than what runs fast."""
    return _quickly.get()


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


def keep_freed_memory() -> bool:
    """Let the process keep what it frees, in large pages; return whether the C library can.

    XLA:CPU allocates a call's intermediate results, hundreds of megabytes, and frees them when it
    returns. glibc hands such blocks back to the system at once, which then clears each page again
    when the next call touches it: an eighth of a training step. And in pages of 4 KiB their
    addresses have to be looked up again and again; Linux gives pages of 2 MiB to those who ask.
    Call it before anything is computed: a thread that has allocated already keeps to its own arena.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    change = getattr(library, "mallopt", None)
    if change is None or sum(change(*setting) for setting in _KEEP) != len(_KEEP):
        return False
    _ask_for_large_pages(library)
    return True


def _ask_for_large_pages(library: ctypes.CDLL) -> None:
    # The heap's addresses take no memory until they are touched. The answer does not matter: a
    # kernel may have no large pages, or give them to everybody.
    library.sbrk.restype = library.malloc.restype = ctypes.c_void_p
    library.sbrk.argtypes = library.malloc.argtypes = (ctypes.c_ssize_t,)
    library.free.argtypes = (ctypes.c_void_p,)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    before = library.sbrk(0)
    # More than the heap has left: it has to grow.
    library.free(library.malloc(64 << 20))
    start = -(-before // _LARGE_PAGE) * _LARGE_PAGE
    size = library.sbrk(0) - start
    if size > 0:
        library.madvise(start, size, _ADVICE)
