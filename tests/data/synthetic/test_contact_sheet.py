from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

from emojax.data.synthetic.contact_sheet import main

if TYPE_CHECKING:
    from conftest import RunPython


def test_the_sheet_is_written_and_small(tmp_path: Path) -> None:
    assert main([str(tmp_path / "docs" / "sheet.png"), "--people", "1"]) == 0
    sheet = cv2.imread(str(tmp_path / "docs" / "sheet.png"))
    assert sheet is not None
    # 15 action units, 7 emotions, 4 domains.
    assert sheet.shape[0] > 26 * 98
    assert (tmp_path / "docs" / "sheet.png").stat().st_size < 900_000


def test_the_committed_sheet_is_there_and_small(repository: Path) -> None:
    path = repository / "docs" / "synthetic_contact_sheet.png"
    assert 100_000 < path.stat().st_size < 900_000


def test_mistakes_end_with_2(tmp_path: Path, run_python: RunPython) -> None:
    module = "emojax.data.synthetic.contact_sheet"
    (tmp_path / "file").write_text("here")
    blocked = run_python("-m", module, tmp_path / "file" / "sheet.png", "--people", "1")
    assert blocked.returncode == 2
    assert blocked.stderr.count("\n") == 1
    assert "file" in blocked.stderr
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "sheet.jpg")])
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "sheet.png"), "--intensity", "0.1"])
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
