"""A data set built: rows read into cells, cells packed into shards, all put in place at once."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from emojax.audio import PRESETS
from emojax.data import beam
from emojax.data.builders import BUILDERS, FaceBuilder
from emojax.data.cells import (
    LOST,
    MISSING,
    Job,
    Reading,
    code_digest,
    content_digests,
    drop_strangers,
    is_read,
    load_cell,
    plan_jobs,
    read_into_cell,
)
from emojax.data.claim import (
    CELLS,
    SOURCE,
    check_place,
    check_replaceable,
    claimed,
    is_whole,
    mark_whole,
    put_in_place,
)
from emojax.data.examples import CLIP_FRAMES, ReadOptions
from emojax.data.packing import divide, write_shards
from emojax.data.pool import PATIENCE_S, work_off
from emojax.data.quiet import load_tensorflow
from emojax.data.report_page import write_report_page
from emojax.data.rows import Rejection, Request, Row, Source
from emojax.data.shards import (
    INPUT_SPEC_FILE,
    MANIFEST,
    PEOPLE_FILE,
    REPORT_FILE,
    SAME_BYTES,
)
from emojax.data.shown_files import files_to_show
from emojax.data.splits import DEFAULT_FRACTIONS, SPLITS, assert_disjoint, split_by_subject
from emojax.data.synthetic.layouts import SetSize, write_manifest
from emojax.data.tally import Tally
from emojax.errors import UserError
from emojax.files import write_json
from emojax.labels import emotion_names
from emojax.spec import InputSpec, read_json
from emojax.version import __version__

Say = Callable[[str], object]
"""Tells the person one line."""

_DIGEST_BYTES = hashlib.sha256().digest_size

# A change in any of these may change what a build gives.
_CODE = (
    "audio.py",
    "clip.py",
    "face.py",
    "following.py",
    "quick_search.py",
    "picture.py",
    "video.py",
    "spec.py",
    "labels.py",
    "data/cells.py",
    "data/crema_d_votes.py",
    "data/examples.py",
    "data/features.py",
    "data/frames.py",
    "data/manifest.py",
    "data/mel.py",
    "data/packing.py",
    "data/raters.py",
    "data/rows.py",
    "data/sound.py",
    "data/splits.py",
    "data/builders",
    "data/synthetic",
)


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """How a data set is built, beside what it is built from."""

    input_spec: InputSpec | None = None
    """How faces are cut and what the labels are; None: as suits the data set."""
    workers: int = 0
    """Processes that read files and find faces. 0 works in this one, where a file that crashes
    its decoder ends the build; with 1 or more it costs that file alone, and the main module has
    to be guarded by `if __name__ == "__main__"`."""
    seed: int = 0
    """0 .. 4294967295; draws the splits where the owner gives none, and the synthetic people."""
    fractions: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: dict(DEFAULT_FRACTIONS)
    )
    """Share of each split where the owner gives none."""
    clip_frames: int = CLIP_FRAMES
    """Crops that a clip keeps at most."""
    faces: Literal["detect", "ready"] | None = None
    """`ready`: the pictures are faces already cut; None: as suits the data set."""
    own_groups: bool = False
    """Without a column `subject`, take each file as a person of its own; files with the same
    bytes stand in one split, where the owner gives none."""
    clips: bool = False
    """Keep whole clips of a set that also gives single frames."""
    size: SetSize = dataclasses.field(default_factory=SetSize)
    """How much is drawn for `synthetic`."""
    beam: str | None = None
    """Flags of the Beam runner that does the work; None: this machine's processes."""
    patience_s: float = PATIENCE_S
    """Seconds without a further file or frame after which a worker is replaced."""
    retry: bool = False
    """Read a set once more of which files were lost to a reader that crashed or never came back:
    they may be read well another time."""

    def __post_init__(self) -> None:
        """Refuse a clip without frames, and a seed that can't be one."""
        if self.clip_frames < 1:
            raise UserError(f"clip_frames={self.clip_frames}: wanted 1 or more")
        if not (isinstance(self.seed, int) and 0 <= self.seed < 2**32):
            raise UserError(f"seed={self.seed}: wanted 0 .. 4294967295")


