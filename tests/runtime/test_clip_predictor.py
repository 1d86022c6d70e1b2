from __future__ import annotations

import numpy as np
import pytest
from tiny_clip import CLIP, LOG_MEL, expected_clip, tiny_clip_model, write_clip_artifact

import emojax.runtime
from emojax.audio import stored_spectrogram
from emojax.clip import sample_clip
from emojax.data.mel import make_mel_filters
from emojax.errors import UserError
from emojax.runtime import ClipPredictor, load_artifact


@pytest.fixture(scope="module")
def clip_model() -> bytes:
    return tiny_clip_model()


@pytest.fixture(scope="module")
def folder(clip_model, tmp_path_factory):
    return write_clip_artifact(tmp_path_factory.mktemp("clip") / "artifact", clip_model)


def test_clips_get_the_models_answers_with_either_side_missing(folder):
    predictor = ClipPredictor(load_artifact(folder))
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (9, 98, 80), dtype=np.uint8)
    crops[5:] //= 3
    voice = (0.3 * np.sin(np.arange(20_000) / 3)).astype(np.float32)
    heard = predictor.listen(voice)
    assert heard is not None
    np.testing.assert_array_equal(
        heard, stored_spectrogram(voice, LOG_MEL, make_mel_filters(LOG_MEL))
    )
    seen = crops[sample_clip(9, 60, 4)]
    answers = [
        (predictor.predict_clip(crops, heard), expected_clip(seen, heard)),
        (predictor.predict_clip(crops, None), expected_clip(seen, None)),
        (predictor.predict_clip(None, heard), expected_clip(None, heard)),
    ]
    for found, expected in answers:
        assert found is not None
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # Three ways, three answers: nothing that is missing is made up.
    assert min(np.abs(answers[one][1] - answers[two][1]).max() for one, two in [(0, 1), (0, 2)]) > 0
    assert predictor.predict_clip(None, None) is None
    assert predictor.listen(voice[:0]) is None


def test_silence_beside_frames_counts_as_no_sound_as_in_the_shards(folder, clip_model, tmp_path):
    crops = np.full((4, 98, 80), 200, np.uint8)
    predictor = ClipPredictor(load_artifact(folder))
    asked = watch_masks(predictor)
    silent = predictor.listen(np.zeros(20_000, np.float32))
    assert silent is not None
    assert not silent.any()
    faint = silent.copy()
    faint[-1, 0] = 1
    for heard in (silent, faint, None):
        predictor.predict_clip(crops, heard)
    # Nothing else is left of a clip without anybody.
    predictor.predict_clip(None, silent)
    assert asked == [(1, 0), (1, 1), (1, 0), (0, 1)]
    # A network that only listens has nothing but its silence, somebody or not.
    clip = {"window_s": 1.0, "step_s": 0.25, "kept_frames": 60, "sees": False}
    listener = ClipPredictor(load_artifact(write_clip_artifact(tmp_path, clip_model, clip=clip)))
    asked = watch_masks(listener)
    listener.predict_clip(crops, silent)
    assert asked == [(0, 1)]


def watch_masks(predictor: ClipPredictor) -> list[tuple[float, float]]:
    """Return a list that fills with what the network is told of: frames, and sound."""
    answers, asked = predictor._network.answers, []

    def watched(named):
        asked.append((float(named["has_frames"][0]), float(named["has_sound"][0])))
        return answers(named)

    predictor._network.answers = watched
    return asked


def test_a_network_of_frames_alone_needs_somebody(tmp_path):
    folder = write_clip_artifact(tmp_path, tiny_clip_model(listens=False), listens=False)
    predictor = ClipPredictor(load_artifact(folder))
    assert not predictor.hears
    assert predictor.predict_clip(None, None) is None
    crops = np.full((2, 98, 80), 200, np.uint8)
    found = predictor.predict_clip(crops, None)
    assert found is not None
    np.testing.assert_allclose(found, expected_clip(crops[[0, 0, 1, 1]], None), atol=1e-5)


def test_clips_are_answered_at_the_artifacts_temperatures(tmp_path, clip_model):
    degrees = {"temperature": {"action_units": 2.0, "emotions": 0.5}}
    folder = write_clip_artifact(tmp_path / "a", clip_model, calibration=degrees)
    crops = np.full((2, 98, 80), 200, np.uint8)
    expected = expected_clip(crops[[0, 0, 1, 1]], None)
    logits = np.log(expected / (1 - expected)) / np.array([2.0] * 15 + [0.5] * 7)
    found = ClipPredictor(load_artifact(folder)).predict_clip(crops, None)
    assert found is not None
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_each_kind_of_network_has_its_predictor(folder, artifact_folder):
    with pytest.raises(UserError, match=r"a model for clips .4 frames with their sound at once"):
        emojax.runtime.load(folder)
    with pytest.raises(UserError, match="a model for pictures"):
        ClipPredictor(load_artifact(artifact_folder))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"looks_at": "picture"}, "looks_at is 'picture', the input spec tells of 4 frames"),
        ({"looks_at": "smell"}, "looks_at is 'smell'"),
        ({"looks_at": "frames"}, "4 frames with their sound"),
        ({"mirrored": True}, "mirrored is true, and looks_at is 'clip'"),
        ({"clip": None}, "'clip' is missing"),
        ({"clip": {"window_s": 1, "step_s": 2}}, "no longer than the window"),
        ({"clip": {"window_s": float("nan"), "step_s": 1}}, "window of nan s"),
        ({"clip": {"window_s": 1, "step_s": 1, "kept_frames": 0, "sees": True}}, "kept_frames"),
        ({"clip": {"window_s": 1, "step_s": 1, "kept_frames": 9, "sees": 1}}, "sees is 1"),
        ({"sound": None}, "'sound' is missing"),
        ({"sound": {"name": "../sound.npz", "sha256": "0"}}, "reference is None"),
        ({"sound": {"name": "../x.npz", "sha256": "", "reference": "maximum"}}, "plain name"),
        ({"sound": {"name": "sound.npz", "sha256": "0", "reference": "maximum"}}, "SHA-256 is"),
        ({"input": CLIP.replace(frames=5).to_dict()}, "the model's input frames is float32"),
        ({"input": CLIP.replace(sound=None).to_dict()}, "wanted frames, has_frames"),
    ],
)
def test_a_clip_artifact_that_makes_no_sense_is_refused(tmp_path, clip_model, changes, found):
    folder = write_clip_artifact(tmp_path / "a", clip_model, **changes)
    with pytest.raises(UserError, match=found) as caught:
        load_artifact(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
