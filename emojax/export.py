"""A trained run becomes an artifact: SavedModel, TFLite, `spec.json` and recorded answers.

```
artifact/
  model.tflite          float32 [1, height, width, 1] normalised -> float32 [1, outputs]
                        probabilities; networks for clips take the named inputs of `name_inputs`
  model_float16.tflite  the same, its weights in half precision
  model_int8.tflite     the same, computed in whole numbers; inputs and output are float32
  spec.json             the contract: input, outputs, detector, training data, licence, commit,
                        and for each model its checksum, agreement and figures
  sound.npz             mel filters and window, for a network that listens
  golden.npz            drawn faces and the answers to them
  saved_model/          the same graph for TensorFlow
```
"""

from __future__ import annotations

import dataclasses
import errno
import fnmatch
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from emojax.calibration import Calibration
from emojax.compiler import made_for_litert
from emojax.data.mel import make_mel_filters
from emojax.data.quiet import held_back_stderr
from emojax.data.shards import FaceArrays
from emojax.errors import UserError
from emojax.evaluate import sampled_faces
from emojax.face import HaarDetector
from emojax.files import NO_ROOM, write_json
from emojax.filter_bank import REFERENCE, SOUND, write_filter_bank
from emojax.golden import (
    GOLDEN,
    Golden,
    Recorded,
    input_ranges,
    name_inputs,
    write_golden,
)
from emojax.litert import Network
from emojax.losses import activation
from emojax.models import forward
from emojax.models.inputs import Clip, Looks
from emojax.quantise import FLOAT_PARTS, to_float16, to_int8
from emojax.run import source_commit
from emojax.seal import sealed
from emojax.spec import InputSpec, read_json
from emojax.stopping import uninterrupted

TOLERANCE = 1e-4
"""Largest difference between Flax and the float32 artifact, in probability."""

TOLERANCES: dict[str, float | None] = {"float32": TOLERANCE, "float16": 1e-3, "int8": None}
"""The same for each precision. Int8's is measured on people instead: `COST`."""

INT8_REPEATS = 0.02
"""Largest difference between an int8 model here and on the machine that made it."""

COST = 0.01
"""What int8 may lose in recall and ROC area before it is no longer what is used by default."""

SYNTHETIC_NOTICE = "trained on synthetic faces: what it says about real ones means nothing yet"

FILE_NAMES = {
    "float32": "model.tflite",
    "float16": "model_float16.tflite",
    "int8": "model_int8.tflite",
}

FORMAT = "emojax-artifact"
"""What `format` in spec.json says."""

WRITTEN = (
    *FILE_NAMES.values(),
    "spec.json",
    SOUND,
    GOLDEN,
    "saved_model",
    "saved_model/saved_model.pb",
    "saved_model/fingerprint.pb",
    "saved_model/assets",
    "saved_model/variables",
    "saved_model/variables/variables.index",
    "saved_model/variables/variables.data-?????-of-?????",
)
"""Patterns of all that an artifact's folder holds: where more is there, it is not replaced."""

