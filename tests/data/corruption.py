"""Damage to one file of a source: bits, lengths, kinds, links, names, and what is meant to hurt.

Everything is drawn from the `random.Random` that is given, so that a seed
gives the same damage again.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from hostile_media import ARRAYS, AVIS, EVERYWHERE, PICTURES, SOUNDS, VIDEOS
from hostile_text import TABLES, TEXTS, XMLS
from trap import Change, Trap

from emojax.picture import PICTURE_SUFFIXES
from emojax.video import VIDEO_SUFFIXES

SOUND_SUFFIXES = frozenset({".wav", ".mp3", ".flac"})


@dataclasses.dataclass(frozen=True)
class Damage:
    """What was done to one file."""

    kind: str
    path: str
    """Where the file was, relative to the source."""
    now: str
    """Where it is, bytes that are no UTF-8 as surrogates."""
    hopeless: bool
    """Nobody can read it as what its name says: it has to be listed as left out."""

    @property
    def renamed(self) -> bool:
        """Whether it has another name now."""
        return self.now != self.path


Replace = Callable[[Path, random.Random, Trap], None]

Rename = Callable[[str, str], bytes]

_HOPELESS = {
    *("html_instead", "text_instead", "bmp_of_60000"),
    *("emptied", "zeroed", "random_bytes", "zip_that_climbs", "tar_that_climbs", "gzip_bomb"),
    *("png_of_60000", "png_of_one_line", "png_without_rows", "jpeg_of_60000", "pnm_of_60000"),
    *("webp_of_16777216", "playlist", "pickled_array", "foreign_array", "odd_array", "huge_array"),
    *("entity_bomb", "entity_from_a_file", "entity_from_the_network", "parameter_entity"),
    *("type_from_the_network", "utf16_entity", "utf7", "deep", "crowded"),
    *("foreign_digits", "line_of_megabytes", "wide_table", "many_lines", "not_utf8"),
}


def _put_folder(path: Path, rng: random.Random, trap: Trap) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


def _put_fifo(path: Path, rng: random.Random, trap: Trap) -> None:
    path.unlink()
    os.mkfifo(path)


def _put_socket(path: Path, rng: random.Random, trap: Trap) -> None:
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o600)


def _put_link(target: Callable[[Path, Trap], str]) -> Replace:
    def replace(path: Path, rng: random.Random, trap: Trap) -> None:
        path.unlink()
        path.symlink_to(target(path, trap))

    return replace


def _link_outside(path: Path, rng: random.Random, trap: Trap) -> None:
    """A good file of the same kind, which isn't the source's own."""
    good = trap.outside / f"good{path.suffix.lower()}"
    if not good.exists():
        shutil.copyfile(path, good)
    path.unlink()
    path.symlink_to(os.path.relpath(good, path.parent))


_NODES: dict[str, Replace] = {
    "folder": _put_folder,
    "fifo": _put_fifo,
    "socket": _put_socket,
    "link_to_itself": _put_link(lambda path, trap: path.name),
    "link_to_zero": _put_link(lambda path, trap: "/dev/zero"),
    "link_to_passwd": _put_link(lambda path, trap: "/etc/passwd"),
    "link_to_parent": _put_link(lambda path, trap: ".."),
    "link_to_nothing": _put_link(lambda path, trap: "../../nothing"),
    "link_outside": _link_outside,
}


def _rename(path: Path, name: Rename) -> Path:
    wanted = os.fsencode(path.parent) + b"/" + name(path.stem, path.suffix)
    target = wanted
    for number in range(1, 100):
        if not os.path.lexists(target):
            break
        # The same name stands there: the same trick, told apart at its end.
        target = wanted + b"." * number + os.fsencode(path.suffix)
    os.rename(path, target)
    return Path(os.fsdecode(target))


_NAMES: dict[str, Rename] = {
    "name_with_newline": lambda stem, suffix: f"{stem[:3]}\n{stem[3:]}{suffix}".encode(),
    "name_with_dash": lambda stem, suffix: f"-rf {stem}{suffix}".encode(),
    "name_for_a_shell": lambda stem, suffix: f";$(touch x)`touch y`{stem}{suffix}".encode(),
    "name_of_255_bytes": lambda stem, suffix: (
        (stem.ljust(255, "a"))[: 255 - len(suffix)].encode() + suffix.encode()
    ),
    "name_not_utf8": lambda stem, suffix: b"\xff\xfe" + f"{stem}{suffix}".encode(),
    "name_with_right_to_left": lambda stem, suffix: f"{stem}\u202e{suffix}".encode(),
    "name_of_dots": lambda stem, suffix: f".{suffix}".encode(),
    "name_of_a_device": lambda stem, suffix: f"NUL{suffix}".encode(),
    "name_with_backslashes": lambda stem, suffix: f"..\\..\\{stem}{suffix}".encode(),
    "name_with_format": lambda stem, suffix: f"%s%n{{0}}{stem}{suffix}".encode(),
    "name_with_glob": lambda stem, suffix: f"*?[!a]{stem}{suffix}".encode(),
    "name_with_escape": lambda stem, suffix: f"\x1b[2J\r{stem}{suffix}".encode(),
    "name_with_spaces": lambda stem, suffix: f" {stem} {suffix} ".encode(),
}

_CONTENTS: dict[str, Change] = {
    **EVERYWHERE,
    **PICTURES,
    **AVIS,
    **VIDEOS,
    **SOUNDS,
    **ARRAYS,
    **TEXTS,
    **TABLES,
    **XMLS,
}


def damage(source: Path, path: Path, kind: str, rng: random.Random, trap: Trap) -> Damage:
    """Damage a file in place and return what was done.

    Args:
        source: the folder that it lies in, at any depth.
        path: the file.
        kind: one of `kinds_for(path)`.
        rng: draws what the kind leaves open.
        trap: what hostile content points at.
    """
    before = str(path.relative_to(source))
    if kind in _NAMES:
        path = _rename(path, _NAMES[kind])
    elif kind in _NODES:
        _NODES[kind](path, rng, trap)
    else:
        path.write_bytes(_CONTENTS[kind](path.read_bytes(), rng, trap))
    return Damage(kind, before, str(path.relative_to(source)), _is_hopeless(path, kind))


def kinds_for(path: Path) -> tuple[str, ...]:
    """Return the kinds of damage that make sense for a file, by its name, in a fixed order."""
    suffix = path.suffix.lower()
    special: dict[str, Change] = {}
    if suffix in PICTURE_SUFFIXES:
        special = PICTURES
    elif suffix in VIDEO_SUFFIXES:
        special = {**AVIS, **VIDEOS} if suffix == ".avi" else VIDEOS
    elif suffix in SOUND_SUFFIXES:
        special = SOUNDS
    elif suffix == ".npy":
        special = ARRAYS
    elif suffix == ".xml":
        special = {**XMLS, **TEXTS}
    elif suffix == ".csv":
        special = {**TABLES, **TEXTS}
    elif suffix == ".txt":
        special = TEXTS
    return (*special, *EVERYWHERE, *_NODES, *_NAMES)


def _is_hopeless(path: Path, kind: str) -> bool:
    if kind == "png_instead":
        return path.suffix.lower() not in PICTURE_SUFFIXES
    if kind == "utf16":
        # XML may be in any encoding.
        return path.suffix.lower() != ".xml"
    return kind in _HOPELESS or kind in _NODES
