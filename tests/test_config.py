from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

from emojax.augment import AugmentConfig
from emojax.augment_sound import SoundAugmentConfig
from emojax.config import TrainConfig, config_from_dict, differences, network_spec
from emojax.errors import UserError
from emojax.losses import LossConfig
from emojax.optim import OptimConfig
from emojax.spec import InputSpec, SpectrogramSpec

if TYPE_CHECKING:
    from conftest import RunPython

# Every setting away from its default.
OTHER = TrainConfig(
    model="resnet18",
    data="faces/manifest.csv",
    outputs="emotions",
    emotion_activation="softmax",
    extractor="ar1",
    perceptron_epochs=9,
    perceptron_learning_rate=0.02,
    video_features=128,
    sound_features=0,
    sound_branch="residual",
    sound_widths=(8, 16),
    auxiliary_weight=0.0,
    modality_dropout=0.4,
    epochs=3,
    batch_size=48,
    dropout=0.25,
    activation="prelu",
    norm_momentum=0.95,
    blocks=(1, 2, 1),
    widths=(16, 32, 64),
    init="runs/first",
    frozen=("stem",),
    stage_rates=("stage*=0.1",),
    teachers=("runs/large",),
    validate_every=5,
    report_on="validation",
    patience=2,
    watch="emotion_uar",
    dtype="bfloat16",
    seed=11,
    compiled="step",
    input="streaming",
    checkpoint_minutes=0.5,
    augment=AugmentConfig(
        mirror=0.0,
        rotation_deg=3.0,
        scale=0.2,
        translation=0.1,
        brightness=0.0,
        contrast=0.1,
        noise=0.0,
        erase=0.5,
        erase_area=0.1,
        mixup=0.3,
    ),
    augment_sound=SoundAugmentConfig(
        time_masks=3,
        time_mask=0.2,
        frequency_masks=0,
        frequency_mask=0.3,
        shift=0.0,
        stretch=0.1,
        pitch=0.04,
        level=0.2,
        noise=0.1,
    ),
    loss=LossConfig(
        kind="squared",
        label_smoothing=0.1,
        class_weights="balanced",
        class_weight_limit=4.0,
        votes="face",
        confidence=False,
        teacher_weight=0.4,
    ),
    optim=OptimConfig(
        name="sgd",
        learning_rate=0.05,
        schedule="constant",
        warmup=0.2,
        weight_decay=0.0,
        momentum=0.8,
        l1=0.1,
        l2=0.2,
        clip_gradient=1.0,
        clip_weights=2.0,
        accumulate=2,
        average=0.9,
    ),
)


def flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields.items():
        found |= (
            flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return found


def test_the_other_configuration_differs_everywhere() -> None:
    default, other = flat(TrainConfig().to_dict()), flat(OTHER.to_dict())
    assert [name for name in default if default[name] == other[name]] == []


@pytest.mark.parametrize("config", [TrainConfig(), OTHER])
def test_round_trip_through_json(config: TrainConfig) -> None:
    again = config_from_dict(json.loads(json.dumps(config.to_dict())), "config.json")
    assert again == config
    assert isinstance(again.augment, AugmentConfig)
    assert isinstance(again.optim, OptimConfig)
    assert differences(config, again) == []


def test_differences_name_every_changed_setting() -> None:
    found = differences(TrainConfig(), OTHER)
    assert [line.split(": ")[0] for line in found] == list(flat(TrainConfig().to_dict()))
    assert 'model: "ar1" -> "resnet18"' in found
    assert "dropout: null -> 0.25" in found
    assert "optim.learning_rate: 0.001 -> 0.05" in found
    assert "augment.mirror: 0.5 -> 0.0" in found


@pytest.mark.parametrize("name", list(flat(TrainConfig().to_dict())))
def test_one_changed_setting_is_named_alone(name: str) -> None:
    default = TrainConfig()
    group, _, field = name.rpartition(".")
    if group:
        value = getattr(getattr(OTHER, group), field)
        changed = dataclasses.replace(
            default, **{group: dataclasses.replace(getattr(default, group), **{field: value})}
        )
    else:
        changed = dataclasses.replace(default, **{name: getattr(OTHER, name)})
    (line,) = differences(default, changed)
    assert line.startswith(f"{name}: ")
    (back,) = differences(changed, default)
    before, after = line.removeprefix(f"{name}: ").split(" -> ")
    assert back == f"{name}: {after} -> {before}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", -3),
        ("batch_size", 0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", math.nan),
        ("norm_momentum", 1.0),
        ("norm_momentum", math.nan),
        ("seed", -1),
        ("seed", 2**32),
        ("checkpoint_minutes", 0.0),
        ("checkpoint_minutes", math.nan),
        ("checkpoint_minutes", math.inf),
        ("auxiliary_weight", math.inf),
        ("perceptron_epochs", 0),
        ("perceptron_learning_rate", 0.0),
        ("perceptron_learning_rate", math.nan),
        ("video_features", -1),
        ("sound_features", -8),
        ("auxiliary_weight", -0.1),
        ("auxiliary_weight", math.nan),
        ("modality_dropout", 1.5),
        ("modality_dropout", math.nan),
    ],
)
def test_bad_values_are_refused(field: str, value: Any) -> None:
    with pytest.raises(UserError) as refusal:
        TrainConfig(**{field: value})
    assert str(refusal.value).startswith(f"{field}={value}: wanted ")


