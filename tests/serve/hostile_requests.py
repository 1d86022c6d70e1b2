"""Requests that nobody means well with, each made from a seed."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from serving import Serving

Send = Callable[[random.Random, Serving], bytes]
"""Sends something and returns the beginning of what came back, b"" where nothing did."""

PATHS = (
    "/../../../../etc/passwd",
    "/page/../../../../../etc/passwd",
    "/page/%2e%2e/%2e%2e/application.py",
    "/page/..%2f..%2fapplication.py",
    "/page/....//....//application.py",
    "/page/..\\..\\application.py",
    "//etc/passwd",
    "/page//etc/passwd",
    "/page/%00",
    "/page/%2fetc%2fpasswd",
    "/proc/self/environ",
    "/file:///etc/passwd",
    "/page/" + "a/" * 2000,
    "/page/%c0%ae%c0%ae/application.py",
    "/openapi.json/../page/main.js",
    "/predict/../model",
    "/docs?x=" + "y" * 5000,
    "/page/.",
    "/page/",
    "http://127.0.0.1/model",
    "*",
    "/\u00e9",
)
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "G\tT")


def exchange(server: Serving, request: bytes, wait_s: float = 5.0) -> bytes:
    """Send bytes as they are; the beginning of the answer, or nothing."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as link:
        link.settimeout(wait_s)
        with contextlib.suppress(OSError):
            link.sendall(request)
        with contextlib.suppress(OSError):
            return link.recv(65536)
    return b""


