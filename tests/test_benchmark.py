"""The benchmark command: its arithmetic, its peer's fairness, and that each part runs."""

from __future__ import annotations

import importlib
import importlib.util
import json
import threading
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from timed_tasks import compile_and_time, die_while_compiling, fail_to_compile

from emojax.augment import AugmentConfig, warp_affine
from emojax.errors import UserError
from emojax.runtime.video_writer import VideoWriter
from emojax.spec import InputSpec
from emojax.video import read_frames

if TYPE_CHECKING:
    from conftest import RunPython

SUITE = ("step", "input", "epoch", "folds", "scale", "infer", "lite")


@pytest.fixture
def load(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import what lies in `experiments/`."""
    monkeypatch.syspath_prepend(repository / "experiments")
    return importlib.import_module


def test_ways_take_turns_and_a_first_round_is_not_counted(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = load("benchmarks.rounds")
    clock, calls = [0.0], []
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: clock[0])

    def way(name: str, seconds: list[float]) -> Any:
        def run() -> None:
            calls.append(name)
            clock[0] += seconds.pop(0)

        return run

    ways = {"ours": way("ours", [9, 1, 2, 4]), "theirs": way("theirs", [9, 3, 2, 20])}
    times = rounds.time_ways(ways, 3, "two")
    assert calls == ["ours", "theirs", "theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert times == {"ours": [1, 2, 4], "theirs": [3, 2, 20]}
    # The median of 3/1, 2/2 and 20/4, not 3 / 2.
    assert rounds.speed_ratio(times, "ours", "theirs") == 3
    assert rounds.speed_ratio(times, "ours", "nobody") is None
    assert rounds.median(times, "theirs") == 3


def test_what_is_over_soon_is_repeated(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = load("benchmarks.rounds")
    clock, calls = [0.0], [0]
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: clock[0])

    def run() -> None:
        calls[0] += 1
        clock[0] += 0.125

    assert rounds.time_ways({"ours": run}, 2, "one", 1.0) == {"ours": [0.125, 0.125]}
    # Once to compile, once to see how long it takes, then twice eight times.
    assert calls[0] == 2 + 2 * 8


def test_tables_show_dashes_where_nothing_was_timed(
    load: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    load("benchmarks.rounds").show_table([{"network": "ar1", "ms": 1234.5, "timm": None}])
    assert capsys.readouterr().out.splitlines() == [
        "network     ms  timm",
        "ar1      1,234     -",
    ]


def test_the_peer_warps_as_we_do(load: Any) -> None:
    change_picture = load("benchmarks.torch_data").change_picture
    spec = InputSpec()
    # Angle, zoom, shift, gain, lift, in the order of the draws.
    script = [0.5, -0.8, np.array([0.6, -0.4]), 0.5, -0.25]

    class Scripted:
        """Draws what is written there, and no noise."""

        def uniform(self, *_: object) -> Any:
            return script.pop(0)

        def random(self) -> float:
            return 0.2

        def standard_normal(self, shape: tuple[int, ...], *_: object) -> Any:
            return np.zeros(shape, np.float32)

    rows, columns = np.mgrid[0:98, 0:80]
    # Smooth and without any symmetry.
    picture = (127 + 60 * np.sin(rows / 17 + 1) + 50 * np.cos(columns / 11)).astype(np.uint8)
    config = AugmentConfig(rotation_deg=20, scale=0.2, translation=0.1, mirror=0.5)
    found = change_picture(Scripted(), picture, config, spec)
    angle, zoom = np.deg2rad(20 * 0.5), 1 - 0.2 * 0.8
    cosine, sine = np.cos(angle), np.sin(angle)
    # As `augment.draw_affine` has it: rows first, mirrored.
    linear = np.array([[cosine, -sine], [-sine, -cosine]]) / zoom
    shift = 0.1 * np.array([98 * -0.4, 80 * 0.6])
    affine = jnp.asarray(np.column_stack([linear, shift]), jnp.float32)
    values = (jnp.asarray(picture, jnp.float32) - spec.offset) / spec.scale
    warped = np.asarray(warp_affine(values, affine))
    gain, lift = 1 + config.contrast * 0.5, -config.brightness * 0.25
    expected = (warped - warped.mean()) * gain + warped.mean() + lift
    # OpenCV rounds places to 1/32 of a pixel and values to whole gray levels.
    assert np.abs(found - expected).max() < 2.5 / spec.scale


def test_memory_of_the_last_tenth_stands_against_the_first(load: Any) -> None:
    summarise = load("benchmarks.long_run").summarise
    mib = 2**20
    readings = np.array([(t, (100 + t) * mib, 50 * mib, np.nan) for t in range(1, 101)])
    row, kept = summarise(readings, 100)
    assert row["host MiB first"] == pytest.approx(105.5)
    assert row["host MiB last"] == pytest.approx(195.5)
    assert row["host last / first"] == pytest.approx(195.5 / 105.5)
    assert [row[f"in use {name}"] for name in ("MiB first", "MiB last", "last / first")] == [
        *(50.0, 50.0, 1.0)
    ]
    assert row["device last / first"] is None
    assert len(kept["host_mib"]) == len(kept["in_use_mib"]) == 10
    assert kept["device_mib"] is None
    # None where nothing tells, which JSON has a word for.
    unseen = readings.copy()
    unseen[:, 2], unseen[:, 3] = np.nan, 7 * mib
    row, kept = summarise(unseen, 100)
    assert row["in use MiB first"] is row["in use last / first"] is kept["in_use_mib"] is None
    assert row["device last / first"] == 1.0
    json.dumps([row, kept], allow_nan=False)
    with pytest.raises(UserError, match="give more --minutes"):
        summarise(readings[:9], 9)


def test_readings_of_the_memory_take_none(load: Any) -> None:
    readings = load("benchmarks.long_run").Readings(minutes=2.0)
    readings.note(0.0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for step in range(1, 5_000):
            readings.note(step / 100)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # A step a hundredth of a second, a reading a second.
    np.testing.assert_allclose(np.diff(readings.rows[:, 0]), 1.0)
    assert len(readings.rows) == 50
    assert (readings.rows[:, 1] > 2**20).all()
    assert grown < 20_000
    for step in range(100_000, 100_200):
        readings.note(float(step))
    # The room that there is, whatever comes.
    assert len(readings.rows) == 122
    # A short one is looked at a hundred times.
    assert load("benchmarks.long_run").Readings(minutes=0.2).interval == pytest.approx(0.12)


def test_what_is_allocated_is_seen_where_the_process_keeps_what_it_frees(load: Any) -> None:
    allocated_bytes = load("benchmarks.long_run").allocated_bytes
    before = allocated_bytes()
    if before is None:
        pytest.skip("no glibc that tells")
    block = np.ones(64 << 17)
    assert 0.9 * block.nbytes < allocated_bytes() - before < 1.1 * block.nbytes
    del block
    assert abs(allocated_bytes() - before) < 8 << 20


@pytest.mark.parametrize("name", [*SUITE, "build", "frames", "serve", "video", "all"])
def test_each_sub_command_explains_itself(
    load: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        load("benchmark").main([name, "--help"])
    assert left.value.code == 0
    assert f"usage: benchmark.py {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["step", "--rounds=0"], "rounds=0: wanted 1 or more"),
        (["infer", "--out=/nowhere/figures.json"], "/nowhere/figures.json: no such folder"),
        (["epoch", "--examples=4", "--batch-size=8"], "examples=4: wanted a batch"),
        (["scale", "--devices", "2"], "wanted 1 among them"),
        (["scale", "--batch-size=6", "--devices", "1", "4"], "wanted a multiple of each"),
        (["folds", "--folds=2"], "folds=2: wanted 3 people or more"),
        (["step", "--models", "ar1", "ar5"], "models='ar5': looks at clips"),
        (["step", "--models", "alexnet"], "model 'alexnet' is not known: use one of ar1, ar2"),
        (["step", "--models"], "models: none named"),
        (["step", "--dtype", "float8"], "dtype='float8': use float32, bfloat16"),
        (["step", "--batch", "-1"], "batch=-1: wanted 1 or more"),
        (["step", "--threads=0"], "threads=0: wanted 1 or more"),
        (["infer", "--models", "ar3"], "models='ar3': looks at clips"),
        (["infer", "--models"], "models: none named"),
        (["infer", "--dtype", "auto"], "dtype='auto': use float32, bfloat16"),
        (["infer", "--batches"], "batches: none named"),
        (["infer", "--batches", "4", "0"], "batches: 4, 0: wanted one or more"),
        (["infer", "--threads=-2"], "threads=-2: wanted 1 or more"),
        (["epoch", "--models", "ar5"], "models='ar5': looks at clips"),
        (["epoch", "--dtype=float8"], "dtype='float8': use float32, bfloat16"),
        (["epoch", "--minutes=-1"], "minutes=-1: wanted 0 or more"),
        (["epoch", "--ways"], "ways: none named"),
        (["lite", "--models", "ar3"], "models='ar3': looks at clips"),
        (["lite", "--models"], "models: none named"),
        (["all", "--out=figures", "--rounds=0"], "rounds=0: wanted 1 or more"),
    ],
)
def test_a_mistake_is_named(
    load: Any,
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        load("benchmark").main(words)
    assert left.value.code == 2
    assert not list(tmp_path.iterdir())
    # In a box, its lines broken anywhere.
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in said


def test_frames_of_all_rounds_but_the_first_are_put_together(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, asked = load("benchmarks.frames"), []

    def ask(command: list[Any], name: str) -> None:
        asked.append(name)
        turn = float(len(asked))
        if name == "fer":
            Path(command[-1]).write_text(json.dumps([turn, turn]))
            return
        every = {"milliseconds": {"whole": {"all": [turn, 3 * turn]}}}
        Path(command[-1]).write_text(json.dumps({"core": 0, "detect_every_10": every}))

    monkeypatch.setattr(frames, "_ask", ask)
    options = frames.FramesOptions(rounds=2, video=Path("a.mp4"), fer=Path("python"))
    ours, theirs = frames.measure(options)["table"]
    assert asked == ["emojax bench", "fer"] * 3
    # The third and the fifth call; the fourth and the sixth.
    assert ours["way"] == "emojax, searches 1 in 10"
    assert (ours["frames"], ours["median ms"]) == (4, 7.0)
    assert ours["frames/s"] == pytest.approx(4000 / (3 + 9 + 5 + 15))
    assert (theirs["frames"], theirs["median ms"]) == (4, 5.0)


def test_another_sub_command_is_refused(load: Any) -> None:
    with pytest.raises(UserError, match="no sub-command 'fly': use one of step, input"):
        load("benchmark").main(["fly"])


@pytest.mark.slow
def test_a_step_is_timed_and_every_repetition_written(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = load("benchmarks.step")
    monkeypatch.setattr(step, "find_peer", lambda threads: None)
    out = tmp_path / "step.json"
    step.measure(step.StepOptions(quick=True, out=out))
    fields = json.loads(out.read_text())
    (row,) = fields["table"]
    (seconds,) = fields["seconds"]["ar1 float32"]["ours"]
    assert row["ours ms"] == pytest.approx(seconds * 1e3)
    assert row["timm ms"] is None
    assert row["of matrix rate"] > 0
    assert fields["provenance"]["device"]["platform"] == "cpu"


@pytest.mark.release
def test_the_rehearsal_passes(run_python: RunPython, repository: Path, tmp_path: Path) -> None:
    script = repository / "experiments" / "benchmark.py"
    done = run_python(script, "all", "--quick", f"--out={tmp_path}", timeout=900)
    assert done.returncode == 0, done.stderr
    # The processes that `scale` starts end without a word too.
    assert "Traceback" not in done.stderr
    tables = {name: json.loads((tmp_path / f"{name}.json").read_text())["table"] for name in SUITE}
    (epoch,) = tables["epoch"]
    assert epoch["resident / bare"] > 0
    assert epoch["streaming / bare"] > 0
    (folds,) = tables["folds"]
    assert folds["folds"] == 3
    assert folds["of all others"] == 0
    assert [row["devices"] for row in tables["scale"]] == [1, 2, 2]
    assert {row["way"] for row in tables["input"]} >= {"streaming", "TFDS", "fed to the device"}
    assert [row["batch"] for row in tables["infer"]] == [1, 4]
    assert [row["precision"] for row in tables["lite"]] == ["float32", "float16", "int8"]
    assert all(row["ms"] > 0 for row in tables["lite"])


@pytest.mark.release
def test_a_long_training_is_watched(
    run_python: RunPython, repository: Path, tmp_path: Path
) -> None:
    script = repository / "experiments" / "benchmark.py"
    words = ("epoch", "--quick", "--minutes=0.2", f"--out={tmp_path / 'epoch.json'}")
    done = run_python(script, *words, timeout=600)
    assert done.returncode == 0, done.stderr
    resident, streaming = json.loads((tmp_path / "epoch.json").read_text())["table"]
    assert (resident["way"], streaming["way"]) == ("resident", "streaming")
    for row in (resident, streaming):
        assert row["steps"] > 10
        assert 0.5 < row["host last / first"] < 2
        assert row["in use last / first"] is None or 0.5 < row["in use last / first"] < 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "ratio"),
    [
        (("step", "--batch=2"), "ours / timm"),
        (("infer", "--batches", "2"), "ours / timm"),
        (("epoch", "--examples=8", "--batch-size=4"), "resident / PyTorch"),
    ],
)
def test_pytorch_stands_beside(
    run_python: RunPython, repository: Path, tmp_path: Path, words: tuple[str, ...], ratio: str
) -> None:
    for package in ("torch", "timm"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"no {package}")
    script = repository / "experiments" / "benchmark.py"
    out = tmp_path / "figures.json"
    options = ("--models", "resnet18", "--rounds=1", f"--out={out}")
    done = run_python(script, *words, *options, timeout=900)
    assert done.returncode == 0, done.stderr
    fields = json.loads(out.read_text())
    assert fields["table"][0][ratio] > 0
    assert set(fields["peers"]) == {"torch", "timm"}


def test_a_video_repeated_has_all_frames_at_their_times(load: Any, tmp_path: Path) -> None:
    video = load("benchmarks.video")
    once, many = tmp_path / "once.mp4", tmp_path / "many.mp4"
    with VideoWriter(once, 30.0) as writer:
        for number in range(12):
            writer.write(np.full((48, 64, 3), 20 * number, np.uint8), number / 30)
    video.repeat_video(once, 3, many)
    frames = [(frame.timestamp_s, frame.picture.mean()) for frame in read_frames(many)]
    # As if it lasted a minute.
    wanted = [turn * 60 + number / 30 for turn in range(3) for number in range(12)]
    np.testing.assert_allclose([at for at, _ in frames], wanted, atol=1e-3)
    levels = np.array([level for _, level in frames]).reshape(3, 12)
    assert np.ptp(levels, axis=0).max() == 0
    assert (np.diff(levels, axis=1) > 10).all()


def test_networks_on_one_gpu_compile_at_once_and_are_timed_one_by_one(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, log = load("benchmarks.together"), tmp_path / "log"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    tasks = [(log, "quick", 0.0), (log, "slow", 1.0)]
    assert together.run_together(compile_and_time, tasks) == ["figures of quick", "figures of slow"]
    lines = log.read_text().splitlines()
    assert sorted(lines[:2]) == ["quick compiled", "slow compiled"]
    assert [line.split()[1] for line in lines[2:]] == ["begins", "ends"] * 2
    assert lines[2].split()[0] == lines[3].split()[0]


@pytest.mark.parametrize(
    ("task", "said"),
    [(fail_to_compile, "no kernel fits"), (die_while_compiling, "ended with status -9")],
)
def test_a_network_that_can_t_be_compiled_ends_the_others_too(
    task: Any,
    said: str,
    load: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    together = load("benchmarks.together")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    tasks = [(tmp_path / "log", name, 0.0) for name in ("whole", "broken")]
    with pytest.raises(UserError, match="could not be timed"):
        together.run_together(task, tasks)
    assert said in capfd.readouterr().err
    assert (tmp_path / "log").read_text() == "whole compiled\n"


def test_on_a_cpu_networks_are_timed_in_this_process(load: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    load("benchmarks.together").run_together(
        compile_and_time, [(log, "one", 0.0), (log, "other", 0.0)]
    )
    assert log.read_text().split()[1::2] == ["compiled", "begins", "ends"] * 2


def test_for_a_gpu_both_sides_compile_at_the_same_time(
    load: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    # Who comes first waits for the other one, in vain if it is only called afterwards.
    both = threading.Barrier(2, timeout=30)
    places = load("benchmarks.together").compile_both("net", both.wait, both.wait)
    assert sorted(places) == [0, 1]
    said = sorted(capsys.readouterr().err.splitlines())
    assert [line.partition(" in ")[0] for line in said] == [
        "net: ours compiled",
        "net: timm's compiled",
    ]


def test_on_a_cpu_one_side_is_made_after_the_other(
    load: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []
    load("benchmarks.together").compile_both(
        "net", lambda: made.append("ours"), lambda: made.append("theirs")
    )
    assert made == ["ours", "theirs"]
    assert capsys.readouterr().err == ""


def test_pytorch_looks_for_kernels_only_when_it_is_timed(load: Any) -> None:
    peer = load("benchmarks.timm_peer")
    library = SimpleNamespace(benchmark=True)
    torch = SimpleNamespace(backends=SimpleNamespace(cudnn=library))
    with peer.without_search(peer.Packages(torch, None)):
        assert not library.benchmark
    assert library.benchmark
    with (
        pytest.raises(KeyboardInterrupt),
        peer.without_search(peer.Packages(torch, None)),
    ):
        raise KeyboardInterrupt
    assert library.benchmark
    with peer.without_search(None):
        pass


def test_figures_name_the_flags_that_xla_was_given(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = load("benchmarks.rounds")
    for flags in ("--xla_gpu_autotune_level=2", ""):
        monkeypatch.setenv("XLA_FLAGS", flags)
        out = tmp_path / "figures.json"
        rounds.report(rounds.Options(out=out), "this against that", {"table": [{"ours": 1.0}]})
        assert json.loads(out.read_text()).get("XLA_FLAGS", "") == flags
