from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_artifact import NOTICE, SPEC, convert, write_artifact

from emojax.errors import UserError
from emojax.face import HaarDetector
from emojax.runtime import load_artifact
from emojax.seal import sealed
from emojax.spec import SpectrogramSpec
from emojax.temperature import Temperatures


def test_an_artifact_is_read(artifact_folder, model):
    artifact = load_artifact(artifact_folder)
    assert artifact.spec == SPEC
    assert artifact.model == model
    assert artifact.notice == NOTICE
    assert artifact.detector == HaarDetector()
    np.testing.assert_array_equal(artifact.thresholds, np.full(15, 0.5, np.float32))
    assert artifact.fields["licence"] == "Apache-2.0"


def test_an_artifact_of_real_faces_has_no_notice(tmp_path, model):
    folder = write_artifact(tmp_path, model, training={"data": "x", "synthetic": False})
    assert load_artifact(folder).notice is None


def test_synthetic_training_is_told_without_a_notice_too(tmp_path, model):
    folder = write_artifact(tmp_path, model, training={"synthetic": True})
    assert "synthetic" in (load_artifact(folder).notice or "")


def test_an_artifact_that_was_never_calibrated_has_a_temperature_of_one(artifact_folder):
    artifact = load_artifact(artifact_folder)
    assert artifact.temperatures == Temperatures(1.0, 1.0)
    assert artifact.uncertain_below is None


def test_a_calibration_is_read(tmp_path, model):
    folder = write_artifact(
        tmp_path,
        model,
        calibration={"temperature": {"action_units": 2, "emotions": 1.5}, "fitted_on": {}},
        thresholds={"action_units": [0.25] * 15, "uncertain_below": 0.6},
    )
    artifact = load_artifact(folder)
    assert artifact.temperatures == Temperatures(2.0, 1.5)
    assert artifact.uncertain_below == 0.6


def test_detector_settings_travel(tmp_path, model):
    folder = write_artifact(tmp_path, model, detector=HaarDetector(scale_factor=1.3).settings())
    assert load_artifact(folder).detector == HaarDetector(scale_factor=1.3)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"format": "other"}, "format is 'other'"),
        ({"version": 2}, "artifact version 2"),
        ({"input": None}, "'input' is missing"),
        ({"input": {**SPEC.to_dict(), "version": 9}}, "version 9"),
        ({"input": {**SPEC.to_dict(), "frames": 20}}, "tells of 20 frames at once"),
        (
            {"input": SPEC.replace(frames=20, sound=SpectrogramSpec()).to_dict()},
            "tells of 20 frames with their sound at once",
        ),
        ({"input": {**SPEC.to_dict(), "height": 4}}, "height=4"),
        ({"outputs": {"action_units": [], "emotions": []}}, "disagree about action_units"),
        ({"thresholds": {"action_units": [0.5] * 14}}, "wanted 15"),
        ({"thresholds": {"action_units": [0.5] * 14 + [float("nan")]}}, "0..1"),
        ({"thresholds": {"action_units": [0.5] * 14 + [True]}}, "0..1"),
        ({"thresholds": {}}, "found None"),
        ({"thresholds": {"action_units": [0.5] * 15, "uncertain_below": 2}}, "below is 2: wanted"),
        ({"calibration": 3}, "'calibration' is no object"),
        ({"calibration": {}}, "'temperature' is missing"),
        ({"calibration": {"temperature": {"emotions": 1.0}}}, "action_units is None"),
        (
            {"calibration": {"temperature": {"emotions": 0, "action_units": 1.0}}},
            "emotions is 0: wanted a number in 0.05",
        ),
        (
            {"calibration": {"temperature": {"emotions": float("nan"), "action_units": 1.0}}},
            "emotions is nan",
        ),
        ({"detector": {"name": "magic"}}, "'magic'"),
        ({"detector": []}, "'detector' is no object"),
        ({"files": {}}, "'float32' is missing"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(tmp_path, model, changes, found):
    folder = write_artifact(tmp_path / "a", model, **changes)
    with pytest.raises(UserError, match=found) as caught:
        load_artifact(folder)
    assert str(folder / "spec.json") in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../model.tflite", "/etc/passwd", "..", "", "a\\b", "c:model", "a\nb", "\ud800", None, 3],
)
def test_a_model_outside_the_folder_is_refused(tmp_path, model, name):
    entry = {"float32": {"name": name, "sha256": "0"}}
    folder = write_artifact(tmp_path / "a", model, files=entry)
    with pytest.raises(UserError, match="plain name"):
        load_artifact(folder)


