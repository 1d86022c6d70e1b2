"""What a PyTorch user would train on: the same faces, augmented in a DataLoader's workers."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import cv2
import numpy as np

from emojax.augment import AugmentConfig
from emojax.data.resident import Resident
from emojax.spec import InputSpec


def change_picture(
    rng: np.random.Generator, picture: np.ndarray, config: AugmentConfig, spec: InputSpec
) -> np.ndarray:
    """Return a face changed as `emojax.augment.augment_image` does, and normalised.

    The warp is OpenCV's, on bytes: its quickest way. Covering and mixing, which are off
    unless asked for, are not there.

    Args:
        rng: draws the change.
        picture: uint8 [height, width].
        config: how far.
        spec: how gray values are normalised.
    """
    height, width = picture.shape
    angle = np.deg2rad(config.rotation_deg) * rng.uniform(-1, 1)
    zoom = 1 + config.scale * rng.uniform(-1, 1)
    sign = -1.0 if rng.random() < config.mirror else 1.0
    # From a place in the result to one in the picture, (x, y) as OpenCV counts.
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    linear = np.array([[cosine * sign, -sine], [sine * sign, cosine]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = config.translation * np.array([width, height]) * rng.uniform(-1, 1, 2)
    affine = np.column_stack([linear, centre + shift - linear @ centre])
    warped = cv2.warpAffine(
        picture,
        affine,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    values = (warped.astype(np.float32) - np.float32(spec.offset)) / np.float32(spec.scale)
    mean = values.mean()
    gain = np.float32(1 + config.contrast * rng.uniform(-1, 1))
    lift = np.float32(config.brightness * rng.uniform(-1, 1))
    noise = rng.standard_normal(values.shape, np.float32)
    return (values - mean) * gain + (mean + lift) + np.float32(config.noise) * noise


@functools.cache
def _process_rng() -> np.random.Generator:
    return np.random.default_rng()


@dataclasses.dataclass(frozen=True)
class TorchFaces:
    """A data set as `torch.utils.data.DataLoader` takes it: `(picture, targets)` by number."""

    faces: Any  # example height width, a uint8 tensor: workers share its memory
    targets: Any  # example output, a float32 tensor
    augment: AugmentConfig
    spec: InputSpec

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        picture = self.faces[index].numpy()
        changed = change_picture(_process_rng(), picture, self.augment, self.spec)
        return changed[None], self.targets[index]


def _one_thread(_: int) -> None:
    # PyTorch gives its workers one thread each; OpenCV has a pool of its own.
    cv2.setNumThreads(0)


def make_loader(
    torch: Any,
    examples: Resident,
    augment: AugmentConfig,
    spec: InputSpec,
    *,
    batch_size: int,
    workers: int,
    pin: bool,
) -> Any:
    """Return a DataLoader of shuffled whole batches: pictures NCHW and targets.

    Args:
        torch: the package.
        examples: on the host, pictures of one frame.
        augment: how far pictures are changed.
        spec: of the pictures.
        batch_size: examples of a batch.
        workers: processes that make batches, kept from epoch to epoch; 0: none.
        pin: batches into memory that is copied to a GPU aside.
    """
    emotions = np.eye(len(spec.emotions), dtype=np.float32)[examples.emotion]
    targets = np.concatenate([examples.action_units.astype(np.float32), emotions], axis=1)
    faces = TorchFaces(
        torch.from_numpy(np.ascontiguousarray(examples.faces[:, 0])),
        torch.from_numpy(targets),
        augment,
        spec,
    )
    # JAX's threads do not outlive a fork.
    kept = {"multiprocessing_context": "spawn", "persistent_workers": True} if workers else {}
    return torch.utils.data.DataLoader(
        faces,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        worker_init_fn=_one_thread,
        pin_memory=pin,
        **kept,
    )
