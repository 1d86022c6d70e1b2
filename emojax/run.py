"""A run's folder: its settings, checkpoints, history and results.

```
runs/ar1-synthetic-0/
  config.json      settings, and the data set they were used on
  checkpoints/     the last two
  best/            the best epoch's, with --patience
  extractor/       of ar4: a run of its own
  tensorboard/     curves while it runs
  history.csv      one row per epoch
  results.json     settings, commit, versions, device, figures
  *.png, report.html
```
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

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


Kind = Literal["training", "folds", "sweep"]
"""What a run's folder is of; each has a `results.json` of its own form."""

_KINDS: dict[Any, str] = {
    "training": "a training (train.py)",
    "folds": "a cross-validation (folds.py)",
    "sweep": "a sweep (sweep.py)",
}

_UNFINISHED = ".config.json."
"""What a kill leaves of a config.json that was being written is called so, and is nobody's."""

_THROWN_AWAY = "thrown_away"
"""Noted in the config.json of a run while it is thrown away: what is there may lack anything."""

_THROWN_AWAY_BY = "thrown_away_by"
"""Noted in that of the run after it: the cluster's job that --fresh was given to."""

EXTRACTOR = "extractor"
"""In a run of ar4: the run of the network that reads its action units."""

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_Run = Callable[Concatenate[TrainConfig, Path, _Given], _Result]


def newest_checkpoint(folder: Path) -> int | None:
    """Return the step of a run's newest whole checkpoint, None where there is none yet."""
    if is_thrown_away(folder):
        return None
    steps = (path.name for path in (folder / "checkpoints").glob("*"))
    return max((int(step) for step in steps if step.isdigit()), default=None)


def has_begun(folder: Path) -> bool:
    """Return whether a run's folder holds more than its settings: checkpoints, folds, a sub-run.

    Who is tested when is a setting too, and a folder for what nobody has trained yet is nothing;
    so is what was being thrown away when a kill came.
    """
    return (
        (folder / "config.json").exists()
        and not is_thrown_away(folder)
        and any(map(_holds_work, folder.glob("*")))
    )


def is_thrown_away(folder: Path) -> bool:
    """Return whether a kill came while a folder's run was thrown away: what is left is no run."""
    path = folder / "config.json"
    # One that can't be read is told of where it is wanted.
    with contextlib.suppress(UserError):
        return path.exists() and read_json(path).get(_THROWN_AWAY) is True
    return False


def _holds_work(left: Path) -> bool:
    if left.name in ("folds", "runs"):
        return any(not path.is_dir() for path in left.rglob("*"))
    if left.name == EXTRACTOR:
        return has_begun(left)
    settings = left.name in ("config.json", "folds.json")
    return not settings and not left.name.startswith(_UNFINISHED)


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
            raise UserError(
                f"{folder}: no room left on the disk; {_what_is_kept(folder)}: free some space, "
                "then give the same command again"
                f"{', without --fresh' if kwargs.get('fresh') else ''}"
            ) from error

    return told


def _what_is_kept(folder: Path) -> str:
    if (step := newest_checkpoint(folder)) is not None:
        return f"the checkpoint of step {step} is kept"
    for what, pattern in (("fold", "folds/*.npz"), ("run", "runs/*/*.npz")):
        if done := len(list(folder.glob(pattern))):
            return f"{done} {what}s are kept" if done > 1 else f"1 {what} is kept"
    return "nothing is kept yet"


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


def check_run(
    folder: Path,
    config: TrainConfig,
    spec: InputSpec,
    data: Path,
    fingerprint: str,
    fresh: bool,
    *,
    kind: Kind = "training",
) -> None:
    """Refuse a folder that `open_run` would refuse, and leave it as it is.

    The arguments are those of `open_run`.

    Raises:
        UserError: the folder holds a run of another kind or with other settings, or something else.
    """
    path = folder / "config.json"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, wanted a folder for the run: choose another --out")
    if path.exists():
        _check_is_ours(path)
        if has_begun(folder) and not fresh:
            _refuse_another(folder, config, spec, data, fingerprint, kind)
    elif folder.exists() and not all(
        left.name.startswith(_UNFINISHED) for left in folder.iterdir()
    ):
        raise UserError(
            f"{folder}: is not empty and holds no run (no config.json): choose another --out"
        )


