"""Training: steps, order, devices, resuming, compilations."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.audio import PRESETS
from emojax.augment import AugmentConfig
from emojax.augment_sound import SoundAugmentConfig
from emojax.checkpoint import open_checkpoints
from emojax.config import TrainConfig, network_spec
from emojax.data.resident import Batch, Resident, check_fits, take_batch
from emojax.errors import UserError
from emojax.losses import LossConfig, make_targets
from emojax.models import build_model
from emojax.models.ar5 import AR5
from emojax.models.resnet import ResNet
from emojax.optim import OptimConfig
from emojax.sharding import replicated
from emojax.spec import InputSpec, SpectrogramSpec
from emojax.stopping import StopTraining, stop_signals
from emojax.train import (
    change_batch,
    draw_masks,
    epoch_order,
    fit,
    make_trainer,
    run_epoch,
    side_dropout,
)

SPEC = InputSpec()
STILL = AugmentConfig(
    mirror=0.0,
    rotation_deg=0.0,
    scale=0.0,
    translation=0.0,
    brightness=0.0,
    contrast=0.0,
    noise=0.0,
)


def random_resident(count=64, seed=0):
    rng = np.random.default_rng(seed)
    return Resident(
        faces=rng.integers(0, 256, (count, 1, SPEC.height, SPEC.width), dtype=np.uint8),
        spectrograms=np.zeros((count, 0, 0), np.uint8),
        has_sound=np.zeros(count, np.float32),
        num_frames=np.ones(count, np.int32),
        action_units=rng.integers(-1, 2, (count, 15)).astype(np.int8),
        action_unit_confidence=np.ones((count, 15), np.float32),
        emotion=rng.integers(-1, 7, count).astype(np.int32),
        emotion_confidence=np.ones(count, np.float32),
        emotion_shares=np.zeros((count, 0), np.float32),
    )


# ResNet-18's blocks and BatchNorm, at half of what the whole takes to compile.
RESNET_BLOCKS = (1, 1, 1)


def trainer_of(config, count, devices=None, dropout=None, resnet_blocks=None):
    model = build_model(config.model, SPEC.num_outputs, dropout=dropout)
    if resnet_blocks:
        assert isinstance(model, ResNet)
        model = model.clone(blocks=resnet_blocks)
    return make_trainer(model, SPEC, config, count, devices)


def train(config, resident, folder, on_epoch=lambda state, row: None, on_steps=None):
    trainer = trainer_of(config, len(resident.emotion))
    with open_checkpoints(folder) as checkpoints:
        return fit(
            trainer,
            jax.device_put(resident, replicated(trainer.mesh)),
            checkpoints,
            on_steps=on_steps or (lambda steps, loss: None),
            on_epoch=on_epoch,
        )


def assert_same(first, second):
    for left, right in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


def test_order_is_a_permutation_and_another_one_each_epoch():
    key = jax.random.key(3)
    first = np.asarray(epoch_order(key, jnp.int32(0), 130, 2, 64))
    second = np.asarray(epoch_order(key, jnp.int32(1), 130, 2, 64))
    assert first.shape == (2, 64)
    assert len(np.unique(first)) == 128
    assert first.max() < 130
    assert (first != second).any()


def test_order_of_a_split_smaller_than_a_batch_repeats_its_examples():
    order = np.asarray(epoch_order(jax.random.key(0), jnp.int32(0), 5, 1, 8))
    assert order.shape == (1, 8)
    assert set(order.ravel()) == set(range(5))


def test_every_example_is_seen_over_the_epochs():
    key = jax.random.key(1)
    seen = {int(i) for e in range(5) for i in np.ravel(epoch_order(key, jnp.int32(e), 70, 1, 64))}
    assert seen == set(range(70))


def test_batch_holds_the_chosen_frames_normalised():
    resident = random_resident(8)
    faces = np.concatenate([resident.faces, 255 - resident.faces], axis=1)
    resident = jax.device_put(resident._replace(faces=faces))
    index, frame = jnp.array([3, 1]), jnp.array([[1], [0]])
    batch = take_batch(resident, index, frame, SPEC)
    expected = (np.stack([faces[3, 1:2], faces[1, :1]]).astype(np.float64) - 127) / 128
    np.testing.assert_allclose(np.asarray(batch.frames), expected, atol=1e-6)
    assert int(batch.emotion[0]) == int(resident.emotion[3])


@pytest.mark.slow
def test_one_call_per_epoch_equals_one_call_per_step():
    resident = random_resident(8)
    states = []
    for compiled in ("step", "epoch"):
        config = TrainConfig(
            batch_size=4, epochs=2, compiled=compiled, optim=OptimConfig(name="sgd")
        )
        trainer = trainer_of(config, 8)
        state, done = trainer.init(), 0
        for _ in range(2):
            for new_state, _, steps in run_epoch(trainer, state, jax.device_put(resident), done):
                state, done = new_state, done + steps
        assert done == trainer.total_steps == int(state.step)
        states.append(state)
    # Parameters, not gradients: a maximum that flips between two equal values in the last
    # bit moves a gradient by much more than rounding, and the parameters by its rate.
    for left, right in zip(*(jax.tree.leaves(state.params) for state in states), strict=True):
        np.testing.assert_allclose(np.asarray(left), np.asarray(right), atol=1e-5)


def test_masked_labels_do_not_move_the_parameters():
    resident = random_resident(16)
    blank = resident._replace(
        emotion=np.full(16, -1, np.int32), action_units=np.full((16, 15), -1, np.int8)
    )
    config = TrainConfig(batch_size=16, epochs=1, optim=OptimConfig(name="sgd", weight_decay=0.0))
    trainer = trainer_of(config, 16)
    before = jax.tree.map(np.array, trainer.init().params)
    state, metrics = trainer.step(trainer.init(), jax.device_put(blank), trainer.order(0))
    assert float(metrics["loss"]) == 0.0
    assert_same(before, state.params)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_parameters(tmp_path):
    config = TrainConfig(batch_size=16, epochs=3)
    resident = random_resident(64)
    straight, history = train(config, resident, tmp_path / "straight")
    for stop_at in (2, 6):
        folder = tmp_path / f"stopped{stop_at}"
        seen = []

        def stop(steps, loss, seen=seen, stop_at=stop_at):
            seen.append(steps)
            if sum(seen) == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(StopTraining):
            train(config, resident, folder, on_steps=stop)
        assert sum(seen) == stop_at
        resumed, again = train(config, resident, folder)
        assert_same(straight, resumed)
        assert [row["loss"] for row in again] == [row["loss"] for row in history]


def test_a_finished_run_trains_no_further(tmp_path):
    config = TrainConfig(batch_size=16, epochs=1)
    first, _ = train(config, random_resident(32), tmp_path)
    steps = []
    second, history = train(
        config, random_resident(32), tmp_path, on_steps=lambda n, loss: steps.append(n)
    )
    assert_same(first, second)
    assert not steps
    assert len(history) == 1


def test_checkpoint_of_another_network_is_refused(tmp_path):
    train(TrainConfig(batch_size=16, epochs=1), random_resident(16), tmp_path)
    other = TrainConfig(model="resnet18", batch_size=16, epochs=1)
    with pytest.raises(UserError, match="not a checkpoint of this network"):
        train(other, random_resident(16), tmp_path)


def test_nan_stops_and_names_the_step(tmp_path):
    config = TrainConfig(
        batch_size=16,
        epochs=3,
        optim=OptimConfig(name="sgd", learning_rate=9.0, schedule="constant", momentum=0.99),
    )
    resident = random_resident(64)
    resident.action_unit_confidence[:] = 1e30
    with pytest.raises(UserError, match=r"the loss became (nan|inf) at step \d+") as error:
        train(config, resident, tmp_path)
    named = int(str(error.value).split("at step ")[1].split(";")[0])
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() < named


def test_an_uneven_batch_and_an_empty_split_are_refused():
    with pytest.raises(UserError, match="training split is empty"):
        trainer_of(TrainConfig(), 0)


def test_faces_that_do_not_fit_are_refused():
    class SmallDevice:
        def memory_stats(self):
            return {"bytes_limit": 1000, "bytes_in_use": 500}

    check_fits(299, [SmallDevice()])
    with pytest.raises(UserError, match="do not fit"):
        check_fits(301, [SmallDevice()])


def test_second_stop_signal_acts_at_once():
    with stop_signals() as arrived:
        os.kill(os.getpid(), signal.SIGINT)
        assert arrived == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


FOUR_DEVICES = """
    import jax, json, numpy as np, sys
    sys.path.insert(0, sys.argv[1])
    from test_train import random_resident, trainer_of
    from emojax.config import TrainConfig
    from emojax.optim import OptimConfig
    from emojax.sharding import replicated

    assert jax.device_count() == 4
    found = {}
    # A network, or the blocks of a ResNet's stages.
    for asked in sys.argv[2:]:
        blocks = tuple(json.loads(asked)) if asked.startswith("[") else None
        model = "resnet18" if blocks else asked
        config = TrainConfig(
            model=model, batch_size=16, epochs=1, optim=OptimConfig(name="sgd", learning_rate=1e-2)
        )
        states = []
        for devices in (jax.devices()[:1], jax.devices()):
            trainer = trainer_of(config, 16, devices, resnet_blocks=blocks)
            resident = jax.device_put(random_resident(16), replicated(trainer.mesh))
            start = jax.tree.map(np.array, trainer.init())
            state, _ = trainer.step(trainer.init(), resident, trainer.order(0))
            states.append(jax.tree.map(np.asarray, (state.params, state.batch_stats)))
        moved = max(
            float(np.abs(a - b).max())
            for a, b in zip(jax.tree.leaves(start.params), jax.tree.leaves(states[0][0]))
        )
        apart = max(
            float(np.abs(a - b).max())
            for a, b in zip(*map(jax.tree.leaves, states), strict=True)
        )
        found[asked] = (moved, apart)
    print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "networks",
    [
        [json.dumps(RESNET_BLOCKS)],
        pytest.param(["resnet18"], marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_one_and_four_devices_give_the_same_sgd_step(networks):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FOUR_DEVICES), Path(__file__).parent, *networks],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert list(found) == networks
    for moved, apart in found.values():
        assert moved > 1e-4
        assert apart < 1e-5