def request(
    server: Serving,
    line: str = "GET / HTTP/1.1",
    body: bytes = b"",
    *more: str,
    host: str | None = None,
    length: int | None = None,
) -> bytes:
    """An HTTP request, its length and its host as told."""
    lines = [line]
    if host != "":
        lines.append(f"Host: {host or f'127.0.0.1:{server.port}'}")
    if body or length is not None:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    lines += ["Connection: close", *more, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def paths(rng: random.Random, server: Serving) -> bytes:
    line = f"{rng.choice(METHODS)} {rng.choice(PATHS)} HTTP/1.1"
    return exchange(server, request(server, line))


def strangers(rng: random.Random, server: Serving) -> bytes:
    hosts = ("evil.example", "", "127.0.0.1", f"localhost.evil:{server.port}", "[::1", "a" * 3000)
    origins = ("null", "http://evil.example", f"http://127.0.0.1:{server.port + 1}", "\x00")
    more = [f"Origin: {rng.choice(origins)}"] if rng.random() < 0.5 else []
    host = rng.choice(hosts) if not more else None
    line = rng.choice(("GET /model HTTP/1.1", "POST /predict HTTP/1.1", "GET /stream HTTP/1.1"))
    if "stream" in line:
        more += list(HANDSHAKE)
    answer = exchange(server, request(server, line, b"x" * ("POST" in line), *more, host=host))
    assert b" 200 " not in answer[:20], (host, more)
    assert b" 101 " not in answer[:20], (host, more)
    return answer


def garbage(rng: random.Random, server: Serving) -> bytes:
    forms = (
        lambda: rng.randbytes(rng.randint(1, 3000)),
        lambda: b"GET / HTTP/9.9\r\n\r\n",
        lambda: b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        lambda: request(server, "GET / HTTP/1.1", b"", "X: " + "y" * 100_000),
        lambda: request(server, "GET / HTTP/1.1", b"", *(["A: b"] * 2000)),
        lambda: request(server, "POST /predict HTTP/1.1", b"abc", length=-5),
        lambda: request(server, "POST /predict HTTP/1.1", b"", "Content-Length: 99999999999999"),
        lambda: request(
            server, "POST /predict HTTP/1.1", b"zz\r\nhello", "Transfer-Encoding: chunked"
        ),
        lambda: request(
            server, "POST /predict HTTP/1.1", b"abc", "Transfer-Encoding: chunked", length=3
        ),
        lambda: request(server, "POST /predict HTTP/1.1", b"", "Expect: 100-continue", length=10),
        lambda: request(server, "GET / HTTP/1.1", b"", "Cookie: \x7f\x00=;;", "Range: bytes=-1"),
        lambda: request(server, "GET /page/main.js HTTP/1.1", b"", "Range: bytes=9-2,,-"),
    )
    return exchange(server, rng.choice(forms)())


def broken_files(rng: random.Random, server: Serving) -> bytes:
    """Real files of which bytes were turned, cut off or doubled; and noise under a known head."""
    if rng.random() < 0.25:
        heads = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBP")
        more = (b"II*\0", b"P5 9 9 255\n", b"\0\0\0\x18ftypmp42", b"\x1aE\xdf\xa3", b"FLV\x01")
        data = rng.choice(heads + more) + rng.randbytes(rng.randint(0, 3000))
    else:
        data = rng.choice(whole_files())
        data = data[: rng.randint(1, len(data))] if rng.random() < 0.3 else data
        turned = bytearray(data)
        for _ in range(rng.randint(1, 30)):
            turned[rng.randrange(min(len(turned), 600 if rng.random() < 0.7 else 10**9))] = (
                rng.randrange(256)
            )
        data = bytes(turned)
    queries = (
        "",
        "?form=csv",
        "?form=png",
        "?form=heat",
        "?name=%00%ff",
        "?name=../../x",
        "?model=",
    )
    query = rng.choice(queries)
    return exchange(server, request(server, f"POST /predict{query} HTTP/1.1", data), 20)


_FILES: list[bytes] = []


def whole_files() -> list[bytes]:
    """Small pictures in several forms."""
    if not _FILES:
        noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
        for suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff", ".ppm"):
            _FILES.append(cv2.imencode(suffix, noise)[1].tobytes())
    return _FILES


def bombs(rng: random.Random, server: Serving) -> bytes:
    """A few bytes that promise a picture of any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    side = rng.choice((7000, 30_000, 65_500, 2**31 - 1))
    depth, colour = rng.choice(((8, 2), (16, 6), (1, 0)))
    png = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    )
    png += chunk(b"IDAT", zlib.compress(bytes(200_000))) + chunk(b"IEND", b"")
    gif = b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\0\0\0;"
    bmp = b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, side, -60_000, 1, 24, *[0] * 6)
    pnm = f"P5 {side} {side} 255\n".encode() + bytes(100)
    answer = exchange(
        server, request(server, "POST /predict HTTP/1.1", rng.choice((png, gif, bmp, pnm)))
    )
    assert b" 200 " not in answer[:20]
    return answer


def addresses(rng: random.Random, server: Serving) -> bytes:
    names = ("name", "model", "precision", "form", "output", "token", "x")
    values = (
        "",
        "%00",
        "%ff%fe",
        "a" * 3000,
        "'",
        "../..",
        "faces",
        "int8",
        "heat",
        "%F0%9F%98%80",
    )
    query = "&".join(f"{rng.choice(names)}={rng.choice(values)}" for _ in range(rng.randint(1, 8)))
    line = f"{rng.choice(('GET', 'POST'))} {rng.choice(('/predict', '/model', '/'))}?{query}"
    accept = rng.choice(("*/*", "text/html", "image/png;q=0", ",,;", "\xff", "text/csv, */*"))
    body = rng.choice(whole_files()) if "POST" in line else b""
    return exchange(server, request(server, f"{line} HTTP/1.1", body, f"Accept: {accept}"), 20)


HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


def streams(rng: random.Random, server: Serving) -> bytes:
    """A WebSocket whose frames are broken, or whose messages make no sense."""
    opening = "\r\n".join(
        ["GET /stream HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *HANDSHAKE, "", ""]
    ).encode()
    if rng.random() < 0.15:
        opening = opening.replace(
            *rng.choice(((b"13", b"7"), (b"dGhl", b"!"), (b"Upgrade: websocket\r\n", b"")))
        )
    mask = bytes(4)

    def frame(code: int, data: bytes, masked: bool = True) -> bytes:
        length = len(data)
        flag = 0x80 if masked else 0
        size = (
            bytes([flag | length])
            if length < 126
            else bytes([flag | 126]) + struct.pack(">H", length)
        )
        return bytes([code]) + size + (mask if masked else b"") + data

    picture = rng.choice(whole_files())
    messages = (
        lambda: frame(0x82, b"short"),
        lambda: frame(0x82, struct.pack("<Id", 1, rng.choice((float("nan"), -1, 1e300))) + b"x"),
        lambda: frame(0x82, struct.pack("<Id", rng.randrange(2**32), 1.0) + picture[:60_000]),
        lambda: frame(0x82, struct.pack("<Id", 1, 1.0) + rng.randbytes(2000)),
        lambda: frame(0x81, b'{"model": "' + rng.randbytes(9).hex().encode() + b'"}'),
        lambda: frame(0x81, b"[" * 3000),
        lambda: frame(0x81, b"\xff\xfe"),
        lambda: frame(0x82, b"unmasked", masked=False),
        lambda: frame(0x8B, b""),
        lambda: frame(0xF2, b"reserved bits"),
        lambda: frame(0x02, b"never ends"),
        lambda: frame(0x80, b"continues nothing"),
        lambda: frame(0x89, b"p" * 126),
        lambda: b"\x82\xff" + struct.pack(">Q", 2**62) + mask,
        lambda: frame(0x88, struct.pack(">H", rng.choice((0, 999, 1005, 5000)))),
        lambda: rng.randbytes(200),
    )
    sent = b"".join(rng.choice(messages)() for _ in range(rng.randint(1, 4)))
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as link:
        link.settimeout(3)
        link.sendall(opening)
        answer = link.recv(4096)
        link.sendall(sent)
        # Half of them leave without a word, the others take what comes first.
        if rng.random() < 0.5:
            link.settimeout(0.3)
            with contextlib.suppress(OSError):
                link.recv(65536)
        return answer
    return b""


def too_much(rng: random.Random, server: Serving) -> bytes:
    size = rng.choice((1_200_000, 2_200_000))
    head = rng.choice((b"\x89PNG\r\n\x1a\n", b"\0\0\0\x18ftypmp42"))
    answer = exchange(server, request(server, "POST /predict HTTP/1.1", head + bytes(size)))
    assert b" 200 " not in answer[:20]
    return answer


KINDS: tuple[Send, ...] = (
    paths,
    strangers,
    garbage,
    broken_files,
    bombs,
    addresses,
    streams,
    too_much,
)
