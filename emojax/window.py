"""A window on the screen, where the installed OpenCV has windows."""

from __future__ import annotations

import contextlib
import os
import sys

import cv2
import numpy as np


class Window:
    """Shows pictures and hears keys."""

    def __init__(self, title: str) -> None:
        """Start; the first picture opens it.

        Args:
            title: its name, which no other window of the process has.
        """
        self._title = title
        self._was_open = False

    def show(self, picture: np.ndarray, wait_ms: int = 1) -> str | None:
        """Show a picture, and return the key that was pressed.

        Args:
            picture: blue, green, red, uint8 [height, width, 3].
            wait_ms: milliseconds to wait for a key.

        Returns:
            The key's letter; `q` for Esc too, and where the window was closed; None: no key.
        """
        cv2.imshow(self._title, picture)
        key = cv2.waitKey(wait_ms) & 0xFF
        try:
            is_open = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:
            # Qt's answer once its last window is closed.
            is_open = False
        closed = self._was_open and not is_open
        # Some window systems never tell: there only the keys stop.
        self._was_open = is_open
        if closed or key == 27:
            return "q"
        return chr(key) if 32 < key < 127 else None

    def close(self) -> None:
        """Take it from the screen, where nobody has closed it already."""
        with contextlib.suppress(cv2.error):
            cv2.destroyWindow(self._title)


def why_no_window(title: str) -> str | None:
    """Return in a few words why there can be no window, None where it is open now.

    Args:
        title: of the window.
    """
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        # Asking for a window all the same would end the whole process.
        return "no display is connected"
    try:
        cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
    except cv2.error:
        return "the installed OpenCV is the headless one"
    return None