CLIP_SPEC = InputSpec(
    height=32, width=32, frames=20, sound=SpectrogramSpec(height=16, width=16), action_units=()
)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_no_clip_loses_its_only_side(share):
    has_frames = jnp.asarray([1.0, 1.0, 0.0] * 400)
    has_sound = jnp.asarray([1.0, 0.0, 1.0] * 400)
    seen, heard = map(np.asarray, draw_masks(jax.random.key(0), has_frames, has_sound, share))
    assert set(seen + heard) <= {1.0, 2.0}
    # What is not there is never given, and the only side always is.
    np.testing.assert_array_equal(heard[1::3], 0)
    np.testing.assert_array_equal(seen[1::3], 1)
    np.testing.assert_array_equal(seen[2::3], 0)
    np.testing.assert_array_equal(heard[2::3], 1)
    # Of those with both, each side is lost by half of the share.
    for side in (seen, heard):
        assert abs((side[::3] == 0).mean() - share / 2) < 0.06


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, 0.3),
        ({"video_features": 0}, 0.0),
        ({"sound_features": 0}, 0.0),
        ({"model": "ar3"}, 0.0),
    ],
)
def test_a_network_of_one_branch_loses_no_side(change: dict[str, Any], wanted: float) -> None:
    config = dataclasses.replace(TrainConfig(model="ar5", modality_dropout=0.3), **change)
    spec = network_spec(config, InputSpec(sound=PRESETS["log_mel"]))
    assert side_dropout(config, spec) == wanted


