"""How many runs a device holds at once: one after the other, or stacked, whichever is faster here.

On a CPU stacked convolutions are several times slower than the same ones after each other; on a
GPU that a small network leaves half idle they are faster. So it is measured where it is used.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import jax

from emojax.data.resident import Resident
from emojax.errors import UserError
from emojax.files import write_json
from emojax.lanes import Lanes, Training
from emojax.spec import read_json

Stacked = Literal["auto", "yes", "no"]

_STEPS, _TIMES = 2, 3
"""Steps of a measured call, and calls, of which the median is taken."""


@dataclasses.dataclass(frozen=True)
class Stacking:
    """How many runs a device holds at once, and how that was found."""

    width: int
    """Runs of a device; 1: one after the other."""
    why: str
    """For people."""
    seconds: dict[str, float]
    """Of a step and run, by width, where it was measured."""
    measured_in: float
    """Seconds that the measurement took, compilations included."""


def check_stack_size(stack_size: int) -> None:
    """Refuse a number of runs that no device can hold.

    Raises:
        UserError: it is below 1.
    """
    if stack_size < 1:
        raise UserError(f"stack_size={stack_size}: wanted 1 or more runs on a device")


def even_width(trainings: int, devices: int, most: int) -> int:
    """Return the width, up to `most`, that leaves the fewest lanes empty; the larger of equals.

    Less than half of `most` is not tried: that would be many more rounds for a few lanes.
    """
    most = min(most, -(-trainings // devices))
    return min(range(most, most // 2, -1), key=lambda width: -trainings % (width * devices))


def _steps_of(lanes: Lanes, left: Sequence[Training], resident: Resident) -> Callable[[], None]:
    """Return a call of a few steps, compiled already."""
    group = left[: lanes.count]
    state, keys, rates = lanes.begin(group)
    order = lanes.place_order(group, 0)
    held = {"state": state}

    def call() -> None:
        if lanes.by_epoch:
            few = order[:, :_STEPS]
            held["state"], _ = lanes.epoch(held["state"], resident, few, keys, rates)
        else:
            for _ in range(_STEPS):
                held["state"], _ = lanes.step(held["state"], resident, order, keys, rates)
        jax.block_until_ready(held["state"])

    call()
    return call


def measure_stacking(
    left: Sequence[Training], make: Callable[[int], Lanes], resident: Resident, wide: int
) -> Stacking:
    """Return the faster of one run and `wide` runs at a time on a device, by a few steps each.

    Args:
        left: trainings; the first of them are begun, and thrown away.
        make: returns the lanes of a width.
        resident: all examples.
        wide: how many may be stacked.
    """
    started = time.monotonic()
    try:
        calls = {width: _steps_of(make(width), left, resident) for width in (1, wide)}
        rounds: dict[int, list[float]] = {width: [] for width in calls}
        for _ in range(_TIMES):
            for width, call in calls.items():
                before = time.perf_counter()
                call()
                share = _STEPS * make(width).count
                rounds[width].append((time.perf_counter() - before) / share)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        why = f"one after the other: {wide} at once do not fit into a device's memory"
        return Stacking(1, why, {}, time.monotonic() - started)
    seconds = {width: statistics.median(times) for width, times in rounds.items()}
    width = min(seconds, key=lambda width: seconds[width])
    why = (
        f"{'one after the other' if width == 1 else f'{width} stacked'} on each device: a step of "
        f"one run takes {1e3 * seconds[1]:.3g} ms alone and {1e3 * seconds[wide]:.3g} ms in {wide} "
        "stacked ones"
    )
    named = {str(width): value for width, value in seconds.items()}
    return Stacking(width, why, named, time.monotonic() - started)


def settle_stacking(
    left: Sequence[Training],
    make: Callable[[int], Lanes],
    resident: Resident,
    path: Path,
    stacked: Stacked,
    stack_size: int,
) -> Stacking:
    """Return how many runs a device holds; a measurement is kept for when the run goes on.

    Args:
        left: trainings to do.
        make: returns the lanes of a width.
        resident: all examples.
        path: where a measurement is kept.
        stacked: auto: measure.
        stack_size: the largest width.

    Raises:
        UserError: a width below 1.
    """
    check_stack_size(stack_size)
    devices = jax.device_count()
    wide = even_width(len(left), devices, stack_size)
    if stacked == "no" or wide == 1:
        reason = "one after the other" if devices == 1 else f"one on each of {devices} devices"
        return Stacking(1, reason, {}, 0.0)
    if stacked == "yes":
        return Stacking(wide, f"{wide} stacked on each device", {}, 0.0)
    here = {"device": jax.devices()[0].device_kind, "devices": devices, "stack_size": stack_size}
    kept = read_json(path) if path.exists() else {}
    if kept.get("measured_on") == here:
        kept.pop("measured_on")
        # Its time was counted when it was taken.
        return Stacking(**{**kept, "measured_in": 0.0})
    stacking = measure_stacking(left, make, resident, wide)
    write_json(path, {**dataclasses.asdict(stacking), "measured_on": here})
    return stacking