def test_an_unknown_model_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"model 'ar9' is not known.*ar1.*resnet18"):
        TrainConfig(model="ar9")


def changed(**changes: Any) -> dict[str, Any]:
    fields = TrainConfig().to_dict()
    for name, value in changes.items():
        group, _, field = name.rpartition("__")
        (fields[group] if group else fields)[field] = value
    return fields


# What a damaged or foreign config.json may hold, and what the message has to name.
DAMAGED: dict[str, tuple[Any, str]] = {
    "surplus setting": (changed(colour="red"), "colour"),
    "surplus nested setting": (changed(optim__beta=0.9), "beta"),
    "bad nested value": (changed(optim__warmup=2.0), "optim.warmup=2.0"),
    "bad augmentation": (changed(augment__noise=-1.0), "augment.noise=-1.0"),
    "bad model": (changed(model="vgg"), "model 'vgg' is not known"),
    "a text for a number": (changed(epochs="20"), "epochs is '20': wanted a whole number"),
    "a list for a model": (changed(model=["ar1"]), "model is ['ar1']: wanted a text"),
    "augment is a number": (changed(augment=3), "mapping"),
    "optim is null": (changed(optim=None), "mapping"),
    "a list": ([1, 2], ""),
    "a number": (3, ""),
    "null": (None, ""),
    "an empty list": ([], ""),
    "unknown rule": (changed(optim__name="lamb"), "lamb"),
    "unknown loss": (changed(loss__kind="hinge"), "hinge"),
    "unknown votes": (changed(loss__votes="smell"), "smell"),
    "unknown class weights": (changed(loss__class_weights="some"), "some"),
    "bad sound augmentation": (changed(augment_sound__noise=2.0), "augment_sound.noise=2.0"),
    "unknown schedule": (changed(optim__schedule="steps"), "step"),
    "unknown dtype": (changed(dtype="float8"), "float8"),
    "unknown compiled": (changed(compiled="never"), "never"),
    "unknown input": (changed(input="disk"), "disk"),
    "half a seed": (changed(seed=1.5), "seed is 1.5: wanted a whole number"),
    "half an epoch": (changed(epochs=1.5), "epochs is 1.5: wanted a whole number"),
    "epochs are true": (changed(epochs=True), "epochs is True"),
    "rates are numbers": (
        changed(stage_rates=[0.1]),
        "stage_rates is [0.1]: wanted a list, each a text",
    ),
    "blocks are texts": (
        changed(blocks=["1", "1"]),
        "blocks is ['1', '1']: wanted a list, each a whole number",
    ),
    "one stage as a text": (changed(frozen="stem"), "frozen is 'stem'"),
    "dropout is a text": (changed(dropout="a"), "dropout is 'a': wanted a number or null"),
    "noise is a list": (changed(augment__noise=[1]), "augment.noise is [1]: wanted a number"),
    "half a step": (changed(optim__accumulate=1.5), "optim.accumulate is 1.5"),
    "confidence is a number": (changed(loss__confidence=1), "wanted true or false"),
}

