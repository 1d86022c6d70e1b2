from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

RunPython = Callable[..., subprocess.CompletedProcess[str]]


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
