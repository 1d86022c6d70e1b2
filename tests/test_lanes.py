"""Several runs at once: each as it would be alone, whatever lies beside it and on which device."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_network import SPEC, STILL, TinyNetwork, random_examples

from emojax.config import TrainConfig
from emojax.lanes import Training, make_lanes
from emojax.network import variables_of
from emojax.optim import OptimConfig, make_optimiser
from emojax.train import make_trainer, run_epoch

if TYPE_CHECKING:
    from conftest import RunPython

# 16 updates of AdamW in float32: what the order of sums may change. Measured: 2e-6.
TOLERANCE = 5e-5
CONFIG = TrainConfig(batch_size=8, epochs=2, augment=STILL)
EXAMPLES, STEPS = 64, 8
RUNS = ((0, 1e-3), (2**32 - 1, 1e-4))


@pytest.fixture(scope="module")
def resident():
    return jax.device_put(random_examples(EXAMPLES))


def of(config: TrainConfig, seed: int, rate: float) -> TrainConfig:
    optim = dataclasses.replace(config.optim, learning_rate=rate)
    return dataclasses.replace(config, seed=seed, optim=optim)


def train_alone(seed: int, rate: float, resident):
    """The parameters after each epoch of the run that `train.py` does."""
    trainer = make_trainer(TinyNetwork(), SPEC, of(CONFIG, seed, rate), EXAMPLES, jax.devices()[:1])
    state, orders = trainer.init(), []
    for epoch in range(CONFIG.epochs):
        orders.append(np.asarray(trainer.order(epoch)))
        for new, _, _ in run_epoch(trainer, state, resident, epoch * STEPS):
            state = new
    return state, orders


@pytest.fixture(scope="module")
def alone(resident):
    return [train_alone(seed, rate, resident) for seed, rate in RUNS]


@functools.cache
def lanes_of(width: int, compiled: str):
    config = dataclasses.replace(CONFIG, compiled=compiled)
    return make_lanes(TinyNetwork(), SPEC, config, STEPS, width, 4, jax.devices()[:1])


def train_lanes(width: int, runs, orders, resident, compiled: str = "step"):
    lanes = lanes_of(width, compiled)
    group = [
        Training(str(place), {}, seed, rate, order.__getitem__, np.arange(3 + place))
        for place, ((seed, rate), order) in enumerate(zip(runs, orders, strict=True))
    ]
    state, keys, rates = lanes.begin(group)
    losses = []
    for epoch in range(CONFIG.epochs):
        order = lanes.place_order(group, epoch)
        for new, loss, _ in lanes.run_order(state, resident, order, keys, rates):
            state = new
            losses.append(np.asarray(loss).reshape(lanes.count, -1))
    return lanes, state, np.concatenate(losses, axis=1)


def assert_close(found, wanted, lane: int) -> None:
    found = jax.tree.map(lambda leaf: leaf[lane], found)
    for name in ("params", "batch_stats"):
        jax.tree.map(
            lambda left, right: np.testing.assert_allclose(left, right, atol=TOLERANCE),
            getattr(found, name),
            getattr(wanted, name),
        )
    assert int(found.step) == int(wanted.step) == STEPS * CONFIG.epochs


@pytest.mark.parametrize("compiled", ["step", "epoch"])
def test_stacked_runs_are_those_that_train_alone(alone, resident, compiled) -> None:
    orders = [orders for _, orders in alone]
    _, state, losses = train_lanes(2, RUNS, orders, resident, compiled)
    assert losses.shape == (2, STEPS * CONFIG.epochs)
    for lane, (wanted, _) in enumerate(alone):
        assert_close(state, wanted, lane)
    # They are not all the same run.
    kernels = np.asarray(state.params["head"]["logits"]["kernel"])
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


def test_a_lane_of_its_own_is_the_run_alone(alone, resident) -> None:
    for run, (wanted, orders) in zip(RUNS[1:], alone[1:], strict=True):
        lanes, state, _ = train_lanes(1, [run], [orders], resident)
        assert lanes.count == 1
        assert_close(state, wanted, 0)


def test_lanes_left_over_change_nothing(alone, resident) -> None:
    wanted, orders = alone[1]
    _, state, _ = train_lanes(2, RUNS[1:], [orders], resident)
    assert_close(state, wanted, 0)


def test_a_run_that_diverges_stops_none_beside_it(alone, resident) -> None:
    runs = ((1, float("inf")), RUNS[1])
    _, state, losses = train_lanes(2, runs, [orders for _, orders in alone], resident)
    assert np.isnan(losses[0]).any()
    assert np.isfinite(losses[1]).all()
    assert_close(state, alone[1][0], 1)


def test_each_lane_answers_its_own_examples(resident, alone) -> None:
    lanes, state, _ = train_lanes(2, RUNS, [orders for _, orders in alone], resident)
    # Of one call and of three.
    examples = [np.array([7]), np.array([3, 63, 0, 1, 2, 9, 8, 11, 60])]
    found = lanes.predict(state, resident, examples)
    batch = random_examples(EXAMPLES)
    faces = (batch.faces[:, 0].astype(np.float32) - SPEC.offset) / SPEC.scale
    for lane, mine in enumerate(examples):
        variables = jax.tree.map(lambda leaf, lane=lane: leaf[lane], variables_of(state))
        outputs = TinyNetwork().apply(variables, jnp.asarray(faces[mine, ..., None]), train=False)
        scores = np.asarray(jax.nn.sigmoid(outputs.logits))
        np.testing.assert_allclose(found[lane].action_units, scores[:, :15], atol=1e-5)
        np.testing.assert_allclose(found[lane].emotions, scores[:, 15:], atol=1e-5)
        # Binary cross-entropy over known labels.
        units, emotion = batch.action_units[mine], batch.emotion[mine]
        targets = np.concatenate([units, np.eye(7)[emotion]], axis=1)
        known = np.concatenate([units >= 0, np.repeat(emotion[:, None] >= 0, 7, axis=1)], axis=1)
        entropy = -np.log(np.where(targets == 1, scores, 1 - scores))
        assert found[lane].loss == pytest.approx((entropy * known).sum() / known.sum(), rel=1e-4)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_the_rate_as_an_argument_is_the_rate_as_a_setting(name, schedule) -> None:
    config = OptimConfig(
        name=name,
        schedule=schedule,
        learning_rate=3e-3,
        weight_decay=0.1,
        clip_weights=0.4,
        average=0.9,
        accumulate=2,
        clip_gradient=1.0,
        l2=0.01,
    )
    fixed = make_optimiser(config, 20)
    other = dataclasses.replace(config, learning_rate=7.0)
    chosen = make_optimiser(other, 20, rate_is_argument=True)
    rng = np.random.default_rng(0)
    params = {"kernel": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32), "bias": jnp.ones(3)}
    ends = []
    for optimiser, extra in ((fixed, {}), (chosen, {"rate": jnp.float32(3e-3)})):
        mine, state = params, optimiser.init(params)
        draw = np.random.default_rng(1)
        update = jax.jit(optimiser.update)
        for _ in range(20):
            slope = {name: draw.normal(size=leaf.shape) for name, leaf in params.items()}
            change, state = update(slope, state, mine, **extra)
            mine = jax.tree.map(jnp.add, mine, change)
        ends.append(mine)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7), *ends)
    assert np.abs(ends[0]["kernel"] - params["kernel"]).max() > 1e-3


ON_FOUR = """
import json, sys
sys.path.insert(0, "tests")
import jax, numpy as np
from tiny_network import SPEC, TinyNetwork, random_examples
from test_lanes import CONFIG, STEPS
from emojax.lanes import Training, make_lanes
from emojax.sharding import make_mesh, replicated
from emojax.trainings import Compilations, train_all
from pathlib import Path

