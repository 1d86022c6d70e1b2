"""Shards read back: whole batches parsed at once, straight into arrays.

TFDS's own reader parses one example at a time, at about a third of the speed.
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emojax.data.quiet import as_arrays, load_tensorflow
from emojax.data.splits import SPLITS
from emojax.errors import UserError
from emojax.labels import MODALITIES
from emojax.spec import InputSpec, read_json, spec_from_dict
from emojax.stopping import uninterrupted

INPUT_SPEC_FILE = "input_spec.json"
REPORT_FILE = "report.json"
MANIFEST = "manifest"
"""Name of the builder of somebody's own set, whatever is in it."""

SAME_BYTES = "same_bytes"
"""Where report.json lists the files with the same bytes, of a set in which each is a person."""

PEOPLE_FILE = "people.json"
INFO_FILE = "dataset_info.json"

DESCRIPTION_FILES = (INFO_FILE, "features.json", INPUT_SPEC_FILE, REPORT_FILE)
"""What says of a folder of shards what it is; without one of them it is none."""

BAKED_FIELDS = (
    "height",
    "width",
    "channels",
    "crop_scale",
    "equalise",
    "sound",
    "action_units",
    "emotions",
)
"""What of an `InputSpec` stands in the shards; the rest is applied when they are read."""

_BATCH = 256
_CLIP_BATCH_BYTES = 8 * 2**20


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What a folder of shards holds."""

    name: str
    """The builder's: `manifest`, `synthetic` and so on."""
    folder: Path
    input_spec: InputSpec
    max_frames: int
    """Crops per example: 1 for pictures."""
    num_examples: dict[str, int]
    """By split; 0 where the set has none in it."""
    report: dict[str, Any]
    """What the build wrote into report.json."""

    @property
    def title(self) -> str:
        """What people call it: a manifest's examples have no name but their folder's."""
        return self.folder.absolute().name if self.name == MANIFEST else self.name


@dataclasses.dataclass(frozen=True)
class FaceArrays:
    """A split as arrays; n examples of t frames, u action units."""

    faces: np.ndarray  # uint8 [n, t, height, width], gray, zeros after num_frames
    spectrograms: np.ndarray  # uint8 [n, frequency, time], row 0 the highest; [n, 0, 0] without
    has_sound: np.ndarray  # uint8 [n], 1 or 0
    num_frames: np.ndarray  # int32 [n], 0..t; 0 where there is only sound
    timestamps: np.ndarray  # float32 [n, t], seconds
    success: np.ndarray  # uint8 [n, t], 0 where a neighbour's face stands in
    emotion: np.ndarray  # int32 [n], index into input_spec.emotions, -1 unknown
    emotion_confidence: np.ndarray  # float32 [n], 0..1
    votes: np.ndarray  # int32 [n, modality, emotion], zeros where nobody voted
    votes_total: np.ndarray  # int32 [n, modality], votes for other emotions among them
    action_units: np.ndarray  # int32 [n, u], 1 present, 0 absent, -1 unknown
    intensities: np.ndarray  # float32 [n, u], 0..1, -1 unknown
    action_unit_confidence: np.ndarray  # float32 [n, u], 0..1
    subject: np.ndarray  # int32 [n], index into subjects
    domain: np.ndarray  # int32 [n], index into domains
    subjects: tuple[str, ...]
    domains: tuple[str, ...]
    paths: tuple[str, ...]
    levels: tuple[str, ...]
    """How strongly it was acted, in the owner's word; empty where nobody said."""


def dataset_info(dataset_dir: Path) -> DatasetInfo:
    """Return what a folder of shards holds, without reading the shards.

    Raises:
        UserError: no such folder, or it is not a data set that emojax built.
    """
    dataset_dir = Path(dataset_dir)
    if not dataset_dir.is_dir():
        raise UserError(f"{dataset_dir}: no such folder: build it with  emojax data build")
    for name in DESCRIPTION_FILES:
        if not (dataset_dir / name).is_file():
            raise UserError(
                f"{dataset_dir}: not a data set of emojax ({name} is missing): "
                "give the folder that  emojax data build  wrote"
            )
    spec_file = dataset_dir / INPUT_SPEC_FILE
    report = read_json(dataset_dir / REPORT_FILE)
    builder = open_builder(dataset_dir)
    return DatasetInfo(
        name=builder.info.name,
        folder=dataset_dir,
        input_spec=spec_from_dict(read_json(spec_file), str(spec_file)),
        max_frames=builder.info.features["faces"].shape[0],
        num_examples={
            split: builder.info.splits[split].num_examples if split in builder.info.splits else 0
            for split in SPLITS
        },
        report=report,
    )


