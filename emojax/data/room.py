"""Where a split finds room: whole in device memory, or streamed from the shards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emojax.data.resident import check_fits
from emojax.data.shards import DatasetInfo
from emojax.errors import UserError

GIB = 2**30


def split_bytes(info: DatasetInfo, split: str) -> int:
    """Return the size of a split's faces and spectrograms, which is nearly all of it."""
    spec = info.input_spec
    example = info.max_frames * spec.height * spec.width
    if spec.sound is not None:
        example += spec.sound.height * spec.sound.width
    return info.num_examples[split] * example


def free_memory(system: Path = Path("/")) -> float:
    """Return the bytes that this process may still take; infinity where nothing tells.

    Args:
        system: where `proc` and `sys` lie. Linux alone tells: what the machine has
            left, and what a container or a cluster's job may take at most.
    """
    free = _number(system / "proc/meminfo", "MemAvailable:") * 1024
    # The limit of any group around the process holds, and only some of them can be seen.
    group = _text(system / "proc/self/cgroup").partition("0::/")[2].partition("\n")[0]
    inner = Path(group.strip("/"))
    for part in (inner, *inner.parents):
        folder = system / "sys/fs/cgroup" / part
        limit = _number(folder / "memory.max", "")
        # What the system keeps of files counts as used too, but is given back when needed.
        used = _number(folder / "memory.stat", "anon ")
        if np.isfinite(limit):
            free = min(free, limit - (used if np.isfinite(used) else 0))
    return free


def choose_input(
    info: DatasetInfo, split: str, devices: Iterable[Any], free: float | None = None
) -> tuple[Literal["resident", "streaming"], str]:
    """Return the way a split's examples reach the step, and why, in one line.

    Resident, where the devices have room (see `check_fits`) and so has this machine: while
    it is read, a split takes up its size twice.

    Args:
        info: of the folder of shards.
        split: which is trained on.
        devices: JAX devices.
        free: bytes of this machine's memory; None: as measured.
    """
    needed = split_bytes(info, split)
    free = free_memory() if free is None else free
    faces = f"{needed / GIB:.2f} GiB of faces"
    try:
        check_fits(needed, devices)
    except UserError as error:
        return "streaming", str(error).rpartition(": ")[0]
    if 2 * needed > 0.8 * free:
        return "streaming", f"{faces} do not fit twice into {free / GIB:.2f} GiB of free memory"
    left = f"{free / GIB:.2f} GiB of memory are free" if np.isfinite(free) else "there is room"
    return "resident", f"{faces}, {left}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""


def _number(path: Path, name: str) -> float:
    """Return the number after a name in a file of the system's; infinity where there is none."""
    for line in _text(path).splitlines():
        words = line.removeprefix(name).split()
        if line.startswith(name) and words and words[0].isdigit():
            return int(words[0])
    return float("inf")
