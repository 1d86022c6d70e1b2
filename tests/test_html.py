from __future__ import annotations

from html.parser import HTMLParser

import pytest

from emojax import html
from emojax.html import Markup, element, text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("Ștefan 李", "Ștefan 李"),
        ("<script>alert('x')</script>", "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"),
        ('" onload="x', "&quot; onload=&quot;x"),
        ("a&lt;b", "a&amp;lt;b"),
        ("two\nlines\r\n", r"two\nlines\r\n"),
        ("\x00\x1b[2J\x7f", r"\x00\x1b[2J\x7f"),
        # A mark that turns the direction: `gpj.exe` would read as `exe.jpg`.
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2028", r"\u2028"),
        # What a file name that is not UTF-8 becomes, and half of a pair.
        ("caf\udce9", r"caf\udce9"),
        ("\ud83d", r"\ud83d"),
        ("\U000e0041", r"\U000e0041"),
        (7, "7"),
    ],
)
def test_any_text_is_shown_as_it_is(value: object, shown: str) -> None:
    assert text(value) == shown
    text(value).encode("utf-8")


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert text("&" * 700) == "&amp;" * 599 + "…"
    assert text("&" * 600) == "&amp;" * 600
    assert text("abcdef", longest=3) == "ab…"


def test_markup_is_escaped_once_and_text_always() -> None:
    bold = element("b", "1 < 2")
    assert bold == "<b>1 &lt; 2</b>"
    assert element("p", [bold, " & ", 3], 'a"b') == (
        '<p class="a&quot;b"><b>1 &lt; 2</b> &amp; 3</p>'
    )
    # What is put together from markup by other means is text again.
    assert text(bold + "") == "&lt;b&gt;1 &amp;lt; 2&lt;/b&gt;"


def test_a_table_takes_both() -> None:
    shown = html.table(("<a>", "b"), [("<x>", Markup("<i>y</i>")), ("1", 2)], "c&d")
    assert "<caption>c&amp;d</caption>" in shown
    assert "<th scope=col>&lt;a&gt;</th><th scope=col>b</th>" in shown
    assert "<tr><td>&lt;x&gt;</td><td><i>y</i></td></tr>\n<tr><td>1</td><td>2</td></tr>" in shown


def test_several_lines_stay_lines() -> None:
    assert html.lines("\n@misc{a,\n  title={<b>}\n}\n") == (
        "<pre>@misc{a,\n  title={&lt;b&gt;}\n}</pre>"
    )


def test_a_long_line_of_ours_is_shown_to_its_end() -> None:
    command = f"python a.py {'--data=x ' * 200}--last=<y>"
    shown = html.lines(f"{command}\n{command}")
    assert shown == "<pre>{0}\n{0}</pre>".format(command.replace("<y>", "&lt;y&gt;"))


def test_a_picture_is_carried_along() -> None:
    assert html.picture(b"\x00\x01", "png", 'a "face"') == (
        '<img alt="a &quot;face&quot;" src="data:image/png;base64,AAE=">'
    )


class Reader(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_page_stands_alone() -> None:
    page = html.page("</title><script>", [element("p", "</p><script>")], ".own { color: red; }")
    reader = Reader()
    reader.feed(page)
    names = [tag for tag, _ in reader.tags]
    assert names == ["html", "meta", "meta", "meta", "title", "style", "p"]
    assert not any({"src", "href"} & set(attributes) for _, attributes in reader.tags)
    policy = reader.tags[3][1]["content"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "prefers-color-scheme: dark" in page
    assert ".own { color: red; }</style>" in page
    assert page.startswith("<!doctype html>\n")
