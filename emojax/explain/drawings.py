"""Explanations as pictures, whose colours the colour-blind tell apart and print keeps."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from emojax.explain.contributions import Contributions
from emojax.explain.explanation import Explanation
from emojax.labels import ACTION_UNIT_NAMES, PROTOTYPES

# Brewer's purple and orange, and matplotlib's inferno, differ in lightness as well as in hue.
_SIGNED, _HEAT = "PuOr", "inferno"
_STRONGEST = 0.7
"""How much the highest heat covers of the picture below it."""


def _png(canvas: Figure) -> bytes:
    stream = io.BytesIO()
    canvas.savefig(stream, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return stream.getvalue()


def _add_scale(canvas: Figure, span: Normalize, colours: str, label: str) -> None:
    """Add a scale of colours on the right of what fills the canvas."""
    width, height = canvas.get_size_inches()
    place = canvas.add_axes((1 + 0.12 / width, 0, 0.1 / width, min(1, 3 / height)))
    bar = canvas.colorbar(ScalarMappable(span, colours), cax=place)
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=7)


class Tile(NamedTuple):
    """One picture of a sheet."""

    picture: np.ndarray  # uint8 [height, width]
    heat: np.ndarray | None  # [height, width], 0..1
    title: str


def blend(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a gray picture with heat over it, 0..1 in red, green, blue.

    Args:
        picture: uint8 [height, width].
        heat: [height, width], 0..1; where it is 0 the picture stays as it is.
    """
    gray = np.repeat(picture[..., None] / 255, 3, axis=2)
    cover = _STRONGEST * heat[..., None]
    return (1 - cover) * gray + cover * matplotlib.colormaps[_HEAT](heat)[..., :3]


def tiles(explanation: Explanation, example: int) -> list[Tile]:
    """Return an example's pictures, and each again under the heat of each output asked about."""
    found: list[Tile] = []
    said = explanation.truth[example] or explanation.names[example]
    for side in explanation.sides.values():
        shown = side.pictures[example]
        found.append(Tile(shown[len(shown) // 2], None, said if side.given[example] else "none"))
        for place, output in enumerate(explanation.asked[example]):
            name, score = explanation.outputs[output], explanation.scores[example, output]
            found += [
                Tile(picture, heat, f"{name} {score:.2f}" if number == 0 else "")
                for number, (picture, heat) in enumerate(
                    zip(shown, side.heat[example, place], strict=True)
                )
            ]
    return found


def draw_heats(explanation: Explanation, across: int) -> bytes:
    """Return all examples, `across` a row: a picture, and where the network looked on it.

    Each true emotion begins a row.
    """
    rows: list[list[Tile]] = []
    for _, group in itertools.groupby(range(len(explanation.names)), explanation.truth.__getitem__):
        mine = list(group)
        for start in range(0, len(mine), across):
            row = [tiles(explanation, example) for example in mine[start : start + across]]
            rows.append([tile for one in row for tile in one])
    most = max(rows, key=len)
    widths = [tile.picture.shape[1] / tile.picture.shape[0] for tile in most]
    canvas = Figure(figsize=(1.4 * sum(widths), 1.62 * len(rows)))
    grid = canvas.subplots(len(rows), len(most), squeeze=False, width_ratios=widths)
    for places, row in zip(grid, rows, strict=True):
        for place in places:
            place.set_axis_off()
        for place, tile in zip(places, row, strict=False):
            if tile.heat is None:
                place.imshow(tile.picture, cmap="gray", vmin=0, vmax=255)
            else:
                place.imshow(blend(tile.picture, tile.heat))
            place.set_title(_cut(tile.title), fontsize=7, pad=2)
    canvas.subplots_adjust(left=0, right=1, top=1, bottom=0, wspace=0.04, hspace=0.14)
    _add_scale(canvas, Normalize(0, 1), _HEAT, "heat, of the picture's highest")
    return _png(canvas)


def _cut(title: str, longest: int = 17) -> str:
    return title if len(title) <= longest else f"…{title[1 - longest :]}"


def draw_kernels(kernels: np.ndarray) -> bytes:
    """Return kernels side by side, each from minus to plus its own largest weight.

    Args:
        kernels: [kernel, time, height, width]; one with several times is a row of them.
    """
    count, times, _, _ = kernels.shape
    across = 16 if times == 1 else max(1, 40 // times)
    down = -(-count // across)
    size = 0.62 if times == 1 else 0.3
    canvas = Figure(figsize=(size * across * times, (size + 0.16) * down))
    grid = canvas.subplots(down, across, squeeze=False)
    for number, place in enumerate(grid.flat):
        place.set_axis_off()
        if number >= count:
            continue
        # Times stand beside each other, a blank column between two.
        gap = np.full((kernels.shape[2], 1), np.nan)
        strip = np.concatenate([part for frame in kernels[number] for part in (frame, gap)], axis=1)
        largest = float(np.abs(kernels[number]).max()) or 1.0
        place.imshow(strip[:, :-1], cmap=_SIGNED, vmin=-largest, vmax=largest)
        place.set_title(f"{number + 1}: ±{largest:.2g}", fontsize=6, pad=1.5)
    canvas.subplots_adjust(left=0, right=1, top=1, bottom=0, wspace=0.12, hspace=0.3)
    _add_scale(canvas, Normalize(-1, 1), _SIGNED, "weight, of the largest")
    return _png(canvas)


def draw_contributions(found: Contributions) -> bytes:
    """Return what units do to emotions, three ways; EMFACS prototypes are outlined."""
    panels: Sequence[tuple[str, str, np.ndarray]] = (
        ("Contribution", "of the logit, where the emotion is", found.contribution),
        ("Sensitivity", "logit by logit, on average", found.sensitivity),
        ("Recall lost", "percent, unit shuffled", 100 * found.recall_lost),
    )
    canvas = Figure(figsize=(13.5, 5.6))
    for axes, (title, unit, values) in zip(canvas.subplots(1, 3, sharey=True), panels, strict=True):
        known = np.abs(values[np.isfinite(values)])
        largest = float(known.max(initial=0)) or 1.0
        image = axes.imshow(values.T, cmap=_SIGNED, vmin=-largest, vmax=largest, aspect="auto")
        for row, column in np.ndindex(*values.T.shape):
            value = values[column, row]
            if np.isfinite(value):
                axes.text(
                    column,
                    row,
                    f"{value:.0f}" if title == "Recall lost" else f"{value:.2f}",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="white" if abs(value) > 0.7 * largest else "black",
                )
            if int(found.units[row][2:]) in PROTOTYPES.get(found.emotions[column], ()):
                box = Rectangle(
                    (column - 0.47, row - 0.46), 0.94, 0.92, fill=False, edgecolor="black", lw=2
                )
                axes.add_patch(box)
        axes.set_xticks(range(len(found.emotions)), found.emotions, rotation=40, ha="right")
        names = [f"{name} {ACTION_UNIT_NAMES[int(name[2:])]}" for name in found.units]
        axes.set_yticks(range(len(names)), names)
        axes.set_title(f"{title}\n{unit}", fontsize=10)
        canvas.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    canvas.tight_layout()
    return _png(canvas)
