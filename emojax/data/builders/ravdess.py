"""`ravdess`: actors who speak two sentences with eight emotions.

    Actor_12/03-01-06-01-02-01-12.wav    the sound alone
    Actor_12/01-01-06-01-02-01-12.mp4    picture and sound, where a user has them
    Actor_12/02-01-06-01-02-01-12.mp4    the same picture without its sound

The fields of a name are modality (01 both, 02 picture, 03 sound), channel (01
speech, 02 song), emotion, intensity (01 normal, 02 strong), statement,
repetition, actor. Files that differ in the modality alone are one utterance
and give one row: its picture is that of 01, else of 02; its sound that of 03,
else of 01.

The folders of the actors lie in the source itself or one folder further down
(`Audio_Speech_Actors_01-24/Actor_12`), as the owner's archives unpack; what is
there twice is counted once.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from emojax import labels
from emojax.data.builders.base import Defaults, FaceBuilder
from emojax.data.builders.media_files import Problem, find_problem, show_path
from emojax.data.builders.owner_files import list_names
from emojax.data.rows import Expected, Rejection, Request, Row, Source
from emojax.errors import UserError

INTENSITIES: dict[str, str] = {"01": "normal", "02": "strong"}
"""How strongly an emotion was acted; neutral was acted normally only."""

_FOLDER = re.compile(r"Actor_(0[1-9]|1[0-9]|2[0-4])")
_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1[0-9]|2[0-4])")
_SUFFIXES = {"01": ".mp4", "02": ".mp4", "03": ".wav"}
_SPEECH = "01"
_NEUTRAL = "01"
_STRONG = "02"


class Ravdess(FaceBuilder):
    """The speech of the Ryerson audio-visual database of emotional speech and song."""

    DESCRIPTION = (
        "RAVDESS, speech: 1,440 utterances of 24 actors, half of them women, who speak two "
        "sentences twice with eight emotions (neutral, calm, happiness, sadness, anger, fear, "
        "disgust, surprise), all but neutral at two intensities. The hard label is the emotion "
        "that was acted. Song is left out."
    )
    CITATION = """\
@article{livingstone2018ravdess,
  title = {The Ryerson Audio-Visual Database of Emotional Speech and Song ({RAVDESS}): A Dynamic,
    Multimodal Set of Facial and Vocal Expressions in {N}orth {A}merican {E}nglish},
  author = {Livingstone, Steven R. and Russo, Frank A.},
  journal = {PLoS ONE},
  volume = {13},
  number = {5},
  pages = {e0196391},
  year = {2018},
  doi = {10.1371/journal.pone.0196391},
}"""
    LICENCE = (
        "Creative Commons BY-NC-SA 4.0: not for commerce, under the same terms; the owner sells "
        "other licences."
    )
    SOURCE_HELP = (
        "the folder that holds Actor_01/ .. Actor_24/, or the folders that hold them: "
        "Audio_Speech_Actors_01-24.zip, and Video_Speech_Actor_*.zip for the pictures, unpacked "
        "from https://zenodo.org/records/1188976"
    )
    SPLIT_RULE = "by person (the name's last field); the owner gives no split"
    DEFAULTS = Defaults(emotions="ravdess8", sound="log_mel")
    EXPECTED = Expected(rows=1_440, people=24)

    @classmethod
    def read_source(cls, source: Path, request: Request) -> Source:
        """Return one row per utterance of speech that is there.

        Raises:
            UserError: there is no folder of an actor.
        """
        folders = list(_find_folders(source))
        if not folders:
            raise UserError(
                f"{source}: no folder Actor_01 .. Actor_24 there: give {cls.SOURCE_HELP}"
            )
        reader = _Reader(source.resolve())
        for folder in folders:
            reader.list_files(folder)
        return reader.source()


class _Utterance(NamedTuple):
    """The fields of a name behind modality and channel."""

    emotion: str
    intensity: str
    statement: str
    repetition: str
    actor: str


def _find_folders(source: Path) -> Iterator[Path]:
    """Yield the actors' folders, those in the source itself before those further down."""
    names = [name for name in list_names(source) if (source / name).is_dir()]
    yield from (source / name for name in names if _FOLDER.fullmatch(name))
    for outer in names:
        if not _FOLDER.fullmatch(outer):
            for name in list_names(source / outer):
                if _FOLDER.fullmatch(name) and (source / outer / name).is_dir():
                    yield source / outer / name


