"""Timing in turns: the options, the rounds, the table and the JSON of every sub-command."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tqdm import tqdm

from emojax.errors import UserError
from emojax.files import write_json
from emojax.run import provenance

Times = Mapping[str, Sequence[float]]
"""Seconds of each way, one for each round."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What every sub-command takes."""

    rounds: int = 5
    """Timed rounds, after one that is not counted; medians are over them."""
    quick: bool = False
    """A rehearsal: the smallest sizes, only to see that everything runs."""
    out: Path | None = None
    """Also write the figures here, as JSON."""

    QUICK: ClassVar[Mapping[str, Any]] = {"rounds": 1}
    """What `quick` makes of the options."""

    def __post_init__(self) -> None:
        """Refuse no rounds, and an output that could not be written in the end."""
        if self.rounds < 1:
            raise UserError(f"rounds={self.rounds}: wanted 1 or more")
        if self.out is not None and not self.out.absolute().parent.is_dir():
            raise UserError(f"{self.out}: no such folder: make it, or choose another --out")

    def settled(self) -> Any:
        """Return the options, those of a rehearsal where that is asked for."""
        return dataclasses.replace(self, **self.QUICK) if self.quick else self


def time_ways(
    ways: Mapping[str, Callable[[], object]], rounds: int, what: str, shortest_s: float = 0.0
) -> Times:
    """Return the seconds of each way in each round, all of them once a round.

    Rounds alternate, so that a busy machine slows all alike, and each is begun by another
    way: whoever comes later meets a warmer machine. A first round is not counted.

    Args:
        ways: functions that do the work and wait for its end.
        rounds: that count.
        what: is timed, for the progress bar.
        shortest_s: what is over sooner is repeated until then, and the mean is taken.
    """
    names = list(ways)
    times: dict[str, list[float]] = {name: [] for name in names}
    calls = dict.fromkeys(names, 1)

    def seconds_of(name: str) -> float:
        # The threads of the way before wait for more work in a loop, until they sleep.
        time.sleep(0.1)
        started = time.perf_counter()
        for _ in range(calls[name]):
            ways[name]()
        return (time.perf_counter() - started) / calls[name]

    for number in tqdm(range(rounds + 1), desc=what, unit="round", disable=None, leave=False):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds = seconds_of(name)
            if number:
                times[name].append(seconds)
            elif shortest_s:
                # The first call has compiled; this one tells how long it takes.
                calls[name] = max(1, math.ceil(shortest_s / seconds_of(name)))
    return times


def median(times: Times, way: str) -> float:
    """Return the median seconds of a way."""
    return statistics.median(times[way])


def speed_ratio(times: Times, ours: str, theirs: str) -> float | None:
    """Return how many times faster ours is, the median over rounds; None: theirs was not timed."""
    if theirs not in times:
        return None
    pairs = zip(times[ours], times[theirs], strict=True)
    return statistics.median(other / own for own, other in pairs)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        # Three digits that count, and never a power of ten.
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def show_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows under the names of their columns; what a row lacks is a dash."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_shown(row.get(name)) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in (columns, *cells):
        first, *others = zip(line, widths, strict=True)
        print(f"{first[0]:{first[1]}}" + "".join(f"  {cell:>{width}}" for cell, width in others))


def report(options: Options, what: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return a benchmark's figures with options, versions and device; write them where asked.

    Args:
        options: of the sub-command; `out` is where they go.
        what: was held against what, in a sentence.
        figures: of the benchmark; those under `table` are printed.
    """
    settings = {**dataclasses.asdict(options), "out": None}
    # A flag decides which kernels XLA makes, or how long it looks for them.
    flags = {"XLA_FLAGS": os.environ["XLA_FLAGS"]} if os.environ.get("XLA_FLAGS") else {}
    fields = {"what": what, "options": settings, **figures, **flags, "provenance": provenance()}
    show_table(fields["table"])
    if options.out is not None:
        write_json(options.out, json.loads(json.dumps(fields, default=str)))
        print(f"wrote {options.out}")
    return fields
