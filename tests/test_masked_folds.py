"""Lanes and folds that are asked with one side of a clip masked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_network import random_examples

from emojax.config import TrainConfig, network_spec
from emojax.data.resident import Resident
from emojax.errors import UserError
from emojax.evaluate import Predictions
from emojax.lanes import Lanes, Training, make_lanes
from emojax.models.ar5 import AR5
from emojax.models.inputs import Clip
from emojax.network import variables_of
from emojax.results import sides_of
from emojax.spec import InputSpec, SpectrogramSpec
from emojax.trainings import Finished, load_training, read_training, save_training

CONFIG = TrainConfig(model="ar5", outputs="emotions", emotion_activation="softmax", batch_size=2)
SHARDS = InputSpec(height=32, width=32, sound=SpectrogramSpec(height=16, width=16))
SPEC = network_spec(CONFIG, SHARDS)
MODEL = AR5(7, video_features=8, sound_features=8, video_widths=(4,), sound_widths=(4,), hidden=8)
COUNT, FRAMES = 6, 20


@pytest.fixture(scope="module")
def resident() -> Resident:
    """Six clips: the second has no face, the fourth no sound."""
    rng = np.random.default_rng(3)
    return random_examples(COUNT)._replace(
        faces=rng.integers(0, 256, (COUNT, FRAMES, 32, 32), dtype=np.uint8),
        spectrograms=rng.integers(0, 256, (COUNT, 16, 16), dtype=np.uint8),
        has_sound=np.array([1, 1, 1, 0, 1, 1], np.float32),
        num_frames=np.array([20, 0, 20, 20, 20, 20], np.int32),
        action_units=np.zeros((COUNT, 0), np.int8),
        action_unit_confidence=np.zeros((COUNT, 0), np.float32),
    )


@pytest.fixture(scope="module")
def lanes() -> Lanes:
    return make_lanes(MODEL, SPEC, CONFIG, 1, 1, 4, jax.devices()[:1])


@pytest.mark.parametrize("modality", ["both", "video", "sound"])
def test_a_mask_is_the_network_without_that_side(
    lanes: Lanes, resident: Resident, modality: Any
) -> None:
    one = Training("0", {}, 5, 1e-3, lambda epoch: np.zeros((1, 2), np.int32), np.arange(COUNT))
    state, _, _ = lanes.begin([one])
    (found,) = lanes.predict(state, jax.device_put(resident), [np.arange(COUNT)], modality)
    variables = jax.tree.map(lambda leaf: leaf[0], variables_of(state))
    clip = Clip(
        frames=jnp.asarray((resident.faces.astype(np.float32) - 127) / 128),
        spectrograms=jnp.asarray(resident.spectrograms[..., None] / np.float32(255)),
        has_frames=jnp.asarray([1.0, 0, 1, 1, 1, 1]) * (modality != "sound"),
        has_sound=jnp.asarray([1.0, 1, 1, 0, 1, 1]) * (modality != "video"),
    )
    outputs: Any = MODEL.apply(variables, clip, train=False)
    wanted = jax.nn.softmax(outputs.logits)
    np.testing.assert_allclose(found.emotions, wanted, rtol=1e-4, atol=1e-6)
    # The mask is what makes the difference, where there is something to mask.
    if modality != "both":
        (whole,) = lanes.predict(state, jax.device_put(resident), [np.arange(COUNT)])
        has_other = np.array([1, 1, 1, 0, 1, 1] if modality == "video" else [1, 0, 1, 1, 1, 1])
        changed = np.abs(found.emotions - whole.emotions).max(axis=1) > 1e-6
        np.testing.assert_array_equal(changed, has_other == 1)


def test_answers_to_one_side_are_kept_with_the_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def answers() -> Predictions:
        units, emotions = rng.random((3, 0), np.float32), rng.random((3, 7), np.float32)
        return Predictions(units, emotions, float(rng.random()))

    one = Training("0", {"fold": "1"}, 0, 1e-3, lambda epoch: np.zeros((1, 1)), np.arange(3))
    alone = {"video": answers(), "sound": answers()}
    done = Finished({"fold": "1"}, one.tested, answers(), 0.5, None, 1.0, 0, alone)
    save_training(tmp_path / "0.npz", done)
    found = load_training(tmp_path / "0.npz", one)
    assert found is not None
    assert set(found.alone) == {"video", "sound"}
    for side, answer in alone.items():
        jax.tree.map(np.testing.assert_array_equal, found.alone[side], answer)
    np.testing.assert_array_equal(found.answers.emotions, done.answers.emotions)
    # A file of a network that was not asked has none.
    save_training(tmp_path / "1.npz", Finished({}, one.tested, answers(), 0.5, None, 1.0, 0))
    assert read_training(tmp_path / "1.npz").alone == {}


def test_a_damaged_file_of_a_training_is_told_in_a_line(tmp_path: Path) -> None:
    answers = Predictions(np.zeros((3, 0)), np.zeros((3, 7)), 0.0)
    path = tmp_path / "0000.npz"
    save_training(path, Finished({}, np.arange(3), answers, 0.5, None, 1.0, 0))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:200] + bytes(100) + whole[300:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"0000\.npz: can't be read .*: remove it"):
            read_training(path)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({}, ("video", "sound")), ({"video_features": 0}, ()), ({"sound_features": 0}, ())],
)
def test_a_network_with_one_side_is_not_asked_without_it(
    changes: dict[str, Any], wanted: tuple[str, ...]
) -> None:
    config = TrainConfig(model="ar5", outputs="emotions", **changes)
    assert sides_of(config, network_spec(config, SHARDS)) == wanted
