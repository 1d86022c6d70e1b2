"""The page in a real browser, whose camera plays drawn people."""

from __future__ import annotations

import base64
import csv
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import Browsers, Watched
from certificates import make_certificate
from drawn_video import HEIGHT, WIDTH, draw_people, write_y4m
from playwright.sync_api import sync_playwright
from serving import Serving, serving
from tiny_artifact import NOTICE, tiny_model, write_artifact
from tiny_clip import tiny_clip_model, write_clip_artifact

from emojax.cli import main
from emojax.data.synthetic.files import write_wav
from emojax.labels import ACTION_UNIT_NAMES, AU_COLUMNS, SEVEN
from emojax.runtime import load
from emojax.runtime.looking import Looking, look
from emojax.runtime.process import rows_of
from emojax.runtime.rows import column_types
from emojax.runtime.sources import Frame
from emojax.runtime.tables import csv_text
from emojax.runtime.video_writer import VideoWriter
from emojax.video import read_frames

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    """15 action units and seven emotions that follow the brightness of a face."""
    return write_artifact(tmp_path_factory.mktemp("units") / "units", tiny_model())


@pytest.fixture(scope="module")
def app(artifact: Path) -> Iterator[Serving]:
    with serving("--model", artifact, "faces", "--detect-every", "1") as running:
        yield running


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cameras")

    def film(people: int) -> Path:
        path = folder / f"{people}.y4m"
        return path if path.exists() else write_y4m(path, list(draw_people(people, 30)))

    return film


@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    with sync_playwright() as playwright:
        running = Browsers(playwright)
        yield running
        running.close()


def bars(page: Any) -> dict[str, float]:
    found = page.eval_on_selector_all(
        ".strip:first-child .bar",
        "all => all.map(bar => [bar.dataset.name, bar.querySelector('.value').textContent])",
    )
    return {name: float(value) for name, value in found}


def saved(page: Any, click: str) -> bytes:
    with page.expect_download() as download:
        page.click(click)
    return Path(download.value.path()).read_bytes()


def predicted(watched: Watched, artifact: Path) -> str:
    """The CSV that the runner makes of the frames that were answered."""
    sent = {}
    for message in watched.sent:
        if isinstance(message, bytes):
            number, seconds = struct.unpack_from("<Id", message)
            sent[number] = Frame(
                Path("camera"),
                number,
                seconds,
                cv2.imdecode(np.frombuffer(message[12:], np.uint8), cv2.IMREAD_COLOR),
            )
    frames = [sent[result["frame"]] for result in watched.results()]
    predictor = load(artifact)
    rows = [row for seen in look(frames, predictor, Looking()) for row in rows_of(seen, predictor)]
    return csv_text(column_types(predictor.spec), rows)


def test_the_camera_moves_bars_and_its_rows_are_those_of_predict(
    app: Serving, browsers: Browsers, camera, artifact: Path
) -> None:
    with browsers.browse(app, camera(1), accept_downloads=True) as watched:
        page = watched.page
        assert NOTICE in page.inner_text("#notice").lower() + page.inner_text("#notice")
        page.click("#camera")
        page.wait_for_selector(".strip .bar")
        assert [*bars(page)] == [*SEVEN, *AU_COLUMNS]
        for name in AU_COLUMNS:
            words = page.inner_text(f'.bar[data-name="{name}"]')
            assert ACTION_UNIT_NAMES[int(name[2:])] in words
        seen = set()
        for _ in range(20):
            page.wait_for_timeout(100)
            seen.add(bars(page)["AU01"])
        assert len(seen) > 3
        watched.wait_for_results(20)
        page.click("#pause")
        # The answers to the last frames are not shown any more: they are not saved either.
        text = saved(page, "#save").decode()
        shown = text.count("\n") - 1
        wanted = predicted(watched, artifact).splitlines()
        assert shown >= 18
        assert text.splitlines() == wanted[: shown + 1]
        rows = list(csv.DictReader(io.StringIO(text)))
        for row in rows:
            x, y, w, h = (int(row[side]) for side in "xywh")
            assert abs(x + w / 2 - WIDTH / 2) < 40
            assert abs(y + h / 2 - HEIGHT / 2) < 90
            assert 200 < w < 460
        # Looking back shows the frame of that moment with its box.
        page.fill("#scrub", "3")
        page.wait_for_timeout(500)
        x, y, w = (int(rows[3][side]) for side in "xyw")
        colour = page.eval_on_selector(
            "#view",
            f"view => [...view.getContext('2d').getImageData({x + w // 2}, {y}, 1, 1).data]",
        )
        assert colour[1] > 150
        assert max(colour[0], colour[2]) < 120
        assert bars(page)["AU01"] == pytest.approx(float(rows[3]["AU01_p"]), abs=0.006)
        page.click("#pause")
        watched.wait_for_results(len(watched.results()) + 5)
        page.click("#stop")