def _kinds_of(folder: Path) -> list[Any]:
    """Return what a folder is of; where it was not noted yet, all that it holds something of."""
    noted = read_json(folder / "config.json").get("kind")
    if noted is not None:
        return [noted]
    holds = {
        "training": newest_checkpoint(folder) is not None or (folder / "history.csv").exists(),
        "folds": any(folder.glob("folds/*.npz")),
        "sweep": any(folder.glob("runs/*/*.npz")),
    }
    return [kind for kind, there in holds.items() if there]


def _refuse_another(
    folder: Path, config: TrainConfig, spec: InputSpec, data: Path, fingerprint: str, kind: Kind
) -> None:
    if (kinds := _kinds_of(folder)) and kind not in kinds:
        raise UserError(
            f"{folder}: holds {_KINDS.get(kinds[0], kinds[0])}, and this is {_KINDS[kind]}, which "
            "would write over its results: choose another --out, or --fresh to throw that run away"
        )
    old, old_spec, _ = load_run(folder)
    # Whether the data are the same is the fingerprint's to say, however they are spelled.
    if changed := differences(dataclasses.replace(old, data=config.data), config):
        raise UserError(
            f"{folder}: holds a run with other settings ({'; '.join(changed)}): "
            "choose another --out, or --fresh to throw that run away"
        )
    if old_spec != spec or read_json(folder / "config.json").get("data_fingerprint") != fingerprint:
        raise UserError(
            f"{folder}: holds a run on other shards than {data} has now: "
            "choose another --out, or --fresh to throw that run away"
        )


def open_run(
    folder: Path,
    config: TrainConfig,
    spec: InputSpec,
    data: Path,
    fingerprint: str,
    fresh: bool,
    more: Mapping[str, Any] | None = None,
    *,
    kind: Kind = "training",
) -> None:
    """Make a run's folder, or take up the one that is there.

    Args:
        folder: of the run.
        config: its settings.
        spec: the input spec of the shards.
        data: folder of the shards.
        fingerprint: of the shards' build: a run never goes on with other pictures.
        fresh: throw away what is there and start anew.
        more: what else is noted beside the settings of a run that begins.
        kind: what works in it; noted beside the settings too.

    Raises:
        UserError: the folder holds a run of another kind or with other settings, or something else.
    """
    path = folder / "config.json"
    check_run(folder, config, spec, data, fingerprint, fresh, kind=kind)
    if path.exists() and (fresh or (is_first() and is_thrown_away(folder))):
        # A kill may come before all is gone. On a full disk nothing can be noted, but made room.
        with contextlib.suppress(OSError):
            write_json(path, read_json(path) | {_THROWN_AWAY: True})
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
    # What is there and has not begun was left by a command that was refused, or by the first of
    # several processes: theirs has to be the same.
    if path.exists() and (has_begun(folder) or not is_first()):
        _refuse_another(folder, config, spec, data, fingerprint, kind)
        old, _, old_data = load_run(folder)
        if old_data != data.resolve() or old.data != config.data:
            # The same shards, moved, or called otherwise; what else was noted holds still.
            write_json(path, read_json(path) | fields)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if fresh:
        fields[_THROWN_AWAY_BY] = os.environ.get("SLURM_JOB_ID")
    elif path.exists() and _THROWN_AWAY_BY in (held := read_json(path)):
        # Of a job that died before its first checkpoint: it must not do it again when it is back.
        fields[_THROWN_AWAY_BY] = held[_THROWN_AWAY_BY]
    write_json(path, fields | {"kind": kind} | dict(more or {}))


def is_still_to_throw_away(folder: Path, fresh: bool) -> bool:
    """Return whether --fresh has yet to be done: a job that is back from the queue may have.

    SLURM gives it the same command again. What it has trained before is then to go on; where it
    ended before it came to throw anything away, what is there is still the old run.

    Args:
        folder: of the run.
        fresh: --fresh was given.
    """
    job, path = os.environ.get("SLURM_JOB_ID"), folder / "config.json"
    if not (fresh and job and os.environ.get("SLURM_RESTART_COUNT", "0") != "0" and path.exists()):
        return fresh
    return read_json(path).get(_THROWN_AWAY_BY) != job


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
