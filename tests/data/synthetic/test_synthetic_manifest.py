from __future__ import annotations

import csv
import hashlib
import wave
from pathlib import Path

import av
import cv2
import pytest

from emojax.data.synthetic import manifest as manifest_module
from emojax.data.synthetic.domains import DOMAINS, PICTURE_SIDE
from emojax.data.synthetic.manifest import (
    MANIFEST_COLUMNS,
    SetSize,
    write_manifest,
)
from emojax.errors import UserError
from emojax.labels import AU_COLUMNS, EMOTION_SETS, SEVEN

SIZE = SetSize(train=2, validation=1, test=1, pictures=2, clips=1)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def digest(folder: Path) -> dict[str, str]:
    """Return a hash per file: the pixels of pictures, the samples of sounds, texts as they are."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".png":
            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert pixels is not None
            content = pixels.tobytes()
        elif path.suffix == ".wav":
            with wave.open(str(path)) as stream:
                content = stream.readframes(stream.getnframes())
        elif path.suffix == ".csv":
            content = path.read_bytes()
        else:
            continue
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    assert write_manifest(folder, seed=5, size=SIZE, progress=False) == folder / "manifest.csv"
    return folder


def test_the_manifest_names_what_is_there(written: Path) -> None:
    rows = read_rows(written / "manifest.csv")
    assert len(rows) == SIZE.people * (len(DOMAINS) * SIZE.pictures + SIZE.clips)
    assert tuple(rows[0]) == MANIFEST_COLUMNS
    assert sorted(row["path"] for row in rows if row["path"].endswith(".png")) == sorted(
        path.relative_to(written).as_posix() for path in written.rglob("*.png")
    )
    for row in rows:
        assert row["emotion"] in (*SEVEN, "")
        for name in AU_COLUMNS:
            intensity = float(row[f"{name}_i"])
            assert row[name] == ("1" if intensity > 0 else "0")
            assert intensity == 0 or 0.2 <= intensity <= 1
        if row["path"].endswith(".png"):
            picture = cv2.imread(str(written / row["path"]), cv2.IMREAD_UNCHANGED)
            assert picture is not None
            colours = () if row["domain"] == "S4" else (3,)
            assert picture.shape == (PICTURE_SIDE, PICTURE_SIDE, *colours)
            assert row["audio_path"] == row["start_s"] == row["end_s"] == ""


def test_people_are_disjoint_and_show_in_every_domain(written: Path) -> None:
    rows = read_rows(written / "manifest.csv")
    people = {
        split: {row["subject"] for row in rows if row["split"] == split}
        for split in ("train", "validation", "test")
    }
    assert [len(group) for group in people.values()] == [2, 1, 1]
    assert len(set.union(*people.values())) == 4
    for subject in set.union(*people.values()):
        shown = {row["domain"] for row in rows if row["subject"] == subject}
        assert shown == set(DOMAINS)


def test_clips_have_sound_of_their_own_length(written: Path) -> None:
    rows = [row for row in read_rows(written / "manifest.csv") if row["audio_path"]]
    assert len(rows) == SIZE.people * SIZE.clips
    for row in rows:
        with av.open(str(written / row["path"])) as container:
            frames = sum(1 for _ in container.decode(video=0))
        assert frames / SIZE.frames_per_second == pytest.approx(float(row["end_s"]), abs=1e-6)
        with wave.open(str(written / row["audio_path"])) as stream:
            assert stream.getframerate() == 16_000
            assert stream.getnframes() == round(float(row["end_s"]) * 16_000)


def test_workers_do_not_change_a_byte_and_the_seed_does(written: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "two", seed=5, size=SIZE, workers=2, progress=False)
    assert digest(tmp_path / "two") == digest(written)
    small = SetSize(train=1, validation=0, test=0, pictures=1)
    write_manifest(tmp_path / "a", seed=5, size=small, progress=False)
    write_manifest(tmp_path / "b", seed=6, size=small, progress=False)
    first, second = digest(tmp_path / "a"), digest(tmp_path / "b")
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="people"):
        SetSize(train=0, validation=0, test=0)
    with pytest.raises(UserError, match="pictures=-1"):
        SetSize(pictures=-1)
    (tmp_path / "file").write_text("here")
    with pytest.raises(UserError, match="can't make the folder"):
        write_manifest(tmp_path / "file", size=SIZE, progress=False)
    with pytest.raises(UserError, match="workers=0"):
        write_manifest(tmp_path / "out", size=SIZE, workers=0, progress=False)
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_six_emotions_and_four_domains_meet_in_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr(manifest_module, "render_clip", lambda *_: iter(()))
    monkeypatch.setattr(manifest_module, "write_avi", lambda path, *_: drawn.append(path))
    size = SetSize(24, 0, 0, pictures=0, clips=6, frames_per_second=12, clip_emotions="crema6")
    rows = read_rows(write_manifest(tmp_path, 0, size, progress=False))
    assert len(drawn) == len(rows) == 144
    for subject in {row["subject"] for row in rows}:
        shown = [row["emotion"] for row in rows if row["subject"] == subject]
        assert sorted(shown) == sorted(EMOTION_SETS["crema6"])
    pairs = {(row["emotion"], row["domain"]) for row in rows}
    assert len(pairs) == 24
    for row in rows:
        assert 1.7 < float(row["end_s"]) < 2.9


def test_a_size_that_can_t_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match=r"frames_per_second=2: wanted 5\.\.120"):
        SetSize(frames_per_second=2)
