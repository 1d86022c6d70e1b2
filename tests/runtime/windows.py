"""OpenCV's windows, as far as they are used: for machines with the headless OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


class Windows:
    """Keeps what was shown, and presses keys: one after each picture, where there are any."""

    def __init__(self, keys: str = "") -> None:
        self.shown: list[np.ndarray] = []
        self.keys = list(keys)
        self.visible = 1.0

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> Windows:
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "destroyWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, picture: self.shown.append(picture))
        monkeypatch.setattr(cv2, "waitKey", lambda _: self._press())
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: self.visible)
        monkeypatch.setenv("DISPLAY", ":0")
        return self

    def _press(self) -> int:
        key = self.keys.pop(0) if self.keys else " "
        return -1 if key == " " else ord(key)
