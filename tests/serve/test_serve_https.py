"""A certificate and its key: pictures and token cross the network unread."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
from pathlib import Path

import cv2
import pytest
from certificates import Made, make_certificate, openssl
from drawn_video import draw_people
from serving import frame_message, next_message, serving

from emojax.cli import main


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_pages_files_and_streams_come_by_https_alone(made: Made, astronaut_png: bytes) -> None:
    frame = cv2.imencode(".jpg", next(iter(draw_people(1, 6))))[1].tobytes()
    with serving(*made.words, "--host", "0.0.0.0", trusts=made.trusts) as server:
        assert "cross the network as they are" not in server.said
        token = re.search(r"https://127.0.0.1:\d+/\?token=([\w-]+)", server.said)
        assert token is not None
        opened = server.ask(f"/?token={token[1]}")
        assert opened.status == 303
        assert "; Secure" in opened.headers["set-cookie"]
        headers = {"Cookie": opened.headers["set-cookie"].split(";")[0]}
        assert b"emojax" in server.ask("/", headers=headers).body
        answer = server.ask("/predict", astronaut_png, headers, name="a.png")
        assert json.loads(answer.body)["rows"][0]["success"] == 1
        with server.stream(additional_headers=headers) as stream:
            next_message(stream, "model")
            stream.send(frame_message(0, 0.0, frame))
            assert next_message(stream, "result")["frame"] == 0
        # Somebody who does not speak TLS learns nothing, whoever trusts another certificate too.
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain:
            plain.sendall(b"GET /model HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert plain.recv(1000) == b""
        with pytest.raises(ssl.SSLCertVerificationError):
            server._replace(trusts=ssl.create_default_context()).ask("/model")


def test_what_no_server_can_use_is_one_line(made: Made, tmp_path: Path, capfd) -> None:
    other = make_certificate(tmp_path, "other")
    locked, text = tmp_path / "locked.pem", tmp_path / "text.pem"
    openssl("pkey", "-in", made.key, "-aes256", "-passout", "pass:secret", "-out", locked)
    text.write_text("no PEM at all\n")
    for certificate, key, said in (
        (made.chain, other.key, "other_key.pem: is not the key of "),
        (made.chain, locked, "locked.pem: is locked with a password: unlock it"),
        (text, made.key, "text.pem: holds no certificate in PEM"),
        (made.key, made.key, "server_key.pem: holds no certificate in PEM"),
        (made.chain, text, "text.pem: holds no private key in PEM"),
        (made.chain, made.chain, "server.pem: holds no private key in PEM"),
        (tmp_path, made.key, "no such file, wanted a PEM file"),
        (made.chain, tmp_path / "nowhere.pem", "nowhere.pem: no such file"),
    ):
        words = ["--certificate", str(certificate), "--key", str(key)]
        assert main(["serve", "--port", "0", *words]) == 2
        error = capfd.readouterr().err
        assert said in error
        assert error.count("\n") == 1
