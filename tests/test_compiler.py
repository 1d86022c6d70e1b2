from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from emojax.compiler import (
    compiled_once,
    compiled_quickly,
    compiler_options,
    keep_in_memory,
    options_to_run_once,
)
from emojax.models.convolution import convolve

NHWC = ("NHWC", "HWIO", "NHWC")
CACHE_DIR = "jax_compilation_cache_dir"


def test_the_compiler_takes_its_options():
    known = {"xla_cpu_experimental_ynn_fusion_type", "xla_disable_hlo_passes"}
    # All or none: another jaxlib may not know one of them.
    assert compiler_options().keys() in (known, set())
    once = options_to_run_once()
    assert once.keys() in ({"xla_backend_optimization_level"}, set())
    with compiled_quickly():
        assert compiler_options().keys() in (known | once.keys(), set())
    assert compiler_options().keys() in (known, set())


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere there are no other forms")
def test_compiled_quickly_a_convolution_is_one():
    x, kernel = jnp.ones((8, 40, 40, 64)), jnp.ones((3, 3, 64, 64))

    def operations() -> set[str]:
        graph = jax.make_jaxpr(
            lambda x: convolve(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        )(x)
        return {equation.primitive.name for equation in graph.jaxpr.eqns}

    usual = operations()
    with compiled_quickly():
        assert operations() == {"conv_general_dilated"}
    assert operations() == usual != {"conv_general_dilated"}


def test_what_is_kept_in_memory_is_made_once():
    def lost(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        made = jnp.maximum(2 * x + 1, 0)
        return made.sum(), keep_in_memory(made).T

    x = jnp.ones((300, 200))
    for options, barriers in ((compiler_options(), bool(compiler_options())), ({}, 0)):
        text = jax.jit(lost, compiler_options=options).lower(x).compile().as_text()
        assert text.count(" opt-barrier(") == barriers


def test_what_is_compiled_is_kept_in_a_folder_that_vanishes(tmp_path: Path):
    before = jax.config.values[CACHE_DIR]
    try:
        jax.config.update(CACHE_DIR, None)
        with compiled_once():
            folder = Path(jax.config.values[CACHE_DIR])
            assert folder.is_dir()
        assert not folder.exists()
        assert jax.config.values[CACHE_DIR] is None
        jax.config.update(CACHE_DIR, str(tmp_path))
        with compiled_once():
            assert jax.config.values[CACHE_DIR] == str(tmp_path)
        assert jax.config.values[CACHE_DIR] == str(tmp_path)
    finally:
        jax.config.update(CACHE_DIR, before)
        reset_cache()


SAME_AGAIN = """
import jax, logging
from emojax.compiler import compiled_once
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_log_compiles", True)
def make():
    return jax.jit(lambda x: jax.numpy.sin(x) @ x)
with compiled_once():
    make()(jax.numpy.ones((8, 8)))
    make()(jax.numpy.ones((8, 8)))
"""


def test_the_same_program_is_compiled_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", SAME_AGAIN], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("Persistent compilation cache hit for 'jit__lambda'") == 1
