"""What `experiments/train.py` does for each network when nothing else is said."""

from __future__ import annotations

from emojax.config import TrainConfig
from emojax.optim import OptimConfig

PRESETS: dict[str, TrainConfig] = {
    # Without normalisation AR1 bears, and needs, a larger rate: on the synthetic set's
    # validation people macro F1 of the action units is 0.88 with 2e-3 and 0.85 with 1e-3.
    "ar1": TrainConfig(model="ar1", epochs=12, optim=OptimConfig(learning_rate=2e-3)),
    # On two CPU cores an epoch of ResNet-18 takes minutes: few epochs, and a smaller
    # rate than AR1's, because normalisation makes the first steps large.
    "resnet18": TrainConfig(model="resnet18", epochs=6, optim=OptimConfig(learning_rate=5e-4)),
}
