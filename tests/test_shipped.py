"""The network that comes with emojax: it is whole, small, and answers from every side alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from small_sets import noise_pictures

import emojax
from emojax.commands.verify import main as verify
from emojax.config import TrainConfig
from emojax.experiment import load_network, train_run
from emojax.models import forward
from emojax.runtime import load
from emojax.seal import SEAL, checksum
from emojax.shipped import find_model, shipped_folder, shipped_names
from emojax.spec import read_json
from emojax.temperature import scale

if TYPE_CHECKING:
    from conftest import RunPython


def test_a_path_goes_before_a_name_and_nothing_means_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shipped_names() == ["faces"]
    assert find_model(None) == find_model("faces") == shipped_folder("faces")
    assert find_model("elsewhere") == Path("elsewhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    assert find_model("faces") == Path("faces")


def test_its_files_are_small_and_say_what_they_are() -> None:
    folder = shipped_folder()
    fields = read_json(folder / "spec.json")
    for entry in fields["files"].values():
        assert entry["bytes"] == (folder / entry["name"]).stat().st_size <= 3_000_000
    assert {path.name for path in folder.iterdir()} == {
        *(entry["name"] for entry in fields["files"].values()),
        *("golden.npz", "spec.json", "weights.npz", "config.json", "CARD.md"),
    }
    assert fields[SEAL] == checksum(fields)
    card = (folder / "CARD.md").read_text()
    for figure in ("FER2013 PublicTest", "FER2013 PrivateTest"):
        assert f"{fields['metrics'][figure]['value']:.3f}" in card
    assert "must not be used" in card


def test_it_answers_as_where_it_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify([]) == 0, capsys.readouterr().out


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


@pytest.mark.slow
def test_a_training_starts_from_it(tmp_path: Path) -> None:
    shards = noise_pictures(tmp_path, train=16, validation=7, test=7)
    config = TrainConfig(
        model="resnet_small",
        init="faces",
        outputs="emotions",
        emotion_activation="softmax",
        dropout=0.0,
        epochs=1,
        batch_size=8,
    )
    slow = dataclasses.replace(config.optim, learning_rate=1e-9, weight_decay=0.0)
    config = dataclasses.replace(config, optim=slow)
    train_run(config, tmp_path / "run", shards, baseline=False)
    before, after = load_network(shipped_folder()), load_network(tmp_path / "run")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7),
        before.variables["params"],
        after.variables["params"],
    )
