from __future__ import annotations

import contextlib
import http.client
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from serving import serving

from emojax.cli import main
from emojax.commands.serve import is_loopback
from emojax.serve.shelf import name_models

if TYPE_CHECKING:
    from conftest import RunPython

WITHOUT = """
import sys
for name in ("fastapi", "starlette", "uvicorn", "websockets"):
    sys.modules[name] = None
from emojax.cli import main
sys.exit(main(["serve", "--port", "0"]))
"""


def test_without_the_extra_the_pip_line(run_python: RunPython) -> None:
    done = run_python("-c", WITHOUT)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'emojax[serve]'" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "70000"], "--port 70000: wanted 0..65535"),
        (["--detect-every", "0"], "--detect-every 0"),
        (["--workers", "0"], "--workers 0"),
        (["--threads", "0"], "--threads 0"),
        (["--megapixels", "0"], "--megapixels 0"),
        (["--model", "nowhere"], "nowhere: no such folder"),
        (["--certificate", "x.pem"], "give both or none"),
        (["--certificate", "x.pem", "--key", "y.pem"], "x.pem: no such file"),
        (["--host", "192.0.2.1", "--port", "0"], "can't be listened on"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capfd) -> None:
    assert main(["serve", *words]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_port_that_is_taken(capfd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "use another --port" in capfd.readouterr().err


def test_ctrl_c_ends_it_and_only_loopback_is_served(astronaut_png: bytes) -> None:
    with serving("--model", "faces", "faces") as running:
        assert running.predict(astronaut_png, model="faces-2").status == 200
        lines = Path("/proc/net/tcp").read_text() if Path("/proc/net/tcp").exists() else ""
        listening = re.findall(rf": (\w{{8}}):{running.port:04X} 00000000:0000 0A", lines)
        assert listening in ([], ["0100007F"])
        assert "token" not in running.said
    assert running.process.returncode == 130


def test_another_address_demands_a_token_and_says_what_it_opens() -> None:
    with serving("--host", "0.0.0.0") as running:
        assert "whoever reaches port" in running.said
        assert "cross the network as they are" in running.said
        token = re.search(r"/\?token=([\w-]{20,})\n", running.said)
        assert token is not None
        assert running.ask("/model").status == 401
        assert running.ask("/page/main.js").status == 401
        assert running.predict(b"x").status == 401
        bearer = {"Authorization": f"Bearer {token[1]}"}
        assert running.ask("/model", headers=bearer).status == 200
        assert running.ask(f"/?token={token[1]}").status == 303


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 has to be set up first")
def test_every_loopback_address_can_be_opened_as_it_is_printed() -> None:
    with serving("--host", "127.0.0.2") as running:
        link = http.client.HTTPConnection("127.0.0.2", running.port, timeout=60)
        with contextlib.closing(link):
            assert f"http://127.0.0.2:{running.port}/" in running.said
            link.request("GET", "/model")
            assert link.getresponse().status == 200


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", "192.168.0.2", "localhost.evil.example")))


def test_models_are_called_after_their_folder_or_their_run() -> None:
    folders = [Path("/r/demo/artifact"), Path("/m/faces"), Path("/n/faces"), Path("/faces-2")]
    assert name_models(folders) == ["demo", "faces", "faces-2", "faces-2-2"]
