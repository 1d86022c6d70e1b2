"""A server in a process of its own, and ways to ask it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import ssl
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from own_process import own_process
from websockets.sync.client import ClientConnection, connect


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def detail(self) -> str:
        return json.loads(self.body)["detail"]


class Serving(NamedTuple):
    """A running server."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]
    trusts: ssl.SSLContext | None = None
    """Of a server with https: trusts its certificate."""

    @property
    def said(self) -> str:
        """What it has printed until now."""
        return self.log.read_text()

    @property
    def address(self) -> str:
        return f"http{'s' if self.trusts else ''}://127.0.0.1:{self.port}/"

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
        **query: Any,
    ) -> Answer:
        """GET without a body, POST with one."""
        if self.trusts is None:
            link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        else:
            link = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=timeout, context=self.trusts
            )
        with contextlib.closing(link):
            target = f"{path}?{urlencode(query)}" if query else path
            link.request("GET" if body is None else "POST", target, body, dict(headers or {}))
            answer = link.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, answer.read(), found)

    def predict(self, body: bytes, **query: Any) -> Answer:
        return self.ask("/predict", body, **query)

    def stream(self, **settings: Any) -> ClientConnection:
        address = f"{self.address.replace('http', 'ws', 1)}stream"
        return connect(address, compression=None, ssl=self.trusts, **settings)

    def taken(self) -> int:
        """Streams that have a place."""
        return json.loads(self.ask("/model").body)["limits"]["sessions_taken"]


@contextlib.contextmanager
def serving(
    *words: str | Path, trusts: ssl.SSLContext | None = None, **settings: Any
) -> Iterator[Serving]:
    """Run `emojax serve WORDS` on a free port until the end of the context.

    Args:
        words: of the command line.
        trusts: the server's certificate, where the words give it one.
        settings: of `subprocess.Popen`.
    """
    command = own_process("-m", "emojax", "serve", "--port", "0", *words)
    # Not a pipe: nobody reads it while the server runs.
    with (
        tempfile.TemporaryDirectory() as folder,
        (Path(folder) / "said").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **settings) as process,
    ):
        said = Path(log.name)
        try:
            for _ in range(1200):
                if "Ctrl-C" in said.read_text() or process.poll() is not None:
                    break
                time.sleep(0.05)
            found = re.search(r"open +https?://[^:]+:(\d+)/", said.read_text())
            assert found is not None, said.read_text()
            yield Serving(int(found[1]), said, process, trusts)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def frame_message(number: int, seconds: float, picture: bytes) -> bytes:
    """A frame as the page sends it."""
    return struct.pack("<Id", number, seconds) + picture


def next_message(stream: ClientConnection, kind: str | None = None) -> dict[str, Any]:
    """The next message, or the next of a kind."""
    while True:
        message = json.loads(stream.recv(timeout=30))
        if kind is None or message["type"] == kind:
            return message
