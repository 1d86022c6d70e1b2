"""What was given as data for the tables, told apart by what it is."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_study import finish_folds
from small_sets import noise_clips, noise_pictures

from emojax.audio import PRESETS
from emojax.config import TrainConfig
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.synthetic.files import write_avi
from emojax.errors import UserError
from emojax.spec import InputSpec
from emojax.tables.clips import same_clips


@pytest.fixture
def tables_data(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(repository / "experiments")
    module = importlib.import_module("tables_data")
    for name in ("_draw_pictures", "_draw_studio"):
        monkeypatch.setattr(module, name, lambda *_: Path("data/drawn"))
    monkeypatch.setattr(module, "_draw_clips", lambda sound, *_: Path("data/drawn") / sound)
    return module


@pytest.fixture
def tables(tables_data: Any) -> Any:
    """`experiments/tables.py`, which draws nothing."""
    return importlib.import_module("tables")


def find(tables_data: Any, names: list[Path], wanted: list[str], seeing: bool = False) -> Any:
    given = [str(name) for name in names]
    return tables_data.find_given(given, wanted, seeing=seeing, small=True, workers=1)


def test_clips_that_no_table_shows_are_named(
    tables_data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = noise_clips(tmp_path, count=5)
    given = find(tables_data, [clips], ["6.1"])
    assert given.pictures == (Path("data/drawn"),)
    assert given.clips == (clips,)
    said = f"{clips}: clips, which are for 6.8, modalities, cross alone\n"
    assert capsys.readouterr().out == said
    find(tables_data, [clips], ["6.8"])
    assert capsys.readouterr().out == ""


def test_votes_that_can_t_be_read_are_told_before_anything_is_trained(
    tables_data: Any, tmp_path: Path
) -> None:
    votes = tmp_path / "processedResults" / "tabulatedVotes.csv"
    votes.parent.mkdir()
    votes.write_text("no,columns,of,theirs\n")
    for given in (votes, tmp_path):
        with pytest.raises(UserError, match=r"tabulatedVotes\.csv: no column"):
            find(tables_data, [given], ["6.9"])


def write_votes(folder: Path) -> Path:
    """CREMA-D's own folder, as far as the votes go."""
    votes = folder / "processedResults" / "tabulatedVotes.csv"
    votes.parent.mkdir(parents=True)
    head = ",A,D,F,H,N,S,fileName,numResponses,agreement,emoVote,meanEmoResp,meanAcc"
    votes.write_text(f"{head}\n100001,4,0,0,0,1,0,1001_DFA_ANG_XX,5,1,A,3,1\n")
    return folder