def clips(num_frames, has_sound, emotion, filler=0):
    """Clips of noise; those without a face hold `filler` where their frames would be."""
    rng = np.random.default_rng(0)
    count = len(num_frames)
    faces = rng.integers(0, 256, (count, 20, 32, 32), dtype=np.uint8)
    faces[np.asarray(num_frames) == 0] = filler
    return Resident(
        faces=faces,
        spectrograms=rng.integers(0, 256, (count, 16, 16), dtype=np.uint8),
        has_sound=np.asarray(has_sound, np.float32),
        num_frames=np.asarray(num_frames, np.int32),
        action_units=np.zeros((count, 0), np.int8),
        action_unit_confidence=np.ones((count, 0), np.float32),
        emotion=np.asarray(emotion, np.int32),
        emotion_confidence=np.ones(count, np.float32),
        emotion_shares=np.zeros((count, 0), np.float32),
    )


def test_a_clip_without_a_face_trains_by_its_sound_alone():
    optim = OptimConfig(name="sgd", weight_decay=0.0)
    config = TrainConfig(
        model="ar5", batch_size=4, epochs=1, modality_dropout=0.5, augment=STILL, optim=optim
    )
    model = AR5(CLIP_SPEC.num_outputs, video_widths=(8, 8), sound_widths=(8, 8), dropout=0.0)
    trainer = make_trainer(model, CLIP_SPEC, config, 4)

    def step(**made):
        resident = jax.device_put(clips(**made), replicated(trainer.mesh))
        state, metrics = trainer.step(trainer.init(), resident, trainer.order(0))
        return jax.tree.map(np.asarray, (state.params, state.batch_stats)), float(metrics["loss"])

    half = {"num_frames": [20, 0, 20, 0], "has_sound": [1, 1, 0, 1]}
    black, loss = step(**half, emotion=[0, 1, 2, 3])
    white, other_loss = step(**half, emotion=[0, 1, 2, 3], filler=255)
    # What stands in the padding reaches neither parameters nor statistics.
    assert_same(black, white)
    assert loss == other_loss
    # Its label counts.
    (params, _), relabelled_loss = step(**half, emotion=[0, 1, 2, 6])
    assert relabelled_loss != loss
    moved = [
        np.abs(a - b).max()
        for a, b in zip(
            jax.tree.leaves(params["sound"]), jax.tree.leaves(black[0]["sound"]), strict=True
        )
    ]
    assert max(moved) > 0
    # A set of sound alone trains too, and leaves the eye as it was made.
    start = jax.tree.map(np.asarray, trainer.init())
    (params, batch_stats), _ = step(num_frames=[0] * 4, has_sound=[1] * 4, emotion=[0, 1, 2, 3])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((params, batch_stats)))
    assert_same(params["video"], start.params["video"])
    assert_same(batch_stats["video"], start.batch_stats["video"])


