"""What is predicted of clips that lack a side, and the pixels that a baseline looks at."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from emojax import baseline
from emojax.baseline import pixel_baseline
from emojax.data.resident import select
from emojax.data.shards import FaceArrays
from emojax.evaluate import make_predictor
from emojax.models.ar5 import AR5
from emojax.sharding import make_mesh
from emojax.spec import InputSpec, SpectrogramSpec
from emojax.train import init_variables

SPEC = InputSpec(
    height=32, width=32, frames=20, sound=SpectrogramSpec(height=16, width=16), action_units=()
)
EXAMPLES = 6


@pytest.fixture
def arrays() -> FaceArrays:
    """Noise; the second and the last example have no face, the third no sound."""
    rng = np.random.default_rng(0)
    num_frames = np.array([20, 0, 20, 15, 20, 0], np.int32)
    faces = rng.integers(0, 256, (EXAMPLES, 20, 32, 32), dtype=np.uint8)
    faces[num_frames == 0] = 0
    return FaceArrays(
        faces=faces,
        spectrograms=rng.integers(0, 256, (EXAMPLES, 16, 16), dtype=np.uint8),
        has_sound=np.array([1, 1, 0, 1, 1, 1], np.uint8),
        num_frames=num_frames,
        timestamps=np.zeros((EXAMPLES, 20), np.float32),
        success=np.ones((EXAMPLES, 20), np.uint8),
        emotion=np.arange(EXAMPLES, dtype=np.int32),
        emotion_confidence=np.ones(EXAMPLES, np.float32),
        votes=np.zeros((EXAMPLES, 3, 7), np.int32),
        votes_total=np.zeros((EXAMPLES, 3), np.int32),
        action_units=np.zeros((EXAMPLES, 0), np.int32),
        intensities=np.zeros((EXAMPLES, 0), np.float32),
        action_unit_confidence=np.ones((EXAMPLES, 0), np.float32),
        subject=np.arange(EXAMPLES, dtype=np.int32),
        domain=np.zeros(EXAMPLES, np.int32),
        subjects=tuple("abcdef"),
        domains=("",),
        paths=tuple("123456"),
        levels=("",) * EXAMPLES,
    )


@pytest.fixture(scope="module")
def predict() -> Any:
    model = AR5(SPEC.num_outputs, video_widths=(8, 8), sound_widths=(8, 8))
    variables = jax.jit(lambda key: init_variables(model, "clip", SPEC, key))(jax.random.key(0))
    predictor = make_predictor(model, "clip", SPEC, make_mesh())
    return lambda arrays, *modality: predictor(variables, arrays, *modality).emotions


def test_an_example_without_a_face_is_answered_by_its_sound(
    predict: Any, arrays: FaceArrays
) -> None:
    faces = arrays.faces.copy()
    faces[arrays.num_frames == 0] = 255
    painted = dataclasses.replace(arrays, faces=faces)
    both = predict(arrays)
    # Whatever stands where its face would be.
    np.testing.assert_array_equal(both, predict(painted))
    sound = predict(arrays, "sound")
    np.testing.assert_allclose(both[[1, 5]], sound[[1, 5]], atol=1e-6)
    others = np.abs(both - sound).max(axis=1)[[0, 2, 3, 4]]
    assert others.min() > 1e-4
    # Two sounds, two answers.
    assert np.abs(both[1] - both[5]).max() > 1e-4
    # Neither side: the same answer to all of them, not the answer to a black picture.
    video = predict(arrays, "video")
    np.testing.assert_array_equal(video[1], video[5])
    np.testing.assert_array_equal(video, predict(painted, "video"))


def test_nobody_is_answered_in_no_rows(arrays: FaceArrays, predict: Any) -> None:
    nobody = select(arrays, np.zeros(EXAMPLES, bool))
    assert predict(nobody).shape == predict(arrays)[:0].shape == (0, 7)


def test_the_baseline_never_learns_from_a_face_that_is_not_there(
    arrays: FaceArrays, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked_at: list[np.ndarray] = []
    whole = baseline._pixels

    def pixels(seen: FaceArrays) -> np.ndarray:
        looked_at.append(seen.num_frames)
        return whole(seen)

    monkeypatch.setattr(baseline, "_pixels", pixels)
    test = dataclasses.replace(arrays, num_frames=np.full(EXAMPLES, 20, np.int32))
    answers = pixel_baseline(arrays, test, 7)
    assert looked_at[0].tolist() == [20, 20, 15, 20]
    assert "2 of 6 examples are sound without a face: left out" in capsys.readouterr().out
    # Emotions that only sound was labelled with are never answered.
    assert answers.emotions.shape == (EXAMPLES, 7)
    assert (answers.emotions[:, [1, 5, 6]] == 0).all()
    np.testing.assert_allclose(answers.emotions.sum(axis=1), 1, atol=1e-5)
