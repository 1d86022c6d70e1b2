"""`emojax predict`: action units and emotions of pictures, folders, videos and a camera."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import tqdm
import tyro

from emojax.camera import CameraLostError
from emojax.errors import UserError, one_line
from emojax.files import is_full_disk
from emojax.runtime.artifact import Artifact, check_window
from emojax.runtime.clip_predictor import ClipPredictor
from emojax.runtime.gallery import PAGE, Gallery
from emojax.runtime.heat import write_heat
from emojax.runtime.looking import Looking
from emojax.runtime.neutral import Neutral, difference_types, parse_seconds
from emojax.runtime.occlusion import find_output
from emojax.runtime.predictor import Predictor
from emojax.runtime.process import (
    Tally,
    count_frames,
    prepare_folder,
    process_source,
    read_neutral,
)
from emojax.runtime.quiet import quiet_libraries
from emojax.runtime.rows import column_types
from emojax.runtime.sound_heat import write_sound_heat
from emojax.runtime.sources import Listing, Namer, Source, list_sources
from emojax.runtime.study import StudyFiles, study_tables
from emojax.runtime.summary import FileSummary
from emojax.runtime.tables import Form, Tables, check_tables
from emojax.shipped import DEFAULT, VOICES, find_model
from emojax.stopping import uninterrupted
from emojax.video import BrokenVideoError, is_sound_alone

PROGRAM = "emojax predict"

HEAT = "heat"
"""Folder of the pictures that show where the network looks."""

DESCRIPTION = """Find the faces in pictures and videos, and write what the network says about them.

Writes OUT/predictions.csv, one row per frame and face; OUT/summary.csv, one per file;
OUT/episodes.csv, from when to when an action unit was there or an emotion the highest in
a video; OUT/annotated/, a copy of each file with boxes and bars; and OUT/index.html, a page that
shows them side by side. A frame without a
face is a row with success=0. All replace what an earlier run left under the same name.

  emojax predict photo.jpg
  emojax predict voice.wav                             (six emotions, by the network for voices)
  emojax predict holiday/ talk.mp4 --model artifact --out results
  emojax predict lecture.mkv --model artifact --no-annotate --every 5
  emojax predict talk.mp4 --model artifact --detect-every 10 --smooth 0.3
  emojax predict photo.jpg --heat happiness            (where the network looks: OUT/heat/)
  emojax predict 0 --model artifact --seconds 60       (the first camera; or until Ctrl-C)

A network for clips (ar3, ar5) looks at a window of a video at a time and, where it listens, hears
the video's own sound; a sound alone is input too, a row for each window, with success=0. A row has
the answer of the newest whole window before it: window_start and window_end, in seconds.

  emojax predict talk.mp4 voice.wav --model clip_artifact --window 2.5 --step 0.5