rng = np.random.default_rng(5)
orders = [[rng.integers(0, 64, (STEPS, 8)).astype(np.int32) for _ in range(2)] for _ in range(6)]
trainings = [
    Training(str(n), {"n": n}, n, 1e-3, order.__getitem__, np.arange(n, 64))
    for n, order in enumerate(orders)
]
ends = {}
for count, stacked in ((4, "yes"), (1, "no")):
    jax_devices = jax.devices
    jax.devices = lambda *a: jax_devices(*a)[:count]
    jax.device_count = lambda: count
    resident = jax.device_put(random_examples(64), replicated(make_mesh()))
    folder = Path(sys.argv[1]) / f"{count}{stacked}"
    rows, stacking = train_all(
        trainings, TinyNetwork(), CONFIG, SPEC, resident, STEPS, folder, stacked=stacked
    )
    jax.devices = jax_devices
    ends[f"{count} {stacked}"] = {
        "width": stacking.width,
        "compilations": [row.compilations for row in rows],
        "answers": [row.answers.action_units[-1].tolist() for row in rows],
    }
print(json.dumps(ends))
"""


@pytest.mark.slow
def test_runs_spread_over_devices_are_those_on_one(run_python: RunPython, tmp_path: Path) -> None:
    done = run_python(
        *("-c", ON_FOUR, tmp_path),
        XLA_FLAGS="--xla_force_host_platform_device_count=4",
        JAX_PLATFORMS="cpu",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    # Six runs in four times two lanes.
    assert [end["width"] for end in ends.values()] == [2, 1]
    answers = np.array([end["answers"] for end in ends.values()])
    np.testing.assert_allclose(answers[0], answers[1], atol=TOLERANCE)
    assert np.abs(answers[0, 0] - answers[0, 1]).max() > 0.01
    assert ends["1 no"]["compilations"][1:] == [0] * 5
