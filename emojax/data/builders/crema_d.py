"""`crema_d`: actors who say a sentence with an emotion, and what raters saw and heard.

    VideoFlash/1001_DFA_ANG_XX.flv        picture and sound, as raters saw it (or .mp4)
    AudioWAV/1001_DFA_ANG_XX.wav          the same sound, made for computing
    AudioMP3/1001_DFA_ANG_XX.mp3          the same sound, as raters heard it
    SentenceFilenames.csv                 the names of all clips
    VideoDemographics.csv                 age, sex, race and ethnicity of the actors
    processedResults/tabulatedVotes.csv   the raters' votes

A name is actor, sentence, emotion, level. All files of one name are one
utterance and give one row: its picture is the video's, its sound the WAV's,
else the MP3's, else the video's own. Without a video the row is sound alone.
Only files that are there become rows; the tables name all 7,442 clips.
"""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

from emojax.data.builders.base import Defaults, FaceBuilder
from emojax.data.builders.media_files import Problem, find_problem, show_path
from emojax.data.builders.owner_files import list_names, read_label_file
from emojax.data.crema_d_votes import (
    MAX_TABLE_BYTES,
    RATED,
    ClipName,
    VoteTable,
    parse_clip_name,
    parse_votes,
    read_table,
)
from emojax.data.raters import rate_people
from emojax.data.rows import Expected, Rejection, Request, Row, Source, Vote
from emojax.errors import UserError

FOLDERS: dict[str, tuple[str, ...]] = {
    "VideoFlash": (".flv", ".mp4"),
    "AudioWAV": (".wav",),
    "AudioMP3": (".mp3",),
}
"""Where recordings lie and how their names end, the better sound first."""

NAMES_TABLE = "SentenceFilenames.csv"
PEOPLE_TABLE = "VideoDemographics.csv"
VOTES_TABLE = "processedResults/tabulatedVotes.csv"

KNOWN_BAD: dict[str, str] = {
    "1076_MTI_NEU_XX": "its video is a few frames long and has no sound",
    "1076_MTI_SAD_XX": "its video shows an error picture, is very short and has no sound",
    "1064_TIE_SAD_XX": "its video and its sound have no duration",
    # Its emotion is acted somewhere in that minute, nobody says where.
    "1064_IEO_DIS_MD": "it lasts a minute and shows all emotions, one after the other",
}
"""Clips that are not what their name says. Source: the owner's README.md (2021 to 2023)."""

# What copies from before 2022-10-18 hold (the owner's repository, issue 6).
RENAMED = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}

_PEOPLE_COLUMNS = {"Age": "age", "Sex": "sex", "Race": "race", "Ethnicity": "ethnicity"}
_LONGEST_CELL = 40


class CremaD(FaceBuilder):
    """The crowd-sourced emotional multimodal actors dataset."""

    DESCRIPTION = (
        "CREMA-D: 7,442 clips of 91 actors who say one of twelve sentences with one of six "
        "emotions (anger, disgust, fear, happiness, neutral, sadness), low, medium, high or with "
        "no level named. Each was rated by some ten people who heard it, by some ten who saw it "
        "and by some ten who did both; their votes are kept per clip and modality. The hard label "
        "is the emotion that was acted, which raters often do not name."
    )
    CITATION = """\
@article{cao2014crema,
  title = {{CREMA-D}: Crowd-sourced Emotional Multimodal Actors Dataset},
  author = {Cao, Houwei and Cooper, David G. and Keutmann, Michael K. and Gur, Ruben C. and
    Nenkova, Ani and Verma, Ragini},
  journal = {IEEE Transactions on Affective Computing},
  volume = {5},
  number = {4},
  pages = {377--390},
  year = {2014},
}"""
    LICENCE = (
        "Open Database License 1.0; what is in it, Database Contents License 1.0. The owner asks "
        "users to fill in a form."
    )
    SOURCE_HELP = (
        "the folder that holds VideoFlash/, AudioWAV/ or AudioMP3/ and the tables: a clone of "
        "https://github.com/CheyneyComputerScience/CREMA-D whose recordings are there, which "
        "takes  git lfs pull"
    )
    SPLIT_RULE = "by person (the name's first field); the owner gives no split"
    DEFAULTS = Defaults(emotions="crema6", sound="log_mel")
    EXPECTED = Expected(rows=7_442, people=91)

    @classmethod
    def read_source(cls, source: Path, request: Request) -> Source:
        """Return one row per utterance that is there, with votes, and who the actors are.

        Raises:
            UserError: none of the folders of recordings is there.
        """
        if not any((source / folder).is_dir() for folder in FOLDERS):
            raise UserError(f"{source}: no {', '.join(FOLDERS)} there: give {cls.SOURCE_HELP}")
        return _Reader(source).read()


