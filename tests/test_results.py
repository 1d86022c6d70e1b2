"""What a trained network may be asked about, and why not about the rest."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hand_made_ar4 import make_network
from small_sets import noise_clips, noise_pictures

from emojax import labels, results
from emojax.audio import PRESETS
from emojax.config import TrainConfig
from emojax.errors import UserError
from emojax.models.inputs import CLIP_FRAMES
from emojax.network import TrainedNetwork, load_network
from emojax.results import choose_shards, evaluate_run
from emojax.shipped import shipped_folder
from emojax.spec import InputSpec

ACTION_UNITS, EMOTIONS = TrainConfig(outputs="action_units"), TrainConfig(outputs="emotions")
CREMA6 = labels.emotion_names("crema6")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pictures(tmp_path_factory.mktemp("pictures"), train=7, validation=7, test=7)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_clips(tmp_path_factory.mktemp("clips"), 4)


def network_of(config: TrainConfig, spec: InputSpec) -> TrainedNetwork:
    return make_network()._replace(config=config, spec=spec)


def test_shards_that_were_cut_otherwise_are_refused_with_what_differs(
    pictures: Path, clips: Path
) -> None:
    network = network_of(EMOTIONS, InputSpec(height=49, equalise=True, emotions=("fear",)))
    with pytest.raises(
        UserError,
        match=(
            f"{pictures}: was cut in another way than the shards of runs/a: "
            r"height \(98, not 49\), equalise \(False, not True\): build it as those were"
        ),
    ):
        choose_shards("runs/a", network, pictures, "test")
    heard = PRESETS["log_mel"]
    sound = dataclasses.replace(heard, hop_ms=8.0)
    for config in (TrainConfig(model="ar5"), TrainConfig(model="ar5", sound_features=0)):
        hears = config.sound_features != 0
        for kept in (heard, sound):
            spec = InputSpec(frames=CLIP_FRAMES, sound=kept if hears else None)
            network = network_of(config, spec)
            if hears and kept == sound:
                with pytest.raises(UserError, match=r"runs/a: sound.hop_ms \(10.0, not 8.0\): bu"):
                    choose_shards("runs/a", network, clips, "train")
            else:
                assert choose_shards("runs/a", network, clips, "train").folder == clips


@pytest.mark.parametrize("name", ["faces", "voices"])
def test_a_network_that_comes_with_emojax_is_asked_about_what_it_was_made_for(
    name: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_network(shipped_folder(name))
    info = results.dataset_info(pictures)
    spec = {"faces": info.input_spec, "voices": InputSpec(sound=PRESETS["speech"])}[name]
    info = dataclasses.replace(info, input_spec=spec)
    monkeypatch.setattr(results, "dataset_info", lambda folder: info)
    assert choose_shards(name, network, pictures, "test") is info


@pytest.mark.parametrize(
    ("config", "spec", "told"),
    [
        (
            EMOTIONS,
            InputSpec(action_units=(), emotions=CREMA6),
            r"emotions \(there alone: surprise\)",
        ),
        (
            EMOTIONS,
            InputSpec(action_units=(), emotions=(*CREMA6, "calm")),
            r"emotions \(there alone: surprise; of the network alone: calm\)",
        ),
        (
            EMOTIONS,
            InputSpec(action_units=(), emotions=labels.SEVEN[::-1]),
            r"emotions \(in another order\)",
        ),
        (
            ACTION_UNITS,
            InputSpec(action_units=labels.AU_COLUMNS[1:], emotions=()),
            r"action_units \(there alone: AU01\)",
        ),
    ],
)
def test_labels_of_other_names_are_not_blamed_on_the_faces(
    config: TrainConfig,
    spec: InputSpec,
    told: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results, "load_network", lambda folder: network_of(config, spec))
    # Of action units there is nothing to choose when a set is built.
    end = ": emojax data build --emotions$" if spec.emotions else "$"
    words = f"{pictures}: its labels are not what {tmp_path} answers: {told}: build it with the "
    with pytest.raises(UserError, match=f"{words}network's{end}"):
        evaluate_run(tmp_path, pictures, "test")
