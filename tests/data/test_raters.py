"""People's accuracy, from the table of votes: the arithmetic by hand, and the owner's figures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from emojax.data.crema_d_votes import (
    MAX_TABLE_BYTES,
    RATED,
    ClipVotes,
    parse_clip_name,
    parse_votes,
    read_votes,
)
from emojax.data.raters import rate_people
from emojax.errors import UserError
from emojax.labels import MODALITIES

HEADER = '"","A","D","F","H","N","S","fileName","numResponses"\n'
# Nine clips as raters heard (1), saw (2), heard and saw them (3).
TABLE = (
    HEADER + '"100001",6,1,0,0,2,1,"1001_IEO_ANG_HI",10\n'  # anger: 6 of 10, a majority
    '"100002",4,0,0,0,4,2,"1001_DFA_ANG_XX",10\n'  # anger: 4 of 10, a tie: wrong
    '"100003",0,0,0,2,8,0,"1001_IEO_NEU_XX",10\n'  # neutral: 8 of 10
    '"100004",0,0,3,1,2,2,"1002_IEO_FEA_LO",8\n'  # fear: 3 of 8, the most frequent answer
    '"100005",0,0,0,0,0,0,"1002_IEO_DIS_LO",0\n'  # nobody voted: not counted
    '"200001",1,1,1,1,1,1,"1001_IEO_ANG_HI",6\n'  # anger: 1 of 6, a tie
    '"200002",0,0,0,9,0,1,"1001_DFA_HAP_XX",10\n'  # happiness: 9 of 10
    '"300001",10,0,0,0,0,0,"1001_IEO_ANG_HI",10\n'
    '"300002",0,10,0,0,0,0,"1001_DFA_ANG_XX",10\n'
)


def test_the_arithmetic_on_a_small_table() -> None:
    table = parse_votes(TABLE.encode(), "votes.csv")
    assert (len(table.rows), table.skipped) == (9, 0)
    assert table.rows[0] == ClipVotes("1001_IEO_ANG_HI", "voice", (2, 0, 1, 6, 0, 1))
    assert RATED == ("neutral", "happiness", "sadness", "anger", "fear", "disgust")
    people = rate_people(table.rows)
    assert tuple(people) == MODALITIES
    voice, face, both = people.values()
    # 6 + 4 + 8 + 3 of 10 + 10 + 10 + 8 votes; 3 of 4 clips, the tie among the wrong ones.
    assert voice.pooled == pytest.approx(21 / 38)
    assert voice.majority == pytest.approx(3 / 4)
    # Recall: anger 10 of 20 votes and 1 of 2 clips, neutral 8 of 10 and 1 of 1, fear 3 of 8
    # and 1 of 1; emotions that nobody acted do not count.
    assert voice.pooled_recall == pytest.approx((10 / 20 + 8 / 10 + 3 / 8) / 3)
    assert voice.majority_recall == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert (face.pooled, face.majority) == pytest.approx((10 / 16, 1 / 2))
    assert (both.pooled, both.majority) == pytest.approx((1 / 2, 1 / 2))
    # Rows: what was acted; columns: what was named.
    anger, neutral, disgust = (RATED.index(name) for name in ("anger", "neutral", "disgust"))
    assert voice.votes[anger].tolist() == [6, 0, 3, 10, 0, 1]
    assert voice.votes[neutral, anger] == 0
    assert both.votes[anger, disgust] == 10
    assert voice.clips.tolist() == [1, 0, 0, 2, 1, 0]
    assert voice.won.tolist() == [1, 0, 0, 1, 1, 0]


def test_nobody_s_votes_are_no_number() -> None:
    for ratings in rate_people(()).values():
        figures = (ratings.pooled, ratings.majority, ratings.pooled_recall, ratings.majority_recall)
        assert all(map(math.isnan, figures))


def test_the_owner_s_table(shared_data: Path) -> None:
    table = read_votes(shared_data / "crema_d" / "processedResults" / "tabulatedVotes.csv")
    assert (len(table.rows), table.skipped) == (3 * 7442, 0)
    assert len(table.clips) == 7442
    assert len({clip[:4] for clip in table.clips}) == 91
    people = rate_people(table.rows)
    figures = {
        modality: (round(100 * rated.pooled, 1), round(100 * rated.majority, 1))
        for modality, rated in people.items()
    }
    assert figures == {"voice": (40.0, 41.6), "face": (57.4, 66.3), "both": (63.1, 72.2)}
    recalls = {
        modality: (round(100 * rated.pooled_recall, 1), round(100 * rated.majority_recall, 1))
        for modality, rated in people.items()
    }
    assert recalls == {"voice": (40.7, 42.9), "face": (57.7, 66.9), "both": (63.4, 72.8)}
    assert people["both"].votes.sum() == 71_778
    assert people["voice"].clips.tolist() == [1087, 1271, 1271, 1271, 1271, 1271]


def test_a_name_says_four_things() -> None:
    assert parse_clip_name("1091_WSI_FEA_XX") == ("1091", "WSI", "fear", "XX")
    for other in (
        *("1091_WSI_FEA", "1091_WSI_FEA_XXX", "109_WSI_FEA_XX", "1091_ABC_FEA_XX"),
        *("1091_WSI_JOY_XX", "1091_WSI_FEA_YY", "1091_wsi_fea_xx", "", "1091_WSI_FEA_XX\n"),
        # Digits of another script.
        "\u0661\u0660\u0660\u0661_WSI_FEA_XX",
    ):
        assert parse_clip_name(other) is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('"100001",6,1,0,0,2,1,"1001_IEO_ANG_HI"', "8 fields, the header has 9"),
        ('"400001",6,1,0,0,2,1,"1001_IEO_ANG_HI",10', "row number '400001'"),
        ('"1001",6,1,0,0,2,1,"1001_IEO_ANG_HI",10', "row number '1001'"),
        ('"100001",6,1,0,0,2,1,"../../etc/passwd",10', "'../../etc/passwd' is no clip's name"),
        ('"100001",6,-1,0,0,2,1,"1001_IEO_ANG_HI",10', "votes 2, 0, 1, 6, 0, -1"),
        ('"100001",nan,1,0,0,2,1,"1001_IEO_ANG_HI",10', "votes 2, 0, 1, nan"),
        ('"100001",99999999999,1,0,0,2,1,"1001_IEO_ANG_HI",10', "wanted whole numbers"),
        ('"100001",6.5,1,0,0,2,1,"1001_IEO_ANG_HI",10', "wanted whole numbers"),
    ],
)
def test_a_broken_row_is_skipped_and_named(line: str, problem: str) -> None:
    good = '"100009",1,0,0,0,0,0,"1001_DFA_ANG_XX",1\n'
    table = parse_votes(f"{HEADER}{line}\n{good}".encode(), "votes.csv")
    assert [row.clip for row in table.rows] == ["1001_DFA_ANG_XX"]
    assert table.skipped == 1
    assert table.first_skipped.startswith("votes.csv: line 2: ")
    assert problem in table.first_skipped


def test_a_clip_that_stands_twice_counts_once() -> None:
    row = '"100001",6,1,0,0,2,1,"1001_IEO_ANG_HI",10\n'
    table = parse_votes(f"{HEADER}{row}{row}".encode(), "votes.csv")
    assert (len(table.rows), table.skipped) == (1, 1)
    assert "was rated by voice already" in table.first_skipped


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column of row numbers"),
        (b"A,D,F,H,N,S,fileName\n", r"no column of row numbers \(its name is empty\)"),
        (b'"",A,D,F,H,N,fileName\n', "no column 'S'"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "no text"),
        (HEADER.encode() + b"\0", "zero bytes"),
        (HEADER.encode(), r"no votes \(0 rows can't be read\): wanted CREMA-D's"),
        (HEADER.encode() + b'"100001",0,0,0,0,0,0,"1001_IEO_ANG_HI",0\n', "no votes"),
        (HEADER.encode() + b"1,2\n1\n", r"no votes \(2 rows .* votes.csv: line 2: 2 fields"),
        (HEADER.encode() + b'"' + b"x" * 200_000, "not CSV"),
        (b" " * (MAX_TABLE_BYTES + 1), "over 33554432 bytes"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_votes(content, "votes.csv")
    assert str(caught.value).startswith("votes.csv")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"votes\.csv: no such file, wanted CREMA-D's table"):
        read_votes(tmp_path / "votes.csv")
