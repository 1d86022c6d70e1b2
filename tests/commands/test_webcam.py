"""The live view, with a camera, a window and a browser that are none."""

from __future__ import annotations

import csv
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import fake_camera
import numpy as np
import pytest
from own_process import own_process
from tiny_artifact import change
from tiny_clip import tiny_clip_model, write_clip_artifact
from windows import Windows

from emojax.app.live import RateMeter
from emojax.app.page import LARGEST_PICTURE, PageScreen
from emojax.app.recording import new_name
from emojax.app.screen import Wish
from emojax.cli import main
from emojax.errors import UserError
from emojax.spec import read_json
from emojax.video import read_frames

FAKE = Path(fake_camera.__file__)
ROOT = FAKE.parents[2]


@pytest.fixture(scope="module")
def small_face(astronaut) -> np.ndarray:
    return cv2.resize(astronaut[:256, 96:352], (200, 200), interpolation=cv2.INTER_AREA)


@pytest.fixture
def face_file(tmp_path, small_face) -> Path:
    path = tmp_path / "face.png"
    path.write_bytes(cv2.imencode(".png", small_face)[1].tobytes())
    return path


# In a window.


@pytest.fixture
def watch(tmp_path, artifact_folder, small_face, monkeypatch, capfd):
    """Runs the command with keys that are pressed, one after each view; a space: none."""

    def run(
        keys: str,
        lost_after: int = 10**9,
        *words: str,
        model: Path = artifact_folder,
        out: Path = tmp_path / "out",
    ):
        windows = Windows(keys).put_in(monkeypatch)
        camera = fake_camera.make(small_face, lost_after, rate_hz=1000)
        monkeypatch.setattr(cv2, "VideoCapture", camera)
        status = main(["webcam", *words, "--model", str(model), "--out", str(out)])
        said = capfd.readouterr()
        return status, windows, camera, said.out, said.err.splitlines()

    return run


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_camera_is_shown_until_somebody_quits(watch, tmp_path):
    status, windows, camera, _, errors = watch("   q")
    assert (status, errors) == (0, [])
    assert len(windows.shown) == 4
    assert (camera.opened, camera.released) == ([0], [0])
    # Bars beside the picture, which is in colour; keys below it.
    assert windows.shown[0].shape[1] > windows.shown[0].shape[0]
    assert not (tmp_path / "out").exists()


def test_gray_is_gray(watch):
    _, windows, *_ = watch("g gq")
    in_colour, gray = windows.shown[0], windows.shown[2]

    def colour(view: np.ndarray) -> float:
        # But for the face's box, which is green.
        part = view[100:300, 20:300].astype(int)
        return float((np.ptp(part, axis=2) > 20).mean())

    assert colour(in_colour) > 0.3
    assert colour(gray) < 0.1
    assert colour(windows.shown[3]) == colour(in_colour)


def test_what_is_recorded_is_video_and_rows(watch, tmp_path):
    status, _, _, said, errors = watch(" r    r rq", 10**9, "/dev/video3")
    assert (status, errors) == (0, [])
    videos = sorted((tmp_path / "out").glob("*.mp4"), key=lambda path: path.stat().st_mtime_ns)
    tables = sorted((tmp_path / "out").glob("*.csv"), key=lambda path: path.stat().st_mtime_ns)
    assert [path.stem for path in videos] == [path.stem for path in tables]
    frames, rows = list(read_frames(videos[0])), read_rows(tables[0])
    assert len(frames) == 5
    assert [row["frame"] for row in rows] == [str(number) for number in range(5)]
    assert {row["success"] for row in rows} == {"1"}
    assert {row["file"] for row in rows} == {str(videos[0])}
    times = [float(row["timestamp"]) for row in rows]
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], times, atol=1e-4)
    assert times[0] == 0
    assert f"{videos[0]} and .csv: 5 frames in" in said


def test_opening_a_picture_stops_the_camera(watch, tmp_path, monkeypatch, face_file):
    answers = iter(["", str(tmp_path / "none.png"), str(face_file)])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    status, windows, camera, said, errors = watch("rppp  v  q")
    assert status == 0
    assert errors == [
        f"emojax webcam: error: {tmp_path}/none.png: no such file, wanted a picture: check the path"
    ]
    assert (camera.opened, camera.released) == ([0, 0], [0, 0])
    # The recording ended with the camera, and the still picture's view does not change.
    assert "3 frames in" in said
    np.testing.assert_array_equal(windows.shown[4], windows.shown[6])
    assert len(windows.shown) == 10


def test_a_camera_that_is_pulled_out_keeps_what_was_recorded(watch, tmp_path):
    status, _, camera, _, errors = watch("r", 6)
    assert status == 1
    assert len(errors) == 1
    assert "camera 0: disappeared: what was recorded is kept" in errors[0]
    assert camera.released == [0]
    (video,) = (tmp_path / "out").glob("*.mp4")
    (table,) = (tmp_path / "out").glob("*.csv")
    # One picture to see whether there is any, and one before the recording.
    assert len(list(read_frames(video))) == len(read_rows(table)) == 4


