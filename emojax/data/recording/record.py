"""One's own database, recorded clip by clip: files and a manifest that is right at any moment.

A clip is written aside and takes its name when it is whole; then its row enters
the manifest, which is written aside and renamed too. Whatever stops a recording,
and whenever, at most the clip that was being recorded is lost; the next one goes
on behind it.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import fcntl
import io
import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from emojax import labels
from emojax.camera import Camera
from emojax.data.recording.clip_file import ASIDE, new_clip
from emojax.data.recording.prompt_view import View
from emojax.data.recording.prompts import Prompt, check_name
from emojax.data.synthetic.files import make_folder
from emojax.errors import UserError

COLUMNS: tuple[str, ...] = ("path", "subject", "emotion", *labels.AU_COLUMNS, "domain")
"""Of the manifest that is written: `emojax.data.manifest` says what they mean."""

MANIFEST = "manifest.csv"

LOST = "finished clips are kept; run the same command again and it goes on where it stopped"
"""What is said when the camera is gone."""

_LARGEST_MANIFEST = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Session:
    """Whom to record, showing what, and where the clips go."""

    out: Path
    """Folder of all people's clips and of `manifest.csv`."""
    subject: str
    """The person: letters, digits, - and _; their clips' folder."""
    prompts: tuple[Prompt, ...]
    """What is shown, in this order."""
    repeat: int = 1
    """Clips of each prompt; all prompts come once before one comes again."""
    seconds: float = 3.0
    """Length of a clip."""
    countdown_s: float = 5.0
    """Seconds between the prompt and the recording."""
    domain: str = ""
    """Where and how it is recorded; empty: a set of one kind."""

    def __post_init__(self) -> None:
        """Refuse what no clip can be recorded with."""
        check_name(self.subject, "subject")
        if not self.prompts:
            raise UserError("no prompts: nothing to record")
        if not 1 <= self.repeat <= 1000:
            raise UserError(f"repeat={self.repeat}: wanted 1..1000")
        if not 0.2 <= self.seconds <= 600:
            raise UserError(f"seconds={self.seconds:g}: wanted 0.2..600")
        if not 0 <= self.countdown_s <= 600:
            raise UserError(f"countdown={self.countdown_s:g}: wanted 0..600 seconds")
        if not self.domain.isprintable() or self.domain != self.domain.strip():
            raise UserError(f"domain {self.domain!r}: wanted a plain name such as studio")


class Take(NamedTuple):
    """One clip, recorded or to be recorded."""

    prompt: Prompt
    path: Path


def list_takes(session: Session) -> list[Take]:
    """Return all clips of a session, in the order in which they are recorded."""
    folder = session.out / session.subject
    return [
        Take(prompt, folder / f"{prompt.name}_{number}.mp4")
        for number, prompt in itertools.product(range(1, session.repeat + 1), session.prompts)
    ]


def missing_takes(session: Session) -> list[Take]:
    """Return the clips that are not there yet."""
    return [take for take in list_takes(session) if not take.path.exists()]


def record(session: Session, camera: Camera, view: View) -> int:
    """Record the clips that are not there yet, and return how many.

    Raises:
        UserError: the camera disappeared, a file can't be written, another recording
            is at work in the folder, or its manifest is not one of these.
        KeyboardInterrupt: the person stopped it.
    """
    with claimed(session.out):
        manifest = session.out / MANIFEST
        rows = _tidy_up(session, manifest)
        takes = missing_takes(session)
        for number, take in enumerate(takes, 1):
            _record_take(session, take, f"{number} of {len(takes)}", camera, view)
            rows.pop(_key(session, take), None)
            _list_clips(manifest, rows, session, [take])
        return len(takes)


def tidy_up(session: Session) -> None:
    """Remove what a killed recording has left behind, and list the clips that it finished.

    Raises:
        UserError: as `record`.
    """
    with claimed(session.out):
        _tidy_up(session, session.out / MANIFEST)


def _tidy_up(session: Session, manifest: Path) -> dict[str, dict[str, str]]:
    """Return the manifest's rows, by path."""
    for leftover in _subject_folder(session).glob(ASIDE.format("*")):
        leftover.unlink()
    rows = read_rows(manifest)
    # Killed between the two renames, a recording leaves a clip without a row.
    finished = [take for take in list_takes(session) if take.path.exists()]
    _list_clips(manifest, rows, session, finished)
    return rows


