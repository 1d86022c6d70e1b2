"""A data set built: rows read by several processes, shards and report put in place at once.

The result appears under its own name only when it is whole. A build that is
killed leaves the older result untouched; the next one removes the leftovers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import tensorflow_datasets as tfds
from tqdm import tqdm

import emojax
from emojax.data.builders.base import FaceBuilder, Plan
from emojax.data.builders.manifest import Manifest
from emojax.data.builders.synthetic import Synthetic, render
from emojax.data.examples import CLIP_FRAMES, ReadOptions
from emojax.data.manifest import read_manifest
from emojax.data.pool import Read, open_readers
from emojax.data.quiet import load_tensorflow
from emojax.data.shards import INPUT_SPEC_FILE, REPORT_FILE
from emojax.data.splits import DEFAULT_FRACTIONS, SPLITS, split_by_subject
from emojax.data.synthetic.layouts import SetSize
from emojax.data.tally import Tally
from emojax.errors import UserError
from emojax.files import write_json
from emojax.spec import InputSpec, read_json

BUILDERS: dict[str, type[FaceBuilder]] = {"manifest": Manifest, "synthetic": Synthetic}
"""Every data set that can be built."""

_SOURCE = "source"

Say = Callable[[str], object]
"""Tells the person one line."""

# A change in any of these may change what a build gives.
_CODE = (
    "audio.py",
    "face.py",
    "picture.py",
    "video.py",
    "spec.py",
    "labels.py",
    "data/examples.py",
    "data/manifest.py",
    "data/mel.py",
    "data/sound.py",
    "data/splits.py",
    "data/builders",
    "data/synthetic",
)


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """How a data set is built, beside what it is built from."""

    input_spec: InputSpec = dataclasses.field(default_factory=InputSpec)
    """How faces are cut and what the labels are."""
    workers: int = 1
    """Processes that read files and find faces."""
    seed: int = 0
    """Draws the splits where the owner gives none, and the synthetic people."""
    fractions: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: dict(DEFAULT_FRACTIONS)
    )
    """Share of each split where the owner gives none."""
    clip_frames: int = CLIP_FRAMES
    """Crops that a clip keeps at most."""
    faces: Literal["detect", "ready"] = "detect"
    """`ready`: the pictures are faces already cut."""
    own_groups: bool = False
    """Without a column `subject`, take each file as a person of its own."""
    size: SetSize = dataclasses.field(default_factory=SetSize)
    """How much is drawn for `synthetic`."""

    def __post_init__(self) -> None:
        """Refuse a clip without frames."""
        if self.clip_frames < 1:
            raise UserError(f"clip_frames={self.clip_frames}: wanted 1 or more")


def build_dataset(
    name: str,
    *,
    source: Path | None = None,
    out: Path | None = None,
    options: BuildOptions | None = None,
    say: Say = print,
) -> Path:
    """Return the folder of the shards, built now or found as the same build left it.

    Beside the shards stand `input_spec.json`, `report.json` and, for
    `synthetic`, what was drawn: `source/manifest.csv` and its pictures.

    Args:
        name: one of `BUILDERS`.
        source: what the set is built from; for `manifest` the CSV or its folder.
        out: the folder to write; `data/NAME` where none is given.
        options: how to build.
        say: tells the person what happens, one line at a time.

    Raises:
        UserError: a mistake in the source, a folder that holds something else,
            nobody's face found, or another build at work on the same folder.
    """
    options = options or BuildOptions()
    if name not in BUILDERS:
        raise UserError(f"data set {name!r} is not known: use one of {', '.join(BUILDERS)}")
    if (source is None) == (name == "manifest"):
        raise UserError(
            "manifest needs --source: the CSV that names the files, or its folder"
            if source is None
            else f"{name} takes no --source"
        )
    out = Path("data") / name if out is None else out
    _check_replaceable(out)
    with _claimed(out) as work:
        started = time.monotonic()
        if source is None:
            fingerprint = _fingerprint(name, options, ())
            if _is_same(out, fingerprint):
                say(f"{out}: the same build is already there: reused")
                return out
            source = render(work / _SOURCE, options.size, options.seed, options.workers)
            rows, notes = _read_rows(source, options)
        else:
            rows, notes = _read_rows(source, options)
            fingerprint = _fingerprint(name, options, rows)
            if _is_same(out, fingerprint):
                say(f"{out}: the same build is already there: reused")
                return out
        splits = _split_rows(source, rows, options)
        tally = Tally(
            options.input_spec,
            {row.subject: split for split, members in splits.items() for row in members},
            list(notes),
        )
        shards = _write_shards(name, work, splits, options, tally)
        report = {
            "name": name,
            "fingerprint": fingerprint,
            "emojax": emojax.__version__,
            "workers": options.workers,
            "seconds": round(time.monotonic() - started, 3),
            "split_rule": "the owner's" if rows[0].split else f"by person, seed {options.seed}",
            "shard_bytes": _shard_bytes(shards),
            **tally.report(),
        }
        write_json(shards / INPUT_SPEC_FILE, options.input_spec.to_dict())
        write_json(shards / REPORT_FILE, report)
        if (work / _SOURCE).is_dir():
            (work / _SOURCE).rename(shards / _SOURCE)
        _put_in_place(shards, out)
    return out


def _read_rows(source: Path, options: BuildOptions) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    manifest = read_manifest(source, own_groups=options.own_groups)
    notes = manifest.notes
    if options.input_spec.sound is None and any(row.audio_path for row in manifest.rows):
        notes = (*notes, "sound is named and not kept: --sound=log_mel keeps it")
    return manifest.rows, notes


def _split_rows(
    source: Path, rows: Sequence[Row], options: BuildOptions
) -> dict[str, tuple[Row, ...]]:
    """Return the rows of each split: the owner's, or drawn by person."""
    if rows[0].split:
        return {
            split: tuple(row for row in rows if row.split == split)
            for split in SPLITS
            if any(row.split == split for row in rows)
        }
    try:
        people = split_by_subject(
            [row.subject for row in rows],
            options.fractions,
            options.seed,
            [(row.emotion, row.domain) for row in rows],
        )
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    home = {person: split for split, members in people.items() for person in members}
    return {
        split: tuple(row for row in rows if home[row.subject] == split)
        for split in options.fractions
    }


