"""What a person sees while they are recorded: a window with the camera, or the terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from emojax.data.recording.prompts import Prompt
from emojax.window import Window, why_no_window

_TITLE = "emojax data record"
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WIDEST = 960


@runtime_checkable
class View(Protocol):
    """Shows what is asked for, and where in time one is."""

    def begin(self, prompt: Prompt, place: str) -> None:
        """Show what comes next; `place` is `3 of 7`."""

    def wait(self, picture: np.ndarray | None, left_s: float) -> None:
        """Show that the recording starts in `left_s` seconds."""

    def record(self, picture: np.ndarray, left_s: float) -> None:
        """Show that the recording runs, for `left_s` seconds more."""

    def end(self, result: str) -> None:
        """Show what became of it."""


class TerminalView:
    """Lines of text; a countdown that overwrites itself where there is a terminal."""

    def __init__(self) -> None:
        self._shown = ""

    def begin(self, prompt: Prompt, place: str) -> None:
        """Print what comes next."""
        print(f"{place}: {prompt.title}\n  {prompt.instruction}")

    def wait(self, picture: np.ndarray | None, left_s: float) -> None:
        """Count down."""
        self._overwrite(f"  recording starts in {math.ceil(left_s)} s")

    def record(self, picture: np.ndarray, left_s: float) -> None:
        """Count down."""
        self._overwrite(f"  RECORDING, {math.ceil(left_s)} s")

    def end(self, result: str) -> None:
        """Print what became of it."""
        self._overwrite("")
        print(f"  {result}")

    def _overwrite(self, line: str) -> None:
        if line != self._shown and sys.stdout.isatty():
            sys.stdout.write(f"\r{line:<40}\r")
            sys.stdout.flush()
        self._shown = line


class WindowView:
    """The camera as a mirror with the prompt below it; q, Esc or closing the window stops."""

    def __init__(self) -> None:
        self._prompt = Prompt("none", "", "")
        self._place = ""
        self._picture = np.zeros((480, 640, 3), np.uint8)
        self._window = Window(_TITLE)

    def begin(self, prompt: Prompt, place: str) -> None:
        """Keep what comes next for the pictures to come."""
        self._prompt, self._place = prompt, place

    def wait(self, picture: np.ndarray | None, left_s: float) -> None:
        """Show a picture and the countdown."""
        self._show(picture, f"starts in {math.ceil(left_s)}", False)

    def record(self, picture: np.ndarray, left_s: float) -> None:
        """Show a picture and a red frame."""
        self._show(picture, f"recording, {math.ceil(left_s)}", True)

    def end(self, result: str) -> None:
        """Print what became of it, for whoever looks at the terminal."""
        print(f"{self._place}: {self._prompt.title}: {result}")

    def _show(self, picture: np.ndarray | None, state: str, recording: bool) -> None:
        if picture is not None:
            self._picture = picture
        shown = draw_view(self._picture, self._prompt, f"{self._place}: {state}", recording)
        if self._window.show(shown) == "q":
            # As Ctrl-C in the terminal: what was finished is kept.
            raise KeyboardInterrupt


def open_view(wanted: bool, say: Callable[[str], object]) -> View:
    """Return a window where it is wanted and can be had, otherwise the terminal.

    Args:
        wanted: whether to try.
        say: is told in one line why there is no window.
    """
    if not wanted:
        return TerminalView()
    missing = why_no_window(_TITLE)
    if missing is None:
        return WindowView()
    say(f"no window: {missing}; the prompts stand here in the terminal")
    return TerminalView()


def draw_view(picture: np.ndarray, prompt: Prompt, state: str, recording: bool) -> np.ndarray:
    """Return the camera's picture mirrored, with the prompt below it.

    Args:
        picture: blue, green, red, uint8 [height, width, 3].
        prompt: what is asked for.
        state: where one is, as `3 of 7: starts in 2`.
        recording: draws a red frame.

    Returns:
        uint8 [height and text, width, 3], at most 960 wide.
    """
    shown = np.ascontiguousarray(picture[:, ::-1])
    if shown.shape[1] > _WIDEST:
        height = round(shown.shape[0] * _WIDEST / shown.shape[1])
        shown = cv2.resize(shown, (_WIDEST, height), interpolation=cv2.INTER_AREA)
    height, width = shown.shape[:2]
    scale = max(width / 900, 0.4)
    line = round(40 * scale)
    texts = [
        (state, (120, 200, 255) if recording else (200, 200, 200), scale),
        (prompt.title, (255, 255, 255), 1.4 * scale),
        *(
            (words, (220, 220, 220), 0.8 * scale)
            for words in _wrap(prompt.instruction, width - 2 * line, 0.8 * scale)
        ),
    ]
    band = np.full((line * (len(texts) + 1), width, 3), 30, np.uint8)
    for row, (words, colour, size) in enumerate(texts, 1):
        place = (line, row * line)
        cv2.putText(band, words, place, _FONT, size, colour, max(1, round(size)), cv2.LINE_AA)
    if recording:
        thickness = max(2, width // 100)
        cv2.rectangle(shown, (0, 0), (width - 1, height - 1), (40, 40, 230), thickness)
    return np.concatenate([shown, band])


def _wrap(text: str, width: int, scale: float) -> list[str]:
    """Return a text in lines of so many pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and cv2.getTextSize(longer, _FONT, scale, 1)[0][0] > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
