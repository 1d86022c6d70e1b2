"""`frames`: from a video's frame to its row on one core, beside the package fer."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from benchmarks.rounds import Options, report
from emojax.errors import UserError
from emojax.runtime import load
from emojax.runtime.bench import write_moving_face
from emojax.shipped import find_model

_PEER = Path(__file__).with_name("fer_frames.py")


@dataclasses.dataclass(frozen=True)
class FramesOptions(Options):
    """Time each frame of a video of 640 x 480: decode, detect, crop, infer, row.

    `emojax bench` in a process of its own, with a search of every whole frame and with one of ten.
    Beside it, in turns, the package fer: OpenCV's decoding, its Haar cascade, its network.
    """

    rounds: int = 3
    """Timed rounds, after one that is not counted; medians and 99th percentiles over all frames."""
    model: Path | None = None
    """Artifact; unset: the network that comes with emojax."""
    video: Path | None = None
    """Unset: one is made, in which a recorded face moves about."""
    seconds: float = 20.0
    """Length of the video that is made."""
    fer: Path | None = None
    """Python of an environment with `pip install fer==25.10.3 tensorflow-cpu`; unset: no column."""
    core: int | None = None
    """Core of the processor that all run on; unset: the last one there is."""

    QUICK: ClassVar[Mapping[str, Any]] = {"rounds": 1, "seconds": 2.0}


def _ask(command: Sequence[object], name: str) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no reason").splitlines()[-1]
        raise UserError(f"{name} ended with {done.returncode}: {last}")


def time_ours(model: Path, video: Path, core: int, folder: Path) -> dict[str, list[float]]:
    """Return the milliseconds of each frame, by how many frames one is searched whole."""
    out = folder / "ours.json"
    command = [sys.executable, "-m", "emojax", "bench", model, video, "--core", core]
    _ask([*command, "--json", out], "emojax bench")
    found = json.loads(out.read_text(encoding="utf-8"))
    return {
        f"emojax, searches 1 in {key.removeprefix('detect_every_')}": found[key]["milliseconds"][
            "whole"
        ]["all"]
        for key in found
        if key.startswith("detect_every_")
    }


def time_fer(python: Path, video: Path, core: int, folder: Path) -> dict[str, list[float]]:
    """Return the milliseconds of each frame by the package fer."""
    out = folder / "fer.json"
    _ask([python, _PEER, video, core, out], "fer")
    return {"fer, searches 1 in 1": json.loads(out.read_text(encoding="utf-8"))}


def measure(options: FramesOptions) -> dict[str, Any]:
    """Return the figures."""
    options = options.settled()
    core = (os.cpu_count() or 1) - 1 if options.core is None else options.core
    model = find_model(options.model)
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="emojax-frames-") as name:
        folder, video = Path(name), options.video
        if video is None:
            video = folder / "face.mp4"
            write_moving_face(model, video, load(model), options.seconds)
        rounds = range(options.rounds + 1)
        for number in tqdm(rounds, desc="frames", unit="round", disable=None, leave=False):
            found = time_ours(model, video, core, folder)
            if options.fer is not None:
                found |= time_fer(options.fer, video, core, folder)
            for way, milliseconds in found.items() if number else ():
                taken.setdefault(way, []).extend(milliseconds)
    rows = [
        {
            "way": way,
            "frames": len(milliseconds),
            "frames/s": 1e3 / statistics.mean(milliseconds),
            "median ms": statistics.median(milliseconds),
            "p99 ms": float(np.percentile(milliseconds, 99)),
        }
        for way, milliseconds in taken.items()
    ]
    figures = {"table": rows, "core": core, "milliseconds": taken}
    return report(options, "from a video's frame to its row on one core", figures)
