"""Who may ask: every request passes here before anything looks at it.

A website in the same browser can send requests to this machine, and can point a name of its own
at it. What a browser adds by itself tells them apart: `Host`, the name that was typed, and
`Origin`, the page whose script asks.
"""

from __future__ import annotations

import dataclasses
import secrets
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from emojax.serve.refusal import RefusedError

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
"""An ASGI application: called with a connection's scope, and how to receive and to send."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""What this machine is called by itself."""

COOKIE = "emojax_token"
"""Keeps the token in the browser that opened the address with it."""

# Nothing but what this server sends may run, be shown or be asked.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
# Browsers complain about it, and don't heed it, on a page that anybody on the way can rewrite.
_TRUSTED_HEADERS = ((b"cross-origin-opener-policy", b"same-origin"),)


@dataclasses.dataclass(frozen=True)
class Gate:
    """What a request has to bring."""

    hosts: frozenset[str] | None
    """Values of `Host` that are meant, in lower case; None: any, where there is a token."""
    token: str | None = None
    """What has to be known; None: nothing, on the loopback address."""
    secure: bool = False
    """Whether the page is served by https."""

    def __post_init__(self) -> None:
        """Refuse a gate that would stand open."""
        assert self.hosts is not None or self.token is not None


def loopback_hosts(port: int, bound: str = LOOPBACK[0], secure: bool = False) -> frozenset[str]:
    """Return the values of `Host` under which this machine reaches itself.

    Args:
        port: that is listened on.
        bound: address that is listened on, any of the loopback's.
        secure: whether the page is served by https.
    """
    names = {*LOOPBACK, f"[{bound}]" if ":" in bound else bound}
    # Browsers leave a scheme's own port out.
    alone = names if port == (443 if secure else 80) else set()
    return frozenset(name.lower() for name in {f"{name}:{port}" for name in names} | alone)


def make_guard(application: Application, gate: Gate) -> Application:
    """Return the application behind a gate.

    Args:
        application: answers what is let through.
        gate: what a request has to bring.
    """
    trusted = gate.secure or gate.hosts is not None
    headers = (*_HEADERS, *(_TRUSTED_HEADERS if trusted else ()))
    own = {name for name, _ in headers}

    async def guarded(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await application(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in own]
                message = {**message, "headers": [*kept, *headers]}
            await send(message)

        try:
            check_origin(scope, gate)
            opened = check_token(scope, gate)
        except RefusedError as refused:
            await refuse(scope, send_safely, refused)
            return
        if opened is not None:
            moved = [(b"location", b"/"), (b"set-cookie", opened.encode())]
            await send_safely({"type": "http.response.start", "status": 303, "headers": moved})
            await send_safely({"type": "http.response.body", "body": b""})
            return
        try:
            await application(scope, receive, send_safely)
        except Exception:
            # A defect of ours. Starlette has answered with 500 before it let the error through.
            traceback.print_exc()

    return guarded


def _header(scope: Message, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def check_origin(scope: Message, gate: Gate) -> None:
    """Let through what this server's own page asks, and programs that are no browser.

    Raises:
        RefusedError: a name that is not this server's (421), or another page's script (403).
    """
    host = [value.lower() for value in _header(scope, b"host")]
    if len(host) != 1 or (gate.hosts is not None and host[0] not in gate.hosts):
        raise RefusedError(421, "Host is not this server: open the address that it printed")
    own = f"{'https' if gate.secure else 'http'}://{host[0]}"
    if any(value.lower() != own for value in _header(scope, b"origin")):
        raise RefusedError(403, "Origin is another page: open the address that was printed")
    # `none` is an address that somebody typed.
    if set(_header(scope, b"sec-fetch-site")) - {"same-origin", "none"}:
        raise RefusedError(403, "another site asks: open the address that was printed")


def check_token(scope: Message, gate: Gate) -> str | None:
    """Return the cookie to set where the token comes in the address, else None.

    Raises:
        RefusedError: no token where one is needed, or another (401).
    """
    if gate.token is None:
        return None
    given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
    if scope["type"] == "http" and scope["path"] == "/" and any(map(_same(gate.token), given)):
        secure = "; Secure" if gate.secure else ""
        return f"{COOKIE}={gate.token}; Path=/; HttpOnly; SameSite=Strict{secure}"
    bearer = [value.removeprefix("Bearer ") for value in _header(scope, b"authorization")]
    if not any(map(_same(gate.token), [*bearer, *_cookies(scope)])):
        raise RefusedError(
            401, "the token is missing or wrong: open the address that the server printed"
        )
    return None


def _same(token: str) -> Callable[[str], bool]:
    return lambda given: secrets.compare_digest(given.encode(), token.encode())


def _cookies(scope: Message) -> list[str]:
    found = []
    for header in _header(scope, b"cookie"):
        try:
            morsel = SimpleCookie(header).get(COOKIE)
        except CookieError:
            continue
        if morsel is not None:
            found.append(morsel.value)
    return found


async def refuse(scope: Message, send: Any, refused: RefusedError) -> None:
    """Answer a connection with what it is refused for."""
    body = f'{{"detail":"{refused}"}}'.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # What was sent along is not read.
        (b"connection", b"close"),
    ]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
    await send({"type": f"{kind}.start", "status": refused.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