AIMS = {
    "absolute": {"loss": LossConfig(kind="absolute")},
    "squared": {"loss": LossConfig(kind="squared")},
    "smoothing": {"loss": LossConfig(label_smoothing=0.1)},
    "votes": {"loss": LossConfig(votes="face")},
    "no confidence": {"loss": LossConfig(confidence=False)},
    "mixup": {"augment": dataclasses.replace(STILL, mixup=0.4)},
}


def one_update(config, resident, class_weights=None):
    model = build_model(config.model, SPEC.num_outputs, dropout=0.0)
    trainer = make_trainer(model, SPEC, config, 32, class_weights=class_weights)
    placed = jax.device_put(resident, replicated(trainer.mesh))
    state, metrics = trainer.step(trainer.init(), placed, trainer.order(0))
    assert np.isfinite(float(metrics["loss"]))
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.params)])


@pytest.fixture(scope="module")
def voted():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(7), 32).astype(np.float32)
    return random_resident(32)._replace(
        emotion_shares=shares, action_unit_confidence=rng.random((32, 15)).astype(np.float32)
    )


@pytest.fixture(scope="module")
def plain_update(voted):
    return one_update(TrainConfig(batch_size=32, augment=STILL), voted)


@pytest.mark.parametrize("name", AIMS)
def test_each_aim_moves_the_parameters_another_way(name, voted, plain_update):
    config = TrainConfig(**{"batch_size": 32, "augment": STILL} | AIMS[name])
    found = one_update(config, voted)
    assert np.isfinite(found).all()
    assert np.abs(found - plain_update).max() > 1e-6
    np.testing.assert_array_equal(found, one_update(config, voted))


