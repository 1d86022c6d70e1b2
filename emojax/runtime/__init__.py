"""The runner: an exported artifact on pictures and videos, without JAX and TensorFlow.

```python
predictor = emojax.runtime.load("artifact")
for face in predictor.predict_frame(picture):
    print(face.detection, face.emotion)
```
"""

from __future__ import annotations

import os

from emojax.runtime.artifact import Artifact, load_artifact
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.predictor import FaceResult, Predictor
from emojax.shipped import find_model

__all__ = [
    "Artifact",
    "ClipPredictor",
    "FaceResult",
    "Predictor",
    "load",
    "load_artifact",
    "make_predictor",
]


def make_predictor(artifact: Artifact, threads: int = 1) -> Predictor | ClipPredictor:
    """Return what runs an artifact's model: on pictures, or on clips.

    Args:
        artifact: what `load_artifact` gave.
        threads: of the processor, for the network.
    """
    return (Predictor if artifact.looks == "picture" else ClipPredictor)(artifact, threads)


def load(
    folder: str | os.PathLike[str] | None = None, threads: int = 1, precision: str | None = None
) -> Predictor:
    """Return a predictor for the artifact folder of a network for pictures.

    Args:
        folder: what the export wrote, or the name of a model that comes with emojax; None:
            `faces`, seven emotions from a face.
        threads: of the processor, for the network.
        precision: `float32`, `float16` or `int8`; None: what the artifact names.

    Raises:
        UserError: no artifact, a damaged one, a model that does not fit its spec, or one for clips.
    """
    given = None if folder is None else os.fspath(folder)
    return Predictor(load_artifact(find_model(given), precision), threads=threads)
