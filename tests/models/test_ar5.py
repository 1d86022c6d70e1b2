"""AR5: what is masked has no influence at all, on nobody."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from porting import draw_variables

from emojax.errors import UserError
from emojax.models import build_model
from emojax.models.ar5 import AR5
from emojax.models.inputs import Clip
from emojax.models.layers import Outputs

Train = Callable[[Any, Clip], tuple[Outputs, Any]]
Evaluate = Callable[[Clip], Outputs]

RNG = np.random.default_rng(0)
MODEL = AR5(6, video_widths=(8, 16), sound_widths=(8, 8), dropout=0.0)
BATCH = 5


def make_clip(has_frames: Any = 1, has_sound: Any = 1) -> Clip:
    return Clip(
        frames=jnp.asarray(RNG.normal(size=(BATCH, 4, 20, 18)), jnp.float32),
        spectrograms=jnp.asarray(RNG.uniform(size=(BATCH, 16, 12, 1)), jnp.float32),
        has_frames=jnp.broadcast_to(jnp.asarray(has_frames, jnp.float32), (BATCH,)),
        has_sound=jnp.broadcast_to(jnp.asarray(has_sound, jnp.float32), (BATCH,)),
    )


@pytest.fixture(scope="module", params=["plain", "residual"])
def model(request: pytest.FixtureRequest) -> AR5:
    return MODEL.clone(sound_branch=request.param)


@pytest.fixture(scope="module")
def train(model: AR5) -> Train:
    return jax.jit(functools.partial(model.apply, train=True, mutable=["batch_stats"]))


@pytest.fixture(scope="module")
def variables(model: AR5) -> Any:
    return draw_variables(RNG, model, make_clip())


@pytest.fixture(scope="module")
def evaluate(model: AR5, variables: Any) -> Evaluate:
    return jax.jit(lambda clip: model.apply(variables, clip, train=False))


@pytest.fixture(scope="module")
def differentiate(model: AR5, variables: Any) -> Callable[[Clip], Any]:
    """Gradients of a training step, then what it answered and its statistics."""

    def loss(params: Any, clip: Clip) -> Any:
        outputs, updates = model.apply(
            {**variables, "params": params}, clip, train=True, mutable=["batch_stats"]
        )
        return (outputs.logits**2).sum(), (outputs, updates)

    return jax.jit(lambda clip: jax.grad(loss, has_aux=True)(variables["params"], clip))


OTHERS = [0.0, 1.0, -3e38, float("nan"), float("inf")]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("side", ["frames", "spectrograms"])
def test_a_masked_side_changes_nothing_bit_for_bit(
    evaluate: Evaluate, side: str, other: float
) -> None:
    mask = {"frames": "has_frames", "spectrograms": "has_sound"}[side]
    clip = make_clip()._replace(**{mask: jnp.zeros(BATCH)})
    changed = clip._replace(**{side: jnp.full_like(getattr(clip, side), other)})
    first, second = evaluate(clip), evaluate(changed)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert np.isfinite(first.logits).all()
    # The side that is given still counts.
    other_side = "spectrograms" if side == "frames" else "frames"
    elsewhere = clip._replace(**{other_side: getattr(make_clip(), other_side)})
    assert np.abs(evaluate(elsewhere).logits - first.logits).max() > 1e-4


@pytest.mark.parametrize("side", ["frames", "spectrograms"])
def test_in_training_a_masked_side_touches_neither_others_nor_statistics(
    variables: Any,
    train: Train,
    differentiate: Callable[[Clip], Any],
    side: str,
) -> None:
    mask = {"frames": "has_frames", "spectrograms": "has_sound"}[side]
    clip = make_clip()._replace(**{mask: jnp.asarray([1.0, 0.0, 1.0, 0.0, 1.0])})
    changed = clip._replace(**{side: getattr(clip, side).at[jnp.asarray([1, 3])].set(77.0)})
    first, second = differentiate(clip), differentiate(changed)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    gradients, (_, updates) = first
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradients, updates)))
    # Two examples less in the statistics, not two examples of zeros more.
    name = {"frames": "video", "spectrograms": "sound"}[side]
    kept = jnp.asarray([0, 2, 4])
    alone = Clip(*(leaf[kept] for leaf in clip))
    _, expected = train(variables, alone)
    for found, wanted in zip(
        jax.tree.leaves(updates["batch_stats"][name]),
        jax.tree.leaves(expected["batch_stats"][name]),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_batch_in_which_nobody_has_sound_trains(variables: Any, train: Train) -> None:
    outputs, updates = train(variables, make_clip(has_sound=0))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((outputs, updates)))


def test_features_are_both_branches_side_by_side(variables: Any, evaluate: Evaluate) -> None:
    outputs = evaluate(make_clip(has_sound=[1, 0, 1, 1, 1]))
    assert outputs.features.shape == (BATCH, 256 + 64)
    assert (np.asarray(outputs.features)[1, 256:] == 0).all()
    assert np.abs(np.asarray(outputs.features)[0, 256:]).max() > 0
    video, sound = outputs.auxiliary
    for own, part, name in (
        (video, outputs.features[:, :256], "video_logits"),
        (sound, outputs.features[:, 256:], "sound_logits"),
    ):
        layer = variables["params"][name]
        expected = np.float64(part) @ np.float64(layer["kernel"]) + layer["bias"]
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "layers", "features"),
    [
        ({"sound_features": 0}, {"video", "video_logits"}, 256),
        ({"video_features": 0}, {"sound", "sound_logits"}, 64),
        ({"video_features": 32, "sound_features": 48}, None, 80),
    ],
)
def test_lengths_and_branches_are_fields(
    settings: dict[str, int], layers: set[str] | None, features: int
) -> None:
    model = build_model("ar5", 6, **settings)
    clip = Clip(jnp.zeros((1, 20, 98, 80)), jnp.zeros((1, 64, 96, 1)), jnp.ones(1), jnp.ones(1))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), clip, train=False))
    if layers is not None:
        assert set(variables["params"]) == {"fully_connected", "head"} | layers
    assert variables["params"]["fully_connected"]["kernel"].shape == (features, 128)


def test_stages_and_ways_of_the_sound_branch_are_fields() -> None:
    clip = Clip(jnp.zeros((1, 20, 98, 80)), jnp.zeros((1, 64, 96, 1)), jnp.ones(1), jnp.ones(1))
    model = build_model("ar5", 6, sound_branch="residual", sound_widths=(8, 16, 24))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), clip, train=False))
    sound = variables["params"]["sound"]
    assert {name for name in sound if name.startswith("block")} == {"block1", "block2"}
    # Of each channel its mean and its maximum.
    assert sound["fully_connected"]["kernel"].shape == (2 * 24, 64)
    with pytest.raises(UserError, match="sound_branch='wide': use plain, residual"):
        AR5(6, sound_branch="wide").init(jax.random.key(0), clip, train=False)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="sound_widths 8, 0: wanted 1 or more"):
        build_model("ar5", 6, sound_widths=(8, 0))


def test_a_network_without_a_sound_branch_needs_no_sound() -> None:
    model = build_model("ar5", 6, sound_features=0)
    clip = Clip(jnp.zeros((1, 20, 98, 80)), jnp.zeros((1, 0, 0, 1)), jnp.ones(1), jnp.zeros(1))
    outputs, _ = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), clip, train=False)
    )
    assert outputs.logits.shape == (1, 6)


@pytest.mark.parametrize(
    ("frames", "sound", "words"),
    [((30, 80), (64, 96), "ar5 can't take 30x80"), ((98, 80), (64, 15), "sound branch can't take")],
)
def test_too_small_a_side_is_refused(
    frames: tuple[int, int], sound: tuple[int, int], words: str
) -> None:
    clip = Clip(jnp.zeros((1, 20, *frames)), jnp.zeros((1, *sound, 1)), jnp.ones(1), jnp.ones(1))
    with pytest.raises(UserError, match=words):
        jax.eval_shape(lambda: AR5(6).init(jax.random.key(0), clip, train=False))
    with pytest.raises(UserError, match="leave one branch"):
        AR5(6, video_features=0, sound_features=0).init(jax.random.key(0), clip, train=False)
