"""`emojax models`: what each network costs, on paper and on this machine."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from emojax.audio import PRESETS
from emojax.errors import UserError
from emojax.files import make_place, write_json
from emojax.labels import AU_COLUMNS, SEVEN
from emojax.spec import InputSpec

_HEAD = f"{'network':20}{'looks at':10}{'parameters':>12}{'MACs':>10}{'activations':>13}"
_UNITS = f"{'':20}{'':10}{'M':>12}{'M':>10}{'MiB/example':>13}"
_TIMED_HEAD = f"{'step':>10}{'prediction':>12}"
_TIMED_UNITS = f"{'ms':>10}{'ms':>12}"


@dataclasses.dataclass(frozen=True)
class Models:
    """Which networks, and what is measured.

    Examples:
      emojax models                      all of them; minutes on a CPU, since each step compiles
      emojax models --no-times           what needs no running, in seconds
      emojax models resnet18 ar1 --batch 64
      emojax models --height 48 --width 48 --no-times
    """

    keys: tyro.conf.Positional[tuple[str, ...]] = ()
    """Networks; all where none are named."""
    times: bool = True
    """Also time a training step and a prediction on this machine."""
    batch: int = 32
    """Examples of a training step."""
    rounds: int = 3
    """Timed calls; the median is shown."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute type. auto: bfloat16 on GPU and TPU, float32 on a CPU."""
    height: int = 98
    """Rows of the input, in pixels."""
    width: int = 80
    """Columns of the input, in pixels."""
    json: Path | None = None
    """Also write the figures here."""


def main(arguments: Sequence[str]) -> int:
    """Print the table; return the exit status."""
    options = tyro.cli(
        Models, prog="emojax models", args=list(arguments), description=Models.__doc__
    )
    for name in ("batch", "rounds"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}={getattr(options, name)}: wanted 1 or more")
    from emojax.models import MODELS, check_model_key

    for key in options.keys:
        check_model_key(key)
    if options.json:
        make_place(options.json)
    spec = InputSpec(height=options.height, width=options.width, sound=PRESETS["log_mel"])
    keys = options.keys or tuple(MODELS)
    if options.times and len(keys) > 3:
        print(
            f"{len(keys)} networks are compiled and timed: minutes on a CPU (--no-times: seconds)",
            file=sys.stderr,
        )
    print(_HEAD + _TIMED_HEAD * options.times)
    print(_UNITS + _TIMED_UNITS * options.times, flush=True)
    rows = []
    for number, key in enumerate(keys, start=1):
        if sys.stderr.isatty():
            print(f"{number}/{len(keys)} {key} ...", end="\r", file=sys.stderr, flush=True)
        row = _measure(key, spec, options)
        rows.append(row)
        print(_line(row), flush=True)
    print(_legend(options))
    if options.json:
        from emojax.run import provenance

        write_json(options.json, {"rows": rows, "provenance": provenance()})
        print(f"wrote {options.json}")
    return 0


def _measure(key: str, spec: InputSpec, options: Models) -> dict[str, Any]:
    """Return a network's figures, or why there are none."""
    from emojax.inventory import measure_cost, measure_times
    from emojax.models import build_model, looks_at
    from emojax.models.inputs import fit_spec
    from emojax.train import compute_dtype

    looks = looks_at(key)
    row: dict[str, Any] = {"key": key, "looks_at": looks}
    seen = fit_spec(spec, looks)
    model = build_model(key, seen.num_outputs, dtype=compute_dtype(options.dtype))
    try:
        row |= measure_cost(model, looks, seen)._asdict()
    except UserError as error:
        return row | {"problem": str(error)}
    if options.times:
        row |= measure_times(model, looks, seen, options.batch, options.rounds)._asdict()
    return row


def _line(row: dict[str, Any]) -> str:
    start = f"{row['key']:20}{row['looks_at']:10}"
    if "problem" in row:
        return f"{start}  {row['problem']}"
    line = (
        f"{start}{row['parameters'] / 1e6:12.2f}{row['multiply_accumulates'] / 1e6:10.1f}"
        f"{row['activation_bytes'] / 2**20:13.2f}"
    )
    if "step_s" in row:
        line += f"{row['step_s'] * 1e3:10.1f}{row['prediction_s'] * 1e3:12.2f}"
    return line


def _legend(options: Models) -> str:
    import jax

    from emojax.train import compute_dtype

    device = jax.devices()[0]
    outputs = len(AU_COLUMNS) + len(SEVEN)
    lines = [
        f"{options.height} x {options.width} gray, {outputs} outputs, "
        f"{compute_dtype(options.dtype)}; frames: a clip of 20, clip: with its log-mel "
        "spectrogram. MACs: multiply-accumulates of one example, forward. Activations: what a "
        "training step keeps of one example for its backward pass.",
    ]
    if options.times:
        lines.append(
            f"Step: forward, backward and Adam on {options.batch} examples; prediction: one "
            f"example. Medians of {options.rounds} on {jax.device_count()} x {device.device_kind} "
            f"({device.platform}, {os.cpu_count()} processor threads)."
        )
    return "\n".join(lines)
