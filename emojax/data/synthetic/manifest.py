"""The synthetic set itself: pictures in four domains and the manifest that names them."""

from __future__ import annotations

import csv
import dataclasses
import functools
import os
from pathlib import Path
from typing import Literal

import numpy as np

from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import DOMAINS, make_scene, render
from emojax.data.synthetic.expressions import Expression, sample_emotion, sample_free
from emojax.data.synthetic.files import make_folder, write_avi, write_png, write_wav
from emojax.data.synthetic.people import make_person
from emojax.data.synthetic.voice import SAMPLE_RATE_HZ, make_voice
from emojax.data.synthetic.workers import map_in_order
from emojax.errors import UserError
from emojax.labels import AU_COLUMNS, SEVEN, emotion_names

SPLITS: tuple[str, ...] = ("train", "validation", "test")
MANIFEST_COLUMNS: tuple[str, ...] = (
    "path",
    "subject",
    "emotion",
    *AU_COLUMNS,
    *(f"{name}_i" for name in AU_COLUMNS),
    "domain",
    "split",
    "audio_path",
    "start_s",
    "end_s",
)
"""Columns of `manifest.csv`; `AU01_i` is the intensity behind `AU01`, 0..1."""

CLIP_SECONDS = (1.8, 2.8)
"""Least and greatest length of a clip; a clip's labels are those of its peak."""

# Of seven pictures in a row, these show free action units and the others an emotion.
_FREE_PLACES = (2, 5)


@dataclasses.dataclass(frozen=True)
class SetSize:
    """How large a synthetic set is."""

    train: int = 120
    """People to train on."""
    validation: int = 20
    """People to choose thresholds and checkpoints on."""
    test: int = 40
    """People to test on."""
    pictures: int = 7
    """Pictures of each person in each domain."""
    clips: int = 0
    """Clips with sound of each person; emotions and domains take turns."""
    frames_per_second: int = 25
    """Of the clips."""
    clip_emotions: Literal["seven", "crema6"] = "seven"
    """Emotions that the clips take turns in."""
    domains: tuple[str, ...] = DOMAINS
    """What surrounds the drawings: S1 studio, S2 hard light, S3 pose and camera, S4 near
    infrared with noise."""

    def __post_init__(self) -> None:
        """Refuse an empty or negative size."""
        for name in ("train", "validation", "test", "pictures", "clips"):
            if (value := getattr(self, name)) < 0:
                raise UserError(f"{name}={value}: wanted 0 or more")
        if not 5 <= self.frames_per_second <= 120:
            raise UserError(f"frames_per_second={self.frames_per_second}: wanted 5..120")
        emotion_names(self.clip_emotions)
        if not self.domains or not set(self.domains) <= set(DOMAINS):
            raise UserError(f"domains={self.domains!r}: use some of {', '.join(DOMAINS)}")
        if self.people == 0:
            raise UserError("a set without people: ask for at least one")

    @property
    def people(self) -> int:
        """Number of people in all splits."""
        return self.train + self.validation + self.test

    def split_of(self, index: int) -> str:
        """Return the split that a person, by number, belongs to."""
        if index < self.train:
            return "train"
        return "validation" if index < self.train + self.validation else "test"


def expression_of(seed: int, person: int, item: int) -> Expression:
    """Return what a person shows in one of their pictures.

    Args:
        seed: seed of the set.
        person: the person's number.
        item: the picture's number over all domains. Emotions take turns, so that
            each comes equally often; two pictures of seven show free action units.
    """
    rng = np.random.default_rng([seed, 2, person, item])
    rounds, place = divmod(item, 7)
    if place in _FREE_PLACES:
        return sample_free(rng)
    turn = 5 * rounds + place - sum(free < place for free in _FREE_PLACES)
    return sample_emotion(rng, SEVEN[(turn + person) % len(SEVEN)])


