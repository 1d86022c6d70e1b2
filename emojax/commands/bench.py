"""`emojax bench`: how fast an artifact is on this machine, stage by stage."""

from __future__ import annotations

import dataclasses
import platform
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import tqdm
import tyro

from emojax.errors import UserError
from emojax.files import make_place, write_json
from emojax.runtime.quiet import quiet_libraries
from emojax.shipped import find_model

PROGRAM = "emojax bench"

DESCRIPTION = """Time the way from a video to its rows, stage by stage, on this machine.

  emojax bench                             the network that comes with emojax
  emojax bench artifact                    a recorded face that moves over 640 x 480
  emojax bench artifact talk.mp4 --core 0  one's own video, on one core
  emojax bench artifact --draw --json bench.json

Twice: with a search of every whole frame, and with one of ten (`--detect-every`), the
others near where the face was. decode: packets to a gray picture; detect: finding faces;
crop: cutting them; infer: the network; row: ids and cells; draw: boxes and bars. A network for
clips infers at the end of each of its windows, and hears their sound there.
"""


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """What `emojax bench` takes."""

    artifact: tyro.conf.Positional[Path | None] = None
    """Artifact folder, as the export writes it; unset: the network that comes with emojax."""
    video: tyro.conf.Positional[Path | None] = None
    """Video to read; unset: one is made from a recorded face."""
    precision: Literal["float32", "float16", "int8"] | None = None
    """What the network computes in; unset: what the artifact names."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Threads of the processor to use."""
    core: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Run on this core of the processor only; unset: wherever the system likes."""
    detect_every: Annotated[int, tyro.conf.arg(metavar="N")] = 10
    """In the second pass: frames from one search of everything to the next."""
    seconds: float = 20.0
    """Length of the video that is made."""
    draw: bool = False
    """Make annotated pictures too."""
    json: Path | None = None
    """Also write the figures here, with every frame's."""


def bench(options: BenchOptions) -> int:
    """Print the tables, and return the exit status."""
    from emojax.runtime import load_artifact, make_predictor
    from emojax.runtime.bench import peak_memory_mib, pin, time_video, write_moving_face

    for name in ("threads", "detect_every"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {getattr(options, name)}: wanted 1 or more")
    if not 1 <= options.seconds <= 3600:
        raise UserError(f"--seconds {options.seconds}: wanted 1 to 3600")
    if options.json is not None:
        make_place(options.json)
    if options.core is not None:
        pin(options.core)
    cv2.setNumThreads(options.threads)
    artifact = load_artifact(find_model(options.artifact), options.precision)
    predictor = make_predictor(artifact, options.threads)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="emojax-bench-") as folder:
        video = options.video
        if video is None:
            video = Path(folder) / "face.mp4"
            if artifact.clip is not None and not artifact.clip.sees:
                raise UserError(
                    f"{artifact.folder}: this network only listens, and the video that is made "
                    "here is silent: name a VIDEO with sound"
                )
            write_moving_face(artifact.folder, video, predictor, options.seconds)
        print(
            f"{predictor.artifact.precision} by LiteRT, threads: {options.threads}, core: "
            f"{'any' if options.core is None else options.core}, "
            f"{options.video or 'a recorded face that moves over 640 x 480'}"
        )
        if options.video is None and artifact.spec.sound is not None:
            print("without sound: name a VIDEO to time that too")
        for every in dict.fromkeys((1, options.detect_every)):
            with tqdm.tqdm(unit="frame", disable=None, leave=False) as bar:
                timing = time_video(predictor, video, every, options.draw, bar.update)
            figures[f"detect_every_{every}"] = timing.to_dict()
            searched = "every frame" if every == 1 else f"one frame of {every}"
            print(
                f"\n{searched} searched whole: {timing.frames_per_second:.1f} frames/s, "
                f"{timing.faces} faces in {timing.frames} frames"
            )
            print(f"{'ms':8}{'median':>9}{'p90':>9}{'p99':>9}")
            for stage, values in timing.milliseconds.items():
                if values:
                    cells = (timing.percentile(stage, share) for share in (50, 90, 99))
                    print(f"{stage:8}" + "".join(f"{cell:9.2f}" for cell in cells))
    memory = peak_memory_mib()
    if memory is not None:
        print(f"\nmost memory held: {memory:.0f} MiB")
    if options.json is not None:
        training = predictor.artifact.fields.get("training")
        write_json(
            options.json,
            {
                "what": "the way from a video to its rows, by stage",
                "precision": predictor.artifact.precision,
                "model": training.get("model") if isinstance(training, dict) else None,
                "threads": options.threads,
                "core": options.core,
                "machine": platform.machine(),
                "processor": platform.processor() or None,
                "python": platform.python_version(),
                "peak_memory_mib": memory,
                **figures,
            },
        )
        print(f"wrote {options.json}")
    return 0


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status."""
    options = tyro.cli(BenchOptions, prog=PROGRAM, description=DESCRIPTION, args=arguments)
    with quiet_libraries():
        return bench(options)