def test_three_faces_have_a_strip_each(app: Serving, browsers: Browsers, camera) -> None:
    with browsers.browse(app, camera(3), color_scheme="dark") as watched:
        page = watched.page
        page.click("#camera")
        page.wait_for_selector(".strip:nth-child(3)")
        watched.wait_for_results(10)
        titles = page.eval_on_selector_all(".strip h3", "all => all.map(one => one.textContent)")
        assert titles == ["Face 0", "Face 1", "Face 2"]
        page.wait_for_selector("#who option:nth-child(3)", state="attached")
        page.select_option("#who", "2")
        rows = watched.results()[-1]["rows"]
        lefts = [int(row[6]) for row in rows]
        assert [left // (WIDTH // 3) for left in lefts] == [0, 1, 2]


def test_a_real_clip_before_the_camera(
    app: Serving, browsers: Browsers, shared_data: Path, tmp_path: Path
) -> None:
    clip = shared_data / "crema_d" / "VideoFlash" / "1001_DFA_HAP_XX.flv"
    pictures = [frame.picture for frame in read_frames(clip)]
    film = write_y4m(tmp_path / "real.y4m", [cv2.resize(one, (WIDTH, HEIGHT)) for one in pictures])
    with browsers.browse(app, film) as watched:
        page = watched.page
        page.select_option("#model", "faces")
        page.click("#camera")
        page.wait_for_selector(".strip .bar")
        watched.wait_for_results(30)
        rows = [row for result in watched.results() for row in result["rows"]]
        found = [row[5] == "1" for row in rows]
        # The Haar cascade finds this face in each of the clip's frames.
        assert np.mean(found) > 0.95
        assert set(bars(page)) == {*SEVEN}


def test_nobody_in_view(app: Serving, browsers: Browsers, camera) -> None:
    with browsers.browse(app, camera(0)) as watched:
        watched.page.click("#camera")
        watched.page.wait_for_selector(".nobody")
        assert watched.page.inner_text(".nobody") == "No face in view"
        watched.wait_for_results(3)
        assert {row[5] for result in watched.results() for row in result["rows"]} == {"0"}


def test_a_camera_that_is_refused_or_missing(app: Serving, browsers: Browsers, camera) -> None:
    for film, allowed, words in (
        (camera(1), False, "The camera was refused."),
        (None, True, "There is no camera."),
    ):
        with browsers.browse(app, film, allowed=allowed) as watched:
            watched.page.click("#camera")
            watched.wait_for_words(words)
            assert watched.page.is_enabled("#camera")


def test_another_machine_s_camera_needs_https(browsers: Browsers, camera, tmp_path: Path) -> None:
    with (
        serving("--host", "0.0.0.0") as plain,
        browsers.browse(plain, camera(1), elsewhere=True) as watched,
    ):
        watched.wait_for_words("no camera to a page of another machine without https")
        assert "--certificate and --key" in watched.page.inner_text("#video-said")
        assert "go to the machine that serves" in watched.page.inner_text("footer")
        watched.page.click("#camera")
        watched.wait_for_words("no camera to a page of another machine without https")
        assert watched.results() == []
    made = make_certificate(tmp_path)
    with (
        serving("--host", "0.0.0.0", *made.words, trusts=made.trusts) as secure,
        browsers.browse(secure, camera(1), elsewhere=True) as watched,
    ):
        watched.page.click("#camera")
        watched.wait_for_results(5)
        assert {row[5] for result in watched.results() for row in result["rows"]} == {"1"}


def test_models_and_precisions_change_while_it_runs_and_reload_keeps_the_mode(
    app: Serving, browsers: Browsers, camera
) -> None:
    with browsers.browse(app, camera(1)) as watched:
        page = watched.page
        page.click("#camera")
        page.wait_for_selector('.bar[data-name="AU12"]')
        page.select_option("#model", "faces")
        page.wait_for_selector(".strip:not(:has(.bar[data-name='AU12']))")
        assert "does not read action units" in page.inner_text(".strip")
        page.select_option("#precision", "float16")
        page.wait_for_timeout(1500)
        models = [one for one in watched.received if one["type"] == "model"]
        assert (models[-1]["model"], models[-1]["precision"]) == ("faces", "float16")
        page.click("[data-mode=model]")
        card = page.locator('[data-model="faces"]')
        assert "0.714" in card.inner_text()
        assert "hiring" in card.inner_text()
        assert "Apache-2.0" in card.inner_text()
        page.locator('[data-model="units"] button').click()
        assert page.input_value("#model") == "units"
        assert app.taken() == 1
        page.reload()
        page.wait_for_selector("body[data-ready]")
        assert page.is_visible("#panel")
        assert not page.is_visible("#video")
        page.wait_for_timeout(500)
        assert app.taken() == 0


def test_pictures_chosen_dropped_and_pasted(
    app: Serving, browsers: Browsers, artifact: Path, astronaut_png: bytes, tmp_path: Path
) -> None:
    pair = tmp_path / "pair.png"
    pair.write_bytes(cv2.imencode(".png", list(draw_people(2, 8))[4])[1].tobytes())
    face = tmp_path / "face.png"
    face.write_bytes(astronaut_png)
    out = tmp_path / "out"
    assert main(["predict", str(pair), "--model", str(artifact), "--out", str(out)]) == 0
    with browsers.browse(app, accept_downloads=True) as watched:
        page = watched.page
        page.click("[data-mode=picture]")
        page.set_input_files("#choose-input", [pair, face])
        page.wait_for_selector(".picture:nth-child(2) .strip")
        counts = page.eval_on_selector_all(
            ".picture", "all => all.map(one => one.querySelectorAll('.strip').length)"
        )
        assert counts == [2, 1]
        first = ".picture:nth-child(1) .tools button"
        text = (out / "predictions.csv").read_text().replace(str(pair), "pair.png")
        assert saved(page, f"{first}:nth-of-type(2)").decode() == text
        copy = (out / "annotated" / "pair.png").read_bytes()
        assert saved(page, f"{first}:nth-of-type(1)") == copy
        both = list(csv.DictReader(io.StringIO(saved(page, "#save-all").decode())))
        assert [row["file"] for row in both] == ["pair.png", "pair.png", "face.png"]
        page.click(f"{first}:nth-of-type(3)")
        assert page.locator(".picture").count() == 1
        for kind, field in (("drop", "dataTransfer"), ("paste", "clipboardData")):
            page.evaluate(
                """([kind, field, text]) => {
                  const files = new DataTransfer();
                  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
                  const file = new File([bytes], `${kind}.png`);
                  files.items.add(file);
                  const made = kind === "drop" ? DragEvent : ClipboardEvent;
                  document.dispatchEvent(new made(kind, {[field]: files, cancelable: true}));
                }""",
                [kind, field, base64.b64encode(pair.read_bytes()).decode()],
            )
            page.wait_for_selector(f"text={kind}.png: 2 faces")
        page.set_input_files(
            "#choose-input", {"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"}
        )
        page.wait_for_selector("text=no.png: no container")
        # A refused file is told on the page, and by the browser to those who look for it.
        assert all("400" in line for line in watched.console)
        watched.console.clear()


def test_where_the_network_looks_is_shown_for_pictures_and_for_a_paused_frame(
    app: Serving, browsers: Browsers, camera, tmp_path: Path
) -> None:
    pair = tmp_path / "pair.png"
    pair.write_bytes(cv2.imencode(".png", list(draw_people(2, 8))[4])[1].tobytes())
    with browsers.browse(app, camera(1), accept_downloads=True) as watched:
        page = watched.page
        page.click("#camera")
        watched.wait_for_results(4)
        assert page.locator(".looks").count() == 0
        page.click("#pause")
        page.click("#paused-heat summary")
        page.select_option("#paused-heat select", "AU12")
        page.click("#paused-heat button")
        page.wait_for_selector("#paused-heat img")
        words = page.inner_text("#paused-heat figcaption")
        value = page.inner_text('.bar[data-name="AU12"] .value')
        assert f"Face 0 from the left: AU12 lip corner puller {value}; " in words
        # Another frame's heat would be told under this frame's name.
        page.fill("#scrub", "1")
        page.wait_for_selector("#paused-heat img", state="detached")
        page.click("#pause")
        page.wait_for_selector("#paused-heat .looks", state="detached")
        page.click("#stop")
        page.select_option("#model", "faces")
        page.click("[data-mode=picture]")
        page.set_input_files("#choose-input", pair)
        page.wait_for_selector(".picture .strip:nth-child(2)")
        page.click(".picture summary")
        options = page.eval_on_selector_all(
            ".looks option", "all => all.map(one => one.value || one.textContent)"
        )
        assert options == ["highest emotion", *SEVEN]
        page.click(".looks .tools button")
        page.wait_for_selector(".heat img")
        assert page.eval_on_selector(".heat img", "picture => picture.naturalWidth") > 640
        assert page.get_attribute(".heat img", "alt") == (
            "The faces of pair.png, what the network goes by in orange"
        )
        lines = page.eval_on_selector_all(".heat p", "all => all.map(one => one.textContent)")
        assert [line.rpartition(";")[0][:-1] for line in lines] == [
            f"Face {number} from the left: happiness 0.8" for number in (0, 1)
        ]
        assert all(line.endswith("with the framed square covered") for line in lines)
        answer = app.predict(pair.read_bytes(), name="pair.png", model="faces", form="heat")
        assert saved(page, ".heat button") == answer.body


def test_every_unit_has_a_drawing_of_its_own_that_is_no_text(
    app: Serving, browsers: Browsers, camera
) -> None:
    with browsers.browse(app, camera(1)) as watched:
        page = watched.page
        page.click("#camera")
        page.wait_for_selector(".strip .drawing")
        found = page.eval_on_selector_all(
            ".bar:has(.drawing)",
            """all => all.map(bar => [bar.dataset.name, ...["viewBox", "aria-hidden"].map(
                 name => bar.querySelector("svg").getAttribute(name)),
               bar.querySelector("svg").innerHTML, bar.querySelector("svg").clientWidth])""",
        )
        assert [name for name, *_ in found] == [*AU_COLUMNS]
        assert len({drawing for _, _, _, drawing, _ in found}) == len(AU_COLUMNS)
        for _, _, hidden, drawing, width in found:
            assert hidden == "true"
            assert width > 40
            assert "moved" in drawing
            assert "arrow" in drawing
            assert "NaN" not in drawing
            assert "undefined" not in drawing
        page.uncheck("#explain")
        assert not page.is_visible(".drawing")


def test_a_video_file_plays_and_all_its_frames_can_be_saved(
    app: Serving, browsers: Browsers, artifact: Path, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    with VideoWriter(film, 10.0) as writer:
        for number, frame in enumerate(draw_people(1, 25)):
            writer.write(frame, number / 10)
    out = tmp_path / "out"
    words = ["--model", str(artifact), "--out", str(out), "--no-annotate"]
    assert main(["predict", str(film), *words]) == 0
    with browsers.browse(app, accept_downloads=True) as watched:
        page = watched.page
        page.set_input_files("#file-input", film)
        page.wait_for_selector(".strip .bar")
        watched.wait_for_words("The video is over.")
        seconds = [result["timestamp"] for result in watched.results()]
        assert seconds == sorted(seconds)
        assert seconds[-1] <= 2.5
        assert {row[0] for result in watched.results() for row in result["rows"]} == {"film.mp4"}
        text = saved(page, "#every-frame").decode()
        assert text == (out / "predictions.csv").read_text().replace(str(film), "film.mp4")


# Of each canvas the first row's colour from left to right, as far from its ground as it is.
ROW_OF_A_TIMELINE = """all => all.map(canvas => {
  const left = 0.35 * canvas.width, pen = canvas.getContext("2d");
  const y = Math.round(0.5 * parseFloat(getComputedStyle(document.documentElement).fontSize));
  const line = pen.getImageData(left, y, canvas.width - left - 4, 1).data;
  return Array.from({length: line.length / 4}, (_, x) => line[4 * x + 1] - line[4 * x]);
})"""
NO_FILM = {"name": "no.mp4", "mimeType": "video/mp4"}


def test_a_clip_is_shown_by_frames_and_sound_together_and_alone(
    browsers: Browsers, tmp_path: Path
) -> None:
    loud, mute, sound = tmp_path / "loud.mp4", tmp_path / "mute.mp4", tmp_path / "sound.wav"
    tone = np.sin(np.arange(32_000) / 8) * np.linspace(0, 9000, 32_000)
    write_wav(sound, tone.astype(np.int16), 16_000)
    frames = list(draw_people(1, 20))
    for path, voice in ((loud, sound), (mute, None)):
        with VideoWriter(path, 10.0, sound_from=voice) as writer:
            for number, frame in enumerate(frames):
                writer.write(frame, number / 10)
    folder = write_clip_artifact(tmp_path / "clips", tiny_clip_model())
    wanted = {}
    for path in (loud, mute, sound):
        out = tmp_path / path.stem
        words = ["--model", str(folder), "--out", str(out), "--no-annotate"]
        assert main(["predict", str(path), *words]) == 0
        wanted[path] = (out / "predictions.csv").read_text().replace(str(path), "clip.mp4")
    with serving("--model", folder, "faces") as clips, browsers.browse(clips) as watched:
        page = watched.page
        found = {
            only: clips.predict(loud.read_bytes(), name="clip.mp4", form="csv", only=only).body
            for only in ("both", "frames", "sound")
        }
        assert found["both"].decode() == wanted[loud]
        # Frames alone are what is left of a film without its sound.
        assert found["frames"].decode() == wanted[mute]
        assert found["sound"] not in (found["both"], found["frames"])
        heard = clips.predict(sound.read_bytes(), name="clip.mp4", form="csv")
        assert heard.body.decode() == wanted[sound]
        page.click("#camera")
        watched.wait_for_words("This model looks at clips.")
        page.click("[data-mode=clip]")
        page.set_input_files("#clip-input", loud)
        page.wait_for_selector(".sides article:nth-child(3)")
        titles = page.eval_on_selector_all(".sides h3", "all => all.map(one => one.textContent)")
        assert titles == ["Frames and sound", "Frames alone", "Sound alone"]
        assert all("on average" in one.inner_text() for one in page.locator(".sides article").all())
        assert page.eval_on_selector("#heard > img", "picture => picture.naturalHeight") == 64
        # An answer lasts until the next one: the rows have no gaps.
        strengths = page.eval_on_selector_all(".sides canvas", ROW_OF_A_TIMELINE)
        for row in strengths:
            assert min(row) > 0.5 * max(row) > 0
        assert page.is_hidden("#clip-unplayable")
        page.click("#heard summary")
        page.click("#heard .looks button")
        page.wait_for_selector("#heard .heat img")
        assert "by the sound alone: " in page.inner_text("#heard figcaption")
        found = Axe().run(page).response["violations"]
        assert [one for one in found if one["impact"] in ("serious", "critical")] == []
        page.set_input_files("#clip-input", sound)
        page.wait_for_selector("#clip-video.heard")
        page.wait_for_selector(".sides article:nth-child(3)")
        assert page.inner_text('[data-side="frames"] .verdict') == "nothing to go by"
        assert page.locator('[data-side="sound"] canvas').count() == 1
        page.set_input_files("#clip-input", {**NO_FILM, "buffer": b"no film"})
        page.wait_for_selector("#clip-unplayable:not([hidden])")
        page.wait_for_selector("#clip-said:has-text('no.mp4: ')")
        assert all("400" in line for line in watched.console)
        watched.console.clear()
        page.select_option("#model", "faces")
        page.wait_for_selector("#clip-said:has-text('single faces')")


# What the keyboard has to reach: whatever can be pressed, chosen or followed.
REACHABLE = """() => [...document.querySelectorAll("a[href], button, select, input, summary")]
  .filter(one => !one.disabled && one.checkVisibility() && one.type !== "file")
  .map(one => one.id || one.textContent.trim())"""
FOCUSED = "() => document.activeElement.id || document.activeElement.textContent.trim()"


def test_every_control_is_reached_by_keyboard_and_axe_finds_no_serious_fault(
    app: Serving, browsers: Browsers, camera, astronaut_png: bytes
) -> None:
    with browsers.browse(app, camera(1)) as watched:
        page = watched.page
        for mode in ("video", "picture", "model"):
            page.focus(f"[data-mode={mode}]")
            page.keyboard.press("Enter")
            if mode == "video":
                page.focus("#camera")
                page.keyboard.press("Space")
                page.wait_for_selector("#past:not([hidden])")
                page.focus("#pause")
                page.keyboard.press("Enter")
            if mode == "picture":
                file = {"name": "a.png", "mimeType": "image/png", "buffer": astronaut_png}
                page.set_input_files("#choose-input", file)
                page.wait_for_selector("#pictures .strip")
            if mode in ("video", "picture"):
                page.focus(f"#{mode} .looks summary")
                page.keyboard.press("Enter")
                page.focus(f"#{mode} .looks .tools button")
                page.keyboard.press("Enter")
                page.wait_for_selector(f"#{mode} .heat img")
            if mode == "model":
                page.focus("summary")
                page.keyboard.press("Enter")
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                found = Axe().run(page).response["violations"]
                serious = [one for one in found if one["impact"] in ("serious", "critical")]
                assert serious == [], json.dumps(serious, indent=1)[:3000]
            wanted = set(page.evaluate(REACHABLE))
            page.evaluate("document.activeElement.blur()")
            reached = set()
            for _ in range(2 * len(wanted) + 4):
                page.keyboard.press("Tab")
                reached.add(page.evaluate(FOCUSED))
            assert wanted <= reached, wanted - reached
            assert len(wanted) > 5


def test_nothing_is_wider_than_the_screen(app: Serving, browsers: Browsers, camera) -> None:
    with browsers.browse(app, camera(3)) as watched:
        page = watched.page
        page.click("#camera")
        page.wait_for_selector(".strip:nth-child(3)")
        page.click("#pause")
        page.click("#paused-heat summary")
        page.click("#paused-heat button")
        page.wait_for_selector(".heat img")
        for width, height in ((360, 640), (3840, 2160)):
            page.set_viewport_size({"width": width, "height": height})
            for mode in ("video", "picture", "model"):
                page.click(f"[data-mode={mode}]")
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, (mode, width)
                letter = page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
                assert letter >= (15 if width < 3000 else 24)


def test_a_tab_without_a_place_is_told_and_a_server_that_ends_too(
    browsers: Browsers, camera
) -> None:
    with serving("--sessions", "1") as small:
        with small.stream(), browsers.browse(small, camera(1), quiet=False) as watched:
            watched.page.click("#camera")
            watched.wait_for_words("1 places are taken")
            assert watched.page.is_enabled("#camera")
        with browsers.browse(small, camera(1), quiet=False) as watched:
            watched.page.click("#camera")
            watched.wait_for_results(2)
            small.process.terminate()
            watched.wait_for_words("The server has ended")
