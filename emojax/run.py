"""A run's folder: its settings, checkpoints, history and results.

```
runs/ar1-synthetic-0/
  config.json      settings, and the data set they were used on
  checkpoints/     the last two
  best/            the best epoch's, with --patience
  tensorboard/     curves while it runs
  history.csv      one row per epoch
  results.json     settings, commit, versions, device, figures
  *.png, report.html
```
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax

from emojax.cluster import agree, is_first
from emojax.config import TrainConfig, config_from_dict, differences
from emojax.data.room import choose_input
from emojax.data.shards import DatasetInfo, dataset_info
from emojax.errors import UserError
from emojax.files import is_full_disk, write_json
from emojax.spec import InputSpec, read_json, spec_from_dict
from emojax.version import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scikit-learn")


_UNFINISHED = ".config.json."
"""What a kill leaves of a config.json that was being written is called so, and is nobody's."""

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_Run = Callable[Concatenate[TrainConfig, Path, _Given], _Result]


def newest_checkpoint(folder: Path) -> int | None:
    """Return the step of a run's newest whole checkpoint, None where there is none yet."""
    steps = (path.name for path in (folder / "checkpoints").glob("*"))
    return max((int(step) for step in steps if step.isdigit()), default=None)


def has_begun(folder: Path) -> bool:
    """Return whether a run's folder holds more than its settings: checkpoints, folds, a sub-run."""
    names = {left.name for left in folder.glob("*") if not left.name.startswith(_UNFINISHED)}
    return "config.json" in names and len(names) > 1


