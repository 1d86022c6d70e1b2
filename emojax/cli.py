"""The command line: `emojax COMMAND`, each command imported only when it is called.

A mistake of the user's is one line on stderr and status 2; a traceback means a
defect of ours.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from emojax.errors import MissingExtraError, Terminated, UserError, one_line
from emojax.files import NO_ROOM

# name: (module with a `main(arguments) -> int`, extra that it needs, what it does)
COMMANDS: dict[str, tuple[str, str | None, str]] = {
    "predict": (
        "emojax.commands.predict",
        None,
        "action units and emotions of pictures, folders, videos, a camera: CSV, annotated copies",
    ),
    "webcam": (
        "emojax.commands.webcam",
        None,
        "the live view of a camera, with a bar for each action unit and emotion",
    ),
    "serve": (
        "emojax.commands.serve",
        "serve",
        "a page in the browser: camera, videos and pictures; and an API",
    ),
    "verify": (
        "emojax.commands.verify",
        None,
        "does an artifact answer on this machine as it did where it was made?",
    ),
    "bench": (
        "emojax.commands.bench",
        None,
        "how fast an artifact is on this machine: decode, detect, crop, infer, draw",
    ),
    "export": (
        "emojax.commands.export",
        "train",
        "a trained run becomes an artifact: float32, float16 and int8",
    ),
    "data": (
        "emojax.commands.data",
        "train",
        "build a data set into shards; inspect, verify, divide it; record one's own",
    ),
    "models": (
        "emojax.commands.models",
        "train",
        "what each network costs: parameters, multiply-accumulates, memory, time",
    ),
}

# Packages whose absence means that an extra was left out, and which extra brings them.
_EXTRA_OF_PACKAGE: dict[str, str] = {
    **dict.fromkeys(
        (
            "jax",
            "jaxtyping",
            "ai_edge_quantizer",
            "flax",
            "optax",
            "orbax",
            "tensorflow",
            "tensorflow_datasets",
            "librosa",
            "scipy",
            "sklearn",
            "matplotlib",
            "tensorboardX",
            "google_crc32c",
        ),
        "train",
    ),
    "pandas": "table",
    "pyarrow": "table",
    "apache_beam": "beam",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "websockets": "serve",
}


BROKEN_PIPE = 141
"""Exit status of work that broke off with its reader: 128 + SIGPIPE."""


def _flush_stdout() -> None:
    """Write what is held back: what can't be, Python would tell as a traceback at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - has to outlive this function
        raise


def _ready_streams() -> None:
    """Make sure that whatever is printed neither ends the work nor lands in a file."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            # Closed (`2>&-`): the next file would take its place, and what native libraries say.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
        if getattr(sys, name) is None:
            nobody = open(os.devnull, "w", errors="replace")  # noqa: SIM115 - outlives this function
            setattr(sys, name, nobody)
    # A name that the terminal's encoding lacks is shown with escapes. What stands in for a
    # terminal, in a notebook, need not know how.
    with contextlib.suppress(AttributeError, ValueError, OSError):
        sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]


def run_guarded(program: str, function: Callable[[], int]) -> int:
    """Return a process's exit status: the function's own, or that of the mistake it met.

    Args:
        program: the name that starts the error line.
        function: does the work and returns 0 for success, 1 where a part failed.

    Returns:
        2 after a `UserError`, a file that can't be read or written, or a
        missing extra (one line on stderr); 130 after Ctrl-C, 143 where SIGTERM is taken as one;
        141, a shell's word for SIGPIPE, where the work broke off because nobody reads it.
    """
    status: int | None = None
    _ready_streams()
    try:
        status = function()
        _flush_stdout()
        return status
    except UserError as error:
        message = str(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _EXTRA_OF_PACKAGE:
            raise
        message = str(MissingExtraError(program, _EXTRA_OF_PACKAGE[package]))
    except BrokenPipeError:
        # The reader of our output went away (`emojax ... | head`): that is its right. But work
        # that was not done by then is not finished.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - has to outlive this function
        return BROKEN_PIPE if status is None else status
    except OSError as error:
        if error.filename is None and error.errno not in NO_ROOM:
            raise
        if error.filename is None:
            with contextlib.suppress(OSError):
                _flush_stdout()
        where = error.filename if error.filename is not None else "the output"
        remedy = "free some space" if error.errno in NO_ROOM else "check the path and its rights"
        message = f"{where}: {error.strerror or error}: {remedy}"
    except KeyboardInterrupt as stop:
        print(f"\n{program}: stopped; what was already written is kept", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    print(f"{program}: error: {one_line(message)}", file=sys.stderr)
    return 2


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "usage: emojax COMMAND [OPTIONS]",
        "",
        "Recognises 15 facial action units and 7 emotions.",
        "",
        "commands:",
    ]
    for name, (_, extra, text) in COMMANDS.items():
        needs = f" (needs emojax[{extra}])" if extra else ""
        lines.append(f"  {name:{width}}  {text}{needs}")
    lines += ["", "`emojax COMMAND --help` tells what a command takes; `emojax --version`."]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from emojax.version import __version__

        print(f"emojax {__version__}")
        return 0
    if words[0] not in COMMANDS:
        print(
            f"emojax: error: no command {words[0]!r}: use one of {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    module, _, _ = COMMANDS[words[0]]
    program = f"emojax {words[0]}"
    return run_guarded(program, lambda: importlib.import_module(module).main(words[1:]))


if __name__ == "__main__":
    sys.exit(main())
