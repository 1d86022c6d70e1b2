"""What was given as data for the tables, told apart by what it is."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from small_sets import noise_clips

from emojax.errors import UserError


@pytest.fixture
def tables_data(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(repository / "experiments")
    module = importlib.import_module("tables_data")
    monkeypatch.setattr(module, "_draw_pictures", lambda *_: Path("data/drawn"))
    return module


def test_clips_that_no_table_shows_are_named(
    tables_data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = noise_clips(tmp_path, count=5)
    given = tables_data.find_given([str(clips)], ["6.1"], small=True, workers=1)
    assert given.pictures == (Path("data/drawn"),)
    assert given.clips == (clips,)
    said = f"{clips}: clips, which are for 6.8, modalities, cross alone\n"
    assert capsys.readouterr().out == said
    tables_data.find_given([str(clips)], ["6.8"], small=True, workers=1)
    assert capsys.readouterr().out == ""


def test_votes_that_can_t_be_read_are_told_before_anything_is_trained(
    tables_data: Any, tmp_path: Path
) -> None:
    votes = tmp_path / "processedResults" / "tabulatedVotes.csv"
    votes.parent.mkdir()
    votes.write_text("no,columns,of,theirs\n")
    for given in (votes, tmp_path):
        with pytest.raises(UserError, match=r"tabulatedVotes\.csv: no column"):
            tables_data.find_given([str(given)], ["6.9"], small=True, workers=1)
