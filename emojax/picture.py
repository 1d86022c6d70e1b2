"""A picture file -> pixels, without trusting the file.

The header is read before anything is decoded: a decoder asked to fill a
terabyte, or one that paints the missing half of a cut file gray, would
otherwise decide what the network sees.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from emojax.errors import UserError
from emojax.files import require_file

PICTURE_SUFFIXES: frozenset[str] = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
)
"""What a picture is called, in lower case: what a folder is searched for."""

MAX_PIXELS = 2**27
"""134 million: above any camera's, and 400 MB once decoded."""

_MAX_BYTES = 8 * MAX_PIXELS
"""A gigabyte: four channels of sixteen bits, not packed at all."""

_LOOK = 512
# Major brands of HEIF and AVIF (ISO/IEC 23008-12, AV1 Image File Format).
_PHOTO_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
    | {b"avif", b"avis"}
)
_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


class _Header(NamedTuple):
    kind: str
    width: int
    height: int
    complete: bool
    peak: int = 0
    """White, where the decoder doesn't scale by it; 0: it does."""


def picture_kind(head: bytes) -> str | None:
    """Return the kind of picture that a file's first 16 bytes begin, None where they do not."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"BM"):
        return "BMP"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if head[:2] in (b"P2", b"P3", b"P5", b"P6") and head[2:3].isspace():
        return "PNM"
    return None


def _png_header(data: bytes) -> _Header:
    width, height = struct.unpack_from(">II", data, 16)
    # Chunk by chunk: a file cut anywhere lacks its IEND.
    at = 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if not name.isalpha():
            break
        at += 12 + length
        if name == b"IEND":
            return _Header("PNG", width, height, at <= len(data))
    return _Header("PNG", width, height, False)


def _jpeg_header(data: bytes) -> _Header:
    width = height = 0
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at = data.find(0xFF, at)
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_BARE_MARKERS:
            at += 2
        else:
            if marker in _JPEG_SIZE_MARKERS:
                height, width = struct.unpack_from(">HH", data, at + 5)
            elif marker == 0xDA:
                # After the scan's start: a thumbnail in the header has an end of its own.
                return _Header("JPEG", width, height, data.rfind(b"\xff\xd9") > at)
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return _Header("JPEG", width, height, False)


def _webp_header(data: bytes) -> _Header:
    complete = len(data) >= struct.unpack_from("<I", data, 4)[0] + 8
    chunk = data[12:16]
    if chunk == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return _Header("WebP", width, height, complete)


def _tiff_header(data: bytes) -> _Header:
    order = "<" if data.startswith(b"II") else ">"
    at = struct.unpack_from(f"{order}I", data, 4)[0]
    sides = {256: 0, 257: 0}
    for entry in range(struct.unpack_from(f"{order}H", data, at)[0]):
        place = at + 2 + 12 * entry
        tag, form = struct.unpack_from(f"{order}HH", data, place)
        if tag in sides:
            letter = "H" if form == 3 else "I"
            side = struct.unpack_from(f"{order}{letter}", data, place + 8)[0]
            # A size may stand there twice, and readers differ in which they take.
            sides[tag] = max(sides[tag], side)
    # Strips lie anywhere in the file: the decoder finds out whether they are all there.
    return _Header("TIFF", sides[256], sides[257], True)


def _pnm_header(data: bytes) -> _Header:
    lines = data[:4096].split(b"\n")
    words = b" ".join(line.split(b"#")[0] for line in lines).split()
    width, height, peak = (int(word) for word in words[1:4])
    samples = width * height * (3 if words[0] in (b"P3", b"P6") else 1)
    binary = words[0] in (b"P5", b"P6")
    smallest = samples * (2 if binary and peak > 255 else 1)
    # OpenCV scales text of 8 bits alone: white of 10 bits would be nearly black.
    scaled = peak in (255, 65535) or not (binary or peak > 255)
    return _Header("PNM", width, height, len(data) > smallest, 0 if scaled else peak)


def _read_header(kind: str, data: bytes) -> _Header:
    if kind == "GIF":
        # The first picture is all that is read, so what follows it may be missing.
        return _Header(kind, *struct.unpack_from("<HH", data, 6), complete=True)
    if kind == "BMP":
        size, _, pixels_at, _, width, height = struct.unpack_from("<IIIIii", data, 2)
        return _Header(kind, abs(width), abs(height), len(data) >= max(size, pixels_at + 1))
    readers = {
        "PNG": _png_header,
        "JPEG": _jpeg_header,
        "WebP": _webp_header,
        "TIFF": _tiff_header,
        "PNM": _pnm_header,
    }
    return readers[kind](data)


def refuse_heif(head: bytes, source: str) -> None:
    """Refuse a HEIF or AVIF photo, as telephones make them, whatever the file is called.

    OpenCV reads some, and not upright.

    Args:
        head: the file's first 12 bytes.
        source: its name, for the message.

    Raises:
        UserError: it is one.
    """
    if head[4:8] == b"ftyp" and head[8:12] in _PHOTO_BRANDS:
        raise UserError(f"{source}: a HEIF/AVIF photo, which is not read: save it as JPEG or PNG")


def _describe(head: bytes) -> str:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # What is looked at may end inside a letter.
        in_last_letter = len(head) == _LOOK and error.start > _LOOK - 4
        text = head[: error.start].decode("utf-8") if in_last_letter else ""
    if text and all(letter.isprintable() or letter.isspace() for letter in text):
        return "text"
    return "no known picture format"


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height that a picture file's header promises, before anything is decoded.

    None where there is no picture, or its header can't be read.

    Args:
        data: the file's bytes.
    """
    kind = picture_kind(data[:16])
    if kind is None:
        return None
    try:
        header = _read_header(kind, data)
    except (struct.error, ValueError, IndexError):
        return None
    return header.width, header.height


