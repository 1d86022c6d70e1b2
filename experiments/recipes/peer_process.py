"""A peer in a process of its own: asked over a pipe, answers in emojax's order of emotions.

Its first line is JSON with its emotions' own names in the order of its scores, its versions and
its preprocessing. After that a line `START STOP` asks for pictures, and a line of JSON answers:
scores, a list each, and the milliseconds of the clock and of the processor.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np

from emojax.errors import UserError
from emojax.labels import FER2013_EMOTIONS, SEVEN

EMOTION_OF: dict[str, str] = {
    **{name: name for name in SEVEN},
    # fer's words are those of FER2013's folders; face-api has three of its own.
    **FER2013_EMOTIONS,
    **{"fearful": "fear", "disgusted": "disgust", "surprised": "surprise"},
}
"""What a peer calls an emotion -> the vocabulary's name."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}


class Answers(NamedTuple):
    """What a row says about some pictures, and how long it took for each."""

    scores: np.ndarray  # float [n, 7], in the order of `SEVEN`
    milliseconds: np.ndarray  # float [n], by the clock, preparation of the crop included
    processor_milliseconds: np.ndarray  # float [n], of all of the process's threads


class Contender(NamedTuple):
    """One row of the comparison."""

    name: str
    preprocessing: str  # what is done to a 48 x 48 crop, in words; part of the time
    versions: Mapping[str, str]
    ask: Callable[[int, int], Answers]  # about the pictures from start to stop


def in_vocabulary(names: Sequence[str], source: str) -> list[int]:
    """Return where each emotion of `SEVEN` stands among somebody's own names.

    Args:
        names: in the order of the scores.
        source: whose they are, for the message.

    Raises:
        UserError: they are not these seven, each once.
    """
    ours = [EMOTION_OF.get(name, "") for name in names]
    if sorted(ours) != sorted(SEVEN):
        raise UserError(
            f"{source}: its emotions are {', '.join(names) or 'none'}: "
            f"wanted {', '.join(SEVEN)}, each once"
        )
    return [ours.index(name) for name in SEVEN]


@contextlib.contextmanager
def open_peer(name: str, command: Sequence[object], remedy: str) -> Iterator[Contender]:
    """Give a peer's row while its process lives.

    Args:
        name: of the row.
        command: the program and its arguments.
        remedy: the command that installs it, for the message.

    Raises:
        UserError: the program is missing, ends early, or says something else.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **ONE_THREAD},
            )
        except OSError as error:
            raise UserError(f"{words[0]}: {error.strerror}: {name} comes with `{remedy}`") from None
        with process:
            try:
                hello = _read_line(process, log, name, remedy)
                order = in_vocabulary(hello["names"], name)

                def ask(start: int, stop: int) -> Answers:
                    assert process.stdin
                    with contextlib.suppress(BrokenPipeError):
                        print(start, stop, file=process.stdin, flush=True)
                    answer = _read_line(process, log, name, remedy)
                    return Answers(
                        np.array(answer["scores"], np.float64)[:, order],
                        np.array(answer["milliseconds"]),
                        np.array(answer["processor_milliseconds"]),
                    )

                yield Contender(name, hello["preprocessing"], hello["versions"], ask)
            finally:
                process.kill()
                # What a process that ended never read is still in the buffer, and closing flushes.
                with contextlib.suppress(BrokenPipeError):
                    assert process.stdin
                    process.stdin.close()


def _read_line(
    process: subprocess.Popen[str], log: IO[str], name: str, remedy: str
) -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        if line:
            raise UserError(f"{name}: wanted a line of JSON, found {line[:80]!r}") from None
    status = process.wait()
    log.seek(0)
    said = [text.strip() for text in log if text.strip()]
    # Node ends a traceback with its own version.
    errors = [text for text in said if "Error" in text]
    last = (errors or said or ["it said nothing"])[-1]
    raise UserError(
        f"{name}: its process ended with status {status} ({last}): install it by `{remedy}`"
    )
