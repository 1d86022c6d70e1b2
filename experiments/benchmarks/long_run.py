"""Whether a long training keeps its memory: its host's and its device's, from tenth to tenth."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np

from emojax.checkpoint import open_checkpoints
from emojax.data.feed import Batches
from emojax.data.resident import Resident
from emojax.errors import UserError
from emojax.stopping import StopTraining
from emojax.train import Trainer, fit

_STATM = Path("/proc/self/statm")
SEEN = ("host", "in use", "device")
"""What is read each time, after the seconds passed; NaN where nothing tells."""


class _MallocInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`, over all arenas."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def host_bytes() -> int:
    """Return the memory that the process has of its host.

    Raises:
        UserError: the system does not tell.
    """
    if not _STATM.exists():
        raise UserError("--minutes: needs /proc, as Linux has it, to see a process's memory")
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def allocated_bytes() -> int | None:
    """Return what the process holds of what it allocated; None without glibc 2.33 or newer.

    A training keeps what it frees (`emojax/memory.py`), so that what it has of its host can stay
    the same while more and more of it is in use.
    """
    tell = _mallinfo()
    if tell is None:
        return None
    found = tell()
    return found.uordblks + found.hblkhd


@functools.cache
def _mallinfo() -> Callable[[], _MallocInfo] | None:
    # Once: each library object makes a type of its own, which is collected late.
    tell = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if tell is not None:
        tell.restype = _MallocInfo
    return tell


def device_bytes() -> int | None:
    """Return the memory in use on the first device; None: it does not tell, as a CPU."""
    return (jax.devices()[0].memory_stats() or {}).get("bytes_in_use")


class Readings:
    """What was seen of the memory, at most once a second; all its room is taken beforehand.

    A list would grow with the training, by itself and with what it is there to see.
    """

    def __init__(self, minutes: float) -> None:
        self.interval = min(1.0, minutes * 60 / 100)
        """Seconds between two readings: a hundred of a short training, if it has so many steps."""
        # A whole number at least that apart, and the one that is too late.
        self._rows = np.zeros((math.ceil(minutes * 60 / self.interval) + 2, 1 + len(SEEN)))
        self._count = 0

    @property
    def rows(self) -> np.ndarray:
        """float64 `[reading, 4]`: seconds passed, then bytes, as `SEEN` has them."""
        return self._rows[: self._count]

    def note(self, passed: float) -> None:
        """Look, unless it is too early or the time is over.

        Args:
            passed: seconds since the beginning.
        """
        due = not self._count or passed >= self._rows[self._count - 1, 0] + self.interval
        if due and self._count < len(self._rows):
            seen = (host_bytes(), allocated_bytes(), device_bytes())
            told = (math.nan if value is None else value for value in seen)
            self._rows[self._count] = (passed, *told)
            self._count += 1


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
    readings = Readings(minutes)

    def note() -> None:
        if not began:
            return
        passed = time.monotonic() - began[0]
        readings.note(passed)
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
    return summarise(readings.rows, steps)


def summarise(readings: np.ndarray, steps: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a row for the table, and the mean memory in MiB of each tenth.

    Args:
        readings: of `Readings.rows`.
        steps: of the training.
    """
    count = len(readings)
    if count < 10:
        raise UserError(f"{count} readings are too few for ten tenths: give more --minutes")
    # By their number: a machine that stands still for a while would leave a tenth empty.
    bounds = [count * tenth // 10 for tenth in range(11)]
    means = np.array([readings[slice(*ends), 1:].mean(axis=0) for ends in pairwise(bounds)]) / 2**20
    row: dict[str, Any] = {"minutes": float(readings[-1, 0]) / 60, "steps": steps}
    kept: dict[str, list[float] | None] = {}
    for name, tenths in zip(SEEN, means.T.tolist(), strict=True):
        told = not any(map(math.isnan, tenths))
        kept[f"{name.replace(' ', '_')}_mib"] = tenths if told else None
        if name != "device":
            row[f"{name} MiB first"] = tenths[0] if told else None
            row[f"{name} MiB last"] = tenths[-1] if told else None
        row[f"{name} last / first"] = tenths[-1] / tenths[0] if told else None
    return row, kept
