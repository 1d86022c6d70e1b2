"""An artifact folder -> a checked record: nothing is run that does not fit its spec."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from emojax.errors import UserError
from emojax.face import Detector, make_detector
from emojax.files import require_file
from emojax.filter_bank import REFERENCE, FilterBank, read_filter_bank
from emojax.golden import Looks, input_shapes
from emojax.labels import EMOTION_SETS
from emojax.litert import input_name, open_interpreter
from emojax.seal import SEAL, checksum
from emojax.spec import InputSpec, read_json, spec_from_dict
from emojax.temperature import LARGEST, SMALLEST, Temperatures

FORMAT = "emojax-artifact"
"""The value of `format` in spec.json."""

VERSION = 1
"""Raised when a reader of the old form would misread the new one."""

PRECISIONS = ("float32", "float16", "int8")
"""What a model can be computed in. An artifact has float32 at least."""


LARGEST_FILE = 1 << 30
"""Bytes of a model: five times the largest network's, and half of what a TFLite file can hold."""

SHORTEST_S, LONGEST_S = 0.05, 60.0
"""Seconds that a clip, and the step from one to the next, may have."""


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """How clips like those that a network was trained on are taken out of a video or a sound."""

    window_s: float
    """Seconds of a clip: the median of the training clips."""
    step_s: float
    """Seconds from the beginning of one clip to that of the next."""
    kept_frames: int
    """Frames that the shards kept of a clip; the network's are taken from among them."""
    sees: bool
    """Whether the network has a branch for frames."""
    bank: FilterBank | None
    """What its spectrograms are made with; None for a network without a branch for sound."""


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An exported model and what it says about itself."""

    folder: Path
    """Where it was read from."""
    model: bytes
    """The TFLite flatbuffer, checked against its checksum and against `spec`."""
    precision: str
    """Which of `PRECISIONS` it is."""
    spec: InputSpec
    """How a face becomes input, and what the outputs are called."""
    thresholds: np.ndarray
    """float32 [action units]: from here on a unit counts as present."""
    looks: Looks
    """A picture, the frames of a clip, or a clip with its sound."""
    clip: ClipSettings | None
    """How a clip is taken out of a video; None for a network for pictures."""
    temperatures: Temperatures
    """What makes the model's answers mean what they say."""
    uncertain_below: float | None
    """Calibrated score of the highest emotion, 0..1, below which it is uncertain; None: unknown."""
    mirrored: bool
    """A face is answered with the mean for itself and for its mirror image."""
    detector: Detector
    """Finds the faces as they were found for training."""
    notice: str | None
    """What a user has to be told about the training data."""
    fields: Mapping[str, Any]
    """All of spec.json: training data, licence, commit, metrics and more."""


def read_section(fields: Mapping[str, Any], name: str, source: Path) -> dict[str, Any]:
    """Return an object of spec.json.

    Args:
        fields: the object that holds it.
        name: its key.
        source: the spec's path, for the message.

    Raises:
        UserError: it is missing, or no object.
    """
    section = fields.get(name)
    if not isinstance(section, dict):
        raise UserError(
            f"{source}: {name!r} is {'missing' if section is None else 'no object'}: "
            "export the artifact again"
        )
    return section


def find_precision(fields: Mapping[str, Any], wanted: str | None, source: Path) -> str:
    """Return the precision to use: the one that is wanted, else what the artifact names.

    Raises:
        UserError: there is no such model in the artifact.
    """
    default = fields.get("default", PRECISIONS[0])
    chosen = default if wanted is None else wanted
    files = read_section(fields, "files", source)
    there = [precision for precision in PRECISIONS if precision in files]
    if chosen not in PRECISIONS or (wanted is not None and wanted not in there):
        raise UserError(
            f"{source}: no model in {chosen!r}: use {', '.join(there) or 'another artifact'}"
        )
    return chosen


