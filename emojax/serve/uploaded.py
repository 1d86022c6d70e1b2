"""A file that was sent -> its rows, the same that `emojax predict` writes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator, Sequence
from pathlib import Path

import cv2
import numpy as np

from emojax.picture import decode_picture, picture_kind, picture_size
from emojax.runtime import Artifact, ClipPredictor, Predictor
from emojax.runtime.drawing import annotate, make_layout
from emojax.runtime.heat import draw_heat, look_for_heat
from emojax.runtime.looking import Looking, look, look_at
from emojax.runtime.occlusion import Heat
from emojax.runtime.process import rows_of
from emojax.runtime.rows import Row, Seen
from emojax.runtime.sources import Frame, Kind, Source
from emojax.runtime.tables import csv_text, plain_row
from emojax.serve.limits import Limits
from emojax.serve.refusal import RefusedError
from emojax.video import is_sound_alone, open_container, read_info

_MOST_COLUMNS = 4
"""Faces with bars in an annotated copy, as in those of `emojax predict`."""


@dataclasses.dataclass
class Uploaded:
    """What was found so far in a file that was sent."""

    name: str
    """What the sender calls it."""
    as_csv: bool = False
    """Whether its rows are lines of a CSV file; else they are JSON objects."""
    rows: list[bytes] = dataclasses.field(default_factory=list)
    """One for each face, and one for each frame without, as text: a quarter of what they weigh as
    objects, and no work is left for the end."""
    problem: str | None = None
    """Of a video that broke in the middle: where, and why."""
    copy: bytes | None = None
    """PNG of the annotated copy of a picture, where it is wanted."""
    heat: Sequence[Heat] | None = None
    """What covering shows of a picture's faces or of a sound, where it is wanted."""


def kind_of(data: bytes | bytearray) -> Kind:
    """Return what a file is taken for, after its first bytes."""
    return "video" if picture_kind(bytes(data[:16])) is None else "picture"


def add_rows(found: Uploaded, rows: Sequence[Row]) -> None:
    """Add rows as they stand in the answer.

    Args:
        found: takes them.
        rows: of a frame.
    """
    # The column says what the sender calls the file, not where its bytes lie here.
    named = [{**row, "file": found.name} for row in rows]
    found.rows += [_csv_line(row) if found.as_csv else encode_json(plain_row(row)) for row in named]


def _csv_line(row: Row) -> bytes:
    # Without the line of names, which is empty here.
    return csv_text({}, [row])[1:].encode("utf-8", "backslashreplace")


