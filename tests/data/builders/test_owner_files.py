from __future__ import annotations

import os
from pathlib import Path

import pytest

from emojax.data.builders.owner_files import (
    lies_inside,
    list_names,
    read_label_file,
    read_label_lines,
)
from emojax.errors import UserError


def test_names_come_sorted_and_what_is_no_folder_has_none(tmp_path: Path) -> None:
    for name in ("b", "a", "C"):
        (tmp_path / name).touch()
    assert list_names(tmp_path) == ["C", "a", "b"]
    assert list_names(tmp_path / "a") == []
    assert list_names(tmp_path / "missing") == []


def test_text_is_read_by_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"1,0\r\n2,5")
    assert read_label_lines(tmp_path / "a.txt", tmp_path) == ["1,0", "2,5"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"12345678", "over 7 bytes"),
        (b"ab\xff", r"no text \(byte 2 is 0xff\)"),
    ],
)
def test_what_is_no_label_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.txt: .*{said}"):
        read_label_lines(tmp_path / "a.txt", tmp_path, limit=7)


def test_a_pipe_or_a_folder_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(UserError, match="is no regular file"):
        read_label_file(tmp_path / "a.txt", tmp_path)
    with pytest.raises(UserError, match="is a folder"):
        read_label_file(tmp_path / "b.txt", tmp_path)


def test_links_are_followed_inside_and_never_outside(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.txt").write_text("7")
    (home / "own.txt").write_text("3")
    (home / "inside.txt").symlink_to(home / "own.txt")
    (home / "outside.txt").symlink_to(tmp_path / "secret.txt")
    (home / "loop.txt").symlink_to(home / "loop.txt")
    assert read_label_lines(home / "inside.txt", home) == ["3"]
    with pytest.raises(UserError, match="leads out of"):
        read_label_lines(home / "outside.txt", home)
    with pytest.raises(UserError, match=r"loop\.txt"):
        read_label_lines(home / "loop.txt", home)
    assert not lies_inside(home / ".." / "secret.txt", home)
