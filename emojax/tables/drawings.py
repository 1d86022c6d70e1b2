"""The pictures of the page: told apart without colour, in print, and by the colour-blind."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from sklearn.metrics import roc_curve

from emojax.calibration import BINS
from emojax.labels import UNKNOWN
from emojax.plots import BLUE, GRAY, GREEN, ORANGE
from emojax.significance import accuracy
from emojax.tables.outcome import Outcome, stack_counts
from emojax.tables.trained import Trained

# Each network has a colour, a line, a marker and a hatch: any one of them tells it.
_LOOKS: tuple[tuple[str, str, str, str], ...] = (
    (BLUE, "-", "o", ""),
    (ORANGE, "--", "s", "///"),
    (GREEN, ":", "^", "..."),
    (GRAY, "-.", "D", "xxx"),
)


def _look(place: int) -> tuple[str, str, str, str]:
    return _LOOKS[place % len(_LOOKS)]


def _words(name: str) -> str:
    """Return a name of somebody's so that it is drawn: no formula, and no half of a letter."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8").replace("$", r"\$")


def _png(canvas: Canvas) -> bytes:
    stream = io.BytesIO()
    canvas.savefig(stream, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return stream.getvalue()


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def draw_losses(runs: Mapping[str, Sequence[Trained]]) -> bytes:
    """Return loss curves: a panel a network, solid on its own pictures, dashed on validation.

    Args:
        runs: of each network, a training for each seed: a line each, thin where there are several.
    """
    canvas = Canvas(figsize=(3.4 * len(runs), 3.0))
    panels = np.atleast_1d(canvas.subplots(1, len(runs), sharey=True))
    for axes, (network, seeds) in zip(panels, runs.items(), strict=True):
        thin: dict[str, Any] = {"lw": 0.8, "ms": 2} if len(seeds) > 1 else {}
        for place, run in enumerate(seeds):
            for key, line, colour, name in (
                ("loss", "-o", BLUE, "training"),
                ("validation_loss", "--s", ORANGE, "validation"),
            ):
                seen = [row for row in run.history if row.get(key) is not None]
                epochs, losses = ([row[of] for row in seen] for of in ("epoch", key))
                label = name if place == 0 else None
                axes.plot(epochs, losses, line, color=colour, label=label, **thin)
        axes.set(xlabel="epoch", title=network)
        # One tick is enough for a single epoch, or it would have some at parts of one.
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        _plain(axes)
    panels[0].set(ylabel="loss", ylim=(0, 1.05 * panels[0].get_ylim()[1]))
    panels[0].legend(frameon=False)
    return _png(canvas)


def draw_confusions(outcomes: Mapping[str, Sequence[Outcome]]) -> bytes:
    """Return confusion matrices side by side: shares of each true emotion, in percent.

    The row of an emotion that nobody shows is hatched.

    Args:
        outcomes: of each network, one for each seed; their counts are added up.
    """
    canvas = Canvas(figsize=(4.3 * len(outcomes), 4.2))
    panels = np.atleast_1d(canvas.subplots(1, len(outcomes)))
    for axes, (name, seeds) in zip(panels, outcomes.items(), strict=True):
        counts = stack_counts(seeds, "emotion").sum(axis=(0, 1))
        shown = counts.any(axis=1)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row in np.flatnonzero(~shown):
            # A recall of 0 is another thing.
            bar = Rectangle((-0.5, row - 0.5), len(shares), 1, fill=False, ec=GRAY, lw=0)
            bar.set_hatch("///")
            axes.add_patch(bar)
        for row, column in np.argwhere(np.broadcast_to(shown[:, None], shares.shape)):
            axes.text(
                column,
                row,
                f"{100 * shares[row, column]:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[row, column] > 0.5 else "black",
            )
        names = seeds[0].emotions
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
        rows = names if axes is panels[0] else [""] * len(names)
        rows = [
            name if there else f"{name} (none)".strip()
            for name, there in zip(rows, shown, strict=True)
        ]
        axes.set_yticks(range(len(names)), rows)
        axes.set(xlabel="answered", title=_words(name))
    panels[0].set_ylabel("true")
    return _png(canvas)


def draw_units(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Return bars of F1 with 95% intervals, a group an action unit, a bar a network.

    Args:
        rows: of `pictures.unit_rows`, by network.
    """
    canvas = Canvas(figsize=(11, 3.8))
    axes = canvas.subplots()
    width = 0.8 / max(1, len(rows))
    units: list[str] = []
    for place, (network, mine) in enumerate(rows.items()):
        colour, _, _, hatch = _look(place)
        units = [str(row["unit"]) for row in mine]
        at = np.arange(len(mine)) + (place - (len(rows) - 1) / 2) * width
        # What is not defined is NaN, which leaves its place empty.
        axes.bar(
            at,
            [row["f1"] for row in mine],
            0.92 * width,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=network,
        )
        spans = [row["f1_interval"] or (np.nan, np.nan) for row in mine]
        low, high = np.transpose(spans)
        axes.vlines(at, low, high, color="black", lw=1.1)
    axes.set_xticks(range(len(units)), units, rotation=45, ha="right")
    axes.set(ylim=(0, 1.02), ylabel="F1")
    axes.legend(frameon=False, ncol=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _plain(axes)
    return _png(canvas)


def draw_roc(outcomes: Mapping[str, Outcome]) -> bytes:
    """Return ROC curves: a panel an action unit, a line a network."""
    first = next(iter(outcomes.values()))
    # One that is always there, or never, or that nobody labelled, has no curve.
    units = [
        place
        for place, label in enumerate(first.action_units.T)
        if len(np.unique(label[label != UNKNOWN])) == 2
    ]
    canvas = Canvas(figsize=(11, 1 + 2.0 * max(1, -(-len(units) // 5))))
    panels = canvas.subplots(
        max(1, -(-len(units) // 5)), 5, sharex=True, sharey=True, squeeze=False
    )
    for number, axes in enumerate(panels.flat):
        if number >= len(units):
            axes.axis("off")
            continue
        axes.plot([0, 1], [0, 1], color=GRAY, lw=0.8)
        unit = units[number]
        for place, (network, outcome) in enumerate(outcomes.items()):
            colour, line, _, _ = _look(place)
            label = outcome.action_units[:, unit]
            known = label != UNKNOWN
            false, true, _ = roc_curve(label[known], outcome.unit_scores[known, unit])
            axes.plot(false, true, line, color=colour, lw=1.6, label=network)
        axes.set_title(first.units[unit], fontsize=9)
        axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        _plain(axes)
    handles, names = panels[0, 0].get_legend_handles_labels()
    canvas.legend(handles, names, frameon=False, ncol=3, loc="lower center", fontsize=9)
    canvas.supxlabel("false alarms", fontsize=9, y=0.045)
    canvas.supylabel("found", fontsize=9)
    canvas.tight_layout(rect=(0, 0.06, 1, 1))
    return _png(canvas)


def draw_people(outcomes: Mapping[str, Sequence[Outcome]]) -> bytes:
    """Return how differently people are read: a point a person; a bar at the median.

    Args:
        outcomes: of each network, one for each seed; a person's answers are put together.
    """
    canvas = Canvas(figsize=(8, 0.9 + 0.55 * len(outcomes)))
    axes = canvas.subplots()
    rng = np.random.default_rng(0)
    for place, seeds in enumerate(outcomes.values()):
        shares = accuracy(stack_counts(seeds, "emotion").sum(axis=0))
        shares = shares[np.isfinite(shares)]
        colour, _, marker, _ = _look(place)
        aside = rng.uniform(-0.22, 0.22, len(shares))
        axes.scatter(
            shares, place + aside, s=22, marker=marker, color=colour, alpha=0.75, linewidths=0
        )
        if shares.size:
            axes.vlines(np.median(shares), place - 0.32, place + 0.32, color="black", lw=2)
    axes.set_yticks(range(len(outcomes)), [_words(name) for name in outcomes])
    axes.set(xlim=(-0.02, 1.02), xlabel="a person's emotion accuracy; bar: the median person")
    axes.invert_yaxis()
    _plain(axes)
    return _png(canvas)


def draw_reliability(answers: Mapping[str, Sequence[tuple[str, np.ndarray, np.ndarray]]]) -> bytes:
    """Return reliability diagrams: share of right answers against confidence, a panel a network.

    Args:
        answers: by network: what it is called, confidences 0..1, and whether they were right.
    """
    canvas = Canvas(figsize=(3.4 * len(answers), 3.3))
    panels = np.atleast_1d(canvas.subplots(1, len(answers), sharey=True))
    for axes, (network, kinds) in zip(panels, answers.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=GRAY, lw=1)
        for place, (name, confidence, right) in enumerate(kinds):
            colour, line, marker, _ = _look(place)
            bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
            count = np.bincount(bins, minlength=BINS)
            full = count > 0
            x = np.bincount(bins, confidence, BINS)[full] / count[full]
            y = np.bincount(bins, right, BINS)[full] / count[full]
            axes.plot(x, y, line, color=colour, label=name)
            size = 15 + 120 * count[full] / max(1, count.max())
            axes.scatter(x, y, s=size, marker=marker, color=colour, alpha=0.8, linewidths=0)
        axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="confidence", title=network)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        _plain(axes)
    panels[0].set_ylabel("share right")
    return _png(canvas)


def draw_groups(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return accuracy by group of people, a point with its 95% interval each.

    Args:
        rows: `group`, `value`, `interval`, `people`.
    """
    canvas = Canvas(figsize=(8, 0.8 + 0.32 * len(rows)))
    axes = canvas.subplots()
    for place, row in enumerate(rows):
        if row["interval"]:
            axes.hlines(place, *row["interval"], color=BLUE, lw=2)
        axes.plot(row["value"], place, "o", color=BLUE)
    names = [_words(f"{row['group']} (n={row['people']})") for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set(xlim=(-0.02, 1.02), xlabel="emotion accuracy, 95% interval over people")
    axes.invert_yaxis()
    _plain(axes)
    return _png(canvas)
