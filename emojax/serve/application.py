"""The server's addresses, and what answers at each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from emojax.errors import one_line
from emojax.serve.card import describe_artifact, describe_precision
from emojax.serve.guard import Application, Gate, make_guard
from emojax.serve.predict import Asked, Form, answer_upload, choose_form
from emojax.serve.refusal import RefusedError
from emojax.serve.service import Service
from emojax.serve.sides import Side
from emojax.serve.stream import serve_stream
from emojax.version import __version__

PAGE = Path(__file__).resolve().parent / "page"
"""The page, as the browser gets it: nothing is built."""

_DESCRIPTION = """What a face shows, as action units and emotions. Nothing that is sent is kept.

`WS /stream` is not listed below: send binary messages, each a frame's number (4 bytes, unsigned,
little endian), its time in seconds (8 bytes, float64, little endian) and a JPEG, or gray as it is
as a PGM; have at most two on the way. Answers are JSON, their rows in the order of `columns`. A
text message changes settings: {"model", "precision", "name", "detect_every", "smooth"}.
"""


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {
        "type": "object",
        "properties": {"detail": {"type": "string"}},
        "required": ["detail"],
    }
    why = {
        400: "what was sent can't be read",
        401: "the token is missing or wrong",
        403: "another page's script asks",
        404: "no such model",
        406: "no form that is accepted",
        408: "the file came too slowly",
        413: "too many bytes, pixels or rows, or too long",
        421: "Host is not this server",
        422: "a value in the address is none",
        429: "too much at once",
    }
    content = {"application/json": {"schema": schema}}
    return {status: {"description": why[status], "content": content} for status in statuses}


_ROWS: dict[str, Any] = {
    "description": "one row for each face, and one for each frame without",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["model", "precision", "columns", "rows", "problem"],
                "properties": {
                    "model": {"type": "string"},
                    "precision": {"type": "string"},
                    "columns": {"type": "array", "items": {"type": "string"}},
                    "rows": {"type": "array", "items": {"type": "object"}},
                    "problem": {"type": ["string", "null"]},
                },
            }
        },
        "text/csv": {"schema": {"type": "string"}},
        "image/png": {"schema": {"type": "string", "format": "binary"}},
    },
}
_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "the bytes of a picture or a video, as they are",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def make_application(service: Service, gate: Gate) -> Application:
    """Return the server as an ASGI application.

    Args:
        service: what its requests share.
        gate: what a request has to bring.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.pool.close()

    # The pages that FastAPI makes for its description load scripts from another host.
    app = FastAPI(
        title="emojax",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        headers = {"Retry-After": "2"} if error.status == 429 else None
        # A sender that is refused in the middle of its file is not listened to any further.
        return JSONResponse({"detail": one_line(str(error))}, error.status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        return JSONResponse({"detail": one_line(said)}, 422)

    @app.post(
        "/predict",
        summary="A picture or a video in, rows out",
        response_class=Response,
        responses={200: _ROWS, **_refusals(400, 401, 403, 404, 406, 408, 413, 421, 422, 429)},
        openapi_extra=_FILE,
    )
    async def predict(
        request: Request,
        name: str = Query("upload", max_length=500, description="stands in the rows as the file"),
        model: str | None = Query(None, description="of GET /model; unset: the first"),
        precision: str | None = Query(None, description="unset: what the model names"),
        form: Annotated[
            Form | None,
            Query(
                description="unset: what Accept names; png: annotated copy; heat: where the "
                "network looks in a picture or listens in a sound, as PNG; in figures in the "
                "header Emojax-Heat"
            ),
        ] = None,
        only: Annotated[
            Side, Query(description="of a clip give the network its frames or its sound alone")
        ] = "both",
        output: str | None = Query(
            None,
            max_length=40,
            description="of form=heat: an emotion or an action unit such as AU12; unset: the "
            "highest emotion, of each face its own",
        ),
    ) -> Response:
        choice = service.shelf.choose(model, precision)
        wanted = choose_form(form, request.headers.get("accept", ""))
        asked = Asked(wanted, only, output)
        return await answer_upload(request, service, choice, name, asked)

    @app.get("/model", summary="The models, and what they are worth", responses=_refusals(401, 403))
    async def model() -> dict[str, Any]:
        return {"models": describe_shelf(service), "limits": describe_limits(service)}

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await serve_stream(websocket, service)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "api.html")

    app.mount("/page", StaticFiles(directory=PAGE))
    return make_guard(app, gate)


def describe_shelf(service: Service) -> list[dict[str, Any]]:
    """Return each model with what it says about itself, the default first."""
    shelf = service.shelf
    return [
        {
            "name": name,
            **describe_artifact(shelf.artifact(shelf.choose(name))),
            "precisions": [
                describe_precision(shelf.artifact(shelf.choose(name, precision)))
                for precision in shelf.precisions(name)
            ],
        }
        for name in shelf.names
    ]


def describe_limits(service: Service) -> dict[str, Any]:
    """Return how much is taken, and how many places are."""
    limits = service.limits
    return {
        "picture_bytes": limits.picture_bytes,
        "video_bytes": limits.video_bytes,
        "pixels": limits.pixels,
        "video_seconds": limits.video_seconds,
        "video_rows": limits.video_rows,
        "frame_bytes": limits.frame_bytes,
        "sessions": limits.sessions,
        "sessions_taken": service.streams,
    }