@pytest.mark.parametrize(
    "words", [["--threads", "0"], ["--port", "-1"], ["--smooth", "nan"], ["--detect-every", "0"]]
)
def test_numbers_out_of_range_are_mistakes(watch, words):
    status, _, camera, _, errors = watch("q", 10**9, *words)
    assert status == 2
    assert len(errors) == 1
    assert words[0] in errors[0]
    assert camera.opened == []


def test_a_recording_takes_no_others_place(tmp_path):
    first = new_name(tmp_path)
    first.with_name(f"{first.name}.csv").touch()
    assert new_name(tmp_path) != first


def test_the_rate_is_that_of_the_last_two_seconds():
    meter = RateMeter()
    assert meter.tick(0.0) == 0
    assert [meter.tick(number / 10) for number in range(1, 11)][-1] == pytest.approx(10)
    assert [meter.tick(1 + number / 100) for number in range(1, 400)][-1] == pytest.approx(100)


# On the page.


@pytest.fixture
def page() -> Iterator[PageScreen]:
    with PageScreen() as screen:
        yield screen


VIEW = np.full((40, 60, 3), 90, np.uint8)


def ask(
    screen: PageScreen, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", screen.port, timeout=10)
    place = "/" + screen.url.split("/", 3)[3] + path
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, place, body, names)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, answer


def test_only_this_machine_can_reach_the_page(page):
    assert page.url.startswith(f"http://127.0.0.1:{page.port}/")
    assert page._server.socket.getsockname()[0] == "127.0.0.1"
    with PageScreen() as other:
        assert other.url.rsplit("/", 2)[1] != page.url.rsplit("/", 2)[1]


def test_the_page_shows_and_takes_wishes(page):
    status, text, answer = ask(page, "GET", "")
    assert status == 200
    policy = answer.headers["Content-Security-Policy"]
    nonces = set(re.findall(r"nonce-([\w-]+)'", policy))
    assert len(nonces) == 1
    assert text.decode().count(f'nonce="{nonces.pop()}"') == 2
    assert "frame-ancestors 'none'" in policy
    assert page.show(VIEW, 0.0) is None
    status, jpeg, answer = ask(page, "GET", "view?after=0")
    assert (status, answer.headers["X-Number"]) == (200, "1")
    seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None
    assert seen.shape == VIEW.shape
    assert abs(int(seen.mean()) - 90) < 3
    assert ask(page, "POST", "wish/record", b"")[0] == 204
    assert ask(page, "POST", "wish/gray", b"", Origin=f"http://127.0.0.1:{page.port}")[0] == 204
    assert [page.show(VIEW, 0.0) for _ in range(3)] == [Wish("record"), Wish("gray"), None]


def test_a_view_is_waited_for(page):
    page.show(VIEW, 0.0)
    later = threading.Timer(0.3, lambda: page.show(VIEW, 0.0))
    later.start()
    status, _, answer = ask(page, "GET", "view?after=1")
    later.join()
    assert (status, answer.headers["X-Number"]) == (200, "2")


def test_a_picture_is_opened(page, face_file, small_face):
    status, _, _ = ask(page, "POST", "picture?name=a%20b.png", face_file.read_bytes())
    assert status == 204
    wish = page.show(VIEW, 0.0)
    assert wish is not None
    assert (wish.deed, wish.name) == ("picture", "a b.png")
    assert wish.picture is not None
    np.testing.assert_array_equal(wish.picture, small_face)
    status, said, _ = ask(page, "POST", "picture?name=x.png", b"words")
    assert status == 400
    assert said.startswith(b"x.png: not a picture: found text")
    assert page.show(VIEW, 0.0) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "example.org"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "view?after=0"), ("POST", "wish/quit"), ("POST", "picture?name=a")],
)
def test_no_website_can_read_the_camera(page, headers, method, path):
    page.show(VIEW, 0.0)
    body = b"" if method == "POST" else None
    status, content, _ = ask(page, method, path, body, **headers)
    assert (status, content) == (403, b"")
    assert page.show(VIEW, 0.0) is None


