"""What `benchmarks.together` is tested with, in a module that its processes can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

Alone = Callable[[], AbstractContextManager[None]]


def _note(log: Path, line: str) -> None:
    with log.open("a") as file:
        file.write(f"{line}\n")


def compile_and_time(log: Path, name: str, seconds: float, alone: Alone) -> str:
    """Note in a file when it compiles, begins to time and ends."""
    time.sleep(seconds)
    _note(log, f"{name} compiled")
    with alone():
        _note(log, f"{name} begins")
        time.sleep(0.1)
        _note(log, f"{name} ends")
    return f"figures of {name}"


def _await_the_other(log: Path) -> None:
    """Wait until another process has compiled, and waits for this one."""
    while not log.exists() or not log.read_text():
        time.sleep(0.01)


def fail_to_compile(log: Path, name: str, seconds: float, alone: Alone) -> str:
    """Fail where it is called `broken`."""
    if name == "broken":
        _await_the_other(log)
        raise ValueError("no kernel fits")
    return compile_and_time(log, name, seconds, alone)


def die_while_compiling(log: Path, name: str, seconds: float, alone: Alone) -> str:
    """End as a compiler that aborts ends its process, where it is called `broken`."""
    if name == "broken":
        _await_the_other(log)
        os.kill(os.getpid(), signal.SIGKILL)
    return compile_and_time(log, name, seconds, alone)
