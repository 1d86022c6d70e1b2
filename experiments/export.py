"""Export a trained run to LiteRT, compared with Flax before anything is written.

Examples:
  python experiments/export.py runs/ar1-synthetic-0
  python experiments/export.py runs/ar1-synthetic-0 --out=artifacts/mine
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tyro

from emojax.cli import run_guarded
from emojax.experiment import export_run


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Which run, and where its artifact goes."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    out: Path | None = None
    """Folder of the artifact; unset: `artifact` in the run's folder."""


def main(arguments: Sequence[str]) -> int:
    """Export; return the exit status."""
    options = tyro.cli(ExportOptions, args=list(arguments), description=__doc__)
    out = options.out or options.run / "artifact"
    fields = export_run(options.run, out)
    agreement = fields["agreement"]
    print(
        f"agrees with Flax to {agreement['largest_difference']:.1e} "
        f"on {agreement['faces']} recorded faces (allowed {agreement['tolerance']:.0e})"
    )
    print(f"wrote {out}: {fields['files']['float32']['bytes'] / 1e6:.2f} MB")
    print(f"next: emojax predict PICTURE_OR_VIDEO --model {out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("export.py", lambda: main(sys.argv[1:])))
