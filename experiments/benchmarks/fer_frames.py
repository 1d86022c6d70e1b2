"""The package fer on a video, in an environment of its own: milliseconds of each frame.

Usage: python fer_frames.py VIDEO CORE OUT.json
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import cv2
from fer.fer import FER  # pyright: ignore[reportMissingImports] - no part of any extra

WARM_UP = 10
"""Frames at the beginning that are not counted, as by `emojax bench`."""


def main(video: str, core: int, out: Path) -> None:
    """Time every frame: OpenCV's decoding, then all that fer does with one."""
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)
    # Its default: the Haar cascade that comes with OpenCV, and its own network.
    fer, frames, taken = FER(mtcnn=False), cv2.VideoCapture(video), []
    while True:
        begin = time.perf_counter()
        there, frame = frames.read()
        if not there:
            break
        fer.detect_emotions(frame)
        taken.append(1e3 * (time.perf_counter() - begin))
    out.write_text(json.dumps(taken[WARM_UP:]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
