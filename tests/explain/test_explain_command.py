"""`experiments/explain.py` as a person calls it, on the network that comes with emojax."""

from __future__ import annotations

import csv
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest
import skimage.data
from hand_made_ar4 import make_network
from small_sets import noise_pictures

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


def test_photographs_are_explained_where_a_run_has_no_test_people(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(repository / "experiments")
    script = importlib.import_module("explain")
    network = make_network()
    data = noise_pictures(tmp_path, train=7, validation=7)
    asked: list[Any] = []
    monkeypatch.setattr(script, "load_network", lambda folder: network)
    monkeypatch.setattr(script, "read_photographs", lambda *_: None)
    monkeypatch.setattr(script, "explain_network", lambda *_: None)
    monkeypatch.setattr(script, "write_explanation", lambda *given: asked.extend(given))
    options = script.ExplainOptions("faces", pictures=(Path("photo.jpg"),), data=data)
    script.explain(options)
    _, _, _, found, facts, _ = asked
    assert found is None
    assert "What action units do to emotions is left out: it is of test people." in facts
