from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
sys.path.insert(0, str(Path(__file__).parent))

from serving import Serving, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Serving]:
    """With the network that comes with emojax, every frame searched whole."""
    with serving("--detect-every", "1", "--idle-seconds", "20") as running:
        yield running


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """The one real photograph, in blue, green, red."""
    import skimage.data

    return np.ascontiguousarray(skimage.data.astronaut()[:, :, ::-1])


@pytest.fixture(scope="session")
def astronaut_png(astronaut: np.ndarray) -> bytes:
    return cv2.imencode(".png", astronaut)[1].tobytes()
