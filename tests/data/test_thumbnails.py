from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from emojax.data import thumbnails
from emojax.data.synthetic.files import write_avi
from emojax.data.thumbnails import MAX_BYTES, read_thumbnail, read_thumbnails

if TYPE_CHECKING:
    from conftest import RunPython


def pixels(thumbnail: bytes | str) -> np.ndarray:
    assert isinstance(thumbnail, bytes), thumbnail
    picture = cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def write_picture(path: Path, height: int, width: int, level: int = 90) -> Path:
    assert cv2.imwrite(str(path), np.full((height, width, 3), level, np.uint8))
    return path


def write_clip(path: Path, frames: int = 60) -> Path:
    """A clip whose frame i is gray 4 i."""
    write_avi(path, (np.full((120, 400, 3), 4 * i, np.uint8) for i in range(frames)), 25)
    return path


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [
        (320, 640, (80, 160)),
        (480, 120, (160, 40)),
        (48, 48, (48, 48)),
        (4000, 10, (160, 1)),
    ],
)
def test_a_picture_is_made_small_and_never_large(
    tmp_path: Path, height: int, width: int, shape: tuple[int, int]
) -> None:
    small = pixels(read_thumbnail(write_picture(tmp_path / "a.png", height, width)))
    assert small.shape == (*shape, 3)
    assert abs(int(small.mean()) - 90) <= 2


def test_a_clip_is_shown_in_its_middle(tmp_path: Path) -> None:
    small = pixels(read_thumbnail(write_clip(tmp_path / "a.avi")))
    assert small.shape == (48, 160, 3)
    # Frame 30 of 60, in Motion JPEG's eyes.
    assert abs(float(small.mean()) - 4 * 30) <= 6


def test_a_broken_clip_is_shown_where_it_can_be(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    assert pixels(read_thumbnail(path)).shape == (48, 160, 3)
    path.write_bytes(path.read_bytes()[:1000])
    assert read_thumbnail(path) == "can't be opened"


def test_what_is_no_picture_is_said_in_words(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "good.png", 20, 20)
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture.read_bytes()[:60])
    empty = tmp_path / "empty.png"
    empty.touch()
    # A pipe never ends, and is never opened.
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    huge = tmp_path / "huge.png"
    huge.write_bytes(picture.read_bytes())
    os.truncate(huge, MAX_BYTES + 1)
    nowhere = tmp_path / "nowhere.png"
    nowhere.symlink_to(tmp_path / "gone")
    hostile = tmp_path / "\udcff\n<b>.png"
    hostile.write_bytes(picture.read_bytes())
    paths = [text, None, cut, empty, pipe, huge, tmp_path, tmp_path / "gone.png", nowhere]
    more = [Path("\0"), Path("\ud800"), tmp_path / ("x" * 5000), hostile, picture]
    found = read_thumbnails([*paths, *more])
    assert found[:9] == [
        "can't be opened",
        "no picture belongs to it",
        "can't be opened",
        "can't be opened",
        "can't be opened",
        "not opened: larger than 200 MB",
        "can't be opened",
        "missing",
        "can't be opened",
    ]
    assert found[9:12] == ["missing", "missing", "missing"]
    assert [pixels(thumbnail).shape for thumbnail in found[12:]] == [(20, 20, 3)] * 2


def test_a_huge_size_in_a_header_costs_nothing(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", 20, 20)
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    path.write_bytes(bytes(content))
    assert read_thumbnail(path) == "can't be opened"


TRAPS = """
import os, signal, sys
sys.path[:] = sys.argv[2:]
from emojax.data import thumbnails

read = thumbnails.read_thumbnail

def trapped(path):
    if path.name == "crash.png":
        os.kill(os.getpid(), signal.SIGSEGV)
    while path.name == "hang.png":
        pass
    return "x" * 2**21 if path.name == "liar.png" else read(path)

thumbnails.read_thumbnail = trapped
thumbnails.PATIENCE_S = 1
thumbnails.serve(int(sys.argv[1]))
"""


def test_a_reader_that_crashes_or_hangs_costs_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "_START", TRAPS)
    names = ("one.png", "crash.png", "two.png", "hang.png", "liar.png", "three.png")
    paths = [write_picture(tmp_path / name, 20, 20) for name in names]
    started = time.monotonic()
    found = read_thumbnails(paths)
    # The alarm, not the parent that waits four times as long, ends the one that hangs.
    assert time.monotonic() - started < 15
    lost = "can't be opened: its reader crashed or never came back"
    assert [thumbnail if isinstance(thumbnail, str) else "shown" for thumbnail in found] == [
        *("shown", lost, "shown", lost, lost, "shown")
    ]


def test_no_more_is_opened_when_time_has_run_out(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", 20, 20)
    assert read_thumbnails([path, tmp_path / "gone"], budget_s=-1) == [
        "not opened: too many files took too long",
        "missing",
    ]


def test_no_process_at_all_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_picture(tmp_path / "a.png", 20, 20)
    monkeypatch.setattr("sys.executable", str(tmp_path / "gone"))
    assert read_thumbnails([path]) == ["not opened: no process can be started for it"]


SCRIPT = """
import sys
from pathlib import Path
from emojax.data.thumbnails import read_thumbnails
print([type(found).__name__ for found in read_thumbnails([Path(sys.argv[1])])])
"""


def test_a_script_without_a_guard_is_run_once(tmp_path: Path, run_python: RunPython) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = run_python(script, write_picture(tmp_path / "a.png", 20, 20))
    assert (done.returncode, done.stdout, done.stderr) == (0, "['bytes']\n", "")
