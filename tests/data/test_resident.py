"""Frames chosen from clips, and what of a split goes to the device."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.audio import PRESETS
from emojax.data.resident import (
    draw_frames,
    keep_faces,
    keep_labels,
    middle_frames,
    scale_sound,
    select,
    space_frames,
)
from emojax.data.shards import FaceArrays
from emojax.errors import UserError
from emojax.labels import AU_COLUMNS, SEVEN
from emojax.spec import InputSpec


def starts_of(length: int, wanted: int) -> int:
    """Number of samples that a clip has. Source: the thesis, 5.2.3, with n // 20 for n mod 15."""
    return max(1, length // wanted)


@pytest.mark.parametrize("length", [1, 5, 19, 20, 21, 39, 40, 47, 59, 60])
def test_samples_are_spaced_over_the_clip_and_never_leave_it(length: int) -> None:
    wanted = 20
    found = np.concatenate(
        [
            np.asarray(space_frames(jnp.array([length]), wanted, jnp.array([start])))
            for start in range(starts_of(length, wanted))
        ]
    )
    assert found.min() == 0
    assert found.max() <= length - 1
    steps = np.diff(found, axis=1)
    assert steps.min() >= length // wanted
    assert steps.max() - steps.min() <= 1
    # Each start is another sample, and no frame at the end is out of all of them but a few.
    assert len(np.unique(found[:, 0])) == len(found)
    assert length - 1 - found.max() <= 1 + length // wanted


def test_a_clip_of_sixty_has_three_samples_that_share_no_frame() -> None:
    found = [
        np.asarray(space_frames(jnp.array([60]), 20, jnp.array([start]))).ravel()
        for start in range(3)
    ]
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(60))


def test_training_draws_every_start_and_evaluation_takes_the_middle_one() -> None:
    lengths = jnp.full(600, 47, jnp.int32)
    found = np.asarray(draw_frames(jax.random.key(0), lengths, 20))
    assert set(found[:, 0]) == {0, 1}
    assert abs((found[:, 0] == 0).mean() - 0.5) < 0.1
    np.testing.assert_array_equal(middle_frames(jnp.array([60, 19, 1]), 20)[:, 0], [1, 0, 0])


def test_one_frame_is_any_of_the_clip_s_and_in_evaluation_its_middle() -> None:
    lengths = jnp.asarray([1, 2, 5] * 400, jnp.int32)
    found = np.asarray(draw_frames(jax.random.key(0), lengths, 1))
    assert found.shape == (1200, 1)
    assert [set(found[place::3, 0]) for place in range(3)] == [{0}, {0, 1}, {0, 1, 2, 3, 4}]
    np.testing.assert_array_equal(
        middle_frames(jnp.array([1, 2, 3, 4, 5]), 1).ravel(), [0, 0, 1, 1, 2]
    )


def test_sound_is_scaled_to_one() -> None:
    np.testing.assert_allclose(
        scale_sound(jnp.asarray([[[0, 51, 255]]], jnp.uint8)), [[[0.0, 0.2, 1.0]]], rtol=1e-6
    )


@pytest.fixture
def arrays() -> FaceArrays:
    rng = np.random.default_rng(0)
    units = len(AU_COLUMNS)
    return FaceArrays(
        faces=np.zeros((4, 1, 98, 80), np.uint8),
        spectrograms=np.zeros((4, 0, 0), np.uint8),
        has_sound=np.zeros(4, np.uint8),
        num_frames=np.ones(4, np.int32),
        timestamps=np.zeros((4, 1), np.float32),
        success=np.ones((4, 1), np.uint8),
        emotion=rng.integers(0, len(SEVEN), 4).astype(np.int32),
        emotion_confidence=np.ones(4, np.float32),
        votes=np.zeros((4, 3, len(SEVEN)), np.int32),
        votes_total=np.zeros((4, 3), np.int32),
        action_units=rng.integers(0, 2, (4, units)).astype(np.int32),
        intensities=np.zeros((4, units), np.float32),
        action_unit_confidence=np.ones((4, units), np.float32),
        subject=np.arange(4, dtype=np.int32),
        domain=np.zeros(4, np.int32),
        subjects=("a", "b", "c", "d"),
        domains=("",),
        paths=("1", "2", "3", "4"),
        levels=("", "LO", "", "HI"),
    )


