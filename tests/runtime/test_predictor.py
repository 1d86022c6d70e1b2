from __future__ import annotations

import numpy as np
import pytest
from tiny_artifact import SPEC, convert, expected_answer, write_artifact

import emojax.runtime
from emojax.errors import UserError
from emojax.face import Detection, HaarDetector, crop_face, to_gray
from emojax.runtime import Predictor, load_artifact


def test_crops_get_the_models_answers(artifact_folder):
    predictor = emojax.runtime.load(artifact_folder)
    crops = np.random.default_rng(0).integers(0, 256, (5, 98, 80), dtype=np.uint8)
    crops[1], crops[2] = 0, 255
    found = predictor.predict_crops(crops)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [expected_answer(crop) for crop in crops], atol=1e-5)
    assert predictor.predict_crops(crops[:0]).shape == (0, 22)


def test_answers_are_at_the_spec_s_temperatures(tmp_path, model):
    temperature = {"action_units": 2.0, "emotions": 0.5}
    folder = write_artifact(tmp_path, model, calibration={"temperature": temperature})
    crops = np.random.default_rng(0).integers(0, 256, (3, 98, 80), dtype=np.uint8)
    (found, *_) = emojax.runtime.load(folder).predict_crops(crops)
    logits = np.log(expected_answer(crops[0])) - np.log1p(-expected_answer(crops[0]))
    logits[:15] /= 2
    logits[15:] /= 0.5
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_threads_do_not_change_the_answers(artifact_folder):
    crops = np.random.default_rng(0).integers(0, 256, (3, 98, 80), dtype=np.uint8)
    one = emojax.runtime.load(artifact_folder, threads=1).predict_crops(crops)
    two = emojax.runtime.load(artifact_folder, threads=2).predict_crops(crops)
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_frame_gives_its_face(artifact_folder, astronaut):
    (face,) = emojax.runtime.load(artifact_folder).predict_frame(astronaut)
    gray = to_gray(astronaut)
    (box,) = HaarDetector()(gray)
    assert face.detection == box
    expected = expected_answer(crop_face(gray, box, SPEC))
    np.testing.assert_allclose(face.action_units, expected[:15], atol=1e-5)
    np.testing.assert_allclose(face.emotions, expected[15:], atol=1e-5)
    assert face.emotion == SPEC.emotions[expected[15:].argmax()]


def test_a_frame_without_a_face_is_a_result(artifact_folder):
    predictor = emojax.runtime.load(artifact_folder)
    assert predictor.predict_frame(np.zeros((100, 100, 3), np.uint8)) == []


def test_another_detector_can_stand_in(artifact_folder, astronaut):
    boxes = [Detection(300, 10, 50, 50, 0.7), Detection(-20, 400, 200, 200, 0.9)]
    predictor = Predictor(load_artifact(artifact_folder), detector=lambda gray: boxes)
    assert [face.detection for face in predictor.predict_frame(astronaut)] == boxes[::-1]


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, 80, 98), np.uint8),
        np.zeros((98, 80), np.uint8),
        np.zeros((1, 98, 80), np.float32),
    ],
)
def test_crops_of_another_form_are_refused(artifact_folder, crops):
    with pytest.raises(UserError, match="wanted uint8"):
        emojax.runtime.load(artifact_folder).predict_crops(crops)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_at_least_one(artifact_folder, threads):
    with pytest.raises(UserError, match="threads="):
        emojax.runtime.load(artifact_folder, threads=threads)


@pytest.mark.parametrize("factor", [8.0, float("nan")], ids=["logits", "nan"])
def test_answers_that_are_no_probabilities_are_refused(tmp_path, factor):
    content = convert(lambda faces: faces[:, 0, :22, 0] * factor, (1, 98, 80, 1))
    predictor = emojax.runtime.load(write_artifact(tmp_path, content))
    with pytest.raises(UserError, match="no probability"):
        predictor.predict_crops(np.full((1, 98, 80), 200, np.uint8))


def test_a_model_of_emotions_alone(tmp_path):
    from dataclasses import replace

    spec = replace(SPEC, action_units=(), emotions=("neutral", "anger"))
    content = convert(lambda faces: faces[:, 0, :2, 0] * 0 + [[0.25, 0.75]], (1, 98, 80, 1))
    folder = write_artifact(
        tmp_path,
        content,
        input=spec.to_dict(),
        outputs={"action_units": [], "emotions": ["neutral", "anger"]},
        thresholds={"action_units": []},
    )
    (face,) = Predictor(
        load_artifact(folder), detector=lambda gray: [Detection(0, 0, 50, 50)]
    ).predict_frame(np.zeros((50, 50, 3), np.uint8))
    assert face.emotion == "anger"
    assert face.action_units.shape == (0,)


def test_the_runner_imports_neither_jax_nor_tensorflow(run_python, artifact_folder):
    done = run_python(
        "-c",
        "import sys, numpy, emojax.runtime\n"
        f"predictor = emojax.runtime.load({str(artifact_folder)!r})\n"
        "predictor.predict_crops(numpy.zeros((1, 98, 80), numpy.uint8))\n"
        "import emojax.commands.predict\n"
        "heavy = {'jax', 'flax', 'tensorflow', 'librosa', 'pandas', 'jaxtyping', 'optax'}\n"
        "print(sorted(heavy & set(sys.modules)))",
    )
    assert done.stdout.strip() == "[]", done.stderr
