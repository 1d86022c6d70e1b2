from __future__ import annotations

import json
import os

import numpy as np
import pytest
from tiny_artifact import SPEC, write_verifiable

from emojax.cli import main
from emojax.face import HaarDetector, crop_face, to_gray
from emojax.runtime.video_writer import VideoWriter


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model, astronaut):
    """An artifact whose recorded face is a real one."""
    gray = to_gray(astronaut)
    (box,) = HaarDetector()(gray)
    crops = np.stack([np.full((98, 80), 90, np.uint8), crop_face(gray, box, SPEC)])[:, None]
    return write_verifiable(tmp_path_factory.mktemp("bench") / "artifact", model, crops=crops)


@pytest.fixture
def cores():
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("no cores to choose here")
    before = os.sched_getaffinity(0)
    yield sorted(before)
    os.sched_setaffinity(0, before)


def test_a_face_is_made_to_move_and_timed_by_stage(folder, tmp_path, capfd, cores):
    out = tmp_path / "new" / "bench.json"
    words = ["bench", str(folder), "--seconds", "2", "--draw", "--core", str(cores[-1])]
    assert main([*words, "--json", str(out)]) == 0
    said = capfd.readouterr().out
    assert "every frame searched whole" in said
    assert "one frame of 10 searched whole" in said
    fields = json.loads(out.read_text())
    for name in ("detect_every_1", "detect_every_10"):
        timed = fields[name]
        # 60 frames, ten of them to warm up, and the face in nearly all.
        assert timed["frames"] == 50
        assert timed["faces"] >= 45
        stages = timed["milliseconds"]
        assert list(stages) == ["decode", "detect", "crop", "infer", "row", "draw", "whole"]
        parts = np.sum([stages[stage]["all"] for stage in list(stages)[:-1]], axis=0)
        np.testing.assert_allclose(parts, stages["whole"]["all"], atol=0.01)
        assert timed["frames_per_second"] == pytest.approx(1e3 / np.mean(parts), rel=1e-3)
    whole, near = (
        fields[name]["milliseconds"]["detect"]["median"]
        for name in ("detect_every_1", "detect_every_10")
    )
    assert near < whole
    assert fields["core"] == cores[-1]


def test_an_artifact_that_does_not_say_how_it_was_trained_is_timed(
    folder, tmp_path, model, astronaut
):
    gray = to_gray(astronaut)
    (box,) = HaarDetector()(gray)
    crops = crop_face(gray, box, SPEC)[None, None]
    strange = write_verifiable(tmp_path / "artifact", model, crops=crops)
    fields = json.loads((strange / "spec.json").read_text())
    (strange / "spec.json").write_text(json.dumps({**fields, "training": "by hand"}))
    out = tmp_path / "bench.json"
    assert main(["bench", str(strange), "--seconds", "1", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["model"] is None


def test_ones_own_video_is_timed(folder, tmp_path, capfd, astronaut):
    with VideoWriter(tmp_path / "own.mp4", 10.0) as writer:
        for number in range(14):
            writer.write(np.roll(astronaut, number, axis=1), number / 10)
    assert main(["bench", str(folder), str(tmp_path / "own.mp4"), "--detect-every", "1"]) == 0
    said = capfd.readouterr().out
    assert said.count("searched whole") == 1
    assert "4 faces in 4 frames" in said


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--threads", "0"], "--threads 0: wanted 1 or more"),
        (["--detect-every", "0"], "--detect-every 0: wanted 1 or more"),
        (["--seconds", "0"], "--seconds 0.0: wanted 1 to 3600"),
        (["--core", "4096"], "--core 4096: use one of"),
        (["--core=-1"], "--core -1: use one of"),
        (["--core", str(2**70)], f"--core {2**70}: use one of"),
        (["nothing.mp4"], "nothing.mp4: no such file"),
    ],
)
def test_mistakes_are_one_line(folder, capfd, words, found, cores):
    assert main(["bench", str(folder), *words]) == 2
    error = capfd.readouterr().err.strip()
    assert found in error
    assert len(error.splitlines()) == 1


def test_an_artifact_without_a_face_asks_for_a_video(tmp_path, model, capfd):
    folder = write_verifiable(tmp_path / "artifact", model)
    assert main(["bench", str(folder)]) == 2
    assert "name a VIDEO" in capfd.readouterr().err


def test_a_video_that_is_too_short_is_refused(folder, tmp_path, capfd, astronaut):
    with VideoWriter(tmp_path / "short.mp4", 10.0) as writer:
        writer.write(astronaut, 0.0)
    assert main(["bench", str(folder), str(tmp_path / "short.mp4")]) == 2
    assert "too short (1 frames): wanted more than 10" in capfd.readouterr().err
