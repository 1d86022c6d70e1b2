"""What hostile files point at, so that it shows when somebody follows them."""

from __future__ import annotations

import dataclasses
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path

SECRET = "sw0rdfish-of-the-neighbour"
"""Stands in files outside the source; a report that holds it has read them."""


@dataclasses.dataclass(frozen=True)
class Trap:
    """What hostile files point at, outside the source."""

    outside: Path
    """Folder of good files, one per suffix, named `good.png` and so on."""
    canary: Path
    """File that only a pickle, a shell or a climbing archive would make."""
    url: str
    """Of a listener on the loopback that notes who calls."""


Change = Callable[[bytes, random.Random, Trap], bytes]
"""Makes other content of a file's."""


class Listener:
    """A port on the loopback that notes who calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                caller, address = self._socket.accept()
            except OSError:
                return
            self.calls.append(str(address))
            caller.close()

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()


def make_trap(folder: Path, listener: Listener) -> Trap:
    """Return a trap in a folder; what lies outside the source is named there."""
    outside = folder / "outside"
    outside.mkdir()
    (outside / "good.txt").write_text(SECRET)
    return Trap(outside, folder / "canary", listener.url)
