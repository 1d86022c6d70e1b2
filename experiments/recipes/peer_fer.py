"""The package fer on face crops, in an environment of its own; asked as `peer_process.py` says.

What fer 25.10.3 does in `FER.detect_emotions` once it has a face: `cv2.resize` to 64 x 64, then
(x / 255 - 0.5) * 2, then `emotion_model_quantized.tflite` by `_classify_emotions`. A box that it
found itself it first makes 10 pixels larger on each side; FER2013's crops are what its network was
trained on, and are taken as they are.

Usage: python peer_fer.py PICTURES SIDE
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

import cv2
import fer as package  # pyright: ignore[reportMissingImports] - no part of any extra
import numpy as np
import tensorflow as tf
from fer.fer import FER  # pyright: ignore[reportMissingImports]

MODEL = Path(str(package.__file__)).parent / "data" / "emotion_model_quantized.tflite"


def open_fer() -> FER:
    """Return fer with its own network on one thread, on boxes as they are."""
    cv2.setNumThreads(1)
    interpreter = tf.lite.Interpreter(model_path=str(MODEL), num_threads=1)
    interpreter.allocate_tensors()
    FER._tflite_interpreter_cache = interpreter
    return FER(offsets=(0, 0))


def answer(fer: FER, picture: np.ndarray) -> np.ndarray:
    """Return fer's scores for one crop, uint8 [height, width], before it rounds them."""
    faces = np.array([cv2.resize(picture, (64, 64))], dtype="float32")
    faces = faces / 255.0
    faces = (faces - 0.5) * 2.0
    return fer._classify_emotions(faces)[0]


def check(fer: FER, pictures: np.ndarray, names: list[str]) -> None:
    """Refuse a release of fer that treats a face otherwise than `answer` does."""
    height, width = pictures.shape[1:]
    for picture in pictures:
        frame = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        [theirs] = fer.detect_emotions(frame, [(0, 0, width, height)])
        for name, score in zip(names, answer(fer, picture), strict=True):
            # Theirs has two digits.
            if abs(theirs["emotions"][name] - score) > 0.0051:
                raise RuntimeError(
                    f"Error: fer {package.__version__} prepares a face in another way than 25.10.3"
                )


def main(path: str, side: int) -> None:
    """Say hello, then answer until there is nothing more to ask."""
    # What TensorFlow and fer print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    pictures = np.fromfile(path, np.uint8).reshape(-1, side, side)
    fer = open_fer()
    labels = fer._get_labels()
    names = [labels[place] for place in range(len(labels))]
    check(fer, pictures[:16], names)
    hello = {
        "names": names,
        "preprocessing": "bilinear to 64 x 64, (x / 255 - 0.5) * 2",
        "versions": {
            "fer": package.__version__,
            "tensorflow": tf.__version__,
            "opencv": cv2.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    print(json.dumps(hello), file=answers, flush=True)
    for line in sys.stdin:
        start, stop = map(int, line.split())
        scores, clock, processor = [], [], []
        for picture in pictures[start:stop]:
            begin, begin_processor = time.perf_counter(), time.process_time()
            scores.append(answer(fer, picture))
            processor.append(1e3 * (time.process_time() - begin_processor))
            clock.append(1e3 * (time.perf_counter() - begin))
        reply = {
            "scores": np.stack(scores).tolist(),
            "milliseconds": clock,
            "processor_milliseconds": processor,
        }
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
