"""`video`: `emojax predict` on a very long video, and whether its memory stays flat."""

from __future__ import annotations

import csv
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av

from benchmarks.rounds import Options, report
from emojax.errors import UserError
from emojax.runtime import load
from emojax.runtime.bench import write_moving_face
from emojax.shipped import find_model

_SECONDS, _RATE_HZ = 60, 30


@dataclasses.dataclass(frozen=True)
class VideoOptions(Options):
    """Let a process of its own read a video of 640 x 480 in which a recorded face moves about.

    Its memory is read from outside, once a second: the mean of the first tenth of the time, the
    start-up left out, against that of the last tenth.
    """

    model: Path | None = None
    """Artifact; unset: the network that comes with emojax."""
    frames: int = 100_000
    """Length of the video, at 30 frames a second; rounded up to whole minutes."""
    detect_every: int = 10
    """Frames from one search of everything to the next."""

    QUICK: ClassVar[Mapping[str, Any]] = {"frames": 1}


def repeat_video(once: Path, times: int, path: Path) -> None:
    """Write a video that many times over, its packets copied: nothing is encoded again."""
    with av.open(str(once)) as given, av.open(str(path), "w") as written:
        stream = given.streams.video[0]
        copy = written.add_stream_from_template(stream)
        packets = [
            (bytes(packet), packet.pts, packet.dts, packet.is_keyframe)
            for packet in given.demux(stream)
            # The last one, which ends the stream, is empty.
            if packet.pts is not None and packet.dts is not None
        ]
        base = stream.time_base or Fraction(1, _RATE_HZ)
        length = round(Fraction(_SECONDS) / base)
        for turn in range(times):
            for content, pts, dts, is_key in packets:
                packet = av.Packet(content)
                packet.stream, packet.time_base = copy, base
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                packet.is_keyframe = is_key
                written.mux(packet)


def resident_bytes(process: int) -> int | None:
    """Return the memory that a process holds, None where it is gone."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(options: VideoOptions) -> dict[str, Any]:
    """Return the figures."""
    options = options.settled()
    if not Path("/proc/self/statm").exists():
        raise UserError("video: needs /proc, as Linux has it, to see a process's memory")
    turns = -(-options.frames // (_SECONDS * _RATE_HZ))
    frames = turns * _SECONDS * _RATE_HZ
    folder = find_model(options.model)
    with tempfile.TemporaryDirectory(prefix="emojax-video-") as name:
        once, path, out = Path(name) / "once.mp4", Path(name) / "long.mp4", Path(name) / "out"
        write_moving_face(folder, once, load(folder), _SECONDS)
        repeat_video(once, turns, path)
        command = [sys.executable, "-m", "emojax", "predict", str(path), "--no-annotate"]
        command += ["--model", str(folder), "--out", str(out)]
        command += ["--detect-every", str(options.detect_every)]
        started, readings = time.monotonic(), []
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
            while running.poll() is None:
                time.sleep(1)
                held = resident_bytes(running.pid)
                if held:
                    readings.append(held / 2**20)
        seconds = time.monotonic() - started
        if running.returncode:
            raise UserError(f"emojax predict ended with {running.returncode}")
        with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
            seen = [int(row["frame"]) for row in csv.DictReader(file)]
    # Libraries are loaded, and the first frames searched, in the first seconds.
    settled = readings[min(5, len(readings) // 10) :] or [float("nan")]
    tenth = max(1, len(settled) // 10)
    first, last = (statistics.mean(part) for part in (settled[:tenth], settled[-tenth:]))
    row = {
        "frames": frames,
        "frames with a row": len(set(seen)),
        "rows": len(seen),
        "frames/s": frames / seconds,
        "first tenth MiB": first,
        "last tenth MiB": last,
        "last / first": last / first,
    }
    figures = {"table": [row], "mebibytes": readings}
    return report(options, "memory of emojax predict through a very long video", figures)
