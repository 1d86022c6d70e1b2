"""What the C library and the kernel are told of memory.

Why a training keeps what it frees: docs/performance.md; why weights lie in large pages:
docs/artifact.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

# From glibc's malloc.h: one arena, no mappings of their own for large blocks, nothing given back
# while less than 2 GiB are unused, and 2 GiB of addresses asked for at a time. Only the first
# arena can hold large blocks.
_KEEP = ((-8, 1), (-4, 0), (-1, 2**31 - 1), (-2, 2**31 - 1))
_LARGE_PAGE = 2 << 20
# Of Linux's mman.h: large pages from now on, and at once (since Linux 6.1).
_HUGEPAGE, _COLLAPSE = 14, 25
_MADVISE = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_FULL = 0.9
"""Share of a large page that is there already where small ones are replaced by it."""


def keep_freed_memory() -> bool:
    """Let the process keep what it frees, in large pages; return whether the C library can.

    XLA:CPU allocates a call's intermediate results, hundreds of megabytes, and frees them when it
    returns. glibc hands such blocks back to the system at once, which then clears each page again
    when the next call touches it: an eighth of a training step. And in pages of 4 KiB their
    addresses have to be looked up again and again; Linux gives pages of 2 MiB to those who ask.
    Call it before anything is computed: a thread that has allocated already keeps to its own arena.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    change = getattr(library, "mallopt", None)
    if change is None or sum(change(*setting) for setting in _KEEP) != len(_KEEP):
        return False
    _ask_for_large_pages(library)
    return True


def _ask_for_large_pages(library: ctypes.CDLL) -> None:
    # The heap's addresses take no memory until they are touched. The answer does not matter: a
    # kernel may have no large pages, or give them to everybody.
    library.sbrk.restype = library.malloc.restype = ctypes.c_void_p
    library.sbrk.argtypes = library.malloc.argtypes = (ctypes.c_ssize_t,)
    library.free.argtypes = (ctypes.c_void_p,)
    library.madvise.argtypes = _MADVISE
    before = library.sbrk(0)
    # More than the heap has left: it has to grow.
    library.free(library.malloc(64 << 20))
    start = -(-before // _LARGE_PAGE) * _LARGE_PAGE
    size = library.sbrk(0) - start
    if size > 0:
        library.madvise(start, size, _HUGEPAGE)


@contextlib.contextmanager
def in_large_pages() -> Iterator[None]:
    """Move what is allocated here and stays into pages of 2 MiB, where Linux can.

    A network's weights are read from first to last for each picture, and in pages of 4 KiB the
    processor looks an address up for each of them. No memory is added but for a tenth of a page
    where one is filled, and elsewhere nothing happens.
    """
    before = _whole_large_pages()
    yield
    new = _whole_large_pages() - before
    if not new:
        return
    library = ctypes.CDLL(None)
    library.madvise.argtypes = _MADVISE
    library.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    there = ctypes.create_string_buffer(_LARGE_PAGE // mmap.PAGESIZE)
    for page in new:
        start = page * _LARGE_PAGE
        # A thread's stack, say, is mapped and hardly used: it would be filled with zeros.
        known = library.mincore(start, _LARGE_PAGE, there) == 0
        if known and sum(flag & 1 for flag in there.raw) >= _FULL * len(there):
            library.madvise(start, _LARGE_PAGE, _COLLAPSE)


def _whole_large_pages() -> set[int]:
    """Return the large pages, numbered from address 0, that the process's own memory covers."""
    try:
        # Bytes: the names of mapped files need not be text.
        lines = Path("/proc/self/maps").read_bytes().split(b"\n")
    except OSError:
        return set()
    found = set()
    for line in filter(None, lines):
        # Addresses, permissions, offset, device, inode and, not always, a name.
        addresses, permissions, _, _, inode, *name = line.split()
        if permissions == b"rw-p" and inode == b"0" and name in ([], [b"[heap]"]):
            start, end = (int(address, 16) for address in addresses.split(b"-"))
            found.update(range(-(-start // _LARGE_PAGE), end // _LARGE_PAGE))
    return found
