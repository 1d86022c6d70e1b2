"""One page with all annotated copies beside each other: people look before they read tables."""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from pathlib import Path
from types import TracebackType

from emojax.html import Markup, element, page, text
from emojax.runtime.rows import Row
from emojax.runtime.sources import Source
from emojax.spec import InputSpec

PAGE = "index.html"
"""Name of the page."""

MOST = 2000
"""Files that are shown; a browser that holds tens of thousands of pictures shows none."""

_STYLE = """
.gallery {
  display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr));
}
figure { margin: 0; border: 1px solid var(--line); background: var(--card); padding: .5rem; }
figure img, figure video { display: block; width: 100%; height: auto; }
figcaption { padding-top: .4rem; }
.notice { color: var(--warn); }
body { max-width: 96rem; }
@media (max-width: 24rem) { .gallery { grid-template-columns: 1fr; } }
"""


class Gallery:
    """Gathers what was made of each file; as a context, writes it as `index.html` at its end."""

    def __init__(self, out: Path, spec: InputSpec, notice: str | None, wanted: bool = True) -> None:
        """Start with nothing to be seen.

        Args:
            out: folder of the page.
            spec: names of the outputs.
            notice: stands above the pictures; None: nothing.
            wanted: whether there is to be a page.
        """
        self._wanted = wanted
        self._out = out
        self._spec = spec
        self._notice = notice
        self._figures: list[Markup] = []
        self._count = 0

    def add(self, source: Source, copy: Path | None, row: Row) -> None:
        """Take what is known of a file.

        Args:
            source: the file.
            copy: its annotated copy, inside `out`; None: there is none.
            row: its row of the summary.
        """
        self._count += 1
        if len(self._figures) < MOST:
            self._figures.append(self._figure(source, copy, row))

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What has gone wrong already is told, not that there is no page of it either.
        with contextlib.suppress(OSError) if kind else contextlib.nullcontext():
            if self._wanted:
                self._write()

    def _write(self) -> None:
        shown = f"{self._count} files" if self._count > 1 else "1 file"
        if self._count > len(self._figures):
            shown += f", of which the first {len(self._figures)} are here"
        parts = [
            element("h1", "What faces and voices show"),
            element(
                "p", f"{shown}. Every frame and face stands in predictions.csv beside this page."
            ),
            *([element("p", self._notice, "notice")] if self._notice else []),
            element("div", self._figures, "gallery"),
        ]
        content = page("What faces and voices show", parts, _STYLE, beside=True)
        (self._out / PAGE).write_text(content, encoding="utf-8")

    def _figure(self, source: Source, copy: Path | None, row: Row) -> Markup:
        told = self._told(source, row)
        seen = Markup("")
        if copy is not None:
            # As bytes: a name need not be UTF-8, and a browser asks for it byte by byte.
            name = os.fsencode(copy.relative_to(self._out).as_posix())
            address = text(urllib.parse.quote(name), 4096)
            seen = Markup(
                f'<a href="{address}"><img loading=lazy src="{address}" alt="{text(told)}"></a>'
                if source.kind == "picture"
                else f'<video controls preload=metadata src="{address}"></video>'
            )
        title = element("strong", str(source.path))
        return element("figure", [seen, element("figcaption", [title, Markup("<br>"), told])])

    def _told(self, source: Source, row: Row) -> str:
        """Return what the summary says, in a sentence."""
        means = {
            name: float(value)
            for name in self._spec.emotions
            if (value := row[f"emotion_{name}_mean"]) is not None
        }
        parts = []
        if source.kind == "picture":
            people = int(row["people"] or 0)
            parts.append(f"{people} faces" if people != 1 else "1 face")
        elif source.kind != "sound":
            parts.append(f"a face in {float(row['face_share'] or 0):.0%} of {row['frames']} frames")
        if means:
            best = max(means, key=lambda name: means[name])
            often = "" if source.kind == "picture" and row["people"] == 1 else "on average "
            parts.append(f"{often}{best} {means[best]:.2f}")
        return ", ".join(parts)
