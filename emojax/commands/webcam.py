"""`emojax webcam`: the live view of a camera."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from pathlib import Path
from typing import Annotated, Literal

import cv2
import tyro

from emojax.camera import CameraLostError
from emojax.errors import UserError, one_line
from emojax.runtime.looking import Looking
from emojax.runtime.quiet import quiet_libraries

PROGRAM = "emojax webcam"

DESCRIPTION = """Show what a camera sees, with a bar for each action unit and emotion.

  emojax webcam                                        with the network that comes with emojax
  emojax webcam 1 --model artifact --smooth 0.3        (the second camera)
  emojax webcam talk.mp4                               (a video in a camera's place)

In a window where the installed OpenCV has one (opencv-python; the usual headless one has none),
else on a page that only this machine can open, at the address that is printed.

Keys, and buttons on the page: v the camera; p a picture instead, which stops the camera (the
window asks for its path in the terminal); r begins and ends a recording, OUT/webcam-DATE.mp4 with
its rows in OUT/webcam-DATE.csv; g gray or colour; q quits.

Ends with 0; with 1 when the camera was pulled out; with 2 when there is none, or the disk is
full; with 130 after Ctrl-C. What was recorded until then is whole, on a full disk but for
its last second. Nothing leaves the machine.
"""


@dataclasses.dataclass(frozen=True)
class WebcamOptions:
    """What `emojax webcam` takes."""

    camera: tyro.conf.Positional[str] = "0"
    """Number of the camera; or a video file in its place, to try it."""
    model: Path | None = None
    """Artifact folder of a network for pictures, as the export writes it: spec.json and what it
    names. Unset: the network for faces that comes with emojax, seven emotions, no action units."""
    out: Path = Path("recordings")
    """Folder of what is recorded; made when the first recording begins."""
    window: bool = True
    """Use a window where there can be one; otherwise, or with --no-window, the page."""
    port: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Where the page listens on 127.0.0.1; 0: any free port."""
    precision: Literal["float32", "float16", "int8"] | None = None
    """What the network computes in; unset: what the artifact names."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Threads of the processor to use."""
    detect_every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Search one whole frame of so many for faces, and look near where they were in the others."""
    smooth: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.0
    """Average a face's probabilities over about so long; 0 leaves them as they are."""


def _complain(message: str) -> None:
    print(f"{PROGRAM}: error: {one_line(message)}", file=sys.stderr)


def webcam(options: WebcamOptions) -> int:
    """Show the live view, and return the exit status.

    Raises:
        UserError: no camera, no artifact, or a port that is taken.
    """
    from emojax.app.live import Live
    from emojax.app.page import PageScreen
    from emojax.app.screen import WindowScreen
    from emojax.runtime import load
    from emojax.window import Window, why_no_window

    for name in ("threads", "detect_every"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {getattr(options, name)}: wanted 1 or more")
    if not 0 <= options.smooth < math.inf:
        raise UserError(f"--smooth {options.smooth}: wanted seconds, 0 or more")
    if not 0 <= options.port <= 65535:
        raise UserError(f"--port {options.port}: wanted 0..65535")
    cv2.setNumThreads(options.threads)
    predictor = load(options.model, options.threads, options.precision)
    if predictor.artifact.notice:
        print(f"note: {predictor.artifact.notice}")
    with contextlib.ExitStack() as opened:
        missing = why_no_window(PROGRAM) if options.window else None
        if options.window and missing is None:
            window = Window(PROGRAM)
            opened.callback(window.close)
            screen = WindowScreen(window, _complain, input)
        else:
            screen = opened.enter_context(PageScreen(options.port))
            why = f"no window ({missing}): " if missing else ""
            print(f"{why}open  {screen.url}  in a browser of this machine")
        print("Ctrl-C ends it.", flush=True)
        live = Live(
            predictor=predictor,
            screen=screen,
            camera=options.camera,
            out=options.out,
            say=print,
            looking=Looking(detect_every=options.detect_every, smooth_s=options.smooth),
            hint=screen.hint,
        )
        try:
            live.run()
        except CameraLostError as error:
            _complain(str(error))
            return 1
    return 0


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status."""
    options = tyro.cli(WebcamOptions, prog=PROGRAM, description=DESCRIPTION, args=arguments)
    with quiet_libraries():
        return webcam(options)
