"""The writer of talking faces in the layout that CREMA-D's owners publish."""

from __future__ import annotations

import csv
import functools
from fractions import Fraction
from pathlib import Path

import numpy as np

from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import make_scene
from emojax.data.synthetic.expressions import sample_emotion
from emojax.data.synthetic.files import make_folder, write_flv, write_wav
from emojax.data.synthetic.people import Person, make_person
from emojax.data.synthetic.voice import SAMPLE_RATE_HZ, make_voice
from emojax.data.synthetic.workers import map_in_order
from emojax.labels import CREMA_D_EMOTIONS

FIRST_ACTOR = 1001
FRAMES_PER_SECOND = Fraction(30_000, 1001)

_SENTENCES = ("IEO", "DFA", "IOM", "IWW", "TAI", "IWL", "TSI", "TIE", "ITS", "MTI", "ITH", "WSI")
_LEVEL_STRENGTH = {"LO": 0.45, "MD": 0.7, "HI": 1.0, "XX": 0.8}
_MEANS = {"A": "Anger", "D": "Disgust", "F": "Fear", "H": "Happy", "N": "Neutral", "S": "Sad"}
_VOTES = tuple(_MEANS)
_VOTE_COLUMNS = (
    "",
    *_VOTES,
    "fileName",
    "numResponses",
    "agreement",
    "emoVote",
    "meanEmoResp",
    *(f"mean{name}Resp" for name in _MEANS.values()),
    "medianEmoResp",
    "meanEmoRespNorm",
    *(f"mean{name}RespNorm" for name in _MEANS.values()),
    "medianEmoRespNorm",
)
# How often raters hear, see, and hear and see what was acted; the first digit of
# a row's number in the owner's table is the modality.
_RATER_ACCURACY = {1: 0.45, 2: 0.6, 3: 0.68}


