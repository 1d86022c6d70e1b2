"""Which faces and outputs are chosen, and what is made of clips, that may lack a side."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from emojax.config import TrainConfig
from emojax.errors import UserError
from emojax.explain.drawings import blend, draw_heats, draw_kernels, tiles
from emojax.explain.examples import Examples, choose_people
from emojax.explain.explanation import choose_outputs, explain_network
from emojax.models.ar3 import AR3, VolumeLayer
from emojax.models.ar5 import AR5
from emojax.network import TrainedNetwork
from emojax.spec import InputSpec, SpectrogramSpec
from emojax.train import init_variables

SPEC = InputSpec(height=32, width=24, frames=20, sound=SpectrogramSpec(height=16, width=24))


def test_people_of_each_emotion_come_before_anyone_twice() -> None:
    emotion = np.array([3, 0, 0, 0, 3, -1, 0, 7])
    subject = np.array([5, 1, 1, 2, 5, 9, 3, 1])
    # Of emotion 0 three people, whose first pictures are 1, 3 and 6.
    assert choose_people(emotion, subject, 2).tolist() == [1, 3, 0, 4, 7]
    assert choose_people(emotion, subject, 4).tolist() == [1, 3, 6, 2, 0, 4, 7]
    assert choose_people(np.full(3, -1), np.arange(3), 2).tolist() == [0, 1]


def test_outputs_are_asked_about_by_name_or_by_what_they_are() -> None:
    spec = InputSpec(action_units=("AU01", "AU02"), emotions=("fear", "anger"))
    scores = np.array([[0.9, 0.1, 0.2, 0.3], [0.1, 0.2, 0.7, 0.0], [0.1, 0.2, 0.7, 0.0]])
    emotion = np.array([0, -1, 2])
    assert choose_outputs("answered", scores, emotion, spec).tolist() == [3, 2, 2]
    # The second has no label, the third is neutral, which is not answered.
    assert choose_outputs("true", scores, emotion, spec).tolist() == [2, 2, 2]
    assert choose_outputs("AU02", scores, emotion, spec).tolist() == [1, 1, 1]
    units = spec.replace(emotions=())
    assert choose_outputs("answered", scores[:, :2], emotion, units).tolist() == [0, 1, 1]
    with pytest.raises(UserError, match="output 'joy': use answered, true, or one of AU01, AU02"):
        choose_outputs("joy", scores, emotion, spec)


def test_heat_hides_nothing_where_it_is_nothing() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    plain = blend(picture, np.zeros((3, 4)))
    np.testing.assert_allclose(plain, np.repeat(picture[..., None] / 255, 3, axis=2))
    assert (blend(picture, np.ones((3, 4))) != plain).any(axis=2).all()


def make_clips() -> Examples:
    """Noise; the first lacks its sound, the last its face."""
    rng = np.random.default_rng(0)
    return Examples(
        frames=rng.integers(0, 256, (3, 20, 32, 24), dtype=np.uint8),
        has_frames=np.array([1, 1, 0], np.float32),
        spectrograms=rng.integers(0, 256, (3, 16, 24), dtype=np.uint8),
        has_sound=np.array([0, 1, 1], np.float32),
        emotion=np.array([0, 1, -1]),
        names=("one", "two", "three"),
    )


@pytest.fixture(scope="module")
def network() -> TrainedNetwork:
    model = AR5(SPEC.num_outputs, video_widths=(8, 8), sound_widths=(8, 8))
    variables = jax.jit(lambda key: init_variables(model, "clip", SPEC, key))(jax.random.key(0))
    return TrainedNetwork(model, variables, TrainConfig(model="ar5"), SPEC, Path())


def test_a_clip_has_heat_on_its_frames_and_on_its_sound(network: TrainedNetwork) -> None:
    found = explain_network(network, make_clips(), ("answered", "AU12"), "by_place")
    face, sound = found.sides["face"], found.sides["sound"]
    assert face.heat.shape == (3, 2, 3, 32, 24)
    assert sound.heat.shape == (3, 2, 1, 16, 24)
    # What is not there speaks for nothing.
    assert (face.heat[2] == 0).all()
    assert (sound.heat[0] == 0).all()
    for side, rows in ((face, (0, 1)), (sound, (1, 2))):
        for row in rows:
            assert 0.5 < side.heat[row].max() <= 1
    # Its frames are one picture to the network.
    np.testing.assert_array_equal(face.heat[:, :, 0], face.heat[:, :, 2])
    clips = make_clips().frames
    np.testing.assert_array_equal(face.pictures[1], clips[1, [0, 10, 19]])
    assert face.kernels.shape == (8, 20, 5, 5)
    assert [tiles(found, example)[0].title for example in (0, 2)] == ["neutral", "none"]
    for content in (draw_heats(found, 1), draw_kernels(face.kernels)):
        assert content.startswith(b"\x89PNG")
    assert draw_heats(found, 1) == draw_heats(found, 1)


def test_a_volume_has_heat_for_each_time() -> None:
    spec = SPEC.replace(sound=None)
    layers = (
        VolumeLayer(4, (3, 3, 3), (1, 2, 2), (2, 2, 2)),
        VolumeLayer(8, (3, 3, 3), (1, 1, 1), (1, 2, 2)),
    )
    model = AR3(spec.num_outputs, layers=layers, hidden=16)
    variables = jax.jit(lambda key: init_variables(model, "frames", spec, key))(jax.random.key(0))
    network = TrainedNetwork(model, variables, TrainConfig(model="ar3"), spec, Path())
    face = explain_network(network, make_clips(), method="by_place").sides["face"]
    assert face.layer == "relu2, 10 x 8 x 6"
    assert face.heat.shape == (3, 1, 3, 32, 24)
    assert not np.array_equal(face.heat[:, :, 0], face.heat[:, :, 2])
