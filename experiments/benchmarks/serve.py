"""`serve`: what `emojax serve` gives to one client and to several, and its memory meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from benchmarks.rounds import Options, report
from benchmarks.video import resident_bytes
from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import make_scene
from emojax.data.synthetic.people import make_person
from emojax.errors import UserError
from emojax.shipped import find_model

_WIDTH, _HEIGHT, _RATE_HZ = 640, 480, 30
_IN_FLIGHT = 2


@dataclasses.dataclass(frozen=True)
class ServeOptions(Options):
    """Let clients stream a drawn face of 640 x 480 at 30 frames a second, two on the way each.

    A client is a thread of this process that sends JPEGs and reads rows; it waits from sent to
    answered. processor ms is the server's own time for each result, which a busy machine leaves
    as it is. After each row all clients leave at once, half of them without a goodbye, and the
    server is watched: it ought to be idle again, and no larger than before. With --browser the one
    client is Chromium's page, whose own figures are read: camera to screen, its decoding, encoding
    and drawing included.
    """

    model: Path | None = None
    """Artifact; unset: the network that comes with emojax."""
    clients: tuple[int, ...] = (1, 8)
    """Clients at once, a row each."""
    seconds: float = 20.0
    """For how long each row is measured, after two seconds that don't count."""
    detect_every: int = 5
    """As of `emojax serve`."""
    browser: bool = False
    """Also let Chromium's page be a client (needs playwright)."""

    settle: float = 5.0
    """For how many seconds the server is watched after all clients have left."""

    QUICK: ClassVar[Mapping[str, Any]] = {"clients": (1,), "seconds": 1.0, "settle": 1.0}


def draw_frames(count: int) -> list[np.ndarray]:
    """Return frames of a drawn face that smiles and stops, uint8 [480, 640, 3]."""
    rng = np.random.default_rng(7)
    peak = [0.9 * (place in (4, 8)) for place in range(15)]
    timeline = make_timeline(rng, peak, count, returns=True)
    frames = []
    for face in render_clip(make_person(7, 0), timeline, make_scene(rng, "S1"), rng):
        canvas = np.full((_HEIGHT, _WIDTH, 3), 90, np.uint8)
        canvas[40:440, 120:520] = cv2.resize(face, (400, 400), interpolation=cv2.INTER_CUBIC)
        frames.append(canvas)
    return frames


