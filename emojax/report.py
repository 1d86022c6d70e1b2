"""A run's results as one self-contained HTML page, and as a table for the terminal."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from emojax import labels

SYNTHETIC_CAPTION = (
    "Synthetic faces: the figures say how well drawings are read, nothing about real faces."
)

VALIDATION_CAPTION = "on the validation people, whom choices were made by: no figures to publish"

# group, key, what a reader calls it
FIGURES: tuple[tuple[str, str, str], ...] = (
    ("emotion", "unweighted_average_recall", "emotion UAR"),
    ("emotion", "accuracy", "emotion accuracy"),
    ("emotion", "macro_f1", "emotion macro F1"),
    ("action_units", "macro_f1", "AU macro F1"),
    ("action_units", "macro_roc_area", "AU macro ROC area"),
    ("action_units", "macro_accuracy", "AU accuracy"),
)

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
caption { text-align: left; padding: .3rem 0; }
img { max-width: 100%; background: white; }
small, .interval { color: #777; font-size: .85em; }
.notice { border-left: .3rem solid #E69F00; padding: .5rem 1rem; }
code, pre { font-size: .9em; overflow-x: auto; }
"""


def _chance(scope: dict[str, Any], group: str, key: str) -> float | None:
    if group == "emotion":
        return scope["emotion"].get("chance", {}).get(key)
    return scope["action_units"].get(key, {}).get("chance")


def table_rows(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield one row per figure and scope: value, interval, chance, and the pixel baseline."""
    test, baseline = results["test"], results.get("pixel_baseline")
    scopes = [("overall", test["overall"], baseline and baseline["overall"])]
    # One domain alone is everything again.
    for name, scope in test["domains"].items() if len(test["domains"]) > 1 else ():
        scopes.append((name or "unnamed", scope, baseline and baseline["domains"].get(name)))
    # A network with two branches: the same weights, with one side of each clip left out.
    for name, scope in test.get("modalities", {}).items():
        scopes.append((f"{name} only", scope, None))
    for name, scope, other in scopes:
        for group, key, title in FIGURES:
            if key not in scope[group]:
                continue
            figure = scope[group][key]
            yield {
                "scope": name,
                "people": scope["people"],
                "examples": scope["examples"],
                "figure": title,
                "value": figure["value"],
                "interval": figure["interval"],
                "chance": _chance(scope, group, key),
                "pixel_baseline": other[group].get(key, {}).get("value") if other else None,
            }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def terminal_table(results: dict[str, Any]) -> str:
    """Return the figures as lines of text for a terminal."""
    lines = [
        f"{'faces':12}{'figure':20}{'value':>7}  {'95% interval':16}{'chance':>7}{'pixels':>8}"
        f"{'people':>8}{'examples':>10}"
    ]
    for row in table_rows(results):
        span = row["interval"]
        interval = f"[{span[0]:.3f}, {span[1]:.3f}]" if span else ""
        lines.append(
            f"{row['scope']:12}{row['figure']:20}{_number(row['value']):>7}  {interval:16}"
            f"{_number(row['chance']):>7}{_number(row['pixel_baseline']):>8}"
            f"{row['people']:>8}{row['examples']:>10}"
        )
    if results.get("reported_on") == "validation":
        lines.append(VALIDATION_CAPTION)
    lines.append("chance: the best constant answer; pixels: logistic regression on the pixels")
    return "\n".join(lines)


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    header = "".join(f"<th scope=col>{cell}</th>" for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f"<table><caption>{caption}</caption><thead><tr>{header}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _with_interval(figure: dict[str, Any] | None) -> str:
    if not figure:
        return ""
    span = figure.get("interval")
    interval = f" <span class=interval>[{span[0]:.3f}, {span[1]:.3f}]</span>" if span else ""
    return f"{figure['value']:.3f}{interval}"


def picture(path: Path, alternative: str) -> str:
    """Return an `<img>` that carries the PNG itself."""
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{html.escape(alternative)}" src="data:image/png;base64,{content}">'


def _figures_table(results: dict[str, Any]) -> str:
    rows = []
    for row in table_rows(results):
        span = row["interval"]
        interval = f"[{span[0]:.3f}, {span[1]:.3f}]" if span else ""
        rows.append(
            [
                html.escape(row["scope"]),
                row["figure"],
                f"<b>{_number(row['value'])}</b>",
                interval,
                _number(row["chance"]),
                _number(row["pixel_baseline"]),
                str(row["people"]),
                str(row["examples"]),
            ]
        )
    caption = (
        "People who were never trained on. 95% intervals: bootstrap over people. Chance: the best "
        "constant answer. Pixels: logistic regression on the pixels of the same crops."
    )
    head = ["faces", "figure", "value", "95% interval", "chance", "pixels", "people", "examples"]
    return _html_table(head, rows, caption)


def _units_table(results: dict[str, Any]) -> str:
    names = {f"AU{number:02d}": text for number, text in labels.ACTION_UNIT_NAMES.items()}
    rows = [
        [
            f"{unit} <small>{names.get(unit, '')}</small>",
            _with_interval(row.get("f1")),
            _with_interval(row.get("roc_area")),
            _with_interval(row.get("accuracy")),
            str(row["support"]),
            str(row["examples"]),
        ]
        for unit, row in results["test"]["overall"]["action_units"].get("units", {}).items()
    ]
    head = ["action unit", "F1", "ROC area", "accuracy", "present", "pictures"]
    return _html_table(head, rows, "Action units at a threshold of 0.5, all domains together.")


def write_report(
    folder: Path, results: dict[str, Any], extra: Sequence[tuple[str, Path]] = ()
) -> Path:
    """Write `report.html` beside the results and return its path.

    Args:
        folder: of the run, which holds the pictures.
        results: as in results.json.
        extra: more pictures (caption, PNG) to show at the top.
    """
    data, where = results["data"], results["provenance"]
    title = f"{results['model']} on {data['name']}"
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if data["synthetic"]:
        parts.append(f"<p class=notice>{SYNTHETIC_CAPTION}</p>")
    if results.get("reported_on") == "validation":
        parts.append(f"<p class=notice>Figures {VALIDATION_CAPTION}.</p>")
    for caption, path in extra:
        parts.append(f"<h2>{html.escape(caption)}</h2>{picture(path, caption)}")
    parts += ["<h2>Figures</h2>", _figures_table(results)]
    for name, heading in (
        ("curves", "Training"),
        ("confusion", "Emotions taken for one another"),
        ("action_units", "Action units"),
    ):
        if (folder / f"{name}.png").exists():
            parts.append(f"<h2>{heading}</h2>{picture(folder / f'{name}.png', heading)}")
    if results["test"]["overall"]["action_units"]:
        parts.append(_units_table(results))
    splits = "; ".join(
        f"{name}: {split['examples']} pictures of {split['people']} people"
        for name, split in data["splits"].items()
    )
    device = where["device"]
    packages = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    parts.append(
        "<h2>How it was made</h2><p>"
        f"{html.escape(splits)}.<br>{results['parameters']:,} parameters, "
        f"{results['compute_dtype']} on {device['count']} x {html.escape(device['kind'])} "
        f"({device['platform']}).<br>emojax {where['emojax']}, commit "
        f"{where['commit'] or 'unknown'}, Python {where['python']}, {packages}.</p>"
        "<p>Settings, history and every figure stand in <code>results.json</code>.</p>"
    )
    path = folder / "report.html"
    path.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>" + "\n".join(parts) + "\n",
        encoding="utf-8",
    )
    return path
