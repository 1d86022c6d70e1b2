"""The live view as a page that this machine alone can open, with the standard library's server.

It shows somebody's face, so: the loopback address only; a name in the address that nobody can
guess, for other people of the machine; and requests that a website's script, or a name that it
points to this machine, could send are refused.
"""

from __future__ import annotations

import http.server
import queue
import secrets
import threading
import urllib.parse
from typing import Any

import cv2
import numpy as np

from emojax.app.page_text import page_text
from emojax.app.screen import DEEDS, Wish
from emojax.errors import UserError
from emojax.picture import decode_picture

ADDRESS = "127.0.0.1"

LARGEST_PICTURE = 64 << 20
"""Bytes of a picture file that is opened on the page."""

_LONGEST_WAIT_S = 5.0
_LONGEST_NUMBER = 15
"""Digits of a number in a request: Python refuses to read thousands of them."""
_QUALITY = 85


class PageScreen:
    """Serves the newest view, and takes wishes. Use it as a context."""

    hint = ""
    """The page has buttons."""

    def __init__(self, port: int = 0) -> None:
        """Open the port; the page is served from the beginning of the context.

        Args:
            port: 0: any that is free.

        Raises:
            UserError: something else is at work there.
        """
        self._token = secrets.token_urlsafe(16)
        self._wishes: queue.SimpleQueue[Wish] = queue.SimpleQueue()
        self._new = threading.Condition()
        self._view: np.ndarray | None = None
        self._number = 0
        screen = self

        class Answers(_Answers):
            page = screen

        try:
            self._server = http.server.ThreadingHTTPServer((ADDRESS, port), Answers)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"--port {port}: can't be used ({reason}): leave it out") from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """The page's address, with the name that nobody can guess."""
        return f"http://{ADDRESS}:{self.port}/{self._token}/"

    def show(self, view: np.ndarray, wait_s: float) -> Wish | None:
        """Serve a view from now on, and return the next wish."""
        with self._new:
            self._view, self._number = view, self._number + 1
            self._new.notify_all()
        try:
            return self._wishes.get(timeout=wait_s) if wait_s else self._wishes.get_nowait()
        except queue.Empty:
            return None

    def wait_for_view(self, after: int) -> tuple[int, np.ndarray] | None:
        """Return the newest view and its number, None where there is no newer one for a while.

        Args:
            after: number of the view that is there already.
        """
        with self._new:
            self._new.wait_for(lambda: self._number > after, _LONGEST_WAIT_S)
            fresh = self._view is not None and self._number > after
            return (self._number, self._view) if fresh and self._view is not None else None

    def wish(self, wish: Wish) -> None:
        """Take a wish."""
        self._wishes.put(wish)

    def knows(self, token: str) -> bool:
        """Return whether that is the name in the address."""
        return secrets.compare_digest(token.encode(), self._token.encode())

    def __enter__(self) -> PageScreen:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Answers(http.server.BaseHTTPRequestHandler):
    page: PageScreen
    protocol_version = "HTTP/1.1"
    # Seconds for which a connection may say nothing.
    timeout = 20

    def do_GET(self) -> None:
        """Answer with the page or with the newest view."""
        path, query = self._path()
        if path == "":
            nonce = secrets.token_urlsafe(16)
            policy = (
                f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
                "img-src blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
                "form-action 'none'"
            )
            body = page_text(nonce).encode()
            self._answer(200, body, "text/html; charset=utf-8", {"Content-Security-Policy": policy})
        elif path == "view":
            number = _whole(urllib.parse.parse_qs(query).get("after", ["0"])[0])
            found = self.page.wait_for_view(number)
            if found is None:
                self._answer(204)
                return
            number, view = found
            _, jpeg = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            self._answer(200, jpeg.tobytes(), "image/jpeg", {"X-Number": str(number)})
        elif path is not None:
            self._answer(404)

    def do_POST(self) -> None:
        """Take a wish: `wish/record`, or `picture` with a file's content."""
        path, query = self._path()
        if path is None:
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._answer(411)
            return
        size = int(length) if len(length) <= _LONGEST_NUMBER else LARGEST_PICTURE + 1
        if size > LARGEST_PICTURE:
            self._answer(413)
            return
        body = self.rfile.read(size)
        deeds: dict[str, Any] = {f"wish/{deed}": deed for deed in DEEDS if deed != "picture"}
        if path in deeds:
            self.page.wish(Wish(deeds[path]))
            self._answer(204)
        elif path == "picture":
            name = urllib.parse.parse_qs(query).get("name", ["picture"])[0][:200]
            try:
                picture = decode_picture(body, name)
            except UserError as error:
                self._answer(400, str(error).encode(), "text/plain; charset=utf-8")
                return
            self.page.wish(Wish("picture", picture, name))
            self._answer(204)
        else:
            self._answer(404)

    def _path(self) -> tuple[str | None, str]:
        """Return what is asked for below the secret name, and the query; None: it was refused."""
        own = {f"{name}:{self.page.port}" for name in (ADDRESS, "localhost")}
        host, origin = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        # A website's script says where it comes from; the site's name may have been pointed here.
        foreign = (
            len(host) != 1
            or host[0].lower() not in own
            or any(one.lower() not in {f"http://{host}" for host in own} for one in origin)
            or self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        )
        if foreign:
            self._answer(403)
            return None, ""
        try:
            split = urllib.parse.urlsplit(self.path)
        except ValueError:
            self._answer(400)
            return None, ""
        token, slash, path = split.path.removeprefix("/").partition("/")
        if not (slash and self.page.knows(token)):
            self._answer(404)
            return None, ""
        return path, split.query

    def _answer(
        self, status: int, body: bytes = b"", kind: str = "", more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        if status >= 400:
            # What was sent along may not have been read.
            self.send_header("Connection", "close")
            self.close_connection = True
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def handle_one_request(self) -> None:
        """Answer a request; one whose sender goes away is nobody's concern."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def version_string(self) -> str:
        """Say who answers, without versions."""
        return "emojax"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for what a person has to know."""


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER else 0
