"""Training processes that are killed, stopped, or find the disk full, and go on to the same end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
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
# How often a run is killed at which moment, on each way of reading, and by how much later than
# it is seen to have come.
KILLS = {
    "load": (1, 4.0),
    "save": (4, 0.03),
    "step": (4, 0.15),
    "end": (1, 0.5),
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", params=["resident", "streaming"])
def straight(request: pytest.FixtureRequest, shards: Path, runs: Path) -> Command:
    """A training that nobody stopped. It compiles; those that follow read what it compiled."""
    command = Command(
        shards, runs / request.param, runs / "compiled", (f"--input={request.param}",)
    )
    command.finish()
    return command


def again(straight: Command, name: str) -> Command:
    return Command(straight.data, straight.out / name, straight.cache, straight.more)


def test_killed_at_random_moments_ends_bit_for_bit_the_same(straight: Command) -> None:
    rng = np.random.default_rng((SEED, len(straight.more[0])))
    trials = [
        (kind, int(rng.integers(0, EPOCHS * STEPS)), float(rng.uniform(0, latest)))
        for kind, (times, latest) in KILLS.items()
        for _ in range(times)
    ]

    def kill(number: int) -> str:
        command, (kind, step, delay) = again(straight, f"killed{number}"), trials[number]
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
        line = f"{straight.more[0]} {kind} {step} +{1000 * delay:.0f} ms: {end}"
        print(line, flush=True)
        return line

    with ThreadPoolExecutor(2) as pool:
        lines = list(pool.map(kill, range(len(trials))))
    assert len(lines) == 10
    assert not [line for line in lines if "FAILED" in line]


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("load", signal.SIGTERM),
        ("save", signal.SIGINT),
        ("step", signal.SIGTERM),
        ("end", signal.SIGINT),
        ("end", signal.SIGTERM),
    ],
)
def test_stopped_at_any_moment_has_its_own_status_and_goes_on(
    straight: Command, kind: str, number: signal.Signals
) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("started where Ctrl-C is ignored, as by `nohup pytest &`")
    command = again(straight, f"{kind}{number}")
    errors = stop_at(command, kind, 17, 0.05, number)
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


def test_killed_folds_end_with_the_same_figures(shards: Path, runs: Path) -> None:
    def start(out: Path) -> subprocess.Popen[str]:
        script = Path(__file__).resolve().parents[1] / "experiments" / "folds.py"
        arguments = [f"--data={shards}", f"--out={out}", "--epochs=1", "--batch-size=16"]
        return subprocess.Popen([sys.executable, str(script), *arguments], text=True)

    ends = []
    for name, kept in (("folds", 0), ("killed folds", 2)):
        out = runs / name
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
    has_come, filler = moment("step", command.out, 13), Path(disk) / "filler"
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


def test_a_full_disk_keeps_the_checkpoint_and_goes_on_when_there_is_room(
    straight: Command, tmp_path: Path
) -> None:
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
