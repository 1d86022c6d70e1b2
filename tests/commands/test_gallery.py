"""The page of `emojax predict`: what it shows, under what names, and when there is none."""

from __future__ import annotations

import html
import io
import os
import re
import sys
import urllib.parse
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_artifact import NOTICE, SPEC

from emojax.cli import main
from emojax.runtime.gallery import MOST, Gallery
from emojax.runtime.sources import Source
from emojax.runtime.summary import FileSummary


def shown_files(out: Path) -> list[Path]:
    """The files that the page shows, in its order."""
    page = (out / "index.html").read_text(encoding="utf-8")
    addresses = re.findall(r'<(?:img|video)[^>]* src="([^"]*)"', page)
    return [out / urllib.parse.unquote(html.unescape(address)) for address in addresses]


def test_every_copy_is_shown_under_its_own_name(
    tmp_path: Path, artifact_folder: Path, astronaut: np.ndarray
) -> None:
    # A name that means something in a page, in an address, and in both.
    for name in ("plain.png", "<b>50% #1 & more?.png", "nobody.png"):
        picture = np.zeros_like(astronaut) if name == "nobody.png" else astronaut
        cv2.imwrite(str(tmp_path / name), picture)
    out = tmp_path / "out"
    files = [str(path) for path in sorted(tmp_path.glob("*.png"))]
    assert main(["predict", *files, "--model", str(artifact_folder), "--out", str(out)]) == 0
    copies = shown_files(out)
    assert [copy.name for copy in copies] == [Path(file).name for file in files]
    assert all(copy.is_file() for copy in copies)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;50% #1 &amp; more?.png" in page
    assert "<b>" not in page
    assert page.count("1 face, ") == 4  # Beside each picture, and for who can't see it.
    assert page.count("0 faces") == 2
    assert NOTICE in html.unescape(page)


def test_a_name_that_is_no_text_is_shown_and_steers_no_terminal(
    tmp_path: Path, artifact_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wall = cv2.imencode(".png", np.full((60, 60, 3), 90, np.uint8))[1].tobytes()
    names = [b"x\xff.png", b"a\n\x1b[2Jb.png"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(wall)
    out = tmp_path / "out"
    words = [str(tmp_path), "--model", str(artifact_folder), "--out", str(out)]
    # As a terminal takes it: what is no text is an error.
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(errors="strict")
    assert main(["predict", *words]) == 0
    said = capfd.readouterr().out
    assert "x\\udcff.png: no face in the picture" in said
    assert "a \\x1b[2Jb.png: no face in the picture" in said
    page = (out / "index.html").read_text(encoding="utf-8")
    addresses = re.findall(r'<img[^>]* src="([^"]*)"', page)
    found = [urllib.parse.unquote_to_bytes(html.unescape(address)) for address in addresses]
    assert found == [b"annotated/" + name for name in sorted(names)]
    assert all((out / os.fsdecode(name)).is_file() for name in found)


def test_a_page_holds_no_more_than_a_browser_does(tmp_path: Path) -> None:
    summary = FileSummary("a.png", SPEC)
    with Gallery(tmp_path, SPEC, None) as gallery:
        for number in range(MOST + 2):
            gallery.add(Source(Path(f"{number}.png"), "picture"), None, summary.row())
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == MOST
    assert f"{MOST + 2} files, of which the first {MOST} are here" in page


def test_what_went_wrong_is_told_even_where_no_page_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()
    row = FileSummary("a.png", SPEC).row()

    def look(error: Exception | None) -> None:
        with Gallery(tmp_path, SPEC, None) as gallery:
            gallery.add(Source(Path("a.png"), "picture"), None, row)
            if error is not None:
                raise error

    with pytest.raises(KeyError, match="first"):
        look(KeyError("first"))
    with pytest.raises(IsADirectoryError):
        look(None)