class _Reader:
    """Goes through the folders and tables and keeps what they give."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.home = source.resolve()
        self.notes: list[str] = []
        self.rows: list[Row] = []
        self.left_out: list[Rejection] = []
        self.files: dict[str, dict[str, Path]] = {}
        """The file of each folder, by name of the utterance."""
        self.problems: dict[str, list[Problem]] = {}
        self.passed_over: list[str] = []
        """What is wrong with files for which another file of the utterance stands in."""
        self.counts: collections.Counter[str] = collections.Counter()

    def read(self) -> Source:
        votes = self._read_votes()
        self._list_files()
        votes_of: dict[str, list[Vote]] = {}
        for rated in votes.rows:
            votes_of.setdefault(rated.clip, []).extend(
                Vote(rated.modality, emotion, count)
                for emotion, count in zip(RATED, rated.counts, strict=True)
                if count
            )
        for stem in sorted({*self.files, *self.problems}):
            self._read_utterance(stem, tuple(votes_of.get(stem, ())))
        people = self._read_people()
        facts = self._facts(votes, self._count_names(), len(people))
        self._note_counts()
        there = {row.subject for row in self.rows}
        return Source(
            tuple(self.rows),
            tuple(self.notes),
            tuple(self.left_out),
            people={actor: who for actor, who in people.items() if actor in there},
            facts=facts,
        )

    def _list_files(self) -> None:
        """Note which file of each folder each utterance has, and what is wrong with others."""
        for folder, suffixes in FOLDERS.items():
            for name in list_names(self.source / folder):
                path = self.source / folder / name
                if name.startswith(".") or path.suffix.lower() not in suffixes:
                    self.counts["ignored"] += 1
                    continue
                stem = RENAMED.get(path.stem, path.stem)
                if parse_clip_name(stem) is None:
                    key = show_path(Path(folder) / name)
                    row = Row(key=key, path=path, subject="")
                    detail = f"{show_path(path)}: no name of CREMA-D's, as 1001_DFA_ANG_XX"
                    self.left_out.append(Rejection(row, "foreign name", detail))
                elif problem := find_problem(path, self.home):
                    self.problems.setdefault(stem, []).append(problem)
                elif folder in self.files.setdefault(stem, {}):
                    self.counts["second"] += 1
                else:
                    self.files[stem][folder] = path

    def _read_utterance(self, stem: str, votes: tuple[Vote, ...]) -> None:
        files = self.files.get(stem, {})
        name = parse_clip_name(stem)
        assert name is not None
        video = files.get("VideoFlash")
        sound = files.get("AudioWAV") or files.get("AudioMP3")
        row = self._row(stem, name, video, sound, votes)
        if stem in KNOWN_BAD:
            detail = f"{stem}: {KNOWN_BAD[stem]}, as the owner says"
            self.left_out.append(Rejection(row, "known bad", detail))
        elif not files:
            self.left_out.append(Rejection(row, *self.problems[stem][0]))
        else:
            self.rows.append(row)
            self.counts["with video"] += video is not None
            self.counts["sound alone"] += video is None
            self.passed_over += [problem.detail for problem in self.problems.get(stem, ())]

    def _row(
        self,
        stem: str,
        name: ClipName,
        video: Path | None,
        sound: Path | None,
        votes: tuple[Vote, ...],
    ) -> Row:
        file = video or sound
        return Row(
            key=stem if file is None else file.relative_to(self.source).as_posix(),
            path=video,
            subject=name.actor,
            emotion=name.emotion,
            level=name.level,
            votes=votes,
            audio_path=sound,
        )

    def _read_votes(self) -> VoteTable:
        """Return the votes, none where the table is missing or broken; a note says which."""
        otherwise = "the raters' votes are unknown"
        content = self._read_file(VOTES_TABLE, otherwise)
        if content is None:
            return VoteTable(())
        try:
            table = parse_votes(content, str(self.source / VOTES_TABLE))
        except UserError as error:
            self.notes.append(f"{otherwise}: {error}")
            return VoteTable(())
        if table.skipped:
            self.notes.append(
                f"{table.skipped} rows of the votes are left out, the first one: "
                f"{table.first_skipped}"
            )
        return table

    def _read_people(self) -> dict[str, dict[str, str]]:
        """Return what the owner says of each actor."""
        columns = ("ActorID", *_PEOPLE_COLUMNS)
        lines = self._read_lines(PEOPLE_TABLE, columns, "the actors' age and sex are unknown")
        people: dict[str, dict[str, str]] = {}
        for actor, *cells in lines:
            short = all(cell.isprintable() and len(cell) <= _LONGEST_CELL for cell in cells)
            if short and len(actor) == 4 and actor.isascii() and actor.isdigit():
                people[actor] = dict(zip(_PEOPLE_COLUMNS.values(), cells, strict=True))
            else:
                self.counts[PEOPLE_TABLE] += 1
        return {actor: people[actor] for actor in sorted(people)}

    def _count_names(self) -> int | None:
        """Return how many clips the owner names, None where that is not known."""
        otherwise = "how many clips there should be is unknown"
        lines = self._read_lines(NAMES_TABLE, ("Filename",), otherwise)
        named = {stem for (stem,) in lines if parse_clip_name(stem)}
        self.counts[NAMES_TABLE] += sum(parse_clip_name(stem) is None for (stem,) in lines)
        return len(named) or None

    def _read_lines(self, table: str, columns: tuple[str, ...], otherwise: str) -> list[list[str]]:
        """Return a table's columns, row by row; nothing where it is missing or broken."""
        content = self._read_file(table, otherwise)
        if content is None:
            return []
        lines = read_table(content, str(self.source / table))
        try:
            _, header = next(lines, (1, []))
            if absent := [column for column in columns if column not in header]:
                raise UserError(f"{self.source / table}: no column {absent[0]!r}")
            places = [header.index(column) for column in columns]
            found = [cells for _, cells in lines]
        except UserError as error:
            self.notes.append(f"{otherwise}: {error}")
            return []
        whole = [cells for cells in found if len(cells) == len(header)]
        self.counts[table] += len(found) - len(whole)
        return [[cells[place] for place in places] for cells in whole]

    def _read_file(self, table: str, otherwise: str) -> bytes | None:
        path = self.source / table
        if not path.is_file():
            self.notes.append(f"{table} is not there: {otherwise}")
            return None
        try:
            return read_label_file(path, self.home, MAX_TABLE_BYTES)
        except UserError as error:
            self.notes.append(f"{otherwise}: {error}")
            return None

    def _facts(self, votes: VoteTable, named: int | None, people: int) -> dict[str, Any]:
        people_say = {
            modality: {
                "votes": int(ratings.votes.sum()),
                "clips": int(ratings.clips.sum()),
                "pooled": ratings.pooled,
                "majority": ratings.majority,
                "pooled_recall": ratings.pooled_recall,
                "majority_recall": ratings.majority_recall,
            }
            for modality, ratings in rate_people(votes.rows).items()
            if ratings.clips.any()
        }
        return {
            "clips_named": named,
            "clips_rated": len(votes.clips),
            "people_named": people,
            "clips_present": len({*self.files, *self.problems}),
            "clips_with_video": self.counts["with video"],
            "clips_of_sound_alone": self.counts["sound alone"],
            "clips_with_votes": sum(bool(row.votes) for row in self.rows),
            # Over all clips that were rated, not only over those that are here.
            "human_accuracy": people_say,
            **({"files_passed_over": self.passed_over} if self.passed_over else {}),
        }

    def _note_counts(self) -> None:
        self.counts["passed over"] = len(self.passed_over)
        for count, sentence in (
            ("sound alone", "utterances have no video here: they are kept as sound alone"),
            ("passed over", "files can't be read; another file of the utterance stands in"),
            ("second", "files are a second copy of an utterance's video or sound: ignored"),
            ("ignored", "files in the folders of recordings are no recordings: ignored"),
            (PEOPLE_TABLE, f"lines of {PEOPLE_TABLE} can't be read: left out"),
            (NAMES_TABLE, f"lines of {NAMES_TABLE} can't be read: left out"),
        ):
            if self.counts[count]:
                self.notes.append(f"{self.counts[count]} {sentence}")
