"""An explanation as a page that stands alone, with its pictures and tables beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from emojax import html
from emojax.explain.contributions import Contributions
from emojax.explain.drawings import draw_contributions, draw_heats, draw_kernels
from emojax.explain.explanation import Explanation
from emojax.labels import PROTOTYPES

HEAT = (
    "Beside each picture, under its true emotion where that is known: where the network looked for "
    "the output named above it, with its score, by the gradients of its logit. Each picture's "
    "heat is scaled by its own highest; without heat nothing in the map spoke for the output."
)
KERNELS = (
    "Weights of the first convolution, each kernel from minus to plus its own largest weight, "
    "which stands above it. White is 0."
)
CONTRIBUTIONS = (
    "Outlined: the units of the emotion's prototype (EMFACS). Left: how much a unit speaks for the "
    "emotion where the emotion is: gradient times the unit's distance from its mean. Middle: the "
    "gradient alone, averaged over all test people. Right: recall of the emotion that is lost with "
    "the unit's values shuffled over all faces. The three are defined in docs/explain.md."
)

_STYLE = "img { max-width: 100%; background: #fff; } figure { margin: 1rem 0; }"


def contribution_rows(found: Contributions) -> Iterable[dict[str, object]]:
    """Yield a row for each emotion and action unit, shares of 1."""
    for place, emotion in enumerate(found.emotions):
        for number, unit in enumerate(found.units):
            yield {
                "emotion": emotion,
                "unit": unit,
                "prototype": int(int(unit[2:]) in PROTOTYPES.get(emotion, ())),
                "contribution": found.contribution[place, number],
                "sensitivity": found.sensitivity[place, number],
                "recall_lost": found.recall_lost[place, number],
                "recall_spread": found.recall_spread[place, number],
                "accuracy_lost": found.accuracy_lost[number],
                "accuracy_spread": found.accuracy_spread[number],
            }


def _answer_rows(explanation: Explanation) -> Iterable[dict[str, object]]:
    for number, name in enumerate(explanation.names):
        scores = zip(explanation.outputs, explanation.scores[number], strict=True)
        yield {"name": name, "true": explanation.truth[number], **dict(scores)}


def _write_rows(path: Path, rows: Iterable[dict[str, object]]) -> None:
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            cells = row.items()
            writer.writerow({k: v if isinstance(v, str | int) else f"{v:.6g}" for k, v in cells})


def write_explanation(
    out: Path,
    title: str,
    explanation: Explanation,
    found: Contributions | None,
    facts: Sequence[str],
    across: int = 3,
) -> Path:
    """Write the page, its pictures as PNG and its tables as CSV; return the page's path.

    Args:
        out: folder; what stands there under the same names is written anew.
        title: of the page.
        explanation: of the network.
        found: of an ar4, what its action units do.
        facts: what the page begins with, a paragraph each.
        across: examples a row.
    """
    out.mkdir(parents=True, exist_ok=True)
    layers = "; ".join(f"{what}: {side.layer}" for what, side in explanation.sides.items())
    figures = [
        ("heat", "Where it looked", f"{HEAT} Map: {layers}.", draw_heats(explanation, across))
    ]
    for what, side in explanation.sides.items():
        of = f", {what}" if len(explanation.sides) > 1 else ""
        figures.append(
            (f"kernels-{what}", f"First kernels{of}", KERNELS, draw_kernels(side.kernels))
        )
    _write_rows(out / "answers.csv", _answer_rows(explanation))
    if found:
        figures.append(
            ("contributions", "Action units and emotions", CONTRIBUTIONS, draw_contributions(found))
        )
        _write_rows(out / "contributions.csv", contribution_rows(found))
    parts = [html.element("h1", title), *(html.element("p", fact) for fact in facts)]
    for name, heading, caption, content in figures:
        (out / f"{name}.png").write_bytes(content)
        shown = html.picture(content, "png", f"{heading}. {caption}")
        below = html.element("figcaption", caption)
        parts += [html.element("h2", heading), html.element("figure", [shown, below])]
    path = out / "index.html"
    path.write_text(html.page(title, parts, _STYLE), encoding="utf-8")
    return path
