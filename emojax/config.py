"""The settings of a training run, as flags and as JSON."""

from __future__ import annotations

import dataclasses
import json
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from emojax.augment import AugmentConfig
from emojax.augment_sound import SoundAugmentConfig
from emojax.errors import UserError
from emojax.finetune import read_rates
from emojax.labels import NEUTRAL
from emojax.losses import LossConfig
from emojax.models import check_extractor, check_model_key, looks_at
from emojax.models.ar5 import SoundBranch
from emojax.models.inputs import fit_spec
from emojax.models.layers import Activation
from emojax.optim import OptimConfig
from emojax.spec import InputSpec

ComputeType = Literal["auto", "float32", "bfloat16"]
InputPath = Literal["auto", "resident", "streaming"]
ReportedSplit = Literal["test", "validation"]
CallSize = Literal["auto", "step", "epoch"]
OutputChoice = Literal["all", "action_units", "emotions", "without_neutral"]
Activations = Literal["sigmoid", "softmax"]
Watched = Literal["validation_loss", "emotion_uar", "action_unit_f1", "action_unit_roc_area"]

NETWORK_FIELDS = (
    "activation",
    "blocks",
    "widths",
    "dropout",
    "norm_momentum",
    "video_features",
    "sound_features",
    "sound_branch",
    "sound_widths",
    "emotion_activation",
    "outputs",
)
"""Settings that a run takes over from the one it starts from."""

_LISTS = ("blocks", "widths", "sound_widths", "frozen", "stage_rates", "teachers")

