from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.cli import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A manifest of three people with a picture each, and one that is missing."""
    lines = ["path,subject,emotion,AU12"]
    for person in range(3):
        cv2.imwrite(str(tmp_path / f"{person}.png"), np.full((98, 80), 50 * person, np.uint8))
        lines.append(f"{person}.png,P{person},happiness,1")
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join([*lines, "gone.png,P0,fear,1"]))
    return path


def _build(source: Path, out: Path, *more: str) -> int:
    arguments = ["--source", str(source), "--out", str(out), "--faces", "ready", *more]
    return main(["data", "build", "manifest", *arguments])


def test_build_names_what_it_wrote_and_left_out(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert _build(source, out) == 0
    written = capsys.readouterr().out
    assert f"{out}: 3 of 4 files kept; left out: 1 missing file" in written
    assert "train" in written
    assert _build(source, out) == 0
    assert "reused" in capsys.readouterr().out


def test_inspect_prints_counts_and_writes_a_sheet(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    assert _build(source, out) == 0
    capsys.readouterr()
    assert main(["data", "inspect", str(out), "--sheet", str(sheet)]) == 0
    written = capsys.readouterr().out
    assert written.splitlines()[1].split() == ["examples", "1", "1", "1"]
    assert "happiness" in written
    assert str(sheet) in written
    picture = cv2.imread(str(sheet), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    # Happiness and AU12: two rows of faces under the caption.
    assert picture.shape[0] == 22 + 2 * 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,subject,emotion\n0.png,P0,joy\n", "line 2: emotion 'joy' is not known"),
        ("path,subject,AU12\n0.png,P0,3\n", "line 2: AU12 is '3'"),
        ("path,subject,split\n0.png,P0,train\n1.png,P0,test\n", "person 'P0' stands in train and"),
        ("path,subject\ngone.png,P0\ngone2.png,P1\ngone3.png,P2\n", "3 missing file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    source.write_text(text)
    assert _build(source, tmp_path / "out") == 2
    written = capsys.readouterr()
    assert message in written.err
    assert written.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert _build(source, tmp_path / "file" / "out") == 2
    assert "file" in capsys.readouterr().err


def test_a_size_belongs_to_what_is_drawn(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _build(source, tmp_path / "out", "--size.train", "3") == 2
    assert "--size belongs to `build synthetic`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "flag", "message"),
    [
        ("manifest", "--clips", "--clips belongs to `build mmi`: manifest is built in one way"),
        ("fer2013", "--clips", "--clips belongs to `build mmi`"),
        ("synthetic", "--own-groups", "--own-groups belongs to `build manifest`: synthetic has"),
        ("ck_plus", "--own-groups", "--own-groups belongs to `build manifest`"),
        ("manifest", "--seed=-1", "seed=-1: wanted 0 .. 4294967295"),
        ("manifest", "--seed=4294967296", "seed=4294967296: wanted 0 .. 4294967295"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    flag: str,
    message: str,
) -> None:
    where = [] if name == "synthetic" else ["--source", str(source)]
    assert main(["data", "build", name, *where, "--out", str(tmp_path / "out"), flag]) == 2
    written = capsys.readouterr().err
    assert message in written
    assert written.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_frames_of_a_clip_are_not_as_many_as_is_usual(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _build(source, tmp_path / "out", "--clip-frames", "0") == 2
    assert "clip_frames=0: wanted 1 or more" in capsys.readouterr().err


def test_inspect_lists_people_and_finds_a_set_by_its_name(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _build(source, tmp_path / "data" / "mine") == 0
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["data", "inspect", "mine", "--people"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[3][:8] == ["examples", "a", "person,", "least", "/", "median", "/", "most"]
    start = next(index for index, words in enumerate(lines) if words[:2] == ["person", "split"])
    header, people = lines[start], lines[start + 1 : start + 4]
    assert sorted(words[0] for words in people) == ["P0", "P1", "P2"]
    assert all(int(words[2]) == sum(map(int, words[3:])) == 1 for words in people)
    assert [words[header.index("fear")] for words in people].count("1") == 0


def test_inspect_refuses_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", str(tmp_path)]) == 2
    assert "not a data set of emojax" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["build", "inspect"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", command, "--help"])
    assert ended.value.code == 0
    assert f"emojax data {command}" in capsys.readouterr().out
