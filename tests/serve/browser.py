"""The system's Chromium with a drawn camera, and what its page asked, said and sent."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Playwright
from serving import Serving

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

# `.ci/run` sets it: there the browser has been installed, and its absence is a fault.
REQUIRED = "EMOJAX_BROWSER"

ELSEWHERE = "emojax.test"
"""To the browser this is a machine other than its own."""


def find_chromium() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        say = pytest.fail if os.environ.get(REQUIRED) == "required" else pytest.skip
        say("no Chromium: apt-get install chromium")
    assert found is not None
    return found


@dataclasses.dataclass
class Watched:
    """A page and what was seen of it."""

    page: Page
    server: Serving
    console: list[str] = dataclasses.field(default_factory=list)
    foreign: list[str] = dataclasses.field(default_factory=list)
    sent: list[str | bytes] = dataclasses.field(default_factory=list)
    received: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def own(self) -> tuple[str, str]:
        """Where the page may ask: the server by its address, and by its name."""
        return (f"127.0.0.1:{self.server.port}", f"{ELSEWHERE}:{self.server.port}")

    def watch(self) -> None:
        def on_request(request: Any) -> None:
            there = urlsplit(request.url)
            if there.scheme not in ("blob", "data") and there.netloc not in self.own:
                self.foreign.append(request.url)

        def on_console(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.console.append(message.text)

        def on_socket(socket: Any) -> None:
            socket.on("framesent", lambda message: self.sent.append(message))
            socket.on("framereceived", lambda text: self.received.append(json.loads(text)))

        self.page.on("request", on_request)
        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("websocket", on_socket)

    def open(self, mode: str = "") -> None:
        self.page.goto(f"{self.server.address}{mode and f'#{mode}'}")
        self.page.wait_for_selector("body[data-ready]")

    def open_elsewhere(self) -> None:
        """Open the page as another machine does: by name, with the token."""
        token = self.server.said.partition("?token=")[2].split()[0]
        address = self.server.address.replace("127.0.0.1", ELSEWHERE)
        self.page.goto(f"{address}?token={token}")
        self.page.wait_for_selector("body[data-ready]")

    def results(self) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == "result"]

    def wait_for_results(self, count: int) -> None:
        for _ in range(600):
            if len(self.results()) >= count:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{len(self.results())} results, wanted {count}")

    def wait_for_words(self, words: str) -> None:
        self.page.wait_for_selector(f"#video-said:has-text('{words}')")


class Browsers:
    """Chromium, once for each film that a camera plays; a test gets a page of its own."""

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._running: dict[tuple[Path | None, bool], Browser] = {}

    def launch(self, camera: Path | None, allowed: bool) -> Browser:
        if (camera, allowed) not in self._running:
            # Another machine's name, and no authority that vouches for it.
            words = [f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"]
            words.append("--ignore-certificate-errors")
            if camera is not None:
                words += [
                    "--use-fake-device-for-media-stream",
                    f"--use-file-for-fake-video-capture={camera}",
                ]
            ask = "--use-fake-ui-for-media-stream" if allowed else "--deny-permission-prompts"
            words.append(ask)
            if os.name == "posix" and os.geteuid() == 0:
                # Chromium's own sandbox is not for root, as which containers run.
                words.append("--no-sandbox")
            chromium = self._playwright.chromium
            running = chromium.launch(executable_path=find_chromium(), args=words)
            self._running[camera, allowed] = running
        return self._running[camera, allowed]

    def close(self) -> None:
        for browser in self._running.values():
            browser.close()

    @contextlib.contextmanager
    def browse(
        self,
        server: Serving,
        camera: Path | None = None,
        *,
        allowed: bool = True,
        quiet: bool = True,
        elsewhere: bool = False,
        **context: Any,
    ) -> Iterator[Watched]:
        """Open the page; at the end it has asked no other host and nobody complained.

        Args:
            server: serves it.
            camera: the film that the camera plays; without one there is no camera.
            allowed: whether the page may use it.
            quiet: nothing may stand in the console.
            elsewhere: the page is opened as from another machine.
            context: of the browser: viewport, color_scheme, ...
        """
        own = self.launch(camera, allowed).new_context(**context)
        page = own.new_page()
        page.set_default_timeout(30_000)
        watched = Watched(page, server)
        watched.watch()
        (watched.open_elsewhere if elsewhere else watched.open)()
        yield watched
        assert watched.foreign == []
        if quiet:
            assert watched.console == [], watched.console
        own.close()