READ_EACH = """
import json, sys
from emojax.config import config_from_dict
from emojax.errors import UserError
answers = {}
for name, fields in json.load(open(sys.argv[1])).items():
    try:
        config_from_dict(fields, "run/config.json")
        answers[name] = "accepted"
    except UserError as error:
        answers[name] = str(error)
    except Exception as error:
        answers[name] = f"crashed: {error!r}"
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, run_python: RunPython) -> dict[str, str]:
    # Without the type checker of the tests, which would stop some values before we do.
    path = tmp_path_factory.mktemp("configs") / "configs.json"
    path.write_text(json.dumps({name: fields for name, (fields, _) in DAMAGED.items()}))
    done = run_python("-c", READ_EACH, path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_settings_are_refused_with_their_file(name: str, answers: dict[str, str]) -> None:
    assert re.match(r"run/config.json: not the settings of a training run \(.*\)$", answers[name])
    assert DAMAGED[name][1] in answers[name]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"extractor": "ar5"}, "extractor 'ar5': use one of ar1"),
        ({"video_features": 0, "sound_features": 0}, "leave one of the branches"),
        ({"model": "ar4", "outputs": "emotions"}, "ar4 answers action units and emotions"),
        (
            {"outputs": "action_units", "loss": LossConfig(votes="face")},
            r"outputs=action_units: loss\.votes=face is about emotions: leave votes=none",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        TrainConfig(**settings)


SHARDS = InputSpec(sound=SpectrogramSpec())


@pytest.mark.parametrize(
    ("settings", "frames", "hears", "outputs"),
    [
        ({}, 1, False, 22),
        ({"model": "resnet18", "outputs": "action_units"}, 1, False, 15),
        ({"model": "ar3", "outputs": "emotions"}, 20, False, 7),
        ({"model": "ar5"}, 20, True, 22),
        ({"model": "ar5", "sound_features": 0, "outputs": "emotions"}, 20, False, 7),
    ],
)
def test_a_network_sees_and_answers_what_it_is_for(
    settings: dict[str, Any], frames: int, hears: bool, outputs: int
) -> None:
    spec = network_spec(TrainConfig(**settings), SHARDS)
    assert (spec.frames, spec.sound is not None, spec.num_outputs) == (frames, hears, outputs)
    assert spec.emotion_activation == "sigmoid"
    soft = network_spec(TrainConfig(**settings, emotion_activation="softmax"), SHARDS)
    assert soft.emotion_activation == "softmax"


def test_a_network_that_listens_needs_sound() -> None:
    with pytest.raises(UserError, match=r"the data set holds no sound.*--sound-features=0"):
        network_spec(TrainConfig(model="ar5"), InputSpec())
    assert network_spec(TrainConfig(model="ar5", sound_features=0), InputSpec()).frames == 20
    with pytest.raises(UserError, match="outputs=emotions: the data set has no labels"):
        network_spec(TrainConfig(outputs="emotions"), InputSpec(emotions=()))


def test_a_network_without_neutral_answers_all_other_emotions() -> None:
    spec = network_spec(TrainConfig(outputs="without_neutral"), InputSpec())
    assert spec.emotions == ("happiness", "sadness", "surprise", "fear", "disgust", "anger")
    assert spec.num_outputs == 21
    for emotions in (("neutral",), ("anger", "fear"), ()):
        with pytest.raises(UserError, match="wants a data set with neutral and other emotions"):
            network_spec(TrainConfig(outputs="without_neutral"), InputSpec(emotions=emotions))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"emotion_activation": "softmax"}, "emotion_activation=sigmoid, found softmax"),
        ({"loss": LossConfig(votes="face")}, "loss.votes=none, found face"),
        ({"input": "streaming"}, "input=resident"),
    ],
)
def test_no_neutral_where_something_is_always_high(settings: dict[str, Any], wanted: str) -> None:
    with pytest.raises(UserError, match=f"without_neutral: wants {wanted}"):
        TrainConfig(outputs="without_neutral", **settings)