_NOBODYS = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What systems leave in a folder that somebody looked into; .nfs..: of what is open elsewhere."""

Figures = dict[str, Any]


def spread(count: int, wanted: int) -> np.ndarray:
    """Return up to `wanted` of the places 0 to `count` - 1, in order and evenly spread."""
    return np.unique(np.linspace(0, count - 1, wanted).round().astype(int))


def record_examples(
    arrays: FaceArrays, looks: Looks, spec: InputSpec, wanted: int, *, sees: bool = True
) -> Recorded:
    """Return up to `wanted` examples of a split, spread over it.

    Of clips, each third is given without its sound and the next without its frames, so
    that the artifact is compared in every way it can be used. Not where the network has but
    one branch: what it makes of nothing at all would only stretch the scales of an int8 model.

    Args:
        arrays: the split.
        looks: what the network looks at.
        spec: what it sees and answers.
        wanted: how many examples.
        sees: whether a network for clips has a branch for frames.
    """
    chosen = spread(len(arrays.emotion), wanted)
    turn = np.arange(len(chosen)) % 3
    two_sided = looks == "clip" and spec.sound is not None and sees
    return record(arrays, spec, chosen, hidden=turn if two_sided else None)


def record(
    arrays: FaceArrays, spec: InputSpec, chosen: np.ndarray, hidden: np.ndarray | None = None
) -> Recorded:
    """Return examples of a split.

    Args:
        arrays: the split.
        spec: how many frames the network sees.
        chosen: int [n], which examples.
        hidden: int [n], of each the side that is left out: 1 the frames, 2 the sound; None: none.
    """
    hidden = np.zeros_like(chosen) if hidden is None else hidden
    return Recorded(
        crops=sampled_faces(arrays, spec.frames)[chosen],
        spectrograms=arrays.spectrograms[chosen],
        has_frames=((hidden != 1) * (arrays.num_frames[chosen] > 0)).astype(np.float32),
        has_sound=((hidden != 2) * arrays.has_sound[chosen]).astype(np.float32),
    )


def _answer(model: nn.Module, variables: Any, looks: Looks, spec: InputSpec) -> Callable[..., Any]:
    """Return the function from named inputs to probabilities that is exported."""

    def answer(**named: jax.Array) -> jax.Array:
        if looks == "picture":
            inputs: Any = named["faces"]
        elif looks == "frames":
            inputs = named["frames"]
        else:
            batch = named["frames"].shape[0]
            silence = jnp.zeros((batch, 0, 0, 1)), jnp.zeros(batch)
            inputs = Clip(
                named["frames"],
                named.get("spectrogram", silence[0]),
                named["has_frames"],
                named.get("has_sound", silence[1]),
            )
        logits = forward(model, variables, inputs).logits
        # The scope's name stays in the graph: the int8 model leaves these as they are.
        with jax.named_scope("probabilities"):
            return activation(logits, spec)

    return answer


def flax_answers(
    model: nn.Module,
    variables: Any,
    looks: Looks,
    spec: InputSpec,
    named: Mapping[str, np.ndarray],
) -> Float[np.ndarray, "n outputs"]:
    """Return the network's probabilities for named inputs, computed by Flax."""
    answer = jax.jit(_answer(model, variables, looks, spec))
    # A GPU multiplies float32 with ten bits, and a TPU with eight, unless told not to: further from
    # LiteRT than it may be from this.
    with jax.default_matmul_precision("highest"):
        return np.asarray(answer(**{name: jnp.asarray(array) for name, array in named.items()}))


def write_saved_model(
    model: nn.Module,
    variables: Any,
    looks: Looks,
    spec: InputSpec,
    named: Mapping[str, np.ndarray],
    folder: Path,
) -> None:
    """Write the network with its activations as a TensorFlow SavedModel, one example a call.

    Raises:
        OSError: it can't be written; the error names the folder.
    """
    import tensorflow as tf
    from jax.experimental import jax2tf

    answer = _answer(model, jax.tree.map(np.asarray, variables), looks, spec)
    names = list(named)

    def in_order(*arrays: jax.Array) -> jax.Array:
        return answer(**dict(zip(names, arrays, strict=True)))

    function = tf.function(
        # For a processor, whatever JAX computes on here.
        jax2tf.convert(in_order, with_gradient=False, native_serialization_platforms=("cpu",)),
        input_signature=[
            tf.TensorSpec((1, *array.shape[1:]), tf.float32, name=name)
            for name, array in named.items()
        ],
        autograph=False,
    )
    root = tf.train.Checkpoint(answer=function)
    try:
        with made_for_litert():
            tf.saved_model.save(root, str(folder), signatures=function)
    except tf.errors.OpError as error:
        # As "FILE; No space left on device", by one class or another.
        reason = error.message.rpartition("; ")[2]
        codes = (code for code in NO_ROOM if os.strerror(code) == reason)
        raise OSError(next(codes, errno.EIO), reason, str(folder)) from None


def convert_to_tflite(saved_model: Path) -> bytes:
    """Return the float32 TFLite model of a SavedModel."""
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_saved_model(str(saved_model)).convert()


def check_agreement(
    expected: Float[np.ndarray, "n outputs"],
    found: Float[np.ndarray, "n outputs"],
    tolerance: float | None = TOLERANCE,
    precision: str = "float32",
) -> float:
    """Return the largest difference between two sets of answers.

    Args:
        expected: Flax's.
        found: the exported model's.
        tolerance: above which it is refused; None: no difference is too large.
        precision: of the exported model, for the message.

    Raises:
        UserError: it is above the tolerance, or an answer is no number.
    """
    if expected.shape != found.shape:
        raise UserError(
            f"the exported {precision} model gives outputs {found.shape}, Flax {expected.shape}: "
            "nothing was written"
        )
    difference = float(np.abs(expected - found).max())
    limit = np.inf if tolerance is None else tolerance
    if not difference <= limit or not np.isfinite(difference):
        raise UserError(
            f"the exported {precision} model disagrees with Flax by {difference:.2e} "
            f"(allowed {limit:.0e}) on {len(expected)} recorded examples: nothing was written"
        )
    return difference


