"""`emojax data build`: a data set made into shards."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from emojax.audio import PRESETS
from emojax.data.synthetic.layouts import SetSize
from emojax.errors import UserError
from emojax.labels import emotion_names

if TYPE_CHECKING:
    from emojax.data.build import BuildOptions


@dataclasses.dataclass(frozen=True)
class Build:
    """Build a data set into shards: faces found, cut to 98 x 80, packed with their labels.

    People never cross splits: they stand as the source's column `split` says,
    otherwise 70% train, 15% validation, 15% test, drawn by person. The same
    build is done once: run again, it is found and reused.

    `emojax data build synthetic` needs nothing else. One's own files:
    `emojax data build manifest --source my/manifest.csv --out data/mine`.
    A manifest is a CSV with the columns path and subject, and any of: emotion,
    AU01 .. AU26 (1, 0 or empty), AU01_i (intensity 0..1), AU01_confidence,
    emotion_confidence, domain, split, audio_path, start_s, end_s. A row is a picture
    or a clip; the sound is the clip's own, or that of the file under audio_path.
    """

    name: tyro.conf.Positional[Literal["synthetic", "synthetic-clips", "manifest"]]
    """What to build: drawn faces, drawn people who talk (six emotions, with sound), or one's
    own files named in a CSV."""
    source: Path | None = None
    """The manifest, or the folder with manifest.csv in it. Not for synthetic."""
    out: Path | None = None
    """Folder to write; data/NAME if not given. An older build there is replaced."""
    workers: int = 1
    """Processes that find faces; the result is the same for any number."""
    seed: int = 0
    """Draws the splits where the source gives none, and the synthetic people."""
    emotions: Literal["seven", "crema6", "ck8", "ravdess8"] | None = None
    """Which emotions the labels hold; others in the source become unknown, and are counted.
    Unset: seven, and crema6 for synthetic-clips."""
    sound: Literal["none", "log_mel", "narrow", "wide", "thesis"] | None = None
    """Keep the sound of clips, as a spectrogram of this kind. Unset: none, and log_mel for
    synthetic-clips. Narrow and wide band, and what the thesis's code does, are its chapter 4.1."""
    clip_frames: int | None = None
    """Crops that a clip keeps at most, equally spaced. Unset: 60, and 40 for synthetic-clips."""
    equalise: bool = False
    """Equalise each crop's histogram, as the thesis's application does."""
    faces: Literal["detect", "ready"] = "detect"
    """`ready`: the pictures are faces already cut, look for none."""
    own_groups: bool = False
    """The people are not known: take each file as a person of its own."""
    size: SetSize = dataclasses.field(default_factory=SetSize)
    """How much is drawn, for synthetic and synthetic-clips only."""


def run(command: Build) -> int:
    """Build, say what was kept and left out, and return the exit status."""
    from emojax.data.build import build_dataset
    from emojax.data.shards import dataset_info

    if command.size != SetSize() and command.name == "manifest":
        raise UserError("--size belongs to `build synthetic`: a manifest has the size it has")
    out = build_dataset(
        "manifest" if command.name == "manifest" else "synthetic",
        source=command.source,
        out=command.out or Path("data") / command.name,
        options=_options(command),
    )
    report = dataset_info(out).report
    for note in report["notes"]:
        print(f"note: {note}")
    for split in sorted(report["splits"]):
        counts = report["splits"][split]
        print(f"  {split:10}  {counts['examples']:6} examples of {len(counts['people'])} people")
    reasons = ", ".join(f"{count} {reason}" for reason, count in report["left_out"].items())
    print(
        f"{out}: {report['examples_kept']} of {report['rows_read']} files kept"
        + (f"; left out: {reasons} (each named in {out / 'report.json'})" if reasons else "")
    )
    return 0


def _options(command: Build) -> BuildOptions:
    """Return how to build: what is set, over what the set has when nothing is said."""
    from emojax.data.build import BuildOptions
    from emojax.data.find import DRAWN

    own = DRAWN.get(command.name, BuildOptions())
    spec = own.input_spec.replace(equalise=command.equalise)
    if command.emotions is not None:
        spec = spec.replace(emotions=emotion_names(command.emotions))
    if command.sound is not None:
        spec = spec.replace(sound=PRESETS.get(command.sound))
    sizes = {
        name: value
        for name, value in dataclasses.asdict(command.size).items()
        if value != getattr(SetSize(), name)
    }
    return dataclasses.replace(
        own,
        input_spec=spec,
        workers=command.workers,
        seed=command.seed,
        faces=command.faces,
        own_groups=command.own_groups,
        size=dataclasses.replace(own.size, **sizes),
        clip_frames=command.clip_frames or own.clip_frames,
    )
