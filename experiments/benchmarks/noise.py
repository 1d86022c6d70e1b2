"""Pictures and sets of noise: what a benchmark computes on does not change its time."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import numpy as np

from emojax.data.build import BuildOptions, build_dataset
from emojax.data.resident import Resident
from emojax.data.synthetic.files import write_avi
from emojax.spec import InputSpec

_ORIGINALS = 8


def noise_examples(count: int, spec: InputSpec) -> Resident:
    """Return that many faces of noise with random labels, on the host."""
    rng = np.random.default_rng(0)
    units = len(spec.action_units)
    return Resident(
        faces=rng.integers(0, 256, (count, 1, spec.height, spec.width), dtype=np.uint8),
        spectrograms=np.zeros((count, 0, 0), np.uint8),
        has_sound=np.zeros(count, np.float32),
        num_frames=np.ones(count, np.int32),
        action_units=rng.integers(0, 2, (count, units)).astype(np.int8),
        action_unit_confidence=np.ones((count, units), np.float32),
        emotion=rng.integers(0, len(spec.emotions), count).astype(np.int32),
        emotion_confidence=np.ones(count, np.float32),
        emotion_shares=np.zeros((count, 0), np.float32),
    )


def build_noise(
    folder: Path, count: int, *, frames: int = 1, people: int = 50, split: str = "train"
) -> Path:
    """Return the shards of a set of noise: pictures, or clips of so many frames.

    Args:
        folder: where it is made; must not be there yet.
        count: of examples; they are links to a few files.
        frames: of an example.
        people: who share them evenly.
        split: that all of them are in; empty: people are shared out.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    suffix = ".png" if frames == 1 else ".avi"
    originals = [folder / f"original{index}{suffix}" for index in range(_ORIGINALS)]
    for path in originals:
        pictures = rng.integers(0, 256, (frames, 98, 80, 3)).astype(np.uint8)
        if frames == 1:
            cv2.imwrite(str(path), pictures[0])
        else:
            write_avi(path, iter(pictures), 25)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "emotion", "AU06", "split"])
        for index in range(count):
            path = folder / f"{index:06d}{suffix}"
            os.link(originals[index % _ORIGINALS], path)
            writer.writerow([path.name, f"P{index % people}", "happiness", index % 2, split])
    options = BuildOptions(faces="ready", workers=os.cpu_count() or 1, clip_frames=frames)
    return build_dataset("manifest", source=folder, out=folder / "shards", options=options)