def _best_precision(figures: Mapping[str, Figures | None]) -> str:
    """Return what is used where nobody asks: int8 where it costs no more than `COST`."""
    exact, small = figures["float32"], figures["int8"]
    if not exact or not small:
        return "float32"
    names = ("emotion_unweighted_average_recall", "action_unit_macro_roc_area")
    costs = [exact[name] - small[name] for name in names if exact[name] is not None]
    return "int8" if costs and max(costs) <= COST else "float32"


def _calibration_fields(calibrated: Calibration | None, spec: InputSpec) -> Figures:
    """Return the sections `thresholds` and `calibration` of spec.json."""
    if calibrated is None:
        return {"thresholds": {"action_units": [0.5] * len(spec.action_units)}}
    return {
        "thresholds": {
            "action_units": list(calibrated.thresholds),
            "uncertain_below": calibrated.uncertain_below,
        },
        "calibration": {
            "temperature": dataclasses.asdict(calibrated.temperatures),
            "fitted_on": calibrated.facts,
        },
    }


def check_replaceable(folder: Path, beside: Sequence[str] = ()) -> None:
    """Refuse a place that is neither free nor an artifact's and nothing else's.

    Args:
        folder: the place; nothing needs to be there.
        beside: names of what may be there too.

    Raises:
        UserError: something is there that no export has written, and that would be lost.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "spec.json").is_file():
        raise UserError(f"{folder}: exists and is no artifact (no spec.json): choose another --out")
    try:
        found = read_json(folder / "spec.json").get("format")
    except UserError:
        found = None
    if found != FORMAT:
        raise UserError(
            f"{folder}: exists and is no artifact (format in its spec.json is {found!r}, wanted "
            f"{FORMAT!r}): choose another --out"
        )
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name in _NOBODYS or path.name.startswith(".nfs"):
            continue
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in (*WRITTEN, *beside)):
            raise UserError(
                f"{folder}: holds {name}, which no export has written and which would be lost: "
                "move it away, or choose another --out"
            )


def replace_folder(folder: Path, new: Path) -> None:
    """Put a new folder in a folder's place; the old one goes last, so that one is always whole.

    Args:
        folder: the place, without links; nothing needs to be there.
        new: on the same disk as `folder`.
    """
    old = new.with_name(f"{new.name}.old")
    # A Ctrl-C between the two would leave nothing in the folder's place.
    with uninterrupted():
        if not folder.exists():
            new.replace(folder)
            return
        folder.replace(old)
        try:
            new.replace(folder)
        except OSError:
            old.replace(folder)
            raise
        shutil.rmtree(old)


def export_artifact(
    model: nn.Module,
    variables: Any,
    looks: Looks,
    spec: InputSpec,
    recorded: Recorded,
    drawn: Recorded,
    calibration: Recorded,
    out: Path,
    *,
    training: dict[str, Any],
    metrics: dict[str, Any],
    clip: dict[str, Any] | None = None,
    calibrate: Callable[[Network], Calibration] | None = None,
    score: Callable[[Network, Calibration | None], Figures] | None = None,
    threads: int = 1,
    mirrored: bool = False,
    say: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Write an artifact folder, whole or not at all, and return what its spec.json says.

    Args:
        model: the network.
        variables: its trained variables.
        looks: what it looks at.
        spec: how frames and sound become its input.
        recorded: examples of the data set on which the artifact has to agree with Flax. They stay
            here: people who sat for a data set have not agreed to travel.
        drawn: examples on which it has to agree too, and which travel with it.
        calibration: training examples, from which int8 takes its scales.
        out: the artifact's folder; an artifact that is there is replaced, where nothing else is
            beside its files.
        training: what it was trained on, for the user.
        metrics: figures on held-out people, by Flax.
        clip: how clips are taken out of a video, for a network that looks at them.
        calibrate: chooses temperatures and thresholds for the float32 model; they are used with
            all precisions. None: answers stay as they are, a unit is present from one half on.
        score: figures of an exported model on held-out people; None: none are taken, and
            float32 is what is used by default.
        threads: of the processor, while figures are taken.
        mirrored: a face is answered with the mean for itself and for its mirror image; so are the
            figures taken, while what is compared with Flax is the network's own answer.
        say: is told what comes next.

    Raises:
        UserError: the artifact disagrees with Flax, or `out` holds something else.
        OSError: it can't be written, for want of room among others; the error names `out`.
    """
    # Whole, without links: `.` has no parent and a link is no folder that can be replaced.
    out = Path(os.path.realpath(out))
    check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    own, shown = (name_inputs(some, looks, spec) for some in (recorded, drawn))
    named = {name: np.concatenate([own[name], shown[name]]) for name in own}
    travel = slice(len(recorded.crops), None)
    expected = flax_answers(model, variables, looks, spec, named)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        say("float32")
        with held_back_stderr():
            write_saved_model(model, variables, looks, spec, named, aside / "saved_model")
            contents = {"float32": convert_to_tflite(aside / "saved_model")}
            say("float16")
            contents["float16"] = to_float16(contents["float32"])
            say("int8")
            contents["int8"] = to_int8(
                contents["float32"],
                name_inputs(calibration, looks, spec),
                input_ranges(spec),
                threads,
            )
        files: dict[str, Figures] = {}
        answers, figures, calibrated = {}, {}, None
        for precision, content in contents.items():
            name, tolerance = FILE_NAMES[precision], TOLERANCES[precision]
            (aside / name).write_bytes(content)
            with held_back_stderr():
                network = Network(content, threads, name)
                answers[precision] = network.answers(named)
            difference = check_agreement(expected, answers[precision], tolerance, precision)
            network.mirrored = mirrored
            if precision == "float32" and calibrate is not None:
                say("calibration")
                calibrated = calibrate(network)
            if score is not None:
                say(f"figures of {precision}")
            figures[precision] = None if score is None else score(network, calibrated)
            files[precision] = {
                "name": name,
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
                "agreement": {
                    "examples": len(expected),
                    "largest_difference": difference,
                    "tolerance": tolerance,
                },
                "metrics": figures[precision],
            }
        files["int8"]["calibration_examples"] = len(calibration.crops)
        files["int8"]["float_parts"] = FLOAT_PARTS
        files["int8"]["repeats_within"] = INT8_REPEATS
        golden = Golden(drawn, expected[travel], answers["int8"][travel])
        write_golden(aside / GOLDEN, golden)
        fields: dict[str, Any] = {
            "format": FORMAT,
            "version": 1,
            "looks_at": looks,
            "input": spec.to_dict(),
            "outputs": {
                "action_units": list(spec.action_units),
                "emotions": list(spec.emotions),
            },
            **_calibration_fields(calibrated, spec),
            **({} if clip is None else {"clip": clip}),
            **_write_sound(aside, spec),
            "detector": HaarDetector().settings(),
            "mirrored": mirrored,
            "files": files,
            "default": _best_precision(figures),
            "golden": {
                "name": GOLDEN,
                "sha256": hashlib.sha256((aside / GOLDEN).read_bytes()).hexdigest(),
            },
            "training": training,
            "licence": "Apache-2.0",
            "commit": source_commit(),
            "metrics": {
                **metrics,
                "expected_calibration_error": (figures["float32"] or {}).get(
                    "expected_calibration_error"
                ),
            },
        }
        fields = sealed(fields)
        write_json(aside / "spec.json", fields)
        # mkdtemp's folders are for their owner alone; an artifact is to be handed on.
        aside.chmod(0o777 & ~_umask())
        # Once more: what somebody has put there since then would be lost too.
        check_replaceable(out)
        replace_folder(out, aside)
    except OSError as error:
        named = error.filename
        if not (Path(named).is_relative_to(aside) if named else error.errno in NO_ROOM):
            raise
        # Not the name that it has until it is whole, which nobody asked for.
        raise OSError(error.errno, error.strerror or str(error), str(out)) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return fields


def _write_sound(folder: Path, spec: InputSpec) -> dict[str, Any]:
    """Write what spectrograms are made with, and return what spec.json says of it, by its key."""
    if spec.sound is None:
        return {}
    path = folder / SOUND
    write_filter_bank(path, spec.sound, make_mel_filters(spec.sound))
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"sound": {"name": SOUND, "sha256": checksum, "reference": REFERENCE}}


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
