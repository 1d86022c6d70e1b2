"""The networks that come with emojax: they are whole, small, and answer from every side alike."""

from __future__ import annotations

import csv
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from small_sets import noise_pictures

import emojax
from emojax import experiment
from emojax.commands.verify import main as verify
from emojax.config import TrainConfig
from emojax.experiment import train_run
from emojax.models import forward
from emojax.models.inputs import Clip
from emojax.network import load_network
from emojax.runtime import load, load_artifact
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.seal import SEAL, checksum
from emojax.shipped import find_model, shipped_folder, shipped_names
from emojax.spec import read_json
from emojax.temperature import scale
from emojax.video import read_sound

if TYPE_CHECKING:
    from conftest import RunPython


def test_a_path_goes_before_a_name_and_nothing_means_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shipped_names() == ["faces", "voices"]
    assert find_model(None) == find_model("faces") == shipped_folder("faces")
    assert find_model(None, "voices") == find_model("voices") == shipped_folder("voices")
    assert find_model("elsewhere") == Path("elsewhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    assert find_model("faces") == Path("faces")


@pytest.mark.parametrize(
    ("name", "largest", "others", "figures"),
    [
        ("faces", 3_000_000, set(), ("FER2013 PublicTest", "FER2013 PrivateTest")),
        ("voices", 2_000_000, {"sound.npz"}, ("CREMA-D, folds by person", "RAVDESS")),
    ],
)
def test_its_files_are_small_and_say_what_they_are(
    name: str, largest: int, others: set[str], figures: tuple[str, ...]
) -> None:
    folder = shipped_folder(name)
    fields = read_json(folder / "spec.json")
    for entry in fields["files"].values():
        assert entry["bytes"] == (folder / entry["name"]).stat().st_size <= largest
    assert {path.name for path in folder.iterdir()} == {
        *(entry["name"] for entry in fields["files"].values()),
        *("golden.npz", "spec.json", "weights.npz", "config.json", "CARD.md"),
        *others,
    }
    assert fields[SEAL] == checksum(fields)
    card = (folder / "CARD.md").read_text()
    for figure in figures:
        assert f"{fields['metrics'][figure]['value']:.3f}" in card
    assert "must not be used" in card


@pytest.mark.parametrize("name", ["faces", "voices"])
def test_it_answers_as_where_it_was_made(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify([str(shipped_folder(name))]) == 0, capsys.readouterr().out


def test_the_astronaut_smiles() -> None:
    records = emojax.load().predict(skimage.data.astronaut())
    assert [record.emotion for record in records] == ["happiness"]
    assert records[0].emotion_happiness_p > 0.8


def test_the_weights_are_the_artifacts() -> None:
    predictor, network = load(precision="float16"), load_network(shipped_folder())
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (3, 98, 80), dtype=np.uint8)
    crops[1] = np.arange(98)[:, None] * 2
    pictures = ((crops - network.spec.offset) / network.spec.scale).astype(np.float32)[..., None]
    both = [
        jax.nn.softmax(forward(network.model, network.variables, jnp.asarray(side)).logits)
        for side in (pictures, pictures[:, :, ::-1])
    ]
    wanted = scale(
        np.mean([np.asarray(side) for side in both], axis=0),
        predictor.spec,
        predictor.artifact.temperatures,
    )
    np.testing.assert_allclose(predictor.predict_crops(crops), wanted, atol=2e-3)


def test_the_command_needs_no_model(run_python: RunPython, tmp_path: Path) -> None:
    picture = tmp_path / "astronaut.png"
    cv2.imwrite(str(picture), skimage.data.astronaut()[..., ::-1])
    out = tmp_path / "out"
    done = run_python("-m", "emojax", "predict", picture, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "wrong about three faces in ten" in done.stdout
    assert ",happiness," in (out / "predictions.csv").read_text()


def write_voice(path: Path, seconds: float = 4.0) -> Path:
    """A vowel that rises and falls, with pauses."""
    time = np.arange(round(seconds * 16000)) / 16000
    pitch = 2 * np.pi * np.cumsum(180 + 60 * np.sin(2 * np.pi * 0.7 * time)) / 16000
    tones = sum(np.sin(k * pitch) / k for k in range(1, 12))
    loudness = np.clip(np.sin(2 * np.pi * 1.5 * time), 0, 1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((8000 * loudness * tones).astype("<i2").tobytes())
    return path


def test_a_sound_needs_no_model_either(run_python: RunPython, tmp_path: Path) -> None:
    voice, out = write_voice(tmp_path / "voice.wav"), tmp_path / "out"
    done = run_python("-m", "emojax", "predict", voice, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "not what a person feels" in done.stdout
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Windows of three seconds, each three quarters of a second after the one before.
    assert [float(row["window_start"]) for row in rows] == [0.0, 0.75, 1.5]
    predictor = ClipPredictor(load_artifact(shipped_folder("voices")))
    samples = read_sound(voice)
    assert samples is not None
    wanted = predictor.predict_clip(None, predictor.listen(samples[:48000]))
    assert wanted is not None
    found = [float(rows[0][f"emotion_{name}_p"]) for name in predictor.spec.emotions]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_weights_for_voices_are_the_artifacts(tmp_path: Path) -> None:
    network = load_network(shipped_folder("voices"))
    predictor = ClipPredictor(load_artifact(shipped_folder("voices"), "float16"))
    samples = read_sound(write_voice(tmp_path / "voice.wav"))
    assert samples is not None
    heard = predictor.listen(samples)
    assert heard is not None
    spec = network.spec
    clip = Clip(
        jnp.zeros((1, spec.frames, spec.height, spec.width)),
        jnp.asarray(heard, jnp.float32)[None, :, :, None] / 255,
        jnp.zeros(1),
        jnp.ones(1),
    )
    probabilities = jax.nn.softmax(forward(network.model, network.variables, clip).logits)
    wanted = scale(np.asarray(probabilities), spec, predictor.artifact.temperatures)
    np.testing.assert_allclose(predictor.predict_clip(None, heard), wanted[0], atol=2e-3)


def test_a_training_starts_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[Any] = []

    def stop(trainer: Any, *_: Any, **__: Any) -> Any:
        starts.append(trainer.init().params)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "fit", stop)
    shards = noise_pictures(tmp_path, train=16, validation=7, test=7)
    config = TrainConfig(
        model="resnet_small",
        init="faces",
        outputs="emotions",
        emotion_activation="softmax",
        epochs=1,
        batch_size=8,
    )
    with pytest.raises(KeyboardInterrupt):
        train_run(config, tmp_path / "run", shards, baseline=False)
    (found,) = starts
    wanted = load_network(shipped_folder()).variables["params"]
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
