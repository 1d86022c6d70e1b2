"""Arrays in a file: whole or not there, also where two processes write it, or one was killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from emojax.files import LEFT_S
from emojax.tables.kept import keep_arrays, kept_arrays


def test_two_processes_that_write_one_file_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync = tmp_path / "answers.npz", os.fsync

    def let_another_write(descriptor: int) -> None:
        sync(descriptor)
        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        keep_arrays(path, {"mine": np.ones(3)}, {})
        monkeypatch.undo()

    monkeypatch.setattr(os, "fsync", let_another_write)
    keep_arrays(path, {"mine": np.zeros(3)}, {})
    found = kept_arrays(path, {})
    assert found is not None
    np.testing.assert_array_equal(found["mine"], np.zeros(3))
    assert [left.name for left in tmp_path.iterdir()] == ["answers.npz"]


def test_what_a_kill_has_left_does_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    left = tmp_path / ".answers.npz.12345"
    for use in (lambda: keep_arrays(path, {"mine": np.ones(3)}, {}), lambda: kept_arrays(path, {})):
        left.write_bytes(b"half a file")
        use()
        assert left.exists()
        then = time.time() - 2 * LEFT_S
        os.utime(left, (then, then))
        use()
        assert [one.name for one in tmp_path.iterdir()] == ["answers.npz"]
