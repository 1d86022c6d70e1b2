"""Figures of a model, as the scripts that measure one keep and print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def recalls(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, float | None]:
    """Return the recall of each emotion, None for one that nothing was an example of.

    Args:
        confusion: examples, [is, is called].
        names: of its rows.
    """
    return {
        name: row[place] / sum(row) if sum(row) else None
        for place, (name, row) in enumerate(zip(names, np.asarray(confusion).tolist(), strict=True))
    }


def figure_text(figure: Mapping[str, Any]) -> str:
    """Return a figure and its interval, where there were people enough for one."""
    interval = figure.get("interval")
    if interval is None:
        return f"{figure['value']:.4f} (too few for an interval)"
    return f"{figure['value']:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]"


def print_figures(figures: Mapping[str, Any]) -> None:
    """Print the figures of all examples, and the recall of each emotion."""
    for name in ("accuracy", "unweighted_average_recall", "macro_f1"):
        print(f"{name.replace('_', ' '):28} {figure_text(figures[name])}")
    for name, recall in figures["recall"].items():
        print(f"recall of {name:18} {'-' if recall is None else f'{recall:.4f}'}")