def test_class_weights_of_one_change_nothing_and_others_do(voted, plain_update):
    config = TrainConfig(batch_size=32, augment=STILL)
    ones = np.ones((2, SPEC.num_outputs), np.float32)
    np.testing.assert_allclose(one_update(config, voted, ones), plain_update, atol=1e-6)
    ones[1] = 3.0
    assert np.abs(one_update(config, voted, ones) - plain_update).max() > 1e-4


def test_spectrograms_are_augmented_and_mixed_where_the_network_listens():
    batch = Batch(
        frames=jnp.zeros((4, 20, 32, 32)),
        has_frames=jnp.array([1.0, 1, 0, 1]),
        spectrograms=jnp.full((4, 16, 16), 0.5) * jnp.arange(4)[:, None, None] / 2,
        has_sound=jnp.ones(4),
        action_units=jnp.zeros((4, 0), jnp.int8),
        action_unit_confidence=jnp.ones((4, 0)),
        emotion=jnp.arange(4),
        emotion_confidence=jnp.ones(4),
        emotion_shares=jnp.zeros((4, 0)),
    )
    targets = make_targets(batch, CLIP_SPEC)
    silent = SoundAugmentConfig(
        time_masks=0, frequency_masks=0, time_mask=0.0, frequency_mask=0.0, shift=0.0, noise=0.0
    )

    def changed(augment, sound):
        config = TrainConfig(model="ar5", augment=augment, augment_sound=sound)
        return change_batch(jax.random.key(0), batch, targets, CLIP_SPEC, config)

    same, same_targets = changed(STILL, silent)
    np.testing.assert_allclose(same.spectrograms, batch.spectrograms, atol=1e-6)
    np.testing.assert_array_equal(same_targets.values, targets.values)
    noisy, _ = changed(STILL, dataclasses.replace(silent, noise=0.1))
    assert (np.asarray(noisy.spectrograms) != np.asarray(batch.spectrograms)).mean() > 0.5
    mixed, mixed_targets = changed(dataclasses.replace(STILL, mixup=1.0), silent)
    # Neither the clip without a face nor the one that would have it mixed in.
    np.testing.assert_array_equal(mixed_targets.values[2:], targets.values[2:])
    np.testing.assert_allclose(mixed.spectrograms[2:], batch.spectrograms[2:], atol=1e-6)
    for at in (0, 1):
        share = float(mixed_targets.values[at, at])
        assert 0 < share < 1
        assert float(mixed_targets.values[at, (at - 1) % 4]) == pytest.approx(1 - share, abs=1e-6)
        own, other = (float(batch.spectrograms[i, 0, 0]) for i in (at, (at - 1) % 4))
        wanted = share * own + (1 - share) * other
        np.testing.assert_allclose(mixed.spectrograms[at], wanted, rtol=1e-5)
    # Sounds without a face are mixed with each other.
    deaf = batch._replace(has_frames=jnp.zeros(4))
    config = TrainConfig(
        model="ar5", augment=dataclasses.replace(STILL, mixup=1.0), augment_sound=silent
    )
    _, sounds = change_batch(jax.random.key(0), deaf, targets, CLIP_SPEC, config)
    assert (np.diagonal(sounds.values) < 1).all()
