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
from emojax.runtime.predictor import FaceResult, Predictor
from emojax.shipped import find_model

__all__ = ["Artifact", "FaceResult", "Predictor", "load", "load_artifact"]


def load(
    folder: str | os.PathLike[str] | None = None, threads: int = 1, precision: str | None = None
) -> Predictor:
    """Return a predictor for an artifact folder.

    Args:
        folder: what the export wrote, or the name of a model that comes with emojax; None:
            `faces`, seven emotions from a face.
        threads: of the processor, for the network.
        precision: `float32`, `float16` or `int8`; None: what the artifact names.

    Raises:
        UserError: no artifact, a damaged one, or a model that does not fit its spec.
    """
    given = None if folder is None else os.fspath(folder)
    return Predictor(load_artifact(find_model(given), precision), threads=threads)
