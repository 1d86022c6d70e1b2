"""What `experiments/train.py` does for each network when nothing else is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from emojax.augment import AugmentConfig
from emojax.augment_sound import SoundAugmentConfig
from emojax.config import NETWORK_FIELDS, TrainConfig
from emojax.losses import LossConfig
from emojax.optim import OptimConfig
from emojax.run import has_begun, is_still_to_throw_away, load_run
from emojax.shipped import find_model

# The deep networks: few epochs, because on two CPU cores one of them takes a minute. On the
# synthetic set's validation people `inception_resnet` reaches a macro F1 of the action units of
# 0.93 and a recall of the emotions of 0.995 with 1e-3, 0.91 and 0.985 with 5e-4.
_DEEP = TrainConfig(epochs=6, optim=OptimConfig(learning_rate=1e-3))
# The published Inceptions' own running statistics need 10^4 steps to arrive; a run has hundreds.
_PUBLISHED_INCEPTION = dataclasses.replace(_DEEP, norm_momentum=0.9)

# Clips: one of six emotions each. The synthetic set has 720 of them to train on.
_CLIPS = TrainConfig(
    data="synthetic-clips",
    outputs="emotions",
    emotion_activation="softmax",
    epochs=12,
    batch_size=32,
    optim=OptimConfig(learning_rate=1e-3),
)

# Voices alone. Chosen on CREMA-D, by folds of people: a sound is seen a few thousand times, so
# that what varies it (stretch, pitch, level, masks, mixup) does more than the network's size.
VOICES = TrainConfig(
    model="ar5",
    outputs="emotions",
    emotion_activation="softmax",
    video_features=0,
    sound_branch="residual",
    auxiliary_weight=0.0,
    dropout=0.3,
    epochs=50,
    batch_size=64,
    report_on="validation",
    validate_every=5,
    augment=AugmentConfig(mixup=0.2),
    augment_sound=SoundAugmentConfig(
        time_mask=0.2, frequency_mask=0.15, stretch=0.1, pitch=0.05, level=0.15
    ),
    loss=LossConfig(label_smoothing=0.1),
    optim=OptimConfig(learning_rate=2e-3, weight_decay=0.05, average=0.99),
)

PRESETS: dict[str, TrainConfig] = {
    # Without normalisation AR1 bears, and needs, a larger rate: on the synthetic set's
    # validation people macro F1 of the action units is 0.88 with 2e-3 and 0.85 with 1e-3.
    "ar1": TrainConfig(model="ar1", epochs=12, optim=OptimConfig(learning_rate=2e-3)),
    "ar2": TrainConfig(model="ar2", epochs=12, optim=OptimConfig(learning_rate=2e-3)),
    "ar3": dataclasses.replace(_CLIPS, model="ar3"),
    "ar4": dataclasses.replace(_DEEP, model="ar4"),
    "ar5": dataclasses.replace(_CLIPS, model="ar5", modality_dropout=0.3),
    "resnet18": dataclasses.replace(_DEEP, model="resnet18", epochs=8),
    "resnet34": dataclasses.replace(_DEEP, model="resnet34"),
    "resnet50": dataclasses.replace(_DEEP, model="resnet50"),
    "resnet101": dataclasses.replace(_DEEP, model="resnet101"),
    "resnet_small": dataclasses.replace(_DEEP, model="resnet_small"),
    "inception_v4": dataclasses.replace(_PUBLISHED_INCEPTION, model="inception_v4"),
    "inception_resnet": dataclasses.replace(_DEEP, model="inception_resnet"),
    "inception_resnet_v1": dataclasses.replace(_PUBLISHED_INCEPTION, model="inception_resnet_v1"),
    "inception_resnet_v2": dataclasses.replace(_PUBLISHED_INCEPTION, model="inception_resnet_v2"),
}


def _given(arguments: Sequence[str], flag: str) -> str | None:
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
        if word == flag:
            return following
    return None


def preset_for(arguments: Sequence[str]) -> TrainConfig:
    """Return the settings that are the defaults of a command line, by its --model or --init.

    Args:
        arguments: of the command; a run in --out that goes on stands in for the one in --init.

    Raises:
        UserError: no run where one is named.
    """
    model, start = _given(arguments, "--model"), _given(arguments, "--init")
    if not start:
        model = model or "ar1"
        return PRESETS[model] if model in PRESETS else TrainConfig(model=model)
    out = _given(arguments, "--out")
    begun = Path(out) if out and has_begun(Path(out)) else None
    if begun and is_still_to_throw_away(begun, "--fresh" in arguments):
        begun = None
    # The network that one starts from, as it was built; a run that goes on needs it no more.
    old = load_run(begun or find_model(start))[0]
    preset = PRESETS.get(model or old.model, TrainConfig())
    # A trained network's rate is a tenth of a new one's, or it forgets before it learns.
    rate = old.optim.learning_rate if begun else preset.optim.learning_rate / 10
    return dataclasses.replace(
        preset,
        model=model or old.model,
        optim=dataclasses.replace(preset.optim, learning_rate=rate),
        **{name: getattr(old, name) for name in NETWORK_FIELDS},
    )