def load_split(dataset_dir: Path, split: str, input_spec: InputSpec | None = None) -> FaceArrays:
    """Return all examples of a split, in the shards' order.

    Args:
        dataset_dir: what `build_dataset` returned.
        split: train, validation or test; one without examples gives empty arrays.
        input_spec: the contract that the caller needs; None takes the shards' own.

    Raises:
        UserError: no such folder or split, a shard that is missing, truncated
            or altered, or shards that were cut for another contract.
    """
    info = dataset_info(dataset_dir)
    if split not in SPLITS:
        raise UserError(f"split {split!r}: use {', '.join(SPLITS)}")
    if input_spec is not None:
        _check_contract(info, input_spec)
    parts = list(read_batches(info, split))
    columns: dict[str, Any] = {}
    if info.input_spec.sound is None:
        count = info.num_examples[split]
        columns["spectrograms"] = np.zeros((count, 0, 0), np.uint8)
        columns["has_sound"] = np.zeros(count, np.uint8)
    for name in empty_columns(info):
        columns[name] = np.concatenate(
            [empty_columns(info)[name], *(part.pop(name) for part in parts)]
        )
    if "spectrogram" in columns:
        columns["spectrograms"] = columns.pop("spectrogram")
    subjects, subject = np.unique(columns.pop("subject"), return_inverse=True)
    domains, domain = np.unique(columns.pop("domain"), return_inverse=True)
    return FaceArrays(
        **{name: columns.pop(name) for name in tuple(columns) if name not in ("path", "level")},
        subject=subject.astype(np.int32),
        domain=domain.astype(np.int32),
        subjects=tuple(subjects.tolist()),
        domains=tuple(domains.tolist()),
        paths=tuple(columns["path"].tolist()),
        levels=tuple(columns["level"].tolist()),
    )


def load_whole(dataset_dir: Path) -> FaceArrays:
    """Return all examples of a data set, split after split, whatever splits it has.

    Raises:
        UserError: as `load_split`.
    """
    info = dataset_info(dataset_dir)
    parts = [load_split(dataset_dir, split) for split in SPLITS if info.num_examples[split]]
    joined: dict[str, Any] = {}
    for field in dataclasses.fields(FaceArrays):
        columns = [getattr(part, field.name) for part in parts]
        if isinstance(columns[0], np.ndarray):
            joined[field.name] = np.concatenate(columns)
        else:
            joined[field.name] = tuple(itertools.chain.from_iterable(columns))
    for one, many in (("subject", "subjects"), ("domain", "domains")):
        # Each split counts its own names.
        named = [np.array(getattr(part, many), str)[getattr(part, one)] for part in parts]
        names, index = np.unique(np.concatenate(named), return_inverse=True)
        joined[one], joined[many] = index.astype(np.int32), tuple(names.tolist())
    return FaceArrays(**joined)


