"""Bytes under a path that readers of files can open, which no disk keeps."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def memory_file(data: bytes | bytearray) -> Iterator[Path]:
    """Yield the path of a file with this content, which is gone when the context ends.

    On Linux it is in memory. Elsewhere it is a file in a folder that only this user can enter.

    Args:
        data: its content, which is not needed any more once the context has begun.
    """
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("emojax-upload")
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(data)
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory(prefix="emojax-") as folder:
        path = Path(folder) / "upload"
        path.write_bytes(data)
        yield path
