"""How work ends that somebody stops, and goes on where nobody listens: SIGTERM, Ctrl-C, `| head`.

Between two steps of a training a signal is noted, and the step is saved before anything else
happens; what must not stop half-way is done first; elsewhere a signal ends what is done at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from types import FrameType
from typing import Any, TypeVar

from emojax.errors import Terminated

_Result = TypeVar("_Result")

AGAIN_S = 0.05
"""How soon a signal comes again whose exception was lost."""


class StopTraining(Exception):  # noqa: N818 - not an error: someone asked for it
    """A signal asked to stop; the last step is saved."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.step = step
        self.number = number


def _heard() -> list[signal.Signals]:
    """Return which of SIGTERM and Ctrl-C are ours to handle.

    Whoever asked that one be ignored (`nohup`, a shell's `&`) still has it so; and what was not
    set by Python (None) could not be put back.
    """
    return [
        number
        for number in (signal.SIGTERM, signal.SIGINT)
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    ]


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yield a list that fills when SIGTERM or Ctrl-C arrives; a second one acts at once.

    One that is ignored stays so.
    """
    arrived: list[int] = []
    previous: dict[int, Any] = {}

    def note(number: int, _: Any) -> None:
        arrived.append(number)
        signal.signal(number, previous[number])

    if threading.current_thread() is threading.main_thread():
        for number in _heard():
            previous[number] = signal.signal(number, note)
    try:
        yield arrived
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end what is done now, each with its own status, wherever they come.

    A signal raises its exception in whatever Python does at that moment. Where that is a
    destructor or a callback of the garbage collector, Python tells of the exception and drops it:
    here nothing is told, and the signal comes once more. Where it is a function that an extension
    module called, the module may make an error of its own of it: here it is a stop again.

    Raises:
        Terminated: SIGTERM came; `stop_signals` inside of this waits for the step instead.
        KeyboardInterrupt: Ctrl-C, likewise.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds: dict[int, type[KeyboardInterrupt]] = {
        signal.SIGTERM: Terminated,
        signal.SIGINT: KeyboardInterrupt,
    }
    arrived: list[int] = []
    again: list[threading.Timer] = []

    def end(number: int, _: Any) -> None:
        arrived.append(number)
        raise kinds[number]

    def dropped(unraisable: Any) -> None:
        if not arrived or not isinstance(unraisable.exc_value, KeyboardInterrupt):
            told_before(unraisable)
            return
        again.append(threading.Timer(AGAIN_S, _signal_main_thread, (arrived[-1],)))
        again[-1].daemon = True
        again[-1].start()

    told_before = sys.unraisablehook
    sys.unraisablehook = dropped
    previous = {number: signal.signal(number, end) for number in _heard()}
    try:
        yield
    except Exception as error:
        if not arrived:
            raise
        raise kinds[arrived[-1]] from error
    finally:
        for timer in again:
            timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)
        if sys.unraisablehook is dropped:
            sys.unraisablehook = told_before


def _signal_main_thread(number: int) -> None:
    # To the main thread where that can be chosen: it may be waiting in a system call.
    if hasattr(signal, "pthread_kill"):
        main = threading.main_thread().ident
        if main is not None:
            signal.pthread_kill(main, number)
    else:
        signal.raise_signal(number)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Return a context at whose end a Ctrl-C or a SIGTERM arrives that came inside.

    A file that FFmpeg is writing stays broken if its writing stops in the middle, a frame's row
    and its annotated picture belong together, and TensorFlow prints a traceback where an exception
    comes up while its native code calls Python. Outside of the main thread, which alone hears
    signals, it does nothing, nor with one that is ignored or ends the process itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}
    came: dict[int, FrameType | None] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler):
            before[number] = handler
            signal.signal(number, came.setdefault)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in came.items():
            before[number](number, frame)


def what_waits(
    results: Generator[_Result, None, None], stop: KeyboardInterrupt
) -> Iterator[_Result]:
    """Yield what a generator still has on its way when a Ctrl-C ends the loop over it.

    It is told of the Ctrl-C, as if that had come while it was at work itself.

    Args:
        results: the generator; it may have ended, by that Ctrl-C or otherwise.
        stop: what ended the loop, to be raised again by who calls this.
    """
    with contextlib.suppress(KeyboardInterrupt):
        yield results.throw(stop)
        yield from results


class _Unheeding:
    """A stream that goes on when its reader goes away: what is said then, nobody is told."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._without_reader(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._without_reader(self._stream.flush)

    def _without_reader(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except OSError as error:
            # A pipe without a reader, and a terminal that was closed.
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            # The descriptor itself: what is held back for it has to go somewhere too.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def going_on_unheard() -> Iterator[None]:
    """Let no reader of stdout or stderr who goes away end what is done here.

    `| head` is one, an ssh that is gone another.
    """
    with contextlib.ExitStack() as streams:
        if sys.stdout is not None:
            streams.enter_context(contextlib.redirect_stdout(_Unheeding(sys.stdout)))
        if sys.stderr is not None:
            streams.enter_context(contextlib.redirect_stderr(_Unheeding(sys.stderr)))
        yield
