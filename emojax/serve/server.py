"""A socket, a gate and the application: a running server."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from emojax.errors import UserError
from emojax.serve.guard import Application

HEADER_S = 5.0
"""For how long the head of a request may be on its way."""

_CONNECTIONS = 256


class PatientProtocol(H11Protocol):
    """HTTP/1.1 whose patience with a request that does not begin has an end."""

    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._silence = self.loop.call_later(HEADER_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Take what came; a request that is whole up to its body is waited for no longer."""
        super().data_received(data)
        waiting = self.cycle is None or self.cycle.response_complete
        if not waiting:
            self._stop_waiting()
        elif self._silence is None:
            self._silence = self.loop.call_later(HEADER_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _give_up(self) -> None:
        self._silence = None
        # A WebSocket has taken the connection over.
        if self.transport.get_protocol() is self and not self.transport.is_closing():
            self.transport.close()


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: the address to listen on.
        port: 0: any that is free.

    Raises:
        UserError: the address is not this machine's, or something else is at work there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{host}:{port}: can't be listened on ({reason}): use another --port, 0 for any"
        ) from None


def make_server(
    application: Application,
    frame_bytes: int,
    certificate: str | None = None,
    key: str | None = None,
) -> uvicorn.Server:
    """Return a server that is ready to run.

    Args:
        application: what answers.
        frame_bytes: largest message of a WebSocket.
        certificate: file of a certificate, for https.
        key: file of its private key.
    """
    config = uvicorn.Config(
        application,
        http=PatientProtocol,
        ws="websockets-sansio",
        # A frame's head comes before its picture.
        ws_max_size=frame_bytes + 64,
        # Pictures are compressed already.
        ws_per_message_deflate=False,
        # What strangers send is no news, and a terminal they could fill. Our own defects are told
        # by the guard.
        log_level="critical",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    return uvicorn.Server(config)
