"""Evaluate a trained run again, on the test people of its own shards or of others.

Examples:
  python experiments/evaluate.py runs/ar1-synthetic-0
  python experiments/evaluate.py runs/ar1-synthetic-0 --data=data/other --out=results-other.json
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
from emojax.files import make_place, write_json
from emojax.report import terminal_table
from emojax.results import evaluate_run


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """What is evaluated, and on what."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    data: Path | None = None
    """Folder of shards; unset: those that it was trained on."""
    split: str = "test"
    """Split of the shards."""
    out: Path | None = None
    """Also write the figures here, as JSON."""


def main(arguments: Sequence[str]) -> int:
    """Evaluate and print; return the exit status."""
    options = tyro.cli(EvaluateOptions, args=list(arguments), description=__doc__)
    if options.out:
        make_place(options.out)
    results = evaluate_run(options.run, options.data, options.split)
    print(terminal_table(results))
    if options.out:
        write_json(options.out, results)
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("evaluate.py", lambda: main(sys.argv[1:])))
