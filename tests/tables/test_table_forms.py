"""A table in each of its forms: what a reader sees, and what a program reads."""

from __future__ import annotations

import csv
import dataclasses
import io

import pytest

from emojax.tables.table import (
    Column,
    Form,
    Table,
    latex_text,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
    write_cell,
)

TABLE = Table(
    name="6.1",
    title="Table 6.1",
    columns=(
        Column("data", "data"),
        Column("value", "accuracy, %", "percent"),
        Column("interval", "95% interval", "interval"),
        Column("gone", "never filled", "percent"),
        Column("people", "people", "count"),
    ),
    rows=(
        {"data": "S1 & <S2>|", "value": 1 / 3, "interval": (0.25, 0.5), "people": 1234},
        {"data": "FN1", "value": None, "gone": float("nan")},
    ),
    notes=("Synthetic: 5% of it.",),
    commands=("python experiments/tables.py 6.1",),
)


@pytest.mark.parametrize(
    ("value", "form", "wanted"),
    [
        (0.9312, "percent", "93.12"),
        (-0.0123, "points", "-1.23"),
        (0.0123, "points", "+1.23"),
        (-0.00001, "points", "+0.00"),
        ((-0.00001, 0.5), "interval", "[0.00, 50.00]"),
        ((0.1, 0.25), "interval", "[10.00, 25.00]"),
        (0.0004, "p", "< 0.001"),
        (0.0446, "p", "0.045"),
        (12345, "count", "12,345"),
        (0.123456, "number", "0.1235"),
        (123456.7, "number", "123,457"),
        (None, "percent", ""),
        (float("nan"), "p", ""),
        (0.0, "percent", "0.00"),
    ],
)
def test_a_cell(value: object, form: Form, wanted: str) -> None:
    assert write_cell(value, form) == wanted


def test_markdown_leaves_out_what_nothing_stands_in() -> None:
    lines = to_markdown(TABLE).splitlines()
    assert lines[2] == "| data | accuracy, % | 95% interval | people |"
    assert lines[3] == "| --- | ---: | ---: | ---: |"
    assert lines[4] == r"| S1 & &lt;S2>\| | 33.33 | [25.00, 50.00] | 1,234 |"
    assert lines[5] == "| FN1 |  |  |  |"
    assert "Synthetic: 5% of it." in lines
    assert "python experiments/tables.py 6.1" in lines


def test_csv_has_every_column_and_all_digits() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == ["data", "value", "interval_low", "interval_high", "gone", "people"]
    assert rows[1] == ["S1 & <S2>|", "0.33333333", "0.25", "0.5", "", "1234"]
    assert rows[2] == ["FN1", "", "", "", "", ""]


def test_latex_escapes_what_it_would_read() -> None:
    text = to_latex(TABLE)
    assert (
        r"S1 \& \textless{}S2\textgreater{}\textbar{} & 33.33 & [25.00, 50.00] & 1,234 \\" in text
    )
    assert r"\caption{Table 6.1. Synthetic: 5\% of it.}" in text
    assert "% python experiments/tables.py 6.1" in text
    assert text.count(r"\begin{tabular}{lrrr}") == 1
    assert latex_text("a_b\\") == r"a\_b\textbackslash{}"


STRANGE = dataclasses.replace(
    TABLE,
    title="Table\n6.1",
    rows=(
        {"data": "a\nb\r\nc <lab> &amp; d", "value": 0.5},
        {"data": "[x](y) _z_ a_b__c", "value": 0.5},
        {"data": " *b* `c` \\* d\\e", "value": 0.5},
        {"data": "[1.0, -2.0] [1.0, 2.0](z) *\udce9", "value": 0.5},
    ),
    notes=('|label - x| < 0.5,\n\n<lab> p<q a--b --- "c" &#65;',),
    commands=("python a.py --data='<x>\ny &amp;'",),
)


def test_markdown_shows_line_breaks_and_tags_as_text() -> None:
    assert to_markdown(STRANGE).splitlines() == [
        *("## Table 6.1", "", "| data | accuracy, % |", "| --- | ---: |"),
        "| a b c &lt;lab> &amp;amp; d | 50.00 |",
        r"| \[x\](y) \_z\_ a_b__c | 50.00 |",
        r"|  \*b\* \`c\` \\\* d\e | 50.00 |",
        r"| [1.0, -2.0] \[1.0, 2.0\](z) \*\udce9 | 50.00 |",
        "",
        '|label - x| < 0.5,  &lt;lab> p&lt;q a--b --- "c" &amp;#65;',
        *("", "```", "python a.py --data='<x>", "y &amp;'", "```"),
    ]


def test_latex_joins_no_letters_and_breaks_no_lines() -> None:
    text = to_latex(STRANGE)
    assert "a b c \\textless{}lab\\textgreater{} \\&amp; d & 50.00 \\\\\n" in text
    assert (
        "\\caption{Table 6.1. \\textbar{}label - x\\textbar{} \\textless{} 0.5,  "
        "\\textless{}lab\\textgreater{} p\\textless{}q a-{}-b -{}-{}- ''c'' \\&\\#65;}\n"
    ) in text
    assert text.startswith("% python a.py --data='<x>\n% y &amp;'\n\\begin{table}")


def test_latex_reads_no_first_cell_as_an_argument_or_a_star() -> None:
    lines = to_latex(STRANGE).splitlines()
    first = lines.index(r"\midrule") + 2
    assert lines[first : first + 3] == [
        r"{[}x](y) \_z\_ a\_b\_\_c & 50.00 \\",
        r"{*}b* `c` \textbackslash{}* d\textbackslash{}e & 50.00 \\",
        r"{[}1.0, -2.0] [1.0, 2.0](z) *\textbackslash{}udce9 & 50.00 \\",
    ]
    heads = dataclasses.replace(TABLE, columns=(Column("data", "[m] data"), *TABLE.columns[1:]))
    assert "\\toprule\n{[}m] data & accuracy" in to_latex(heads)


def test_html_escapes_too() -> None:
    text = "".join(to_html(TABLE))
    assert "S1 &amp; &lt;S2&gt;|" in text
    assert "<b>33.33</b>" in text
    assert "never filled" not in text
    assert "python experiments/tables.py 6.1" in text


def test_a_long_note_is_shown_to_its_end() -> None:
    note = "word " * 400 + "end"
    assert note in "".join(to_html(dataclasses.replace(TABLE, notes=(note,))))
