"""Pictures, films, sounds and arrays that are not what their names or headers say."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import re
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
from trap import Change, Trap


def flip(content: bytes, rng: random.Random, bits: int, reach: int | None = None) -> bytes:
    changed = bytearray(content)
    for _ in range(bits):
        place = rng.randrange(min(len(changed), reach or len(changed)))
        changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _huge_fields(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    """Write the largest numbers there are over a few places of the header."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(4, min(len(changed), 400))
        word = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
        changed[place : place + 4] = word
    return bytes(changed[: len(content)])


def png_bytes(width: int, height: int, rows: int | None = None) -> bytes:
    """Return a gray PNG whose header says `width` x `height`, with as many black rows or all."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(width + 1) * (height if rows is None else rows), 1)),
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
    return bytes(changed)


def _absurd_rate(content: bytes, rng: random.Random, trap: Trap) -> bytes:
    changed = bytearray(content)
    at = content.index(b"strh")
    scale, rate = rng.choice([(0, 0), (1, 2**32 - 1), (2**32 - 1, 1), (1, 0)])
    changed[at + 28 : at + 36] = struct.pack("<II", scale, rate)
    changed[at + 40 : at + 44] = struct.pack("<I", rng.choice([2**31 - 1, 2**32 - 1]))
    return bytes(changed)


def wav_bytes(
    samples: bytes, rate: int = 16_000, channels: int = 1, bits: int = 16, form: int = 1
) -> bytes:
    """Return a WAV whose header says what is given, true or not."""
    width = channels * bits // 8 % 2**16
    head = struct.pack("<HHIIHH", form, channels, rate, rate * width % 2**32, width, bits)
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
            wav_bytes(samples, channels=200),
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


EVERYWHERE: dict[str, Change] = {
    "flip_in_head": lambda content, rng, trap: flip(content, rng, rng.randint(1, 3), 64),
    "flip_anywhere": lambda content, rng, trap: flip(content, rng, rng.randint(1, 20)),
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

PICTURES: dict[str, Change] = {
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

AVIS: dict[str, Change] = {
    "frames_of_60000": _absurd_avi,
    "absurd_rate": _absurd_rate,
}

VIDEOS: dict[str, Change] = {
    "playlist": _playlist,
    "huge_fields": _huge_fields,
}

SOUNDS: dict[str, Change] = {
    "absurd_wav": _absurd_wav,
    "endless_wav": _endless_wav,
    "nan_wav": _nan_wav,
    "playlist": _playlist,
    "huge_fields": _huge_fields,
}

ARRAYS: dict[str, Change] = {
    "huge_array": _huge_array,
    "pickled_array": _pickled_array,
    "foreign_array": _foreign_array,
    "odd_array": _odd_array,
    "numberless_array": _numberless_array,
}
