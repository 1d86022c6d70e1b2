"""A recipe as a command: options in, exit status out; a stop says how to go on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from emojax.cli import run_guarded
from emojax.memory import keep_freed_memory
from emojax.stopping import StopTraining, signals_interrupt

Options = TypeVar("Options")


def run_recipe(
    program: str,
    options: type[Options],
    cook: Callable[[Options], None],
    description: str | None,
    goes_on: str = "from there",
) -> int:
    """Return the exit status of a recipe that does what the command line asks for.

    Args:
        program: the name that starts an error's line.
        options: what the command line is read into.
        cook: does all steps, each of them once.
        description: the text of --help.
        goes_on: where the same command goes on after a stop.
    """

    def run() -> int:
        keep_freed_memory()
        given = tyro.cli(options, description=description, prog=program)
        try:
            with signals_interrupt():
                cook(given)
        except StopTraining as stop:
            print(f"{stop}: the same command goes on {goes_on}", file=sys.stderr)
            return 128 + stop.number
        return 0

    return run_guarded(program, run)
