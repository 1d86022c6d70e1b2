"""Training from the shards: the same steps as on resident examples, and runs that go on."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
import pytest
from small_sets import noise_clips

from emojax import experiment, labels
from emojax.checkpoint import open_checkpoints
from emojax.config import TrainConfig
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.feed import find_usable, make_stream
from emojax.data.resident import Resident
from emojax.data.shards import dataset_info
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.models import build_model
from emojax.optim import OptimConfig
from emojax.run import open_run, settle_input
from emojax.sharding import replicated, split_batch
from emojax.stopping import StopTraining
from emojax.train import TrainState, fit, make_trainer, run_epoch

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces already cut: a bright column tells the emotion."""
    folder = tmp_path_factory.mktemp("ready")
    rng = np.random.default_rng(0)
    rows = []
    for person in range(15):
        split = "train" if person < 10 else "validation" if person < 12 else "test"
        for number in range(9):
            emotion = int(rng.integers(0, 7))
            picture = rng.normal(90, 12, (98, 80))
            picture[:, 10 * emotion : 10 * emotion + 10] += 60
            name = f"p{person}_{number}.png"
            cv2.imwrite(str(folder / name), np.clip(picture, 0, 255).astype(np.uint8))
            row = {"path": name, "subject": f"p{person}", "emotion": labels.SEVEN[emotion]}
            rows.append({**row, "AU12": number % 2, "split": split})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return build_dataset(
        "manifest",
        source=folder,
        out=folder / "shards",
        options=BuildOptions(faces="ready"),
        say=lambda line: None,
    )


def assert_same(first: Any, second: Any) -> None:
    for left, right in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


@pytest.mark.slow
def test_a_streamed_epoch_takes_the_steps_of_a_resident_one(tmp_path: Path) -> None:
    # One frame of each clip is seen: the step draws it, with the same key on both ways.
    info = dataset_info(noise_clips(tmp_path))
    spec = info.input_spec.replace(sound=None)
    config = TrainConfig(batch_size=4, epochs=2, optim=OptimConfig(name="sgd"))
    usable = find_usable(info, "train", spec)
    trainer = make_trainer(
        build_model(config.model, spec.num_outputs), spec, config, usable.examples
    )
    stream = make_stream(
        info, "train", spec, usable, batch_size=4, seed=0, sharding=split_batch(trainer.mesh)
    )
    batches = [
        jax.tree.map(np.asarray, batch)
        for step in (0, trainer.steps_per_epoch)
        for batch in stream(step)
    ]
    assert len(batches) == trainer.total_steps
    # The same examples in device memory, and an order that brings the same batches.
    whole = Resident(*(np.concatenate(column) for column in zip(*batches, strict=True)))
    resident = jax.device_put(whole, replicated(trainer.mesh))
    rows = np.arange(trainer.total_steps * 4, dtype=np.int32)
    orders = rows.reshape(2, trainer.steps_per_epoch, 4)
    streamed, stayed = trainer.init(), trainer.init()
    done, losses = 0, []
    for epoch in range(2):
        for new_state, metrics, steps in run_epoch(trainer, streamed, stream, done):
            streamed, done = new_state, done + steps
            losses.append(float(metrics["loss"]))
        for step in range(trainer.steps_per_epoch):
            stayed, metrics = trainer.step(stayed, resident, jax.device_put(orders[epoch]))
            place = epoch * trainer.steps_per_epoch + step
            np.testing.assert_allclose(losses[place], float(metrics["loss"]), rtol=1e-5)
    assert done == trainer.total_steps == len(losses) == int(streamed.step)
    for left, right in zip(*(jax.tree.leaves(s.params) for s in (streamed, stayed)), strict=True):
        np.testing.assert_allclose(np.asarray(left), np.asarray(right), atol=1e-5)


@pytest.mark.slow
def test_a_stopped_streamed_run_goes_on_to_the_same_parameters(
    shards: Path, tmp_path: Path
) -> None:
    info = dataset_info(shards)
    config = TrainConfig(batch_size=16, epochs=3, input="streaming")
    model = build_model(config.model, info.input_spec.num_outputs)
    usable = find_usable(info, "train", info.input_spec)
    trainer = make_trainer(model, info.input_spec, config, usable.examples)
    options: dict[str, Any] = {"batch_size": 16, "seed": 0, "sharding": split_batch(trainer.mesh)}

    def train(folder: Path, stop_at: int = 0) -> tuple[TrainState, list[dict[str, Any]]]:
        seen: list[int] = []

        def watch(steps: int, _: float) -> None:
            seen.append(steps)
            if len(seen) == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)

        # A stream of its own: what is resumed knows nothing of what was stopped.
        stream = make_stream(info, "train", info.input_spec, usable, **options)
        with open_checkpoints(folder) as checkpoints:
            return fit(trainer, stream, checkpoints, on_steps=watch, on_epoch=lambda *_: None)

    straight, history = train(tmp_path / "straight")
    assert [row["step"] for row in history] == [5, 10, 15]
    # In the middle of an epoch, and at its end.
    for stop_at in (3, 7, 10):
        folder = tmp_path / f"stopped{stop_at}"
        with pytest.raises(StopTraining):
            train(folder, stop_at)
        resumed, again = train(folder)
        assert_same(straight, resumed)
        assert [row["loss"] for row in again] == [row["loss"] for row in history]


