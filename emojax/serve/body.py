"""A request's body -> bytes, with an end to what it may weigh and how long it may take."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from emojax.picture import picture_kind
from emojax.serve.refusal import RefusedError
from emojax.serve.service import Service

_SILENCE_S = 15.0
"""For how long a sender may say nothing in the middle of a file."""

_HEAD = 16
"""Bytes that tell a picture from a video."""


@contextlib.contextmanager
def place_for_upload(service: Service) -> Iterator[None]:
    """Hold one of the places for files.

    Raises:
        RefusedError: all are taken (429).
    """
    limit = service.limits.uploads
    if service.uploads >= limit:
        raise RefusedError(429, f"{limit} files are being read: try again in a moment")
    service.uploads += 1
    try:
        yield
    finally:
        service.uploads -= 1


@contextlib.asynccontextmanager
async def read_upload(request: Request, service: Service) -> AsyncIterator[bytearray]:
    """Yield the file that a request sends; it counts as held, once, until the context ends.

    Nothing else holds its bytes: who copies them empties the array, or they are held twice.

    Raises:
        RefusedError: too large (413), too slow (408), too much at once (429), or nothing (400).
    """
    limits = service.limits
    held = 0
    data = bytearray()
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.video_bytes:
        raise _too_large(int(declared), limits.video_mb, "a file")
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in _chunks(request):
                data += chunk
                held += len(chunk)
                service.upload_bytes += len(chunk)
                if picture_kind(bytes(data[:_HEAD])) is not None:
                    if len(data) > limits.picture_bytes:
                        raise _too_large(len(data), limits.picture_mb, "a picture")
                elif len(data) > limits.video_bytes:
                    raise _too_large(len(data), limits.video_mb, "a file")
                if service.upload_bytes > 2 * limits.video_bytes:
                    raise RefusedError(429, "too many large files at once: try again in a moment")
        if not data:
            raise RefusedError(400, "an empty body: send a picture's or a video's bytes")
        yield data
    except TimeoutError:
        raise RefusedError(
            408,
            f"{held} bytes came in {limits.upload_seconds:g} s, and no end: send it faster",
        ) from None
    finally:
        service.upload_bytes -= held


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(_SILENCE_S):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise RefusedError(408, f"nothing came for {_SILENCE_S:g} s: send it again") from None
        except ClientDisconnect:
            raise RefusedError(400, "the sender left in the middle") from None
        if chunk is None:
            return
        yield chunk


def _too_large(found: int, limit_mb: float, what: str) -> RefusedError:
    return RefusedError(
        413, f"{found} bytes or more, wanted {what} of {limit_mb:g} MB at most: make it smaller"
    )
