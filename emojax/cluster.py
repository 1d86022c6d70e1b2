"""Several processes that train one network together: how they find and lose each other.

A process is alone unless it is told of others, or stands in a cluster that is recognised; then
nothing is started and nothing listens. In company all processes run the same program at the
same time: what one of them alone decides (its clock, a signal, the room it finds) has to be
agreed upon before anything on the devices depends on it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from emojax.errors import UserError

Result = TypeVar("Result")

Kind = Literal["auto", "none", "hand", "slurm", "kubernetes", "tpu"]

LOST = 75
"""Exit status of a process that lost the others: sysexits.h's EX_TEMPFAIL, try again."""

# How long the others wait for the first process, which draws and writes the report by itself.
_REPORT_SECONDS = 3600
_LAG = 2


@dataclasses.dataclass(frozen=True)
class ClusterOptions:
    """Which processes train together. No part of a run's settings: it may go on in another form."""

    kind: Kind = "auto"
    """How processes find each other. hand: by the three settings below; slurm: a job of several
    tasks; kubernetes: a JobSet, as in experiments/cluster/jobset.yaml; tpu: the hosts of a TPU
    slice; auto: the one that is recognised, else none: this process is alone."""
    coordinator: str = ""
    """HOST:PORT of the first process, the only address that it listens on."""
    processes: int | None = None
    """How many there are."""
    process: int | None = None
    """Which one this is, 0 and up."""
    heartbeat_seconds: int = 60
    """A process that is not heard of for so long is taken for dead, and the job ends."""
    join_seconds: int = 300
    """How long processes wait for each other at the start."""

    def __post_init__(self) -> None:
        """Refuse what can't be a place in a cluster."""
        for name, least in (("heartbeat_seconds", 5), ("join_seconds", 1)):
            if getattr(self, name) < least:
                raise UserError(f"cluster.{name}={getattr(self, name)}: wanted {least} or more")
        by_hand = (self.coordinator, self.processes, self.process)
        if by_hand == ("", None, None) and self.kind != "hand":
            return
        if self.kind not in ("auto", "hand"):
            raise UserError(
                f"cluster.kind={self.kind}: finds coordinator, processes and process by itself: "
                "leave them out, or use cluster.kind=hand"
            )
        if not self.coordinator or self.processes is None or self.process is None:
            raise UserError(
                f"cluster.coordinator={self.coordinator or 'unset'}, "
                f"cluster.processes={_shown(self.processes)}, "
                f"cluster.process={_shown(self.process)}: give all three"
            )
        read_address(self.coordinator)
        if not 0 <= self.process < self.processes:
            raise UserError(
                f"cluster.process={self.process} of cluster.processes={self.processes}: "
                f"wanted 0 .. {max(self.processes - 1, 0)}"
            )


def _shown(number: int | None) -> str:
    return "unset" if number is None else str(number)


def read_address(address: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; an IPv6 address stands in brackets.

    Raises:
        UserError: it is something else.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 2**16):
        raise UserError(
            f"cluster.coordinator={address!r}: wanted HOST:PORT, as 127.0.0.1:8476 or node01:8476"
        )
    return host.strip("[]"), int(port)