def test_votes_that_no_table_counts_are_not_taken_for_clips(
    tables_data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = write_votes(tmp_path / "CREMA-D")
    find(tables_data, [owner], ["6.8"])
    said = capsys.readouterr().out
    assert said.startswith(f"{owner}: CREMA-D's votes, which are for 6.9, voices alone: ")
    assert f"emojax data build crema_d --source {owner} --sound=log_mel " in said
    find(tables_data, [owner / "processedResults" / "tabulatedVotes.csv"], ["6.8"])
    assert "build crema_d --source CREMA-D --sound=log_mel " in capsys.readouterr().out
    for wanted in ("6.9", "voices"):
        assert find(tables_data, [owner], ["6.8", wanted]).votes == owner
    assert capsys.readouterr().out == ""


def test_votes_are_given_once(tables_data: Any, tmp_path: Path) -> None:
    one, other = (write_votes(tmp_path / name) for name in ("a", "b"))
    with pytest.raises(UserError, match=f"{one} and {other}: both are CREMA-D's votes"):
        find(tables_data, [one, other], ["6.9"])


@pytest.mark.parametrize("lacks", ["train", "validation", "test"])
def test_pictures_without_people_to_test_are_refused_before_anything_is_trained(
    tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise AssertionError

    for name in ("study_pictures", "work_ahead"):
        monkeypatch.setattr(tables, name, train)
    counts = {"train": 8, "validation": 7, "test": 7}
    data = noise_pictures(tmp_path, **{split: n for split, n in counts.items() if split != lacks})
    for jobs in (1, 2):
        options = tables.TablesOptions(
            tables=("6.1",), data=(str(data),), out=tmp_path / "tables", jobs=jobs
        )
        with pytest.raises(UserError, match=f"nobody is in the split `{lacks}`"):
            tables.make_tables(options, ["6.1"])
    assert not (tmp_path / "tables").exists()


# Runs that are finished.


def test_nothing_is_drawn_for_a_table_that_shows_a_run_that_was_given(
    tables_data: Any, tmp_path: Path
) -> None:
    drawn = find(tables_data, [], ["6.8"])
    assert [folder.name for folder in drawn.clips] == ["log_mel", "thesis"]
    assert find(tables_data, [], ["6.8"], seeing=True).clips == ()
    # The modalities are trained all the same, and stay out of 6.8.
    both = find(tables_data, [], ["6.8", "modalities"], seeing=True)
    assert [folder.name for folder in both.clips] == ["log_mel"]
    assert both.clips_for == ("modalities",)
    clips = noise_clips(tmp_path, count=5)
    assert find(tables_data, [clips], ["6.8"], seeing=True).clips_for == ("6.8",)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The run of a network without an ear."""
    (tmp_path / "set").mkdir()
    data = noise_clips(tmp_path / "set", count=9)
    return finish_folds(tmp_path / "run", data, TrainConfig(model="ar1"))


def test_table_6_8_of_a_finished_run_trains_nothing(
    tables: Any, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(tables, "study_clips", train)
    options = tables.TablesOptions(
        tables=("6.8",), cross_validated=(finished,), out=tmp_path / "out"
    )
    tables.make_tables(options, ["6.8"])
    text = (tmp_path / "out" / "tables" / "6.8.md").read_text()
    assert "| ar1, one frame of each clip and no sound | out | 3 folds by person |" in text
    twice = tables.TablesOptions(tables=("6.8",), cross_validated=(finished, finished))
    with pytest.raises(UserError, match="run: given twice"):
        tables.make_tables(twice, ["6.8"])


# Clips whose shards hold no sound.


@pytest.fixture
def builds(tmp_path: Path) -> dict[str, Path]:
    """The same clips, built without their sound and with it."""
    rng = np.random.default_rng(0)
    lines = ["path,spectrogram_path,subject,emotion,split"]
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", rng.integers(0, 256, (64, 96), np.uint8))
        frames = rng.integers(0, 256, (2, 98, 80, 3)).astype(np.uint8)
        write_avi(tmp_path / f"{number}.avi", iter(frames), 25)
        lines.append(f"{number}.avi,{number}.npy,P{number},anger,train")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    return {
        name: build_dataset(
            "manifest",
            source=tmp_path,
            out=tmp_path / name,
            options=BuildOptions(faces="ready", clip_frames=2, input_spec=InputSpec(sound=sound)),
            say=lambda line: None,
        )
        for name, sound in (("mute", None), ("loud", PRESETS["thesis"]))
    }


def test_of_clips_without_sound_only_the_deaf_network_is_trained(
    tables: Any, tables_data: Any, builds: dict[str, Path]
) -> None:
    mute = builds["mute"]
    options = tables.TablesOptions()

    def studies(names: list[Path], *wanted: str) -> list[tuple[str, tuple[str, ...], bool]]:
        given = find(tables_data, names, list(wanted))
        found = tables._clip_studies(wanted, given, options)
        return [(study.data.name, study.inputs, study.ablated) for study in found]

    assert studies([mute], "6.8", "modalities") == [("mute", ("video",), False)]
    assert studies([mute], "modalities") == []
    # Beside a build of the same clips that has their sound nothing is left to train on it.
    assert same_clips([mute, builds["loud"]]) == [[builds["loud"], mute]]
    assert studies([*builds.values()], "6.8") == [("loud", ("video", "both"), False)]


def test_clips_without_sound_are_named_before_anything_is_trained(
    tables: Any, tables_data: Any, builds: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    heard = noise_clips(other, count=5)
    wanted = ["modalities", "cross"]
    given = find(tables_data, [builds["mute"], heard], wanted)
    (said,) = tables._mute(wanted, given)
    assert said.startswith(f"{builds['mute']}: its shards hold no sound: ")
    # A single set is left, and nothing to take its network to.
    clips_alone = dataclasses.replace(given, pictures=(), studio=None)
    assert tables._crossed_studies(clips_alone, tables.TablesOptions())[1] == []
    assert tables._mute(["6.1"], given) == []
    assert tables._mute(wanted, find(tables_data, [heard], wanted)) == []
