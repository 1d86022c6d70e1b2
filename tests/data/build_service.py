"""Builds in a process of their own, so that one that hangs or dies can be told and ended.

The process stands in folders of its own (current, temporary, home), so that
whatever a build leaves there can be seen.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from emojax.data.build import BuildOptions


@dataclasses.dataclass(frozen=True)
class Built:
    """How a build ended."""

    error: str = ""
    """What it raised, with its class; empty where it returned."""
    kept: frozenset[str] = frozenset()
    """Keys of all examples in the shards."""
    report: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    peak_mb: float = 0.0
    """Largest memory of any worker so far."""
    connections: tuple[str, ...] = ()
    """Addresses that the build's own process tried to reach."""
    stderr: str = ""
    """What it and its workers said there."""


class BuildService:
    """The process, started when it is first needed and again after one that had to be ended."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in ("cwd", "tmp", "home"):
            (home / name).mkdir(parents=True)
        self._process: Any = None
        self._line: Any = None

    def build(
        self, name: str, source: Path, out: Path, options: BuildOptions, limit_s: float
    ) -> Built:
        """Return how a build ended.

        Raises:
            TimeoutError: it did not end in `limit_s`.
            EOFError: it took its process down.
        """
        if self._process is None:
            self._start()
        log = self.home / "stderr"
        told = log.stat().st_size if log.exists() else 0
        self._line.send((name, source, out, options))
        if not self._line.poll(limit_s):
            self.end()
            raise TimeoutError(f"{name} from {source}: no end after {limit_s:g} s")
        try:
            built: Built = self._line.recv()
        except EOFError:
            self.end()
            raise
        with log.open("rb") as file:
            file.seek(told)
            return dataclasses.replace(built, stderr=file.read().decode(errors="replace"))

    def end(self) -> None:
        """End the process and all that it started."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.join()
        self._line.close()
        self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, self.home))
        self._process.start()
        far_end.close()
        assert self._line.recv() == "ready"


def _serve(line: Connection, home: Path) -> None:
    os.setpgid(0, 0)
    stderr = os.open(home / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(stderr, sys.stderr.fileno())
    os.environ.update(TMPDIR=str(home / "tmp"), HOME=str(home / "home"))
    tempfile.tempdir = None
    os.chdir(home / "cwd")
    called: list[str] = []

    def note(event: str, details: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            called.append(str(details[1]))

    sys.addaudithook(note)
    line.send("ready")
    while True:
        try:
            name, source, out, options = line.recv()
        except EOFError:
            return
        started = time.monotonic()
        called.clear()
        try:
            built = _build(name, source, out, options)
        except BaseException as error:
            traceback.print_exc()
            built = Built(error=f"{type(error).__name__}: {error}")
        sys.stderr.flush()
        line.send(
            dataclasses.replace(
                built,
                seconds=time.monotonic() - started,
                # In kilobytes on Linux. Includes what this process had when it started them.
                peak_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
                connections=tuple(called),
            )
        )


def _build(name: str, source: Path, out: Path, options: BuildOptions) -> Built:
    from emojax.data.build import build_dataset
    from emojax.data.shards import dataset_info, read_batches
    from emojax.data.splits import SPLITS

    build_dataset(name, source=source, out=out, options=options, say=lambda _: None)
    info = dataset_info(out)
    kept = {
        key
        for split in SPLITS
        for batch in read_batches(info, split, ["path"])
        for key in batch["path"].tolist()
    }
    return Built(kept=frozenset(kept), report=info.report)
