"""Time the build of a data set against a bare loop that only decodes and detects, in one run.

The limit is what nothing can do without: decode each clip, find the face in the frames
that are kept, with OpenCV at one thread. Beside it stand the same loop in two processes
at once (what this machine gives to two), and the whole command `emojax data build` with
one and with two workers, its start and its packing included. Rounds alternate, so that a
busy machine slows all alike.

`--memory` compares the peak memory of builds of 200 and of 2,000 clips instead (faces
ready cut, so that it is over soon).

Examples:
  python experiments/benchmark_build.py
  python experiments/benchmark_build.py --clips=40 --rounds=1
  python experiments/benchmark_build.py --memory --out=experiments/results/build_memory.json
"""

from __future__ import annotations

import csv
import dataclasses
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import tyro
from tqdm import tqdm

from emojax.cli import run_guarded
from emojax.data.examples import CLIP_FRAMES
from emojax.data.frames import equally_spaced
from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import make_scene
from emojax.data.synthetic.expressions import sample_emotion
from emojax.data.synthetic.files import write_avi
from emojax.data.synthetic.people import make_person
from emojax.errors import UserError
from emojax.face import HaarDetector
from emojax.files import write_json
from emojax.picture import to_gray
from emojax.run import provenance
from emojax.video import read_frames


@dataclasses.dataclass(frozen=True)
class BuildBenchmark:
    """What is built, and how often."""

    clips: int = 120
    """Clips of the set; each drawn one comes many times, under names of its own."""
    source: Path | None = None
    """Folder of clips to take instead of drawn ones, such as CREMA-D's VideoFlash."""
    rounds: int = 3
    """Rounds; the median of their ratios is the result."""
    memory: bool = False
    """Compare peak memory at 200 and 2,000 clips instead of times."""
    out: Path | None = None
    """Also write the figures here, as JSON."""

    def __post_init__(self) -> None:
        """Refuse fewer clips than splits need people."""
        if self.clips < 10 or self.rounds < 1:
            raise UserError("wanted 10 clips or more, and 1 round or more")


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


def bare_loop(paths: Sequence[Path]) -> None:
    """Decode each clip, keep its gray frames, and find the faces in those that count."""
    cv2.setNumThreads(1)
    detect = HaarDetector()
    for path in paths:
        grays = [to_gray(frame.picture) for frame in read_frames(path)]
        for index in equally_spaced(len(grays), CLIP_FRAMES):
            detect(grays[index])


def time_loops(paths: Sequence[Path], processes: int) -> float:
    """Return the seconds of the bare loop, shared out to so many processes started for it."""
    context = multiprocessing.get_context("spawn")
    loops = [
        context.Process(target=bare_loop, args=(paths[number::processes],))
        for number in range(processes)
    ]
    started = time.perf_counter()
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    return time.perf_counter() - started


def time_build(folder: Path, out: Path, workers: int, *words: str) -> tuple[float, int]:
    """Return a build command's seconds, and the peak memory in bytes of its largest process."""
    command = [sys.executable, "-m", "emojax", "data", "build", "manifest", "--source", str(folder)]
    started = time.perf_counter()
    build = subprocess.Popen(
        [*command, "--out", str(out), "--workers", str(workers), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert build.stderr is not None
    said = build.stderr.read()
    _, status, usage = os.wait4(build.pid, 0)
    seconds = time.perf_counter() - started
    build.returncode = os.waitstatus_to_exitcode(status)
    build.stderr.close()
    if build.returncode:
        raise UserError(f"the build failed: {said.decode(errors='replace')[-300:]}")
    shutil.rmtree(out)
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_speed(options: BuildBenchmark, folder: Path) -> dict[str, object]:
    """Return the seconds of each way in each round, and the medians of their ratios."""
    if options.source is None:
        originals = draw_clips(folder, min(8, options.clips))
    else:
        originals = sorted(path for path in options.source.iterdir() if path.is_file())
        for path in originals:
            shutil.copy(path, folder)
        originals = [folder / path.name for path in originals]
    paths = write_set(folder / "set", originals, options.clips)
    rounds = []
    for _ in tqdm(range(options.rounds), desc="rounds", disable=None):
        row = {f"loop_{count}": time_loops(paths, count) for count in (1, 2)}
        for workers in (1, 2):
            row[f"build_{workers}"], _ = time_build(folder / "set", folder / "out", workers)
        rounds.append(row)

    def median(ratio: str, over: str) -> float:
        return statistics.median(row[over] / row[ratio] for row in rounds)

    ratios = {
        "build, 1 worker / loop": median("build_1", "loop_1"),
        "build, 2 workers / loop": median("build_2", "loop_1"),
        "two loops at once / loop": median("loop_2", "loop_1"),
        "build, 2 workers / two loops at once": median("build_2", "loop_2"),
    }
    for name, ratio in ratios.items():
        print(f"{name:38}  {ratio:.2f} of its speed")
    print(f"loop: {CLIP_FRAMES * len(paths) / rounds[0]['loop_1']:.0f} frames a second")
    return {"clips": len(paths), "rounds": rounds, "ratios": ratios}


def measure_memory(folder: Path) -> dict[str, object]:
    """Return the peak memory of builds of 200 and of 2,000 clips, in bytes."""
    originals = noisy_clips(folder, 4)
    peaks = {}
    for count in (200, 2000):
        write_set(folder / f"set{count}", originals, count)
        _, peak = time_build(folder / f"set{count}", folder / "out", 2, "--faces", "ready")
        peaks[count] = peak
        print(f"{count:5} clips: {peak / 2**20:.0f} MiB")
    print(f"ratio {peaks[2000] / peaks[200]:.3f}")
    return {"peak_bytes": peaks, "ratio": peaks[2000] / peaks[200]}


def main() -> int:
    """Measure, print, and return the exit status."""
    options = tyro.cli(BuildBenchmark, description=__doc__, prog="experiments/benchmark_build.py")
    with tempfile.TemporaryDirectory(prefix="emojax-build-") as name:
        folder = Path(name)
        figures = measure_memory(folder) if options.memory else measure_speed(options, folder)
    figures["provenance"] = provenance()
    if options.out is not None:
        write_json(options.out, json.loads(json.dumps(figures)))
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("experiments/benchmark_build.py", main))