def default_spec(name: str) -> InputSpec:
    """Return the contract that suits a data set: its own emotions, sound where it has any."""
    defaults = BUILDERS[name].DEFAULTS
    return InputSpec(
        emotions=emotion_names(defaults.emotions),
        sound=None if defaults.sound is None else PRESETS[defaults.sound],
    )


def build_dataset(
    name: str,
    *,
    source: Path | None = None,
    out: Path | None = None,
    options: BuildOptions | None = None,
    say: Say = print,
) -> Path:
    """Return the folder of the shards, built now or found as the same build left it.

    Beside the shards stand `input_spec.json`, `report.json`, the same as a page and, where
    there is any, `people.json` (what is known of each person) and what was drawn: `source/`.
    A build that was stopped goes on from what it had finished.

    Args:
        name: one of `BUILDERS`.
        source: what the set is built from, as its owner publishes it; none for `synthetic`.
        out: the folder to write; `data/NAME` where none is given.
        options: how to build.
        say: tells the person what happens, one line at a time.

    Raises:
        UserError: a mistake in the source, nobody's face found, or another build at work
            on the same folder.
        OccupiedError: the folder holds something else, or the source.
    """
    if name not in BUILDERS:
        raise UserError(f"data set {name!r} is not known: use one of {', '.join(BUILDERS)}")
    builder, options = BUILDERS[name], options or BuildOptions()
    spec = options.input_spec or default_spec(name)
    if name == "synthetic" and source is not None:
        raise UserError(f"{name} takes no --source")
    if name != "synthetic" and source is None:
        raise UserError(f"{name} needs --source: {builder.SOURCE_HELP}")
    if options.beam is not None:
        beam.parse_options(options.beam)
    out = Path("data") / name if out is None else out
    check_place(out, source)
    origin = None if source is None else _origin(name, source)
    with claimed(out) as work:
        started = time.monotonic()
        recipe = _digest(_drawn_from(spec, options))
        if source is None:
            # Known by what it is drawn from: no need to draw it again to compare.
            if _is_same(out, recipe, options.retry):
                say(f"{out}: the same build is already there: reused")
                return out
            source = _draw(work, options)
        found = _read_source(builder, source, spec, options, work)
        reading = Reading(work / CELLS, spec, _read_options(builder, found.rows, options))
        digests = _digests(found.rows, spec, options)
        jobs = plan_jobs(found.rows, digests, spec, reading.options)
        fingerprint = _fingerprint(name, found, digests, reading, options)
        if name == "synthetic":
            fingerprint = recipe
        if _is_same(out, fingerprint, options.retry):
            say(f"{out}: the same build is already there: reused")
            return out
        # Before the long work; a build that is reused may have company.
        check_replaceable(out)
        alike = _alike(found, digests)
        home = _homes(source, found.rows, options, alike)
        kept_from_before = _fill_cells(jobs, reading, options, say)
        tally = _count(found, jobs, reading, home)
        if alike:
            tally.note(
                f"{sum(map(len, alike))} files have the same bytes as another: those that are "
                "alike stand in one split, and in one fold of  emojax data folds"
            )
        people = _people_kept(source, home, tally)
        shards = write_shards(builder, work, reading, divide(jobs, home), people, options.beam)
        report = {
            "name": name,
            "source": origin,
            "fingerprint": _of_what_came(fingerprint, tally.left_out),
            "asked": fingerprint,
            "emojax": __version__,
            "workers": options.workers,
            "beam": options.beam,
            "seconds": round(time.monotonic() - started, 3),
            "rows_from_a_stopped_build": kept_from_before,
            "split_rule": "the owner's"
            if found.rows[0].split
            else f"by person, seed {options.seed}",
            "shard_bytes": _shard_bytes(shards),
            **tally.report(),
            SAME_BYTES: alike,
            "facts": dict(found.facts),
        }
        write_json(shards / INPUT_SPEC_FILE, spec.to_dict())
        if found.people:
            write_json(shards / PEOPLE_FILE, {who: dict(is_) for who, is_ in found.people.items()})
        write_json(shards / REPORT_FILE, report)
        # A manifest is its user's own: its links are followed.
        homes = None if name == "manifest" else (source, work)
        lost = files_to_show(tally.left_out, homes)
        write_report_page(shards, report, builder, lost)
        if name == "synthetic":
            (work / SOURCE).rename(shards / SOURCE)
        put_in_place(shards, out)
    return out


