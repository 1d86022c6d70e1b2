"""How processes find each other, and that some of them train what one alone does."""

from __future__ import annotations

import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml
from small_sets import noise_pictures

from emojax.cluster import (
    Agreement,
    ClusterOptions,
    agree,
    first_alone,
    join_cluster,
    read_address,
    settle_cluster,
)
from emojax.errors import UserError
from emojax.sharding import make_mesh

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "experiments" / "cluster"
STEPS = ROOT / "tests" / "cluster_steps.py"
PATIENCE_S = 900
"""How long a process may take: some seconds, where nothing else runs."""

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3",
}
POD = {
    "JOBSET_COORDINATOR": "emojax-workers-0-0.emojax:8476",
    "JOBSET_PROCESSES": "2",
    "JOB_COMPLETION_INDEX": "1",
}


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, "none"),
        (SLURM, "slurm"),
        # One task, the batch script itself, and a shell of `salloc`.
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, "none"),
        ({name: SLURM[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID")}, "none"),
        # Any pod of any job, which is no reason to listen.
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "none"),
        ({"TPU_WORKER_HOSTNAMES": "t0,t1", "TPU_WORKER_ID": "0"}, "tpu"),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, "none"),
        ({"MEGASCALE_NUM_SLICES": "2"}, "tpu"),
    ],
)
def test_a_cluster_is_recognised(environment: dict[str, str], kind: str) -> None:
    assert settle_cluster(ClusterOptions(), environment).kind == kind
    assert settle_cluster(ClusterOptions(kind="none"), environment).kind == "none"


