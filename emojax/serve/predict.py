"""`POST /predict`: a picture or a video in, rows out."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from emojax.errors import UserError, one_line
from emojax.runtime import ClipPredictor, Predictor
from emojax.runtime.rows import column_types
from emojax.runtime.tables import csv_text, plain_row
from emojax.serve.body import place_for_upload, read_upload
from emojax.serve.memory_file import memory_file
from emojax.serve.refusal import RefusedError
from emojax.serve.service import Service
from emojax.serve.shelf import Choice
from emojax.serve.sides import OneSided, Side, draw_spectrogram
from emojax.serve.uploaded import (
    Uploaded,
    check_header,
    kind_of,
    look_at_picture,
    look_at_video,
)
from emojax.video import BrokenVideoError

Form = Literal["json", "csv", "png"]
"""Rows as JSON, rows as CSV; PNG: a picture's annotated copy, or a video's spectrogram."""

LONGEST_NAME = 200
"""Letters of a file's name that are kept."""

_FORM_OF_TYPE: dict[str, Form] = {
    "application/json": "json",
    "text/csv": "csv",
    "image/png": "png",
    "*/*": "json",
    "application/*": "json",
    "text/*": "csv",
    "image/*": "png",
}


def choose_form(asked: Form | None, accept: str) -> Form:
    """Return the form of an answer: what the address asks for, else what the sender accepts.

    Args:
        asked: in the address.
        accept: the header; the first type in it that can be had counts.

    Raises:
        RefusedError: none of what is accepted can be had (406).
    """
    if asked is not None:
        return asked
    types = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    for name in types:
        if name in _FORM_OF_TYPE:
            return _FORM_OF_TYPE[name]
    if types == [""]:
        return "json"
    raise RefusedError(406, "no form that is accepted: use application/json, text/csv or image/png")


def plain_name(name: str) -> str:
    """Return a file's name without folders and without what is no letter on a screen."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(letter if letter.isprintable() else "_" for letter in last)[:LONGEST_NAME] or "_"


async def answer_upload(
    request: Request,
    service: Service,
    choice: Choice,
    name: str,
    form: Form,
    side: Side = "both",
) -> Response:
    """Return the answer to a file.

    Raises:
        UserError: it can't be read.
        RefusedError: it is too much, or the wrong form for it.
    """
    found = Uploaded(plain_name(name))
    with place_for_upload(service):
        async with read_upload(request, service) as data:
            kind = kind_of(data)
            looks = service.shelf.artifact(choice).looks
            if form == "png" and kind == "video" and looks == "picture":
                raise RefusedError(406, f"{found.name}: an annotated copy is of a picture only")
            if side != "both" and looks == "picture":
                raise RefusedError(400, f"only={side}: this model looks at pictures: leave it out")
            async with service.working:
                with service.shelf.borrow(choice) as predictor:
                    try:
                        if side != "both" and isinstance(predictor, ClipPredictor):
                            predictor = OneSided(predictor, side)
                        await _look(request, service, data, found, predictor, form)
                    except RefusedError:
                        raise
                    except UserError as error:
                        raise RefusedError(400, one_line(str(error))) from None
    return _answer(found, service, choice, form)


async def _look(
    request: Request,
    service: Service,
    data: bytes,
    found: Uploaded,
    predictor: Predictor | ClipPredictor,
    form: Form,
) -> None:
    limits, client = service.limits, object()
    if kind_of(data) == "picture":
        if not isinstance(predictor, Predictor):
            raise RefusedError(
                400, f"{found.name}: this model looks at clips: send a video, or choose another"
            )
        one: Predictor = predictor
        await service.pool.run(
            client, lambda: look_at_picture(data, found, one, limits, form == "png")
        )
        return
    with memory_file(data) as path:
        if form == "png" and isinstance(predictor, ClipPredictor):
            hears: ClipPredictor = predictor
            check_header(path, limits)
            found.copy = await service.pool.run(
                client, lambda: draw_spectrogram(path, hears, found.name)
            )
            return
        frames = look_at_video(path, found, predictor, limits)
        try:
            # A frame a turn: a long video leaves the others theirs.
            while await service.pool.run(client, lambda: next(frames, frames)) is not frames:
                if await request.is_disconnected():
                    raise RefusedError(400, "the sender left in the middle")
        except BrokenVideoError as error:
            found.problem = _said(error, path, found.name)
            if not found.rows:
                raise UserError(found.problem) from None
        except UserError as error:
            if isinstance(error, RefusedError):
                raise
            raise UserError(_said(error, path, found.name)) from None
        finally:
            # Not while a thread is inside it: then it ends with that thread's work.
            with contextlib.suppress(ValueError):
                frames.close()


def _said(error: Exception, path: Any, name: str) -> str:
    # Where its bytes lay here means nothing to the sender.
    return one_line(str(error).replace(str(path), name))


def _answer(found: Uploaded, service: Service, choice: Choice, form: Form) -> Response:
    columns = column_types(service.shelf.artifact(choice).spec)
    headers = {"Emojax-Model": choice.model, "Emojax-Precision": choice.precision}
    if found.problem is not None:
        headers["Emojax-Problem"] = found.problem.encode("ascii", "backslashreplace").decode()
    headers = {
        name: value.encode("ascii", "backslashreplace").decode() for name, value in headers.items()
    }
    if form == "png":
        return Response(found.copy, media_type="image/png", headers=headers)
    if form == "csv":
        content = csv_text(columns, found.rows).encode("utf-8", "backslashreplace")
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)
    return JSONResponse(
        {
            "model": choice.model,
            "precision": choice.precision,
            "columns": list(columns),
            "rows": [plain_row(row) for row in found.rows],
            "problem": found.problem,
        },
        headers=headers,
    )
