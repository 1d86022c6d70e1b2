"""The page and the files beside it: whole, alone, and the same each time."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
from made_up_study import make_outcome, make_study
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle

from emojax.config import TrainConfig
from emojax.labels import SEVEN, UNKNOWN
from emojax.tables import drawings, published
from emojax.tables.clip_tables import clip_table, rater_table
from emojax.tables.clips import CrossValidated
from emojax.tables.outcome import Outcome
from emojax.tables.page import Drawing, draw_clips, draw_study, group_rows, write_tables
from emojax.tables.pairs import clip_pairs, pairs_table, picture_pairs
from emojax.tables.pictures import emotion_table, unit_table
from emojax.tables.table import WRITERS, Column, Table, to_markdown


def make_tested(inputs: str, sound: str, name: str = "synthetic", folds: int = 3) -> CrossValidated:
    answers = [make_outcome(len(inputs) + len(sound), 0.4)]
    ages = ["23", "27", "29", "31", "35", "39", "44", "no"]
    groups = {
        f"P{number:03d}": {"age": age, "sex": "Female" if number < 5 else "Male"}
        for number, age in enumerate(ages)
    }
    return CrossValidated(
        inputs=inputs,
        sound=sound,
        data=Path("data") / f"{name}-{sound or 'log_mel'}",
        name=name,
        owner=name,
        config=TrainConfig(model="ar5"),
        folder=Path("runs"),
        seeds=(0,),
        tested=tuple((f"P{number:03d}",) for number in range(folds)),
        answers=answers,
        alone={},
        groups=groups,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same tables and pictures, written twice."""
    study = make_study()
    tested = [make_tested("video", ""), make_tested("both", "log_mel")]
    folders = []
    for turn in range(2):
        tables = [
            pairs_table(picture_pairs(study) + clip_pairs(tested), ["python <tables>"]),
            emotion_table("6.1", [study], []),
            unit_table("6.2", [study], []),
            clip_table(tested, []),
            rater_table(None, []),
        ]
        out = tmp_path_factory.mktemp(f"out{turn}")
        drawn = draw_study(study) + draw_clips(tested)
        write_tables(out, "A title", tables, drawn, ["Synthetic people"], ["made by hand"])
        folders.append(out)
    return folders