@pytest.mark.slow
def test_a_streamed_run_learns_and_compiles_its_step_once(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_at: list[float] = []
    epoch_at: list[float] = []
    whole = experiment._Watcher.epoch

    def watched(self: Any, row: dict[str, Any]) -> None:
        whole(self, row)
        epoch_at.append(time.monotonic())

    monkeypatch.setattr(experiment._Watcher, "epoch", watched)

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == COMPILED:
            compiled_at.append(time.monotonic())

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        # Shapes no other test uses, so that nothing is compiled already.
        config = TrainConfig(batch_size=18, epochs=6, input="streaming")
        results = train_run(config, tmp_path / "run", shards)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(epoch_at) == 6
    assert [moment for moment in compiled_at if moment <= epoch_at[0]]
    assert not [moment for moment in compiled_at if epoch_at[0] < moment <= epoch_at[-1]]
    assert results["data"]["splits"]["train"] == {"examples": 90, "people": 10}
    assert results["config"]["input"] == "streaming"
    assert "pixel_baseline" not in results
    losses = [row["loss"] for row in results["history"]]
    assert losses[-1] < 0.8 * losses[0]


def test_auto_says_what_it_chose_and_a_run_keeps_it(
    shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info, auto = dataset_info(shards), TrainConfig()
    assert settle_input(auto, tmp_path / "run", info, fresh=False).input == "resident"
    assert capsys.readouterr().out.startswith("input: resident (0.00 GiB of faces, ")
    monkeypatch.setattr("emojax.data.room.free_memory", lambda: 1e6)
    chosen = settle_input(auto, tmp_path / "run", info, fresh=False)
    assert chosen == TrainConfig(input="streaming")
    said = capsys.readouterr().out
    assert said.startswith("input: streaming (0.00 GiB of faces do not fit twice into 0.00 GiB")
    open_run(tmp_path / "run", chosen, info.input_spec, shards, "", fresh=False)
    # Settings alone would hold nobody.
    (tmp_path / "run" / "checkpoints").mkdir()
    # There would be room now: the run still goes on as it began.
    monkeypatch.undo()
    assert settle_input(auto, tmp_path / "run", info, fresh=False) == chosen
    assert capsys.readouterr().out == "input: streaming (as this run began)\n"
    assert settle_input(auto, tmp_path / "run", info, fresh=True).input == "resident"
    asked = TrainConfig(input="resident")
    assert settle_input(asked, tmp_path / "run", info, fresh=False) == asked
    with pytest.raises(UserError, match=r'input: "streaming" -> "resident".*--fresh'):
        open_run(tmp_path / "run", asked, info.input_spec, shards, "", fresh=False)


def test_what_cannot_be_streamed_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compiled=epoch needs all examples in device memory"):
        TrainConfig(input="streaming", compiled="epoch")
    config = TrainConfig(batch_size=91, epochs=1, input="streaming")
    with pytest.raises(UserError, match="train has 90 examples for a batch of 91"):
        train_run(config, tmp_path / "run", shards)


FOUR_DEVICES = """
    import sys
    from pathlib import Path
    import jax, numpy as np
    from emojax.data.feed import find_usable, make_stream
    from emojax.data.resident import draw_frames, take_batch
    from emojax.data.shards import dataset_info
    from emojax.sharding import make_mesh, split_batch

    assert jax.device_count() == 4
    info = dataset_info(Path(sys.argv[1]))
    spec = info.input_spec
    usable, found = find_usable(info, "train", spec), []

    def take(batch, key):
        return take_batch(batch, None, draw_frames(key, batch.num_frames, spec.frames), spec)

    for devices in (jax.devices()[:1], jax.devices()):
        sharding = split_batch(make_mesh(devices))
        stream = make_stream(info, "train", spec, usable, batch_size=16, seed=0, sharding=sharding)
        batches = list(stream(0))
        parts = batches[0].faces.addressable_shards
        assert [part.data.shape[0] for part in parts] == [16 // len(devices)] * len(devices)
        compiled = jax.jit(take).lower(batches[0], jax.random.key(0)).compile()
        # No device needs to see another one's examples.
        assert "all-gather" not in compiled.as_text()
        assert "all-reduce" not in compiled.as_text()
        taken = [take(batch, jax.random.key(0)) for batch in batches]
        found.append(jax.tree.map(np.asarray, taken))
    assert len(found[0]) == len(found[1]) == 5
    jax.tree.map(np.testing.assert_array_equal, *found)
"""


def test_four_devices_share_the_batches_that_one_would_get(shards: Path) -> None:
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FOUR_DEVICES), str(shards)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
