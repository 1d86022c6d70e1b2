"""`experiments/explain.py` as a person calls it, on the network that comes with emojax."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest
import skimage.data
from hand_made_ar4 import make_network
from small_sets import noise_pictures

from emojax import labels, results
from emojax.config import TrainConfig
from emojax.data.shards import dataset_info
from emojax.errors import UserError
from emojax.models.inputs import CLIP_FRAMES
from emojax.shipped import shipped_folder
from emojax.spec import InputSpec, read_json

if TYPE_CHECKING:
    from conftest import RunPython

SCRIPT = Path("experiments/explain.py").resolve()


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "astronaut.png"
    cv2.imwrite(str(path), skimage.data.astronaut()[:, :, ::-1])
    return path


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, of which the page is left out: what it would hold comes back."""
    monkeypatch.syspath_prepend(repository / "experiments")
    script = importlib.import_module("explain")
    monkeypatch.setattr(script, "read_photographs", lambda *_: None)
    monkeypatch.setattr(script, "explain_network", lambda _, examples, *others: examples)
    monkeypatch.setattr(script, "write_explanation", lambda *given: given)
    return script


@pytest.mark.parametrize(
    ("name", "advice"),
    [("faces", "give --pictures or --data"), ("voices", "give shards of clips with --data")],
)
def test_a_network_without_data_asks_for_what_it_can_look_at(
    name: str, advice: str, run_python: RunPython, tmp_path: Path
) -> None:
    done = run_python(SCRIPT, name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"explain.py: error: {name}: has no data beside it: {advice}\n"


@pytest.mark.parametrize(
    ("model", "advice"),
    [("ar1", "give --pictures or --data"), ("ar3", "give shards of clips with --data")],
)
def test_shards_without_test_people_are_refused_with_what_to_give(
    script: Any, model: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(model=model)
    spec = InputSpec(frames=1 if model == "ar1" else CLIP_FRAMES)
    network = make_network()._replace(config=config, spec=spec)
    monkeypatch.setattr(script, "load_network", lambda folder: network)
    data = noise_pictures(tmp_path, train=7, validation=7)
    with pytest.raises(UserError, match=f"{data}: nobody is in its split `test`: {advice}$"):
        script.explain(script.ExplainOptions("faces", data=data))


def test_people_whom_a_network_has_seen_are_not_explained_as_test_people(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise_pictures(tmp_path, train=7, validation=7, test=7)
    someone = read_json(shipped_folder("voices") / "config.json")["people"][0]
    report = {"splits": {"test": {"people": ["new", someone]}}}
    info = dataclasses.replace(dataset_info(data), name="crema_d", report=report)
    monkeypatch.setattr(results, "dataset_info", lambda folder: info)
    monkeypatch.setattr(script, "load_network", lambda folder: make_network())
    with pytest.raises(UserError, match=f"voices: was trained on '{someone}' and 0 others, who"):
        script.explain(script.ExplainOptions("voices", data=data))


def test_shards_of_another_size_are_not_explained_and_other_emotions_are(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise_pictures(tmp_path, train=7, validation=7, test=7)
    config = TrainConfig(model="ar1")
    for spec in (InputSpec(height=49), InputSpec(emotions=labels.emotion_names("crema6"))):
        network = make_network()._replace(config=config, spec=spec)
        monkeypatch.setattr(script, "load_network", lambda folder, network=network: network)
        options = script.ExplainOptions("faces", data=data, each=1)
        if spec.height == 49:
            with pytest.raises(UserError, match=r"shards of faces: height \(98, not 49\): build"):
                script.explain(options)
        else:
            # Of surprise, which it does not answer, nobody is taken.
            assert script.explain(options)[2].emotion.tolist() == [0, 1, 2, 3, 4, 5]


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
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network()
    data = noise_pictures(tmp_path, train=7, validation=7)
    monkeypatch.setattr(script, "load_network", lambda folder: network)
    options = script.ExplainOptions("faces", pictures=(Path("photo.jpg"),), data=data)
    _, _, _, found, facts, _ = script.explain(options)
    assert found is None
    assert "What action units do to emotions is left out: it is of test people." in facts
