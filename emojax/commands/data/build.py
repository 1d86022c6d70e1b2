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
    build is done once: run again, it is found and reused; one that was stopped
    goes on from what it had finished.

    `emojax data build synthetic` needs nothing else. One's own files:
    `emojax data build manifest --source my/manifest.csv --out data/mine`.
    A manifest is a CSV with the columns path and subject, and any of: emotion,
    AU01 .. AU26 (1, 0 or empty), AU01_i (intensity 0..1), AU01_confidence,
    emotion_confidence, level, domain, split, audio_path, spectrogram_path, start_s,
    end_s. A row is a picture or a clip, or a sound alone; the sound is the clip's own,
    or that of the file under audio_path.

    Data sets as their owners publish them: `emojax data build fer2013 --source fer2013/`,
    and likewise ck_plus, crema_d, disfa, mmi, ravdess; docs/data.md says where each is
    given out and how its folder has to look.
    """

    name: tyro.conf.Positional[
        Literal[
            "synthetic",
            "synthetic-clips",
            "manifest",
            "ck_plus",
            "crema_d",
            "disfa",
            "fer2013",
            "mmi",
            "ravdess",
        ]
    ]
    """What to build: drawn faces, drawn people who talk (six emotions, with sound), one's own
    files named in a CSV, or a data set as its owner publishes it."""
    source: Path | None = None
    """The manifest or the folder with manifest.csv in it, or the folder of the data set as its
    owner gives it out. Not for the synthetic ones."""
    out: Path | None = None
    """Folder to write; data/NAME if not given. An older build there is replaced, with what
    inspect and verify put beside it; a folder with anything else in it is left alone."""
    workers: int = 1
    """Processes that find faces; the result is the same for any number. A file that crashes its
    decoder costs that file; 0 works without a process of its own, and without that guard."""
    seed: int = 0
    """0 .. 4294967295; draws the splits where the source gives none, and the synthetic people."""
    emotions: Literal["seven", "crema6", "ck8", "ravdess8"] | None = None
    """Which emotions the labels hold; others in the source become unknown, and are counted.
    Unset: the data set's own."""
    sound: Literal["none", "log_mel", "speech", "narrow", "wide", "thesis"] | None = None
    """Keep the sound of clips, as a spectrogram of this kind. Unset: log_mel where the data set
    has sound, none for a manifest. speech: as `voices`, which comes with emojax, hears it. Narrow
    and wide band, and what the thesis's code does, are its chapter 4.1. Of a sound that is longer
    all but thesis keep the first 3 s; start_s and end_s in a manifest choose another part."""
    clips: bool = False
    """Keep whole clips of mmi, with its sessions that have only an emotion, not single frames."""
    clip_frames: int | None = None
    """Crops that a clip keeps at most, equally spaced. Unset: 60, and 40 for synthetic-clips."""
    equalise: bool = False
    """Equalise each crop's histogram, as the thesis's application does."""
    faces: Literal["detect", "ready"] | None = None
    """`ready`: the pictures are faces already cut, look for none. Unset: as the data set is."""
    own_groups: bool = False
    """The people are not known: take each file of a manifest as a person of its own. Files with
    the same bytes stand in one split; the same person on two pictures is not found."""
    beam: str | None = None
    """Do the work on an Apache Beam runner, by its own flags in one string, such as
    'runner=DirectRunner direct_num_workers=2 direct_running_mode=multi_processing'; needs
    emojax[beam], and a source and output folder that all workers see. See docs/data.md."""
    size: SetSize = dataclasses.field(default_factory=SetSize)
    """How much is drawn, for synthetic and synthetic-clips only."""


def run(command: Build) -> int:
    """Build, say what was kept and left out, and return the exit status."""
    from emojax.data.build import build_dataset
    from emojax.data.shards import dataset_info

    if command.size != SetSize() and not command.name.startswith("synthetic"):
        raise UserError(f"--size belongs to `build synthetic`: {command.name} has the size it has")
    # The builders of these say more about it.
    if command.clips and command.name not in ("mmi", "ck_plus", "disfa"):
        raise UserError(f"--clips belongs to `build mmi`: {command.name} is built in one way")
    if command.own_groups and command.name != "manifest":
        raise UserError(
            f"--own-groups belongs to `build manifest`: {command.name} has the people it has"
        )
    out = build_dataset(
        "synthetic" if command.name == "synthetic-clips" else command.name,
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
    from emojax.data.build import BuildOptions, default_spec
    from emojax.data.find import DRAWN

    own = DRAWN.get(command.name, BuildOptions())
    spec = own.input_spec or default_spec(command.name)
    spec = spec.replace(equalise=command.equalise)
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
        clips=command.clips,
        beam=command.beam,
        size=dataclasses.replace(own.size, **sizes),
        retry=True,
        clip_frames=own.clip_frames if command.clip_frames is None else command.clip_frames,
    )
