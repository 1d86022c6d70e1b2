"""Pages of HTML that stand alone: one file, no script, light and dark, narrow and wide.

The standard library's escaping and string formatting are all there is to it.
What comes from files and people goes through `text`; what is markup already is
a `Markup`, so that a cell of a table can be either and neither is mistaken.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Literal

LONGEST = 600
"""Letters of a text that are shown; a file's name may have thousands."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --ink: #1d1c1a; --soft: #65625c; --line: #dedad2; --card: #ffffff;
  --accent: #8a4b12; --warn: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #171614; --ink: #ece9e3; --soft: #a5a098; --line: #3a3733; --card: #211f1d;
    --accent: #e7a765; --warn: #ff8a80;
  }
}
* { box-sizing: border-box; }
body {
  font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 70rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: anywhere;
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 {
  font-size: 1.25rem; margin: 2.5rem 0 .75rem; border-top: 1px solid var(--line);
  padding-top: 1rem;
}
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; }
ul { padding-left: 1.2rem; max-width: 46rem; }
small, figcaption, caption, dt { color: var(--soft); font-size: .85rem; }
a { color: var(--accent); }
code, pre { font: .85em/1.45 ui-monospace, monospace; unicode-bidi: isolate; }
pre {
  white-space: pre-wrap; background: var(--card); border: 1px solid var(--line);
  padding: .6rem .8rem; margin: .25rem 0;
}
dl { margin: .75rem 0; }
dd { margin: 0 0 .75rem; max-width: 46rem; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .25rem 0; }
th, td {
  padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap;
}
th { font-weight: 600; font-size: .85rem; }
th:first-child, td:first-child { text-align: left; }
@media (max-width: 40rem) {
  th, td { padding-right: .6rem; }
  td:first-child { white-space: normal; min-width: 6.5rem; }
}
"""
"""Colours, type and tables that pages share; a page adds its own rules."""


class Markup(str):
    """HTML already: put on the page as it is."""

    __slots__ = ()


def text(value: object, longest: int = LONGEST) -> Markup:
    r"""Return any text as HTML that shows it, whatever it holds.

    Letters that can't be shown, or that would change what stands around them (line
    ends, control letters, marks that turn the direction of writing, halves of a
    letter from a file name that is not UTF-8), stand as Python writes them: `\n`,
    `\x1b`, `\u202e`, `\udcff`.

    Args:
        value: what to show; a `Markup` comes back as it is.
        longest: letters that are kept of it.
    """
    if isinstance(value, Markup):
        return value
    letters = str(value)
    if len(letters) > longest:
        letters = letters[: longest - 1] + "…"
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in letters
    )
    return Markup(html.escape(shown))


def lines(value: str) -> Markup:
    """Return a text of several lines, such as BibTeX, as preformatted HTML.

    Nothing of it is cut, since half a command is none: for texts of ours, not for people's.
    """
    shown = (text(line, len(line)) for line in value.strip().splitlines())
    return Markup(f"<pre>{chr(10).join(shown)}</pre>")


def element(name: str, content: Iterable[object] | object, kind: str = "") -> Markup:
    """Return an element around contents, each a `Markup` or a text.

    Args:
        name: of the element, such as `h2`.
        content: one, or several in a row.
        kind: its class; none where empty.
    """
    parts = content if isinstance(content, list | tuple) else [content]
    opening = f'{name} class="{text(kind)}"' if kind else name
    return Markup(f"<{opening}>{''.join(text(part) for part in parts)}</{name}>")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: object = "") -> Markup:
    """Return a table that scrolls sideways where the screen is narrow.

    Args:
        head: names of the columns.
        rows: cells, each a `Markup` or a text; the first of a row names it.
        caption: what the table shows; none where empty.
    """
    header = "".join(f"<th scope=col>{text(cell)}</th>" for cell in head)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    named = f"<caption>{text(caption)}</caption>" if caption else ""
    # One that scrolls has to be reached by the keyboard.
    return Markup(
        f"<div class=scroll tabindex=0><table>{named}<thead><tr>{header}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def picture(content: bytes, kind: Literal["png", "jpeg"], alternative: str) -> Markup:
    """Return an `<img>` that carries the picture itself.

    Args:
        content: the file's bytes.
        kind: what they are.
        alternative: what is told to whoever can't see it.
    """
    data = base64.b64encode(content).decode("ascii")
    return Markup(f'<img alt="{text(alternative)}" src="data:image/{kind};base64,{data}">')


def page(title: str, parts: Iterable[Markup], style: str = "", *, beside: bool = False) -> str:
    """Return a whole page.

    Args:
        title: what its tab is called.
        parts: what stands on it, from top to bottom.
        style: rules of its own, after `STYLE`.
        beside: pictures and videos may lie in files beside the page.
    """
    own = " 'self' file:" if beside else ""
    return (
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        # Nothing is fetched and nothing runs, even where something was overlooked.
        "<meta http-equiv=Content-Security-Policy "
        f"content=\"default-src 'none'; img-src data:{own}; style-src 'unsafe-inline'"
        f'{f"; media-src{own}" if beside else ""}">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}{style}</style>\n"
        + "\n".join(parts)
        + "\n</html>\n"
    )
