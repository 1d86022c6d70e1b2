"""Does `emojax predict` give a row for each frame, at its time?

```
python experiments/frame_counts.py talk.mp4 film.mov group.jpg --model runs/demo/artifact
```

The container is asked packet by packet: those of the first video stream that are to be shown, their
own timestamps in order, against the frames and timestamps of the rows; beside them what the header
says, which often is wrong. A picture has one frame at 0. Ends with 1 where a file differs.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import tyro
from av.stream import Disposition

from emojax.commands.predict import PredictOptions, predict
from emojax.picture import picture_kind

ALLOWED_S = 1e-6
"""The table's times have six digits."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What the script takes."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Videos and pictures."""
    model: Path
    """Artifact folder."""


def packet_times(path: Path) -> tuple[list[float], int]:
    """Return when each packet is shown, in seconds, in order, and how many the header tells of."""
    with path.open("rb") as file:
        if picture_kind(file.read(16)) is not None:
            return [0.0], 1
    with av.open(str(path)) as container:
        stream: Any = next(
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        )
        # Of these the clock starts anywhere.
        free = container.format.name in ("mpegts", "mpeg")
        start_s = (container.start_time or 0) / av.time_base if free else 0.0
        times = [
            float(packet.pts * packet.time_base) - start_s
            for packet in container.demux(stream)
            if packet.pts is not None and not packet.is_discard
        ]
        rate = float(stream.average_rate or 0)
        told = stream.frames or round(rate * (container.duration or 0) / av.time_base)
    return sorted(times), told


def main() -> int:
    """Print a line a file, and return the exit status."""
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        predict(PredictOptions(options.files, options.model, Path(folder), annotate=False))
        with (Path(folder) / "predictions.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    print(
        f"{'file':30} {'header':>7} {'packets':>7} {'frames':>7} {'rows':>7} {'without':>7} max ms"
    )
    status = 0
    for path in options.files:
        mine = [row for row in rows if row["file"] == str(path)]
        frames = {int(row["frame"]): float(row["timestamp"]) for row in mine}
        times, told = packet_times(path)
        same = list(frames) == list(range(len(times)))
        most = max(map(abs, map(float.__sub__, times, frames.values())), default=0.0)
        good = same and most <= ALLOWED_S
        status = status if good else 1
        without = sum(row["success"] == "0" for row in mine)
        print(
            f"{path.name:30} {told:7} {len(times):7} {len(frames):7} {len(mine):7} {without:7} "
            f"{1e3 * most:.3f} {'' if good else 'DIFFERS'}"
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