class _Reader:
    """Goes through the actors' folders and keeps what they give."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.files: dict[_Utterance, dict[str, Path]] = {}
        """The file of each modality, by utterance."""
        self.problems: dict[_Utterance, list[tuple[Path, Problem]]] = {}
        self.left_out: list[Rejection] = []
        self.songs: set[str] = set()
        self.counts: collections.Counter[str] = collections.Counter()

    def list_files(self, folder: Path) -> None:
        """Note the recordings in an actor's folder."""
        for name in list_names(folder):
            path = folder / name
            if name.startswith(".") or path.suffix.lower() not in _SUFFIXES.values():
                self.counts["ignored"] += 1
                continue
            match = _NAME.fullmatch(path.stem)
            wrong = _what_is_wrong(match, path)
            if match is None or wrong:
                self._leave_out(path, Problem("foreign name", f"{show_path(path)}: {wrong}"))
                continue
            modality, channel, *fields = match.groups()
            if channel != _SPEECH:
                self.songs.add(name)
                continue
            utterance = _Utterance(*fields)
            files = self.files.setdefault(utterance, {})
            if modality in files:
                self.counts["second"] += 1
            elif problem := find_problem(path, self.home):
                self.problems.setdefault(utterance, []).append((path, problem))
            else:
                files[modality] = path

    def _leave_out(self, path: Path, problem: Problem) -> None:
        row = Row(key=_key(path), path=path, subject="")
        self.left_out.append(Rejection(row, *problem))

    def source(self) -> Source:
        """Return what was kept."""
        rows: list[Row] = []
        passed_over: list[str] = []
        sound_alone = 0
        for utterance in sorted(self.files, key=lambda fields: (fields.actor, fields)):
            files, problems = self.files[utterance], self.problems.get(utterance, [])
            if not files:
                self._leave_out(*problems[0])
                continue
            row = _read_utterance(utterance, files)
            rows.append(row)
            sound_alone += row.path is None
            passed_over += [problem.detail for _, problem in problems]
        notes = [
            f"{count} {sentence}"
            for count, sentence in (
                (sound_alone, "utterances have no video here: they are kept as sound alone"),
                (len(self.songs), "files of song are left out: only speech is read"),
                (self.counts["second"], "files are there a second time: counted once"),
                (len(passed_over), "files can't be read; another file of the utterance stands in"),
                (self.counts["ignored"], "files in the actors' folders are no recordings: ignored"),
            )
            if count
        ]
        facts = {
            "utterances_with_video": len(rows) - sound_alone,
            "utterances_of_sound_alone": sound_alone,
            "song_files": len(self.songs),
            "second_copies": self.counts["second"],
            **({"files_passed_over": passed_over} if passed_over else {}),
        }
        people = {row.subject: {"sex": _sex(row.subject)} for row in rows}
        return Source(tuple(rows), tuple(notes), tuple(self.left_out), people=people, facts=facts)


def _what_is_wrong(match: re.Match[str] | None, path: Path) -> str:
    """Return what keeps a file from being one of the owner's, nothing where it is one."""
    if match is None:
        return "no name of RAVDESS's, as 03-01-06-01-02-01-12.wav"
    modality, _, emotion, intensity, _, _, actor = match.groups()
    if path.suffix.lower() != _SUFFIXES[modality]:
        return f"modality {modality} is published as {_SUFFIXES[modality]}"
    if (emotion, intensity) == (_NEUTRAL, _STRONG):
        return "neutral was never acted strongly"
    if path.parent.name != f"Actor_{actor}":
        return f"names actor {actor} and lies in {path.parent.name}: who it is can't be told"
    return ""


def _read_utterance(utterance: _Utterance, files: dict[str, Path]) -> Row:
    video = files.get("01") or files.get("02")
    return Row(
        key=_key(video or files["03"]),
        path=video,
        subject=f"Actor_{utterance.actor}",
        emotion=labels.RAVDESS_EMOTIONS[int(utterance.emotion)],
        level=INTENSITIES[utterance.intensity],
        audio_path=files.get("03"),
    )


def _key(file: Path) -> str:
    """Return the name that the owner gives a file, however deep its folder lies."""
    return show_path(Path(file.parent.name) / file.name)


def _sex(subject: str) -> str:
    """Return an actor's sex: the owner numbered men odd and women even."""
    return "male" if int(subject.removeprefix("Actor_")) % 2 else "female"
