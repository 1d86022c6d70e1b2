"""Table 6.9: what people make of CREMA-D, against the other count of the same votes."""

from __future__ import annotations

from pathlib import Path

import pytest

from emojax.data.crema_d_votes import LEVELS, SENTENCES, ClipVotes, read_votes
from emojax.data.raters import rate_people
from emojax.data.synthetic.crema_d import write_crema_d
from emojax.errors import UserError
from emojax.labels import CREMA_D_EMOTIONS
from emojax.tables.clip_tables import VOTES, count_votes, rater_table
from emojax.tables.published import HUMAN_ACCURACY


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crema_d(tmp_path_factory.mktemp("crema"), people=3, clips=2, progress=False)


def _agrees(source: Path) -> dict[tuple[str, str], float]:
    known = rate_people(read_votes(source / VOTES).rows)
    rows = rater_table(source, ["x"]).rows
    assert len(rows) == 6
    for row in rows:
        ratings = known[row["given"]]
        pooled = row["rater"].startswith("single")
        accuracy = ratings.pooled if pooled else ratings.majority
        recall = ratings.pooled_recall if pooled else ratings.majority_recall
        assert row["value"] == pytest.approx(accuracy)
        assert row["recall"] == pytest.approx(recall)
        assert row["clips"] == ratings.clips.sum()
        assert row["votes"] == ratings.votes.sum()
    return {(row["given"], row["rater"][:6]): row["value"] for row in rows}


def test_the_table_is_what_the_votes_say(source: Path) -> None:
    _agrees(source)


def test_a_tie_is_nobodys() -> None:
    rows = [
        ClipVotes("1001_IEO_ANG_HI", "voice", (0, 0, 0, 4, 4, 0)),
        ClipVotes("1001_IEO_FEA_HI", "voice", (0, 0, 0, 0, 5, 1)),
        ClipVotes("1002_IEO_FEA_HI", "voice", (0, 0, 0, 0, 0, 0)),
    ]
    counts, actors, total = count_votes(rows, majority=True)
    assert actors == ["1001", "1002"]
    assert total == 2
    assert counts[0, 3, 6] == counts[0, 4, 4] == 1
    assert count_votes(rows, majority=False)[2] == 14


def test_the_published_figures_come_out_of_the_owners_votes(shared_data: Path) -> None:
    found = _agrees(shared_data / "crema_d")
    for given, figure in HUMAN_ACCURACY.items():
        assert 100 * found[given, "single"] == pytest.approx(figure, abs=1.0)


def test_without_votes_the_table_says_where_they_are() -> None:
    table = rater_table(None, ["x"])
    assert [row["data"] for row in table.rows] == ["CREMA-D: absent, see below"] * 3
    assert "processedResults/tabulatedVotes.csv" in table.notes[0]


def test_a_broken_table_of_votes_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / VOTES.name
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"tabulatedVotes\.csv: no column"):
        rater_table(path, ["x"])


def test_rows_that_are_left_out_are_counted_below_the_table(source: Path, tmp_path: Path) -> None:
    whole = (source / VOTES).read_text()
    assert not [note for note in rater_table(source, ["x"]).notes if "left out" in note]
    path = tmp_path / VOTES.name
    path.write_text(whole + "1,2\n" * 5000)
    line = len(whole.splitlines()) + 1
    note = next(note for note in rater_table(path, ["x"]).notes if "left out" in note)
    assert note.startswith("Rows of the votes that are left out: 5,000, the first one: ")
    assert f"{path}: line {line}: 2 fields, the header has" in note


def test_a_header_without_votes_is_no_absent_table(source: Path, tmp_path: Path) -> None:
    path = tmp_path / VOTES.name
    path.write_text((source / VOTES).read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match=r"tabulatedVotes\.csv: no votes"):
        rater_table(path, ["x"])


def whole_of_crema_d(people: int, clips: int) -> str:
    """A table of votes, five of six right, with each clip given in each way."""
    names = [
        f"{1001 + number % people}_{sentence}_{emotion}_{level}"
        for sentence in SENTENCES
        for level in LEVELS
        for emotion in CREMA_D_EMOTIONS
        for number in range(people)
    ][:clips]
    header = ",".join(["", *"ADFHNS", "fileName"])
    right = {code: [5 if code[0] == letter else 0 for letter in "ADFHNS"] for code in
             CREMA_D_EMOTIONS}  # fmt: skip
    lines = [
        ",".join([f"{digit}{number:05d}", *map(str, right[name.split("_")[2]]), name])
        for digit in "123"
        for number, name in enumerate(names)
    ]
    return "\n".join([header, *lines]) + "\n"


@pytest.mark.parametrize(
    ("people", "clips", "compared"), [(91, 7442, True), (91, 7441, False), (90, 7442, False)]
)
def test_the_published_figure_is_compared_where_all_of_crema_d_is_there(
    tmp_path: Path, people: int, clips: int, compared: bool
) -> None:
    path = tmp_path / VOTES.name
    path.write_text(whole_of_crema_d(people, clips))
    table = rater_table(path, ["x"])
    assert [(row["people"], row["clips"]) for row in table.rows] == [(people, clips)] * 6
    single = [row for row in table.rows if row["rater"].startswith("single")]
    assert [row["published"] for row in single] == [
        figure / 100 for figure in HUMAN_ACCURACY.values()
    ]
    assert [row["difference"] is not None for row in single] == [compared] * 3
    assert any("Not all of CREMA-D" in note for note in table.notes) is not compared
