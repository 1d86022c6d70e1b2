"""Writers of the synthetic people in the layouts that the data sets' owners publish.

Each is deterministic by its seed, whatever the number of workers: the pixels of
PNG files, the samples of WAV files and all texts are the same. The layouts
follow the owners' own descriptions of CK+, MMI and DISFA.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np

from emojax.data.synthetic.clips import Timeline, make_timeline, render_clip
from emojax.data.synthetic.crema_d import write_crema_d
from emojax.data.synthetic.domains import make_scene
from emojax.data.synthetic.expressions import Expression, sample_emotion, sample_free
from emojax.data.synthetic.files import make_folder, write_avi, write_png
from emojax.data.synthetic.geometry import make_landmarks, strengths
from emojax.data.synthetic.manifest import SetSize, write_manifest
from emojax.data.synthetic.people import Person, make_person
from emojax.data.synthetic.workers import map_in_order
from emojax.labels import (
    ACTION_UNITS,
    CK_PLUS_EMOTIONS,
    DISFA_ACTION_UNITS,
    MMI_EMOTIONS,
    action_unit_index,
)

__all__ = [
    "SetSize",
    "write_ck_plus",
    "write_crema_d",
    "write_disfa",
    "write_manifest",
    "write_mmi",
]

_EMOTIONS = ("happiness", "sadness", "surprise", "fear", "disgust", "anger")
_LIPS_PART = 25
"""AU25, which DISFA codes and the 15 do not hold: it is read off the drawn lips."""


def _grade(value: float) -> int:
    """Return an intensity of 0..1 as FACS's A to E, 1..5; 0 for an absent unit."""
    return math.ceil(5 * value) if value > 0 else 0


def _sequence(
    seed: int, layout: int, person: int, item: int, emotional: bool
) -> tuple[np.random.Generator, Expression]:
    """Return a recording's random source and what it shows."""
    rng = np.random.default_rng([seed, layout, person, item])
    if emotional:
        return rng, sample_emotion(rng, _EMOTIONS[(item + person) % len(_EMOTIONS)])
    return rng, sample_free(rng)


def _write_ck_plus_person(out: Path, seed: int, sequences: int, index: int) -> None:
    person, subject = make_person(seed, index), f"S{index + 5:03d}"
    codes = {emotion: code for code, emotion in CK_PLUS_EMOTIONS.items()}
    for item in range(sequences):
        # Like the owner's set, about half of the sequences have an emotion file.
        rng, expression = _sequence(seed, 11, index, item, emotional=item % 2 == 0)
        frames = int(rng.integers(9, 15))
        timeline = make_timeline(rng, expression.intensities, frames)
        scene = make_scene(rng, "S1")
        part = Path(subject) / f"{item + 1:03d}"
        folder = make_folder(out / "cohn-kanade-images" / part)
        stem = f"{subject}_{item + 1:03d}"
        for number, frame in enumerate(render_clip(person, timeline, scene, rng), 1):
            write_png(folder / f"{stem}_{number:08d}.png", frame)
        last = f"{stem}_{frames:08d}"
        emotion_folder = make_folder(out / "Emotion" / part)
        if expression.emotion:
            code = codes[expression.emotion]
            (emotion_folder / f"{last}_emotion.txt").write_text(f"   {code:.7e}\n")
        lines = []
        for number, value in zip(ACTION_UNITS, expression.intensities, strict=True):
            if value > 0:
                # 0 means present and not graded, as on a share of the owner's codes.
                grade = 0 if rng.random() < 0.15 else _grade(value)
                lines.append(f"   {number:.7e}   {grade:.7e}\n")
        (make_folder(out / "FACS" / part) / f"{last}_facs.txt").write_text("".join(lines))