def read_batches(
    info: DatasetInfo, split: str, columns: Sequence[str] | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of examples, columns as in `FaceArrays` with subject, domain, path as str.

    Args:
        info: of the folder.
        split: train, validation or test; nothing is yielded for one without examples.
        columns: which to parse; None: all.

    Raises:
        UserError: a shard is missing, truncated or altered.
    """
    expected = info.num_examples[split]
    if expected == 0:
        return
    tf = load_tensorflow()
    builder = open_builder(info.folder)
    record = {
        name: feature
        for name, feature in builder.info.features.tf_example_spec.items()
        if columns is None or name in columns
    }
    files = [str(info.folder / Path(path).name) for path in builder.info.splits[split].filepaths]
    templates = empty_columns(info)
    example_bytes = templates["faces"][:0].itemsize * int(np.prod(templates["faces"].shape[1:]))
    size = max(1, min(_BATCH, _CLIP_BATCH_BYTES // example_bytes))

    def parse(serialized):
        fields = tf.io.parse_example(serialized, record)
        for name in ("faces", "success", "spectrogram"):
            if name in fields:
                flat = tf.io.decode_raw(fields[name], tf.uint8)
                fields[name] = tf.reshape(flat, (-1, *templates[name].shape[1:]))
        return fields

    with uninterrupted():
        batches = tf.data.TFRecordDataset(files).batch(size).map(parse, num_parallel_calls=2)
    count = 0
    try:
        for batch in as_arrays(batches.prefetch(2)):
            fields = {name: typed(values, templates[name]) for name, values in batch.items()}
            count += len(next(iter(fields.values())))
            yield fields
    except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as e:
        reason = e.message.split("\n")[0][:160]
        raise UserError(
            f"{info.folder}: a shard of {split} is missing, truncated or altered "
            f"after {count} examples ({reason}): build the data set again"
        ) from None
    if count != expected:
        raise UserError(
            f"{info.folder}: the shards of {split} hold {count} examples, dataset_info.json says "
            f"{expected}: build the data set again"
        )


def open_builder(dataset_dir: Path) -> Any:
    """Return TFDS's builder of a folder of shards.

    Raises:
        UserError: the files that describe the shards can't be read.
    """
    with uninterrupted():
        import tensorflow_datasets as tfds

    load_tensorflow()
    try:
        with uninterrupted(), warnings.catch_warnings():
            # TFDS 4.9 asks protobuf in a way that protobuf 6 deprecates.
            warnings.filterwarnings("ignore", r"label\(\) is deprecated", DeprecationWarning)
            return tfds.builder_from_directory(dataset_dir)
    except Exception as error:  # TFDS and protobuf raise what they like over a damaged JSON.
        raise UserError(
            f"{dataset_dir}: dataset_info.json or features.json can't be read "
            f"({str(error).splitlines()[0][:160]}): build the data set again"
        ) from None


def empty_columns(info: DatasetInfo) -> dict[str, np.ndarray]:
    """Return a column of no examples under each name, with the dtype and shape it is read in."""
    spec, frames = info.input_spec, info.max_frames
    units = len(spec.action_units)
    heard = {}
    if spec.sound is not None:
        heard = {
            "spectrogram": np.zeros((0, spec.sound.height, spec.sound.width), np.uint8),
            "has_sound": np.zeros(0, np.uint8),
        }
    return {
        "faces": np.zeros((0, frames, spec.height, spec.width), np.uint8),
        "num_frames": np.zeros(0, np.int32),
        "timestamps": np.zeros((0, frames), np.float32),
        "success": np.zeros((0, frames), np.uint8),
        "emotion": np.zeros(0, np.int32),
        "emotion_confidence": np.zeros(0, np.float32),
        "votes": np.zeros((0, len(MODALITIES), len(spec.emotions)), np.int32),
        "votes_total": np.zeros((0, len(MODALITIES)), np.int32),
        "level": np.zeros(0, str),
        "action_units": np.zeros((0, units), np.int32),
        "intensities": np.zeros((0, units), np.float32),
        "action_unit_confidence": np.zeros((0, units), np.float32),
        "subject": np.zeros(0, str),
        "domain": np.zeros(0, str),
        "path": np.zeros(0, str),
        **heard,
    }


def typed(values: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Return a parsed column in the template's dtype; TFDS's integers come back as int64."""
    if template.dtype.kind == "U":
        return np.array([text.decode("utf-8") for text in values.tolist()], str)
    return values.astype(template.dtype, copy=False)


def _check_contract(info: DatasetInfo, wanted: InputSpec) -> None:
    for name in BAKED_FIELDS:
        found, asked = getattr(info.input_spec, name), getattr(wanted, name)
        if found != asked:
            raise UserError(
                f"{info.folder}: built with {name}={found!r}, wanted {asked!r}: "
                "build it again, or use the contract it was built with"
            )
