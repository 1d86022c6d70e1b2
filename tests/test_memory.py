"""What the C library and the kernel make of memory, seen in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what is told is Linux's")

# A process of its own: what the C library was told holds until the process ends.
KEEPING = """
import resource, sys
from emojax.memory import keep_freed_memory
print(keep_freed_memory())
import numpy as np
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    np.ones(1 << 23)
before = faults()
for _ in range(5):
    np.ones(1 << 23)
print(faults() - before)
# Not ru_maxrss, which begins with what the parent had.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["VmHWM"].split()[0])
"""


def run(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@linux
def test_what_is_freed_is_kept_and_nothing_is_taken_beforehand():
    kept, faults, most = run(KEEPING)
    assert kept == "True"
    # Five arrays of 64 MiB are 81,920 pages of 4 KiB, if each has to be cleared again.
    assert int(faults) < 1000
    assert int(most) < 1000 * 1024, "KiB: 2 GiB of addresses are no memory yet"


MOVING = """
import mmap, os, tempfile
from emojax.memory import in_large_pages
SIZE = 16 << 20
DATA = bytes(range(256)) * (SIZE // 256)
def mapped():
    return mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
def filled():
    memory = mapped()
    memory.write(DATA)
    return memory
def kib(name):
    lines = open("/proc/self/smaps_rollup").read().splitlines()[1:]
    return int(dict(line.split(":", 1) for line in lines)[name].split()[0])
before = filled()
# A mapped file whose name is no text, and has a line's end in it.
name = os.fsencode(tempfile.mkdtemp()) + b"/\\xff\\r\\n1"
with open(name, "wb+") as file:
    file.write(bytes(4096))
    file.flush()
    odd = mmap.mmap(file.fileno(), 4096)
os.unlink(name)
os.rmdir(os.path.dirname(name))
with in_large_pages():
    full, sparse = filled(), mapped()
    for page in range(0, SIZE, 1 << 16):
        sparse[page] = 1
    large, held = kib("AnonHugePages"), kib("Rss")
print(kib("AnonHugePages") - large, kib("Rss") - held, full[:] == before[:])
"""


@linux
def test_what_is_filled_moves_into_large_pages_and_the_rest_stays():
    large, grown, same = run(MOVING)
    assert same == "True"
    assert int(grown) < 2048, "KiB: what is not used is no memory yet"
    if large == "0":
        pytest.skip("this kernel moves nothing (Linux 6.1 or newer does)")
    assert 12 << 10 <= int(large) <= 16 << 10, "KiB: of 16 MiB, the whole pages of 2 MiB"


BROKEN = """
import builtins, pathlib
from emojax.memory import in_large_pages
def refuse(*_, **__):
    raise PermissionError("/proc")
pathlib.Path.read_bytes = refuse
with in_large_pages():
    print("ran")
"""


def test_without_the_kernels_list_nothing_happens():
    assert run(BROKEN) == ["ran"]
