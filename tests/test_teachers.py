"""Learning from trained networks: the targets, a step, a run; and looks at people now and then."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss
from small_sets import noise_pictures

from emojax.augment import AugmentConfig
from emojax.config import TrainConfig
from emojax.data.resident import Resident
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.losses import LossConfig, Targets, heed_teachers
from emojax.models import forward
from emojax.models.inputs import Clip, zero_inputs
from emojax.models.layers import Head, Outputs
from emojax.network import load_network
from emojax.spec import InputSpec
from emojax.train import Teacher, make_trainer

# Trainings, whole: `make slow` has the time.
pytestmark = pytest.mark.slow

SPEC = InputSpec(action_units=(), emotion_activation="softmax")
STILL = AugmentConfig(
    mirror=0, rotation_deg=0, scale=0, translation=0, brightness=0, contrast=0, noise=0
)
CONFIG = TrainConfig(
    model="ar1", outputs="emotions", emotion_activation="softmax", batch_size=8, augment=STILL
)


class Linear(nn.Module):
    """What answers alike in training and in evaluation."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> Outputs:
        features = nn.avg_pool(images, (14, 16), (14, 16)).reshape(len(images), -1)
        return Head(7, name="head")(features, train=train)


def faces_of_noise(count: int = 8) -> Resident:
    rng = np.random.default_rng(0)
    return Resident(
        faces=rng.integers(0, 256, (count, 1, SPEC.height, SPEC.width), dtype=np.uint8),
        spectrograms=np.zeros((count, 0, 0), np.uint8),
        has_sound=np.zeros(count, np.float32),
        num_frames=np.ones(count, np.int32),
        action_units=np.zeros((count, 0), np.int8),
        action_unit_confidence=np.ones((count, 0), np.float32),
        emotion=rng.integers(-1, 7, count).astype(np.int32),
        emotion_confidence=np.ones(count, np.float32),
        emotion_shares=np.zeros((count, 0), np.float32),
    )


def test_a_target_lies_between_label_and_answer() -> None:
    labels = Targets(jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.array([[1.0, 1.0], [0.0, 2.0]]))
    answers = jnp.array([[0.4, 0.6], [0.3, 0.9]])
    values, weights = heed_teachers(labels, answers, 0.75)
    # An unknown label leaves the answer; a label that weighs twice does so against it, too.
    np.testing.assert_allclose(values, [[0.3, 0.7], [0.3, 0.75 * 0.9 / 1.25]], rtol=1e-6)
    np.testing.assert_allclose(weights, [[1.0, 1.0], [0.75, 1.25]], rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_weight_0_leaves_the_labels_and_weight_1_the_answers(share: float) -> None:
    labels = Targets(jnp.array([[0.0, 1.0, 0.0]]), jnp.array([[1.0, 1.0, 0.0]]))
    answers = jnp.array([[0.2, 0.5, 0.3]])
    values, weights = heed_teachers(labels, answers, share)
    if share:
        np.testing.assert_allclose(values, answers, rtol=1e-6)
        np.testing.assert_array_equal(weights, jnp.ones((1, 3)))
    else:
        np.testing.assert_array_equal(values, labels.values)
        np.testing.assert_array_equal(weights, labels.weights)


def test_the_loss_of_a_step_is_scikit_learns_against_the_mean_answer() -> None:
    resident, model = faces_of_noise(), Linear()
    pictures = (resident.faces[:, 0, ..., None].astype(np.float32) - SPEC.offset) / SPEC.scale
    teachers = [
        Teacher(model, "picture", model.init(jax.random.key(seed), pictures[:1], train=False))
        for seed in (1, 2)
    ]
    config = dataclasses.replace(CONFIG, loss=LossConfig(teacher_weight=1.0))
    trainer = make_trainer(model, SPEC, config, 8, jax.devices()[:1], teachers=teachers)
    state = trainer.init()
    variables = jax.device_get({"params": state.params})
    _, metrics = trainer.step(state, jax.device_put(resident), trainer.order(0))

    def answer(variables) -> np.ndarray:
        return np.asarray(jax.nn.softmax(forward(model, variables, pictures).logits))

    wanted = (answer(teachers[0].variables) + answer(teachers[1].variables)) / 2
    own = answer(variables)
    # Soft targets as as many examples as there are emotions, each weighing its share.
    loss = log_loss(
        np.tile(np.arange(7), 8), np.repeat(own, 7, axis=0), sample_weight=wanted.ravel()
    )
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)