def test_a_pod_of_a_jobset_knows_its_place() -> None:
    place = settle_cluster(ClusterOptions(), POD)
    assert (place.kind, place.process, place.processes) == ("hand", 1, 2)
    assert place.coordinator == POD["JOBSET_COORDINATOR"]
    by_hand = ClusterOptions(coordinator="127.0.0.1:1", processes=1, process=0)
    assert settle_cluster(by_hand, POD | SLURM).coordinator == "127.0.0.1:1"


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        ({"coordinator": "127.0.0.1:80"}, {}, "cluster.processes=unset.*give all three"),
        ({"kind": "hand"}, {}, "cluster.coordinator=unset.*give all three"),
        ({"coordinator": "x:80", "processes": 2, "process": 2}, {}, "wanted 0 .. 1"),
        ({"coordinator": "x", "processes": 2, "process": 0}, {}, "'x': wanted HOST:PORT"),
        ({"kind": "slurm", "processes": 2}, {}, "cluster.kind=slurm: finds .* by itself"),
        ({"heartbeat_seconds": 0}, {}, "wanted 5 or more"),
        ({"kind": "slurm"}, {}, "no SLURM step of several tasks"),
        ({"kind": "kubernetes"}, {}, "JOBSET_COORDINATOR is not set"),
        ({}, POD | {"JOBSET_PROCESSES": "two"}, "JOBSET_PROCESSES='two'.*wanted numbers"),
    ],
)
def test_what_is_no_place_in_a_cluster_is_refused(
    options: dict[str, Any], environment: dict[str, str], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        settle_cluster(ClusterOptions(**options), environment)


def test_an_address_is_read() -> None:
    assert read_address("node01:8476") == ("node01", 8476)
    assert read_address("[::1]:8476") == ("::1", 8476)
    for address in (":80", "node", "node:", "node:port", "node:70000"):
        with pytest.raises(UserError, match="wanted HOST:PORT"):
            read_address(address)


def test_alone_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(jax.distributed, "initialize", refuse)
    join_cluster(ClusterOptions(), "test")
    join_cluster(ClusterOptions(coordinator="127.0.0.1:1", processes=1, process=0), "test")
    assert agree(7) == 7
    assert first_alone(lambda: "made") == "made"
    agreement = Agreement(make_mesh())
    assert [agreement(number) for number in (0, 15, 0)] == [0, 15, 0]


def test_a_port_that_is_taken_and_an_address_of_another_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for coordinator in (f"127.0.0.1:{port}", "192.0.2.77:8476"):
            options = ClusterOptions(coordinator=coordinator, processes=2, process=0)
            with pytest.raises(UserError, match=r"can't be listened on.*first process's"):
                join_cluster(options, "test")
    options = ClusterOptions(
        coordinator=f"127.0.0.1:{port}", processes=2, process=1, join_seconds=1
    )
    with pytest.raises(UserError, match=r"nobody answers there after 1 s.*start process 0"):
        join_cluster(options, "test")


# The job files.


@pytest.mark.parametrize("name", ["slurm.sbatch", "tpu.sh"])
def test_a_script_is_bash(name: str) -> None:
    done = subprocess.run(["bash", "-n", FILES / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_batch_script_asks_for_a_device_for_each_task() -> None:
    asked = dict(
        re.findall(r"^#SBATCH --([a-z-]+)=(\S+)", (FILES / "slurm.sbatch").read_text(), re.M)
    )
    assert asked["ntasks-per-node"] == asked["gpus-per-node"] == "4"
    assert asked["signal"].startswith("TERM@")


def test_the_jobset_starts_the_processes_that_it_says() -> None:
    jobs = yaml.safe_load((FILES / "jobset.yaml").read_text())
    assert jobs["kind"] == "JobSet"
    [replicated] = jobs["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    assert job["completionMode"] == "Indexed"
    [container] = job["template"]["spec"]["containers"]
    given = {row["name"]: row["value"] for row in container["env"]}
    name = f"{jobs['metadata']['name']}-{replicated['name']}-0-0.{jobs['metadata']['name']}"
    assert given["JOBSET_COORDINATOR"].split(":")[0] == name
    place = settle_cluster(ClusterOptions(), given | {"JOB_COMPLETION_INDEX": "1"})
    assert (place.process, place.processes) == (1, job["parallelism"])
    assert job["completions"] == job["parallelism"]
    port = read_address(place.coordinator)[1]
    assert container["ports"] == [{"containerPort": port}]
    assert (ROOT / container["command"][-1]).is_file()


# Real processes.


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def start(arguments: Sequence[object], devices: int, x64: bool = False) -> subprocess.Popen[str]:
    count = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {
        # What the suite says comes first: compiling is most of what a process does here.
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {count}",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": str(int(x64)),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_steps(
    out: Path, steps: int, kind: str, processes: int, devices: int, checkpoints: Path | None = None
) -> list[subprocess.Popen[str]]:
    """So many processes with so many devices each, of which the first one writes to `out`."""
    common = [STEPS, out, steps, kind, checkpoints or "none"]
    address = free_address()
    company = [[address, processes, number] for number in range(processes)]
    return [
        start([*common, *(place if processes > 1 else [])], devices, x64=kind == "float64")
        for place in company
    ]


def finish(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    """What they said; all of them have to end well."""
    said = [process.communicate(timeout=PATIENCE_S) for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors[-2000:]
    return said


def difference(first: Path, second: Path) -> float:
    """The largest one between two parameters or statistics; the devices are others."""
    with np.load(first) as one, np.load(second) as two:
        assert one["devices"] != two["devices"]
        assert one.files == two.files
        leaves = [name for name in one.files if name.isdigit()]
        assert len(leaves) > 10
        return max(float(np.abs(one[name] - two[name]).max()) for name in leaves)


Steps = Callable[[str, int, int, int], tuple[Path, list[tuple[str, str]]]]


@pytest.fixture(scope="module")
def take_steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """Return what so many steps of a kind wrote, and said, in so many processes of so many devices.

    Each is done once.
    """

    @functools.cache
    def take(
        kind: str, steps: int, processes: int, devices: int
    ) -> tuple[Path, list[tuple[str, str]]]:
        out = tmp_path_factory.mktemp("steps") / "out.npz"
        return out, finish(start_steps(out, steps, kind, processes, devices))

    return take


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps", "limit"), [("float32", 1, 1e-5), ("float64", 20, 1e-9)])
def test_the_parameters_do_not_depend_on_how_devices_are_shared_out(
    take_steps: Steps, kind: str, steps: int, limit: float
) -> None:
    alone, _ = take_steps(kind, steps, 1, 1)
    four, _ = take_steps(kind, steps, 1, 4)
    together, said = take_steps(kind, steps, 2, 2)
    for other in (four, together):
        assert difference(alone, other) < limit
    assert "2 processes, 4 devices" in said[0][0]
    assert said[1][1].startswith("cluster_steps.py: process 1 of 2: waiting at 127.0.0.1:")


@pytest.mark.slow
def test_a_run_that_two_processes_saved_goes_on_in_one(take_steps: Steps, tmp_path: Path) -> None:
    begun, resumed = tmp_path / "begun.npz", tmp_path / "ended.npz"
    straight, _ = take_steps("float64", 20, 1, 4)
    checkpoints = tmp_path / "checkpoints"
    # In the middle of an epoch.
    finish(start_steps(begun, 17, "float64", 2, 2, checkpoints))
    assert [path.name for path in checkpoints.iterdir()] == ["17"]
    finish(start_steps(resumed, 3, "float64", 1, 1, checkpoints))
    with np.load(resumed) as ended:
        assert int(ended["begun"]) == 17
    assert difference(straight, resumed) < 1e-9


HEARTBEAT_S = 10


def start_training(data: Path, out: Path, *more: str) -> list[subprocess.Popen[str]]:
    address = free_address()
    return [
        start(
            [
                ROOT / "experiments" / "train.py",
                "--model=ar1",
                f"--data={data}",
                f"--out={out}",
                "--batch-size=16",
                "--checkpoint-minutes=0.01",
                f"--cluster.coordinator={address}",
                "--cluster.processes=2",
                f"--cluster.process={number}",
                f"--cluster.heartbeat-seconds={HEARTBEAT_S}",
                *more,
            ],
            devices=2,
        )
        for number in range(2)
    ]


def wait_for_epoch(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch   1"):
            return
    raise AssertionError(process.communicate()[1][-2000:])


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_job_which_goes_on_when_it_is_started_again(
    tmp_path: Path, victim: int
) -> None:
    data, out = noise_pictures(tmp_path, train=160, validation=14, test=14), tmp_path / "run"
    # The two ways of the data, one with each victim.
    way = f"--input={('resident', 'streaming')[victim]}"
    processes = start_training(data, out, way, "--epochs=6")
    wait_for_epoch(processes[0])
    processes[victim].send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    _, errors = processes[1 - victim].communicate(timeout=PATIENCE_S)
    assert time.monotonic() - killed_at < HEARTBEAT_S + 20
    assert processes[1 - victim].returncode not in (0, None)
    # JAX's line, or ours, by who notices first.
    assert "another task died" in errors or "lost the others" in errors
    processes[victim].communicate(timeout=PATIENCE_S)
    assert not (out / "results.json").exists()
    again = start_training(data, out, way, "--epochs=6")
    assert "going on from step" in finish(again)[0][0]
    assert len((out / "history.csv").read_text().splitlines()) == 7
    assert len(list((out / "tensorboard").iterdir())) == 2


@pytest.mark.slow
def test_sigterm_to_one_process_saves_in_both_and_one_device_ends_the_run(tmp_path: Path) -> None:
    data, out = noise_pictures(tmp_path, train=160, validation=14, test=14), tmp_path / "run"
    processes = start_training(data, out, "--epochs=8")
    wait_for_epoch(processes[0])
    processes[1].terminate()
    said = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert [process.returncode for process in processes] == [143, 143], said
    step = max(int(path.name) for path in (out / "checkpoints").iterdir())
    assert f"stopped at step {step}, saved in" in said[0][1]
    # Gloo's own lines, which a slow machine brings, are C++'s.
    assert [line for line in said[1][0].splitlines() if not line.startswith("[Gloo]")] == []
    # Alone, on one device.
    alone = ["--model=ar1", f"--data={data}", f"--out={out}", "--epochs=8", "--batch-size=16"]
    more = ["--checkpoint-minutes=0.01"]
    [(told, _)] = finish([start([ROOT / "experiments" / "train.py", *alone, *more], devices=1)])
    assert f"going on from step {step} of 80" in told
