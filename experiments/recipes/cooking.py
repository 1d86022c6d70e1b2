"""A recipe as a command: options in, exit status out; a stop says how to go on."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from emojax.cli import run_guarded
from emojax.config import TrainConfig, network_spec
from emojax.data.shards import dataset_info
from emojax.errors import UserError
from emojax.memory import keep_freed_memory
from emojax.run import check_run, has_begun, load_run
from emojax.stopping import StopTraining, signals_interrupt

Options = TypeVar("Options")

_MARK = ".made-by-a-recipe"


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


def own_folder(folder: Path, source: Path) -> Path:
    """Return a folder that holds what a recipe makes of its source, and nothing of anybody else's.

    What lies there may be written over and deleted.

    Args:
        folder: made where it is not there.
        source: what the recipe was given; nothing is written beside or above what it holds.

    Raises:
        UserError: one of the two lies in the other, or something else lies in the folder.
    """
    here, there = folder.resolve(), source.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise UserError(
            f"{folder}: what is made of {source} would lie among it: give --data another folder"
        )
    mark = folder / _MARK
    if folder.exists() and not (folder.is_dir() and (mark.is_file() or not any(folder.iterdir()))):
        raise UserError(
            f"{folder}: holds something that no recipe has put there: move it away, or give "
            "--data another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return folder


def check_runs(runs: Sequence[tuple[TrainConfig, Path]], data: Path) -> None:
    """Refuse trainings that could not go on in their folders: now, and not after those before.

    Args:
        runs: settings and folder of each.
        data: folder of the shards.

    Raises:
        UserError: one of the folders holds a run with other settings, or something else.
    """
    info = dataset_info(data)
    for config, folder in runs:
        settled = config
        if config.input == "auto" and has_begun(folder):
            # A run that goes on keeps what it began with.
            settled = dataclasses.replace(config, input=load_run(folder)[0].input)
        spec = network_spec(settled, info.input_spec)
        check_run(folder, settled, spec, data, info.report["fingerprint"], fresh=False)
