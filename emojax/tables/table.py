"""A table: rows of numbers, and how each column is written for people and for machines."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Callable
from typing import Any, Literal

from emojax import html

Form = Literal["text", "count", "percent", "points", "interval", "p", "number"]
"""`percent` and `interval` are shares of 1, written in percent; `points` a difference of such."""


@dataclasses.dataclass(frozen=True)
class Column:
    """What stands under a heading."""

    key: str
    """In the rows."""
    title: str
    form: Form = "text"


@dataclasses.dataclass(frozen=True)
class Table:
    """Figures, and what has to be said of them."""

    name: str
    """`6.1`, or a word: names the file."""
    title: str
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]
    """A missing key, None and NaN are an empty cell."""
    notes: tuple[str, ...] = ()
    """Below it, a paragraph each; whether the data are synthetic is one of them."""
    commands: tuple[str, ...] = ()
    """What makes it."""

    @property
    def shown(self) -> tuple[Column, ...]:
        """The columns in which something stands."""
        return tuple(
            column
            for column in self.columns
            if any(write_cell(row.get(column.key), column.form) for row in self.rows)
        )


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def write_cell(value: Any, form: Form) -> str:
    """Return a value as a reader sees it; an empty text where there is none."""
    if _is_missing(value):
        return ""
    if form == "percent":
        return f"{100 * value:.2f}"
    if form == "points":
        return f"{100 * value:+z.2f}"
    if form == "interval":
        low, high = value
        return f"[{100 * low:z.2f}, {100 * high:z.2f}]"
    if form == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if form == "number":
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if form == "count":
        return f"{value:,}"
    return str(value)


def _cells(table: Table) -> list[list[str]]:
    return [
        [write_cell(row.get(column.key), column.form) for column in table.shown]
        for row in table.rows
    ]


def to_csv(table: Table) -> str:
    """Return rows with all digits that mean something, shares of 1; an interval is two columns."""
    head: list[str] = []
    for column in table.columns:
        parts = ("_low", "_high") if column.form == "interval" else ("",)
        head += [f"{column.key}{part}" for part in parts]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    for row in table.rows:
        cells: list[Any] = []
        for column in table.columns:
            value = row.get(column.key)
            values = (value or (None, None)) if column.form == "interval" else (value,)
            for part in values:
                plain = "" if _is_missing(part) else part
                cells.append(f"{plain:.8g}" if isinstance(plain, float) else plain)
        writer.writerow(cells)
    return stream.getvalue()


def _on_one_line(value: str) -> str:
    # Halves of a letter, from a file's name that is not UTF-8, stand as Python writes them.
    plain = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return " ".join(plain.splitlines())


# An interval, which is no link unless one of these letters follows; or what Markdown would read.
_MARKS = re.compile(
    r"(\[[-+]?[\d.,]*\d, [-+]?[\d.,]*\d\](?![(\[:]))"
    r"|\\(?=[!-/:-@\[-`{-~])|[`*\[\]]|(?<!\w)_+|_+(?!\w)"
)


def markdown_text(value: str) -> str:
    """Return a text as Markdown shows it on a line: its marks, tags and entities are letters.

    Source: CommonMark 0.31.2, sections 2.4, 6.2 and 6.3.
    """

    def escape(found: re.Match[str]) -> str:
        return found[1] or re.sub(r"(.)", r"\\\1", found[0])

    text = _MARKS.sub(escape, _on_one_line(value))
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", text)


def to_markdown(table: Table) -> str:
    """Return the table with its title, its notes and its commands."""

    def cell(value: str) -> str:
        return markdown_text(value).replace("|", r"\|")

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(map(cell, cells))} |"

    lines = [f"## {markdown_text(table.title)}", ""]
    lines += [line([column.title for column in table.shown])]
    lines += [line(["---" if column.form == "text" else "---:" for column in table.shown])]
    lines += [line(cells) for cells in _cells(table)]
    for note in table.notes:
        lines += ["", markdown_text(note)]
    if table.commands:
        lines += ["", "```", *table.commands, "```"]
    return "\n".join(lines) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # As the quotation mark prints, which is a command of its own in some languages.
    '"': "''",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def latex_text(value: str) -> str:
    """Return a text as LaTeX prints it."""
    text = "".join(_LATEX.get(letter, letter) for letter in _on_one_line(value))
    # Two hyphens print as one dash.
    return re.sub("-(?=-)", "-{}", text)


def to_latex(table: Table) -> str:
    r"""Return a `table` for booktabs and longtable's friend `tabular`; commands are comments."""
    places = "".join("l" if column.form == "text" else "r" for column in table.shown)

    def line(cells: list[str]) -> str:
        # After the end of a row, or a rule, `[` would begin an argument and `*` be one.
        inner = re.sub(r"^\s*([\[*])", r"{\1}", " & ".join(map(latex_text, cells)))
        return f"{inner} \\\\"

    lines = [f"% {part}" for command in table.commands for part in command.splitlines()]
    lines += [r"\begin{table}", r"\centering\scriptsize"]
    lines += [f"\\caption{{{latex_text(' '.join([f'{table.title}.', *table.notes]))}}}"]
    lines += [f"\\begin{{tabular}}{{{places}}}", r"\toprule"]
    lines += [line([column.title for column in table.shown]), r"\midrule"]
    lines += [line(cells) for cells in _cells(table)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def to_html(table: Table) -> list[html.Markup]:
    """Return the table for a page: heading, rows, notes, commands."""

    def cell(value: str, column: Column) -> object:
        if column.form == "text":
            return html.element("span", value, "word")
        return html.element("b", value) if value and column.key == "value" else value

    rows = [
        [cell(value, column) for value, column in zip(cells, table.shown, strict=True)]
        for cells in _cells(table)
    ]
    heads = [
        html.element("span", column.title, "word") if column.form == "text" else column.title
        for column in table.shown
    ]
    parts = [
        html.element("h2", table.title),
        html.table(heads, rows),
    ]
    # A note is ours, and is not cut where a text of somebody else's would be.
    parts += [html.element("p", html.text(note, len(note))) for note in table.notes]
    if table.commands:
        parts.append(html.element("details", [
            html.element("summary", "Commands"), html.lines("\n".join(table.commands))
        ]))  # fmt: skip
    return parts


WRITERS: dict[str, Callable[[Table], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "tex": to_latex,
}
"""Forms of a table, by the suffix of a file."""
