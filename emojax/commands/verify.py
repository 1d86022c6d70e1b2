"""`emojax verify`: does an artifact answer here as it did where it was made?"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import tyro

from emojax.errors import UserError
from emojax.runtime.quiet import quiet_libraries
from emojax.shipped import find_model

PROGRAM = "emojax verify"

DESCRIPTION = """Run an artifact's models on its recorded examples, and compare the answers.

  emojax verify             what comes with emojax
  emojax verify artifact

float32 and float16 have to agree with Flax to what spec.json allows (1e-4 and 1e-3);
int8 with its own answers on the machine that made it. Checksums are looked at first.

Ends with 0; with 1 when a model answers otherwise on this machine; with 2 when a file
is missing or damaged.
"""


@dataclasses.dataclass(frozen=True)
class VerifyOptions:
    """What `emojax verify` takes."""

    artifact: tyro.conf.Positional[Path | None] = None
    """Artifact folder, as the export writes it; unset: the network that comes with emojax."""
    threads: int = 1
    """Threads of the processor to use."""


def verify(options: VerifyOptions) -> int:
    """Print what each model answers, and return the exit status."""
    from emojax.runtime.verify import verify_artifact

    if options.threads < 1:
        raise UserError(f"--threads {options.threads}: wanted 1 or more")
    status, artifact = 0, find_model(options.artifact)
    for verdict in verify_artifact(artifact, options.threads):
        print(
            f"{verdict.precision:8} differs from {verdict.reference} by "
            f"{verdict.difference:.1e} at most (allowed {verdict.allowed:.0e}) on "
            f"{verdict.examples} recorded examples: {'good' if verdict.agrees else 'BAD'}"
        )
        status = status if verdict.agrees else 1
    if status:
        print(
            f"{PROGRAM}: error: {artifact}: answers otherwise here than where it was made: "
            "use float32, and report this machine's processor",
            file=sys.stderr,
        )
    return status


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status."""
    options = tyro.cli(VerifyOptions, prog=PROGRAM, description=DESCRIPTION, args=arguments)
    with quiet_libraries():
        return verify(options)
