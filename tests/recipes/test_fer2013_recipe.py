"""FER2013's recipe: the data it takes, the networks it makes, and what is measured of them."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_sets import noise_pictures

from emojax.config import TrainConfig
from emojax.data.shards import dataset_info
from emojax.errors import UserError
from emojax.files import write_json
from emojax.models.resnet import ResNet
from emojax.network import build_network
from emojax.run import open_run
from emojax.runtime import load
from emojax.shipped import shipped_folder
from emojax.spec import InputSpec, read_json


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


@pytest.mark.parametrize(
    "name",
    ["train/happy/mine_1.jpg", "train/happy/Training_7.png", "validation/happy/PublicTest_9.jpg"],
)
def test_pictures_that_would_be_trained_on_uncounted_are_refused(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module = recipe("fer2013")
    write_folders(tmp_path, "train", "Training")
    monkeypatch.setattr(module, "COUNTS", {"Training": 14})
    assert "14 pictures" in module.check_source(tmp_path, any_copy=True)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(tmp_path / name), np.zeros((48, 48), np.uint8))
    with pytest.raises(UserError, match=rf"{Path(name).name}: no picture of FER2013's"):
        module.check_source(tmp_path, any_copy=True)


def test_the_table_that_is_built_is_the_one_that_is_compared(recipe: Any, tmp_path: Path) -> None:
    write_folders(tmp_path, "train", "Training")
    (tmp_path / "fer2013").mkdir()
    (tmp_path / "fer2013/icml_face_data.csv").write_text("emotion,pixels,Usage\n")
    with pytest.raises(UserError, match=r"icml_face_data\.csv: MD5 is"):
        recipe("fer2013").check_source(tmp_path, any_copy=False)


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


def test_copies_of_training_pictures_are_counted_and_left_out(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, out = recipe("measure_faces"), tmp_path / "figures.json"
    write_folders(tmp_path)
    assert module.find_copies(tmp_path, []) is None
    happy = tmp_path / "train/happy"
    happy.mkdir(parents=True)
    for number, name in enumerate(("happy/PublicTest_0happy", "sad/PublicTest_1sad")):
        content = (tmp_path / f"test/{name}.jpg").read_bytes()
        (happy / f"Training_{number}.jpg").write_bytes(content)
    assert module.main([f"--source={tmp_path}", f"--out={out}"]) == 0
    figures = importlib.import_module("json").loads(out.read_text())
    assert figures["copies"]["pictures"] == 2
    pictures, emotions = module.read_pictures(tmp_path, "PublicTest")
    copies = module.find_copies(tmp_path, pictures)
    predictor = load()
    answers = module.answers_to(predictor, pictures).argmax(axis=1)
    right = np.array([predictor.spec.emotions[a] for a in answers]) == np.array(emotions)
    found = figures["copies"]["accuracy_of_others"]["value"]
    assert found == pytest.approx(right[~copies].mean())
    assert "2 are training pictures, pixel for pixel" in capsys.readouterr().out


def test_a_set_without_one_emotion_has_no_recall_of_it(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, out = recipe("measure_faces"), tmp_path / "new" / "figures.json"
    write_folders(tmp_path)
    for path in (tmp_path / "test/fear").iterdir():
        path.unlink()
    assert module.main([f"--source={tmp_path}", f"--out={out}"]) == 0
    figures = importlib.import_module("json").loads(out.read_text())
    assert figures["recall"]["fear"] is None
    assert "recall of fear               -" in capsys.readouterr().out


def test_where_figures_can_t_be_written_is_said_first(recipe: Any, tmp_path: Path) -> None:
    module = recipe("measure_faces")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        module.main([f"--source={tmp_path}", f"--out={tmp_path / 'file' / 'figures.json'}"])


def test_nothing_but_an_artifact_is_shipped_over(recipe: Any, tmp_path: Path) -> None:
    module, shipped = recipe("shipping"), shipped_folder()
    thesis = tmp_path / "mine" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    told = {"data": "fer2013", "notice": "", "metrics": {}}
    with pytest.raises(UserError, match="mine: exists and is no artifact"):
        module.put(thesis.parent, shipped, shipped, **told)
    shutil.copyfile(shipped / "spec.json", thesis.parent / "spec.json")
    with pytest.raises(UserError, match=r"mine: holds thesis\.txt"):
        module.put(thesis.parent, shipped, shipped, **told)
    lacking = tmp_path / "lacking"
    shutil.copytree(shipped, lacking)
    spec = read_json(lacking / "spec.json")
    del spec["files"]["float16"]
    write_json(lacking / "spec.json", spec)
    out = tmp_path / "out"
    shutil.copytree(shipped, out)
    with pytest.raises(UserError, match="lacking: has no float16 file"):
        module.put(out, shipped, lacking, **told)
    assert (out / "CARD.md").is_file()
    assert thesis.is_file()
    module.put(out, shipped, shipped, **told)
    assert load(out).spec == load(shipped).spec


def test_a_teacher_that_can_t_go_on_is_refused_before_any_is_trained(
    recipe: Any, tmp_path: Path
) -> None:
    cooking, data = recipe("cooking"), noise_pictures(tmp_path, train=8, validation=7)
    info = dataset_info(data)
    begun, new = TrainConfig(data=str(data), epochs=1), TrainConfig(data=str(data), epochs=2)
    fingerprint = info.report["fingerprint"]
    folder = tmp_path / "begun"
    open_run(folder, begun, info.input_spec, data, fingerprint, fresh=False)
    (folder / "checkpoints" / "1").mkdir(parents=True)
    cooking.check_runs([(new, tmp_path / "none"), (begun, folder)], data)
    with pytest.raises(UserError, match="begun: holds a run with other settings"):
        cooking.check_runs([(new, tmp_path / "none"), (new, folder)], data)
    assert not (tmp_path / "none").exists()


def test_no_pictures_is_one_line(recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no test/EMOTION/PrivateTest_\*\.jpg"):
        recipe("measure_faces").read_pictures(tmp_path, "PrivateTest")
