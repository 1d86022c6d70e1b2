"""How fast training is, each part held against a peer or a limit in the same run.

Each sub-command prints a table of medians and ratios and, with --out, writes every
repetition with device and versions as JSON. Nothing is downloaded: all data is noise, made
on the spot. PyTorch's columns come with torch and timm (`make peers` installs them) and are
left out without. docs/performance.md tells what the figures mean.

Examples:
  python experiments/benchmark.py step --models resnet18 --rounds=9 --out=step.json
  python experiments/benchmark.py epoch --help
  python experiments/benchmark.py all --out=figures   # a file for each of seven, see all --help
  python experiments/benchmark.py all --quick --out=rehearsal
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On a GPU PyTorch needs memory beside what JAX would take for itself at the start.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import tyro

from emojax.cli import run_guarded
from emojax.errors import UserError
from emojax.memory import keep_freed_memory

# name: what it times; `benchmarks/NAME.py` holds `NAMEOptions` and `measure`.
COMMANDS = {
    "step": "the training step against PyTorch's, and against the device's rates",
    "input": "reading shards against TFDS, and feeding the device against bare copies",
    "epoch": "whole epochs, resident and streaming, against the bare step and a PyTorch DataLoader",
    "folds": "leaving one subject out, against as many median folds",
    "scale": "the same training on 1, 2, 4 ... devices",
    "infer": "prediction against PyTorch's",
    "lite": "the exported network on one thread of a CPU against ONNX Runtime",
    "frames": "from a video's frame to its row on one core, against the package fer",
    "video": "emojax predict on a very long video: does its memory stay flat?",
    "serve": "emojax serve with one client and with eight: their shares, waits, its memory",
    "build": "building a data set against a bare loop that decodes and detects",
}
SUITE = tuple(name for name in COMMANDS if name not in ("build", "frames", "serve", "video"))
"""What `all` runs: training and prediction."""


def usage() -> str:
    """Return what is printed without a sub-command."""
    lines = [(__doc__ or "").strip(), "", "sub-commands:"]
    lines += [f"  {name:6} {text}" for name, text in COMMANDS.items()]
    lines += [f"  {'all':6} {', '.join(SUITE)}, each in a process of its own"]
    return "\n".join(lines)


def run_one(name: str, arguments: Sequence[str]) -> int:
    """Run a sub-command and return the exit status."""
    module = importlib.import_module(f"benchmarks.{name}")
    kind = getattr(module, f"{name.title()}Options")
    options = tyro.cli(kind, args=list(arguments), prog=f"benchmark.py {name}")
    # For both sides: PyTorch's own allocator of CPU memory is the C library's too.
    keep_freed_memory()
    # TFDS 4.9 asks protobuf in a way that protobuf 6 deprecates.
    warnings.filterwarnings("ignore", r"label\(\) is deprecated", DeprecationWarning)
    module.measure(options)
    return 0


@dataclasses.dataclass(frozen=True)
class AllOptions:
    """Run sub-commands with their defaults, each in a process of its own.

    These are step, input, epoch, folds, scale, infer and lite; build, frames, serve and video are
    given by themselves.
    """

    out: Path
    """Folder for the figures, a JSON file for each sub-command."""
    rounds: int | None = None
    """Timed rounds; unset: each sub-command's own number."""
    quick: bool = False
    """A rehearsal: the smallest sizes, only to see that everything runs."""

    def __post_init__(self) -> None:
        """Refuse no rounds before the first sub-command does."""
        if self.rounds is not None and self.rounds < 1:
            raise UserError(f"rounds={self.rounds}: wanted 1 or more")


def run_all(arguments: Sequence[str]) -> int:
    """Run the suite; return 1 where one of them failed."""
    options = tyro.cli(AllOptions, args=list(arguments), prog="benchmark.py all")
    options.out.mkdir(parents=True, exist_ok=True)
    words = [f"--rounds={options.rounds}"] if options.rounds is not None else []
    words += ["--quick"] if options.quick else []
    failed = []
    for name in SUITE:
        print(f"\n{name}: {COMMANDS[name]}", flush=True)
        command = [sys.executable, __file__, name, *words, f"--out={options.out / name}.json"]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: Sequence[str]) -> int:
    """Find the sub-command and run it; return the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    name, rest = arguments[0], arguments[1:]
    if name != "all" and name not in COMMANDS:
        raise UserError(f"no sub-command {name!r}: use one of {', '.join(COMMANDS)}, all")
    return run_all(rest) if name == "all" else run_one(name, rest)


if __name__ == "__main__":
    sys.exit(run_guarded("benchmark.py", lambda: main(sys.argv[1:])))