def read_model(folder: Path, fields: Mapping[str, Any], precision: str) -> tuple[Path, bytes]:
    """Return a model file and what it holds, checked against its checksum.

    Args:
        folder: the artifact's.
        fields: of its spec.json.
        precision: one of `PRECISIONS`.

    Raises:
        UserError: no such model, a name that leads elsewhere, or another checksum.
    """
    source = folder / "spec.json"
    entry = read_section(read_section(fields, "files", source), precision, source)
    return read_checked(folder, entry, source, "the model")


def read_checked(
    folder: Path, entry: Mapping[str, Any], source: Path, what: str
) -> tuple[Path, bytes]:
    """Return a file that the spec names by `name` and `sha256`, and what it holds.

    Args:
        folder: the artifact's.
        entry: where the spec names the file.
        source: the spec's path.
        what: the file is, for the message.

    Raises:
        UserError: a name that leads elsewhere, no file, or another checksum.
    """
    name, checksum = entry.get("name"), entry.get("sha256")
    plain = isinstance(name, str) and name.isprintable() and not set(name) & set("/\\:")
    if not isinstance(name, str) or not plain or name in ("", ".", ".."):
        raise UserError(
            f"{source}: {what}'s file {name!r}: wanted the plain name of a file in the same folder"
        )
    path = require_file(folder / name, f"{what} that {source.name} names")
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise UserError(f"{path}: {size} bytes, wanted {what} of {LARGEST_FILE} at most")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != checksum:
        raise UserError(
            f"{path}: SHA-256 is {found[:12]}.., {source.name} says {str(checksum)[:12]}..: "
            "it was damaged or replaced: copy or export the artifact again"
        )
    return path, content


def _check_fit(model: bytes, looks: Looks, spec: InputSpec, path: Path, source: Path) -> None:
    interpreter = open_interpreter(model, 1, str(path))
    inputs = {input_name(details): details for details in interpreter.get_input_details()}
    shapes = input_shapes(looks, spec)
    if set(inputs) != set(shapes):
        raise UserError(
            f"{path} does not fit {source}: the model's inputs are "
            f"{', '.join(inputs) or 'missing'}, wanted {', '.join(shapes)}: "
            "export the artifact again"
        )
    # The only input of a network for pictures needs no name.
    sides = [
        ("input" if looks == "picture" else f"input {name}", [inputs[name]], shape)
        for name, shape in shapes.items()
    ]
    sides.append(("output", interpreter.get_output_details(), (1, spec.num_outputs)))
    for side, details, wanted in sides:
        found = [(tuple(map(int, one["shape"])), np.dtype(one["dtype"]).name) for one in details]
        if found != [(wanted, "float32")]:
            raise UserError(
                f"{path} does not fit {source}: the model's {side} is {_shapes(found)}, "
                f"the spec wants float32 {list(wanted)}: export the artifact again"
            )


def _shapes(found: list[tuple[tuple[int, ...], str]]) -> str:
    return " and ".join(f"{dtype} {list(shape)}" for shape, dtype in found) or "missing"


def _read_thresholds(fields: Mapping[str, Any], spec: InputSpec, source: Path) -> np.ndarray:
    values = read_section(fields, "thresholds", source).get("action_units")
    numbers = values if isinstance(values, list) else []
    good = all(type(value) in (int, float) and 0 <= value <= 1 for value in numbers)
    if not good or values is None or len(numbers) != len(spec.action_units):
        raise UserError(
            f"{source}: thresholds of the action units: wanted {len(spec.action_units)} "
            f"numbers in 0..1, found {values!r}"
        )
    return np.array(numbers, np.float32)


def _is_number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most


def _read_uncertain_below(fields: Mapping[str, Any], source: Path) -> float | None:
    value = read_section(fields, "thresholds", source).get("uncertain_below")
    if value is None:
        return None
    if not _is_number(value, 0, 1):
        raise UserError(f"{source}: uncertain_below is {value!r}: wanted a number in 0..1, or null")
    return float(value)


