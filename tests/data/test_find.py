"""From what stands after `--data` to a folder, in which only the same manifest's shards are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from test_claim import write_build

from emojax.data.find import built_folder, find_dataset, shards_of
from emojax.errors import UserError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_manifest(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("path,subject\na.png,P0\nb.png,P1\nc.png,P2\n")
    return path


def digest(manifest: Path) -> str:
    return hashlib.sha256(str(manifest.absolute()).encode()).hexdigest()[:6]


def test_a_manifest_s_shards_go_by_its_folder_and_its_own_name(home: Path) -> None:
    assert shards_of("faces/manifest.csv", sound=False) == Path("data/faces")
    assert shards_of("faces/manifest.csv", sound=True) == Path("data/faces-sound")
    assert shards_of("faces/old.csv", sound=False) == Path("data/faces-old")
    assert shards_of("faces/old.csv", sound=True) == Path("data/faces-old-sound")
    assert shards_of("synthetic", sound=True) == Path("data/synthetic")


def test_its_own_older_build_is_replaced_and_nobody_else_s(home: Path) -> None:
    mine, other = (write_manifest(home / name / "faces" / "manifest.csv") for name in ("a", "b"))
    write_build(home / "data" / "faces", source=str(mine))
    assert shards_of(str(mine), sound=False) == Path("data/faces")
    assert shards_of("a/faces/manifest.csv", sound=False) == Path("data/faces")
    assert shards_of(str(other), sound=False) == Path(f"data/faces-{digest(other)}")
    # What an older emojax built does not say what from.
    write_build(home / "data" / "faces-sound")
    assert shards_of(str(mine), sound=True) == Path("data/faces-sound")


def test_a_build_of_another_kind_and_a_folder_of_files_are_left_alone(home: Path) -> None:
    manifest = write_manifest(home / "raw" / "fer2013" / "manifest.csv")
    write_build(home / "data" / "fer2013", "fer2013")
    assert shards_of(str(manifest), sound=False) == Path(f"data/fer2013-{digest(manifest)}")
    files = home / "data" / "fer2013-sound"
    files.mkdir()
    assert shards_of(str(manifest), sound=True) == Path("data/fer2013-sound")
    (files / "a.png").write_bytes(b"")
    assert shards_of(str(manifest), sound=True).name == f"fer2013-sound-{digest(manifest)}"


def test_a_manifest_in_data_is_not_built_into_its_own_folder(home: Path) -> None:
    manifest = write_manifest(home / "data" / "mine" / "manifest.csv")
    folder = shards_of("data/mine/manifest.csv", sound=False)
    assert folder == Path(f"data/mine-{digest(manifest)}")
    # There is no --out to choose here.
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"'notes\.txt' among them: move it away$"):
        find_dataset("data/mine/manifest.csv")


def test_the_owner_s_files_do_not_hide_the_build_in_data(home: Path) -> None:
    (home / "fer2013" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="fer2013: not a data set of emojax"):
        built_folder("fer2013")
    write_build(home / "data" / "fer2013", "fer2013")
    assert built_folder("fer2013") == Path("data/fer2013")
    assert built_folder(home / "data" / "fer2013") == home / "data" / "fer2013"
    write_build(home / "mine")
    (home / "data" / "mine").mkdir()
    assert built_folder("mine") == Path("mine")
    with pytest.raises(UserError, match="other: no such folder: build it with"):
        built_folder("other")
