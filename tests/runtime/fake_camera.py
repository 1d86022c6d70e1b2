"""A camera for machines without one: what OpenCV's VideoCapture gives, one picture again and again.

`python fake_camera.py PICTURE LOST_AFTER emojax's words` runs the command line with it.
"""

from __future__ import annotations

import sys
import time

import cv2
import numpy as np


class FakeCamera:
    """Stands where `cv2.VideoCapture` is; a class of its own for each camera, by `make`."""

    picture = np.zeros((48, 64, 3), np.uint8)
    lost_after = 10**9
    rate_hz = 30.0
    opened: list[int]
    released: list[int]

    def __init__(self, index: int) -> None:
        self.index, self.reads = index, 0
        self.opened.append(index)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.lost_after > 0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.reads += 1
        if self.reads > self.lost_after:
            return False, None
        time.sleep(1 / self.rate_hz)
        return True, self.picture.copy()

    def set(self, name: int, value: float) -> bool:
        return True

    def release(self) -> None:
        self.released.append(self.index)


def make(picture: np.ndarray, lost_after: int = 10**9, rate_hz: float = 30.0) -> type[FakeCamera]:
    """A camera that shows a picture, and is pulled out after so many."""
    fields = {
        "picture": picture,
        "lost_after": lost_after,
        "rate_hz": rate_hz,
        "opened": [],
        "released": [],
    }
    return type("OneCamera", (FakeCamera,), fields)


if __name__ == "__main__":
    from emojax.cli import main

    name, lost_after, *words = sys.argv[1:]
    picture = cv2.imread(name)
    assert picture is not None
    cv2.VideoCapture = make(picture, int(lost_after))
    sys.exit(main(words))
