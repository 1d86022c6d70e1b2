"""Training processes that are killed, stopped, or find the disk full, and go on to the same end."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from small_sets import noise_pictures
from stopped_runs import (
    EPOCHS,
    PATIENCE_S,
    STEPS,
    Command,
    assert_ends_alike,
    half_written,
    make_set,
    stop_at,
    written,
)

pytestmark = pytest.mark.slow

SEED = 20
# Moments of a training, and by how many seconds at most a kill comes later than they are seen.
LATEST_S = {"load": 4.0, "save": 0.03, "step": 0.15, "end": 0.5}
# How often one is killed at which moment, by its way of reading: in CI, and before a release.
KILLS = (
    ("resident", {"load": 1, "save": 1, "step": 1, "end": 1}),
    ("streaming", {"save": 1}),
)
MORE_KILLS = {"load": 1, "save": 4, "step": 4, "end": 1}
STOPS = (
    ("load", signal.SIGTERM),
    ("save", signal.SIGINT),
    ("step", signal.SIGTERM),
    ("end", signal.SIGINT),
    ("end", signal.SIGTERM),
)
STOPS_IN_CI = (
    ("resident", "load", signal.SIGTERM),
    ("resident", "save", signal.SIGINT),
    ("resident", "end", signal.SIGTERM),
    ("streaming", "step", signal.SIGTERM),
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def straight_run(shards: Path, runs: Path) -> Callable[[str], Command]:
    """Return the training, with a way of reading, that nobody stopped.

    It compiles; those that follow read what it compiled.
    """

    @functools.cache
    def run(way: str) -> Command:
        command = Command(shards, runs / way, runs / "compiled", (f"--input={way}",))
        command.finish()
        return command

    return run


def again(straight: Command, name: str) -> Command:
    return Command(straight.data, straight.out / name, straight.cache, straight.more)


@pytest.mark.parametrize(
    ("way", "kills"),
    [
        *KILLS,
        pytest.param("resident", MORE_KILLS, marks=pytest.mark.release),
        pytest.param("streaming", MORE_KILLS, marks=pytest.mark.release),
    ],
)
def test_killed_at_random_moments_ends_bit_for_bit_the_same(
    straight_run: Callable[[str], Command], way: str, kills: dict[str, int]
) -> None:
    straight = straight_run(way)
    rng = np.random.default_rng((SEED, len(way)))
    trials = [
        (kind, int(rng.integers(0, EPOCHS * STEPS)), float(rng.uniform(0, LATEST_S[kind])))
        for kind, times in kills.items()
        for _ in range(times)
    ]

    def kill(number: int) -> str:
        kind, step, delay = trials[number]
        command = again(straight, f"killed{number}of{len(trials)}")
        try:
            stop_at(command, kind, step, delay, signal.SIGKILL)
            left = sorted(written(command.out))
            command.finish()
            assert not half_written(command.out)
            assert_ends_alike(straight.out, command.out)
        except AssertionError as error:
            end = f"FAILED: {error!r}"
        else:
            end = f"left {left}, ends alike"
        line = f"{way} {kind} {step} +{1000 * delay:.0f} ms: {end}"
        print(line, flush=True)
        return line

    with ThreadPoolExecutor(2) as pool:
        lines = list(pool.map(kill, range(len(trials))))
    assert len(lines) == sum(kills.values())
    assert not [line for line in lines if "FAILED" in line]


@pytest.mark.parametrize(
    ("way", "kind", "number"),
    [
        pytest.param(*row, marks=[] if row in STOPS_IN_CI else pytest.mark.release)
        for row in ((way, *stop) for way in ("resident", "streaming") for stop in STOPS)
    ],
)
def test_stopped_at_any_moment_has_its_own_status_and_goes_on(
    straight_run: Callable[[str], Command], way: str, kind: str, number: signal.Signals
) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("started where Ctrl-C is ignored, as by `nohup pytest &`")
    straight = straight_run(way)
    command = again(straight, f"{kind}{number}")
    errors = stop_at(command, kind, 4, 0.05, number)
    assert "Traceback" not in errors
    said = errors.splitlines()[-1]
    if kind in ("save", "step"):
        assert "the same command goes on from there" in said
        step = int(said.split("stopped at step ")[1].split(",")[0])
        assert str(step) in written(command.out)
    else:
        assert said == "train.py: stopped; what was already written is kept"
    command.finish()
    assert_ends_alike(straight.out, command.out)


def test_killed_folds_end_with_the_same_figures(tmp_path: Path) -> None:
    # Fourteen people, so as many folds, of a step or two.
    shards = noise_pictures(tmp_path, train=23, test=9)

    def start(out: Path) -> subprocess.Popen[str]:
        script = Path(__file__).resolve().parents[1] / "experiments" / "folds.py"
        arguments = [f"--data={shards}", f"--out={out}", "--epochs=1", "--batch-size=16"]
        # What a CPU comes to anyway, once it has compiled and timed the other way.
        arguments.append("--stacked=no")
        return subprocess.Popen([sys.executable, str(script), *arguments], text=True)

    ends = []
    for name, kept in (("folds", 0), ("killed folds", 2)):
        out = tmp_path / name
        if kept:
            with start(out) as process:
                while len(list((out / "folds").glob("*.npz"))) < kept:
                    assert process.poll() is None
                    time.sleep(0.001)
                process.kill()
            assert not (out / "results.json").exists()
        with start(out) as process:
            assert process.wait(timeout=PATIENCE_S) == 0
        results = json.loads((out / "results.json").read_text())
        ends.append({key: results[key] for key in ("folds", "test", "data", "config")})
    assert ends[0] == ends[1]


FULL_DISK = """
    import json, os, sys, time
    from pathlib import Path
    from stopped_runs import Command, moment

    data, disk, cache, *more = map(str, sys.argv[1:])
    command = Command(Path(data), Path(disk) / "run", Path(cache), tuple(more))
    has_come, filler = moment("step", command.out, 4), Path(disk) / "filler"
    with command.start() as process:
        while not has_come():
            time.sleep(0.001)
        # Unbuffered: a byte at the end is refused too.
        with filler.open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError as error:
                    assert error.errno == 28
        _, errors = process.communicate(timeout=300)
    left = sorted(os.listdir(command.out / "checkpoints"))
    filler.unlink()
    command.finish()
    print(json.dumps({"status": process.returncode, "errors": errors, "left": left}))