def _origin(name: str, source: Path) -> str:
    """Return where a set was built from, by which `data/find.py` knows it again."""
    if name == MANIFEST and source.is_dir():
        source = source / "manifest.csv"
    return os.path.abspath(source)


def _draw(work: Path, options: BuildOptions) -> Path:
    """Return the folder of the drawn set, from a stopped build where it had drawn it whole."""
    drawn = work / SOURCE
    recipe = _digest({"size": dataclasses.asdict(options.size), "seed": options.seed})
    if not is_whole(drawn, recipe):
        workers, bar = max(options.workers, 1), sys.stderr.isatty()
        write_manifest(drawn, options.seed, options.size, workers=workers, progress=bar)
        mark_whole(drawn, recipe)
    return drawn


def _read_source(
    builder: type[FaceBuilder], source: Path, spec: InputSpec, options: BuildOptions, work: Path
) -> Source:
    unpacked = work / "unpacked"
    unpacked.mkdir()
    request = Request(unpacked, own_groups=options.own_groups, clips=options.clips)
    found = builder.read_source(source, request)
    if not found.rows:
        reasons = collections.Counter(rejection.reason for rejection in found.left_out)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        raise UserError(
            f"{source}: nothing to read{f' ({why})' if why else ''}: wanted {builder.SOURCE_HELP}"
        )
    notes = found.notes
    if spec.sound is None and any(row.audio_path or row.spectrogram_path for row in found.rows):
        notes = (*notes, "sound is named and not kept: --sound=log_mel keeps it")
    return dataclasses.replace(found, notes=notes)


def _digests(rows: Sequence[Row], spec: InputSpec, options: BuildOptions) -> list[bytes]:
    each = content_digests(rows, spec.sound is not None, options.workers)
    return list(tqdm(each, total=len(rows), desc="checksums", unit="file", disable=None))


def _read_options(
    builder: type[FaceBuilder], rows: Sequence[Row], options: BuildOptions
) -> ReadOptions:
    clips = not all(row.is_still for row in rows)
    return ReadOptions(
        max_frames=options.clip_frames if clips else 1,
        faces=options.faces or builder.DEFAULTS.faces,
    )


def _alike(found: Source, digests: Sequence[bytes]) -> list[list[str]]:
    """Return the files with the same bytes, by their people, where each is a person of its own.

    Empty for all other sets, and where the owner has given the splits.
    """
    if not found.own_groups or found.rows[0].split:
        return []
    together: dict[bytes, set[str]] = {}
    for row, digest in zip(found.rows, digests, strict=True):
        # Of a clip or picture that of its own file: it shows the same face, whatever is heard.
        main = digest if row.path is None else digest[:_DIGEST_BYTES]
        if len(main) >= _DIGEST_BYTES and MISSING not in main:
            together.setdefault(main, set()).add(row.subject)
    return sorted(sorted(people) for people in together.values() if len(people) > 1)


def _homes(
    source: Path, rows: Sequence[Row], options: BuildOptions, alike: Sequence[Sequence[str]]
) -> dict[str, str]:
    """Return the split of each person: the owner's, or drawn; those who are alike have one."""
    if rows[0].split:
        assert_disjoint(
            {split: {row.subject for row in rows if row.split == split} for split in SPLITS},
            str(source),
        )
        return {row.subject: row.split for row in rows}
    first = {person: people[0] for people in alike for person in people}
    try:
        people = split_by_subject(
            [first.get(row.subject, row.subject) for row in rows],
            options.fractions,
            options.seed,
            [(row.emotion, row.domain) for row in rows],
        )
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    drawn = {person: split for split, members in people.items() for person in members}
    return {row.subject: drawn[first.get(row.subject, row.subject)] for row in rows}


