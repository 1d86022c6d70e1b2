"""A run's folder is one training's: a lock on it keeps any other one out."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from emojax.cluster import first_alone, is_first
from emojax.config import TrainConfig
from emojax.errors import UserError

PATIENCE_S = 5.0
"""How long a run waits for whoever is at work in its folder."""

_TRIES = 100
"""How often a folder is made and claimed that another run takes away meanwhile."""

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_Run = Callable[Concatenate[TrainConfig, Path, _Given], _Result]


def alone_in_folder(run: _Run[_Given, _Result]) -> _Run[_Given, _Result]:
    """Return a run's function that lets no other one work in the same folder meanwhile.

    Two trainings there would remove each other's checkpoints. The claim is a lock on the folder,
    which the system drops when its owner dies. The first process of a cluster has it for all.

    Args:
        run: takes the settings and the run's folder first.

    Raises:
        UserError: by what is returned: another one is at work there.
    """

    @functools.wraps(run)
    def alone(
        config: TrainConfig, folder: Path, *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Result:
        with contextlib.ExitStack() as claim:
            first_alone(lambda: claim.enter_context(_claimed(folder)) if is_first() else None)
            return run(config, folder, *args, **kwargs)

    return alone


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    if folder.exists() and not folder.is_dir():
        # Refused by `open_run`, with what to do.
        yield
        return
    opened, made = _take(folder)
    try:
        yield
    finally:
        if made:
            # Of a run that was refused nothing is left; a folder with something in it stays. While
            # it is still ours: who waits for it sees then that it is gone.
            with contextlib.suppress(OSError):
                folder.rmdir()
        os.close(opened)


def _take(folder: Path) -> tuple[int, bool]:
    """Return the folder, opened and locked, and whether it was made for that."""
    for _ in range(_TRIES):
        made = not folder.exists()
        with (
            contextlib.suppress(FileNotFoundError, FileExistsError),
            contextlib.ExitStack() as undo,
        ):
            folder.mkdir(parents=True, exist_ok=True)
            opened = os.open(folder, os.O_RDONLY)
            undo.callback(os.close, opened)
            _lock(opened, folder)
            # Who was refused takes away the folder that it had made: this lock may be of that one,
            # while the next to come makes the folder anew and locks it too.
            if os.path.samestat(os.fstat(opened), folder.stat()):
                undo.pop_all()
                return opened, made
    raise UserError(
        f"{folder}: can't be made, or is taken away again and again: choose another --out"
    )


def _lock(opened: int, folder: Path) -> None:
    # Processes that a killed one had begun end a moment after it.
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise UserError(
                    f"{folder}: another training is at work in it: wait for its end, or choose "
                    "another --out"
                ) from None
            time.sleep(0.1)
        except OSError:
            # Network file systems know locks of files alone, or none: nobody is kept out there.
            return
        else:
            return
