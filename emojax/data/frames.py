"""The gray frames that a row means: of a picture, a clip's equally spaced ones, single ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from emojax import face, video
from emojax.clip import equally_spaced
from emojax.data.rows import Row
from emojax.errors import UserError
from emojax.picture import read_picture, to_gray

TimedFrame = tuple[float, np.ndarray]
"""Seconds in the container, 0 for a picture; gray, uint8 [height, width]."""

Tell = Callable[[], object]
"""Hears that the work goes on: a long video is not one that its reader hangs over."""

_HELD_BYTES = 96 * 2**20
"""Gray frames kept while a clip is decoded; a longer clip is decoded twice instead."""

_TURNS_TRIED_ON = 5


def read_still(row: Row) -> TimedFrame:
    """Return the row's picture.

    Raises:
        UserError: the file can't be read.
    """
    assert row.path is not None
    return 0.0, _viewed(to_gray(read_picture(row.path)), row)


def read_clip(row: Row, wanted: int, tell: Tell = lambda: None) -> list[TimedFrame]:
    """Return the row's frames: all of a short clip, `wanted` equally spaced ones of a longer.

    Args:
        row: a clip's.
        wanted: frames at most.
        tell: called after each frame that is decoded.

    Raises:
        UserError: the file can't be read, or no frame is in the part that counts.
        BrokenVideoError: it breaks in the middle.
    """
    held: list[TimedFrame] | None = []
    held_bytes = count = 0
    for timestamp, bgr in _span(row, tell):
        count += 1
        if held is not None:
            gray = _viewed(to_gray(bgr), row)
            held.append((timestamp, gray))
            held_bytes += gray.nbytes
            if held_bytes > _HELD_BYTES:
                held = None
    if count == 0:
        raise UserError(f"{row.path}: no frame in the part that is asked for")
    kept = equally_spaced(count, wanted)
    if held is not None:
        return [held[index] for index in kept]
    chosen = set(kept.tolist())
    return [
        (timestamp, _viewed(to_gray(bgr), row))
        for index, (timestamp, bgr) in enumerate(_span(row, tell))
        if index in chosen
    ]


def read_single_frames(
    path: Path, rows: Mapping[int, Sequence[Row]], tell: Tell = lambda: None
) -> Iterator[tuple[Row, TimedFrame]]:
    """Yield each row with its frame, in the video's order; the video is decoded once.

    Args:
        path: of the video.
        rows: by the number of the frame that they mean.
        tell: called after each frame that is decoded.

    Raises:
        UserError: the file can't be read, or ends before the last frame that is asked for.
        BrokenVideoError: it breaks before that.
    """
    last = max(rows)
    number = -1
    for number, timestamp, bgr in video.read_frames(path):
        tell()
        if number in rows:
            gray = to_gray(bgr)
            for row in rows[number]:
                yield row, (timestamp, _viewed(gray, row))
        if number >= last:
            return
    raise UserError(f"{path}: ends after {number + 1} frames, frame {last} is asked for")


def upright_turns(grays: Sequence[np.ndarray], detect: face.Detector) -> int:
    """Return by how many quarter turns, counterclockwise, the faces in some frames stand upright.

    Each way up is tried on a few frames; the one whose faces score highest together
    is taken, the fewest turns where several do: a face that lies on its side is found
    now and then, but by fewer windows of the detector.

    Args:
        grays: frames of one recording, uint8 [height, width].
        detect: finds upright faces.
    """
    sample = [grays[index] for index in equally_spaced(len(grays), _TURNS_TRIED_ON)]

    def score(turns: int) -> float:
        boxes = (face.largest(detect(turn(gray, turns))) for gray in sample)
        return sum(box.confidence for box in boxes if box is not None)

    return max((0, 1, 3, 2), key=score)


def turn(gray: np.ndarray, turns: int) -> np.ndarray:
    """Return a frame after so many quarter turns, counterclockwise."""
    return np.ascontiguousarray(np.rot90(gray, turns)) if turns else gray


def reading_of(row: Row, tell: Tell = lambda: None) -> Callable[[int], list[TimedFrame]]:
    """Return how the frames of a row that stands alone are read, by the number wanted."""
    if row.path is None:
        return lambda _: []
    if row.is_picture:
        return lambda _: [read_still(row)]
    return lambda wanted: read_clip(row, wanted, tell)


def _viewed(gray: np.ndarray, row: Row) -> np.ndarray:
    """Return the half of the frame that counts."""
    if row.view == "whole":
        return gray
    middle = gray.shape[1] // 2
    half = gray[:, :middle] if row.view == "left" else gray[:, middle:]
    return np.ascontiguousarray(half)


def _span(row: Row, tell: Tell) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (seconds, BGR frame) of the part of a clip that counts."""
    assert row.path is not None
    start = 0.0 if row.start_s is None else row.start_s
    for _, timestamp, bgr in video.read_frames(row.path):
        tell()
        if row.end_s is not None and timestamp > row.end_s:
            return
        if timestamp >= start:
            yield timestamp, bgr
