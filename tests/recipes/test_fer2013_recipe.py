"""FER2013's recipe: the data it takes, the networks it makes, and what is measured of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from emojax.errors import UserError
from emojax.models.resnet import ResNet
from emojax.network import build_network
from emojax.runtime import load
from emojax.spec import InputSpec


@pytest.fixture
def recipe(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import what lies in `experiments/recipes/`."""
    monkeypatch.syspath_prepend(repository / "experiments/recipes")
    monkeypatch.syspath_prepend(repository / "experiments")
    return importlib.import_module


def write_folders(folder: Path, split: str = "test", usage: str = "PublicTest") -> Path:
    rng = np.random.default_rng(0)
    for name in ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"):
        (folder / split / name).mkdir(parents=True)
        for number in range(2):
            path = folder / split / name / f"{usage}_{number}{name}.jpg"
            cv2.imwrite(str(path), rng.integers(0, 256, (48, 48), np.uint8))
    return folder


def test_another_number_of_pictures_is_refused(recipe: Any, tmp_path: Path) -> None:
    write_folders(tmp_path)
    with pytest.raises(UserError, match=r"0 Training_\*\.jpg, 14 PublicTest_\*\.jpg, 0 Private"):
        recipe("fer2013").check_source(tmp_path, any_copy=False)


def test_other_pictures_are_refused_unless_any_will_do(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = recipe("fer2013")
    write_folders(tmp_path, "train", "Training")
    # Somebody's copies, which the set does not count.
    (tmp_path / "train/happy/aug_1.jpg").write_bytes(b"")
    monkeypatch.setattr(module, "COUNTS", {"Training": 14})
    with pytest.raises(UserError, match=r"the pictures are others .*--any-copy"):
        module.check_source(tmp_path, any_copy=False)
    told = module.check_source(tmp_path, any_copy=True)
    monkeypatch.setattr(module, "FOLDERS_SHA256", told.split()[-1])
    assert module.check_source(tmp_path, any_copy=False) == told
    (tmp_path / "train/happy/Training_0happy.jpg").write_bytes(b"changed")
    with pytest.raises(UserError, match="the pictures are others"):
        module.check_source(tmp_path, any_copy=False)


def test_a_table_is_known_by_its_digest(recipe: Any, tmp_path: Path) -> None:
    table = tmp_path / "fer2013.csv"
    table.write_text("emotion,pixels,Usage\n")
    for source in (table, tmp_path):
        with pytest.raises(UserError, match=r"fer2013\.csv: MD5 is .* --any-copy"):
            recipe("fer2013").check_source(source, any_copy=False)


def test_the_pupil_is_small_and_the_teachers_are_not(recipe: Any) -> None:
    module, spec = recipe("fer2013"), InputSpec(action_units=(), emotion_activation="softmax")
    folders = (Path("a"), Path("b"))
    pupil = module.pupil_config(Path("data"), folders, 94, 0)
    teacher = module.teacher_config(Path("data"), 50, 1)
    assert pupil.teachers == ("a", "b")
    assert pupil.report_on == teacher.report_on == "validation"
    assert module.pupil_config(Path("data"), (), 16, 0).loss.label_smoothing == 0.1
    small, large = (build_network(config, spec) for config in (pupil, teacher))
    assert isinstance(small, ResNet)
    assert isinstance(large, ResNet)
    assert tuple(small.widths) == (32, 64, 128, 192)
    assert tuple(large.widths) == (48, 96, 192, 384)


def test_a_stronger_corruption_changes_more(recipe: Any) -> None:
    rows, columns = np.mgrid[0:48, 0:48]
    picture = (128 + 60 * np.sin(rows / 3) * np.cos(columns / 4)).astype(np.uint8)
    for name, (change, _, strengths) in recipe("measure_faces").CORRUPTIONS.items():
        changed = [change(picture, strength) for strength in strengths]
        assert all(one.shape == (48, 48) and one.dtype == np.uint8 for one in changed), name
        distances = [np.abs(one.astype(float) - picture).mean() for one in changed]
        assert distances[0] > 0, name
        # A pattern may come back under a turn; a face does not.
        if name != "tilt":
            assert distances == sorted(distances), name


def test_figures_are_those_of_the_runner(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, out = recipe("measure_faces"), tmp_path / "figures.json"
    write_folders(tmp_path)
    assert module.main([f"--source={tmp_path}", f"--out={out}"]) == 0
    figures = importlib.import_module("json").loads(out.read_text())
    pictures, emotions = module.read_pictures(tmp_path, "PublicTest")
    predictor = load()
    answers = module.answers_to(predictor, pictures).argmax(axis=1)
    named = [predictor.spec.emotions[answer] for answer in answers]
    right = [said == emotion for said, emotion in zip(named, emotions, strict=True)]
    assert figures["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert sum(map(sum, figures["confusion"])) == len(pictures) == 14
    assert "ms a face, int8, one thread" in capsys.readouterr().out


def test_no_pictures_is_one_line(recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no test/EMOTION/PrivateTest_\*\.jpg"):
        recipe("measure_faces").read_pictures(tmp_path, "PrivateTest")