_CHOICES: dict[str, Any] = {
    "activation": Activation,
    "dtype": ComputeType,
    "compiled": CallSize,
    "input": InputPath,
    "report_on": ReportedSplit,
    "outputs": OutputChoice,
    "emotion_activation": Activations,
    "watch": Watched,
}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One training run. Two runs with equal settings on equal devices give equal parameters."""

    model: str = "ar1"
    """Network: one of the registry's keys."""
    data: str = "synthetic"
    """`synthetic` or `synthetic-clips` (drawn and built on first use), a folder of shards, or a
    manifest.csv."""
    outputs: OutputChoice = "all"
    """What the network answers, of what the data set has labels for. without_neutral: all but that;
    a neutral face is one on which every other emotion is low (thesis, E2)."""
    emotion_activation: Activations = "sigmoid"
    """sigmoid: binary cross-entropy for each emotion (thesis, formula 4.12); softmax: one
    cross-entropy over all of them."""
    epochs: int = 20
    """Passes over the training pictures."""
    batch_size: int = 64
    """Pictures per step, over all devices together."""
    dropout: float | None = None
    """Share of the feature vector left out in training; unset: the network's own."""
    activation: Activation = "relu"
    """prelu: ReLU with a learned slope below zero for each channel."""
    norm_momentum: float | None = None
    """Share of BatchNorm's running statistics that a step keeps; unset: the network's own."""
    blocks: tuple[int, ...] = ()
    """Of the ResNets and the Inceptions: blocks of each stage, as 2 2 2 2, or 3 5 2 of A, B
    and C; unset: the network's own. Of ar4: its extractor's."""
    widths: tuple[int, ...] = ()
    """Of ar1, ar2, the ResNets: channels of each stage, as 64 128 256 512; unset: its own. Of ar4:
    its extractor's."""
    extractor: str | None = None
    """Of ar4: the network that reads action units; unset: resnet18. It is trained first, for
    `epochs`, into the folder `extractor` of the run."""
    perceptron_epochs: int = 4
    """Of ar4: passes for the perceptron, with the extractor as it is then."""
    perceptron_learning_rate: float = 1e-2
    """Of ar4: peak learning rate for the perceptron. 700 parameters have hundreds of steps, not
    thousands: with 1e-3 its recall was 0.69 on the synthetic set where more steps reach 0.99."""
    video_features: int | None = None
    """Of ar5: length of the video branch's feature vector; unset: 256; 0: no such branch."""
    sound_features: int | None = None
    """Of ar5: length of the sound branch's feature vector; unset: 64; 0: no such branch."""
    sound_branch: SoundBranch | None = None
    """Of ar5: how the sound is looked at: plain, convolutions and pooling (unset), or residual,
    blocks whose channels are averaged over time and frequency."""
    sound_widths: tuple[int, ...] = ()
    """Of ar5: channels of the sound branch's stages; unset: 16 32 64 64, residual 16 32 64 128."""
    auxiliary_weight: float = 0.3
    """Of ar5: weight of the branches' own losses beside the common one."""
    modality_dropout: float = 0.0
    """Of ar5: share of the training clips that lose their frames or their sound, half each, so
    that one set of weights serves video, sound, and both."""
    init: str = ""
    """Folder of a trained run of the same network to start from, as runs/resnet18-fer2013-0, or
    `faces` or `voices`, which come with emojax. Where the labels are others, the head is a new
    one. Unset: random parameters."""
    frozen: tuple[str, ...] = ()
    """Stages that stay as they are, by name or pattern, as `stem` or `stage[12]_*`, whatever
    `stage_rates` says of them; their normalisation follows the new data."""
    stage_rates: tuple[str, ...] = ()
    """Factors of the learning rate by stage, NAME=FACTOR, as `stage*=0.1`; the last that fits
    holds."""
    teachers: tuple[str, ...] = ()
    """Folders of trained runs, of any network, whose mean answer to the same augmented picture is
    aimed at beside the label (`loss.teacher_weight`): a small network learns from large ones."""
    patience: int = 0
    """Looks at the validation people without a better `watch` after which training stops, an epoch
    each unless `validate_every` says otherwise; the best epoch's parameters are kept. 0: all
    epochs are run and the last one's are kept."""
    watch: Watched = "validation_loss"
    """What `patience` looks at, on the validation people. Of ar4 the extractor has no emotions, and
    the perceptron's action units stand still: where it would be those, validation_loss."""
    validate_every: int = 1
    """Epochs from one look at the validation people, and checkpoint, to the next; the last epoch
    has both. More than 1 where a device is done with an epoch in a second."""
    report_on: ReportedSplit = "test"
    """People whose figures stand in the results. validation: while something is still chosen, so
    that nobody has looked at the test people when it counts."""
    dtype: ComputeType = "auto"
    """Compute type. auto: bfloat16 where the device computes in it, float32 on a CPU."""
    seed: int = 0
    """Of initialisation, sampling, augmentation and dropout."""
    compiled: CallSize = "auto"
    """What one compiled call holds. auto: a whole epoch on GPU and TPU, one step on a CPU,
    where XLA runs the gradients of convolutions inside a loop several times slower."""
    input: InputPath = "auto"
    """resident: the training split lies in device memory; streaming: its batches are read from
    the shards while it trains. auto: resident where there is room for it."""
    checkpoint_minutes: float = 5.0
    """A checkpoint at every look at the validation people (`validate_every`), and where a call is
    one step (compiled=step) at least this often."""
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    """Random changes to the training pictures."""
    augment_sound: SoundAugmentConfig = dataclasses.field(default_factory=SoundAugmentConfig)
    """Random changes to the training spectrograms."""
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    """What training aims at, and how a miss is counted."""
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    """Update rule and learning rate."""

    def __post_init__(self) -> None:
        """Refuse settings that can't train."""
        check_model_key(self.model)
        if self.epochs < 1:
            raise UserError(f"epochs={self.epochs}: wanted 1 or more")
        if self.batch_size < 1:
            raise UserError(f"batch_size={self.batch_size}: wanted 1 or more")
        if self.dropout is not None and not 0.0 <= self.dropout < 1.0:
            raise UserError(f"dropout={self.dropout}: wanted a share below 1, 0 for none")
        if self.norm_momentum is not None and not 0.0 <= self.norm_momentum < 1.0:
            raise UserError(f"norm_momentum={self.norm_momentum}: wanted a share below 1, as 0.99")
        for name in ("video_features", "sound_features"):
            if (length := getattr(self, name)) is not None and length < 0:
                raise UserError(f"{name}={length}: wanted a length, or 0 for no such branch")
        if self.video_features == self.sound_features == 0:
            raise UserError("video_features=0 and sound_features=0: leave one of the branches")
        if self.perceptron_epochs < 1:
            raise UserError(f"perceptron_epochs={self.perceptron_epochs}: wanted 1 or more")
        if not 0.0 < self.perceptron_learning_rate < 10.0:
            raise UserError(
                f"perceptron_learning_rate={self.perceptron_learning_rate}: "
                "wanted above 0 and below 10"
            )
        if not 0.0 <= self.auxiliary_weight < float("inf"):
            raise UserError(
                f"auxiliary_weight={self.auxiliary_weight}: wanted 0 or more, and no infinity: "
                "use a large number"
            )
        if not 0.0 <= self.modality_dropout <= 1.0:
            raise UserError(f"modality_dropout={self.modality_dropout}: wanted a share, 0..1")
        if self.sound_branch is not None and self.sound_branch not in get_args(SoundBranch):
            raise UserError(
                f"sound_branch={self.sound_branch!r}: use {', '.join(get_args(SoundBranch))}"
            )
        read_rates(self.stage_rates)
        if self.validate_every < 1:
            raise UserError(f"validate_every={self.validate_every}: wanted 1 or more epochs")
        if self.patience < 0:
            raise UserError(f"patience={self.patience}: wanted 0 or more looks")
        if self.model == "ar4" and (self.init or self.frozen or self.stage_rates):
            raise UserError(
                "ar4 is trained in two stages of its own: fine-tune its extractor by itself, "
                "or choose another --model"
            )
        if self.model == "ar4" and self.teachers:
            raise UserError("ar4 has an extractor for a teacher: leave teachers out")
        if self.extractor is not None:
            check_extractor(self.extractor)
        if self.model == "ar4" and self.outputs != "all":
            raise UserError("ar4 answers action units and emotions: leave outputs=all")
        if self.outputs == "without_neutral":
            self._refuse_what_needs_neutral()
        if self.outputs == "action_units" and self.loss.votes != "none":
            raise UserError(
                f"outputs=action_units: loss.votes={self.loss.votes} is about emotions: leave "
                "votes=none, or choose other outputs"
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise UserError(
                    f"{name}={getattr(self, name)!r}: use {', '.join(get_args(choices))}"
                )
        if self.input == "streaming" and self.compiled == "epoch":
            raise UserError(
                "compiled=epoch needs all examples in device memory: leave compiled=auto, "
                "or use input=resident"
            )
        if not (isinstance(self.seed, int) and 0 <= self.seed < 2**32):
            raise UserError(f"seed={self.seed}: wanted 0 .. 4294967295")
        if not 0.0 < self.checkpoint_minutes < float("inf"):
            raise UserError(
                f"checkpoint_minutes={self.checkpoint_minutes}: wanted above 0, and no infinity: "
                "use a large number"
            )

    def _refuse_what_needs_neutral(self) -> None:
        for name, value, wanted in (
            # Of a softmax something is always high.
            ("emotion_activation", self.emotion_activation, "sigmoid"),
            ("loss.votes", self.loss.votes, "none"),
        ):
            if value != wanted:
                raise UserError(f"outputs=without_neutral: wants {name}={wanted}, found {value}")
        if self.input == "streaming":
            raise UserError("outputs=without_neutral: wants input=resident")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return dataclasses.asdict(self)


def network_spec(config: TrainConfig, shards: InputSpec) -> InputSpec:
    """Return what a run's network sees and answers, out of what the shards hold.

    Raises:
        UserError: the shards lack the labels, or the sound, that the network needs.
    """
    spec = fit_spec(shards, looks_at(config.model), hears=config.sound_features != 0)
    dropped = {"action_units": "emotions", "emotions": "action_units"}.get(config.outputs)
    if dropped and not getattr(shards, config.outputs):
        raise UserError(f"outputs={config.outputs}: the data set has no labels for them")
    spec = spec.replace(emotion_activation=config.emotion_activation)
    if config.outputs == "without_neutral":
        others = tuple(name for name in shards.emotions if name != NEUTRAL)
        if others in ((), shards.emotions):
            raise UserError(
                "outputs=without_neutral: wants a data set with neutral and other emotions, found "
                f"{', '.join(shards.emotions) or 'none'}"
            )
        return spec.replace(emotions=others)
    return spec.replace(**{dropped: ()}) if dropped else spec


_GROUPS: dict[str, Any] = {
    "augment": AugmentConfig,
    "augment_sound": SoundAugmentConfig,
    "loss": LossConfig,
    "optim": OptimConfig,
}

# What `X | None` makes depends on X.
_UNIONS = (Union, types.UnionType)

_KINDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    types.NoneType: "null",
}


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of a field's type, as JSON has it."""
    if get_origin(hint) in _UNIONS:
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(one, get_args(hint)[0]) for one in value)
    if get_origin(hint) is Literal:
        return isinstance(value, str)
    if hint in (int, float):
        # To Python true is 1, and 1 a float.
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    if get_origin(hint) in _UNIONS:
        return " or ".join(map(_describe, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a list, each {_describe(get_args(hint)[0])}"
    return _KINDS.get(str if get_origin(hint) is Literal else hint, "settings")


def _check_types(kind: Any, values: dict[str, Any], prefix: str = "") -> None:
    """Refuse a value that is not of its field's type; names that are unknown are left to `kind`."""
    for name, hint in get_type_hints(kind).items():
        if name in values and not _fits(value := values[name], hint):
            found = list(value) if isinstance(value, tuple) else value
            raise UserError(f"{prefix}{name} is {found!r}: wanted {_describe(hint)}")


def config_from_dict(fields: Any, source: str) -> TrainConfig:
    """Return the settings that `TrainConfig.to_dict` wrote.

    Raises:
        UserError: a field is unknown or a value out of range; `source` names the file.
    """
    if not isinstance(fields, dict):
        raise UserError(f"{source}: not the settings of a training run (found {fields!r})")
    # A setting that is missing would take today's default, not the one that the run had.
    missing = [name for name in TrainConfig().to_dict() if name not in fields]
    if missing:
        raise UserError(f"{source}: lacks the setting {missing[0]!r} of a training run")
    try:
        values = dict(fields)
        for name in _LISTS:
            # JSON has no tuples.
            if isinstance(values[name], list):
                values[name] = tuple(values[name])
        for name, kind in _GROUPS.items():
            _check_types(kind, dict(**values[name]), f"{name}.")
            values[name] = kind(**values[name])
        _check_types(TrainConfig, values)
        return TrainConfig(**values)
    except (TypeError, UserError) as error:
        raise UserError(f"{source}: not the settings of a training run ({error})") from None


def _flatten(fields: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value)
    return flat


def differences(old: TrainConfig, new: TrainConfig) -> list[str]:
    """Return `name: old -> new` for every setting in which two runs differ."""
    before, after = _flatten(old.to_dict()), _flatten(new.to_dict())
    return [
        f"{name}: {before[name]} -> {after[name]}" for name in before if before[name] != after[name]
    ]