def _read_mirrored(fields: Mapping[str, Any], looks: Looks, source: Path) -> bool:
    value = fields.get("mirrored", False)
    if not isinstance(value, bool):
        raise UserError(f"{source}: mirrored is {value!r}: wanted true or false")
    if value and looks != "picture":
        raise UserError(
            f"{source}: mirrored is true, and looks_at is {looks!r}: only a network for pictures "
            "can be mirrored: export the artifact again"
        )
    return value


def _read_temperatures(fields: Mapping[str, Any], source: Path) -> Temperatures:
    """Return the temperatures; 1 where the artifact was never calibrated."""
    if fields.get("calibration") is None:
        return Temperatures()
    section = read_section(read_section(fields, "calibration", source), "temperature", source)
    values = {field.name: section.get(field.name) for field in dataclasses.fields(Temperatures)}
    for name, value in values.items():
        if not _is_number(value, SMALLEST, LARGEST):
            raise UserError(
                f"{source}: temperature of {name} is {value!r}: wanted a number in "
                f"{SMALLEST}..{LARGEST}: export the artifact again"
            )
    return Temperatures(**{name: float(section[name]) for name in values})


def _check_names(fields: Mapping[str, Any], spec: InputSpec, source: Path) -> None:
    outputs = read_section(fields, "outputs", source)
    for name in ("action_units", "emotions"):
        if outputs.get(name) != list(getattr(spec, name)):
            raise UserError(
                f"{source}: outputs and input disagree about {name}: {outputs.get(name)!r} and "
                f"{list(getattr(spec, name))!r}: export the artifact again"
            )
    known = {emotion for names in EMOTION_SETS.values() for emotion in names}
    if unknown := [emotion for emotion in spec.emotions if emotion not in known]:
        raise UserError(
            f"{source}: emotion {unknown[0]!r} is not known: use {', '.join(sorted(known))}"
        )


def _read_notice(fields: Mapping[str, Any]) -> str | None:
    training = fields.get("training")
    if not isinstance(training, dict):
        return None
    if isinstance(notice := training.get("notice"), str) and notice.strip():
        return " ".join(notice.split())
    if training.get("synthetic"):
        return "trained on synthetic faces; says nothing about real ones"
    return None


def read_looks(fields: Mapping[str, Any], spec: InputSpec, source: Path) -> Looks:
    """Return what a network looks at.

    Raises:
        UserError: something else, or what its input spec denies.
    """
    looks = fields.get("looks_at", "picture")
    if looks not in get_args(Looks):
        raise UserError(f"{source}: looks_at is {looks!r}: use {', '.join(get_args(Looks))}")
    if (looks == "picture") != (spec.frames == 1) or (spec.sound and looks != "clip"):
        heard = " with their sound" if spec.sound else ""
        raise UserError(
            f"{source}: looks_at is {looks!r}, the input spec tells of "
            f"{spec.frames} frame{'s' * (spec.frames > 1)}{heard} at once: "
            "export the artifact again"
        )
    return looks


def read_bank(folder: Path, fields: Mapping[str, Any], spec: InputSpec) -> FilterBank | None:
    """Return what an artifact's spectrograms are made with, None where it does not listen.

    Args:
        folder: the artifact's.
        fields: of its spec.json.
        spec: its input spec.

    Raises:
        UserError: no such file, another checksum, or other arrays than the spec's.
    """
    if spec.sound is None:
        return None
    source = folder / "spec.json"
    entry = read_section(fields, "sound", source)
    if entry.get("reference") != REFERENCE:
        raise UserError(
            f"{source}: sound's reference is {entry.get('reference')!r}, "
            f"this emojax knows {REFERENCE!r}: export the artifact again"
        )
    path, _ = read_checked(folder, entry, source, "the file of mel filters")
    return read_filter_bank(path, spec.sound)


