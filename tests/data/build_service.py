"""Builds in a process of their own, so that one that hangs or dies can be told and ended.

The process stands in folders of its own (current, temporary, home), so that
whatever a build leaves there can be seen.
"""

from __future__ import annotations

import contextlib
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
    report: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Beside the shards; empty where there are none."""
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
        self.start()
        told = self._log.stat().st_size
        try:
            built: Built = self._ask("build", name, source, out, options, limit_s=limit_s)
        except TimeoutError:
            raise TimeoutError(f"{name} from {source}: no end after {limit_s:g} s") from None
        with self._log.open("rb") as file:
            file.seek(told)
            return dataclasses.replace(built, stderr=file.read().decode(errors="replace"))

    def keys(self, out: Path) -> frozenset[str]:
        """Return the keys of all examples that a build has written."""
        return self._ask("read", out, limit_s=60)

    @property
    def _log(self) -> Path:
        return self.home / "stderr"

    def _ask(self, *request: Any, limit_s: float) -> Any:
        self._line.send(request)
        try:
            if not self._line.poll(limit_s):
                raise TimeoutError
            return self._line.recv()
        except (EOFError, TimeoutError):
            self.end()
            raise

    def end(self) -> None:
        """End the process and all that it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()
        self._line.close()
        self._process = None

    def start(self) -> None:
        """Start the process if there is none."""
        if self._process is not None:
            return
        context = multiprocessing.get_context("spawn")
        self._log.touch()
        self._line, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, self.home))
        self._process.start()
        far_end.close()
        try:
            assert self._line.recv() == "ready"
        except EOFError:
            self.end()
            raise RuntimeError(self._log.read_text()[-3000:]) from None


def _serve(line: Connection, home: Path) -> None:
    os.setpgid(0, 0)
    stderr = os.open(home / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(stderr, sys.stderr.fileno())
    os.environ.update(TMPDIR=str(home / "tmp"), HOME=str(home / "home"))
    # What libraries keep there is theirs.
    os.environ.update(XDG_CACHE_HOME=str(home / "cache"), MPLCONFIGDIR=str(home / "cache"))
    tempfile.tempdir = None
    os.chdir(home / "cwd")
    called: list[str] = []

    def note(event: str, details: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            called.append(str(details[1]))

    sys.addaudithook(note)
    _warm_up(home / "first")
    line.send("ready")
    while True:
        try:
            what, *request = line.recv()
        except EOFError:
            return
        if what == "read":
            line.send(_read_keys(*request))
            continue
        started = time.monotonic()
        called.clear()
        try:
            built = _build(*request)
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


def _warm_up(folder: Path) -> None:
    """Build and read once: what TensorFlow leaves in its folders when it starts is no build's."""
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.pgm").write_bytes(b"P5\n2 2\n255\n" + bytes(4))
    (folder / "manifest.csv").write_text("path,subject\na.pgm,a\nb.pgm,b\nc.pgm,c\n")
    _build("manifest", folder, folder / "out", BuildOptions(faces="ready"))
    _read_keys(folder / "out")


def _build(name: str, source: Path, out: Path, options: BuildOptions) -> Built:
    from emojax.data.build import build_dataset
    from emojax.data.shards import dataset_info

    build_dataset(name, source=source, out=out, options=options, say=lambda _: None)
    return Built(report=dataset_info(out).report)


def _read_keys(out: Path) -> frozenset[str]:
    from emojax.data.shards import dataset_info, read_batches
    from emojax.data.splits import SPLITS

    info = dataset_info(out)
    batches = (batch for split in SPLITS for batch in read_batches(info, split, ["path"]))
    return frozenset(key for batch in batches for key in batch["path"].tolist())
