from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

RunPython = Callable[..., subprocess.CompletedProcess[str]]

CACHE = "JAX_COMPILATION_CACHE_DIR"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know `--unoptimised`."""
    parser.addoption(
        "--unoptimised",
        action="store_true",
        help="let XLA compile in half the time, and what it compiles run a third as fast",
    )


def unoptimised_flags() -> str:
    """Return what XLA is told where compiling takes longer than running."""
    flags = "--xla_backend_optimization_level=0"
    # JAX 0.10 writes fused loops by MLIR, or, sooner, by LLVM alone; later ones have no choice, and
    # XLA ends a process that names a flag which it does not know.
    if version("jaxlib").startswith("0.10."):
        flags += " --xla_cpu_use_fusion_emitters=false"
    return flags


def pytest_configure(config: pytest.Config) -> None:
    """Let what XLA has compiled serve each later test, and the processes that tests start.

    Compiling is most of the suite's time, and many tests train the same network. The folder
    lives as long as the suite, so that nothing of another day is ever used; `.ci/run` names one
    that the slow tests and the demo share. The variables are read when JAX is imported.
    """
    if config.getoption("unoptimised"):
        os.environ["XLA_FLAGS"] = f"{unoptimised_flags()} {os.environ.get('XLA_FLAGS', '')}"
    if CACHE not in os.environ:
        os.environ[CACHE] = tempfile.mkdtemp(prefix="emojax-compiled-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(CACHE), ignore_errors=True))
    # Small programs are stored only if they took long: a file for each addition costs more.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds `emojax/`, `tests/` and `pyproject.toml`."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data that may lie beside the repository; without it the test is skipped."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data beside the repository")
    return folder


@pytest.fixture(scope="session")
def run_python() -> RunPython:
    """Run `python ARGUMENTS` as a person would, without the type checker of the tests."""

    def run(
        *arguments: str | Path, cwd: Path = ROOT, timeout: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
