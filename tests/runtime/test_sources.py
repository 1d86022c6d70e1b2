from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from emojax.errors import UserError
from emojax.runtime.sources import Namer, Source, list_sources, read_source
from emojax.runtime.video_writer import VideoWriter


def write_picture(path: Path, value: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.full((20, 30, 3), value, np.uint8))[1].tobytes())
    return path


def write_clip(path: Path) -> Path:
    with VideoWriter(path, 10.0) as writer:
        for number in range(5):
            writer.write(np.full((32, 48, 3), 40 * number, np.uint8), number / 10)
    return path


def test_folders_are_read_by_name_with_their_subfolders(tmp_path):
    for name in ("b.PNG", "a.png", "sub/c.JPG", "sub/.hidden.png", ".git/x.png", "notes.txt"):
        write_picture(tmp_path / name)
    write_clip(tmp_path / "a.mp4")
    listing = list_sources([tmp_path])
    assert [str(source.path.relative_to(tmp_path)) for source in listing.sources] == [
        "a.mp4",
        "a.png",
        "b.PNG",
        "sub/c.JPG",
    ]
    assert [source.kind for source in listing.sources] == ["video", *["picture"] * 3]
    assert listing.num_skipped == 2
    assert listing.mistakes == []


def test_the_order_of_the_paths_is_kept(tmp_path):
    paths = [write_picture(tmp_path / name) for name in ("b.png", "a.png")]
    assert [source.path for source in list_sources(paths).sources] == paths


def test_the_output_folder_is_no_input(tmp_path):
    write_picture(tmp_path / "a.png")
    write_picture(tmp_path / "predictions" / "annotated" / "a.png")
    listing = list_sources([tmp_path], leave_out=tmp_path / "predictions")
    assert [source.path.name for source in listing.sources] == ["a.png"]
    assert len(list_sources([tmp_path]).sources) == 2


def test_where_inputs_lie_in_the_output_folder_its_copies_are_no_input(tmp_path):
    for name in ("a.png", "mine/b.png", "annotated/a.png", "heat/a.png", "elan/a.png"):
        write_picture(tmp_path / name)
    listing = list_sources([tmp_path], leave_out=tmp_path)
    assert [source.path.name for source in listing.sources] == ["a.png", "b.png"]
    listing = list_sources([tmp_path / "annotated", tmp_path / "mine"], leave_out=tmp_path)
    assert [source.path.name for source in listing.sources] == ["b.png"]
    (told,) = map(str, listing.mistakes)
    assert told == f"{tmp_path / 'annotated'}: is where copies of inputs go: give another --out"


def test_no_input_is_written_over(tmp_path):
    named = write_picture(tmp_path / "annotated" / "a.png")
    elsewhere = write_picture(tmp_path / "elsewhere.png")
    (tmp_path / "annotated" / "b.png").symlink_to(elsewhere)
    # An earlier run's copy, which is no input, is replaced.
    write_picture(tmp_path / "annotated" / "c.png")
    inputs = [Source(path, "picture") for path in (named, elsewhere)]
    namer = Namer(tmp_path / "annotated", inputs)
    copies = [namer.name(Source(Path(name), "picture")).name for name in ("a.jpg", "b.jpg", "c")]
    assert copies == ["a-2.png", "b-2.png", "c.png"]


def test_a_named_file_is_taken_for_what_it_holds(tmp_path):
    picture = write_picture(tmp_path / "picture")
    mistaken = write_picture(tmp_path / "picture.mp4")
    clip = write_clip(tmp_path / "clip")
    text = tmp_path / "text.png"
    text.write_text("words")
    kinds = [source.kind for source in list_sources([picture, mistaken, clip, text]).sources]
    # Text named .png is blamed as a picture when it is read.
    assert kinds == ["picture", "picture", "video", "picture"]


def test_paths_that_lead_to_nothing_are_told_one_by_one(tmp_path):
    good = write_picture(tmp_path / "a.png")
    empty = tmp_path / "empty.png"
    empty.touch()
    (tmp_path / "none_here").mkdir()
    listing = list_sources([tmp_path / "missing.png", good, empty, tmp_path / "none_here"])
    assert [source.path for source in listing.sources] == [good]
    told = [str(mistake) for mistake in listing.mistakes]
    assert len(told) == 3
    assert "missing.png: no such file" in told[0]
    assert "empty.png: is empty" in told[1]
    assert "no picture and no video" in told[2]


def names_in(folder: Path) -> list[str]:
    return [str(one.path.relative_to(folder)) for one in list_sources([folder]).sources]


def test_a_folder_that_can_not_be_listed_costs_itself_alone(tmp_path, monkeypatch):
    for name in ("a/1.png", "b/2.png", "c/3.png", "d.png"):
        write_picture(tmp_path / name)
    scan = os.scandir

    def refuse(place: str):
        if Path(place).name == "b":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = list_sources([tmp_path, tmp_path / "b"])
    assert [source.path.name for source in listing.sources] == ["d.png", "1.png", "3.png"]
    told = f"{tmp_path / 'b'}: can't be listed (Permission denied)"
    assert [str(mistake) for mistake in listing.mistakes] == [told, told]


def test_links_to_folders_are_followed_once(tmp_path):
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    for path in (top / "b" / "1.png", top / ".kept" / "2.png", elsewhere / "deep" / "3.png"):
        write_picture(path)
    # The same folder twice, a loop, what comes under its own name, and what holds the top.
    (top / "a").symlink_to(elsewhere)
    (top / "c").symlink_to(elsewhere / "deep")
    (elsewhere / "loop").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(top)
    (top / "a_b").symlink_to(top / "b")
    (top / "b" / "up").symlink_to(tmp_path)
    (top / "hidden").symlink_to(top / ".kept")
    assert names_in(top) == ["b/1.png", "c/3.png", "hidden/2.png"]


def test_a_link_to_the_output_folder_is_no_input(tmp_path):
    write_picture(tmp_path / "in" / "a.png")
    write_picture(tmp_path / "out" / "annotated" / "a.png")
    (tmp_path / "in" / "results").symlink_to(tmp_path / "out")
    listing = list_sources([tmp_path / "in"], leave_out=tmp_path / "out")
    assert [source.path.name for source in listing.sources] == ["a.png"]


def test_a_picture_is_one_frame_at_zero(tmp_path):
    (frame,) = read_source(Source(write_picture(tmp_path / "a.png", 77), "picture"))
    assert (frame.number, frame.timestamp_s) == (0, 0.0)
    assert (frame.picture == 77).all()


def test_a_video_is_its_frames(tmp_path):
    frames = list(read_source(Source(write_clip(tmp_path / "a.mp4"), "video")))
    assert [frame.number for frame in frames] == list(range(5))
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], np.arange(5) / 10)


def test_a_broken_picture_raises_when_it_is_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("words")
    with pytest.raises(UserError, match="found text"):
        list(read_source(Source(path, "picture")))