The columns: file (a CSV has ./ before a name that a spreadsheet would compute, such as =1+1.png),
frame (from 0), face_id (stays while a face is in view), timestamp (seconds; of a camera by the
clock, from its first frame), confidence (the detector's score), success, x, y, w, h (pixels),
AU01_c .. (0 or 1), AU01_p .. (probability), emotion, uncertain (1 where the highest score is below
what spec.json calls uncertain), emotion_neutral_p .., face_size (height of the box as a share of
the frame's), blur (variance of the crop's Laplacian: the lower, the more blurred), brightness (mean
of the crop, 0 to 255)

Ends with 0; with 1 when a video broke in the middle or a camera was pulled out (the rows up
to there are kept); with 2 when a file or folder can't be read (the others are done all the same),
a copy can't be written (its rows are there all the same) or the disk is full (nothing more is
done); with 130 after Ctrl-C. Whatever happens, what was written can be read; an annotated video
then ends up to a second early.
"""


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """What `emojax predict` takes."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Pictures, videos, and folders, which are searched with their subfolders and those that links
    lead to; a camera by its number, such as 0."""
    model: Path | None = None
    """Artifact folder, as the export writes it: spec.json and what it names; or `faces` or
    `voices`, which come with emojax. Unset: `faces`, seven emotions, no action units; where all
    there is are sounds, `voices`, six emotions."""
    out: Path = Path("predictions")
    """Folder for the table and the annotated copies; made where it is missing."""
    annotate: bool = True
    """Write annotated copies, and the page that shows them."""
    also: tuple[Literal["jsonl", "parquet"], ...] = ()
    """Write the tables in these forms too: a JSON object a line; Apache Parquet, which needs
    emojax[table] and can be read once the command has ended."""
    precision: Literal["float32", "float16", "int8"] | None = None
    """What the network computes in; unset: what the artifact names, int8 where that costs less
    than 0.01 of recall and ROC area."""
    cues: bool = False
    """Write cues.csv: of each stretch of a video with an emotion, which action units of its
    prototype are missing, and which belong to other emotions."""
    elan: bool = False
    """Write elan/NAME.eaf for each video and sound: its episodes as tiers for the annotation editor
    ELAN."""
    heat: Annotated[str | None, tyro.conf.arg(metavar="highest|OUTPUT")] = None
    """Of each picture write heat/NAME.png: where the network looks. A square is moved over each
    face, and what it covers is orange where that lowers an output: AU12, happiness, ..; highest:
    of each face its highest emotion. By a network that listens of each sound and video: where it
    does. About a second a face or a sound."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Threads of the processor to use."""
    every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Look at one frame of so many; 1 is all of them."""
    detect_every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Search one whole frame of so many for faces, and look near where they were in the others:
    10 is several times as fast, and somebody new is seen up to 10 frames late."""
    neutral: Annotated[str | None, tyro.conf.arg(metavar="first:2s|FILE")] = None
    """Add AU01_d .., emotion_neutral_d ..: how far each probability is from the person's neutral
    face. first:2s: its mean over each face's own first 2 seconds in a video; FILE: over all faces
    of a picture or video. Rows are written so many seconds late."""
    blur_faces: bool = False
    """Make faces unrecognisable in the annotated copies, also where they are lost for a moment.
    Look at the copies before you hand them on: a face that is not found is shown."""
    smooth: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.0
    """Average a face's probabilities over about so long; 0 leaves them as they are."""
    seconds: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    """For how long to look at a camera; unset: until Ctrl-C."""
    window: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    """Of a network for clips: how long a clip is; unset: as long as those it was trained on."""
    step: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    """Of a network for clips: how long after a clip the next one begins; unset: what the artifact
    names, a quarter of its window."""


def _tell(line: str, stream: Literal["stdout", "stderr"] = "stdout") -> None:
    """Print a line, whatever it holds, below the progress bar where there is one."""
    to = getattr(sys, stream)
    if to is None:
        return
    try:
        tqdm.tqdm.write(one_line(line), file=to)
        to.flush()
    except BrokenPipeError:
        # Its reader went away (`emojax ... | head`): the tables are for another.
        nowhere = open(os.devnull, "w", errors="replace")  # noqa: SIM115 - outlives this function
        setattr(sys, stream, nowhere)


def _complain(message: str) -> None:
    _tell(f"{PROGRAM}: error: {message}", "stderr")


