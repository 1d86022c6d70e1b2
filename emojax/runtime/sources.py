"""Paths -> the pictures, videos and cameras that they lead to, and their frames."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from emojax.camera import camera_number, open_camera
from emojax.errors import UserError
from emojax.files import require_file
from emojax.picture import PICTURE_SUFFIXES, picture_kind, read_picture
from emojax.video import SOUND_SUFFIXES, VIDEO_SUFFIXES, read_frames

Kind = Literal["picture", "video", "sound", "camera"]
"""What a path is taken for."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One file to read, or a camera."""

    path: Path
    """Where it is; a camera's number or device."""
    kind: Kind
    """What it is, after its content or its name."""

    @property
    def stem(self) -> str:
        """What files about it are called, without a suffix."""
        number = camera_number(str(self.path)) if self.kind == "camera" else None
        return self.path.stem if number is None else f"camera{number}"


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture, or one frame of a video or camera."""

    path: Path
    """The file that it comes from."""
    number: int
    """From 0 within its file."""
    timestamp_s: float
    """When it is shown, in seconds; 0 for a picture; by the clock from a camera's first frame."""
    picture: np.ndarray
    """Blue, green, red, uint8 [height, width, 3]."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """What paths lead to."""

    sources: list[Source]
    """In the order of the paths; within a folder by name, subfolders included."""
    num_skipped: int
    """Files in folders that are neither picture nor video by their name."""
    mistakes: list[UserError]
    """One for each path that leads to nothing."""


def _kind_by_name(path: Path, listens: bool) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    if listens and suffix in SOUND_SUFFIXES:
        return "sound"
    return "video" if suffix in VIDEO_SUFFIXES else None


def _kind_of_file(path: Path, listens: bool) -> Kind:
    # A file that was named on purpose is taken for what it holds: `photo` without a
    # suffix is fine. What its name promises decides what it is blamed for.
    with require_file(path, "a picture, a video or a sound").open("rb") as file:
        is_picture = picture_kind(file.read(16)) is not None
    return "picture" if is_picture else _kind_by_name(path, listens) or "video"


def _walk(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: can't be listed ({error.strerror})") from None

    for place, folders, names in os.walk(folder, onerror=refuse):
        here = Path(place)
        # Hidden folders hold other programs' thumbnails and history.
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and (leave_out is None or (here / name).resolve() != leave_out)
        )
        yield from (here / name for name in sorted(names))


def list_sources(
    paths: Sequence[str | os.PathLike[str]],
    leave_out: str | os.PathLike[str] | None = None,
    listens: bool = False,
    cameras: bool = False,
) -> Listing:
    """Return the pictures and videos that paths lead to.

    Args:
        paths: pictures, videos and folders, which are searched with their subfolders.
        leave_out: a folder whose files are no input, such as the one that is written to.
        listens: sounds without pictures are input too.
        cameras: `0` or `/dev/video0` is a camera, where no file is called so.
    """
    kept_out = None if leave_out is None else Path(leave_out).resolve()
    sources: list[Source] = []
    mistakes: list[UserError] = []
    num_skipped = 0
    for path in map(Path, paths):
        try:
            is_camera = cameras and camera_number(str(path)) is not None
            if is_camera and not (path.is_file() or path.is_dir()):
                sources.append(Source(path, "camera"))
                continue
            if not path.is_dir():
                sources.append(Source(path, _kind_of_file(path, listens)))
                continue
            num_before = len(sources)
            for found in _walk(path, kept_out):
                kind = _kind_by_name(found, listens)
                if kind is None or found.name.startswith("."):
                    num_skipped += 1
                else:
                    sources.append(Source(found, kind))
            if len(sources) == num_before:
                raise UserError(f"{path}: no picture and no video in this folder")
        except UserError as error:
            mistakes.append(error)
    return Listing(sources, num_skipped, mistakes)


def read_source(source: Source, seconds: float | None = None) -> Iterator[Frame]:
    """Yield the frames of a picture (one), a video or a camera, in order.

    Args:
        source: what to read.
        seconds: for how long to look at a camera; None: as long as pictures come.

    Raises:
        UserError: the file can't be read; see `read_picture`, `read_frames` and `open_camera`.
        BrokenVideoError: after the last frame of a video that broke in the middle.
        CameraLostError: after the last frame of a camera that was pulled out.
    """
    if source.kind == "camera":
        with open_camera(str(source.path), "the rows up to there are kept") as camera:
            start_s = None
            for number, (taken_s, picture) in enumerate(camera.frames):
                start_s = taken_s if start_s is None else start_s
                if seconds is not None and taken_s - start_s >= seconds:
                    return
                yield Frame(source.path, number, taken_s - start_s, picture)
        return
    if source.kind == "picture":
        yield Frame(source.path, 0, 0.0, read_picture(source.path))
        return
    for number, timestamp_s, picture in read_frames(source.path):
        yield Frame(source.path, number, timestamp_s, picture)


class Namer:
    """Names files after those that they tell of, so that none takes another's place."""

    def __init__(self, folder: Path) -> None:
        """Start with nothing named.

        Args:
            folder: where the files go.
        """
        self._folder = folder
        self._taken: set[str] = set()

    def name(self, source: Source) -> Path:
        """Return where the annotated copy of a picture, a video or a camera goes."""
        return self.name_with(source, ".png" if source.kind == "picture" else ".mp4")

    def name_with(self, source: Source, suffix: str) -> Path:
        """Return where something about a file goes: under its own name, numbered where taken."""
        number = 1
        while True:
            stem = source.stem if number == 1 else f"{source.stem}-{number}"
            # Without regard to case: some file systems have none.
            if f"{stem}{suffix}".casefold() not in self._taken:
                break
            number += 1
        self._taken.add(f"{stem}{suffix}".casefold())
        return self._folder / f"{stem}{suffix}"