def encode_json(value: object) -> bytes:
    """Return a value as JSON, without spaces."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half a character becomes its escape, which JSON has too.
    return text.encode("utf-8", "backslashreplace")


def check_pixels(width: int, height: int, limits: Limits) -> None:
    """Refuse what would be too large once it is decoded.

    Raises:
        RefusedError: it would be (413).
    """
    if width * height > limits.pixels:
        raise RefusedError(
            413,
            f"{width} x {height} pixels, wanted {limits.megapixels:g} million at most: "
            "make it smaller",
        )


def read_bounded(data: bytes, name: str, limits: Limits) -> np.ndarray:
    """Return a picture, blue, green, red, uint8 [height, width, 3], decoded only if it may be.

    Raises:
        UserError: it can't be read.
        RefusedError: it has too many pixels (413).
    """
    size = picture_size(data)
    if size is not None:
        check_pixels(*size, limits)
    return decode_picture(data, name)


def look_at_picture(
    data: bytes, found: Uploaded, predictor: Predictor, limits: Limits, draw: bool
) -> None:
    """Add a picture's rows, and its annotated copy where it is wanted.

    Args:
        data: the file.
        found: takes them.
        predictor: finds the faces and runs the network.
        limits: how large it may be.
        draw: make the annotated copy.

    Raises:
        UserError: it can't be read.
        RefusedError: it has too many pixels.
    """
    frame = Frame(Path(found.name), 0, 0.0, read_bounded(data, found.name, limits))
    for seen in look([frame], predictor, Looking()):
        add_rows(found, rows_of(seen, predictor))
        if draw:
            found.copy = draw_copy(seen, predictor.artifact)


def find_heat(
    data: bytes, found: Uploaded, predictor: Predictor, limits: Limits, wanted: str
) -> Generator[None, None, None]:
    """Add a copy of a picture that shows where the network looks, some squares at a time.

    Args:
        data: the file.
        found: takes it.
        predictor: finds the faces and runs the network.
        limits: how large it may be.
        wanted: an output's name, or `occlusion.HIGHEST`.

    Raises:
        UserError: it can't be read, or the network has no such output.
        RefusedError: it has too many pixels.
    """
    picture = read_bounded(data, found.name, limits)
    boxes, faces = yield from look_for_heat(picture, predictor, wanted)
    found.heat = faces
    found.copy = encode_png(draw_heat(picture, boxes, faces, predictor))


def draw_copy(seen: Seen, artifact: Artifact) -> bytes:
    """Return the annotated copy of a picture as PNG, as `emojax predict` writes it."""
    height, width = seen.frame.picture.shape[:2]
    columns = min(max(len(seen.faces), 1), _MOST_COLUMNS)
    layout = make_layout(width, height, artifact.spec, columns, artifact.notice)
    copy = annotate(
        *(seen.frame.picture, seen.faces, seen.face_ids),
        *(artifact.spec, artifact.thresholds, layout),
    )
    return encode_png(copy)


def encode_png(picture: np.ndarray) -> bytes:
    """Return a picture as PNG."""
    return cv2.imencode(".png", picture)[1].tobytes()


def look_at_video(
    path: Path, found: Uploaded, predictor: Predictor | ClipPredictor, limits: Limits
) -> Generator[None, None, None]:
    """Add a video's rows frame by frame; whoever asks for the next decides when.

    Of a sound without pictures, for a network that listens: window by window.

    Args:
        path: where its bytes can be read.
        found: takes the rows.
        predictor: finds the faces and runs the network.
        limits: how long and how large it may be, and how many rows it may have.

    Raises:
        UserError: it can't be read.
        RefusedError: too many pixels or rows, or too long (413).
    """
    has_video = check_header(path, limits)
    hears = isinstance(predictor, ClipPredictor) and predictor.hears
    source = Source(path, "sound" if hears and not has_video else "video")
    read = 0

    def count(frames: int) -> None:
        # Each is a row at least. Of a network for clips they gather until a clip is over.
        nonlocal read
        read += frames
        check_rows(read, limits)

    for seen in look_at(source, predictor, Looking(), count):
        check_length(seen.frame.timestamp_s, limits)
        if seen.frame.picture.size:
            check_pixels(seen.frame.picture.shape[1], seen.frame.picture.shape[0], limits)
        rows = rows_of(seen, predictor)
        # What still comes of the clips after too many frames is not worth the work.
        check_rows(max(read, len(found.rows) + len(rows)), limits)
        add_rows(found, rows)
        yield


def check_header(path: Path, limits: Limits) -> bool:
    """Return whether there are pictures; refuse a header that promises too much, undecoded.

    Raises:
        UserError: it can't be read.
        RefusedError: too many pixels, or too long (413).
    """
    # Whatever its cover is: that is a video stream of one picture.
    if is_sound_alone(path):
        return False
    with open_container(path, "a picture or a video") as container:
        has_video = bool(container.streams.video)
    if has_video:
        info = read_info(path)
        check_pixels(info.width, info.height, limits)
        check_length(info.duration_s or 0.0, limits)
    return has_video


def check_length(seconds: float, limits: Limits) -> None:
    """Refuse what takes too long.

    Raises:
        RefusedError: it does (413).
    """
    if seconds > limits.video_seconds:
        raise RefusedError(
            413, f"{seconds:.0f} s or more, wanted {limits.video_seconds:g} s at most: cut it"
        )


def check_rows(count: int, limits: Limits) -> None:
    """Refuse what has too many rows.

    Raises:
        RefusedError: it has (413).
    """
    if count > limits.video_rows:
        raise RefusedError(
            413,
            f"{count} rows or more, one for each face of each frame, wanted {limits.video_rows} "
            "at most: cut it, or send fewer frames a second",
        )