def _say_summary(
    options: PredictOptions, listing: Listing, tallies: list[Tally], looked_into: int
) -> None:
    frames = sum(tally.frames for tally in tallies)
    faces = sum(tally.faces for tally in tallies)
    without = sum(tally.without_face for tally in tallies)
    copies = sum(tally.annotated is not None for tally in tallies)
    windows = sum(tally.windows for tally in tallies)
    read = sum(tally.frames > 0 for tally in tallies)
    heard = sum(tally.windows > 0 for tally in tallies)
    parts = []
    if read or not heard:
        parts += [
            f"{_count(faces, 'face')} in {_count(frames, 'frame')} of {_count(read, 'file')}",
            f"{_count(without, 'frame')} without a face",
        ]
    if heard:
        parts.append(f"{_count(windows, 'clip')} of {_count(heard, 'sound')}")
    rows = _count(faces + without + windows, "row")
    _tell(f"{options.out / 'predictions.csv'}: {rows}: {', '.join(parts)}")
    if options.annotate:
        kinds = "annotated copies" if copies != 1 else "annotated copy"
        _tell(f"{options.out / 'annotated'}: {copies} {kinds}")
        _tell(f"{options.out / PAGE}: all of it, to be looked at")
    if options.heat is not None:
        _tell(f"{options.out / HEAT}: what the network goes by in {_count(looked_into, 'file')}")
    if listing.num_skipped:
        number = listing.num_skipped
        verb = "is" if number == 1 else "are"
        _tell(f"skipped {_count(number, 'file')} that {verb} no picture and no video")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _looking(options: PredictOptions, artifact: Artifact) -> Looking:
    """Return how a video is looked at.

    Raises:
        UserError: a window, and a network that needs none; or one that makes no sense.
    """
    looking = Looking(options.every, options.detect_every, options.smooth, seconds=options.seconds)
    if options.window is None and options.step is None:
        return looking
    if artifact.clip is None:
        flag = "--window" if options.window is not None else "--step"
        raise UserError(f"{flag}: {artifact.folder} looks at single frames: leave it out")
    window_s = artifact.clip.window_s if options.window is None else options.window
    step_s = min(artifact.clip.step_s, window_s) if options.step is None else options.step
    check_window(window_s, step_s, "--window and --step")
    return dataclasses.replace(looking, window_s=window_s, step_s=step_s)


def _check_heat(options: PredictOptions, predictor: Predictor | ClipPredictor) -> None:
    """Refuse heat of what the network does not answer, before any work.

    Raises:
        UserError: it looks at clips, or has no such output.
    """
    if options.heat is None:
        return
    spec = predictor.spec
    if isinstance(predictor, ClipPredictor) and not predictor.hears:
        raise UserError(f"--heat: {predictor.artifact.folder} looks at clips: leave it out")
    try:
        find_output(options.heat, np.zeros(spec.num_outputs), spec)
    except UserError as error:
        raise UserError(f"--heat: {error}") from None


def _write_heat(
    source: Source, predictor: Predictor | ClipPredictor, looking: Looking, wanted: str, to: Path
) -> bool:
    """Write where the network looks in a picture or listens in a sound; return whether it does.

    Raises:
        UserError: the file can't be read, or the picture not be written.
        OSError: the disk is full.
    """
    try:
        if isinstance(predictor, ClipPredictor):
            window_s, step_s = looking.window_s, looking.step_s
            write_sound_heat(source.path, predictor, wanted, to, window_s, step_s)
        elif source.kind == "picture":
            write_heat(source.path, predictor, wanted, to)
        else:
            return False
    except OSError as error:
        if is_full_disk(error):
            raise
        remedy = "choose another --out"
        raise UserError(f"{to}: can't be written ({error.strerror or error}): {remedy}") from None
    return True


def _find_model(options: PredictOptions) -> Path:
    """Return the network that is named, else the one of emojax's own that suits what there is."""
    if options.model is not None:
        return find_model(options.model)
    # Who has thousands of videos waits for the first one to be opened, and not for all.
    plain = list_sources(options.paths, options.out, cameras=True)
    if any(one.kind != "video" or not is_sound_alone(one.path) for one in plain.sources):
        return find_model(None, DEFAULT)
    listing = list_sources(options.paths, options.out, listens=True, cameras=True)
    only_sounds = {source.kind for source in listing.sources} == {"sound"}
    return find_model(None, VOICES if only_sounds else DEFAULT)