def _read_clip(folder: Path, fields: Mapping[str, Any], spec: InputSpec) -> ClipSettings:
    source = folder / "spec.json"
    clip = read_section(fields, "clip", source)
    bank = read_bank(folder, fields, spec)
    window_s, step_s = check_window(clip.get("window_s"), clip.get("step_s"), f"{source}: clip")
    kept = clip.get("kept_frames")
    if type(kept) is not int or not 1 <= kept <= 10_000:
        raise UserError(f"{source}: clip's kept_frames is {kept!r}: wanted 1..10000")
    if type(sees := clip.get("sees")) is not bool or not (sees or bank):
        raise UserError(
            f"{source}: clip's sees is {sees!r}: wanted true, or false for a network that listens"
        )
    return ClipSettings(window_s, step_s, kept, sees, bank)


def check_window(window_s: Any, step_s: Any, source: str) -> tuple[float, float]:
    """Return seconds by which clips can be taken out of a video.

    Args:
        window_s: length of a clip.
        step_s: from the beginning of one to that of the next.
        source: where they come from, for the message.

    Raises:
        UserError: a value that is no number or out of range.
    """
    numbers = [type(value) in (int, float) for value in (window_s, step_s)]
    if not all(numbers) or not SHORTEST_S <= step_s <= window_s <= LONGEST_S:
        raise UserError(
            f"{source}: window of {window_s} s and step of {step_s} s: wanted {SHORTEST_S} to "
            f"{LONGEST_S:g} s, and a step that is no longer than the window"
        )
    return float(window_s), float(step_s)


def read_spec(folder: str | os.PathLike[str]) -> tuple[Path, dict[str, Any], InputSpec]:
    """Return an artifact's folder, what its spec.json says and its input spec.

    Raises:
        UserError: no artifact, or another format or version.
    """
    place = Path(folder)
    if not place.is_dir():
        found = "is a file" if place.exists() else "no such folder"
        raise UserError(f"{place}: {found}, wanted an artifact folder with spec.json and a model")
    source = place / "spec.json"
    fields = read_json(require_file(source, "an artifact's spec"))
    if fields.get("format") != FORMAT:
        raise UserError(f"{source}: format is {fields.get('format')!r}, wanted {FORMAT!r}")
    if SEAL in fields and fields[SEAL] != checksum(fields):
        raise UserError(
            f"{source}: does not fit its own SHA-256: it was damaged: copy or export the artifact "
            f"again (edited on purpose: remove its line {SEAL!r})"
        )
    if fields.get("version") != VERSION:
        raise UserError(
            f"{source}: artifact version {fields.get('version')!r}, this emojax reads {VERSION}: "
            "export it again with this version"
        )
    return place, fields, spec_from_dict(read_section(fields, "input", source), str(source))


def load_artifact(folder: str | os.PathLike[str], precision: str | None = None) -> Artifact:
    """Return what an artifact folder holds, after checking that it all fits together.

    Args:
        folder: holds `spec.json` and the model files that it names.
        precision: one of `PRECISIONS`; None: what the artifact names, which is int8 where that
            costs next to nothing.

    Raises:
        UserError: no artifact, another format or version, a checksum that does not
            match, or a model whose input or output does not fit the spec.
    """
    place, fields, spec = read_spec(folder)
    source = place / "spec.json"
    looks = read_looks(fields, spec, source)
    clip = None if looks == "picture" else _read_clip(place, fields, spec)
    _check_names(fields, spec, source)
    thresholds = _read_thresholds(fields, spec, source)
    temperatures = _read_temperatures(fields, source)
    detector = make_detector(read_section(fields, "detector", source), str(source))
    precision = find_precision(fields, precision, source)
    path, model = read_model(place, fields, precision)
    _check_fit(model, looks, spec, path, source)
    return Artifact(
        folder=place,
        model=model,
        precision=precision,
        spec=spec,
        thresholds=thresholds,
        temperatures=temperatures,
        uncertain_below=_read_uncertain_below(fields, source),
        mirrored=_read_mirrored(fields, looks, source),
        looks=looks,
        clip=clip,
        detector=detector,
        notice=_read_notice(fields),
        fields=fields,
    )
