"""The frames of one stream -> rows, one frame after the other."""

from __future__ import annotations

import dataclasses
import math
import struct
import time
from pathlib import Path
from typing import Any, NamedTuple

from emojax.errors import UserError
from emojax.face import to_gray
from emojax.following import FaceFollower
from emojax.picture import decode_picture, picture_size
from emojax.runtime import Predictor
from emojax.runtime.process import rows_of
from emojax.runtime.rows import Seen, column_types
from emojax.runtime.sources import Frame
from emojax.runtime.tables import csv_cells
from emojax.runtime.tracking import FaceTracker, Smoother
from emojax.serve.predict import plain_name
from emojax.serve.refusal import RefusedError
from emojax.serve.service import Service
from emojax.serve.shelf import Choice
from emojax.serve.uploaded import check_pixels

_HEAD = struct.Struct("<Id")
"""Before each frame's picture: its number, and when it was taken, in seconds."""

_LONGEST_S = 1e9


class SentFrame(NamedTuple):
    """A frame as it came."""

    number: int
    """From 0, as the sender counts."""
    timestamp_s: float
    """When it was taken, in seconds."""
    picture: bytes
    """A JPEG; or gray as it is, as a PGM."""


def read_frame(message: bytes) -> SentFrame:
    """Return what a message holds.

    Raises:
        RefusedError: too short for its head, or a time that is none (400).
    """
    if len(message) <= _HEAD.size:
        raise RefusedError(
            400, f"{len(message)} bytes: wanted a number, a time (12 bytes) and a JPEG"
        )
    number, timestamp_s = _HEAD.unpack_from(message)
    if not 0 <= timestamp_s <= _LONGEST_S:
        raise RefusedError(400, f"frame {number}: its time is {timestamp_s} s: wanted 0 or more")
    return SentFrame(number, timestamp_s, message[_HEAD.size :])


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a stream asks for."""

    choice: Choice
    """The model and its precision."""
    name: str = "camera"
    """What stands in the rows as the file."""
    detect_every: int = 1
    """One frame of so many is searched whole for faces."""
    smooth_s: float = 0.0
    """Time constant of the average over a face's probabilities; 0: none."""


def first_wanted(service: Service) -> Wanted:
    """Return what a stream that asks for nothing gets: the first model that looks at pictures.

    Args:
        service: has the models.

    Raises:
        RefusedError: there is none (400).
    """
    shelf = service.shelf
    for choice in map(shelf.choose, shelf.names):
        if shelf.artifact(choice).looks == "picture":
            return Wanted(choice, detect_every=service.detect_every)
    raise _looks_at_clips(shelf.names[0])


def _looks_at_clips(model: str) -> RefusedError:
    return RefusedError(
        400, f"{model} looks at clips, and a stream is single frames: send it a video"
    )


def read_wanted(fields: Any, before: Wanted, service: Service) -> Wanted:
    """Return what a stream asks for from now on.

    Args:
        fields: `model`, `precision`, `name`, `detect_every`, `smooth`; what is missing stays.
        before: what was asked for until now.
        service: has the models.

    Raises:
        RefusedError: an unknown field or model, or a value out of range (400, 404).
    """
    known = {"model", "precision", "name", "detect_every", "smooth"}
    if not isinstance(fields, dict) or set(fields) - known:
        raise RefusedError(400, f"settings: wanted an object of {', '.join(sorted(known))}")
    model, precision = fields.get("model", before.choice.model), fields.get("precision")
    if precision is None and model == before.choice.model:
        precision = before.choice.precision
    if not isinstance(model, str) or not isinstance(precision, str | None):
        raise RefusedError(400, "model and precision: wanted names")
    every = fields.get("detect_every", before.detect_every)
    if type(every) is not int or not 1 <= every <= 100:
        raise RefusedError(400, "detect_every: wanted a whole number, 1..100")
    smooth = fields.get("smooth", before.smooth_s)
    if type(smooth) not in (int, float) or not 0 <= smooth <= 60 or not math.isfinite(smooth):
        raise RefusedError(400, "smooth: wanted seconds, 0..60")
    name = fields.get("name", before.name)
    if not isinstance(name, str):
        raise RefusedError(400, "name: wanted a text")
    choice = service.shelf.choose(model, precision)
    if service.shelf.artifact(choice).looks != "picture":
        raise _looks_at_clips(model)
    return Wanted(choice, plain_name(name), every, float(smooth))


class Watching:
    """What a stream was seen to show so far: who is who, and their averages."""

    def __init__(self, service: Service, wanted: Wanted) -> None:
        """Start with nobody in view.

        Args:
            service: has the models.
            wanted: what the stream asks for.
        """
        self._service = service
        self._tracker = FaceTracker()
        self.change(wanted)

    def change(self, wanted: Wanted) -> None:
        """Do something else from the next frame on; faces keep their ids."""
        self.wanted = wanted
        detector = self._service.shelf.artifact(wanted.choice).detector
        self._find = FaceFollower(detector, wanted.detect_every)
        self._smoother = Smoother(wanted.smooth_s)

    def tell(self) -> dict[str, Any]:
        """Return the message that says what the rows of the next frames hold."""
        artifact = self._service.shelf.artifact(self.wanted.choice)
        return {
            "type": "model",
            **self.wanted.choice._asdict(),
            "columns": list(column_types(artifact.spec)),
            "action_units": list(artifact.spec.action_units),
            "emotions": list(artifact.spec.emotions),
            "notice": artifact.notice,
        }

    def look(self, sent: SentFrame) -> dict[str, Any]:
        """Return the message with a frame's rows, as they stand in a CSV file.

        Raises:
            UserError: the picture can't be read.
            RefusedError: it has too many pixels.
        """
        began_s = time.perf_counter()
        size = picture_size(sent.picture)
        if size is not None:
            check_pixels(*size, self._service.limits)
        picture = decode_picture(sent.picture, f"frame {sent.number}")
        frame = Frame(Path(self.wanted.name), sent.number, sent.timestamp_s, picture)
        gray = to_gray(picture)
        boxes = self._find(gray)
        face_ids = self._tracker.update(boxes, sent.timestamp_s)
        with self._service.shelf.borrow(self.wanted.choice) as predictor:
            assert isinstance(predictor, Predictor), "read_wanted lets no other through"
            faces = predictor.predict_faces(gray, boxes)
            faces = self._smoother.smooth(faces, face_ids, sent.timestamp_s)
            rows = rows_of(Seen(frame, faces, face_ids), predictor)
        return {
            "type": "result",
            "frame": sent.number,
            "timestamp": sent.timestamp_s,
            "width": picture.shape[1],
            "height": picture.shape[0],
            "rows": [csv_cells(row) for row in rows],
            "took_ms": round(1e3 * (time.perf_counter() - began_s), 2),
        }


def complain(sent: SentFrame, error: UserError) -> dict[str, Any]:
    """Return the message for a frame that can't be answered."""
    return {"type": "error", "frame": sent.number, "detail": str(error)}