def predict(options: PredictOptions) -> int:
    """Write the table and the copies, and return the exit status.

    Raises:
        UserError: before any work: no input at all, no artifact, or no place to write to.
    """
    from emojax.runtime import load_artifact, make_predictor

    if not options.paths:
        raise UserError("no input: name a picture, a video, a folder or a camera's number")
    for name in ("threads", "every", "detect_every"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {getattr(options, name)}: wanted 1 or more")
    if not 0 <= options.smooth < math.inf:
        raise UserError(f"--smooth {options.smooth}: wanted seconds, 0 or more")
    if options.seconds is not None and not 0 < options.seconds < math.inf:
        raise UserError(f"--seconds {options.seconds}: wanted seconds above 0")
    if options.blur_faces and not options.annotate:
        raise UserError("--blur-faces: --no-annotate leaves no copies to blur: give one of the two")
    if options.heat is not None and options.blur_faces:
        raise UserError("--heat: its pictures show faces, and --blur-faces hides them: give one")
    seconds = None if options.neutral is None else parse_seconds(options.neutral)
    forms: tuple[Form, ...] = ("csv", *dict.fromkeys(options.also))
    cv2.setNumThreads(options.threads)
    artifact = load_artifact(_find_model(options), options.precision)
    predictor = make_predictor(artifact, options.threads)
    looking = _looking(options, artifact)
    _check_heat(options, predictor)
    columns, neutral = column_types(artifact.spec), None
    if options.neutral is not None:
        columns |= difference_types(artifact.spec)
        neutral = Neutral(seconds)
        if seconds is None:
            neutral = read_neutral(options.neutral, predictor, looking)
    listens = artifact.spec.sound is not None
    listing = list_sources(options.paths, options.out, listens=listens, cameras=True)
    if not listing.sources and len(listing.mistakes) == 1:
        raise listing.mistakes[0]
    for mistake in listing.mistakes:
        _complain(str(mistake))
    status = 2 if listing.mistakes else 0
    if not listing.sources:
        return status
    inside = {"annotated": options.annotate, HEAT: options.heat is not None}
    prepare_folder(options.out, [name for name, wanted in inside.items() if wanted])
    namer = Namer(options.out / "annotated", listing.sources)
    heat_namer = Namer(options.out / HEAT, listing.sources)
    tallies: list[Tally] = []
    looked_into = 0
    rows_to = options.out / "predictions"
    check_tables([rows_to, *study_tables(options.out, options.cues)], forms)
    with (
        Tables(rows_to, columns, forms) as table,
        StudyFiles(options.out, predictor.spec, forms, options.cues, options.elan) as study,
        # Last: a table that can't be opened leaves the page of an earlier run as it is.
        Gallery(
            options.out, predictor.spec, predictor.artifact.notice, options.annotate
        ) as gallery,
        tqdm.tqdm(total=count_frames(listing.sources), unit="frame", disable=None) as bar,
    ):
        for source in listing.sources:
            tally = Tally()
            tallies.append(tally)
            is_sound = source.kind == "sound"
            copy_to = namer.name(source) if options.annotate and not is_sound else None
            summary = FileSummary(str(source.path), predictor.spec, is_sound)
            try:
                process_source(
                    *(source, predictor, table, tally, copy_to, looking, bar.update, summary),
                    neutral=neutral,
                    hide_faces=options.blur_faces,
                )
                if options.heat is not None:
                    to = heat_namer.name_with(source, ".png")
                    looked_into += _write_heat(source, predictor, looking, options.heat, to)
            except (BrokenVideoError, CameraLostError) as error:
                _complain(str(error))
                status = max(status, 1)
            except UserError as error:
                _complain(str(error))
                status = 2
            finally:
                # Whatever happened: what was seen until then.
                with uninterrupted():
                    study.add(source, summary)
                    gallery.add(source, tally.annotated, summary.row())
            if tally.not_annotated is not None:
                _complain(str(tally.not_annotated))
                status = 2
            if tally.without_face:
                where = (
                    f"in {_count(tally.without_face, 'frame')} of {tally.frames}"
                    if source.kind != "picture"
                    else "in the picture"
                )
                _tell(f"{source.path}: no face {where}: kept with success=0")
    _say_summary(options, listing, tallies, looked_into)
    threads = _count(options.threads, "thread")
    _tell(f"network: {predictor.artifact.precision} by LiteRT, {threads} of the processor")
    if predictor.artifact.notice:
        _tell(f"note: {predictor.artifact.notice}")
    return status


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status."""
    options = tyro.cli(PredictOptions, prog=PROGRAM, description=DESCRIPTION, args=arguments)
    with quiet_libraries():
        return predict(options)
