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
    folder: str | os.PathLike[str], threads: int = 1, precision: str | None = None
) -> Predictor:
    """Return a predictor for the artifact folder of a network for pictures.

    Args:
        folder: what the export wrote.
        threads: of the processor, for the network.
        precision: `float32`, `float16` or `int8`; None: what the artifact names.

    Raises:
        UserError: no artifact, a damaged one, a model that does not fit its spec, or one for clips.
    """
    return Predictor(load_artifact(folder, precision), threads=threads)
