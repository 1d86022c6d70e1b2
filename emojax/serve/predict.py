"""`POST /predict`: a picture or a video in, rows out."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator
from typing import Any, Literal, NamedTuple

from fastapi import Request
from fastapi.responses import Response

from emojax.errors import UserError, one_line
from emojax.runtime import Artifact, ClipPredictor, Predictor
from emojax.runtime.heat import FaceHeat
from emojax.runtime.occlusion import HIGHEST, Heat
from emojax.runtime.rows import column_types
from emojax.runtime.sound_heat import SoundHeat
from emojax.runtime.sources import Kind
from emojax.runtime.tables import csv_text
from emojax.serve.body import place_for_upload, read_upload
from emojax.serve.limits import Limits
from emojax.serve.memory_file import memory_file
from emojax.serve.refusal import RefusedError
from emojax.serve.service import Service
from emojax.serve.shelf import Choice
from emojax.serve.sides import OneSided, Side, draw_spectrogram, find_sound_heat
from emojax.serve.uploaded import (
    Uploaded,
    encode_json,
    find_heat,
    kind_of,
    look_at_picture,
    look_at_video,
)
from emojax.video import BrokenVideoError

Form = Literal["json", "csv", "png", "heat"]
"""Rows as JSON, rows as CSV; PNG: a picture's annotated copy, or a video's spectrogram; heat: PNG
of a picture or a sound that shows where the network looks or listens."""

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


class Asked(NamedTuple):
    """What a sender wants to know about a file."""

    form: Form
    """In which form."""
    side: Side = "both"
    """Of a clip: by which side alone."""
    output: str | None = None
    """Of heat: which output is asked about; None: the highest emotion."""


async def answer_upload(
    request: Request, service: Service, choice: Choice, name: str, asked: Asked
) -> Response:
    """Return the answer to a file.

    Raises:
        UserError: it can't be read.
        RefusedError: it is too much, or the wrong form for it.
    """
    found = Uploaded(plain_name(name), asked.form == "csv")
    with place_for_upload(service):
        async with read_upload(request, service) as data:
            check_asked(asked, kind_of(data), service.shelf.artifact(choice), found.name)
            async with service.working:
                with service.shelf.borrow(choice) as predictor:
                    try:
                        if asked.side != "both" and isinstance(predictor, ClipPredictor):
                            predictor = OneSided(predictor, asked.side)
                        work = _look(data, found, predictor, service.limits, asked)
                        await _in_turns(request, service, work)
                    except RefusedError:
                        raise
                    except UserError as error:
                        raise RefusedError(400, one_line(str(error))) from None
        # A hundred thousand rows are not to be joined while all streams stand still.
        artifact = service.shelf.artifact(choice)
        return await service.pool.run(
            object(), lambda: _answer(found, artifact, choice, asked.form)
        )


def check_asked(asked: Asked, kind: Kind, artifact: Artifact, name: str) -> None:
    """Refuse what does not go together, before anything is done.

    Args:
        asked: what is wanted.
        kind: of the file.
        artifact: the model.
        name: of the file.

    Raises:
        RefusedError: a form that there is not for such a file (406), or a setting that says
            nothing here (400).
    """
    looks = artifact.looks
    if asked.form == "png" and kind == "video" and looks == "picture":
        raise RefusedError(406, f"{name}: an annotated copy is of a picture only")
    if asked.form == "heat" and kind == "video" and looks == "picture":
        raise RefusedError(406, f"{name}: this model's heat is of pictures only: send a frame")
    if asked.side != "both" and looks == "picture":
        raise RefusedError(400, f"only={asked.side}: this model looks at pictures: leave it out")
    if asked.side == "frames" and asked.form == "heat":
        raise RefusedError(400, f"{name}: heat is of the sound: leave only=frames out")
    if asked.output is not None and asked.form != "heat":
        raise RefusedError(400, "output: says what heat is about: add form=heat, or leave it out")


def _look(
    data: bytearray,
    found: Uploaded,
    predictor: Predictor | ClipPredictor,
    limits: Limits,
    asked: Asked,
) -> Generator[None, None, None]:
    """Do what is asked about a file, some of it at a time: whoever asks for the next decides when.

    Args:
        data: the file; is emptied once its bytes lie where they are read.
        found: takes what is found.
        predictor: finds the faces and runs the network.
        limits: how long and how large it may be.
        asked: what is wanted.

    Raises:
        UserError: it can't be read, or the network has no such output.
        RefusedError: it is too much, or nothing for this network.
    """
    wanted = HIGHEST if asked.output is None else asked.output
    if kind_of(data) == "picture":
        if not isinstance(predictor, Predictor):
            raise RefusedError(
                400, f"{found.name}: this model looks at clips: send a video, or choose another"
            )
        picture = bytes(data)
        data.clear()
        if asked.form == "heat":
            yield from find_heat(picture, found, predictor, limits, wanted)
        else:
            look_at_picture(picture, found, predictor, limits, asked.form == "png")
        return
    with memory_file(data) as path:
        data.clear()
        yield
        try:
            if isinstance(predictor, Predictor) or asked.form not in ("png", "heat"):
                yield from look_at_video(path, found, predictor, limits)
            elif asked.form == "heat":
                yield from find_sound_heat(path, found, predictor, limits, wanted)
            else:
                found.copy = draw_spectrogram(path, predictor, found.name, limits)
        except RefusedError:
            raise
        except BrokenVideoError as error:
            found.problem = _said(error, path, found.name)
            if not found.rows:
                raise UserError(found.problem) from None
        except UserError as error:
            raise UserError(_said(error, path, found.name)) from None


async def _in_turns(request: Request, service: Service, work: Generator[None, None, None]) -> None:
    """Do work piece by piece, a turn each: what takes long leaves the others theirs.

    Raises:
        RefusedError: the sender has left.
    """
    client = object()
    try:
        while await service.pool.run(client, lambda: next(work, work)) is not work:
            if await request.is_disconnected():
                raise RefusedError(400, "the sender left in the middle")
    finally:
        # Not while a thread is inside it: then it ends with that thread's work.
        with contextlib.suppress(ValueError):
            work.close()


def _said(error: Exception, path: Any, name: str) -> str:
    # Where its bytes lay here means nothing to the sender.
    return one_line(str(error).replace(str(path), name))


def _told(heat: Heat) -> dict[str, Any]:
    """Return what heat says, for those who can't see it."""
    told = {"output": heat.output, "whole": round(heat.whole, 4), "least": round(heat.least, 4)}
    if isinstance(heat, FaceHeat):
        return {"face_id": heat.face_id, **told}
    if isinstance(heat, SoundHeat):
        return {"window": [round(end_s, 3) for end_s in heat.window_s], **told}
    return told


def _answer(found: Uploaded, artifact: Artifact, choice: Choice, form: Form) -> Response:
    columns = column_types(artifact.spec)
    headers = {"Emojax-Model": choice.model, "Emojax-Precision": choice.precision}
    if found.problem is not None:
        headers["Emojax-Problem"] = found.problem
    headers = {
        name: value.encode("ascii", "backslashreplace").decode() for name, value in headers.items()
    }
    if found.heat is not None:
        headers["Emojax-Heat"] = json.dumps([_told(one) for one in found.heat])
    if form in ("png", "heat"):
        return Response(found.copy, media_type="image/png", headers=headers)
    if form == "csv":
        content = b"".join([csv_text(columns, []).encode(), *found.rows])
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)
    before = encode_json({**choice._asdict(), "columns": list(columns)})[:-1]
    rows = b",".join(found.rows)
    found.rows.clear()
    after = encode_json(found.problem)
    content = b"".join([before, b',"rows":[', rows, b'],"problem":', after, b"}"])
    return Response(content, media_type="application/json", headers=headers)
