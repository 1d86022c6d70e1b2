"""Whole runs of the networks that look at clips, and of the one that is trained in two parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from bar_clips import bar_clips

from emojax.config import TrainConfig
from emojax.data.shards import load_split
from emojax.experiment import train_run
from emojax.export import flax_answers, record
from emojax.export_run import export_run
from emojax.face import Detection
from emojax.golden import name_inputs
from emojax.network import load_network
from emojax.optim import OptimConfig
from emojax.report import terminal_table
from emojax.results import evaluate_run
from emojax.runtime import ClipPredictor, load_artifact
from emojax.runtime.clip_windows import hear_windows
from emojax.runtime.looking import see_windows
from emojax.runtime.sources import Source
from emojax.runtime.verify import verify_artifact
from emojax.temperature import LARGEST, SMALLEST, scale

# Trainings, whole: `make slow` has the time.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bar_clips(tmp_path_factory.mktemp("clips"), {"train": 10, "validation": 4, "test": 3})


CLIPS = TrainConfig(
    model="ar5",
    outputs="emotions",
    emotion_activation="softmax",
    batch_size=20,
    epochs=16,
    modality_dropout=0.3,
    optim=OptimConfig(learning_rate=2e-3),
)


@pytest.fixture(scope="module")
def ar5(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "ar5"
    return folder, train_run(CLIPS, folder, shards)


def test_one_set_of_weights_is_judged_in_three_ways(ar5: tuple[Path, dict[str, Any]]) -> None:
    folder, results = ar5
    test = results["test"]
    assert set(test["modalities"]) == {"video", "sound"}
    recalls = [
        scope["emotion"]["unweighted_average_recall"]["value"]
        for scope in (test["overall"], *test["modalities"].values())
    ]
    # Both sides tell the emotion: the network learns it, and each side counts.
    assert recalls[0] > 0.6
    assert len(set(recalls)) > 1
    assert test["overall"]["action_units"] == {}
    table = terminal_table(results)
    assert "video only" in table
    assert "sound only" in table
    page = (folder / "report.html").read_text()
    assert "sound only" in page
    assert "Action units at a threshold" not in page
    assert not (folder / "action_units.png").exists()
    assert results["history"][-1]["validation_loss"] < results["history"][0]["validation_loss"]


def test_evaluating_a_clip_network_again_gives_the_same_figures(
    ar5: tuple[Path, dict[str, Any]],
) -> None:
    folder, results = ar5
    assert evaluate_run(folder, None, "test")["test"] == results["test"]


@pytest.fixture(scope="module")
def exported(
    ar5: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("exported") / "artifact"
    return folder, export_run(ar5[0], folder, faces=9)


def whole_frame(gray: np.ndarray) -> list[Detection]:
    """The clips' frames are faces already cut."""
    return [Detection(0, 0, gray.shape[1], gray.shape[0])]