def settle_cluster(options: ClusterOptions, environment: Mapping[str, str]) -> ClusterOptions:
    """Return the options with a kind other than `auto`, and `hand`'s settings filled in.

    Args:
        options: as they were given.
        environment: variables of this process.

    Raises:
        UserError: a kind was asked for whose variables are missing.
    """
    kind = options.kind
    if kind == "auto":
        if options.coordinator:
            kind = "hand"
        elif _is_slurm(environment):
            kind = "slurm"
        elif "JOBSET_COORDINATOR" in environment:
            kind = "kubernetes"
        elif _is_pod(environment):
            kind = "tpu"
        else:
            kind = "none"
    if kind == "slurm" and not _is_slurm(environment):
        raise UserError(
            "cluster.kind=slurm: this is no SLURM step of several tasks (SLURM_NTASKS, "
            "SLURM_PROCID): start it with  srun, as experiments/cluster/slurm.sbatch does"
        )
    if kind != "kubernetes":
        return dataclasses.replace(options, kind=kind)
    names = ("JOBSET_COORDINATOR", "JOBSET_PROCESSES", "JOB_COMPLETION_INDEX")
    if missing := [name for name in names if not environment.get(name)]:
        raise UserError(
            f"cluster.kind=kubernetes: {missing[0]} is not set in this pod: "
            "start it as experiments/cluster/jobset.yaml does"
        )
    coordinator, processes, process = (environment[name] for name in names)
    if not (processes.isdigit() and process.isdigit()):
        raise UserError(
            f"JOBSET_PROCESSES={processes!r}, JOB_COMPLETION_INDEX={process!r}: wanted numbers"
        )
    return dataclasses.replace(
        options,
        kind="hand",
        coordinator=coordinator,
        processes=int(processes),
        process=int(process),
    )


def _is_slurm(environment: Mapping[str, str]) -> bool:
    # A step that `srun` started: in the batch script itself there is one process for all tasks.
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "")
    wanted = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID")
    there = all(name in environment for name in (*wanted, "SLURM_LOCALID"))
    return there and tasks.isdigit() and int(tasks) > 1


def _is_pod(environment: Mapping[str, str]) -> bool:
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES", "")
    slices = environment.get("MEGASCALE_NUM_SLICES", "")
    return "," in hosts or (slices.isdigit() and int(slices) > 1)