def write_ck_plus(
    out: Path,
    seed: int = 0,
    people: int = 10,
    sequences: int = 4,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write picture sequences as CK+ publishes them, and return the folder.

    Sequences begin neutral and end at their peak. `FACS` grades are 1..5, or 0
    where present but not graded; only some sequences have an `Emotion` file.

    Args:
        out: folder to write into.
        seed: seed of people, expressions and scenes.
        people: number of subjects, `S005` and on.
        sequences: sequences of each.
        workers: processes that draw.
        progress: whether a progress bar shows.

    Raises:
        UserError: the folder can't be made.
    """
    make_folder(out)
    draw = functools.partial(_write_ck_plus_person, out, seed, sequences)
    list(map_in_order(draw, range(people), workers, "drawing CK+ sequences", progress))
    return out


def _lips_part(person: Person, intensities: np.ndarray) -> float:
    """Return AU25's intensity, 0..1, from the opening between the drawn lips."""
    gap = make_landmarks(person, strengths(tuple(intensities))).mouth.gap
    return float(np.clip((gap - 1.0) / 14, 0, 1))


def _write_disfa_person(out: Path, seed: int, expressions: int, index: int) -> None:
    person, subject = make_person(seed, index), f"SN{index + 1:03d}"
    rng = np.random.default_rng([seed, 12, index])
    scene = make_scene(rng, "S1")
    parts: list[Timeline] = []
    for item in range(expressions):
        shown = _sequence(seed, 13, index, item, emotional=item % 2 == 0)[1]
        parts.append(make_timeline(rng, shown.intensities, 40, returns=True))
    course = np.concatenate([part.intensities for part in parts])
    whole = Timeline(course, parts[0].onset, parts[0].apex, None)
    write_avi(
        make_folder(out / "Video_LeftCamera") / f"LeftVideo{subject}_comp.avi",
        render_clip(person, whole, scene, rng),
        frames_per_second=20,
    )
    folder = make_folder(out / "ActionUnit_Labels" / subject)
    for number in DISFA_ACTION_UNITS:
        place = action_unit_index(number)
        if place is None:
            assert number == _LIPS_PART
            values = [_lips_part(person, row) for row in course]
        else:
            values = [float(value) for value in course[:, place]]
        lines = [f"{frame},{_grade(value)}\n" for frame, value in enumerate(values, 1)]
        (folder / f"{subject}_au{number}.txt").write_text("".join(lines))


def write_disfa(
    out: Path,
    seed: int = 0,
    people: int = 6,
    expressions: int = 6,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write videos and frame labels as DISFA publishes them, and return the folder.

    Args:
        out: folder to write into.
        seed: seed of people, expressions and scenes.
        people: number of subjects, `SN001` and on, one video each at 20 frames a second.
        expressions: expressions in a video, 40 frames each, from neutral and back.
        workers: processes that draw.
        progress: whether a progress bar shows.

    Raises:
        UserError: the folder can't be made.
    """
    make_folder(out)
    draw = functools.partial(_write_disfa_person, out, seed, expressions)
    list(map_in_order(draw, range(people), workers, "drawing DISFA videos", progress))
    return out


def _write_mmi_session(out: Path, seed: int, clips: int, number: int) -> None:
    index, item = divmod(number, clips)
    person = make_person(seed, index)
    emotional = item % 3 != 2
    rng, expression = _sequence(seed, 14, index, item, emotional)
    timeline = make_timeline(rng, expression.intensities, int(rng.integers(40, 70)), returns=True)
    folder = make_folder(out / "Sessions" / str(number + 1))
    stem = f"S{index + 1:03d}-{item + 1:03d}"
    write_avi(
        folder / f"{stem}.avi",
        render_clip(person, timeline, make_scene(rng, "S1"), rng),
        frames_per_second=24,
    )
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    (folder / "session.xml").write_text(
        f'{head}<session sessionId="{number + 1}">\n'
        f'  <subject id="{index + 1}"/>\n'
        f'  <track filename="{stem}.avi" type="Video" view="0"/>\n'
        "</session>\n"
    )
    if expression.emotion in MMI_EMOTIONS.values():
        codes = {emotion: code for code, emotion in MMI_EMOTIONS.items()}
        (folder / f"{stem}.xml").write_text(
            f'{head}<Annotation>\n  <Metatag Name="Emotion" '
            f'Value="{codes[expression.emotion]}"/>\n</Annotation>\n'
        )
    # Marker types: 0 neutral, 1 onset, 2 apex, 3 offset starts; frames count from 1.
    assert timeline.offset is not None
    frames = (1, timeline.onset + 1, timeline.apex + 1, timeline.offset + 1)
    lines = [head, "<ActionUnits>\n"]
    for unit in expression.present:
        lines.append(f'  <ActionUnit Number="{unit}">\n')
        for kind, frame in enumerate(frames):
            lines.append(f'    <Marker Type="{kind}" Frame="{frame}"/>\n')
        lines.append("  </ActionUnit>\n")
    (folder / f"{stem}-oao_aucs.xml").write_text("".join([*lines, "</ActionUnits>\n"]))


def write_mmi(
    out: Path,
    seed: int = 0,
    people: int = 5,
    clips: int = 3,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write sessions as MMI publishes them, and return the folder.

    Two clips of three carry an emotion; all carry their action units over time.

    Args:
        out: folder to write into.
        seed: seed of people, expressions and scenes.
        people: number of subjects, `S001` and on.
        clips: sessions of each, one clip a session.
        workers: processes that draw.
        progress: whether a progress bar shows.

    Raises:
        UserError: the folder can't be made.
    """
    make_folder(out)
    draw = functools.partial(_write_mmi_session, out, seed, clips)
    list(map_in_order(draw, range(people * clips), workers, "drawing MMI sessions", progress))
    return out
