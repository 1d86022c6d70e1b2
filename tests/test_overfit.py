"""Each network learns some faces or clips by heart: its gradients point where they should."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from bar_clips import bar_clips

from emojax.augment import AugmentConfig
from emojax.config import TrainConfig, network_spec
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.resident import keep_labels, put_on_device
from emojax.data.shards import FaceArrays, dataset_info, load_split
from emojax.data.synthetic.layouts import SetSize
from emojax.models import MODELS, build_model, looks_at
from emojax.optim import OptimConfig
from emojax.sharding import replicated
from emojax.train import make_trainer, run_epoch

STILL = AugmentConfig(
    mirror=0, rotation_deg=0, scale=0, translation=0, brightness=0, contrast=0, noise=0
)


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Four people, four domains, two pictures each.
    options = BuildOptions(size=SetSize(train=4, validation=1, test=1, pictures=2))
    out = tmp_path_factory.mktemp("drawn") / "faces"
    return build_dataset("synthetic", out=out, options=options, say=lambda line: None)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # One start only: a clip is the same 20 frames each time.
    people = {"train": 6, "validation": 1, "test": 1}
    return bar_clips(tmp_path_factory.mktemp("clips"), people, kept=20)


def first(arrays: FaceArrays, count: int) -> FaceArrays:
    cut = {
        name: value[:count] for name, value in vars(arrays).items() if isinstance(value, np.ndarray)
    }
    return FaceArrays(**{**vars(arrays), **cut})


# Deep networks take minutes each on two cores, and hours until they know all faces.
QUICK = ("ar1", "ar2", "ar3", "ar4", "ar5", "resnet18", "inception_resnet")


@pytest.mark.slow
@pytest.mark.parametrize("count", [16, pytest.param(32, marks=pytest.mark.release)])
@pytest.mark.parametrize("key", [key for key in MODELS if key in QUICK])
def test_learns_examples_by_heart(key: str, count: int, request: pytest.FixtureRequest) -> None:
    is_clip = looks_at(key) != "picture"
    data = request.getfixturevalue("clips" if is_clip else "faces")
    config = TrainConfig(
        model=key,
        batch_size=count,
        epochs=400,
        outputs="emotions" if is_clip else "all",
        emotion_activation="softmax" if is_clip else "sigmoid",
        extractor="ar1" if key == "ar4" else None,
        auxiliary_weight=0.0,
        augment=STILL,
        optim=OptimConfig(name="adam", learning_rate=1e-3, schedule="constant"),
    )
    spec = network_spec(config, dataset_info(data).input_spec)
    arrays = first(keep_labels(load_split(data, "train"), spec), count)
    assert len(arrays.emotion) == count
    model = build_model(key, spec.num_outputs, dropout=0.0, extractor=config.extractor)
    trainer = make_trainer(model, spec, config, count)
    state, resident = trainer.init(), put_on_device(arrays, replicated(trainer.mesh))
    losses: list[float] = []
    for epoch in range(config.epochs):
        ((state, metrics, _),) = run_epoch(trainer, state, resident, epoch)
        losses.append(float(metrics["loss"]))
        if losses[-1] < 0.01:
            break
    assert losses[0] > 0.3
    assert losses[-1] < 0.01, f"{losses[-1]:.3f} after {len(losses)} steps"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
