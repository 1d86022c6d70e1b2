from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from emojax.errors import UserError
from emojax.files import require_file
from emojax.picture import decode_picture, picture_kind, read_picture, to_gray


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (64, 48), interpolation=cv2.INTER_CUBIC)


def encode(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


LOSSLESS = [
    ("PNG", {}),
    ("BMP", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("PPM", {}),
]
LOSSY = [("JPEG", {"quality": 95}), ("JPEG", {"quality": 95, "progressive": True}), ("GIF", {})]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_pictures_come_back_in_blue_green_red(rgb, kind, options):
    content = encode(Image.fromarray(rgb), kind, **options)
    np.testing.assert_array_equal(decode_picture(content, "x"), rgb[:, :, ::-1])


@pytest.mark.parametrize(("kind", "options"), LOSSY)
def test_lossy_pictures_come_back_nearly(rgb, kind, options):
    picture = decode_picture(encode(Image.fromarray(rgb), kind, **options), "x")
    assert np.abs(picture.astype(int) - rgb[:, :, ::-1]).mean() < 10


@pytest.mark.parametrize(("kind", "options"), LOSSLESS + LOSSY)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_cut_picture_is_refused_and_never_filled_up(rgb, kind, options, share):
    content = encode(Image.fromarray(rgb), kind, **options)
    with pytest.raises(UserError, match=r"face\.bin: "):
        decode_picture(content[: int(len(content) * share)], "face.bin")


def test_a_cut_jpeg_with_a_thumbnail_is_refused(rgb):
    # The thumbnail's own end marker must not pass for the picture's.
    thumbnail = encode(Image.fromarray(rgb[::4, ::4]), "JPEG")
    whole = encode(Image.fromarray(rgb), "JPEG", quality=95)
    block = b"Exif\0\0" + thumbnail
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    content = whole[:2] + segment + whole[2:]
    assert decode_picture(content, "x").shape == (48, 64, 3)
    with pytest.raises(UserError, match="cut off"):
        decode_picture(content[:-200], "x")


def test_cmyk_is_converted_not_inverted(rgb):
    picture = decode_picture(encode(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=95), "x")
    assert np.abs(picture.astype(int) - rgb[:, :, ::-1]).mean() < 10


def test_exif_orientation_is_applied(rgb):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.fromarray(rgb), "JPEG", quality=95, exif=exif)
    picture = decode_picture(content, "x")
    upright = cv2.rotate(rgb[:, :, ::-1], cv2.ROTATE_90_CLOCKWISE)
    assert picture.shape == (64, 48, 3)
    assert np.abs(picture.astype(int) - upright).mean() < 10


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_become_eight(rgb, suffix):
    _, content = cv2.imencode(suffix, rgb[:, :, ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode_picture(content.tobytes(), "x"), rgb[:, :, ::-1])


@pytest.mark.parametrize("peak", [1, 15, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_the_peak_of_a_pnm_is_white(kind, peak):
    levels = np.repeat([0, peak // 2, peak], 3 if kind in ("P3", "P6") else 1)
    samples = levels.astype(">u2" if peak > 255 else np.uint8).tobytes()
    if kind in ("P2", "P3"):
        samples = " ".join(map(str, levels)).encode()
    picture = decode_picture(f"{kind} 3 1\n{peak}\n".encode() + samples + b"\n", "x")
    assert picture.dtype == np.uint8
    wanted = np.array([0, 255 * (peak // 2) / peak, 255])
    # What OpenCV scales it rounds down.
    np.testing.assert_allclose(picture[0], np.stack([wanted] * 3, axis=1), atol=1)
    assert (picture[0, 2] == 255).all()


def test_gray_and_transparency(rgb):
    gray = Image.fromarray(rgb).convert("L")
    as_gray = decode_picture(encode(gray, "PNG"), "x")
    np.testing.assert_array_equal(as_gray, np.repeat(np.array(gray)[:, :, None], 3, axis=2))
    with_alpha = decode_picture(encode(Image.fromarray(rgb).convert("RGBA"), "PNG"), "x")
    np.testing.assert_array_equal(with_alpha, rgb[:, :, ::-1])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_picture(rgb, kind):
    first = Image.fromarray(rgb)
    second = Image.fromarray(255 - rgb)
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(first, kind, save_all=True, append_images=[second], **options)
    picture = decode_picture(content, "x")
    assert np.abs(picture.astype(int) - rgb[:, :, ::-1]).mean() < 10


def png_of_size(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        tail = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + tail

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_a_telephones_photo_is_refused_also_where_it_is_called_jpg(brand):
    photo = b"\0\0\0\x14ftyp" + brand + bytes(400)
    with pytest.raises(UserError, match=r"a\.jpg: a HEIF/AVIF photo, .* as JPEG or PNG"):
        decode_picture(photo, "a.jpg")


def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(UserError, match="60000 x 60000 pixels are more than"):
        decode_picture(png_of_size(60000, 60000), "bomb.png")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"just some words\n", "found text"),
        ("schöne Wörter".encode(), "found text"),
        (("x" * 511 + "ö").encode(), "found text"),
        (b"\x00\x01\x02\x03" * 30, "found no known picture format"),
        (b"%PDF-1.4\n\xff\xfe\xfd", "found no known picture format"),
    ],
)
def test_what_is_no_picture_says_what_it_is(content, found):
    with pytest.raises(UserError, match=f"note.png: not a picture: {found}"):
        decode_picture(content, "note.png")


def test_damaged_headers_never_end_otherwise_than_in_one_line(rgb):
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rgb)
    contents = [encode(picture, kind, **options) for kind, options in LOSSLESS + LOSSY]
    refused = 0
    for content in contents * 20:
        damaged = bytearray(content)
        for place in rng.integers(0, min(200, len(damaged)), 4):
            damaged[place] = rng.integers(0, 256)
        try:
            assert decode_picture(bytes(damaged), "x").dtype == np.uint8
        except UserError:
            refused += 1
    assert refused > 50


def test_read_picture_takes_names_in_any_script(rgb, tmp_path):
    path = tmp_path / "лицо 顔 é.png"
    path.write_bytes(encode(Image.fromarray(rgb), "PNG"))
    np.testing.assert_array_equal(read_picture(path), rgb[:, :, ::-1])


def test_read_picture_names_what_is_wrong_with_the_path(tmp_path):
    empty = tmp_path / "empty.png"
    empty.touch()
    for path, found in [
        (tmp_path / "none.png", "no such file"),
        (empty, "is empty"),
        (tmp_path, "is a folder"),
        (empty / "below.png", "can't be read"),
        (Path("/dev/null"), "no regular file"),
        (Path("a\0b"), "can't be read"),
    ]:
        with pytest.raises(UserError, match=found) as caught:
            read_picture(path)
        assert str(path) in str(caught.value)


def test_require_file_gives_the_path_back(tmp_path):
    path = tmp_path / "a"
    path.write_text("x")
    assert require_file(str(path), "a file") == path


def test_picture_kind_of_nothing_is_none():
    assert picture_kind(b"") is None
    assert picture_kind(b"P5 3 3 255\n") == "PNM"


def test_to_gray_follows_bt601(rgb):
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    expected = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(to_gray(bgr) - expected).max() <= 1
    np.testing.assert_array_equal(to_gray(to_gray(bgr)), to_gray(bgr))
    np.testing.assert_array_equal(to_gray(bgr[:, :, :1]), bgr[:, :, 0])
    with_alpha = np.dstack([bgr, np.zeros_like(bgr[:, :, 0])])
    np.testing.assert_array_equal(to_gray(with_alpha), to_gray(bgr))


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_to_gray_refuses_what_is_no_picture(picture):
    with pytest.raises(UserError, match="picture"):
        to_gray(picture)


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_of_size(4, 4))
    os.truncate(path, 2**31)
    with pytest.raises(UserError, match=r"a\.png: 2147483648 bytes, wanted a picture of"):
        read_picture(path)


@pytest.mark.parametrize(
    "head", [png_of_size(4, 4)[:33], b"\xff\xd8\xff\xe0\0\x10JFIF\0"], ids=["png", "jpeg"]
)
def test_megabytes_of_nothing_are_passed_over_at_once(head):
    started = time.process_time()
    with pytest.raises(UserError, match="cut off"):
        decode_picture(head + bytes(64 * 2**20), "x")
    # Byte by byte it would be many seconds.
    assert time.process_time() - started < 2


def test_of_two_sizes_in_a_tiff_the_larger_counts(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    tags = [(256, 60000), (257, 60000), (256, 4), (257, 4)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(64)
    with pytest.raises(UserError, match="60000 x 60000 pixels are more than"):
        decode_picture(content, "x")
