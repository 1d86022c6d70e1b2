"""What the requests of one server share."""

from __future__ import annotations

import asyncio
import dataclasses

from emojax.serve.limits import Limits
from emojax.serve.pool import FairPool
from emojax.serve.shelf import Shelf

FILES_AT_ONCE = 2
"""Files that are worked on; each holds a decoder and its frames."""


@dataclasses.dataclass
class Service:
    """The models, the threads, and who is being served. Of one event loop."""

    shelf: Shelf
    """The models."""
    limits: Limits
    """How much is taken."""
    pool: FairPool
    """The threads in which networks run."""
    detect_every: int = 5
    """Of a stream's frames, one of so many is searched whole for faces."""
    streams: int = 0
    """Streams that have a place."""
    uploads: int = 0
    """Files that are read, wait or are worked on."""
    upload_bytes: int = 0
    """Of files that are held in memory."""
    working: asyncio.Semaphore = dataclasses.field(
        default_factory=lambda: asyncio.Semaphore(FILES_AT_ONCE)
    )
    """Held while a file is worked on."""