def test_two_hosts_are_refused(page):
    token = page.url.split("/")[3]
    lines = f"GET /{token}/ HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nHost: example.org\r\n\r\n"
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as connection:
        connection.sendall(lines.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("path", ["/", "/view?after=0", "/x/", "/../", "//", "/%C3%A9/"])
def test_nobody_finds_the_page_by_its_port(page, path):
    page.show(VIEW, 0.0)
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (404, b"")
    connection.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("target", ["http://[x/", "//[/", "http://[::1]x/", "http://[v1.x]]/"])
def test_an_address_that_is_none_is_answered_without_a_traceback(page, capfd, method, target):
    lines = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as connection:
        connection.sendall(lines.encode())
        assert connection.recv(100)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404")
        # It was answered to its end: what goes wrong is printed by now.
        while connection.recv(1000):
            pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("length", [None, "-1", "x", "1e3", str(LARGEST_PICTURE + 1), "1" * 5000])
def test_a_body_of_a_foolish_length_is_not_read(page, length):
    token = page.url.split("/")[3]
    lines = f"POST /{token}/picture HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n"
    lines += "\r\n" if length is None else f"Content-Length: {length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as connection:
        connection.sendall(lines.encode())
        assert connection.recv(100)[:12] in (b"HTTP/1.1 411", b"HTTP/1.1 413")
    assert page.show(VIEW, 0.0) is None


@pytest.mark.parametrize("path", ["wish/none", "wish/picture", "nothing", "view"])
def test_wishes_that_are_none(page, path):
    assert ask(page, "POST", path, b"")[0] == 404
    assert page.show(VIEW, 0.0) is None


def test_a_port_that_is_taken_is_told(page):
    with pytest.raises(UserError, match=f"--port {page.port}: can't be used"):
        PageScreen(page.port)


@pytest.fixture
def live_process(tmp_path, artifact_folder, face_file):
    """A real process with a page, and its address."""
    started: list[subprocess.Popen[str]] = []

    def start(lost_after: int = 10**9) -> tuple[subprocess.Popen[str], str]:
        words = ["webcam", "--model", artifact_folder, "--out", tmp_path / "out", "--no-window"]
        process = subprocess.Popen(
            own_process(FAKE, face_file, str(lost_after), *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if "http://" in line:
                return process, line.split()[1]
        raise AssertionError("no address")

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def fetch(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    where = url.split("/", 3)
    connection = http.client.HTTPConnection(where[2], timeout=60)
    connection.request("GET" if body is None else "POST", f"/{where[3]}", body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_ends_a_real_process_and_its_recording(live_process, tmp_path):
    process, url = live_process()
    status, jpeg = fetch(f"{url}view?after=0")
    assert (status, jpeg[:3]) == (200, b"\xff\xd8\xff")
    assert fetch(f"{url}wish/record", b"")[0] == 204
    wait_for(
        lambda: any(path.read_bytes().count(b"\n") > 5 for path in (tmp_path / "out").glob("*.csv"))
    )
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "emojax webcam: stopped; what was already written is kept"
    (video,) = (tmp_path / "out").glob("*.mp4")
    (table,) = (tmp_path / "out").glob("*.csv")
    assert len(list(read_frames(video))) == len(read_rows(table)) >= 5


def test_quit_on_the_page_ends_a_real_process(live_process, face_file):
    process, url = live_process()
    assert fetch(f"{url}picture?name=face.png", face_file.read_bytes())[0] == 204
    assert fetch(f"{url}wish/quit", b"")[0] == 204
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_without_a_model_it_is_the_one_that_comes_with_emojax(
    small_face, monkeypatch, capfd, tmp_path
):
    windows = Windows(" q").put_in(monkeypatch)
    monkeypatch.setattr(cv2, "VideoCapture", fake_camera.make(small_face, rate_hz=1000))
    assert main(["webcam", "--out", str(tmp_path)]) == 0
    assert len(windows.shown) == 2
    assert "note: trained on FER2013's web photographs" in capfd.readouterr().out


def test_a_network_for_clips_is_refused_in_a_line(monkeypatch, capfd, tmp_path):
    folder = write_clip_artifact(tmp_path / "clip", tiny_clip_model(listens=False), listens=False)
    windows = Windows("q").put_in(monkeypatch)
    capfd.readouterr()
    assert main(["webcam", "--model", str(folder)]) == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert error.startswith(f"emojax webcam: error: {folder}: a model for clips (4 frames")
    assert not windows.shown


def test_the_rows_that_are_recorded_say_what_is_uncertain(watch, artifact_folder, tmp_path):
    for below in (0, 1):
        folder = shutil.copytree(artifact_folder, tmp_path / f"artifact{below}")
        thresholds = read_json(folder / "spec.json")["thresholds"]
        change(folder, thresholds={**thresholds, "uncertain_below": below})
        out = tmp_path / f"recorded{below}"
        assert watch("r rq", 10**9, model=folder, out=out)[0] == 0
        (table,) = out.glob("*.csv")
        assert {row["uncertain"] for row in read_rows(table)} == {str(below)}


def test_the_help_and_the_list_of_commands_name_it(capsys):
    with pytest.raises(SystemExit) as done:
        main(["webcam", "--help"])
    assert done.value.code == 0
    said = capsys.readouterr().out
    assert "Nothing leaves the machine" in said
    assert main(["--help"]) == 0
    assert "webcam" in capsys.readouterr().out