def _write_shards(
    name: str,
    work: Path,
    splits: Mapping[str, Sequence[Row]],
    options: BuildOptions,
    tally: Tally,
) -> Path:
    """Return the folder of the finished TFRecord files, inside the work folder."""
    rows = [row for members in splits.values() for row in members]
    clips = not all(row.is_picture for row in rows)
    reading = ReadOptions(max_frames=options.clip_frames if clips else 1, faces=options.faces)
    load_tensorflow()
    with (
        tqdm(total=len(rows), desc="faces", unit="file", disable=None) as bar,
        open_readers(options.workers, options.input_spec, reading) as read,
        _quiet_tfds(),
    ):
        plan = Plan(splits, options.input_spec, reading, _shown(read, bar), tally)
        builder = BUILDERS[name](plan=plan, data_dir=work / "tfds")
        builder.download_and_prepare(
            file_format="tfrecord",
            download_dir=work / "downloads",
            download_config=tfds.download.DownloadConfig(
                try_download_gcs=False, register_checksums=False
            ),
        )
    return Path(builder.data_dir)


def _shown(read: Read, bar: Any) -> Read:
    """Return the reader with a progress bar that follows it."""

    def reading(rows: Sequence[Row]) -> Iterator[Any]:
        for result in read(rows):
            bar.update()
            yield result

    return reading


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Hold back what TFDS prints: its two bars and banners say nothing that ours do not."""
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()


def _fingerprint(name: str, options: BuildOptions, rows: Sequence[Row]) -> str:
    """Return a digest of all that decides what a build gives: files, options and code.

    The number of workers is not among it.
    """
    digest = hashlib.sha256()
    decisive = {
        "name": name,
        "input_spec": options.input_spec.to_dict(),
        "seed": options.seed,
        "fractions": dict(options.fractions),
        "faces": options.faces,
        "clip_frames": options.clip_frames,
        "synthetic": dataclasses.asdict(options.size) if name == "synthetic" else None,
        "opencv": cv2.__version__,
        "emojax": emojax.__version__,
    }
    digest.update(json.dumps(decisive, sort_keys=True).encode())
    package = Path(emojax.__file__).parent
    for place in _CODE:
        path = package / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(_content_digest(file))
    for row in rows:
        labelled = dataclasses.replace(row, path=Path(), audio_path=None)
        digest.update(repr(labelled).encode())
        digest.update(_content_digest(row.path))
        if options.input_spec.sound and row.audio_path:
            digest.update(_content_digest(row.audio_path))
    return digest.hexdigest()


def _content_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError):
        return b"missing"


def _is_same(out: Path, fingerprint: str) -> bool:
    """Return whether `out` holds the whole result of the build with this fingerprint."""
    try:
        report = read_json(out / REPORT_FILE)
    except UserError:
        return False
    return (
        report.get("fingerprint") == fingerprint
        and (out / INPUT_SPEC_FILE).is_file()
        and report.get("shard_bytes") == _shard_bytes(out)
    )


def _shard_bytes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(folder.glob("*.tfrecord-*"))}


def _check_replaceable(out: Path) -> None:
    """Refuse to build over anything but an older build."""
    if out.is_dir():
        if any(out.iterdir()) and not (out / REPORT_FILE).is_file():
            raise UserError(f"{out}: a folder with other things in it: choose another --out")
    elif out.exists() or out.is_symlink():
        raise UserError(f"{out}: not a folder: choose another --out")


@contextlib.contextmanager
def _claimed(out: Path) -> Iterator[Path]:
    """Return an empty work folder beside `out`, this build's alone while it lasts.

    The claim is a file lock, which the system drops when its owner dies.
    """
    work = _beside(out, "building")
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{out}: another build of it is running: wait for its end") from None
        for leftover in work.iterdir():
            if leftover.is_dir():
                shutil.rmtree(leftover)
        if _beside(out, "replaced").is_dir():
            _restore(out)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _beside(out: Path, role: str) -> Path:
    return out.absolute().parent / f".{out.absolute().name}.{role}"


def _put_in_place(shards: Path, out: Path) -> None:
    """Exchange the older build for the new one; at each moment one of the two is whole."""
    for file in shards.iterdir():
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
    replaced = _beside(out, "replaced")
    if out.exists():
        out.rename(replaced)
    shards.rename(out)
    shutil.rmtree(replaced, ignore_errors=True)


def _restore(out: Path) -> None:
    """Tidy up after a build that was killed between the two renames, or just after them."""
    replaced = _beside(out, "replaced")
    if out.exists():
        shutil.rmtree(replaced)
    else:
        replaced.rename(out)
