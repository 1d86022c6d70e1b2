"""What the tables are made of: data that was given, and people who are drawn in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from emojax.audio import PRESETS as SPECTROGRAMS
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.crema_d_votes import read_votes
from emojax.data.find import DRAWN, find_dataset, shards_of
from emojax.data.shards import dataset_info
from emojax.data.synthetic.layouts import SetSize
from emojax.errors import UserError
from emojax.spec import InputSpec
from emojax.tables import published
from emojax.tables.clip_tables import VOTES
from emojax.tables.clips import has_faces

ON_PICTURES = (*published.EMOTION_TABLES, *published.UNIT_TABLES, "6.7", "cross", "times")
ON_CLIPS = ("6.8", "modalities")
ON_VOTES = ("6.9", "voices")

# What a small setting draws.
SMALL_PICTURES = SetSize(train=16, validation=6, test=16, pictures=4)
SMALL_CLIPS = SetSize(
    train=9, validation=1, test=2, pictures=0, clips=6, frames_per_second=8,
    clip_emotions="crema6",
)  # fmt: skip
# Other people, in the studio alone: where a network of one drawn set is taken to another.
STUDIO = SetSize(domains=("S1",))
# As many pictures to train on as the other set has, or the two differ in more than the domain.
SMALL_STUDIO = SetSize(train=16, validation=6, test=8, pictures=16, domains=("S1",))


@dataclasses.dataclass(frozen=True)
class Given:
    """What there is to work on."""

    pictures: tuple[Path, ...]
    clips: tuple[Path, ...]
    """With faces, whether or not they have sound."""
    clips_for: tuple[str, ...]
    """Tables, of `ON_CLIPS`, for which networks are trained on them."""
    voices: tuple[Path, ...]
    """Sound alone."""
    votes: Path | None
    studio: Path | None
    """Drawn for `cross` alone, where no pictures were given."""


def _draw_pictures(small: bool, workers: int) -> Path:
    if not small:
        return find_dataset("synthetic", workers=workers)
    build = BuildOptions(workers=workers, size=SMALL_PICTURES)
    return build_dataset("synthetic", out=Path("data/synthetic-tables"), options=build)


def _draw_studio(small: bool, workers: int) -> Path:
    size, name = (SMALL_STUDIO, "synthetic-tables") if small else (STUDIO, "synthetic")
    build = BuildOptions(workers=workers, size=size, seed=1)
    return build_dataset("synthetic", out=Path("data") / f"{name}-studio", options=build)


def _draw_clips(sound: str, small: bool, workers: int) -> Path:
    whole = DRAWN["synthetic-clips"]
    spec = whole.input_spec or InputSpec()
    build = dataclasses.replace(
        whole,
        workers=workers,
        size=SMALL_CLIPS if small else whole.size,
        input_spec=spec.replace(sound=SPECTROGRAMS[sound]),
    )
    name = "synthetic-tables-clips" if small else "synthetic-clips"
    out = Path("data") / (name if sound == "log_mel" else f"{name}-{sound}")
    return build_dataset("synthetic", out=out, options=build)


def _has_votes(path: Path) -> bool:
    return (path / VOTES).is_file() or path.name == VOTES.name


def _told_apart(names: Sequence[str]) -> Sequence[str]:
    """Return what was given.

    Raises:
        UserError: two of them would be one folder of shards, or have their runs in one folder, or
            both are votes.
    """
    found: dict[str, str] = {}
    votes = ""
    for name in names:
        if _has_votes(Path(name)):
            if votes:
                raise UserError(
                    f"{votes} and {name}: both are CREMA-D's votes, which are counted once: leave "
                    "one of them out"
                )
            votes = name
            continue
        folder = shards_of(name, sound=True)
        if folder.name in found and Path(found[folder.name]).resolve() == Path(name).resolve():
            raise UserError(f"{name}: given twice: leave one of them out")
        if folder.name in found:
            raise UserError(
                f"{found[folder.name]} and {name}: two sets that would both be called "
                f"{folder.name}, after their folders: rename one of these"
            )
        found[folder.name] = name
    return names


def _say_unused(
    pictures: Sequence[Path],
    clips: Sequence[Path],
    voices: Sequence[Path],
    votes: Path | None,
    wanted: Sequence[str],
) -> None:
    """Say what no table will show, so that nobody takes drawn people for it."""
    for kind, found, tables in (
        ("pictures", pictures, ON_PICTURES),
        ("clips", clips, (*ON_CLIPS, "cross")),
        ("voices", voices, ("voices",)),
    ):
        for folder in found:
            if not {*tables} & {*wanted}:
                print(f"{folder}: {kind}, which are for {', '.join(tables)} alone", flush=True)
    if votes and not {*ON_VOTES} & {*wanted}:
        source = votes if votes.is_dir() else "CREMA-D"
        print(
            f"{votes}: CREMA-D's votes, which are for {', '.join(ON_VOTES)} alone: its clips are "
            f"built by  emojax data build crema_d --source {source} --sound=log_mel  and given as  "
            "--data=data/crema_d",
            flush=True,
        )


def find_given(
    names: Sequence[str], wanted: Sequence[str], *, seeing: bool, small: bool, workers: int
) -> Given:
    """Return the data, told apart by what they are; drawn where none of a kind was given.

    Args:
        names: of what was given.
        wanted: tables.
        seeing: whether a finished run was given that 6.8 shows: nothing is drawn for it then.
        small: draw few people.
        workers: processes that draw and find faces.

    Raises:
        UserError: one of them is none that is known.
    """
    pictures, clips, voices, votes = [], [], [], None
    for name in _told_apart(names):
        path = Path(name)
        if _has_votes(path):
            # Now, and not when everything is trained.
            read_votes(path / VOTES if path.is_dir() else path)
            votes = path
            continue
        found = find_dataset(name, workers=workers, sound=SPECTROGRAMS["log_mel"])
        if not has_faces(found):
            voices.append(found)
        else:
            (pictures if dataset_info(found).max_frames == 1 else clips).append(found)
    _say_unused(pictures, clips, voices, votes, wanted)
    studio = None
    if not pictures and set(wanted) & set(ON_PICTURES):
        pictures = [_draw_pictures(small, workers)]
        studio = _draw_studio(small, workers) if "cross" in wanted else None
    clips_for = tuple(name for name in ON_CLIPS if name in wanted)
    if not clips:
        clips_for = tuple(name for name in clips_for if name != "6.8" or not seeing)
        sounds = ("log_mel", "thesis") if "6.8" in clips_for else ("log_mel",)
        clips = [_draw_clips(sound, small, workers) for sound in sounds if clips_for]
    return Given(tuple(pictures), tuple(clips), clips_for, tuple(voices), votes, studio)
