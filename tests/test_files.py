from __future__ import annotations

import errno
import json
import os
import re
import time
from pathlib import Path

import pytest

from emojax.errors import UserError
from emojax.files import LEFT_S, make_place, whole_file, write_json


def test_a_place_is_made_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "figures.json"
    make_place(path)
    assert list(path.parent.iterdir()) == []
    write_json(path, {"a": 1})
    make_place(path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path, found in ((tmp_path, "is a folder"), (tmp_path / "file" / "a.json", "can't be")):
        with pytest.raises(UserError, match=re.escape(f"{path}: {found}")):
            make_place(path)


def test_json_that_can_not_be_written_is_blamed_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "none" / "figures.json"
    with pytest.raises(FileNotFoundError) as told:
        write_json(path, {})
    assert told.value.filename == str(path)

    def full_disk(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left") as told:
        write_json(tmp_path / "figures.json", {})
    assert told.value.filename == str(tmp_path / "figures.json")
    assert list(tmp_path.iterdir()) == []


def test_what_stood_there_stays_until_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"older")

    def write_half() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            assert path.read_bytes() == b"older"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [left.name for left in tmp_path.iterdir()] == ["page.html"]
    assert path.read_bytes() == b"older"
    link = tmp_path / "link.html"
    link.symlink_to(path)
    with whole_file(link) as file:
        file.write(b"newer")
    assert link.is_symlink()
    assert path.read_bytes() == b"newer"


def test_what_a_kill_has_left_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "figures[1].json"
    for name, age in (
        *((".figures[1].json.1", 2 * LEFT_S), (".figures[1].json.2", 0)),
        *((".figures[1].json.mine", 2 * LEFT_S), (".figures1.json.3", 2 * LEFT_S)),
    ):
        (tmp_path / name).write_bytes(b"half")
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    write_json(path, {})
    assert sorted(left.name for left in tmp_path.iterdir()) == [
        *(".figures1.json.3", ".figures[1].json.2", ".figures[1].json.mine", "figures[1].json"),
    ]
