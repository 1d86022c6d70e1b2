from __future__ import annotations

import json
import shutil

import pytest
from tiny_artifact import change, write_verifiable

from emojax.cli import main
from emojax.golden import GOLDEN


def test_a_good_artifact_is_said_to_be_good(model, tmp_path, capsys):
    assert main(["verify", str(write_verifiable(tmp_path / "a", model))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["float32", "float16", "int8"]
    assert all(line.endswith("on 4 recorded examples: good") for line in lines)
    assert "differs from Flax" in lines[0]
    assert "differs from its own answers" in lines[2]


def test_other_answers_are_said_to_be_bad(model, tmp_path, capsys):
    # More than float32 may, less than the others.
    assert main(["verify", str(write_verifiable(tmp_path / "a", model, shift=5e-4))]) == 1
    captured = capsys.readouterr()
    assert [line.split()[-1] for line in captured.out.splitlines()] == ["BAD", "good", "good"]
    assert "answers otherwise here" in captured.err


@pytest.mark.parametrize("name", [GOLDEN, "float16.tflite", "int8.tflite"])
@pytest.mark.parametrize("way", ["missing", "cut", "changed"])
def test_a_damaged_file_is_named(model, tmp_path, capsys, name, way):
    path = write_verifiable(tmp_path / "a", model) / name
    content = path.read_bytes()
    if way == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if way == "cut" else content[:-9] + b"emojax!!!")
    assert main(["verify", str(tmp_path / "a")]) == 2
    error = capsys.readouterr().err.strip()
    assert str(path) in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"looks_at": "smell"}, "looks_at is 'smell'"),
        ({"golden": None}, "'golden' is missing"),
        ({"golden": {"name": "../golden.npz", "sha256": "0"}}, "plain name"),
        ({"files": {"float32": []}}, "'float32' is no object"),
        ({"files": {"float32": {"agreement": {"tolerance": 10}}}}, "allowed difference 10"),
        ({"files": {"float32": {"agreement": {"tolerance": None}}}}, "allowed difference None"),
        ({"looks_at": "frames"}, "the input spec tells of 1 frame at once"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(model, tmp_path, capsys, fields, found):
    folder = change(write_verifiable(tmp_path / "a", model), **fields)
    assert main(["verify", str(folder)]) == 2
    assert found in capsys.readouterr().err


def test_int8_without_its_own_answers_is_refused(model, tmp_path, capsys):
    assert main(["verify", str(write_verifiable(tmp_path / "a", model, own=False))]) == 2
    assert "no answers of the int8 model" in capsys.readouterr().err


def test_the_precision_is_chosen(model, tmp_path, capfd, astronaut):
    import cv2

    from emojax.runtime import load

    folder = change(write_verifiable(tmp_path / "a", model), default="int8")
    assert load(folder).artifact.precision == "int8"
    assert load(folder, precision="float16").artifact.precision == "float16"
    cv2.imwrite(str(tmp_path / "face.png"), astronaut)
    words = ["predict", str(tmp_path / "face.png"), "--model", str(folder)]
    assert main([*words, "--out", str(tmp_path / "out"), "--precision", "float32"]) == 0
    assert "network: float32 by LiteRT, 1 thread" in capfd.readouterr().out
    (folder / "int8.tflite").unlink()
    shutil.rmtree(tmp_path / "out")
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "int8.tflite: no such file" in capfd.readouterr().err


@pytest.mark.parametrize("default", ["int4", 3, None])
def test_an_unknown_default_is_refused(model, tmp_path, capsys, default):
    from emojax.errors import UserError
    from emojax.runtime import load

    folder = change(write_verifiable(tmp_path / "a", model), default=default)
    with pytest.raises(UserError, match="use float32, float16, int8"):
        load(folder)


@pytest.mark.parametrize(
    ("files", "default"), [([], "float32"), (["float32"], "int8"), (["int8"], None)]
)
def test_an_artifact_without_the_model_that_is_used_is_refused(
    model, tmp_path, capsys, files, default
):
    folder = write_verifiable(tmp_path / "a", model)
    there = json.loads((folder / "spec.json").read_text())["files"]
    change(folder, files={name: there[name] for name in files})
    if default is not None:
        change(folder, default=default)
    assert main(["verify", str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{folder / 'spec.json'}: no model in {default or 'float32'}" in captured.err


@pytest.mark.parametrize("threads", ["0", "-1"])
def test_fewer_threads_than_one_are_the_flags_fault(model, tmp_path, capsys, threads):
    folder = write_verifiable(tmp_path / "a", model)
    assert main(["verify", str(folder), f"--threads={threads}"]) == 2
    assert f"--threads {threads}: wanted 1 or more" in capsys.readouterr().err
