"""What can be said of the page without a browser."""

from __future__ import annotations

import re

import pytest

from emojax.labels import ACTION_UNIT_NAMES, AU_COLUMNS, EMOTION_SETS
from emojax.serve.application import PAGE

STRINGS = (PAGE / "strings.js").read_text(encoding="utf-8")
FILES = sorted(PAGE.iterdir())


def test_the_page_calls_units_and_emotions_as_everything_here_does() -> None:
    found = dict(re.findall(r'(AU\d\d): \["([^"]+)", "[A-Z][^"]+\."\]', STRINGS))
    assert found == {name: ACTION_UNIT_NAMES[int(name[2:])] for name in AU_COLUMNS}
    names = re.search(r"emotionNames: \{([^}]+)\}", STRINGS)
    assert names is not None
    assert set(re.findall(r"(\w+): ", names[1])) == {
        name for names in EMOTION_SETS.values() for name in names
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_asks_no_other_host(path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.\w", text)
    assert "innerHTML" not in text
    assert "eval(" not in text


def test_every_word_has_its_place_and_every_place_its_word() -> None:
    for path in FILES:
        if path.suffix == ".html":
            asked = re.findall(r'data-(?:say|label)="(\w+)"', path.read_text(encoding="utf-8"))
            assert asked
            for key in asked:
                assert re.search(rf"^ +{key}: ", STRINGS, re.MULTILINE), f"{path.name}: {key}"


def test_words_stand_in_one_file_alone() -> None:
    """Whatever looks like a sentence in another script belongs into strings.js."""
    for path in FILES:
        if path.suffix == ".js" and path.name != "strings.js":
            code = re.sub(r"^\s*(//|/\*\*|\*).*$", "", path.read_text("utf-8"), flags=re.MULTILINE)
            code = re.sub(r"\s//.*$", "", code, flags=re.MULTILINE)
            said = [
                text
                for text in re.findall(r'"([^"\n]*)"', code)
                if re.search(r"[A-Z]\w+ \w+ ", text)
            ]
            assert not said, path.name
