"""Paths -> the pictures, videos and cameras that they lead to, and their frames."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from emojax.camera import camera_number, open_camera
from emojax.errors import UserError
from emojax.files import require_file
from emojax.picture import PICTURE_SUFFIXES, picture_kind, read_picture
from emojax.video import SOUND_SUFFIXES, VIDEO_SUFFIXES, is_sound_alone, read_frames

Kind = Literal["picture", "video", "sound", "camera"]
"""What a path is taken for."""

OWN_FOLDERS: frozenset[str] = frozenset({"annotated", "heat", "elan"})
"""Folders in the output folder whose files are no input: they are made from inputs."""

# In bytes.
_LONGEST_NAME = 255


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
    """One for each path that leads to nothing, and each folder that can't be listed."""


def _kind_by_name(path: Path, listens: bool) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    if listens and suffix in SOUND_SUFFIXES:
        return "sound"
    if suffix not in VIDEO_SUFFIXES:
        return None
    # Browsers and telephones record a voice as WebM or MP4.
    return "sound" if listens and is_sound_alone(path) else "video"


def _kind_of_file(path: Path, listens: bool) -> Kind:
    # A file that was named on purpose is taken for what it holds: `photo` without a
    # suffix is fine. What its name promises decides what it is blamed for.
    with require_file(path, "a picture, a video or a sound").open("rb") as file:
        if picture_kind(file.read(16)) is not None:
            return "picture"
    kind = _kind_by_name(path, listens)
    if kind is None:
        return "sound" if listens and is_sound_alone(path) else "video"
    return kind


class _Visits:
    """Which folders below one are entered: each once, whatever leads to it."""

    def __init__(self, top: Path, left_out: set[Path]) -> None:
        self._top = top.resolve()
        self._seen = {self._top, *left_out}

    def may_enter(self, folder: Path) -> bool:
        target = folder.resolve()
        if target in self._seen or (folder.is_symlink() and self._leads_back(target)):
            return False
        self._seen.add(target)
        return True

    def _leads_back(self, target: Path) -> bool:
        """Return whether a link leads above the top, or to what comes under its own name."""
        if not target.is_relative_to(self._top):
            return self._top.is_relative_to(target)
        return not any(part.startswith(".") for part in target.relative_to(self._top).parts)


def _walk(folder: Path, leave_out: Path | None, mistakes: list[UserError]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        mistakes.append(UserError(f"{error.filename}: can't be listed ({error.strerror})"))

    kept_out: set[Path] = set()
    if leave_out is not None:
        own = {(leave_out / name).resolve() for name in OWN_FOLDERS}
        if folder.resolve() in own:
            raise UserError(f"{folder}: is where copies of inputs go: give another --out")
        kept_out = {leave_out, *own}
    visits = _Visits(folder, kept_out)
    for place, folders, names in os.walk(folder, onerror=note, followlinks=True):
        here = Path(place)
        # Hidden folders hold other programs' thumbnails and history.
        folders[:] = [
            name
            for name in sorted(folders)
            if not name.startswith(".") and visits.may_enter(here / name)
        ]
        yield from (here / name for name in sorted(names))


def list_sources(
    paths: Sequence[str | os.PathLike[str]],
    leave_out: str | os.PathLike[str] | None = None,
    listens: bool = False,
    cameras: bool = False,
) -> Listing:
    """Return the pictures and videos that paths lead to.

    Args:
        paths: pictures, videos and folders, which are searched with their subfolders, also those
            that a link leads to.
        leave_out: the folder that is written to: no input, unless it is named itself; its
            `OWN_FOLDERS` never are.
        listens: sounds without pictures are input too, also in a container for videos.
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
            num_before, told_before = len(sources), len(mistakes)
            for found in _walk(path, kept_out, mistakes):
                hidden = found.name.startswith(".")
                kind = None if hidden else _kind_by_name(found, listens)
                if kind is None:
                    num_skipped += 1
                else:
                    sources.append(Source(found, kind))
            if len(sources) == num_before and len(mistakes) == told_before:
                raise UserError(f"{path}: no picture and no video in this folder")
        except UserError as error:
            mistakes.append(error)
        except OSError as error:
            # A stick that was pulled out: the error names no file.
            reason = error.strerror or error
            mistakes.append(UserError(f"{path}: can't be read ({reason}): check the disk"))
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


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others, whatever it is called; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _fitted(stem: str, ending: str) -> str:
    """Return both as one name, the stem shortened where no file system takes the whole."""
    while len(os.fsencode(stem + ending)) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem + ending


class Namer:
    """Names files after those that they tell of, so that none takes another's place."""

    def __init__(self, folder: Path, inputs: Iterable[Source] = ()) -> None:
        """Start with nothing named.

        Args:
            folder: where the files go.
            inputs: are not written over where they lie in that folder.
        """
        self._folder = folder
        self._taken: set[str] = set()
        self._inputs = {_identity(source.path) for source in inputs} - {None}

    def name(self, source: Source) -> Path:
        """Return where the annotated copy of a picture, a video or a camera goes."""
        return self.name_with(source, ".png" if source.kind == "picture" else ".mp4")

    def name_with(self, source: Source, suffix: str) -> Path:
        """Return where something about a file goes: under its own name, numbered where taken."""
        number = 1
        while True:
            ending = suffix if number == 1 else f"-{number}{suffix}"
            path = self._folder / _fitted(source.stem, ending)
            # Without regard to case: some file systems have none.
            taken = path.name.casefold() in self._taken
            if not taken and _identity(path) not in self._inputs:
                break
            number += 1
        self._taken.add(path.name.casefold())
        return path
