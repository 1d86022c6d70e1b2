"""The sheet of augmented faces and spectrograms, drawn by the script itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import cv2
import pytest
from small_sets import noise_clips, noise_pictures

if TYPE_CHECKING:
    from conftest import RunPython

# What it draws takes many small programs to compile: `make slow` has the time.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def script(repository: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository / "experiments")
        yield importlib.import_module("show_augmentation")


# In one process: the second sheet has the first one's changes of pictures, and nothing to compile.
@pytest.mark.parametrize(("sound", "rows"), [(True, 9 + 2 + 2), (False, 9 + 2)])
def test_a_sheet_has_a_row_for_each_change(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sound: bool,
    rows: int,
) -> None:
    shards = noise_clips(tmp_path) if sound else noise_pictures(tmp_path, train=9)
    out = tmp_path / "sheet.png"
    monkeypatch.setattr("sys.argv", ["", f"--data={shards}", "--examples=2", f"--out={out}"])
    assert script.main() == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    sheet = cv2.imread(str(out), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None
    assert sheet.shape == (125 * rows, 1000)
    # Each row holds pictures, white lies between them.
    assert (sheet[:, 150:].min(axis=1) < 200).mean() > 0.8


def test_a_set_without_faces_to_show_is_one_line(
    run_python: RunPython, repository: Path, tmp_path: Path
) -> None:
    shards = noise_pictures(tmp_path, train=1, test=2)
    script = repository / "experiments" / "show_augmentation.py"
    done = run_python(script, f"--data={shards}", f"--out={tmp_path / 'sheet.png'}")
    assert done.returncode == 2
    assert "fewer than two faces" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "sheet.png").exists()
