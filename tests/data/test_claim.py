"""What a build may replace: an older build, and nothing that anybody else put there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emojax.data.claim import OccupiedError, check_place, check_replaceable, put_in_place


def write_build(folder: Path, name: str = "manifest", **report: object) -> Path:
    """Write what makes a folder a build, without anything in its shards."""
    folder.mkdir(parents=True)
    for file in ("dataset_info.json", "features.json", "input_spec.json", "metadata.json"):
        (folder / file).write_text("{}")
    fields = {"name": name, "fingerprint": "1234"} | report
    (folder / "report.json").write_text(json.dumps(fields))
    for split in ("train", "test"):
        (folder / f"{name}-{split}.tfrecord-00000-of-00001").write_bytes(b"")
    return folder


def test_a_build_with_what_the_other_commands_put_beside_it_is_replaced(tmp_path: Path) -> None:
    out = write_build(tmp_path / "out")
    for name in (
        *("LICENSE", "people.json", "report.html", ".DS_Store"),
        *("contact_sheet.png", "duplicates.csv", "duplicates.png", "folds.json"),
    ):
        (out / name).write_text(f"old {name}")
    check_place(out, tmp_path / "source")
    new = write_build(tmp_path / "work" / "new", fingerprint="5678")
    put_in_place(new, out)
    assert json.loads((out / "report.json").read_text())["fingerprint"] == "5678"
    # A paper may cite the folds; the rest was about the older build.
    assert (out / "folds.json").read_text() == "old folds.json"
    assert not {"contact_sheet.png", "duplicates.csv"} & {path.name for path in out.iterdir()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "work"]


def test_what_was_drawn_belongs_to_a_drawn_set_alone(tmp_path: Path) -> None:
    for name in ("synthetic", "manifest"):
        (write_build(tmp_path / name, name) / "source").mkdir()
    check_replaceable(tmp_path / "synthetic")
    with pytest.raises(OccupiedError, match="holds 'source', which is no part of a build"):
        check_replaceable(tmp_path / "manifest")


@pytest.mark.parametrize(
    "stranger", ["notes.txt", "model.tfrecord-00000-of-00001", "a-dev.tfrecord-00000-of-00001"]
)
def test_a_build_in_which_somebody_keeps_something_is_not_replaced(
    tmp_path: Path, stranger: str
) -> None:
    out, new = write_build(tmp_path / "out"), write_build(tmp_path / "new")
    # Somebody may put it there while the build works.
    (out / stranger).write_text("mine")
    check_place(out)
    for refuse in (lambda: check_replaceable(out), lambda: put_in_place(new, out)):
        with pytest.raises(OccupiedError, match="move it away, or choose another --out") as raised:
            refuse()
        assert f"{out}: holds {stranger!r}, which is no part of a build" in str(raised.value)
    assert (out / stranger).read_text() == "mine"


def test_a_report_alone_makes_no_build(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    check_place(out)
    (out / "report.json").write_text('{"fingerprint": "1234"}')
    with pytest.raises(OccupiedError, match="out: a folder that is no whole build of emojax: move"):
        check_place(out)
    (out / "thesis.odt").write_text("mine")
    with pytest.raises(OccupiedError, match=r"other things in it, 'thesis.odt' among them: move"):
        check_place(out)
    foreign = write_build(tmp_path / "foreign")
    for text in ('{"name": "manifest"}', "[]", "no JSON", "[" * 100_000):
        (foreign / "report.json").write_text(text)
        with pytest.raises(OccupiedError, match="no whole build"):
            check_place(foreign)


@pytest.mark.parametrize("place", ["", "manifest.csv", "source", "source/manifest.csv"])
def test_the_source_is_never_in_the_way(tmp_path: Path, place: str) -> None:
    out = write_build(tmp_path / "out", "synthetic")
    link = tmp_path / "link"
    link.symlink_to(out)
    for source in (out / place, link / place):
        with pytest.raises(OccupiedError, match="which the build would replace: choose another"):
            check_place(out, source)
    # The other way round is usual: shards beside the pictures that they are made from.
    check_place(out, tmp_path)
    check_place(out, tmp_path / "outside" / "manifest.csv")