def _fill_cells(jobs: Sequence[Job], reading: Reading, options: BuildOptions, say: Say) -> int:
    """Read all rows into cells and return how many a stopped build had read already."""
    drop_strangers(reading, jobs)
    missing = [job for job in jobs if not is_read(reading, job)]
    total = sum(len(job.rows) for job in jobs)
    known = total - sum(len(job.rows) for job in missing)
    if known:
        say(f"{known} of {total} files were read by a build that was stopped: kept")
    if options.beam is not None:
        beam.fill_cells(missing, reading, options.beam)
        return known
    work = functools.partial(read_into_cell, reading)
    start = threading.Thread(target=_start_tensorflow, daemon=True)
    with tqdm(total=total, initial=known, desc="faces", unit="file", disable=None) as bar:
        try:
            for job in work_off(missing, work, options.workers, options.patience_s):
                bar.update(len(job.rows))
                # Packing needs it, and its five seconds are free while the workers work. Not
                # before they run: it holds back the stderr that they would inherit.
                if options.workers and start.ident is None:
                    start.start()
        finally:
            if start.ident is not None:
                start.join()
    return known


def _start_tensorflow() -> None:
    # Packing asks again, and meets the error of a start that failed.
    with contextlib.suppress(Exception):
        load_tensorflow()


def _count(found: Source, jobs: Sequence[Job], reading: Reading, home: Mapping[str, str]) -> Tally:
    tally = Tally(reading.input_spec, dict(home), list(found.notes))
    for rejection in found.left_out:
        tally.add(rejection)
    for job in jobs:
        for result in load_cell(reading, job, arrays=False):
            tally.add(result)
    return tally


def _people_kept(source: Path, home: Mapping[str, str], tally: Tally) -> dict[str, list[str]]:
    """Return the people of each split that keeps an example; TFDS refuses an empty one."""
    if tally.kept == 0:
        first = f"; the first: {tally.left_out[0].detail}" if tally.left_out else ""
        raise UserError(f"{source}: no example is left: {tally.left_out_text()}{first}")
    for split in (split for split in SPLITS if split in home.values()):
        if split not in tally.people:
            tally.note(f"no example is left of the split {split}")
    return tally.people


def _drawn_from(spec: InputSpec, options: BuildOptions) -> dict[str, Any]:
    return {
        "input_spec": spec.to_dict(),
        "seed": options.seed,
        "faces": options.faces,
        "clip_frames": options.clip_frames,
        "size": dataclasses.asdict(options.size),
    }


def _fingerprint(
    name: str,
    found: Source,
    digests: Sequence[bytes],
    reading: Reading,
    options: BuildOptions,
) -> str:
    """Return a digest of all that decides what a build gives: files, options and code.

    The number of workers is not among it, nor where the files lie.
    """
    nowhere = {"path": None, "audio_path": None, "spectrogram_path": None}
    labelled = (dataclasses.replace(row, **nowhere) for row in found.rows)
    left_out = [(rejection.row.key, rejection.reason) for rejection in found.left_out]
    decisive = {
        "name": name,
        "input_spec": reading.input_spec.to_dict(),
        "options": dataclasses.asdict(reading.options),
        "seed": options.seed,
        "fractions": dict(options.fractions),
        "people": {who: dict(is_) for who, is_ in found.people.items()},
        "left_out": left_out,
        "own_groups": found.own_groups,
    }
    parts = (repr(row).encode() + digest for row, digest in zip(labelled, digests, strict=True))
    return _digest(decisive, parts)


def _digest(decisive: dict[str, Any], parts: Any = ()) -> str:
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    for part in itertools.chain([code_digest(_CODE)], parts):
        digest.update(part)
    return digest.hexdigest()


def _of_what_came(fingerprint: str, left_out: Sequence[Rejection]) -> str:
    """Return the fingerprint of a result: of other examples where a reader lost some files."""
    lost = sorted(one.row.key for one in left_out if one.reason == LOST)
    if not lost:
        return fingerprint
    return hashlib.sha256(json.dumps([fingerprint, lost]).encode()).hexdigest()


def _is_same(out: Path, fingerprint: str, retry: bool) -> bool:
    """Return whether `out` holds the whole result of the build with this fingerprint.

    Args:
        out: folder of the shards.
        fingerprint: of what is asked for.
        retry: what lost files to a reader is none.
    """
    try:
        report = read_json(out / REPORT_FILE)
    except UserError:
        return False
    return (
        report.get("asked", report.get("fingerprint")) == fingerprint
        and not (retry and LOST in report.get("left_out", {}))
        and (out / INPUT_SPEC_FILE).is_file()
        and report.get("shard_bytes") == _shard_bytes(out)
    )


def _shard_bytes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(folder.glob("*.tfrecord-*"))}
