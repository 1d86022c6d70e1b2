"""The pictures of a report: curves, confusion, bars. Readable in print and by the colour-blind."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart with any colour vision; line styles differ too.
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#E69F00", "#009E73", "#777777"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, bbox_inches="tight")


def name_losses(kind: str, *, softmax: bool) -> tuple[str, str]:
    """Return what the loss of training is called, and that of validation: always cross-entropy.

    Args:
        kind: of `LossConfig`.
        softmax: whether the emotions share one cross-entropy.
    """
    plain = "cross-entropy" if softmax else "binary cross-entropy"
    named = {"absolute": "mean absolute error", "squared": "mean squared error"}
    return named.get(kind, plain), plain


def plot_curves(
    history: Sequence[dict[str, Any]], path: Path, title: str, losses: tuple[str, str]
) -> None:
    """Draw loss, and validation figures, by epoch.

    Args:
        history: rows of the epochs.
        path: of the picture.
        title: above it.
        losses: from `name_losses`.
    """
    # Two losses share an axis that is named after both only where they are the same.
    same = losses[0] == losses[1]
    trained, watched_as = ("", "") if same else (f": {losses[0]}", f": {losses[1]}")
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(10, 3.6))
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["loss"] for row in history], color=BLUE, label=f"training{trained}")
    # Not every epoch ends with a look at the validation people.
    seen = [row for row in history if row.get("validation_loss") is not None]
    watched = [row["epoch"] for row in seen]
    left.plot(
        watched,
        [row["validation_loss"] for row in seen],
        "--",
        color=ORANGE,
        label=f"validation{watched_as}",
    )
    left.set(xlabel="epoch", ylabel=losses[0] if same else "loss", ylim=(0, None), title="Loss")
    left.legend(frameon=False)
    for key, style, colour, label in (
        ("emotion_uar", "-", BLUE, "emotion: unweighted average recall"),
        ("action_unit_f1", "--", ORANGE, "action units: macro F1"),
        ("action_unit_roc_area", ":", GREEN, "action units: macro ROC area"),
    ):
        values = [row[key] for row in seen if row.get(key) is not None]
        if len(values) == len(watched):
            right.plot(watched, values, style, color=colour, label=label)
    right.set(xlabel="epoch", ylim=(0, 1.02), title="Validation, people not trained on")
    if right.lines:
        right.legend(frameon=False, loc="lower right", fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    _save(figure, path)


def plot_confusion(confusion: Sequence[Sequence[int]], names: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix: shares of each true emotion, with the counts."""
    counts = np.asarray(confusion, float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(5.6, 5.0))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            axes.text(
                column,
                row,
                f"{shares[row, column]:.0%}\n{int(counts[row, column])}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[row, column] > 0.5 else "black",
            )
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title="Emotions: share of each true emotion")
    figure.colorbar(image, ax=axes, shrink=0.8)
    _save(figure, path)


def plot_action_units(units: dict[str, Any], names: dict[str, str], path: Path) -> None:
    """Draw F1 and ROC area per action unit with 95% intervals, and the constant answer's F1."""
    figure = Figure(figsize=(10, 4.2))
    axes = figure.subplots()
    places = np.arange(len(units))
    rows = list(units.values())
    for shift, key, colour, hatch, label in (
        (-0.2, "f1", BLUE, "", "F1"),
        (0.2, "roc_area", ORANGE, "//", "ROC area"),
    ):
        # An undefined figure is NaN, which leaves its place empty.
        values = [row[key]["value"] if key in row else np.nan for row in rows]
        axes.bar(
            places + shift, values, 0.38, color=colour, hatch=hatch, edgecolor="white", label=label
        )
        spans = [row.get(key, {}).get("interval") or (np.nan, np.nan) for row in rows]
        low, high = np.transpose(spans)
        axes.vlines(places + shift, low, high, color="black", lw=1.2)
    chance = [row["chance"]["f1"] if "f1" in row else np.nan for row in rows]
    axes.hlines(
        chance, places - 0.4, places, color=GRAY, lw=1.5, label="F1 of always saying present"
    )
    labels = [f"{unit}\n{names[unit]}\nn={row['support']}" for unit, row in units.items()]
    axes.set_xticks(places, labels, rotation=60, ha="right", fontsize=8)
    axes.set(ylim=(0, 1.02), title="Action units, 95% intervals over people")
    axes.legend(frameon=False, ncol=3, loc="lower center", bbox_to_anchor=(0.5, 1.06), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def plot_sweep(runs: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draw validation figures by learning rate: a point a run, a line through each shape's means.

    Args:
        runs: rows of a sweep's table.
        path: of the picture.
        title: above it.
    """
    titles = {"emotion_uar": "Emotion: UAR", "action_unit_f1": "Action units: macro F1"}
    shown = {
        f"validation_{name}": text
        for name, text in titles.items()
        if any(run[f"validation_{name}"] is not None for run in runs)
    }
    figure = Figure(figsize=(5 * max(len(shown), 1), 3.6))
    styles = list(itertools.product(("-", "--", ":", "-."), (BLUE, ORANGE, GREEN, GRAY)))
    # Neighbours differ in colour and in style.
    styles = [styles[(5 * place) % len(styles)] for place in range(len(styles))]
    shapes = list(dict.fromkeys(run["blocks"] for run in runs))
    for axes, (name, text) in zip(
        np.atleast_1d(figure.subplots(1, max(len(shown), 1))), shown.items(), strict=False
    ):
        for place, shape in enumerate(shapes):
            mine = [run for run in runs if run["blocks"] == shape and run[name] is not None]
            rates = sorted({run["learning_rate"] for run in mine})
            means = [
                np.mean([run[name] for run in mine if run["learning_rate"] == rate])
                for rate in rates
            ]
            style, colour = styles[place % len(styles)]
            axes.plot(rates, means, style, color=colour, label=f"blocks {shape}")
            axes.plot(
                [run["learning_rate"] for run in mine],
                [run[name] for run in mine],
                ".",
                color=colour,
            )
        axes.set(xscale="log", xlabel="peak learning rate", ylim=(0, 1.02), title=text)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if len(shapes) > 1 and axes.lines:
            axes.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{title}: validation people, a point a run", fontsize=11)
    figure.tight_layout()
    _save(figure, path)