"""


@pytest.mark.parametrize("way", ["resident", pytest.param("streaming", marks=pytest.mark.release)])
def test_a_full_disk_keeps_the_checkpoint_and_goes_on_when_there_is_room(
    straight_run: Callable[[str], Command], way: str, tmp_path: Path
) -> None:
    straight = straight_run(way)
    disk = tmp_path / "disk"
    disk.mkdir()
    # A disk of its own, in a name space of its own.
    script = f'mount -t tmpfs -o size=64m tmpfs {disk} && "$@" && cp -r {disk}/run {tmp_path}/'
    done = subprocess.run(
        [
            *("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"),
            *(sys.executable, "-c", textwrap.dedent(FULL_DISK)),
            *(str(straight.data), str(disk), str(straight.cache), *straight.more),
        ],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no disk of one's own to be had here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == 2
    kept = max(int(name) for name in found["left"] if name.isdigit())
    # What the progress bar wrote comes before it.
    lines = [line for line in found["errors"].splitlines() if "example/s" not in line]
    lines = [line for line in lines if line.strip()]
    assert lines == [
        f"train.py: error: {disk}/run: no room left on the disk; the checkpoint of step {kept} is "
        "kept: free some space, then give the same command again"
    ]
    assert_ends_alike(straight.out, tmp_path / "run")
