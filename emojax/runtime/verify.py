"""Does an artifact answer on this machine what it answered where it was made?"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import numpy as np

from emojax.errors import UserError
from emojax.golden import name_inputs, read_golden
from emojax.litert import Network
from emojax.runtime.artifact import (
    PRECISIONS,
    find_precision,
    read_bank,
    read_checked,
    read_looks,
    read_model,
    read_section,
    read_spec,
)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one model of an artifact answered."""

    precision: str
    """Which of `PRECISIONS`."""
    examples: int
    """Recorded examples."""
    reference: str
    """Whose answers it was held against: Flax's, or its own where it was made."""
    difference: float
    """The largest, in probability; infinite where an answer is no number."""
    allowed: float
    """What it may be."""

    @property
    def agrees(self) -> bool:
        """Whether the difference is within what is allowed."""
        return self.difference <= self.allowed


def _allowed(entry: dict[str, object], precision: str, source: object) -> float:
    """Return what an entry of the spec allows, at most the largest that a user should accept."""
    agreement = entry.get("agreement")
    value = entry.get("repeats_within")
    if precision != "int8" and isinstance(agreement, dict):
        value = agreement.get("tolerance")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 0.1:
        raise UserError(
            f"{source}: {precision}: allowed difference {value!r}: wanted a number in 0..0.1: "
            "export the artifact again"
        )
    return float(value)


def verify_artifact(folder: str | os.PathLike[str], threads: int = 1) -> Iterator[Verdict]:
    """Yield what each model of an artifact answers to its recorded examples.

    float32 and float16 are held against Flax. int8 is held against what it answered itself where it
    was made: how far it is from Flax is a figure in spec.json, no fault of this machine.

    Args:
        folder: the artifact's; for pictures or for clips.
        threads: of the processor.

    Raises:
        UserError: no artifact, one without the model that is used by default, or a file of it that
            is missing or damaged.
    """
    place, fields, spec = read_spec(folder)
    source = place / "spec.json"
    looks = read_looks(fields, spec, source)
    # Nothing of it is computed here: it is there and whole, or the runner could not listen.
    read_bank(place, fields, spec)
    entry = read_section(fields, "golden", source)
    path, _ = read_checked(place, entry, source, "the file of recorded answers")
    golden = read_golden(path, spec)
    named = name_inputs(golden.recorded, looks, spec)
    files = read_section(fields, "files", source)
    if (default := find_precision(fields, None, source)) not in files:
        raise UserError(
            f"{source}: no model in {default}, which is used where nothing else is asked for: "
            "export the artifact again"
        )
    for precision in (precision for precision in PRECISIONS if precision in files):
        own = precision == "int8"
        expected = golden.int8 if own else golden.probabilities
        if expected is None:
            raise UserError(f"{path}: no answers of the int8 model: export the artifact again")
        allowed = _allowed(read_section(files, precision, source), precision, source)
        model_path, model = read_model(place, fields, precision)
        network = Network(model, threads, str(model_path))
        if missing := set(network.input_names) ^ set(named):
            raise UserError(
                f"{model_path} does not fit {source}: its inputs are "
                f"{', '.join(network.input_names)}, wanted {', '.join(named)} "
                f"({', '.join(sorted(missing))} differ): export the artifact again"
            )
        found = network.answers(named)
        same_form = found.shape == expected.shape and bool(np.isfinite(found).all())
        yield Verdict(
            precision=precision,
            examples=len(expected),
            reference="its own answers" if own else "Flax",
            difference=float(np.abs(found - expected).max()) if same_form else float("inf"),
            allowed=allowed,
        )