def test_a_clip_network_is_exported_and_answers_in_the_runner_as_in_flax(
    ar5: tuple[Path, dict[str, Any]], exported: tuple[Path, dict[str, Any]], shards: Path
) -> None:
    folder, fields = exported
    assert fields["looks_at"] == "clip"
    assert fields["files"]["float32"]["agreement"]["largest_difference"] <= 1e-4
    assert [one.agrees for one in verify_artifact(folder)] == [True] * 3
    golden = np.load(folder / "golden.npz", allow_pickle=False)
    assert golden["crops"].shape == (12, 20, 98, 80)
    assert golden["spectrograms"].shape == (12, 64, 96)
    # Each way to use it was compared: with both sides, without frames, without sound.
    assert set(golden["has_frames"].tolist()) == set(golden["has_sound"].tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(golden["probabilities"].sum(axis=1), 1, atol=1e-5)
    # From the file to the probability, by the runner's way and by training's.
    assert fields["clip"]["window_s"] == pytest.approx(2.0, abs=0.01)
    assert fields["clip"]["kept_frames"] == 24
    network = load_network(ar5[0])
    artifact = load_artifact(folder, "float32")
    predictor = ClipPredictor(artifact, 1, whole_frame)
    # Fitted on four people's clips; there are no action units.
    assert fields["calibration"]["fitted_on"]["examples"] == 24
    assert artifact.temperatures.emotions not in (1.0, SMALLEST, LARGEST)
    assert artifact.temperatures.action_units == 1.0
    assert artifact.uncertain_below == fields["thresholds"]["uncertain_below"] >= 0.5
    test = load_split(shards, "test")
    heard = np.flatnonzero(test.has_sound)[:3]
    seen_alone = record(test, network.spec, heard, hidden=np.full(3, 2))
    heard_alone = record(test, network.spec, heard, hidden=np.full(3, 1))
    expected, expected_of_sound = (
        scale(
            flax_answers(
                network.model,
                network.variables,
                "clip",
                network.spec,
                name_inputs(one, "clip", network.spec),
            ),
            network.spec,
            artifact.temperatures,
        )
        for one in (seen_alone, heard_alone)
    )
    for place, index in enumerate(heard):
        path = shards.parent / test.paths[index]
        source = Source(path, "video")
        results = list(see_windows(source, predictor))
        assert len(results) == 24
        for result in results:
            (face,) = result.faces
            np.testing.assert_allclose(face.emotions, expected[place], atol=1e-5)
        (sound,) = hear_windows(predictor, path.with_suffix(".wav"))
        assert sound.heard is not None
        np.testing.assert_allclose(sound.heard.emotions, expected_of_sound[place], atol=1e-5)
    assert np.abs(expected - expected_of_sound).max() > 0.01


def test_real_clips_are_answered_frame_by_frame(
    exported: tuple[Path, dict[str, Any]], shared_data: Path
) -> None:
    predictor = ClipPredictor(load_artifact(exported[0]))
    counts = {}
    for path in sorted((shared_data / "crema_d" / "VideoFlash").glob("1001_*.flv")):
        rows = list(see_windows(Source(path, "video"), predictor))
        faces = [face for row in rows for face in row.faces]
        counts[path.stem.split("_")[2]] = (len(rows), len(faces))
        for face in faces:
            assert face.emotions.shape == (6,)
            assert face.emotions.sum() == pytest.approx(1, abs=1e-5)
        # Drawings taught it: what it says of a person who moves is one answer a window, not noise.
        assert len({face.emotions.tobytes() for face in faces}) <= 4
    numbers = {"ANG": 67, "DIS": 70, "FEA": 65, "HAP": 56, "NEU": 61, "SAD": 60}
    assert counts == {emotion: (number, number) for emotion, number in numbers.items()}
    assert list(
        hear_windows(predictor, shared_data / "crema_d" / "AudioWAV" / "1001_DFA_ANG_XX.wav")
    )


@pytest.mark.release
def test_a_network_of_frames_alone_trains_and_is_exported(shards: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        model="ar3",
        outputs="emotions",
        emotion_activation="softmax",
        batch_size=20,
        epochs=1,
    )
    results = train_run(config, tmp_path / "run", shards, baseline=False)
    assert "modalities" not in results["test"]
    fields = export_run(tmp_path / "run", tmp_path / "artifact", faces=3)
    assert fields["looks_at"] == "frames"
    assert fields["files"]["float32"]["agreement"]["largest_difference"] <= 1e-4


@pytest.mark.release
def test_a_network_without_a_sound_branch_is_a_run_of_its_own(shards: Path, tmp_path: Path) -> None:
    config = TrainConfig(model="ar5", sound_features=0, batch_size=20, epochs=1)
    results = train_run(config, tmp_path / "run", shards, baseline=False)
    assert "modalities" not in results["test"]
    names = set(load_network(tmp_path / "run").variables["params"])
    assert names == {"video", "video_logits", "fully_connected", "head"}
    assert export_run(tmp_path / "run", tmp_path / "artifact", faces=3)["looks_at"] == "clip"


def test_ar4_is_trained_in_sequence(shards: Path, tmp_path: Path) -> None:
    config = TrainConfig(model="ar4", extractor="ar1", batch_size=20, epochs=2, perceptron_epochs=3)
    results = train_run(config, tmp_path / "run", shards, baseline=False)
    assert [row["epoch"] for row in results["history"]] == [1, 2, 3]
    extractor = load_network(tmp_path / "run" / "extractor")
    assert extractor.config.model == "ar1"
    assert (extractor.spec.num_outputs, extractor.spec.emotions) == (15, ())
    whole = load_network(tmp_path / "run").variables["params"]
    # Trained first, then left as it was, to the last bit.
    jax.tree.map(np.testing.assert_array_equal, whole["extractor"], extractor.variables["params"])
    assert "action_units" in results["test"]["overall"]
    assert results["test"]["overall"]["emotion"]["examples"] == 18
    again = evaluate_run(tmp_path / "run", None, "test")
    assert again["test"] == results["test"]
    # The same command finds everything done.
    before = (tmp_path / "run" / "extractor" / "results.json").stat().st_mtime_ns
    same = train_run(config, tmp_path / "run", shards, baseline=False)
    assert same["test"] == results["test"]
    assert (tmp_path / "run" / "extractor" / "results.json").stat().st_mtime_ns >= before
    assert export_run(tmp_path / "run", tmp_path / "artifact", faces=4)["looks_at"] == "picture"