def test_labels_that_no_output_is_about_are_left_behind(arrays: FaceArrays) -> None:
    spec = InputSpec()
    assert keep_labels(arrays, spec) is arrays
    emotions = keep_labels(arrays, spec.replace(action_units=()))
    assert emotions.action_units.shape == emotions.action_unit_confidence.shape == (4, 0)
    np.testing.assert_array_equal(emotions.emotion, arrays.emotion)
    units = keep_labels(arrays, spec.replace(emotions=()))
    assert (units.emotion == -1).all()
    np.testing.assert_array_equal(units.action_units, arrays.action_units)
    assert dataclasses.replace(units, emotion=arrays.emotion).paths == arrays.paths


def test_a_neutral_face_is_none_of_the_others_to_a_network_without_neutral(
    arrays: FaceArrays,
) -> None:
    named = ("happiness", "neutral", "anger", "fear")
    six = InputSpec(emotions=("anger", "happiness"))
    mine = dataclasses.replace(arrays, emotion=np.array([-1, 0, 1, 2], np.int32))
    kept = keep_labels(mine, six, named).emotion
    # Beyond the last: known, and a row of zeros as a target. Fear is nothing that it could answer.
    np.testing.assert_array_equal(kept, [-1, 1, 2, 0])
    np.testing.assert_array_equal(jax.nn.one_hot(kept, 2)[2], [0, 0])
    mine = dataclasses.replace(arrays, emotion=np.array([3, 3, 1, 2], np.int32))
    np.testing.assert_array_equal(keep_labels(mine, six, named).emotion, [-1, -1, 2, 0])
    np.testing.assert_array_equal(keep_labels(mine, six).emotion, mine.emotion)


@pytest.mark.parametrize("wanted", [1, 20])
def test_a_clip_without_a_face_gives_its_padding_and_nothing_beyond(wanted: int) -> None:
    none = jnp.zeros(50, jnp.int32)
    for found in (draw_frames(jax.random.key(0), none, wanted), middle_frames(none, wanted)):
        np.testing.assert_array_equal(found, np.zeros((50, wanted)))


@pytest.fixture
def heard(arrays: FaceArrays) -> FaceArrays:
    """The same, the first and the third of sound alone."""
    return dataclasses.replace(
        arrays,
        num_frames=np.array([0, 1, 0, 1], np.int32),
        spectrograms=np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 64, 96), np.uint8),
        has_sound=np.array([1, 0, 1, 1], np.uint8),
    )


def test_a_network_without_an_ear_never_sees_sound_alone(
    heard: FaceArrays, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = keep_labels(heard, InputSpec())
    assert capsys.readouterr().out == "2 of 4 examples are sound without a face: left out\n"
    assert (kept.paths, kept.levels) == (("2", "4"), ("LO", "HI"))
    assert (kept.subjects, kept.subject.tolist()) == (heard.subjects, [1, 3])
    assert kept.num_frames.tolist() == [1, 1]
    for field in dataclasses.fields(kept):
        values = getattr(kept, field.name)
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(values, getattr(heard, field.name)[[1, 3]])
    # Labels are still left behind.
    assert keep_labels(heard, InputSpec(action_units=())).action_units.shape == (2, 0)


def test_a_network_that_listens_keeps_sound_alone(
    heard: FaceArrays, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keep_labels(heard, InputSpec(sound=PRESETS["log_mel"])) is heard
    assert capsys.readouterr().out == ""


def test_a_split_of_sound_alone_is_refused_where_faces_are_looked_at(heard: FaceArrays) -> None:
    mute = select(heard, np.array([True, False, True, False]))
    with pytest.raises(UserError, match=r"all 2 examples are sound without a face.*ar5"):
        keep_faces(mute)
    # A split without examples is for others to complain about.
    empty = select(heard, np.zeros(4, bool))
    assert keep_faces(empty) is empty