def _label_cells(expression: Expression) -> dict[str, str]:
    cells = {"emotion": expression.emotion}
    for name, value in zip(AU_COLUMNS, expression.intensities, strict=True):
        cells[name] = "1" if value > 0 else "0"
        cells[f"{name}_i"] = f"{value:g}"
    return cells


def _write_clip(out: Path, seed: int, size: SetSize, index: int, item: int) -> dict[str, str]:
    """Write one talking clip, AVI and WAV, and return the start of its manifest row."""
    person = make_person(seed, index)
    rng = np.random.default_rng([seed, 4, index, item])
    emotions, turn = emotion_names(size.clip_emotions), item + index
    emotion = emotions[turn % len(emotions)]
    if len(emotions) % 2 == 0:
        # Six emotions and four domains, both in turns, would always meet the same way.
        turn += turn // len(emotions)
    domain = size.domains[turn % len(size.domains)]
    expression = sample_emotion(rng, emotion)
    rate = size.frames_per_second
    shortest, longest = (round(seconds * rate) for seconds in CLIP_SECONDS)
    frames = int(rng.integers(shortest, longest))
    seconds = frames / rate
    timeline = make_timeline(rng, expression.intensities, frames)
    samples = make_voice(rng, person, emotion, seconds)
    stem = make_folder(out / "clips" / person.name) / f"{domain}_{item:02d}"
    write_wav(stem.with_suffix(".wav"), samples, SAMPLE_RATE_HZ)
    pictures = render_clip(person, timeline, make_scene(rng, domain), rng)
    write_avi(stem.with_suffix(".avi"), pictures, rate)
    return {
        "path": stem.with_suffix(".avi").relative_to(out).as_posix(),
        **_label_cells(expression),
        "domain": domain,
        "audio_path": stem.with_suffix(".wav").relative_to(out).as_posix(),
        "start_s": "0",
        "end_s": f"{seconds:g}",
    }


def _write_person(out: Path, seed: int, size: SetSize, index: int) -> list[dict[str, str]]:
    """Draw one person's pictures and clips and return their manifest rows."""
    person = make_person(seed, index)
    folder = make_folder(out / "pictures" / person.name)
    rows = []
    for item in range(len(size.domains) * size.pictures):
        domain, number = size.domains[item // size.pictures], item % size.pictures
        rng = np.random.default_rng([seed, 3, index, item])
        expression = expression_of(seed, index, item)
        picture = render(person, expression.intensities, make_scene(rng, domain), rng)
        path = folder / f"{domain}_{number:02d}.png"
        write_png(path, picture)
        rows.append(
            {
                "path": path.relative_to(out).as_posix(),
                **_label_cells(expression),
                "domain": domain,
            }
        )
    rows += [_write_clip(out, seed, size, index, item) for item in range(size.clips)]
    who = {"subject": person.name, "split": size.split_of(index)}
    return [{**row, **who} for row in rows]


def write_manifest(
    out: Path,
    seed: int = 0,
    size: SetSize | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write pictures and clips and return the path of their `manifest.csv`.

    The same seed and size give the same pictures, whatever the number of
    workers. People are disjoint over the splits; each shows in all domains of the size.

    Args:
        out: folder to write into; made where it is missing.
        seed: seed of people, expressions and scenes.
        size: numbers of people and pictures, the default set for None.
        workers: processes that draw. More than one needs a main module that can
            be imported (a script guarded by `if __name__ == "__main__"`).
        progress: whether a progress bar shows.

    Raises:
        UserError: the folder can't be made.
    """
    size = size or SetSize()
    make_folder(out)
    draw = functools.partial(_write_person, out, seed, size)
    manifest = out / "manifest.csv"
    aside = manifest.with_suffix(".csv.part")
    with aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, MANIFEST_COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for rows in map_in_order(draw, range(size.people), workers, "drawing people", progress):
            writer.writerows(rows)
    # The manifest appears only when all that it names is there.
    os.replace(aside, manifest)
    return manifest
