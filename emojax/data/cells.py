"""What a build has finished, file by file, so that a killed one goes on where it was.

A cell holds the results of a few rows (sixteen pictures, one clip, the frames of
one video), rejections included, under a name made of the files' content, the
contract and the code. It is written aside, synced and renamed: a cell is there
whole or not at all, and one that is there never has to be read again.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from emojax.data.examples import Example, ReadOptions, Result, read_examples, share_a_video
from emojax.data.rows import Rejection, Row
from emojax.errors import UserError
from emojax.spec import InputSpec
from emojax.version import __version__

_ROWS_TOGETHER = 16

# A change in any of these may change what a file gives.
_CODE = (
    "audio.py",
    "clip.py",
    "face.py",
    "following.py",
    "quick_search.py",
    "picture.py",
    "video.py",
    "spec.py",
    "data/cells.py",
    "data/examples.py",
    "data/frames.py",
    "data/mel.py",
    "data/sound.py",
)

LOST = "broken reader"
"""What a row is counted under whose reader crashed or never came back."""

MISSING = b"missing"
"""Stands for the digest of a file that can't be read."""

# Stands for a row's path in a message: the files may have moved since.
_PLACE = "\0"


@dataclasses.dataclass(frozen=True)
class Job:
    """Rows that are read together into one cell."""

    name: str
    """Of the cell."""
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a job's rows become a cell: all that a worker needs beside the job."""

    folder: Path
    """Of the cells."""
    input_spec: InputSpec
    options: ReadOptions

    def path(self, job: Job) -> Path:
        """Return where a job's cell lies."""
        return self.folder / f"{job.name}.npz"