def _names(index: int, clips: int) -> list[str]:
    """Return the names of an actor's clips: emotions in turn, levels on one sentence."""
    names = []
    for item in range(clips):
        code = list(CREMA_D_EMOTIONS)[item % len(CREMA_D_EMOTIONS)]
        sentence = _SENTENCES[(item // len(CREMA_D_EMOTIONS)) % len(_SENTENCES)]
        # Only the first sentence was acted at three levels; neutral has none.
        level = "XX"
        if sentence == "IEO" and code != "NEU":
            level = ("LO", "MD", "HI")[(item + index) % 3]
        names.append(f"{FIRST_ACTOR + index}_{sentence}_{code}_{level}")
    return names


def _vote_rows(
    rng: np.random.Generator, name: str, number: int, strength: float
) -> list[dict[str, str]]:
    """Return a clip's rows of `tabulatedVotes.csv`, one per modality."""
    acted = name.split("_")[2][0]
    rows = []
    for modality, accuracy in _RATER_ACCURACY.items():
        share = accuracy * (0.6 + 0.4 * strength)
        chances = np.full(len(_VOTES), (1 - share) / (len(_VOTES) - 1))
        chances[_VOTES.index(acted)] = share
        raters = int(rng.integers(8, 12))
        votes = rng.multinomial(raters, chances)
        most = [vote for vote, count in zip(_VOTES, votes, strict=True) if count == votes.max()]
        row = {"": f"{modality}{number:05d}", "fileName": name, "numResponses": str(raters)}
        row |= {vote: str(count) for vote, count in zip(_VOTES, votes, strict=True)}
        row["agreement"] = f"{votes.max() / raters:.15g}"
        row["emoVote"] = ":".join(most)
        for suffix in ("Resp", "RespNorm"):
            levels = np.clip(rng.normal(40 + 40 * strength, 10, len(_VOTES)), 0, 100)
            for (vote, label), level, count in zip(_MEANS.items(), levels, votes, strict=True):
                assert vote in _VOTES
                row[f"mean{label}{suffix}"] = f"{level:.15g}" if count else "-1"
            mean = f"{float((levels * votes).sum() / raters):.15g}"
            row[f"meanEmo{suffix}"] = row[f"medianEmo{suffix}"] = mean
        rows.append(row)
    return rows


def _demographics(index: int, person: Person) -> dict[str, str]:
    rng = np.random.default_rng([person.texture, 15])
    return {
        "ActorID": str(FIRST_ACTOR + index),
        "Age": str(20 + round(54 * person.age)),
        # The table asks for one of two; the drawing follows the voice alone.
        "Sex": "Male" if person.voice_hz < 160 else "Female",
        "Race": str(rng.choice(["African American", "Asian", "Caucasian", "Unknown"])),
        "Ethnicity": str(rng.choice(["Hispanic", "Not Hispanic"])),
    }


def _write_actor(out: Path, seed: int, clips: int, index: int) -> list[list[dict[str, str]]]:
    person = make_person(seed, index)
    rows = []
    for item, name in enumerate(_names(index, clips)):
        _, _, code, level = name.split("_")
        rng = np.random.default_rng([seed, 15, index, item])
        emotion, strength = CREMA_D_EMOTIONS[code], _LEVEL_STRENGTH[level]
        seconds = float(rng.uniform(1.8, 2.6))
        frames = round(seconds * FRAMES_PER_SECOND)
        peak = np.array(sample_emotion(rng, emotion).intensities) * strength
        timeline = make_timeline(rng, tuple(peak), frames, returns=True)
        samples = make_voice(rng, person, emotion, frames / float(FRAMES_PER_SECOND), strength)
        write_wav(out / "AudioWAV" / f"{name}.wav", samples, SAMPLE_RATE_HZ)
        write_flv(
            out / "VideoFlash" / f"{name}.flv",
            render_clip(person, timeline, make_scene(rng, "S1"), rng),
            FRAMES_PER_SECOND,
            samples,
            SAMPLE_RATE_HZ,
        )
        rows.append(_vote_rows(rng, name, 1 + index * clips + item, strength))
    return rows


def _write_table(path: Path, columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    """Write a table as R does: texts in quotes, numbers bare."""
    texts = {"", "fileName", "emoVote", "Sex", "Race", "Ethnicity"}
    with path.open("w", newline="", encoding="utf-8") as stream:
        stream.write(",".join(f'"{column}"' for column in columns) + "\n")
        writer = csv.writer(stream, quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        for row in rows:
            writer.writerow(
                [f'"{row[column]}"' if column in texts else row[column] for column in columns]
            )


def write_crema_d(
    out: Path,
    seed: int = 0,
    people: int = 4,
    clips: int = 6,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write clips, sound and tables as CREMA-D publishes them, and return the folder.

    Videos are FLV with Sorenson H.263 (the owner's are VP6, which nothing open
    encodes) and MP3 sound; WAV files are 16 kHz mono.

    Args:
        out: folder to write into.
        seed: seed of people, expressions, scenes and votes.
        people: number of actors, 1001 and on.
        clips: clips of each; emotions take turns, six make one round.
        workers: processes that draw.
        progress: whether a progress bar shows.

    Raises:
        UserError: the folder can't be made.
    """
    for name in ("AudioWAV", "VideoFlash", "processedResults"):
        make_folder(out / name)
    draw = functools.partial(_write_actor, out, seed, clips)
    actors = map_in_order(draw, range(people), workers, "drawing CREMA-D clips", progress)
    votes = [rows for actor in actors for rows in actor]
    by_modality = [rows[place] for place in range(len(_RATER_ACCURACY)) for rows in votes]
    _write_table(out / "processedResults" / "tabulatedVotes.csv", _VOTE_COLUMNS, by_modality)
    actors_table = [_demographics(index, make_person(seed, index)) for index in range(people)]
    _write_table(out / "VideoDemographics.csv", tuple(actors_table[0]), actors_table)
    return out
