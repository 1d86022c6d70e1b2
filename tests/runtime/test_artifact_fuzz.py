"""Malformed artifacts: each is refused in one line, or is none the worse for it."""

from __future__ import annotations

import collections
import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from archive_damage import read_spec, write_spec
from artifact_damage import (
    CLIP_DAMAGES,
    DAMAGES,
    Damage,
    choose,
    cut,
    damages_to_begin_with,
    fill,
    flip,
    flip_in_spec,
    take_away,
)
from tiny_artifact import change, write_verifiable
from tiny_clip import tiny_clip_model, write_verifiable_clip

from emojax.runtime.video_writer import VideoWriter
from emojax.seal import SEAL

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
# Of each part before a release; five parts of 1,000 take a quarter of an hour.
EACH = int(os.environ.get("EMOJAX_FUZZ", "100"))


class Worker:
    """A process that tries artifacts; started again where one has ended it."""

    def __init__(self, file: Path, out: Path) -> None:
        self._words = [str(Path(__file__).with_name("artifact_worker.py")), str(file), str(out)]
        self._process: subprocess.Popen[str] | None = None

    def ask(self, folder: Path) -> dict[str, Any] | str:
        """What came of an artifact, or how the process ended."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, *self._words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{folder}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        line = process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        self.end()
        return f"ended with {process.returncode}" if ready else "hangs"

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _finish(folder: Path) -> Path:
    """Add what export adds beside, and the seal."""
    (folder / "model.tflite").unlink()
    fields = read_spec(folder)
    fields["thresholds"]["uncertain_below"] = 0.4
    fields["calibration"] = {"temperature": {"action_units": 1.1, "emotions": 0.9}}
    write_spec(folder, fields)
    return folder


@pytest.fixture(scope="module")
def pristine(model, tmp_path_factory) -> Path:
    folder = write_verifiable(tmp_path_factory.mktemp("pristine") / "artifact", model)
    return _finish(change(folder, mirrored=True))


@pytest.fixture(scope="module")
def pristine_clip(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pristine_clip") / "artifact"
    return _finish(write_verifiable_clip(folder, tiny_clip_model()))


@pytest.fixture(scope="module")
def face(astronaut) -> np.ndarray:
    return cv2.resize(astronaut[:256, 96:352], (120, 120), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def worker(tmp_path_factory, face) -> Iterator[Worker]:
    tmp_path = tmp_path_factory.mktemp("pictures")
    picture = tmp_path / "face.png"
    picture.write_bytes(cv2.imencode(".png", face)[1].tobytes())
    worker = Worker(picture, tmp_path / "out")
    yield worker
    worker.end()


@pytest.fixture(scope="module")
def clip_worker(tmp_path_factory, face) -> Iterator[Worker]:
    """Tries a video of 1.2 s that sounds."""
    tmp_path = tmp_path_factory.mktemp("clips")
    voice, video = tmp_path / "voice.wav", tmp_path / "talk.mp4"
    with wave.open(str(voice), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((9000 * np.sin(np.arange(19_200) / 9)).astype(np.int16).tobytes())
    with VideoWriter(video, 5.0, sound_from=voice) as writer:
        for number in range(6):
            writer.write(cv2.convertScaleAbs(face, beta=3 * number), number / 5)
    worker = Worker(video, tmp_path / "out")
    yield worker
    worker.end()


def says_the_same(artifact: Path, pristine: Path) -> bool:
    """Whether a flipped bit in spec.json left all but the seal as it was: an e that became an E."""
    try:
        fields, before = read_spec(artifact), read_spec(pristine)
    except ValueError:
        return False
    seal = before.pop(SEAL)
    return {name: value for name, value in fields.items() if value != seal} == before


def fuzz(
    worker: Worker,
    pristine: Path,
    folder: Path,
    count: int,
    seed: int,
    damages: dict[Damage, int] = DAMAGES,
) -> None:
    fates: collections.Counter[tuple[str, str]] = collections.Counter()
    by_step: collections.Counter[tuple[str, str]] = collections.Counter()
    defects: list[str] = []
    peak_mb, started = 0, time.monotonic()
    # A model that a climbing name would find, and whose checksum would fit.
    folder.mkdir()
    shutil.copy(pristine / "float32.tflite", folder / "float32.tflite")
    shutil.copy(pristine / "float32.tflite", folder / "outside.tflite")
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        damage = choose(number, rng, damages)
        artifact = folder / "artifact"
        shutil.copytree(pristine, artifact)
        how = f"{number} {damage.__name__}: {damage(artifact, rng)}"
        answer = worker.ask(artifact)
        same = damage is flip_in_spec and says_the_same(artifact, pristine)
        shutil.rmtree(artifact)
        if isinstance(answer, str):
            defects.append(f"{how}: {answer}")
            continue
        steps = {name: answer[name]["result"] for name in ("load", "verify", "predict")}
        for name, result in steps.items():
            by_step[name, result] += 1
            if result not in ("refused", "taken", "disagrees"):
                last = "; ".join(answer[name]["said"].strip().splitlines()[-4:])
                defects.append(f"{how}: {name}: {result}: {last}")
        if answer["outside"]:
            defects.append(f"{how}: opened {answer['outside']}")
        if steps["load"] == "refused" and steps["predict"] != "refused":
            defects.append(f"{how}: loading refuses what predict takes")
        worst = "refused" if "refused" in steps.values() else steps["verify"]
        fates[damage.__name__, worst] += 1
        # Damage that no checksum was made to fit is always seen, by verify at least.
        if worst == "taken" and damage in (cut, flip, fill, take_away, flip_in_spec) and not same:
            defects.append(f"{how}: taken")
        peak_mb = max(peak_mb, answer["peak_mb"])
    seconds = time.monotonic() - started
    print(f"\n{count} artifacts in {seconds:.0f} s, peak {peak_mb} MB, {len(defects)} defects")
    for step in ("load", "verify", "predict"):
        counts = {result: n for (name, result), n in sorted(by_step.items()) if name == step}
        print(f"  {step}: {counts}")
    for name in dict.fromkeys(name for name, _ in sorted(fates)):
        counts = {fate: n for (other, fate), n in sorted(fates.items()) if other == name}
        print(f"  {name}: {counts}")
    assert not defects, "\n".join(defects)


def test_an_artifact_that_is_whole_is_taken(worker, pristine, clip_worker, pristine_clip):
    for one, artifact in ((worker, pristine), (clip_worker, pristine_clip)):
        answer = one.ask(artifact)
        assert isinstance(answer, dict)
        results = [answer[name]["result"] for name in ("load", "verify", "predict")]
        assert results == ["taken"] * 3, answer
        assert answer["outside"] == []


def test_malformed_artifacts_are_refused_in_a_line(worker, pristine, tmp_path):
    fuzz(worker, pristine, tmp_path / "fuzz", len(damages_to_begin_with(DAMAGES)), seed=0)


def test_malformed_artifacts_for_clips_are_refused_in_a_line(clip_worker, pristine_clip, tmp_path):
    count = len(damages_to_begin_with(CLIP_DAMAGES))
    fuzz(clip_worker, pristine_clip, tmp_path / "fuzz", count, 0, CLIP_DAMAGES)


@pytest.mark.release
@pytest.mark.parametrize("part", range(1, 6))
def test_many_malformed_artifacts(part, worker, pristine, tmp_path):
    fuzz(worker, pristine, tmp_path / "fuzz", EACH, seed=part)


@pytest.mark.release
@pytest.mark.parametrize("part", range(1, 4))
def test_many_malformed_artifacts_for_clips(part, clip_worker, pristine_clip, tmp_path):
    fuzz(clip_worker, pristine_clip, tmp_path / "fuzz", EACH // 2, part, CLIP_DAMAGES)