class OfFrames(nn.Module):
    """Answers from the middle of each frame, and takes frames alone."""

    @nn.compact
    def __call__(self, frames: jax.Array, *, train: bool) -> Outputs:
        return Head(7, name="head")(frames[:, :, 40, 30:35].reshape(len(frames), -1), train=train)


class OfClips(nn.Module):
    """The same, and takes a clip, whose frames count or not."""

    @nn.compact
    def __call__(self, clip: Clip, *, train: bool) -> Outputs:
        seen = clip.frames * clip.has_frames[:, None, None, None]
        return OfFrames(name="frames")(seen, train=train)


def test_a_teacher_takes_the_clip_in_its_own_form() -> None:
    spec = SPEC.replace(frames=3)
    resident = faces_of_noise()
    faces = np.repeat(resident.faces, 3, axis=1)
    faces[:, 1] //= 2
    resident = resident._replace(faces=faces, num_frames=np.full(8, 3, np.int32))
    model, taught = OfFrames(), OfClips()
    variables = taught.init(jax.random.key(1), zero_inputs("clip", spec), train=False)
    alike = {"params": variables["params"]["frames"]}
    config = dataclasses.replace(CONFIG, model="ar3", loss=LossConfig(teacher_weight=1.0))
    losses = []
    for teacher in (Teacher(taught, "clip", variables), Teacher(model, "frames", alike)):
        trainer = make_trainer(model, spec, config, 8, jax.devices()[:1], teachers=[teacher])
        _, metrics = trainer.step(trainer.init(), jax.device_put(resident), trainer.order(0))
        losses.append(float(metrics["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pictures(tmp_path_factory.mktemp("teachers"), train=16, validation=7, test=7)


@pytest.fixture(scope="module")
def teacher(shards: Path) -> Path:
    folder = shards.parent / "teacher"
    train_run(dataclasses.replace(CONFIG, epochs=1), folder, shards, baseline=False)
    return folder


def test_a_run_learns_from_another_and_says_on_whom_it_reports(
    shards: Path, teacher: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        CONFIG, epochs=3, validate_every=2, report_on="validation", teachers=(str(teacher),)
    )
    results = train_run(config, tmp_path / "pupil", shards, baseline=False)
    assert results["reported_on"] == "validation"
    assert "test" not in results["data"]["splits"]
    looked = [row.get("validation_loss") is not None for row in results["history"]]
    assert looked == [False, True, True]
    alone = dataclasses.replace(config, teachers=())
    train_run(alone, tmp_path / "alone", shards, baseline=False)
    taught, plain = (load_network(tmp_path / name).variables for name in ("pupil", "alone"))
    differences = jax.tree.map(lambda a, b: float(abs(a - b).max()), taught, plain)
    assert max(jax.tree.leaves(differences)) > 1e-5


def test_looking_less_often_changes_nothing_but_the_looks(shards: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=4)
    train_run(config, tmp_path / "often", shards, baseline=False)
    seldom = dataclasses.replace(config, validate_every=3)
    train_run(seldom, tmp_path / "seldom", shards, baseline=False)
    left, right = (load_network(tmp_path / name).variables for name in ("often", "seldom"))
    jax.tree.map(np.testing.assert_array_equal, left, right)
    kept = sorted(
        int(path.name)
        for path in (tmp_path / "seldom/checkpoints").iterdir()
        if path.name.isdigit()
    )
    steps = json.loads((tmp_path / "seldom/results.json").read_text())["history"][0]["step"]
    assert kept == [3 * steps, 4 * steps]


def test_a_teacher_of_other_answers_is_refused(shards: Path, teacher: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(
        CONFIG, outputs="all", emotion_activation="sigmoid", teachers=(str(teacher),)
    )
    with pytest.raises(UserError, match=r"teacher: its action_units, emotion_activation is not"):
        train_run(config, tmp_path / "pupil", shards, baseline=False)