def _record_take(session: Session, take: Take, place: str, camera: Camera, view: View) -> None:
    view.begin(take.prompt, place)
    _count_down(session.countdown_s, camera, view)
    with new_clip(take.path) as clip:
        start, last = None, 0.0
        for timestamp, picture in camera.frames:
            start = timestamp if start is None else start
            # A little early: a file's timestamps are fractions that floats can't hold.
            if timestamp - start >= session.seconds - 1e-6:
                break
            last = timestamp - start
            clip.append(picture, last)
            view.record(picture, session.seconds - last)
        if clip.num_frames < 2:
            raise UserError(
                f"{camera.name}: {clip.num_frames} pictures in {session.seconds:g} s: too slow "
                "for a clip: record longer ones, or use another camera"
            )
    view.end(f"{take.path}: {clip.num_frames} frames in {last:.1f} s")


def _count_down(seconds: float, camera: Camera, view: View) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if camera.is_live:
            # Looked at all the time, or its first frames would be old ones.
            _, picture = next(camera.frames)
            view.wait(picture, left)
        else:
            view.wait(None, left)
            time.sleep(min(left, 0.05))


@contextlib.contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Return a context in which no other recording writes into the folder, made if missing.

    Raises:
        UserError: another one does, or the folder can't be made.
    """
    folder = os.open(make_folder(out), os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{out}: another recording is at work in it: wait for its end"
            ) from None
        yield
    finally:
        os.close(folder)


def _subject_folder(session: Session) -> Path:
    folder = session.out / session.subject
    # Where capitals don't count, `p01` would write into the folder of `P01`.
    for other in session.out.iterdir():
        if other.name.lower() == session.subject.lower() and other.name != session.subject:
            raise UserError(
                f"{other}: is there already, and differs from {session.subject!r} in capitals "
                "only: use one of the two for a person"
            )
    return make_folder(folder)


def read_rows(manifest: Path) -> dict[str, dict[str, str]]:
    """Return the rows of a manifest that was written here, by path; none where there is no file.

    Raises:
        UserError: it can't be read, or has other columns.
    """
    try:
        if manifest.stat().st_size > _LARGEST_MANIFEST:
            raise UserError(f"{manifest}: larger than 64 MB: choose another --out")
        text = manifest.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{manifest}: can't be read ({error}): choose another --out") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = tuple(reader.fieldnames or ())
        rows = [dict(row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{manifest}: not CSV ({error}): choose another --out") from None
    if header != COLUMNS or any(None in row or None in row.values() for row in rows):
        raise UserError(
            f"{manifest}: not a manifest that a recording wrote (its columns are "
            f"{', '.join(header)[:120] or 'none'}): choose another --out"
        )
    return {row["path"]: row for row in rows}


def _key(session: Session, take: Take) -> str:
    return take.path.relative_to(session.out).as_posix()


def _list_clips(
    manifest: Path, rows: dict[str, dict[str, str]], session: Session, takes: Sequence[Take]
) -> None:
    """Write the manifest again with those clips in it that it does not name yet."""
    known = len(rows)
    for take in takes:
        row = dict.fromkeys(COLUMNS, "")
        row |= {
            "path": _key(session, take),
            "subject": session.subject,
            "emotion": take.prompt.emotion,
            "domain": session.domain,
        }
        if take.prompt.action_unit:
            row[take.prompt.action_unit] = "1"
        rows.setdefault(row["path"], row)
    if len(rows) == known:
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.values())
    aside = manifest.with_name(ASIDE.format(manifest.name))
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(manifest)
    except OSError as error:
        raise UserError(
            f"{manifest}: can't be written ({error.strerror}): make room or check rights; the "
            "clips are kept, and listed by the next recording of this person"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def people_in(manifest: Path) -> int:
    """Return how many people a manifest that was written here names."""
    return len({row["subject"] for row in read_rows(manifest).values()})


def total_seconds(session: Session, takes: Sequence[Take]) -> int:
    """Return about how long it takes to record clips, whole seconds."""
    return math.ceil(len(takes) * (session.seconds + session.countdown_s))
