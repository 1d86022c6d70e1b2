"""Small sets of noise, built into shards for the tests that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emojax.audio import PRESETS
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.synthetic.files import write_avi
from emojax.labels import SEVEN
from emojax.spec import InputSpec


def build(folder: Path, manifest: str, **options: Any) -> Path:
    """The shards of a manifest whose pictures are faces already."""
    (folder / "manifest.csv").write_text(manifest)
    return build_dataset(
        "manifest",
        source=folder,
        out=folder / "out",
        options=BuildOptions(faces="ready", **options),
        say=lambda line: None,
    )


def noise_pictures(folder: Path, people: str = "", **counts: int) -> Path:
    """Pictures with an emotion and one known action unit, so many in each split.

    People of sets with the same `people` have the same names.
    """
    rng = np.random.default_rng(0)
    lines = ["path,subject,emotion,AU06,AU06_confidence,split"]
    for split, count in counts.items():
        for index in range(count):
            name = f"{split}{index}.png"
            cv2.imwrite(str(folder / name), rng.integers(0, 256, (98, 80), np.uint8))
            emotion = SEVEN[index % len(SEVEN)]
            subject = f"{people}{split}{index % 7}"
            lines.append(f"{name},{subject},{emotion},{index % 2},0.25,{split}")
    return build(folder, "\n".join(lines))


def noise_clips(folder: Path, count: int = 17) -> Path:
    """Clips of 1 to 6 frames with spectrograms; every fourth is a sound without a face."""
    rng = np.random.default_rng(0)
    lines = ["path,spectrogram_path,subject,emotion,AU06,split"]
    for index in range(count):
        np.save(folder / f"{index}.npy", rng.integers(0, 256, (64, 96), np.uint8))
        frames = rng.integers(0, 256, (1 + index % 6, 98, 80, 3)).astype(np.uint8)
        write_avi(folder / f"{index}.avi", iter(frames), 25)
        path = f"{index}.avi" if index % 4 else ""
        emotion = SEVEN[index % len(SEVEN)]
        lines.append(f"{path},{index}.npy,P{index},{emotion},{index % 2},train")
    sound = InputSpec(sound=PRESETS["log_mel"])
    return build(folder, "\n".join(lines), clip_frames=6, input_spec=sound)
