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

__all__ = ["Artifact", "FaceResult", "Predictor", "load", "load_artifact"]


def load(
    folder: str | os.PathLike[str], threads: int = 1, precision: str | None = None
) -> Predictor:
    """Return a predictor for an artifact folder.

    Args:
        folder: what the export wrote.
        threads: of the processor, for the network.
        precision: `float32`, `float16` or `int8`; None: what the artifact names.

    Raises:
        UserError: no artifact, a damaged one, or a model that does not fit its spec.
    """
    return Predictor(load_artifact(folder, precision), threads=threads)