def code_digest(places: Sequence[str]) -> bytes:
    """Return a digest of the project's own files under these names, folders with all in them."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(f"{__version__} {cv2.__version__}".encode())
    for place in places:
        path = package / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.digest()


def content_digests(rows: Sequence[Row], keeps_sound: bool, threads: int) -> Iterator[bytes]:
    """Yield a digest of each row's files; a file that can't be read has one of its own."""
    with concurrent.futures.ThreadPoolExecutor(max(threads, 1)) as pool:
        # Frames of one video follow each other: what is asked again is known.
        digest_of = functools.lru_cache(maxsize=64)(_file_digest)

        def digest(row: Row) -> bytes:
            files = [row.path, *((row.audio_path, row.spectrogram_path) if keeps_sound else ())]
            return b"".join(b"none" if file is None else digest_of(file) for file in files)

        yield from pool.map(digest, rows, chunksize=64)


def _file_digest(path: Path) -> bytes:
    try:
        # To open a pipe is to wait for whoever writes into it; a device may have no end.
        if not path.is_file():
            return MISSING
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError):
        return MISSING


def plan_jobs(
    rows: Sequence[Row], digests: Sequence[bytes], input_spec: InputSpec, options: ReadOptions
) -> list[Job]:
    """Return the jobs that read all rows, in the rows' order.

    Args:
        rows: of the whole set.
        digests: of their files, from `content_digests`.
        input_spec: how faces are cut and sound is looked at.
        options: how files are read.
    """
    contract = hashlib.sha256(code_digest(_CODE))
    baked = {"input_spec": input_spec.to_dict(), "options": dataclasses.asdict(options)}
    contract.update(json.dumps(baked, sort_keys=True).encode())
    jobs, start = [], 0
    while start < len(rows):
        stop = _end_of_job(rows, start)
        digest = contract.copy()
        for row, content in zip(rows[start:stop], digests[start:stop], strict=True):
            asked = (row.key, row.start_s, row.end_s, row.frame, row.view, row.any_way_up)
            digest.update(repr(asked).encode() + content)
        jobs.append(Job(digest.hexdigest()[:40], tuple(rows[start:stop])))
        start = stop
    return jobs


def _end_of_job(rows: Sequence[Row], start: int) -> int:
    first, stop = rows[start], start + 1
    if first.frame is not None:
        while stop < len(rows) and share_a_video((first, rows[stop])):
            stop += 1
        return stop
    if not first.is_still:
        return stop
    while (
        stop < min(len(rows), start + _ROWS_TOGETHER)
        and rows[stop].is_still
        and rows[stop].frame is None
    ):
        stop += 1
    return stop


def read_into_cell(
    reading: Reading,
    job: Job,
    lost: dict[int, str] | None = None,
    tell: Callable[[int], object] = lambda _: None,
) -> None:
    """Read a job's rows and leave their cell; do nothing where it is there.

    Args:
        reading: how, and where to.
        job: which rows.
        lost: rows, by their number, that can't be tried again, and what happened to them.
        tell: hears the number of each row before it is read, and again after each frame.
    """
    path = reading.path(job)
    if not path.exists():
        _write_cell(path, list(_read(reading, job, lost or {}, tell)))


def _read(
    reading: Reading, job: Job, lost: dict[int, str], tell: Callable[[int], object]
) -> Iterator[Result]:
    parts: Iterable[Sequence[Row]] = [job.rows]
    if not share_a_video(job.rows):
        parts = [[row] for row in job.rows]
    for number, part in enumerate(parts):
        if number in lost:
            yield from (Rejection(row, LOST, f"{row.path}: {lost[number]}") for row in part)
        else:
            tell(number)
            going_on = functools.partial(tell, number)
            yield from read_examples(part, reading.input_spec, reading.options, tell=going_on)


def _write_cell(path: Path, results: Sequence[Result]) -> None:
    arrays: dict[str, np.ndarray] = {}
    entries: list[dict[str, Any]] = []
    for number, result in enumerate(results):
        if isinstance(result, Rejection):
            place = str(result.row.path)
            detail = result.detail.replace(place, _PLACE)
            entries.append({"reason": result.reason, "detail": detail})
            continue
        arrays[f"faces{number}"] = result.faces
        arrays[f"timestamps{number}"] = result.timestamps
        entry: dict[str, Any] = {"success": result.success.tolist()}
        if result.sound is not None:
            arrays[f"sound{number}"] = result.sound.spectrogram
            problem = result.sound.problem.replace(str(result.row.path), _PLACE)
            entry["sound"] = [result.sound.has_sound, problem, result.sound.goes_on]
        entries.append(entry)
    text = json.dumps(entries).encode("utf-8", "surrogatepass")
    arrays["entries"] = np.frombuffer(text, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def load_cell(reading: Reading, job: Job, *, arrays: bool = True) -> Iterator[Result]:
    """Yield the results of a job's rows, in their order.

    Args:
        reading: where the cell lies.
        job: whose.
        arrays: whether faces and spectrograms are wanted; without them they are empty, and
            what is left is quick to read.

    Raises:
        UserError: the cell is missing or damaged.
    """
    from emojax.data.sound import Sound

    path = reading.path(job)
    empty, no_times = np.zeros((0, 0, 0), np.uint8), np.zeros(0, np.float32)
    try:
        # Opened here: of a damaged file NumPy leaves it open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as cell:
            entries = json.loads(cell["entries"].tobytes())
            for number, (row, entry) in enumerate(zip(job.rows, entries, strict=True)):
                if "reason" in entry:
                    detail = entry["detail"].replace(_PLACE, str(row.path))
                    yield Rejection(row, entry["reason"], detail)
                    continue
                sound = None
                if "sound" in entry:
                    has_sound, problem, goes_on = entry["sound"]
                    picture = cell[f"sound{number}"] if arrays else empty.reshape(0, 0)
                    problem = problem.replace(_PLACE, str(row.path))
                    sound = Sound(picture, has_sound, problem, goes_on=goes_on)
                yield Example(
                    row,
                    cell[f"faces{number}"] if arrays else empty,
                    cell[f"timestamps{number}"] if arrays else no_times,
                    np.array(entry["success"], np.uint8),
                    sound,
                )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: what was read is damaged ({error}): check the disk and build again, it "
            "alone is read again"
        ) from None


def is_read(reading: Reading, job: Job) -> bool:
    """Return whether a job's cell is there and whole; a damaged one is removed."""
    path = reading.path(job)
    if not path.exists():
        return False
    try:
        for _ in load_cell(reading, job):
            pass
    except UserError:
        path.unlink()
        return False
    return True


def drop_strangers(reading: Reading, jobs: Sequence[Job]) -> None:
    """Remove all from the cells' folder that is none of these jobs' cells."""
    wanted = {reading.path(job).name for job in jobs}
    if reading.folder.is_dir():
        for file in reading.folder.iterdir():
            if file.name not in wanted:
                file.unlink()
