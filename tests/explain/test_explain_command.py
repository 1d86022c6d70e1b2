"""`experiments/explain.py` as a person calls it, on the network that comes with emojax."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest
import skimage.data

if TYPE_CHECKING:
    from conftest import RunPython

SCRIPT = Path("experiments/explain.py").resolve()


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "astronaut.png"
    cv2.imwrite(str(path), skimage.data.astronaut()[:, :, ::-1])
    return path


def test_a_network_without_data_asks_for_pictures(run_python: RunPython, tmp_path: Path) -> None:
    done = run_python(SCRIPT, "faces", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "explain.py: error: faces: has no data beside it: give --pictures or --data\n"
    )


@pytest.mark.slow
def test_a_photograph_gives_a_page_that_stands_alone(
    run_python: RunPython, tmp_path: Path, photograph: Path
) -> None:
    words = ["faces", f"--pictures={photograph}", "--of", "answered", "fear"]
    done = run_python(SCRIPT, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "explained"
    assert {path.name for path in out.iterdir()} == {
        *("index.html", "heat.png", "kernels-face.png", "answers.csv")
    }
    page = (out / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    assert "stage4_block1, 7 x 5" in page
    with (out / "answers.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["name"] == "astronaut.png"
    assert float(row["happiness"]) > 0.8


@pytest.mark.slow
def test_an_output_that_is_none_is_one_line(
    run_python: RunPython, tmp_path: Path, photograph: Path
) -> None:
    done = run_python(SCRIPT, "faces", f"--pictures={photograph}", "--of=AU12", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("explain.py: error: output 'AU12': use answered, true, or one of")
    assert done.stderr.count("\n") == 1
