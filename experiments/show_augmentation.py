"""Draw what training sees: faces, and spectrograms where a set has them, as they are changed.

A row for each change by itself, at the setting given or, for one that is off, at a usual one;
then rows of other examples with everything that is on.

Examples:
  python experiments/show_augmentation.py
  python experiments/show_augmentation.py --data=data/crema_d --augment.erase=0.5 --out=sheet.png
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro

from emojax.augment import AugmentConfig, augment_batch, mix
from emojax.augment_sound import SoundAugmentConfig, augment_sounds
from emojax.cli import run_guarded
from emojax.data.find import find_dataset
from emojax.data.resident import normalise
from emojax.data.shards import dataset_info, read_batches
from emojax.errors import UserError

_USUAL = {"erase": 0.5, "mixup": 0.4}
_COLUMNS = 10


@dataclasses.dataclass(frozen=True)
class SheetOptions:
    """What is shown."""

    data: str = "synthetic"
    """`synthetic`, a folder of shards, or a manifest.csv."""
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    """Of pictures, as train.py takes it."""
    augment_sound: SoundAugmentConfig = dataclasses.field(default_factory=SoundAugmentConfig)
    """Of spectrograms."""
    examples: int = 4
    """Rows with everything that is on."""
    seed: int = 0
    """Of the draws."""
    out: Path = Path("augmentation.png")
    """Where the sheet goes."""

    def __post_init__(self) -> None:
        """Refuse a sheet without rows."""
        if self.examples < 1:
            raise UserError(f"examples={self.examples}: wanted 1 or more")


def alone(config: AugmentConfig) -> dict[str, AugmentConfig]:
    """Return for each change of pictures the settings in which it is the only one."""
    names = [field.name for field in dataclasses.fields(config) if field.name != "erase_area"]
    off = dataclasses.replace(config, **dict.fromkeys(names, 0.0))
    return {
        name: dataclasses.replace(off, **{name: getattr(config, name) or _USUAL.get(name, 0.0)})
        for name in names
    }


def draw(key: jax.Array, face: jax.Array, other: jax.Array, config: AugmentConfig) -> np.ndarray:
    """Return a normalised face, as it is and then changed in many ways."""
    copies = jnp.repeat(face[None], _COLUMNS - 1, axis=0)
    if config.mixup:
        # From all of its own to half; a training step draws the share.
        shares = jnp.linspace(1.0, 0.5, _COLUMNS - 1)
        copies = jnp.stack(
            [mix(jnp.stack([other, face]), jnp.full(2, share))[1] for share in shares]
        )
    changed = augment_batch(key, copies, config)
    return np.concatenate([np.asarray(face)[None], np.asarray(changed)])


def main() -> int:
    """Draw the sheet and return the exit status."""
    options = tyro.cli(SheetOptions, description=__doc__, prog="show_augmentation.py")
    info = dataset_info(find_dataset(options.data))
    spec = info.input_spec
    columns = ("faces", "num_frames", *(["spectrogram", "has_sound"] if spec.sound else []))
    batch = next(iter(read_batches(info, "train", columns)))
    seen = np.flatnonzero(batch["num_frames"] > 0)[: options.examples + 1]
    if len(seen) < 2:
        raise UserError(f"{info.folder}: fewer than two faces to train on: nothing to show")
    middle = (batch["num_frames"][seen] - 1) // 2
    faces = normalise(jnp.asarray(batch["faces"][seen, middle]), spec)
    key = jax.random.key(options.seed)
    rows = {
        name: draw(key, faces[0], faces[1], config)
        for name, config in alone(options.augment).items()
    }
    for number in range(1, len(seen)):
        own = jax.random.fold_in(key, number)
        rows[f"all, {number}"] = draw(own, faces[number], faces[number - 1], options.augment)
    heard = []
    if spec.sound is not None:
        heard = np.flatnonzero(batch["has_sound"] > 0)[: options.examples]
    for number, index in enumerate(heard, start=1):
        sound = jnp.asarray(batch["spectrogram"][index]) / 255
        copies = jnp.repeat(sound[None], _COLUMNS - 1, axis=0)
        changed = augment_sounds(jax.random.fold_in(key, number), copies, options.augment_sound)
        rows[f"sound, {number}"] = np.concatenate([np.asarray(sound)[None], np.asarray(changed)])
    figure, axes = plt.subplots(
        len(rows), _COLUMNS, figsize=(_COLUMNS, 1.25 * len(rows)), squeeze=False
    )
    for places, (name, pictures) in zip(axes, rows.items(), strict=True):
        low, high = (0, 1) if name.startswith("sound") else (-spec.offset / spec.scale, None)
        high = (255 - spec.offset) / spec.scale if high is None else high
        for place, picture in zip(places, pictures, strict=True):
            place.imshow(picture, cmap="gray", vmin=low, vmax=high, aspect="auto")
            place.set_axis_off()
        places[0].text(
            -0.1, 0.5, name, transform=places[0].transAxes, ha="right", va="center", fontsize=9
        )
    axes[0, 0].set_title("as it is", fontsize=9)
    figure.subplots_adjust(left=0.1, right=0.99, top=0.97, bottom=0.01, wspace=0.05, hspace=0.05)
    figure.savefig(options.out, dpi=100)
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("show_augmentation.py", main))
