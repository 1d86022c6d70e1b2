"""`emojax export`: a trained run becomes an artifact."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import tyro

DESCRIPTION = """Export a trained run to LiteRT, compared with Flax before anything is written.

  emojax export runs/ar1-synthetic-0
  emojax export runs/ar1-synthetic-0 --out=artifacts/mine

Writes float32, float16 and int8, a TensorFlow SavedModel, spec.json and recorded answers. float32
has to agree with Flax to 1e-4 and float16 to 1e-3, else nothing is written; int8 takes its scales
from training examples. The figures of each on held-out people are printed and kept, and int8 is
what `emojax predict` uses where it costs no more than 0.01 of them.
"""


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Which run, and where its artifact goes."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    out: Path | None = None
    """Folder of the artifact; unset: `artifact` in the run's folder."""
    mirrored: bool = False
    """Answer a face with the mean for itself and for its mirror image: a little more accurate, at
    twice the time. Of networks that look at a picture."""


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _print_table(fields: dict[str, Any]) -> None:
    print(f"{'':9} {'MB':>7} {'from Flax':>10} {'UAR':>7} {'AU F1':>7} {'AU ROC':>7}")
    for precision, entry in fields["files"].items():
        figures = entry["metrics"] or {}
        cells = [
            _cell(figures.get(name))
            for name in (
                "emotion_unweighted_average_recall",
                "action_unit_macro_f1",
                "action_unit_macro_roc_area",
            )
        ]
        difference = entry["agreement"]["largest_difference"]
        print(
            f"{precision:9} {entry['bytes'] / 1e6:7.2f} {difference:10.1e} "
            + " ".join(f"{cell:>7}" for cell in cells)
        )


def _print_calibration(fields: dict[str, Any]) -> None:
    errors = fields["metrics"]["expected_calibration_error"] or {}
    for group, temperature in fields["calibration"]["temperature"].items():
        told = errors.get(group) or {}
        print(
            f"{group.replace('_', ' ')}: temperature {temperature:.2f}; expected calibration error "
            f"on held-out people {_cell(told.get('before'))} before, {_cell(told.get('after'))} "
            "with it"
        )


def main(arguments: list[str], program: str = "emojax export") -> int:
    """Export; return the exit status."""
    options = tyro.cli(ExportOptions, prog=program, description=DESCRIPTION, args=arguments)
    # Before TensorFlow is imported: its native code reads it once.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from emojax.export_run import export_run

    out = options.out or options.run / "artifact"
    started = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {what} ...", flush=True)

    fields = export_run(options.run, out, mirrored=options.mirrored, say=say)
    agreement = fields["files"]["float32"]["agreement"]
    print(
        f"agrees with Flax to {agreement['largest_difference']:.1e} "
        f"on {agreement['examples']} recorded examples (allowed {agreement['tolerance']:.0e})"
    )
    _print_table(fields)
    _print_calibration(fields)
    print(f"wrote {out}; {fields['default']} is used where nothing else is asked for")
    seen = "PICTURE_OR_VIDEO" if fields["looks_at"] == "picture" else "VIDEO"
    print(f"next: emojax predict {seen} --model {out}")
    return 0
