from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_clip import LOG_MEL, expected_clip, tiny_clip_model, write_clip_artifact

from emojax.cli import main
from emojax.data.synthetic.files import write_wav
from emojax.errors import UserError
from emojax.runtime import ClipPredictor, load_artifact
from emojax.runtime.occlusion import without_pause
from emojax.runtime.sound_heat import draw_sound_heat, look_for_sound_heat, write_sound_heat

RATE_HZ = LOG_MEL.sample_rate_hz


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model that hears how much sound there is, in looks of a second, every quarter of one."""
    return write_clip_artifact(tmp_path_factory.mktemp("heard") / "artifact", tiny_clip_model())


@pytest.fixture(scope="module")
def predictor(folder: Path) -> ClipPredictor:
    return ClipPredictor(load_artifact(folder))


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)


def test_falls_are_those_of_silenced_squares(predictor: ClipPredictor) -> None:
    found = without_pause(look_for_sound_heat(noise(1.0), predictor, "anger"))
    heard = predictor.listen(noise(1.0))
    assert heard is not None
    assert found.window_s == (0.0, 1.0)
    assert np.array_equal(found.spectrogram, heard)
    whole = expected_clip(None, heard)
    side = found.occlusion.side
    assert side == 16
    for row, column in ((0, 0), (3, 5), (-1, -1)):
        top, left = found.occlusion.tops[row], found.occlusion.lefts[column]
        covered = heard.copy()
        covered[top : top + side, left : left + side] = 0
        np.testing.assert_allclose(
            found.occlusion.falls[row, column], whole - expected_clip(None, covered), atol=1e-5
        )


def test_the_look_that_answers_most_is_looked_into(predictor: ClipPredictor) -> None:
    """Anger grows with the sound: of silence, a second of noise and silence it is the second."""
    silence = np.zeros(RATE_HZ, np.float32)
    samples = np.concatenate([silence, noise(1.0), silence])
    found = without_pause(look_for_sound_heat(samples, predictor, "anger"))
    assert found.window_s == (1.0, 2.0)
    assert draw_sound_heat(found, predictor).shape[1] == 640


def test_looks_are_as_long_as_they_are_asked_to_be(predictor: ClipPredictor) -> None:
    samples = np.concatenate([np.zeros(RATE_HZ, np.float32), noise(0.5)])
    found = without_pause(look_for_sound_heat(samples, predictor, "anger", 0.5, 0.5))
    assert found.window_s == (1.0, 1.5)
    heard = predictor.listen(noise(0.5))
    assert heard is not None
    assert np.array_equal(found.spectrogram, heard)


def test_what_can_not_be_had(predictor: ClipPredictor) -> None:
    with pytest.raises(UserError, match="no output 'joy'"):
        without_pause(look_for_sound_heat(noise(1.0), predictor, "joy"))
    with pytest.raises(UserError, match="there is no sound"):
        without_pause(look_for_sound_heat(noise(0.0), predictor))


def test_predict_writes_it_for_a_sound(folder: Path, tmp_path: Path, capsys) -> None:
    write_wav(tmp_path / "a.wav", (noise(1.5) * 32767).astype(np.int16), RATE_HZ)
    words = ["--model", str(folder), "--out", str(tmp_path / "out"), "--heat", "fear"]
    assert main(["predict", str(tmp_path / "a.wav"), *words]) == 0
    assert "what the network goes by in 1 file" in capsys.readouterr().out
    copy = cv2.imread(str(tmp_path / "out" / "heat" / "a.png"))
    assert copy is not None
    assert copy.shape[1] == 640


def test_predict_looks_into_the_windows_that_its_rows_have(
    folder: Path, predictor: ClipPredictor, tmp_path: Path
) -> None:
    write_wav(tmp_path / "a.wav", (noise(1.5) * 32767).astype(np.int16), RATE_HZ)
    words = ["--model", str(folder), "--out", str(tmp_path / "out"), "--heat", "fear"]
    words += ["--window", "0.5", "--step", "0.5"]
    assert main(["predict", str(tmp_path / "a.wav"), *words]) == 0
    expected = tmp_path / "expected.png"
    write_sound_heat(tmp_path / "a.wav", predictor, "fear", expected, 0.5, 0.5)
    assert (tmp_path / "out" / "heat" / "a.png").read_bytes() == expected.read_bytes()
