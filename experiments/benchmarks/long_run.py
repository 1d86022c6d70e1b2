"""Whether a long training keeps its memory: its host's and its device's, from tenth to tenth."""

from __future__ import annotations

import os
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import jax

from emojax.checkpoint import open_checkpoints
from emojax.data.feed import Batches
from emojax.data.resident import Resident
from emojax.errors import UserError
from emojax.stopping import StopTraining
from emojax.train import Trainer, fit

_STATM = Path("/proc/self/statm")


def host_bytes() -> int:
    """Return the memory that the process has of its host.

    Raises:
        UserError: the system does not tell.
    """
    if not _STATM.exists():
        raise UserError("--minutes: needs /proc, as Linux has it, to see a process's memory")
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def device_bytes() -> int | None:
    """Return the memory in use on the first device; None: it does not tell, as a CPU."""
    return (jax.devices()[0].memory_stats() or {}).get("bytes_in_use")


def train_long(
    trainer: Trainer, examples: Resident | Batches, folder: Path, minutes: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a row for the table, and the memory in MiB of each tenth of a long training.

    It is training itself, checkpoints included, ended as a person ends it, by a signal. The
    clock begins after the first epoch: until then programs are compiled and buffers filled.

    Args:
        trainer: with more epochs than there is time for.
        examples: resident, or streamed.
        folder: for the checkpoints.
        minutes: how long.
    """
    began: list[float] = []
    readings: list[tuple[float, int, int | None]] = []

    def note() -> None:
        if not began:
            return
        passed = time.monotonic() - began[0]
        readings.append((passed, host_bytes(), device_bytes()))
        if passed > minutes * 60:
            signal.raise_signal(signal.SIGTERM)

    def on_epoch(*_: object) -> None:
        if not began:
            began.append(time.monotonic())

    host_bytes()
    with open_checkpoints(folder) as checkpoints:
        try:
            fit(trainer, examples, checkpoints, on_steps=lambda *_: note(), on_epoch=on_epoch)
        except StopTraining as stop:
            steps = stop.step
        else:
            raise UserError(f"the training was over before {minutes:g} minutes: wanted more epochs")
    return summarise(readings, steps)


def summarise(
    readings: list[tuple[float, int, int | None]], steps: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a row for the table, and the mean memory in MiB of each tenth.

    Args:
        readings: seconds passed, bytes of the host, bytes of the device.
        steps: of the training.
    """
    count = len(readings)
    if count < 10:
        raise UserError(f"{count} readings are too few for ten tenths: give more --minutes")
    # By their number: a machine that stands still for a while would leave a tenth empty.
    tenths = [readings[count * tenth // 10 : count * (tenth + 1) // 10] for tenth in range(10)]
    hosts = [statistics.fmean(host for _, host, _ in tenth) / 2**20 for tenth in tenths]
    devices = [
        statistics.fmean(device or 0 for _, _, device in tenth) / 2**20
        for tenth in tenths
        if tenth[0][2] is not None
    ]
    row = {
        "minutes": readings[-1][0] / 60,
        "steps": steps,
        "host MiB first": hosts[0],
        "last": hosts[-1],
        "host last / first": hosts[-1] / hosts[0],
        "device last / first": devices[-1] / devices[0] if devices else None,
    }
    return row, {"host_mib": hosts, "device_mib": devices or None}
