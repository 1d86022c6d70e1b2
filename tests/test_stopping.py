"""A signal stops what is done, also where its exception is lost, and waits where it must."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from typing import Any

import pytest

from emojax.errors import Terminated
from emojax.stopping import signals_interrupt, stop_signals, uninterrupted

KINDS = [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]


class Dying:
    """Gets a signal, or makes a mistake, where no exception leads anywhere."""

    def __init__(self, number: int | None = None) -> None:
        self.number = number

    def __del__(self) -> None:
        if self.number is None:
            raise ValueError("a mistake")
        signal.raise_signal(self.number)


def in_collector(number: int) -> None:
    """Get a signal while the garbage is collected, as JAX's own callback may."""

    def callback(phase: str, _: object) -> None:
        if phase == "stop":
            gc.callbacks.remove(callback)
            signal.raise_signal(number)

    gc.callbacks.append(callback)
    gc.collect()


@pytest.mark.parametrize(("number", "kind"), KINDS)
@pytest.mark.parametrize("place", [Dying, in_collector])
def test_an_exception_that_python_drops_is_raised_again_and_not_told(
    place: Any, number: int, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
):
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    went_on, since = False, time.monotonic()
    with pytest.raises(kind), signals_interrupt():  # noqa: PT012 - where it comes is the point
        place(number)
        went_on = True
        time.sleep(20)
    assert went_on
    assert time.monotonic() - since < 10
    assert not told
    assert sys.unraisablehook == told.append


@pytest.mark.parametrize(("number", "kind"), KINDS)
def test_a_librarys_own_error_over_a_signal_is_a_stop(number: int, kind: type[BaseException]):
    def library() -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise SystemError("returned a result with an exception set") from None

    with pytest.raises(kind) as stop, signals_interrupt():
        library()
    assert isinstance(stop.value.__cause__, SystemError)


def test_without_a_signal_mistakes_are_what_they_are(monkeypatch: pytest.MonkeyPatch):
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: told.append(str(it.exc_value)))
    with pytest.raises(KeyError), signals_interrupt():  # noqa: PT012 - both of them
        Dying()
        raise KeyError("missing")
    assert told == ["a mistake"]


@pytest.mark.parametrize("context", [signals_interrupt, stop_signals, uninterrupted])
def test_ctrl_c_that_is_ignored_stays_so(context: Any):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with context() as arrived:
            signal.raise_signal(signal.SIGINT)
        assert not arrived
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("context", [signals_interrupt, stop_signals])
def test_a_handler_that_python_did_not_set_is_left_alone(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It could not be put back: `signal.signal` takes no None.
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with context():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "kind"), KINDS)
def test_a_signal_arrives_at_the_end(number: int, kind: type[BaseException]) -> None:
    done = []
    with pytest.raises(kind), signals_interrupt():  # noqa: PT012 - what comes behind is the point
        with uninterrupted():
            with uninterrupted():
                signal.raise_signal(number)
                done.append("inner")
            done.append("outer")
        done.append("never")
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_inside_is_told_before_ctrl_c() -> None:
    def fail() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            raise OSError("full")

    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert isinstance(caught.value.__context__, OSError)


def test_nothing_waits_for_signals_in_other_threads() -> None:
    entered = []

    def enter() -> None:
        with uninterrupted():
            entered.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [True]
