"""A socket, a gate and the application: a running server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any, NamedTuple

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


class Certificate(NamedTuple):
    """What https is served with, in PEM."""

    chain: Path
    """The certificate, and those that vouch for it."""
    key: Path
    """Its private key."""


def check_certificate(given: Certificate) -> None:
    """Refuse a certificate and a key that no server can use, before anything is opened.

    Raises:
        UserError: a file is missing or no PEM, the key is locked, or belongs to another one.
    """
    chain, key = given
    for path in given:
        if not path.is_file():
            raise UserError(f"{path}: no such file, wanted a PEM file")

    def refuse() -> str:
        # Without this OpenSSL would ask at the terminal, and wait.
        raise UserError(
            f"{key}: is locked with a password: unlock it, openssl pkey -in {key} -out plain.pem"
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        try:
            # Of the certificates alone, so that it is known which of the two files is no PEM.
            context.load_verify_locations(chain)
        except ssl.SSLError:
            raise UserError(f"{chain}: holds no certificate in PEM: give another") from None
        context.load_cert_chain(chain, key, refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UserError(f"{key}: is not the key of {chain}: give the one that is") from None
        raise UserError(f"{key}: holds no private key in PEM: give another") from None
    except OSError as error:
        where = error.filename or chain
        raise UserError(f"{where}: can't be read ({error.strerror}): give another") from None


def make_server(
    application: Application, frame_bytes: int, certificate: Certificate | None = None
) -> uvicorn.Server:
    """Return a server that is ready to run.

    Args:
        application: what answers.
        frame_bytes: largest message of a WebSocket.
        certificate: for https; None: http.
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
        ssl_certfile=certificate and str(certificate.chain),
        ssl_keyfile=certificate and str(certificate.key),
    )
    return uvicorn.Server(config)