def join_cluster(options: ClusterOptions, program: str) -> None:
    """Join the other processes, or do nothing where there are none; call it before any device.

    Args:
        options: of the command line.
        program: the name that starts a line on stderr.

    Raises:
        UserError: the address can't be listened on or nobody answers there, or the devices are
            shared out unevenly. Where a process is missing, JAX itself ends this one with
            SIGABRT after `join_seconds`.
    """
    options = settle_cluster(options, os.environ)
    if options.kind == "none" or options.processes == 1:
        return
    # Signals are ours, see `train.stop_signals`; JAX would take SIGTERM and tell nobody.
    jax.config.update("jax_enable_preemption_service", False)
    where: dict[str, Any] = {}
    if options.kind == "hand":
        where = {
            "coordinator_address": options.coordinator,
            "num_processes": options.processes,
            "process_id": options.process,
            "cluster_detection_method": "deactivate",
            # JAX's default is every interface of the machine.
            "coordinator_bind_address": options.coordinator,
        }
        say = f"process {options.process} of {options.processes}"
        print(
            f"{program}: {say}: waiting at {options.coordinator} for the others, "
            f"{options.join_seconds} s at most",
            file=sys.stderr,
            flush=True,
        )
        if options.process == 0:
            _check_free(options.coordinator, options.join_seconds)
        else:
            _wait_for(options.coordinator, options.join_seconds)
    elif options.kind == "slurm":
        where = {"cluster_detection_method": "slurm"}
    try:
        jax.distributed.initialize(
            **where,
            initialization_timeout=options.join_seconds,
            heartbeat_timeout_seconds=options.heartbeat_seconds,
            shutdown_timeout_seconds=_REPORT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise UserError(f"cluster.kind={options.kind}: can't join the others ({reason})") from None
    if jax.device_count() != jax.process_count() * jax.local_device_count():
        raise UserError(
            f"process {jax.process_index()} has {jax.local_device_count()} of "
            f"{jax.device_count()} devices, and there are {jax.process_count()} processes: "
            "give each the same number of devices"
        )
    if is_first():
        print(
            f"{jax.process_count()} processes, {jax.device_count()} devices; when one is not "
            f"heard of for {options.heartbeat_seconds} s all end, and the same command goes on",
            flush=True,
        )


def _check_free(address: str, seconds: float) -> None:
    # JAX 0.10 ends in a segmentation fault where the port is taken.
    host, port = read_address(address)
    end = time.monotonic() + seconds
    while True:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            socket.create_server((host, port), family=family).close()
            return
        except OSError as error:
            # A new pod's name takes a moment to be known.
            if not isinstance(error, socket.gaierror) or time.monotonic() > end:
                raise UserError(
                    f"cluster.coordinator={address}: can't be listened on ({error.strerror}): "
                    "use an address of this machine, the first process's, and a free port"
                ) from None
        time.sleep(0.2)


def _wait_for(address: str, seconds: float) -> None:
    host, port = read_address(address)
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise UserError(
                    f"cluster.coordinator={address}: nobody answers there after {seconds:g} s "
                    f"({error.strerror or error}): start process 0 on that machine"
                ) from None
        time.sleep(0.2)


def in_company() -> bool:
    """Return whether other processes train with this one; no device is asked for it."""
    return jax.distributed.is_initialized()


def is_first() -> bool:
    """Return whether this process is the one that speaks and writes: alone, or the first."""
    return not in_company() or jax.process_index() == 0


def agree(mine: int) -> int:
    """Return the largest of the numbers that the processes bring; each waits for all."""
    if not in_company():
        return mine
    return int(np.max(multihost_utils.process_allgather(np.int32(mine))))


def first_alone(call: Callable[[], Result]) -> Result:
    """Return a call's result, made by the first process and only then by the others.

    What it writes is there when the others look for it, in a folder that all of them see.

    Raises:
        UserError: as the call; in the others also where the first one's failed.
    """
    if not in_company():
        return call()
    if not is_first():
        if agree(0):
            raise UserError("the first process has stopped: see its message")
        return call()
    try:
        result = call()
    except UserError:
        agree(1)
        raise
    agree(0)
    return result


def part() -> None:
    """Take leave of the other processes, which do the same: this one is alone from here on."""
    if in_company():
        jax.distributed.shutdown()


class Agreement:
    """A number that all processes agree on after each step, without waiting for the device.

    The answer belongs to the call two steps before, whose step is done by then: the loop waits
    for that one's loss. All processes have to call it after the same steps.
    """

    def __init__(self, mesh: jax.sharding.Mesh) -> None:
        self._spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names))
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        self._largest = jax.jit(lambda numbers: numbers.max(), out_shardings=whole)
        self._local = len(mesh.local_devices)
        self._asked: list[jax.Array] = []

    def __call__(self, mine: int) -> int:
        """Return the largest number that a process brought two calls ago; alone: `mine`."""
        if not in_company():
            return mine
        numbers = np.full(self._local, mine, np.int32)
        spread = jax.make_array_from_process_local_data(self._spread, numbers)
        self._asked.append(self._largest(spread))
        return int(self._asked.pop(0)) if len(self._asked) > _LAG else 0

    def forget(self) -> None:
        """Drop the questions that are not answered yet: they were about what is done now."""
        self._asked.clear()


@contextlib.contextmanager
def quiet_others() -> Iterator[None]:
    """Silence what all processes but the first print to stdout: it would be said many times."""
    if is_first():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def run_together(program: str, function: Callable[[], int]) -> int:
    """Return the function's exit status; in company, leave at once where it failed.

    A process that ended as usual would wait for the others, which wait for it. They see it go,
    and end too.

    Args:
        program: the name that starts the error line.
        function: does the work, its own mistakes caught as `cli.run_guarded` does.
    """
    try:
        status = function()
    except jax.errors.JaxRuntimeError as error:
        if not in_company():
            raise
        reason = " ".join(str(error).split())[:200]
        print(
            f"{program}: error: process {jax.process_index()} of {jax.process_count()} lost the "
            f"others ({reason}): the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        status = LOST
    except Exception:
        if in_company():
            traceback.print_exc()
            _leave(1)
        raise
    if status and in_company():
        _leave(status)
    return status


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
