"""A whole run on small shards: train, evaluate, export, and what may go wrong on the way."""

import csv
import dataclasses
import gc
import json
import os
import shutil
import subprocess
import sys
import time
import weakref
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

from emojax import experiment, labels, plots
from emojax.ancestors import seen_by
from emojax.config import TrainConfig, network_spec
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.feed import find_usable
from emojax.data.resident import keep_labels
from emojax.data.shards import dataset_info, load_split
from emojax.errors import UserError
from emojax.experiment import train_run
from emojax.export_run import export_run
from emojax.losses import LossConfig
from emojax.network import load_network
from emojax.optim import OptimConfig
from emojax.report import write_report
from emojax.results import draw_run, evaluate_run
from emojax.runtime import load_artifact
from emojax.runtime.verify import verify_artifact
from emojax.stopping import going_on_unheard

ROOT = Path(__file__).resolve().parents[1]
COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Faces already cut: gray noise whose brightness and pattern tell the labels."""
    folder = tmp_path_factory.mktemp("ready")
    rng = np.random.default_rng(0)
    rows = []
    splits = {"train": 12, "validation": 3, "test": 4}
    person = 0
    for split, people in splits.items():
        for _ in range(people):
            person += 1
            for number in range(8):
                emotion = int(rng.integers(0, 7))
                units = rng.integers(0, 2, 15)
                picture = rng.normal(90, 12, (98, 80))
                picture[:, 10 * emotion : 10 * emotion + 10] += 60
                picture[6 * np.flatnonzero(units)] -= 70
                name = f"p{person}_{number}.png"
                cv2.imwrite(str(folder / name), np.clip(picture, 0, 255).astype(np.uint8))
                rows.append(
                    {
                        "path": name,
                        "subject": f"p{person}",
                        "emotion": labels.SEVEN[emotion],
                        "domain": f"d{number % 2}",
                        "split": split,
                        **dict(zip(labels.AU_COLUMNS, units, strict=True)),
                    }
                )
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return build_dataset(
        "manifest",
        source=folder / "manifest.csv",
        out=folder / "shards",
        options=BuildOptions(faces="ready"),
        say=lambda line: None,
    )


@pytest.fixture(scope="session")
def trained(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "trained"
    results = train_run(TrainConfig(batch_size=16, epochs=4), folder, shards)
    return folder, results


def test_results_say_what_was_done(trained, shards):
    folder, results = trained
    written = json.loads((folder / "results.json").read_text())
    assert written == results
    assert [row["epoch"] for row in written["history"]] == [1, 2, 3, 4]
    assert written["data"]["splits"]["test"] == {"examples": 32, "people": 4}
    assert set(written["test"]["domains"]) == {"d0", "d1"}
    assert written["test"]["domains"]["d0"]["examples"] == 16
    assert written["provenance"]["packages"]["jax"] == jax.__version__
    assert written["config"]["batch_size"] == 16
    assert written["parameters"] > 100_000
    assert written["pixel_baseline"]["overall"]["examples"] == 32
    assert written["test"]["overall"]["emotion"]["people"] == 4


def test_a_trained_run_given_again_keeps_what_it_was_trained_with(trained, shards, tmp_path):
    copy = shutil.copytree(trained[0], tmp_path / "run")
    written = json.loads((copy / "results.json").read_text())
    written["provenance"]["device"] = {"platform": "gpu", "kind": "another", "count": 8}
    there = {"compute_dtype": "bfloat16", "training_seconds_this_time": 7.0}
    (copy / "results.json").write_text(json.dumps(written | there))
    again = train_run(TrainConfig(batch_size=16, epochs=4), copy, shards, baseline=False)
    assert again["provenance"] == written["provenance"]
    assert {name: again[name] for name in there} == there
    assert again["evaluated_with"]["device"]["kind"] == jax.devices()[0].device_kind
    assert again["test"] == written["test"]
    (copy / "results.json").write_text(json.dumps({"model": "cut off"}))
    again = train_run(TrainConfig(batch_size=16, epochs=4), copy, shards, baseline=False)
    assert "evaluated_with" not in again


def test_a_run_that_patience_ended_keeps_what_it_was_trained_with_too(shards, tmp_path, capsys):
    # An accuracy that can't grow: the first look is the best, and the second one ends it.
    optim = OptimConfig(learning_rate=1e-12)
    config = TrainConfig(batch_size=16, epochs=6, patience=1, watch="emotion_uar", optim=optim)
    folder = tmp_path / "run"
    first = train_run(config, folder, shards, baseline=False)
    assert len(first["history"]) == 2
    there = first | {"compute_dtype": "bfloat16", "training_seconds_this_time": 7.0}
    (folder / "results.json").write_text(json.dumps(there))
    capsys.readouterr()
    again = train_run(config, folder, shards, baseline=False)
    said = capsys.readouterr().out
    assert f"{folder}: already trained, until patience=1 ended it" in said
    assert "going on" not in said
    assert (again["compute_dtype"], again["training_seconds_this_time"]) == ("bfloat16", 7.0)
    assert again["evaluated_with"]["device"] == first["provenance"]["device"]


def test_a_run_that_goes_on_says_so_and_is_of_today(trained, shards, tmp_path, capsys):
    copy = shutil.copytree(trained[0], tmp_path / "run")
    shutil.rmtree(max((copy / "checkpoints").iterdir(), key=lambda path: int(path.name)))
    again = train_run(TrainConfig(batch_size=16, epochs=4), copy, shards, baseline=False)
    assert f"{copy}: going on from step 18 of 24" in capsys.readouterr().out
    assert "evaluated_with" not in again


@pytest.mark.parametrize("heard", [["stderr"], []], ids=["| head", "2>&1 | head"])
def test_a_training_goes_on_when_its_reader_went_away(heard, shards, tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as nobody:
        for name in {"stdout", "stderr"} - set(heard):
            monkeypatch.setattr(sys, name, nobody)
        results = train_run(TrainConfig(batch_size=16, epochs=2), tmp_path, shards, baseline=False)
        # What is said afterwards goes nowhere, too.
        print("the table", flush=True)
    assert len(results["history"]) == 2
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_other_errors_of_a_stream_are_told(shards, tmp_path, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        with going_on_unheard(), pytest.raises(OSError, match="No space left"):
            print("a log on a full disk")
        # Nothing is left that closing would write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.parametrize("way", ["resident", "streaming"])
def test_ar4_s_extractor_is_trained_while_no_other_training_split_is_held(
    way, shards, tmp_path, monkeypatch
):
    held = []

    def load(folder, split):
        arrays = load_split(folder, split)
        held.append((split, weakref.ref(arrays.faces)))
        return arrays

    def extractor(*_):
        gc.collect()
        alive = [split for split, faces in held if faces() is not None]
        assert alive == ["validation"]
        raise UserError("seen")

    monkeypatch.setattr(experiment, "load_split", load)
    monkeypatch.setattr(experiment, "_train_extractor", extractor)
    config = TrainConfig(model="ar4", extractor="ar1", batch_size=16, epochs=1, input=way)
    with pytest.raises(UserError, match="seen"):
        train_run(config, tmp_path / "run", shards)
    assert [split for split, _ in held] == ["train", "validation"][way == "streaming" :]


def test_the_baseline_knows_no_neutral_where_the_network_answers_none(shards, tmp_path):
    config = TrainConfig(batch_size=16, epochs=1, outputs="without_neutral")
    results = train_run(config, tmp_path / "run", shards)
    found = results["pixel_baseline"]["overall"]["emotion"]
    assert "neutral" not in found["names"]
    assert found["examples"] == results["test"]["overall"]["emotion"]["examples"]
    assert 0 < found["accuracy"]["value"] < 1


def test_pictures_and_page_are_there(trained):
    folder, _ = trained
    for name in ("curves", "confusion", "action_units"):
        picture = cv2.imread(str(folder / f"{name}.png"))
        assert picture is not None
        assert min(picture.shape[:2]) > 200
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http://" not in page
    assert "https://" not in page
    for unit in labels.AU_COLUMNS:
        assert unit in page
    assert (folder / "history.csv").read_text().count("\n") == 5


def test_nothing_compiles_after_the_first_epoch_and_its_evaluation(shards, tmp_path, monkeypatch):
    compiled_at: list[float] = []
    first_epoch_at: list[float] = []
    whole = experiment._Watcher.epoch

    def watched(self, row):
        whole(self, row)
        first_epoch_at.append(time.monotonic())

    monkeypatch.setattr(experiment._Watcher, "epoch", watched)

    def listen(event, duration, **_):
        if event == COMPILED:
            compiled_at.append(time.monotonic())

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        # Shapes no other test uses, so that nothing is compiled already.
        train_run(TrainConfig(batch_size=24, epochs=3), tmp_path / "run", shards)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(first_epoch_at) == 3
    before = [moment for moment in compiled_at if moment <= first_epoch_at[0]]
    after = [moment for moment in compiled_at if moment > first_epoch_at[0]]
    assert before
    assert not after


def command(shards, out, *more):
    return [
        sys.executable,
        str(ROOT / "experiments" / "train.py"),
        f"--data={shards}",
        f"--out={out}",
        "--epochs=6",
        "--batch-size=16",
        "--no-baseline",
        *more,
    ]


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(shards, tmp_path):
    with subprocess.Popen(
        command(shards, tmp_path / "run", "--epochs=500"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch   2"):
                break
        process.terminate()
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "saved in" in errors.splitlines()[-1]
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model=resnet1"], ["'resnet1'", "ar1", "resnet18"]),
        (["--data=nowhere"], ["nowhere", "no such data set"]),
        (["--optim.learning-rate=-1"], ["learning_rate=-1"]),
    ],
)
def test_mistakes_are_one_line_and_status_2(arguments, words, tmp_path, run_python):
    done = run_python(ROOT / "experiments" / "train.py", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    # The argument parser draws a box around what it finds itself.
    assert len(lines) == 1 or lines[0].startswith("╭"), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in " ".join(lines)


@pytest.mark.slow
def test_output_that_is_a_file_is_refused(shards, tmp_path, run_python):
    (tmp_path / "taken").write_text("not a run")
    done = run_python(*command(shards, tmp_path / "taken")[1:])
    assert done.returncode == 2
    assert "taken" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "taken").read_text() == "not a run"


def test_other_settings_in_the_same_folder_are_refused(trained, shards):
    folder, _ = trained
    with pytest.raises(UserError, match=r"epochs: 4 -> 9.*--fresh"):
        train_run(TrainConfig(batch_size=16, epochs=9), folder, shards)


def test_evaluating_again_gives_the_same_figures(trained):
    folder, results = trained
    again = evaluate_run(folder, None, "test")
    assert again["test"] == results["test"]


def test_shards_that_were_built_anew_are_not_the_run_s_own(
    trained, shards, tmp_path, monkeypatch, capsys
):
    folder, results = trained
    copy = shutil.copytree(folder, tmp_path / "run")
    fields = json.loads((copy / "config.json").read_text())
    anew = fields | {"data_fingerprint": "another"}
    # By another version, with the same people in the same splits.
    (copy / "config.json").write_text(json.dumps(anew))
    assert evaluate_run(copy, None, "test")["test"] == results["test"]
    del anew["splits_sha256"]
    (copy / "config.json").write_text(json.dumps(anew))
    assert evaluate_run(copy, None, "test")["test"] == results["test"]
    assert "were built anew since" in capsys.readouterr().err
    (copy / "config.json").write_text(json.dumps(anew | {"splits_sha256": "other people"}))
    words = f"{shards}: the shards are not those that {copy} was trained on: build those as they"
    hint = "were, or give other shards with --data"
    # Their own folder named, by whatever way, is their own folder still.
    (tmp_path / "link").symlink_to(shards)
    for given in (None, shards, tmp_path / "link"):
        with pytest.raises(UserError, match=f"{words} {hint}"):
            evaluate_run(copy, given, "test")
    with pytest.raises(UserError, match=f"{words} were$"):
        export_run(copy, tmp_path / "artifact")
    monkeypatch.syspath_prepend(ROOT / "experiments")
    from explain import ExplainOptions, explain

    for given in (None, shards):
        with pytest.raises(UserError, match=f"{words} {hint}"):
            explain(ExplainOptions(str(copy), data=given))
    # Nobody knows from those whom it has seen.
    assert seen_by(str(copy)).untold == [str(copy)]
    assert len(seen_by(str(folder)).people["manifest"]["train"]) == 12


def test_a_figure_that_the_run_does_not_have_cannot_be_watched(shards, tmp_path):
    config = TrainConfig(outputs="action_units", watch="emotion_uar", patience=2)
    known = "--watch=validation_loss or action_unit_f1 or action_unit_roc_area"
    with pytest.raises(UserError, match=f"have no emotion_uar of what.*use {known}$"):
        train_run(config, tmp_path / "run", shards)
    assert not (tmp_path / "run" / "checkpoints").exists()
    spec = dataset_info(shards).input_spec
    people = keep_labels(load_split(shards, "validation"), spec)
    watched = dataclasses.replace(config, outputs="all")
    experiment._require_watched(watched, spec, people, shards)
    unlabelled = dataclasses.replace(people, emotion=np.full_like(people.emotion, -1))
    with pytest.raises(UserError, match="no emotion_uar"):
        experiment._require_watched(watched, spec, unlabelled, shards)
    # Nothing is watched without patience.
    experiment._require_watched(TrainConfig(watch="emotion_uar"), spec, unlabelled, shards)
    nothing = dataclasses.replace(unlabelled, action_units=np.full_like(people.action_units, -1))
    with pytest.raises(UserError, match=r"no validation_loss.*use --patience=0"):
        experiment._require_watched(TrainConfig(patience=1), spec, nothing, shards)


def test_a_run_accumulates_no_more_steps_than_it_has(shards, tmp_path):
    for steps in (5, 3):
        config = TrainConfig(batch_size=24, epochs=1, optim=OptimConfig(accumulate=steps))
        if steps == 5:
            with pytest.raises(UserError, match=r"accumulate=5: the run has 4 steps"):
                train_run(config, tmp_path / "run", shards, baseline=False)
        else:
            train_run(config, tmp_path / "run", shards, baseline=False)
    # However few steps a state is made of when it is read.
    assert load_network(tmp_path / "run").variables["params"]


def test_a_page_on_validation_people_says_so(trained, tmp_path):
    results = dict(trained[1])
    words = "on the validation people, whom choices were made by: no figures to publish"
    assert words not in write_report(tmp_path, results).read_text()
    page = write_report(tmp_path, results | {"reported_on": "validation"}).read_text()
    assert f"<p class=notice>Figures {words}.</p>" in page


@pytest.mark.parametrize(
    ("kind", "softmax", "axis", "curves"),
    [
        ("cross_entropy", False, "binary cross-entropy", ["training", "validation"]),
        ("cross_entropy", True, "cross-entropy", ["training", "validation"]),
        (
            "absolute",
            True,
            "loss",
            ["training: mean absolute error", "validation: cross-entropy"],
        ),
        (
            "squared",
            False,
            "loss",
            ["training: mean squared error", "validation: binary cross-entropy"],
        ),
    ],
)
def test_curves_name_the_loss_that_they_show(
    trained, tmp_path, monkeypatch, kind, softmax, axis, curves
):
    drawn = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure))
    config = {"emotion_activation": "softmax" if softmax else "sigmoid", "loss": {"kind": kind}}
    draw_run(tmp_path, trained[1] | {"config": config})
    left = drawn[0].axes[0]
    assert left.get_ylabel() == axis
    assert [line.get_label() for line in left.lines] == curves


def test_exported_artifact_agrees_and_is_complete(trained, tmp_path):
    folder, _ = trained
    fields = export_run(folder, tmp_path / "artifact", faces=16)
    assert fields["files"]["float32"]["agreement"]["largest_difference"] <= 1e-4
    files = fields["files"]
    assert files["float16"]["agreement"]["largest_difference"] <= 1e-3
    assert files["int8"]["bytes"] < 0.4 * files["float32"]["bytes"]
    # Each precision was measured on the same people; float32's figures are the run's own.
    for entry in files.values():
        assert entry["metrics"]["people"] == fields["metrics"]["people"]
    for name in ("emotion_unweighted_average_recall", "action_unit_macro_roc_area"):
        found, expected = files["float32"]["metrics"][name], fields["metrics"][name]["value"]
        assert found == pytest.approx(expected, abs=1e-3)
    assert fields["default"] in ("float32", "int8")
    assert [one.agrees for one in verify_artifact(tmp_path / "artifact")] == [True] * 3
    written = json.loads((tmp_path / "artifact" / "spec.json").read_text())
    assert json.loads(json.dumps(fields)) == written
    assert fields["metrics"]["people"] == 4
    assert fields["training"]["data"] == "manifest"
    assert 1.0 not in fields["calibration"]["temperature"].values()
    assert fields["calibration"]["fitted_on"]["people"] == 3
    assert fields["thresholds"]["uncertain_below"] == 0.5
    for group in ("emotions", "action_units"):
        told = fields["metrics"]["expected_calibration_error"][group]
        assert 0 <= told["after"] <= 1
        assert told["after"] != told["before"]
    artifact = load_artifact(tmp_path / "artifact")
    assert (
        artifact.temperatures.action_units == written["calibration"]["temperature"]["action_units"]
    )
    assert artifact.uncertain_below == 0.5
    golden = np.load(tmp_path / "artifact" / "golden.npz", allow_pickle=False)
    assert golden["crops"].shape == (56, 1, 98, 80)
    assert golden["probabilities"].shape == (56, 22)
    # A second export replaces the first one; nothing is left aside.
    export_run(folder, tmp_path / "artifact", faces=4)
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="no run here"):
        load_network(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path, shards):
    (tmp_path / "thesis.txt").write_text("something else")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        train_run(TrainConfig(), tmp_path, shards)


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_split_without_people_is_refused_before_training(missing, tmp_path):
    rows = ["path,subject,emotion,split"]
    for split in {"train", "validation", "test"} - {missing}:
        cv2.imwrite(str(tmp_path / f"{split}.png"), np.full((98, 80), 90, np.uint8))
        rows.append(f"{split}.png,{split},fear,{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    data = build_dataset(
        "manifest",
        source=tmp_path / "manifest.csv",
        out=tmp_path / "shards",
        options=BuildOptions(faces="ready"),
        say=lambda line: None,
    )
    with pytest.raises(UserError, match=f"nobody is in the split `{missing}`"):
        train_run(TrainConfig(batch_size=1, epochs=1), tmp_path / "run", data)


@pytest.mark.parametrize("outputs", ["all", "emotions", "action_units"])
def test_class_weights_are_the_same_resident_and_streamed(shards, outputs):
    config = TrainConfig(outputs=outputs, loss=LossConfig(class_weights="balanced"))
    info = dataset_info(shards)
    spec = network_spec(config, info.input_spec)
    usable = find_usable(info, "train", spec)
    train = keep_labels(load_split(shards, "train"), spec)
    kept = experiment._class_weights(config, spec, info, train, usable)
    streamed = experiment._class_weights(config, spec, info, None, usable)
    assert kept.shape == (2, spec.num_outputs)
    np.testing.assert_array_equal(kept, streamed)
