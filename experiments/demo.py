"""The whole way in one go: draw faces, train, report, export, and read pictures and a video.

What `make demo` runs. Everything lands in one folder; run again, it goes on
where it was stopped and does nothing twice. Faces are drawn, so that nothing
has to be downloaded: what the network says about real faces means nothing yet.

Examples:
  python experiments/demo.py
  python experiments/demo.py --short
  python experiments/demo.py --also me.jpg talk.mp4
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
import tyro
from presets import PRESETS

from emojax.cli import run_guarded
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import make_scene, render
from emojax.data.synthetic.expressions import sample_expression
from emojax.data.synthetic.files import write_flv, write_png
from emojax.data.synthetic.layouts import SetSize
from emojax.data.synthetic.people import make_person
from emojax.data.synthetic.voice import SAMPLE_RATE_HZ, make_voice
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.export_run import export_run
from emojax.report import terminal_table, write_report
from emojax.stopping import StopTraining

# Another seed than the set's: nobody in the demo's own pictures was trained on.
STRANGERS = 4711
PAIR = ((0, "happiness"), (2, "anger"))
CLIP = ("happiness", "fear", "disgust")
FRAMES_PER_SECOND = 25


@dataclasses.dataclass(frozen=True)
class DemoOptions:
    """How much, and where."""

    out: Path | None = None
    """Folder for everything; unset: runs/demo, or runs/demo-short."""
    short: bool = False
    """A minute or two instead of several: few people, poor figures. Shows that all parts run."""
    fresh: bool = False
    """Train anew, instead of going on with the demo's last run."""
    also: tuple[Path, ...] = ()
    """Your own pictures, videos or folders to read with the network too."""
    workers: int = os.cpu_count() or 1
    """Processes that draw and find faces."""


def draw_pair(path: Path) -> None:
    """Write a picture of two drawn people side by side, each with an emotion."""
    parts = []
    for index, emotion in PAIR:
        rng = np.random.default_rng((STRANGERS, index))
        expression = sample_expression(rng, emotion)
        strong = tuple(0.85 if value else 0.0 for value in expression.intensities)
        face = render(make_person(STRANGERS, index), strong, make_scene(rng, "S1"), rng)
        parts.append(cv2.resize(face, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
    write_png(path, np.concatenate(parts, axis=1))


def draw_clip(path: Path, seconds_each: float = 2.0) -> None:
    """Write a film with sound: one drawn person goes through some emotions and back."""
    rng = np.random.default_rng((STRANGERS, 99))
    person, scene = make_person(STRANGERS, 5), make_scene(rng, "S1")
    peaks = [
        tuple(0.9 if value else 0.0 for value in sample_expression(rng, emotion).intensities)
        for emotion in CLIP
    ]

    def frames() -> Iterator[np.ndarray]:
        for peak in peaks:
            count = round(seconds_each * FRAMES_PER_SECOND)
            timeline = make_timeline(rng, peak, count, returns=True)
            for picture in render_clip(person, timeline, scene, rng):
                yield cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)

    voices = np.random.default_rng((STRANGERS, 100))
    sound = np.concatenate([make_voice(voices, person, name, seconds_each) for name in CLIP])
    write_flv(path, frames(), Fraction(FRAMES_PER_SECOND), sound, SAMPLE_RATE_HZ)


def write_photograph(path: Path) -> bool:
    """Write a real photograph, if scikit-image (which carries one) is installed."""
    try:
        from skimage import data
    except ModuleNotFoundError:
        return False
    # Eileen Collins, NASA; public domain.
    write_png(path, np.ascontiguousarray(data.astronaut()[..., ::-1]))
    return True


def read_with_artifact(paths: Sequence[Path], artifact: Path, out: Path) -> int:
    """Run `emojax predict` as a person would, in a process of its own; return its status."""
    command = [sys.executable, "-m", "emojax", "predict", *map(str, paths)]
    return subprocess.run([*command, "--model", str(artifact), "--out", str(out)]).returncode


def _say(started: float, what: str) -> None:
    print(f"\n[{time.monotonic() - started:4.0f} s] {what}", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run all of it; return the exit status."""
    options = tyro.cli(DemoOptions, args=list(arguments), description=__doc__)
    missing = [path for path in options.also if not path.exists()]
    if missing:
        raise UserError(f"{missing[0]}: no such file or folder: check what follows --also")
    name = "demo-short" if options.short else "demo"
    out = options.out or Path("runs") / name
    started = time.monotonic()
    size = SetSize(train=24, validation=4, test=6, pictures=4) if options.short else SetSize()
    _say(started, f"1/4 faces: {size.people} people are drawn, found and cut")
    data = build_dataset(
        "synthetic",
        out=Path("data") / ("synthetic-short" if options.short else "synthetic"),
        options=BuildOptions(workers=options.workers, size=size),
    )
    config = PRESETS["ar1"]
    if options.short:
        config = dataclasses.replace(config, epochs=15, batch_size=16)
    _say(started, f"2/4 training: {config.model}, {config.epochs} epochs")
    run = out / "run"
    try:
        results = train_run(config, run, data, fresh=options.fresh)
    except StopTraining as stop:
        print(f"{stop}: the same command goes on from there", file=sys.stderr)
        return 128 + stop.number
    _say(started, "3/4 export: the network for LiteRT, compared with Flax")
    artifact = out / "artifact"
    agreement = export_run(run, artifact)["files"]["float32"]["agreement"]
    print(f"agrees to {agreement['largest_difference']:.1e} on {agreement['examples']} faces")
    _say(started, "4/4 reading: pictures and a video that the network has never seen")
    inputs = out / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    draw_pair(inputs / "pair.png")
    draw_clip(inputs / "clip.flv")
    write_photograph(inputs / "photograph.png")
    predictions = out / "predictions"
    status = read_with_artifact([inputs, *options.also], artifact, predictions)
    if status == 2:
        return status
    annotated = predictions / "annotated"
    shown = [
        ("Two drawn people, read by the exported network", annotated / "pair.png"),
        ("A real photograph, read by a network that only knows drawings",
         annotated / "photograph.png"),
    ]  # fmt: skip
    pictures = [(caption, path) for caption, path in shown if path.exists()]
    report = write_report(run, results, pictures)
    shutil.copy(report, out / "report.html")
    _say(started, "done. Figures on people who were never trained on:")
    print(terminal_table(results))
    print("\nWrote:")
    for what, path in (
        ("report page", out / "report.html"),
        ("curves", run / "curves.png"),
        ("confusion matrix", run / "confusion.png"),
        ("artifact", artifact),
        ("annotated picture", annotated / "pair.png"),
        ("annotated video", annotated / "clip.mp4"),
        ("table", predictions / "predictions.csv"),
    ):
        if not path.exists():
            raise FileNotFoundError(f"the demo should have written {path}")
        print(f"  {what:18} {path}")
    print(f"\nYour own: .venv/bin/emojax predict PICTURE_OR_VIDEO --model {artifact}")
    return status


if __name__ == "__main__":
    sys.exit(run_guarded("demo.py", lambda: main(sys.argv[1:])))
