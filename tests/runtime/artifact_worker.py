"""Loads, verifies and predicts with artifacts, one folder a line on its input, an answer a line.

Each answer is JSON: for each of the three what came of it, and the files outside of the folder that
were opened.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emojax.cli import main
from emojax.errors import UserError
from emojax.runtime.artifact import load_artifact

MEMORY = 3 << 30

opened: list[str] = []
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and event in ("open", "os.listdir", "os.remove", "os.mkdir", "os.rename"):
        opened.append(os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else "")
    elif watching and event.startswith(("socket.", "subprocess.", "os.system", "os.exec")):
        opened.append(event)


def outside(paths: list[str], own: tuple[Path, ...]) -> list[str]:
    """Which of the opened paths are neither the artifact's nor the program's own."""
    fine = [str(path) for path in own]
    fine += [sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), os.devnull, str(ROOT)]
    # An editable installation looks into a folder of that name, which is none.
    fine.append("__editable__")
    # Where the process's own memory lies, for its large pages.
    fine.append("/proc/self/maps")
    return [path for path in paths if path and not path.startswith(tuple(fine))]


def load(folder: str) -> dict[str, str]:
    try:
        load_artifact(folder)
    except UserError as error:
        text = str(error)
        return {"result": "refused" if text.startswith(folder) else "unnamed", "said": text}
    return {"result": "taken", "said": ""}


def command(words: list[str]) -> dict[str, str]:
    said, written = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(written):
        status = main(words)
    lines = said.getvalue()
    if status == 0 and not lines:
        return {"result": "taken", "said": ""}
    if status == 1 and "BAD" in written.getvalue():
        return {"result": "disagrees", "said": lines}
    plain = lines.count("\n") == 1 and lines[:-1].isprintable()
    good = status == 2 and plain and lines.startswith(f"emojax {words[0]}: error: ")
    return {"result": "refused" if good else f"status {status}", "said": lines}


def attempt(call: Callable[[], dict[str, str]]) -> dict[str, str]:
    try:
        return call()
    except BaseException:
        return {"result": "raised", "said": traceback.format_exc()}


if __name__ == "__main__":
    ROOT, file, out = Path(__file__).resolve().parents[2], sys.argv[1], Path(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.addaudithook(watch)
    for line in sys.stdin:
        folder = line.strip()
        opened.clear()
        watching = True
        model = ["--model", folder, "--out", str(out)]
        answer: dict[str, Any] = {
            "load": attempt(lambda folder=folder: load(folder)),
            "verify": attempt(lambda folder=folder: command(["verify", folder])),
            "predict": attempt(lambda model=model: command(["predict", file, *model])),
        }
        watching = False
        answer["outside"] = outside(opened, (Path(folder), Path(file), out))
        answer["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(json.dumps(answer), flush=True)
