"""`emojax data ...`: data sets built into shards, and looked at; one file per command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from emojax.commands.data import build, folds, inspect, record, verify

Command = (
    Annotated[build.Build, tyro.conf.subcommand("build")]
    | Annotated[inspect.Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[verify.Verify, tyro.conf.subcommand("verify")]
    | Annotated[folds.Folds, tyro.conf.subcommand("folds")]
    | Annotated[record.Record, tyro.conf.subcommand("record")]
)

_RUN: dict[type, Callable[[Any], int]] = {
    build.Build: build.run,
    inspect.Inspect: inspect.run,
    verify.Verify: verify.run,
    folds.Folds: folds.run,
    record.Record: record.run,
}


def main(arguments: Sequence[str]) -> int:
    """Run `emojax data` and return its exit status."""
    command: Any = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="emojax data",
        description=(
            "Build a data set into shards, look at it, check it, divide it, record one's own."
        ),
        args=list(arguments),
    )
    return _RUN[type(command)](command)