@functools.cache
def _leave_late_answers_unsaid() -> None:
    """Keep quiet, from now on, about other writes that fail after the first one has.

    The event loop that waited for all of a checkpoint's writes is closed by then: TensorStore's
    threads would print a traceback for each. The first failure is raised where the checkpoint is
    waited for, and asyncio would tell of the rest again when it forgets them.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook
    logging.getLogger("asyncio").addFilter(_is_worth_telling)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return error is None or not is_full_disk(error)


def full_disk_is_told(run: _Run[_Given, _Result]) -> _Run[_Given, _Result]:
    """Return a run's function that tells of a full disk in one line.

    Args:
        run: takes the settings and the run's folder first.

    Raises:
        UserError: by what is returned, in place of what the one who wrote to the disk raised.
    """

    @functools.wraps(run)
    def told(
        config: TrainConfig, folder: Path, *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Result:
        _leave_late_answers_unsaid()
        try:
            return run(config, folder, *args, **kwargs)
        except Exception as error:
            if not is_full_disk(error):
                raise
            step, done = newest_checkpoint(folder), len(list((folder / "folds").glob("*.npz")))
            kept = f"{done} folds are kept" if done else "nothing is kept yet"
            kept = kept if step is None else f"the checkpoint of step {step} is kept"
            raise UserError(
                f"{folder}: no room left on the disk; {kept}: free some space, then give the "
                f"same command again{', without --fresh' if kwargs.get('fresh') else ''}"
            ) from error

    return told


def source_commit() -> str | None:
    """Return the git commit of this copy of emojax, `+changes` where files differ from it.

    None where it is no git checkout.
    """
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        # A virtual environment inside someone else's repository is not our commit.
        if Path(git("rev-parse", "--show-toplevel")).resolve() != here.parent:
            return None
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def provenance() -> dict[str, Any]:
    """Return what a result depends on beside its settings: code, packages, devices."""
    return {
        "emojax": __version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "device": {
            "platform": jax.default_backend(),
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
        },
    }


def settle_input(config: TrainConfig, folder: Path, info: DatasetInfo, fresh: bool) -> TrainConfig:
    """Return the settings with what `input=auto` comes to; which and why is printed.

    A run that goes on keeps what it began with: each way has its own order of batches.

    Args:
        config: settings of the run.
        folder: of the run.
        info: of the shards.
        fresh: a run that is there will be thrown away.
    """
    if config.input != "auto":
        return config
    if has_begun(folder) and not fresh:
        chosen, why = load_run(folder)[0].input, "as this run began"
    else:
        chosen, why = choose_input(info, "train", jax.local_devices())
        # Where one process lacks the room, all of them stream.
        if agree(chosen == "streaming") and chosen == "resident":
            chosen, why = "streaming", "another process has no room for it"
    print(f"input: {chosen} ({why})", flush=True)
    return dataclasses.replace(config, input=chosen)


def open_run(
    folder: Path,
    config: TrainConfig,
    spec: InputSpec,
    data: Path,
    fingerprint: str,
    fresh: bool,
) -> None:
    """Make a run's folder, or take up the one that is there.

    Args:
        folder: of the run.
        config: its settings.
        spec: the input spec of the shards.
        data: folder of the shards.
        fingerprint: of the shards' build: a run never goes on with other pictures.
        fresh: throw away what is there and start anew.

    Raises:
        UserError: the folder holds a run with other settings, or something else.
    """
    path = folder / "config.json"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, wanted a folder for the run: choose another --out")
    if fresh and path.exists():
        _check_is_ours(path)
        for left in folder.iterdir():
            # The file that makes the folder ours goes last: a kill may come between.
            if left == path:
                continue
            # A link's target is not ours to empty.
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        # The folder stays: it may be a link itself.
        path.unlink()
    # Absolute: evaluating and exporting may start from another folder.
    fields = {
        "config": config.to_dict(),
        "input": spec.to_dict(),
        "data_folder": str(data.resolve()),
        "data_fingerprint": fingerprint,
        "splits_sha256": _splits_sha256(data),
    }
    if path.exists():
        old, old_spec, old_data = load_run(folder)
        if not has_begun(folder) and is_first():
            # Left by a command that was refused: nothing was trained with its settings.
            write_json(path, fields)
            return
        # Whether the data are the same is the fingerprint's to say, however they are spelled.
        if changed := differences(dataclasses.replace(old, data=config.data), config):
            raise UserError(
                f"{folder}: holds a run with other settings ({'; '.join(changed)}): "
                "choose another --out, or --fresh to throw that run away"
            )
        if old_spec != spec or read_json(path).get("data_fingerprint") != fingerprint:
            raise UserError(
                f"{folder}: holds a run on other shards than {data} has now: "
                "choose another --out, or --fresh to throw that run away"
            )
        if old_data != data.resolve() or old.data != config.data:
            # The same shards, moved, or called otherwise.
            write_json(path, fields)
        return
    if folder.exists() and not all(left.name.startswith(_UNFINISHED) for left in folder.iterdir()):
        raise UserError(
            f"{folder}: is not empty and holds no run (no config.json): choose another --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, fields)


def _check_is_ours(path: Path) -> dict[str, Any]:
    fields = read_json(path)
    for name, kind in (("config", dict), ("input", dict), ("data_folder", str)):
        if name not in fields:
            raise UserError(f"{path}: lacks {name!r}: not written by emojax")
        if not isinstance(fields[name], kind):
            raise UserError(f"{path}: {name} is {fields[name]!r}: not written by emojax")
    return fields


def load_run(folder: Path) -> tuple[TrainConfig, InputSpec, Path]:
    """Return a run's settings, its input spec and the folder of its shards.

    Raises:
        UserError: the folder holds no run, or its config.json is damaged.
    """
    path = folder / "config.json"
    if not path.exists():
        raise UserError(f"{folder}: no run here (no config.json): give the folder of a run")
    fields = _check_is_ours(path)
    return (
        config_from_dict(fields["config"], str(path)),
        spec_from_dict(fields["input"], str(path)),
        Path(fields["data_folder"]),
    )


def _splits_sha256(data: Path) -> str | None:
    """Return a digest of who is in which split; None where there are no shards."""
    try:
        splits = dataset_info(data).report["splits"]
    except (UserError, KeyError):
        return None
    people = {name: sorted(split["people"]) for name, split in splits.items()}
    return hashlib.sha256(json.dumps(people, sort_keys=True).encode()).hexdigest()


def own_shards(folder: Path, hint: str = "build those as they were") -> DatasetInfo:
    """Return what a run's own shards say of themselves: still those that it was trained on.

    Built anew, with other splits, their test people may be those that it was trained on. By another
    version of emojax, with the same people in the splits, they are the run's still; of a run that
    did not note its people that is said.

    Args:
        folder: of the run.
        hint: what to do where they are others.

    Raises:
        UserError: no run, no shards, or others.
    """
    data = load_run(folder)[2]
    info = dataset_info(data)
    about = read_json(folder / "config.json")
    if info.report.get("fingerprint") == about.get("data_fingerprint"):
        return info
    noted = about.get("splits_sha256")
    if noted is None:
        print(
            f"{folder}: its shards in {data} were built anew since: figures on them hold where the "
            "same people are in the same splits",
            file=sys.stderr,
        )
    elif noted != _splits_sha256(data):
        raise UserError(f"{data}: the shards are not those that {folder} was trained on: {hint}")
    return info