def decode_picture(data: bytes, source: str) -> np.ndarray:
    """Return the pixels of a picture file's content.

    Sixteen-bit pictures come back in eight bits, gray ones as three equal
    channels, CMYK converted, transparency dropped, upright after their EXIF
    orientation; of an animation the first picture.

    Args:
        data: the file's bytes.
        source: its name, for the message.

    Returns:
        Blue, green, red, uint8 [height, width, 3].

    Raises:
        UserError: not a picture, cut off, damaged, or above `MAX_PIXELS`.
    """
    kind = picture_kind(data[:16])
    if kind is None:
        refuse_heif(data[:12], source)
        raise UserError(
            f"{source}: not a picture: found {_describe(data[:_LOOK])}; "
            "give a PNG, JPEG, WebP, BMP, TIFF, GIF, PGM or PPM file"
        )
    try:
        header = _read_header(kind, data)
    except (struct.error, ValueError, IndexError):
        header = _Header(kind, 0, 0, False)
    if header.complete and min(header.width, header.height) < 1:
        raise UserError(f"{source}: the {kind} header has no size: save the picture again")
    if header.width * header.height > MAX_PIXELS:
        raise UserError(
            f"{source}: {header.width} x {header.height} pixels are more than "
            f"{MAX_PIXELS // 10**6} million: make the picture smaller"
        )
    picture = None
    if header.complete:
        try:
            flags = cv2.IMREAD_COLOR | (cv2.IMREAD_ANYDEPTH if header.peak else 0)
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
            if header.peak and picture is not None:
                picture = cv2.convertScaleAbs(picture, alpha=255 / header.peak)
        except cv2.error:
            picture = None
    if picture is None or picture.size == 0:
        if not header.complete:
            raise UserError(f"{source}: the {kind} picture is cut off: copy it again")
        raise UserError(
            f"{source}: the {kind} picture is damaged, or of a kind that is not read: "
            "copy it again, or save it as an 8-bit PNG"
        )
    return picture


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the pixels of a picture file; see `decode_picture`.

    Returns:
        Blue, green, red, uint8 [height, width, 3].

    Raises:
        UserError: missing, empty, a folder, not a picture, cut off, damaged, too large, or on a
            disk that can't be read.
    """
    found: Path = require_file(path, "a picture")
    try:
        if (size := found.stat().st_size) > _MAX_BYTES:
            raise UserError(f"{found}: {size} bytes, wanted a picture of {_MAX_BYTES} at most")
        data = found.read_bytes()
    except OSError as error:
        # A stick that was pulled out: such an error names no file.
        reason = error.strerror or error
        raise UserError(
            f"{found}: can't be read ({reason}): check the disk, copy it again"
        ) from None
    return decode_picture(data, str(found))


def to_gray(picture: np.ndarray) -> np.ndarray:
    """Return a picture in gray (ITU-R BT.601 luma, as OpenCV converts).

    Args:
        picture: uint8 [height, width, 3] in blue, green, red; [height, width, 4]
            with transparency last; or gray already, [height, width] or
            [height, width, 1].

    Returns:
        uint8 [height, width].

    Raises:
        UserError: another shape or type.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.size == 0:
        raise UserError(
            f"a picture of type {picture.dtype} and shape {picture.shape}: "
            "wanted uint8 [height, width] or [height, width, 3]"
        )
    if picture.ndim == 2:
        return picture
    if picture.shape[2] == 1:
        return picture[:, :, 0]
    if picture.shape[2] not in (3, 4):
        raise UserError(f"a picture with {picture.shape[2]} channels: wanted 1, 3 or 4")
    code = cv2.COLOR_BGR2GRAY if picture.shape[2] == 3 else cv2.COLOR_BGRA2GRAY
    return cv2.cvtColor(picture, code)
