from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from emojax.data.recording.prompt_view import TerminalView, WindowView, draw_view, open_view
from emojax.data.recording.prompts import Prompt, list_prompts

PROMPT = Prompt("AU26", "AU26, jaw drop", "Let your jaw drop.")


class Windows:
    """OpenCV's windows, as far as they are used."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []
        self.key, self.visible = -1, 1.0

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> Windows:
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, picture: self.shown.append(picture))
        monkeypatch.setattr(cv2, "waitKey", lambda _: self.key)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: self.visible)
        monkeypatch.setenv("DISPLAY", ":0")
        return self


def test_the_picture_is_a_mirror_with_the_prompt_below() -> None:
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:, :10] = 255
    plain = draw_view(picture, PROMPT, "1 of 2: starts in 3", recording=False)
    assert plain.shape[1] == 320
    assert (plain[:240, -10:] == 255).all()
    assert not plain[:240, :-10].any()
    band = plain[240:]
    assert band.shape[0] > 40
    assert (band > 150).any()
    red = draw_view(picture, PROMPT, "1 of 2: recording", recording=True)
    assert red[0, 100].tolist() == [40, 40, 230]
    assert not red[120, 100].any()
    assert picture[:, :10].all(), "the recorded picture itself is left alone"


def test_a_large_camera_fits_on_the_screen_and_long_words_are_wrapped() -> None:
    fear = list_prompts("emotions")[4]
    shown = draw_view(np.zeros((1080, 1920, 3), np.uint8), fear, "1 of 7", recording=False)
    assert shown.shape[1] == 960
    short = draw_view(np.zeros((1080, 1920, 3), np.uint8), PROMPT, "1 of 7", recording=False)
    assert shown.shape[0] > short.shape[0] > 540


def test_a_window_shows_and_stops(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    windows = Windows().put_in(monkeypatch)
    view = open_view(True, print)
    assert isinstance(view, WindowView)
    picture = np.zeros((240, 320, 3), np.uint8)
    view.begin(PROMPT, "1 of 2")
    view.wait(None, 2.5)
    view.record(picture, 1.0)
    view.end("7 frames")
    assert [shown.shape[1] for shown in windows.shown] == [640, 320]
    assert capsys.readouterr().out == "1 of 2: AU26, jaw drop: 7 frames\n"
    for key in (ord("q"), 27):
        windows.key = key
        with pytest.raises(KeyboardInterrupt):
            view.record(picture, 1.0)
    windows.key, windows.visible = -1, 0.0
    with pytest.raises(KeyboardInterrupt):
        view.wait(picture, 1.0)
    windows.visible = 1.0
    view.wait(picture, 1.0)

    def fail(*_: Any) -> float:
        raise cv2.error("NULL guiReceiver (please create a window)")

    monkeypatch.setattr(cv2, "getWindowProperty", fail)
    with pytest.raises(KeyboardInterrupt):
        view.wait(picture, 1.0)
    # A window system that never says whether a window is open.
    silent = WindowView()
    silent.wait(picture, 1.0)
    silent.wait(None, 0.5)
    assert windows.shown[-1].shape[1] == 320


def test_without_a_window_one_line_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    assert isinstance(open_view(False, said.append), TerminalView)
    assert said == []
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert isinstance(open_view(True, said.append), TerminalView)
    monkeypatch.setenv("DISPLAY", ":0")

    def fail(*_: Any) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", fail)
    assert isinstance(open_view(True, said.append), TerminalView)
    assert said == [
        "no window: no display is connected; the prompts stand here in the terminal",
        "no window: the installed OpenCV is the headless one; the prompts stand here in the "
        "terminal",
    ]


def test_the_terminal_counts_down_in_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    view = TerminalView()
    picture = np.zeros((2, 2, 3), np.uint8)

    def play() -> str:
        view.begin(PROMPT, "1 of 2")
        for left in (1.7, 1.3, 0.9):
            view.wait(None, left)
        view.record(picture, 0.4)
        view.end("7 frames")
        return capsys.readouterr().out

    # In a file, what stays.
    assert play() == "1 of 2: AU26, jaw drop\n  Let your jaw drop.\n  7 frames\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = [line.strip() for line in play().replace("\n", "\r").split("\r") if line.strip()]
    assert shown == [
        *("1 of 2: AU26, jaw drop", "Let your jaw drop."),
        *("recording starts in 2 s", "recording starts in 1 s", "RECORDING, 1 s", "7 frames"),
    ]
