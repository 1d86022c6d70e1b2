"""Label files, tables and XML that are broken, absurd, or meant to hurt."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from hostile_media import flip
from trap import Change, Trap

_ABSURD_NUMBERS = ("1e308", "NaN", "-1", "1" + "0" * 30, "inf", "-0", "0x10", "1_000", "9" * 5000)


def _absurd_number(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    """Put a number that makes no sense in the place of one."""
    numbers = list(re.finditer(rb"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", content))
    if not numbers:
        return b"1e308\n"
    spot = rng.choice(numbers)
    return content[: spot.start()] + rng.choice(_ABSURD_NUMBERS).encode() + content[spot.end() :]


def _foreign_digits(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    """Digits of another alphabet, which `int` and `\\d` take for digits."""
    first = rng.choice([0x0660, 0xFF10, 0x1D7CE])
    table = {ord("0") + value: chr(first + value) for value in range(10)}
    return content.decode("latin-1").translate(table).encode()


def _many_lines(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    return content + b"\n" + (content.splitlines() or [b"1,1"])[-1] + b"\n0" * 400_000


def _hole(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + b"\0" * rng.randint(1, 9) + content[place:]


def _wide_table(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    return b",".join(b"c%d" % number for number in range(100_000)) + b"\n" + content


def _wide_line(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    return content + b"\n" + b"1," * 100_000 + b"\n"


def _open_quote(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + b'"' + content[place:]


def _same_column(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    head, _, rest = content.partition(b"\n")
    cells = head.split(b",")
    cells[rng.randrange(len(cells))] = rng.choice(cells)
    return b",".join(cells) + b"\n" + rest


def _with_doctype(declarations: Callable[[Trap], str], encoding: str = "utf-8") -> Change:
    """Return a change that declares a document type and uses its entity `x`."""

    def change(content: bytes, rng: random.Random, trap: Trap) -> bytes:
        body = content.decode("latin-1").split("?>", 1)[-1].strip()
        root = re.match(r"<([A-Za-z]+)", body)
        assert root is not None
        text = f"<!DOCTYPE {root[1]} {declarations(trap)}>\n" + body.replace("</", "&x;</", 1)
        return f'<?xml version="1.0" encoding="{encoding}"?>\n{text}'.encode(encoding)

    return change


def _bomb(trap: Trap) -> str:
    levels = "".join(f'<!ENTITY x{n + 1} "{f"&x{n};" * 10}">' for n in range(9))
    return f'[<!ENTITY x0 "ha">{levels}<!ENTITY x "&x9;">]'


def _local_entity(trap: Trap) -> str:
    return f'[<!ENTITY x SYSTEM "file://{trap.outside}/good.txt">]'


def _remote_entity(trap: Trap) -> str:
    return f'[<!ENTITY x SYSTEM "{trap.url}">]'


def _parameter_entity(trap: Trap) -> str:
    return f'[<!ENTITY % p SYSTEM "{trap.url}p.dtd"> %p; <!ENTITY x "y">]'


def _remote_type(trap: Trap) -> str:
    return f'SYSTEM "{trap.url}t.dtd" [<!ENTITY x "y">]'


def _utf7(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    body = content.decode("latin-1").split("?>", 1)[-1]
    return b'<?xml version="1.0" encoding="UTF-7"?>\n' + body.encode("utf-7")


def _included(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    include = (
        '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" parse="text" '
        f'href="{rng.choice([trap.url, "file:///etc/passwd"])}"/>'
    )
    return content.replace(b"</", include.encode() + b"</", 1)


def _deep(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    return b"<a>" * 100_000 + b"</a>" * 100_000


def _crowded(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    return content.replace(b"</", b"<a/>" * 200_000 + b"</", 1)


TEXTS: dict[str, Change] = {
    "absurd_number": _absurd_number,
    "foreign_digits": _foreign_digits,
    "line_of_megabytes": lambda content, rng, trap: content + b"7" * (3 * 2**20),
    "many_lines": _many_lines,
    "holes": _hole,
    "utf16": lambda content, rng, trap: content.decode("latin-1").encode("utf-16"),
    "not_utf8": lambda content, rng, trap: content + b"\xff\xfe\xc3",
}

TABLES: dict[str, Change] = {
    "wide_table": _wide_table,
    "wide_line": _wide_line,
    "open_quote": _open_quote,
    "same_column": _same_column,
}

XMLS: dict[str, Change] = {
    "entity_bomb": _with_doctype(_bomb),
    "entity_from_a_file": _with_doctype(_local_entity),
    "entity_from_the_network": _with_doctype(_remote_entity),
    "parameter_entity": _with_doctype(_parameter_entity),
    "type_from_the_network": _with_doctype(_remote_type),
    "utf16_entity": _with_doctype(_local_entity, "utf-16"),
    "utf7": _utf7,
    "include": _included,
    "deep": _deep,
    "crowded": _crowded,
}


def _cell(line: bytes, rng: random.Random, value: bytes) -> bytes:
    cells = re.split(rb"[, ]", line)
    cut = rng.choice(cells)
    return line.replace(cut, value, 1)


_LINES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "line_flipped": lambda line, rng: flip(line, rng, rng.randint(1, 8)),
    "line_truncated": lambda line, rng: line[: rng.randrange(1, len(line))],
    "line_emptied": lambda line, rng: b",,",
    "line_of_noise": lambda line, rng: rng.randbytes(3000),
    "line_of_megabytes": lambda line, rng: line + b" 1" * 2**20,
    "line_of_many_cells": lambda line, rng: line + b",1" * 30_000,
    "line_with_absurd_number": lambda line, rng: _cell(
        line, rng, rng.choice(_ABSURD_NUMBERS).encode()
    ),
    "line_with_256": lambda line, rng: _cell(line, rng, b"256"),
    "line_with_quote": lambda line, rng: _cell(line, rng, b'"'),
    "line_with_zeros": lambda line, rng: _cell(line, rng, b"\0\0"),
    "line_in_utf16": lambda line, rng: line.decode("latin-1").encode("utf-16"),
    "line_with_foreign_digits": lambda line, rng: _cell(line, rng, "\u0661\uff12".encode()),
    "line_with_formula": lambda line, rng: _cell(line, rng, b"=cmd|'/c calc'!A0"),
}

LINE_KINDS = tuple(_LINES)
"""What `damage_line` can do."""


def damage_line(line: bytes, kind: str, rng: random.Random) -> bytes:
    """Return a line of a table, damaged; no line end comes in, so that lines keep their places."""
    return re.sub(rb"[\r\n]", b"~", _LINES[kind](line, rng))
