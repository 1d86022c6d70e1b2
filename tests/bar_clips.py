"""Clips whose faces are cut already: a bar that moves, and a tone, where the emotion says."""

from __future__ import annotations

import csv
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emojax import labels
from emojax.audio import PRESETS
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.synthetic.files import write_avi
from emojax.spec import InputSpec

EMOTIONS = labels.EMOTION_SETS["crema6"]
FRAMES = 24
"""Of each clip, in two seconds."""
RATE_HZ = 16_000


def _write_clip(folder: Path, name: str, emotion: int, rng: np.random.Generator) -> dict[str, Any]:
    """A bar that moves at the emotion's place, and a tone of its pitch; every fifth is mute."""
    frames = []
    for time in range(FRAMES):
        picture = rng.normal(90, 20, (98, 80))
        picture[4 * time : 4 * time + 12, 12 * emotion : 12 * emotion + 12] += 90
        frames.append(np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2))
    write_avi(folder / f"{name}.avi", frames, 12)
    units = {unit: int(rng.integers(0, 2)) for unit in labels.AU_COLUMNS}
    row = {"path": f"{name}.avi", "emotion": EMOTIONS[emotion], **units}
    if rng.random() < 0.8:
        seconds = np.arange(2 * RATE_HZ) / RATE_HZ
        tone = 6000 * np.sin(2 * np.pi * 200 * 1.7**emotion * seconds)
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes((tone + rng.normal(0, 60, len(tone))).astype(np.int16).tobytes())
        row["audio_path"] = f"{name}.wav"
    return row


def bar_clips(folder: Path, people: Mapping[str, int], kept: int = FRAMES) -> Path:
    """Shards of a clip of each emotion of so many people in each split, with `kept` frames each."""
    rng = np.random.default_rng(0)
    rows = []
    splits = [split for split, count in people.items() for _ in range(count)]
    for person, split in enumerate(splits):
        for emotion in range(len(EMOTIONS)):
            row = _write_clip(folder, f"p{person}_{emotion}", emotion, rng)
            rows.append({**row, "subject": f"p{person}", "split": split, "domain": "d"})
    columns = ["path", "subject", "emotion", *labels.AU_COLUMNS, "split", "domain", "audio_path"]
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    options = BuildOptions(
        input_spec=InputSpec(emotions=EMOTIONS, sound=PRESETS["log_mel"]),
        faces="ready",
        clip_frames=kept,
    )
    return build_dataset(
        "manifest",
        source=folder / "manifest.csv",
        out=folder / "shards",
        options=options,
        say=lambda line: None,
    )
