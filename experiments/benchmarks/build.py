"""`build`: `emojax data build` beside a bare loop that only decodes and detects."""

from __future__ import annotations

import csv
import dataclasses
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from benchmarks.rounds import Options, median, report, speed_ratio, time_ways
from emojax.clip import equally_spaced
from emojax.data.examples import CLIP_FRAMES
from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import make_scene
from emojax.data.synthetic.expressions import sample_emotion
from emojax.data.synthetic.files import write_avi
from emojax.data.synthetic.people import make_person
from emojax.errors import UserError
from emojax.face import HaarDetector
from emojax.following import make_follower
from emojax.picture import to_gray
from emojax.video import read_frames


@dataclasses.dataclass(frozen=True)
class BuildOptions(Options):
    """Time the build of a data set against a bare loop that only decodes and detects.

    The limit is what nothing can do without: decode each clip, find the face in the frames
    that are kept, with OpenCV at one thread. Beside it stand the same loop in two processes
    at once (what this machine gives to two), the loops looking near the last face first, as a
    build does, and the whole command `emojax data build` with one and with two workers, its start
    and its packing included.
    """

    clips: int = 120
    """Clips of the set; each drawn one comes many times, under names of its own."""
    source: Path | None = None
    """Folder of clips to take instead of drawn ones, such as CREMA-D's VideoFlash."""
    rounds: int = 3
    """Rounds; the median of their ratios is the result."""
    memory: bool = False
    """Compare the peak memory of builds of 200 and of 2,000 clips instead (faces ready cut, so that
    it is over soon)."""

    QUICK: ClassVar[Mapping[str, Any]] = {"clips": 10, "rounds": 1}

    def __post_init__(self) -> None:
        """Refuse fewer clips than splits need people."""
        super().__post_init__()
        if self.clips < 10:
            raise UserError(f"clips={self.clips}: wanted 10 or more")


def draw_clips(folder: Path, count: int) -> list[Path]:
    """Return drawn clips of 2.4 s, 25 frames a second."""
    paths = []
    for index in range(count):
        rng = np.random.default_rng(index)
        expression = sample_emotion(rng, "happiness")
        timeline = make_timeline(rng, expression.intensities, CLIP_FRAMES)
        path = folder / f"drawn{index}.avi"
        frames = render_clip(make_person(0, index), timeline, make_scene(rng, "S1"), rng)
        write_avi(path, frames, 25)
        paths.append(path)
    return paths


def noisy_clips(folder: Path, count: int) -> list[Path]:
    """Return small clips of noise in a face's format, for builds that look for no face."""
    paths = []
    for index in range(count):
        rng = np.random.default_rng(index)
        frames = rng.integers(0, 256, (CLIP_FRAMES, 98, 80, 3)).astype(np.uint8)
        path = folder / f"noise{index}.avi"
        write_avi(path, iter(frames), 25)
        paths.append(path)
    return paths


def write_set(folder: Path, originals: Sequence[Path], count: int) -> list[Path]:
    """Return the clips of a set, beside its `manifest.csv`: links to a few originals."""
    folder.mkdir()
    paths = [folder / f"{index:05d}{originals[0].suffix}" for index in range(count)]
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "emotion"])
        for index, path in enumerate(paths):
            os.link(originals[index % len(originals)], path)
            writer.writerow([path.name, f"P{index % 10}", "happiness"])
    return paths


def bare_loop(paths: Sequence[Path], follow: bool) -> None:
    """Decode each clip, keep its gray frames, and find the faces in those that count."""
    cv2.setNumThreads(1)
    detect = HaarDetector()
    for path in paths:
        grays = [to_gray(frame.picture) for frame in read_frames(path)]
        find = make_follower(detect) if follow else detect
        for index in equally_spaced(len(grays), CLIP_FRAMES):
            find(grays[index])


def run_loops(paths: Sequence[Path], processes: int, *, follow: bool = False) -> None:
    """Run the bare loop, shared out to so many processes that are started for it."""
    context = multiprocessing.get_context("spawn")
    loops = [
        context.Process(target=bare_loop, args=(paths[number::processes], follow))
        for number in range(processes)
    ]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()


def run_build(folder: Path, out: Path, workers: int, *words: str) -> int:
    """Run a build command and return the peak memory in bytes of its largest process."""
    command = [sys.executable, "-m", "emojax", "data", "build", "manifest", "--source", str(folder)]
    build = subprocess.Popen(
        [*command, "--out", str(out), "--workers", str(workers), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert build.stderr is not None
    said = build.stderr.read()
    _, status, usage = os.wait4(build.pid, 0)
    build.returncode = os.waitstatus_to_exitcode(status)
    build.stderr.close()
    if build.returncode:
        raise UserError(f"the build failed: {said.decode(errors='replace')[-300:]}")
    shutil.rmtree(out)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_speed(options: BuildOptions, folder: Path) -> dict[str, Any]:
    """Return the seconds of each way in each round, and the medians of their ratios."""
    if options.source is None:
        originals = draw_clips(folder, min(8, options.clips))
    else:
        originals = sorted(path for path in options.source.iterdir() if path.is_file())
        for path in originals:
            shutil.copy(path, folder)
        originals = [folder / path.name for path in originals]
    paths = write_set(folder / "set", originals, options.clips)
    ways: dict[str, Callable[[], object]] = {
        "loop": lambda: run_loops(paths, 1),
        "two loops at once": lambda: run_loops(paths, 2),
        "loop that follows": lambda: run_loops(paths, 1, follow=True),
        "two that follow": lambda: run_loops(paths, 2, follow=True),
        "build, 1 worker": lambda: run_build(folder / "set", folder / "out", 1),
        "build, 2 workers": lambda: run_build(folder / "set", folder / "out", 2),
    }
    times = time_ways(ways, options.rounds, "build")
    table = [
        {
            "way": way,
            "seconds": median(times, way),
            "frames/s": CLIP_FRAMES * len(paths) / median(times, way),
            "of one loop's speed": speed_ratio(times, way, "loop"),
            "of two loops'": speed_ratio(times, way, "two loops at once"),
            "of one that follows": speed_ratio(times, way, "loop that follows"),
        }
        for way in ways
    ]
    return {"table": table, "seconds": times}


def measure_memory(folder: Path) -> dict[str, Any]:
    """Return the peak memory of builds of 200 and of 2,000 clips."""
    originals = noisy_clips(folder, 4)
    table = []
    for count in (200, 2000):
        write_set(folder / f"set{count}", originals, count)
        peak = run_build(folder / f"set{count}", folder / "out", 2, "--faces", "ready")
        first = table[0]["peak MiB"] if table else peak / 2**20
        table.append(
            {"clips": count, "peak MiB": peak / 2**20, "of the first": peak / 2**20 / first}
        )
    return {"table": table}


def measure(options: BuildOptions) -> dict[str, Any]:
    """Return the figures of the builds."""
    options = options.settled()
    with tempfile.TemporaryDirectory(prefix="emojax-build-") as name:
        folder = Path(name)
        figures = measure_memory(folder) if options.memory else measure_speed(options, folder)
    return report(options, "a data set's build against a bare loop, or its peak memory", figures)