def test_every_table_is_there_in_every_form(written: list[Path]) -> None:
    names = {path.name for path in (written[0] / "tables").iterdir()}
    assert names == {
        f"{table}.{form}"
        for table in ("pairs", "6.1", "6.2", "6.8", "6.9")
        for form in ("md", "csv", "tex")
    }
    pictures = {path.name for path in (written[0] / "figures").iterdir()}
    for kind in ("losses-e1", "confusions-e2", "people-e1", "units-e1", "roc-e1", "reliability"):
        assert f"synthetic-{kind}.png" in pictures
    for path in (written[0] / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_page_asks_for_nothing_and_begins_with_the_differences(written: list[Path]) -> None:
    page = (written[0] / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads[0] == "Which network is better? Each pair on the same people"
    assert [head for head in heads if head.startswith("Table")] == [
        "Table 6.1: Experiment 1, ResNet-18, emotion accuracy",
        "Table 6.2: Experiment 1, ResNet-18, action-unit accuracy",
        "Table 6.8: clips, people left out, emotion accuracy",
        "Table 6.9: people, who name the emotion that was acted",
    ]
    pictures = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,', page)
    assert len(pictures) == len(list((written[0] / "figures").iterdir()))
    assert page.index("Synthetic people") < page.index(heads[0])
    assert "python &lt;tables&gt;" in page


def test_a_second_time_gives_the_same_bytes(written: list[Path]) -> None:
    first, second = (
        {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in written
    )
    assert len(first) > 25
    assert first == second


def test_clips_with_sound_are_compared_with_those_without() -> None:
    pairs = clip_pairs([make_tested("video", ""), make_tested("both", "log_mel")])
    assert [(pair.first, pair.second) for pair in pairs] == [("both log_mel", "video")]
    # Other people's clips are no pair.
    assert clip_pairs([make_tested("video", ""), make_tested("both", "log_mel", "crema_d")]) == []


def test_one_folder_that_two_runs_spell_otherwise_is_one_set_of_clips() -> None:
    video, both = make_tested("video", ""), make_tested("both", "log_mel")
    assert not both.data.is_absolute()
    both = dataclasses.replace(both, data=both.data.absolute())
    (confusions,) = (
        drawing for drawing in draw_clips([video, both]) if drawing.name.endswith("-confusions")
    )
    assert confusions.name == "synthetic-log_mel-confusions"


def test_captions_say_which_seeds_each_network_has() -> None:
    video = make_tested("video", "")
    both = make_tested("both", "log_mel")
    both = dataclasses.replace(both, data=video.data, seeds=(0, 1, 2), answers=3 * both.answers)

    def captions(*tested: CrossValidated) -> dict[str, str]:
        return {
            one.name.removeprefix("synthetic-log_mel-"): one.caption for one in draw_clips(tested)
        }

    several = captions(video, both)
    named = "Seeds: video 0; both log_mel 0, 1, 2. Where there are several, their answers are"
    assert f" {named} added up." in several["confusions"]
    assert f" {named} put together." in several["people"]
    assert "Seeds" not in several["groups-video"]
    assert several["groups-both-log_mel"].endswith(" Seeds 0, 1, 2: their mean.")
    assert captions(both)["confusions"].endswith(" Seeds 0, 1, 2: their answers are added up.")
    assert "Seed" not in "".join(captions(video).values())


def test_who_is_not_known_is_not_drawn_as_a_person() -> None:
    one = make_tested("video", "")
    assert any(picture.name.endswith("-people") for picture in draw_clips([one]))
    alone = [dataclasses.replace(each, subject=each.path) for each in one.answers]
    unknown = dataclasses.replace(one, answers=alone)
    assert not unknown.people_are_known
    assert not any(picture.name.endswith("-people") for picture in draw_clips([unknown]))


def test_an_emotion_that_nobody_shows_has_no_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Canvas] = []
    monkeypatch.setattr(drawings, "_png", lambda canvas: drawn.append(canvas) or b"")
    whole = make_outcome(1)
    emotion = np.where(np.isin(whole.emotion, [2, 6]), UNKNOWN, whole.emotion)
    few = dataclasses.replace(whole, emotion=emotion)
    drawings.draw_confusions({"whole": [whole], "few": [few]})
    drawings.draw_confusions({"few": [few]})
    (left, right), (alone,) = (canvas.axes for canvas in drawn)
    gone = [f"{SEVEN[number]} (none)" if number in (2, 6) else SEVEN[number] for number in range(7)]
    for axes, names in (
        (left, list(SEVEN)),
        (right, ["(none)" if number in (2, 6) else "" for number in range(7)]),
        (alone, gone),
    ):
        assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert {int(text.get_position()[1]) for text in left.texts} == {*range(7)}
    for axes in (right, alone):
        assert {int(text.get_position()[1]) for text in axes.texts} == {0, 1, 3, 4, 5}
        bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
        assert [(bar.get_y(), bar.get_hatch()) for bar in bars] == [(1.5, "///"), (5.5, "///")]


STRANGE = "r\udce9sultats"
"""What Python makes of a Latin-1 name."""


def make_strange() -> Table:
    return Table(
        "6.8", f"Of {STRANGE}", (Column("data", "data"),), ({"data": STRANGE},), (), (STRANGE,)
    )


def test_a_name_that_is_not_utf_8_stands_in_every_form(tmp_path: Path) -> None:
    write_tables(tmp_path, "A title", [make_strange()], [], [STRANGE], [STRANGE])
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 5
    for path in written:
        assert r"r\udce9sultats" in path.read_text(encoding="utf-8").replace(
            r"\textbackslash{}", "\\"
        )


@pytest.mark.parametrize(
    "name", [STRANGE, "of $x^_$", r"$\foo{$ \$"], ids=["latin-1", "formula", "half"]
)
def test_whatever_a_folder_is_called_is_drawn(name: str) -> None:
    groups = [{"group": name, "value": 0.5, "interval": None, "people": 3}]
    for drawn in (
        drawings.draw_confusions({name: [make_outcome(1)]}),
        drawings.draw_people({name: [make_outcome(1)]}),
        drawings.draw_groups(groups),
    ):
        assert drawn.startswith(b"\x89PNG")


def test_a_form_that_fails_leaves_the_older_files_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table("6.8", "Older", (), ())
    write_tables(tmp_path, "A title", [table], [], [], [])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(table: Table) -> str:
        raise ValueError(table.name)

    monkeypatch.setitem(WRITERS, "tex", fail)
    with pytest.raises(ValueError, match=r"6\.8"):
        write_tables(tmp_path, "A title", [dataclasses.replace(table, title="Newer")], [], [], [])
    monkeypatch.setitem(WRITERS, "tex", str)

    def full_disk(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_tables(tmp_path, "A title", [dataclasses.replace(table, title="Newer")], [], [], [])
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_no_picture_is_written_over_another(tmp_path: Path) -> None:
    pictures = [
        Drawing(name, "A title", f"Of {place}.", bytes([place]))
        for place, name in enumerate(("clips-people", "clips-people", "clips-people-2"))
    ]
    write_tables(tmp_path, "A title", [], pictures, [], [])
    written = sorted(path.read_bytes() for path in (tmp_path / "figures").iterdir())
    assert written == [b"\0", b"\1", b"\2"]
    assert (tmp_path / "figures" / "clips-people.png").read_bytes() == b"\0"


def test_a_difference_to_the_thesis_needs_its_data_and_its_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def row(tested: CrossValidated) -> dict:
        return clip_table([tested], []).rows[0]

    drawn = row(make_tested("both", "log_mel"))
    assert drawn["published"] == pytest.approx(0.6942)
    assert drawn["difference"] is None
    in_folds = row(make_tested("both", "log_mel", "crema_d", folds=3))
    assert in_folds["difference"] is None
    # Eight of CREMA-D's people are not the thesis's.
    few = row(make_tested("both", "log_mel", "crema_d", folds=8))
    assert few["difference"] is None
    monkeypatch.setattr(published, "CREMA_D_PEOPLE", 8)
    one_out = row(make_tested("both", "log_mel", "crema_d", folds=8))
    assert one_out["difference"] == pytest.approx(one_out["value"] - 0.6942)
    assert "CREMA-D is absent" in to_markdown(clip_table([make_tested("video", "")], []))
    assert "--sound=thesis" in to_markdown(clip_table([make_tested("both", "log_mel")], []))


def test_groups_are_the_owners_and_no_group_is_a_person() -> None:
    tested = make_tested("video", "", "crema_d")
    rows = {row["group"]: row for row in group_rows(tested)}
    assert {name: row["people"] for name, row in rows.items()} == {
        "age: 20s": 3,
        "age: 30s": 3,
        "sex: Female": 5,
        "sex: Male": 3,
    }
    outcome = tested.answers[0]
    young = np.isin(outcome.subject, ["P000", "P001", "P002"]) & (outcome.emotion >= 0)
    assert rows["age: 20s"]["value"] == pytest.approx(outcome.right[young].mean())
    assert group_rows(dataclasses.replace(tested, groups={})) == []


def test_pictures_of_unknown_people_without_units_have_neither() -> None:
    whole = make_study("fer2013", domains=("",))

    def bare(outcome: Outcome) -> Outcome:
        return dataclasses.replace(
            outcome,
            # As builders have it where nobody says who it is.
            subject=outcome.path,
            action_units=np.full_like(outcome.action_units, UNKNOWN),
        )

    runs = {
        key: [dataclasses.replace(one, test=bare(one.test)) for one in trained]
        for key, trained in whole.runs.items()
        if key[1] == "E1"
    }
    study = dataclasses.replace(whole, runs=runs, pixels=bare(whole.pixels))
    pairs = pairs_table(picture_pairs(study), [])
    assert {row["figure"] for row in pairs.rows} == {"emotion accuracy", "emotion UAR"}
    assert {row["people"] for row in pairs.rows} == {None}
    assert [row["people"] for row in emotion_table("6.1", [study], []).rows[:1]] == [None]
    names = {drawing.name for drawing in draw_study(study)}
    assert "fer2013-confusions-e1" in names
    assert not names & {"fer2013-units-e1", "fer2013-roc-e1", "fer2013-people-e1"}
