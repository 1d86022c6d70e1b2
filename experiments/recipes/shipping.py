"""Put an artifact where emojax finds it by name: emojax/shipped/NAME."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emojax.ancestors import NOTED
from emojax.errors import UserError
from emojax.export import check_replaceable
from emojax.files import write_json
from emojax.network import load_network
from emojax.seal import sealed
from emojax.spec import read_json
from emojax.weights_file import WEIGHTS, write_weights

CARD = "CARD.md"
"""What tells people about it."""

PRECISIONS = ("float16", "int8")
"""What is shipped; float32 is twice as large and no better."""


def put(
    out: Path,
    run: Path,
    artifact: Path,
    *,
    data: str,
    notice: str,
    metrics: dict[str, Any],
    people: Sequence[str] = (),
) -> dict[str, Any]:
    """Write a shipped model's folder anew, but for its card, and return its spec.

    int8, float16, the recorded answers, the weights to start a training from.

    Everything is read before the folder is emptied.

    Args:
        out: the folder; nothing but an artifact is written over.
        run: the trained run.
        artifact: what was exported from it.
        data: name of the data set, in the place of paths of the machine that it was made on.
        notice: what is printed whenever the model is used.
        metrics: figures that stand in spec.json.
        people: whom it has seen, where that is known: a cross-validation that starts from it
            refuses to test them.

    Raises:
        UserError: no run or artifact there, one that lacks a precision, or a folder that holds
            something else.
    """
    network = load_network(run)
    spec = read_json(artifact / "spec.json")
    if lacking := [name for name in PRECISIONS if name not in spec.get("files", {})]:
        raise UserError(f"{artifact}: has no {lacking[0]} file: export the run again")
    check_replaceable(out, beside=(CARD, "config.json", WEIGHTS))
    if out.resolve() in (run.resolve(), artifact.resolve()):
        raise UserError(f"{out}: is what is shipped: choose another --out")
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    spec["files"] = {precision: spec["files"][precision] for precision in PRECISIONS}
    spec["training"] |= {"notice": notice, "card": CARD}
    spec["training"]["config"] |= {"data": data, "teachers": []}
    spec["metrics"] = metrics
    others = [spec[part]["name"] for part in ("golden", "sound") if part in spec]
    for name in (*others, *(entry["name"] for entry in spec["files"].values())):
        shutil.copyfile(artifact / name, out / name)
    # Its own checksum is of what the export wrote.
    spec = sealed(spec)
    write_json(out / "spec.json", spec)
    write_weights(out / WEIGHTS, network.variables)
    fields = json.loads((run / "config.json").read_text(encoding="utf-8"))
    fields["config"] |= {"data": data, "teachers": []}
    fields["data_folder"] = ""
    # Of a set of pictures these are tens of thousands of names.
    fields.pop(NOTED, None)
    if people:
        fields["people"] = sorted(people)
    write_json(out / "config.json", fields)
    return spec


def require_measured(path: Path, figures: dict[str, Any], *names: str, remedy: str) -> None:
    """Refuse figures that a card can't be written from, before anything is put anywhere.

    Args:
        path: the file that they are from.
        figures: what it holds.
        names: what the card tells.
        remedy: how they are measured.

    Raises:
        UserError: one of them is not there.
    """
    for name in names:
        if name not in figures:
            raise UserError(f"{path}: lacks {name!r}: {remedy}")


def with_interval(figure: dict[str, Any]) -> str:
    """Return a figure as a card says it."""
    low, high = figure["interval"]
    return f"{figure['value']:.3f} [{low:.3f}, {high:.3f}]"


def confusion_table(figures: dict[str, Any]) -> list[str]:
    """Return the lines of a confusion matrix in Markdown."""
    names = figures["names"]
    rows = [f"| is \\\\ is called | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    for name, counts in zip(names, figures["confusion"], strict=True):
        rows.append(f"| {name} | {' | '.join(map(str, counts))} |")
    return rows


def corruption_table(rows: dict[str, Any], measure: str) -> list[str]:
    """Return the lines of a table of corruptions, from weak to strong, in Markdown.

    Args:
        rows: by corruption: `what` its strengths mean, `strengths`, and the figures.
        measure: name of the figures.
    """
    lines = ["| corruption | 1 | 2 | 3 | 4 | 5 |", "| --- | --- | --- | --- | --- | --- |"]
    for name, row in rows.items():
        cells = " | ".join(
            f"{value:.3f} ({strength:g})"
            for strength, value in zip(row["strengths"], row[measure], strict=True)
        )
        lines.append(f"| {name}: {row['what']} | {cells} |")
    return lines
