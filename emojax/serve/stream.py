"""`WS /stream`: frames in, rows out; what can't be kept up with is dropped, never queued.

At most one frame is worked on and one waits. A newer one takes the waiting one's place, and its
sender is told, so that what is shown is never older than two frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from emojax.errors import UserError, one_line
from emojax.serve.refusal import RefusedError
from emojax.serve.service import Service
from emojax.serve.watching import (
    SentFrame,
    Wanted,
    Watching,
    complain,
    first_wanted,
    read_frame,
    read_wanted,
)

_SEND_S = 10.0
"""For how long a receiver may take no answer."""

_LONGEST_SETTINGS = 4096

# Codes of the WebSocket protocol, RFC 6455 and its registry.
_BROKEN, _AWAY = 1008, 1001


class _Stream:
    """One stream: what came and waits, and what was last asked for."""

    def __init__(self, websocket: WebSocket, service: Service, first: Wanted) -> None:
        self.websocket = websocket
        self.service = service
        self.watching: Watching | None = None
        self.first = first
        self.waiting: SentFrame | None = None
        self.wanted: Wanted | None = None
        self.dropped = 0
        self.news = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        async with asyncio.timeout(_SEND_S):
            await self.websocket.send_text(json.dumps(message))

    async def receive(self) -> None:
        """Take what comes, until the sender leaves or sends no frame for too long."""
        asked = self.first
        now_s, idle_s = asyncio.get_running_loop().time, self.service.limits.idle_seconds
        deadline_s = now_s() + idle_s
        while True:
            # Settings do not move it: who sends nothing else would hold the place for ever.
            async with asyncio.timeout_at(deadline_s):
                message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code") or 1000)
            if (data := message.get("bytes")) is not None:
                sent = read_frame(data)
                if self.waiting is not None:
                    self.dropped += 1
                    await self.send(
                        {
                            "type": "dropped",
                            "frame": self.waiting.number,
                            "dropped": self.dropped,
                        }
                    )
                self.waiting = sent
                deadline_s = now_s() + idle_s
            else:
                asked = self.wanted = read_wanted(_settings(message["text"]), asked, self.service)
            self.news.set()

    async def work(self) -> None:
        """Answer frames, each in its turn."""
        await self._change()
        while True:
            await self.news.wait()
            self.news.clear()
            await self._change()
            if self.waiting is None or self.watching is None:
                continue
            sent, self.waiting = self.waiting, None
            look = functools.partial(self.watching.look, sent)
            try:
                answer = await self.service.pool.run(self, look)
            except UserError as error:
                await self.send(complain(sent, error))
            else:
                await self.send({**answer, "dropped": self.dropped})
            if self.waiting is not None:
                self.news.set()

    async def _change(self) -> None:
        """Begin, or do what was asked for meanwhile: never while a frame is worked on."""
        wanted, self.wanted = self.wanted, None
        if self.watching is None:
            self.watching = Watching(self.service, wanted or self.first)
        elif wanted is not None:
            self.watching.change(wanted)
        else:
            return
        await self.send(self.watching.tell())


def _settings(text: str) -> Any:
    if len(text) > _LONGEST_SETTINGS:
        raise RefusedError(400, f"settings: wanted {_LONGEST_SETTINGS} letters at most")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RefusedError(400, "settings: no JSON") from None


async def serve_stream(websocket: WebSocket, service: Service) -> None:
    """Answer one stream until either side ends it, and free its place.

    Args:
        websocket: not accepted yet.
        service: what all streams share.
    """
    limit = service.limits.sessions
    if service.streams >= limit:
        detail = f"all {limit} places are taken: close another tab, or try again later"
        answer = JSONResponse({"detail": detail}, 429, {"Retry-After": "5"})
        await websocket.send_denial_response(answer)
        return
    service.streams += 1
    try:
        await websocket.accept()
        try:
            first = first_wanted(service)
        except RefusedError as error:
            # Once it is open: a browser shows no reason why a stream was not opened.
            await _close(websocket, error, service)
            return
        await _serve(_Stream(websocket, service, first))
    finally:
        service.streams -= 1


async def _serve(stream: _Stream) -> None:
    tasks = [asyncio.create_task(stream.receive()), asyncio.create_task(stream.work())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [error for error in ended if isinstance(error, Exception)]
    for error in errors:
        await _close(stream.websocket, error, stream.service)
        if not isinstance(error, UserError | TimeoutError | WebSocketDisconnect | RuntimeError):
            raise error


async def _close(websocket: WebSocket, error: Exception, service: Service) -> None:
    code, words = _farewell(error, service)
    # The other side may be gone already.
    with contextlib.suppress(RuntimeError, OSError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(_SEND_S):
            await websocket.close(code, words.encode()[:120].decode(errors="ignore"))


def _farewell(error: Any, service: Service) -> tuple[int, str]:
    if isinstance(error, UserError):
        return _BROKEN, one_line(str(error))
    if isinstance(error, TimeoutError):
        seconds = service.limits.idle_seconds
        return (
            _AWAY,
            f"no frame came or no answer was taken for {seconds:g} s: the place is free again",
        )
    return _AWAY, "ended"
