from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))

from tiny_artifact import tiny_model, write_artifact


@pytest.fixture(scope="session")
def model() -> bytes:
    return tiny_model()


@pytest.fixture(scope="session")
def artifact_folder(model, tmp_path_factory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("model") / "artifact", model)


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """The one real photograph, in blue, green, red."""
    import skimage.data

    return np.ascontiguousarray(skimage.data.astronaut()[:, :, ::-1])