def test_an_unknown_emotion_is_refused(tmp_path, model):
    names = ["boredom", *SPEC.emotions[1:]]
    folder = write_artifact(
        tmp_path,
        model,
        input={**SPEC.to_dict(), "emotions": names},
        outputs={"action_units": list(SPEC.action_units), "emotions": names},
    )
    with pytest.raises(UserError, match="'boredom' is not known"):
        load_artifact(folder)


def test_a_spec_that_was_damaged_is_refused_before_it_is_believed(tmp_path, model):
    path = write_artifact(tmp_path, model) / "spec.json"
    fields = sealed(json.loads(path.read_text()))
    # In another order and with other spaces it says the same.
    path.write_text(json.dumps(dict(reversed(fields.items())), indent=7))
    assert load_artifact(tmp_path).thresholds[0] == 0.5
    fields["thresholds"]["action_units"][0] = 0.25
    path.write_text(json.dumps(fields))
    with pytest.raises(UserError, match=r"spec\.json: does not fit its own SHA-256.*'sha256'"):
        load_artifact(tmp_path)
    # Edited on purpose.
    del fields["sha256"]
    path.write_text(json.dumps(fields))
    assert load_artifact(tmp_path).thresholds[0] == 0.25


def test_a_model_that_no_model_can_be_is_not_read(tmp_path, model):
    folder = write_artifact(tmp_path, model)
    with (folder / "model.tflite").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="1099511627776 bytes, wanted the model of"):
        load_artifact(folder)


def test_a_changed_model_is_refused(tmp_path, model):
    folder = write_artifact(tmp_path, model)
    (folder / "model.tflite").write_bytes(model[:-1] + b"\xff")
    with pytest.raises(UserError, match=r"model\.tflite: SHA-256 is"):
        load_artifact(folder)


def test_a_model_that_is_none_is_refused(tmp_path):
    folder = write_artifact(tmp_path, b"no model" * 100)
    with pytest.raises(UserError, match="LiteRT can't load the model"):
        load_artifact(folder)


def test_a_cut_model_with_a_right_checksum_is_refused(tmp_path, model):
    folder = write_artifact(tmp_path, model[: len(model) // 2])
    with pytest.raises(UserError, match="LiteRT can't load the model"):
        load_artifact(folder)


def test_a_spec_that_does_not_fit_its_model_names_both(tmp_path, model):
    folder = write_artifact(tmp_path, model, input={**SPEC.to_dict(), "height": 96})
    with pytest.raises(UserError, match="the model's input is") as caught:
        load_artifact(folder)
    for part in ("model.tflite", "spec.json", "[1, 98, 80, 1]", "[1, 96, 80, 1]"):
        assert part in str(caught.value)


def test_a_model_with_other_outputs_names_both(tmp_path):
    other = convert(lambda faces: faces[:, 0, :15, 0], (1, 98, 80, 1))
    folder = write_artifact(tmp_path, other)
    with pytest.raises(UserError, match="the model's output is") as caught:
        load_artifact(folder)
    for part in ("model.tflite", "spec.json", "[1, 15]", "[1, 22]"):
        assert part in str(caught.value)


def test_folders_that_are_no_artifact(tmp_path, model):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    broken = write_artifact(tmp_path / "broken", model)
    (broken / "spec.json").write_text("{")
    without = write_artifact(tmp_path / "without", model)
    (without / "model.tflite").unlink()
    number = write_artifact(tmp_path / "number", model)
    (number / "spec.json").write_text(json.dumps(3))
    for name, found in [
        ("none", "no such folder"),
        ("file", "is a file"),
        ("empty", r"spec\.json: no such file"),
        ("broken", "not JSON"),
        ("without", r"model\.tflite: no such file"),
        ("number", "wanted a JSON object"),
    ]:
        with pytest.raises(UserError, match=found):
            load_artifact(tmp_path / name)