@contextlib.contextmanager
def serving(options: ServeOptions, sessions: int) -> Iterator[tuple[int, int]]:
    """Yield the port and the process of a server."""
    words = ["serve", "--port", "0", "--model", str(find_model(options.model))]
    words += ["--detect-every", str(options.detect_every), "--sessions", str(sessions)]
    command = [sys.executable, "-m", "emojax", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = None
            for line in process.stdout:
                found = re.search(r"open .*:(\d+)/", line) or found
                if "Ctrl-C" in line:
                    break
            if found is None:
                raise UserError("emojax serve did not begin: see the line above")
            yield int(found[1]), process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def stream(
    port: int,
    jpegs: Sequence[bytes],
    until_s: float,
    waits: list[tuple[float, float]],
    rudely: bool = False,
) -> None:
    """Send frames until then; note when each answer came, and how long after its frame was due.

    Args:
        port: of the server.
        jpegs: are sent in turn, one each thirtieth of a second where there is room.
        until_s: on the monotonic clock.
        waits: takes pairs of seconds.
        rudely: leave without a goodbye, as a browser that is killed does.
    """
    from websockets.sync.client import connect

    sent: dict[int, float] = {}
    with connect(f"ws://127.0.0.1:{port}/stream", compression=None) as link:
        number, due_s = 0, time.monotonic()
        while (now_s := time.monotonic()) < until_s:
            if now_s >= due_s:
                due_s = max(due_s + 1 / _RATE_HZ, now_s)
                if len(sent) < _IN_FLIGHT:
                    sent[number] = now_s
                    link.send(
                        struct.pack("<Id", number, number / _RATE_HZ) + jpegs[number % len(jpegs)]
                    )
                    number += 1
            with contextlib.suppress(TimeoutError):
                message = json.loads(link.recv(timeout=max(0.001, due_s - time.monotonic())))
                if message["type"] == "result":
                    now_s = time.monotonic()
                    waits.append((now_s, now_s - sent.pop(message["frame"])))
        if rudely:
            link.socket.shutdown(socket.SHUT_RDWR)


def processor_s(process: int) -> float:
    """Return the seconds of processor time that a process has used."""
    # Behind the name, which may hold anything: state is the third field, user time the 14th.
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch_idle(port: int, process: int, seconds: float) -> dict[str, Any]:
    """Return what a server does that nobody asks any more: its columns of a row.

    Args:
        port: of the server.
        process: of the server.
        seconds: for how long it is watched, after a second in which it may finish.
    """
    time.sleep(1)
    before_s, began_s = processor_s(process), time.monotonic()
    time.sleep(seconds)
    used_s, passed_s = processor_s(process) - before_s, time.monotonic() - began_s
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/model") as answer:
        taken = json.load(answer)["limits"]["sessions_taken"]
    return {
        "after: processor %": 100 * used_s / passed_s,
        "MiB": (resident_bytes(process) or 0) / 2**20,
        "places taken": taken,
    }


def time_clients(
    port: int, process: int, jpegs: Sequence[bytes], clients: int, options: ServeOptions
) -> dict[str, Any]:
    """Return the row of so many clients."""
    seconds = options.seconds
    idle = watch_idle(port, process, options.settle)
    began_s = time.monotonic() + 2
    waits: list[list[tuple[float, float]]] = [[] for _ in range(clients)]
    threads = [
        threading.Thread(target=stream, args=(port, jpegs, began_s + seconds, mine, place % 2 == 1))
        for place, mine in enumerate(waits)
    ]
    for thread in threads:
        thread.start()
    readings, before_s = [], processor_s(process)
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.5)
        readings.append((resident_bytes(process) or 0) / 2**20)
    for thread in threads:
        thread.join()
    used_s = processor_s(process) - before_s
    rates = [sum(at_s >= began_s for at_s, _ in mine) / seconds for mine in waits]
    all_waits = [wait for mine in waits for at_s, wait in mine if at_s >= began_s] or [float("nan")]
    settled = readings[4:] or readings
    tenth = max(1, len(settled) // 10)
    return {
        "client": f"{clients} x socket",
        "results/s each, least": min(rates),
        "most": max(rates),
        "results/s": sum(rates),
        "median ms": 1e3 * float(np.median(all_waits)),
        "p95 ms": 1e3 * float(np.quantile(all_waits, 0.95)),
        "processor ms": 1e3 * used_s / max(1, sum(map(len, waits))),
        "before: MiB": idle["MiB"],
        "first tenth MiB": float(np.mean(settled[:tenth])),
        "last tenth MiB": float(np.mean(settled[-tenth:])),
        **watch_idle(port, process, options.settle),
    }


def time_page(port: int, frames: Sequence[np.ndarray], seconds: float) -> dict[str, Any]:
    """Return the row of the page in Chromium, by its own figures."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if found is None:
        raise UserError("--browser: no chromium on the path: install it")
    with tempfile.TemporaryDirectory(prefix="emojax-serve-") as folder, sync_playwright() as web:
        film = Path(folder) / "face.y4m"
        with film.open("wb") as file:
            file.write(f"YUV4MPEG2 W{_WIDTH} H{_HEIGHT} F{_RATE_HZ}:1 Ip A1:1 C420jpeg\n".encode())
            for frame in frames:
                file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())
        words = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        words += [f"--use-file-for-fake-video-capture={film}", "--no-sandbox"]
        browser = web.chromium.launch(executable_path=found, args=words)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("body[data-ready]")
        page.click("#camera")
        page.wait_for_timeout(2000 + 1000 * seconds)
        told = page.eval_on_selector("#rate", "element => ({...element.dataset})")
        browser.close()
    return {
        "client": "page",
        "results/s": float(told["rate"]),
        "median ms": float(told["median"]),
        "p95 ms": float(told["p95"]),
    }


def measure(options: ServeOptions) -> dict[str, Any]:
    """Return the figures."""
    options = options.settled()
    if min(options.clients, default=1) < 1 or min(options.seconds, options.settle) <= 0:
        raise UserError("serve: wanted one client and some seconds at least")
    if not Path("/proc/self/statm").exists():
        raise UserError("serve: needs /proc, as Linux has it, to see a process's memory")
    frames = draw_frames(60)
    jpegs = [
        cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes() for frame in frames
    ]
    rows = []
    with serving(options, max((1, *options.clients))) as (port, process):
        rows += [
            time_clients(port, process, jpegs, clients, options) for clients in options.clients
        ]
        if options.browser:
            rows.append(time_page(port, frames, options.seconds))
    return report(options, "emojax serve: results a second and how long each took", {"table": rows})
