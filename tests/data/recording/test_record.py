from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from emojax.camera import Camera, open_camera
from emojax.commands.data import record as command
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.manifest import read_manifest
from emojax.data.recording import record as module
from emojax.data.recording.clip_file import new_clip
from emojax.data.recording.prompts import Prompt, check_name, list_prompts
from emojax.data.recording.record import (
    COLUMNS,
    LOST,
    Session,
    list_takes,
    read_rows,
    record,
    tidy_up,
)
from emojax.data.shards import load_split
from emojax.data.splits import SPLITS
from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import make_scene
from emojax.data.synthetic.files import write_avi
from emojax.data.synthetic.people import make_person
from emojax.errors import UserError
from emojax.labels import ACTION_UNITS, AU_COLUMNS, PROTOTYPES, SEVEN
from emojax.video import read_frames

if TYPE_CHECKING:
    from conftest import RunPython

RATE_HZ = 25
SMILE = Prompt("happiness", "happiness", "Smile.", emotion="happiness")
JAW = Prompt("AU26", "AU26, jaw drop", "Drop.", action_unit="AU26")


def write_film(path: Path, frames: int) -> str:
    """A film to rehearse with: frame i is gray 4 i, up to 252."""
    grays = (min(4 * i, 252) for i in range(frames))
    write_avi(path, (np.full((48, 64, 3), gray, np.uint8) for gray in grays), RATE_HZ)
    return str(path)


class Watcher:
    """A view that keeps what it was told, and stops the recording where it is asked to."""

    def __init__(self, stop_at: tuple[int, int] | None = None) -> None:
        self.told: list[str] = []
        self.frames: list[int] = []
        self._stop_at = stop_at

    def begin(self, prompt: Prompt, place: str) -> None:
        self.told.append(f"{place} {prompt.name}")
        self.frames.append(0)

    def wait(self, picture: np.ndarray | None, left_s: float) -> None:
        self.told.append("wait")

    def record(self, picture: np.ndarray, left_s: float) -> None:
        self.frames[-1] += 1
        if self._stop_at == (len(self.frames), self.frames[-1]):
            raise KeyboardInterrupt

    def end(self, result: str) -> None:
        self.told.append(result)


def session(out: Path, **changes: Any) -> Session:
    settings = {"subject": "P01", "prompts": (SMILE, JAW), "seconds": 0.4, "countdown_s": 0.0}
    return Session(out=out, **{**settings, **changes})


def rehearse(asked: Session, film: str, view: Watcher | None = None) -> int:
    with open_camera(film, LOST) as camera:
        return record(asked, camera, view or Watcher())


def files_in(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# What is asked for.


def test_prompts_ask_for_the_prototypes_and_label_no_more_than_was_asked() -> None:
    emotions, units = list_prompts("emotions"), list_prompts("action_units")
    assert list_prompts("both") == (*emotions, *units)
    assert [prompt.emotion for prompt in emotions] == list(SEVEN)
    assert {prompt.action_unit for prompt in emotions} == {""}
    assert [prompt.action_unit for prompt in units] == list(AU_COLUMNS)
    assert {prompt.emotion for prompt in units} == {""}
    for prompt in emotions[1:]:
        numbers = "+".join(map(str, PROTOTYPES[prompt.emotion]))
        assert prompt.instruction.endswith(f"(AU{numbers}).")
    assert "Cheeks up, mouth corners up (AU6+12)." in [prompt.instruction for prompt in emotions]
    assert units[ACTION_UNITS.index(26)].title == "AU26, jaw drop"
    for prompt in (*emotions, *units):
        assert prompt.instruction.isascii()
        assert prompt.instruction[0].isupper()


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "a\\b", "/etc", ".hidden", "-rf", "a b", "a\n", "a\0"),
        *("Ștefan", "a:b", "x" * 65, "CON ", "a.mp4"),
    ],
)
def test_names_that_could_leave_their_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"subject .*: use a code such as P01"):
        session(tmp_path, subject=name)
    with pytest.raises(UserError, match=r"prompt .*: use a code"):
        Prompt(name, "", "")
    assert list(tmp_path.iterdir()) == []
    assert check_name("P01-b_2", "subject") == "P01-b_2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompts": ()}, "nothing to record"),
        ({"repeat": 0}, "repeat=0"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"seconds": 0.1}, "seconds=0.1: wanted 0.2..600"),
        ({"countdown_s": -1.0}, "countdown=-1"),
        ({"domain": "a\nb"}, "wanted a plain name"),
        ({"domain": " a"}, "wanted a plain name"),
    ],
)
def test_settings_that_record_nothing_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        session(tmp_path, **change)


# What is recorded.


def test_clips_and_manifest_hold_what_was_shown(tmp_path: Path) -> None:
    out, view = tmp_path / "out", Watcher()
    film = write_film(tmp_path / "film.avi", 60)
    asked = session(out, repeat=2, domain="studio")
    assert rehearse(asked, film, view) == 4
    names = ["happiness_1", "AU26_1", "happiness_2", "AU26_2"]
    assert [take.path.stem for take in list_takes(asked)] == names
    assert files_in(out) == ["P01/" + f"{name}.mp4" for name in sorted(names)] + ["manifest.csv"]
    assert view.told[0::2] == [
        *("1 of 4 happiness", "2 of 4 AU26", "3 of 4 happiness", "4 of 4 AU26")
    ]
    assert view.told[1] == f"{out}/P01/happiness_1.mp4: 10 frames in 0.4 s"
    shown = [float(frame.picture.mean()) for frame in read_frames(film)]
    for number, name in enumerate(names):
        frames = list(read_frames(out / "P01" / f"{name}.mp4"))
        assert [round(frame.timestamp_s, 3) for frame in frames] == [
            round(i / RATE_HZ, 3) for i in range(10)
        ]
        # Ten frames each; the eleventh is where a clip sees that its time is over.
        levels = [float(frame.picture.mean()) for frame in frames]
        np.testing.assert_allclose(levels, shown[11 * number : 11 * number + 10], atol=2.5)
    rows = rows_of(out)
    assert tuple(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == [f"P01/{name}.mp4" for name in names]
    for row in rows:
        named = {name: cell for name, cell in row.items() if cell and name != "path"}
        label = {"emotion": "happiness"} if "happiness" in row["path"] else {"AU26": "1"}
        assert named == {"subject": "P01", "domain": "studio", **label}
    manifest = read_manifest(out)
    assert [row.emotion for row in manifest.rows] == ["happiness", None, "happiness", None]
    assert manifest.rows[0].action_units == (-1,) * 15
    assert manifest.rows[1].action_units == (-1,) * 14 + (1,)


def test_a_recording_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out, film = tmp_path / "out", write_film(tmp_path / "film.avi", 60)
    with pytest.raises(KeyboardInterrupt):
        rehearse(session(out, repeat=2), film, Watcher(stop_at=(2, 4)))
    # The clip that was being recorded is gone, the one before is whole and listed.
    assert files_in(out) == ["P01/happiness_1.mp4", "manifest.csv"]
    before = (out / "P01" / "happiness_1.mp4").read_bytes()
    view = Watcher()
    assert rehearse(session(out), film, view) == 1
    assert view.told[0] == "1 of 1 AU26"
    assert (out / "P01" / "happiness_1.mp4").read_bytes() == before
    assert rehearse(session(out), film) == 0
    assert rehearse(session(out, repeat=2), film) == 2
    assert len(rows_of(out)) == 4
    assert rehearse(session(out, subject="P02"), film) == 2
    assert [row["subject"] for row in rows_of(out)] == ["P01"] * 4 + ["P02"] * 2


def test_a_deleted_clip_is_recorded_again_and_listed_once(tmp_path: Path) -> None:
    out, film = tmp_path / "out", write_film(tmp_path / "film.avi", 40)
    rehearse(session(out), film)
    (out / "P01" / "happiness_1.mp4").unlink()
    assert rehearse(session(out, domain="later"), film) == 1
    assert [(row["path"], row["domain"]) for row in rows_of(out)] == [
        ("P01/AU26_1.mp4", ""),
        ("P01/happiness_1.mp4", "later"),
    ]


def test_labels_that_somebody_added_are_kept(tmp_path: Path) -> None:
    out, film = tmp_path / "out", write_film(tmp_path / "film.avi", 40)
    rehearse(session(out), film)
    text = (out / "manifest.csv").read_text()
    coded = text.replace("P01/happiness_1.mp4,P01,happiness,0", "").replace(
        "P01/happiness_1.mp4,P01,happiness,,", "P01/happiness_1.mp4,P01,happiness,0,"
    )
    assert coded != text
    (out / "manifest.csv").write_text(coded, encoding="utf-8-sig")
    rehearse(session(out, subject="P02"), film)
    assert rows_of(out)[0]["AU01"] == "0"
    assert len(rows_of(out)) == 4


def test_what_a_killed_recording_leaves_is_put_right(tmp_path: Path) -> None:
    out, film = tmp_path / "out", write_film(tmp_path / "film.avi", 40)
    rehearse(session(out), film)
    # Killed after the clip's rename and before the manifest's; another one in the middle.
    lines = (out / "manifest.csv").read_text().splitlines(keepends=True)
    (out / "manifest.csv").write_text("".join(lines[:-1]))
    (out / "P01" / ".happiness_2.mp4.partial").write_bytes(b"half a clip")
    tidy_up(session(out))
    assert (out / "manifest.csv").read_text() == "".join(lines)
    assert files_in(out) == ["P01/AU26_1.mp4", "P01/happiness_1.mp4", "manifest.csv"]


KILLED = """
import sys
from pathlib import Path
from emojax.commands.data.record import Record, run
print("ready", flush=True)
run(Record(subject="P01", out=Path(sys.argv[1]), camera=sys.argv[2], countdown=0.0, seconds=0.4,
           repeat=200, yes=True, prompts="action_units"))
"""


def test_a_kill_at_any_moment_loses_no_finished_clip(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.avi", 4_000)
    out = tmp_path / "out"
    prompts = list_prompts("action_units")
    listed = 0
    for moment in (0.05, 0.21):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, out, film], stdout=subprocess.PIPE, text=True
        ) as recording:
            deadline = time.monotonic() + 60
            while len(list(out.glob("P01/*.mp4"))) <= listed:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(moment)
            recording.send_signal(signal.SIGKILL)
        asked = session(out, prompts=prompts, repeat=200)
        clips = {path.name for path in out.glob("P01/*.mp4")}
        # At most the last one is not listed yet, and nothing is listed that is not there.
        named = {Path(row["path"]).name for row in rows_of(out)}
        assert named <= clips
        assert len(clips - named) <= 1
        tidy_up(asked)
        assert {Path(row["path"]).name for row in rows_of(out)} == clips
        assert [path for path in files_in(out) if "partial" in path] == []
        for name in sorted(clips)[:: max(1, len(clips) // 5)]:
            assert len(list(read_frames(out / "P01" / name))) == 10
        assert len(clips) > listed
        listed = len(clips)


def test_two_recordings_do_not_write_into_one_folder(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.avi", 40)
    with (
        module.claimed(tmp_path / "out"),
        pytest.raises(UserError, match="another recording is at work"),
    ):
        rehearse(session(tmp_path / "out"), film)
    assert rehearse(session(tmp_path / "out"), film) == 2


def test_names_that_differ_in_capitals_only_are_refused(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.avi", 40)
    rehearse(session(tmp_path / "out"), film)
    with pytest.raises(UserError, match="P01: is there already, and differs from 'p01'"):
        rehearse(session(tmp_path / "out", subject="p01"), film)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,subject,emotion\na.png,P1,fear\n", "its columns are path, subject, emotion"),
        (b"", "its columns are none"),
        (b"\xff\xfe", "can't be read"),
        (",".join(COLUMNS).encode() + b"\nonly,two\n", "not a manifest that a recording wrote"),
        (",".join(COLUMNS).encode() + b'\n"a\n', "not CSV"),
    ],
)
def test_a_manifest_of_another_kind_is_left_alone(
    tmp_path: Path, content: bytes, message: str
) -> None:
    film = write_film(tmp_path / "film.avi", 40)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        rehearse(session(tmp_path / "out"), film)
    assert (tmp_path / "out" / "manifest.csv").read_bytes() == content
    assert files_in(tmp_path / "out") == ["manifest.csv"]


# What goes wrong.


def test_a_camera_that_disappears_keeps_what_was_finished(tmp_path: Path) -> None:
    out, film = tmp_path / "out", write_film(tmp_path / "film.avi", 15)
    with pytest.raises(UserError, match=r"film\.avi: the video that stands in .* has ended"):
        rehearse(session(out), film)
    assert files_in(out) == ["P01/happiness_1.mp4", "manifest.csv"]
    assert len(rows_of(out)) == 1


class Capture:
    """What `cv2.VideoCapture` is to a camera: two empty pictures, some real ones, none."""

    opened = True
    pictures = 30
    last: Capture

    def __init__(self, index: int) -> None:
        self.index, self.reads, self.released = index, 0, False
        Capture.last = self

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.opened

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.reads += 1
        if not 2 < self.reads <= self.pictures:
            return False, None
        time.sleep(0.01)
        return True, np.full((47, 63, 3), 100, np.uint8)

    def set(self, *_: Any) -> None:
        pass

    def release(self) -> None:
        self.released = True


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Capture]]:
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    yield Capture
    Capture.opened, Capture.pictures = True, 30


def test_a_live_camera_is_timed_by_the_clock(tmp_path: Path, capture: type[Capture]) -> None:
    capture.pictures = 10**6
    view = Watcher()
    asked = session(tmp_path / "out", countdown_s=0.1)
    with open_camera("/dev/video3", LOST) as camera:
        assert record(asked, camera, view) == 2
    assert capture.last.index == 3
    assert capture.last.released
    # Looked at while the countdown runs, too.
    assert view.told.count("wait") >= 4
    frames = list(read_frames(tmp_path / "out" / "P01" / "happiness_1.mp4"))
    assert 0.2 < frames[-1].timestamp_s < 0.4
    # H.264 has even sides.
    assert frames[0].picture.shape == (46, 62, 3)
    assert float(frames[0].picture.mean()) == pytest.approx(100, abs=0.5)


def test_a_live_camera_that_is_unplugged_is_one_line(
    tmp_path: Path, capture: type[Capture]
) -> None:
    with (
        open_camera("0", LOST) as camera,
        pytest.raises(UserError, match="camera 0: disappeared: finished clips are kept; run"),
    ):
        record(session(tmp_path / "out"), camera, Watcher())
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("field", ["opened", "pictures"])
def test_no_camera_is_one_line(capture: type[Capture], field: str) -> None:
    setattr(capture, field, 0)
    with (
        pytest.raises(UserError, match="camera 0: no picture comes from it"),
        open_camera("0", LOST),
    ):
        pass
    assert capture.last.released


@pytest.mark.parametrize("name", ["", "film.avi", "-1", "https://example.org/a.mp4", "/dev/null"])
def test_a_camera_that_is_no_file_is_one_line(name: str) -> None:
    with pytest.raises(UserError), open_camera(name, LOST):
        pass


def test_a_camera_too_slow_for_a_clip_is_told(tmp_path: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    camera = Camera("camera 0", False, iter([(0.0, picture), (5.0, picture)]))
    with pytest.raises(UserError, match=r"camera 0: 1 pictures in 0\.4 s: too slow"):
        record(session(tmp_path / "out"), camera, Watcher())
    assert files_in(tmp_path / "out") == []


def test_a_camera_that_changes_its_size_costs_the_clip(tmp_path: Path) -> None:
    small, large = np.zeros((48, 64, 3), np.uint8), np.zeros((96, 128, 3), np.uint8)
    camera = Camera("camera 0", False, iter([(0.0, small), (0.1, large)]))
    with pytest.raises(UserError, match="changed from 64 x 48 to 128 x 96 pixels"):
        record(session(tmp_path / "out"), camera, Watcher())
    assert files_in(tmp_path / "out") == []


FULL_DISK = """
import resource, sys
from emojax.cli import run_guarded
from pathlib import Path
import numpy as np
from emojax.commands.data.record import Record, run
from emojax.data.synthetic.files import write_avi
rng = np.random.default_rng(0)
film = Path(sys.argv[1])
noise = (rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(60))
flat = (np.zeros((240, 320, 3), np.uint8) for _ in range(26))
write_avi(film, (frame for frames in (flat, noise) for frame in frames), 25)
# No file may grow beyond this: what a full disk is to a writer.
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
asked = Record(subject="P01", out=Path(sys.argv[2]), camera=str(film), countdown=0.0, seconds=1.0,
               yes=True)
sys.exit(run_guarded("emojax data", lambda: run(asked)))
"""


def test_a_full_disk_is_one_line_and_keeps_what_was_finished(
    tmp_path: Path, run_python: RunPython
) -> None:
    out = tmp_path / "out"
    done = run_python("-c", FULL_DISK, tmp_path / "film.avi", out)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{out}/P01/happiness_1.mp4: can't be written (File too large)" in done.stderr
    assert files_in(out) == ["P01/neutral_1.mp4", "manifest.csv"]
    assert len(list(read_frames(out / "P01" / "neutral_1.mp4"))) == 25


def test_a_manifest_that_cannot_be_written_keeps_the_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, film = tmp_path / "out", write_film(tmp_path / "film.avi", 40)
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if target.name == "manifest.csv":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UserError, match=r"manifest\.csv: can't be written \(No space left"):
        rehearse(session(out), film)
    assert files_in(out) == ["P01/happiness_1.mp4"]
    monkeypatch.undo()
    rehearse(session(out), film)
    assert [row["path"] for row in rows_of(out)] == ["P01/happiness_1.mp4", "P01/AU26_1.mp4"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.avi", 40)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="can't make the folder"):
        rehearse(session(tmp_path / "file" / "out"), film)
    with (
        pytest.raises(UserError, match=r"x\.mp4: can't be written"),
        new_clip(tmp_path / "gone" / "x.mp4"),
    ):
        pass


# The command.


def answer(*words: str) -> Callable[[str], str]:
    waiting = list(words)

    def reply(question: str) -> str:
        print(question, end="")
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    return reply


def test_the_person_is_told_where_the_clips_go_and_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = command.Record(out=out, camera=write_film(tmp_path / "film.avi", 200), seconds=0.4)
    monkeypatch.setattr("builtins.input", answer("P07", "n"))
    assert command.run(asked) == 0
    written = capsys.readouterr().out
    assert f"Clips of P07 are stored in {out}/P07 and listed in {out}/manifest.csv." in written
    assert "Nothing leaves this machine." in written
    assert written.index("Nothing leaves") < written.index("Go on? [y/N]")
    assert written.endswith("nothing was recorded\n")
    assert not out.exists()
    monkeypatch.setattr("builtins.input", answer())
    with pytest.raises(UserError, match="give --subject and --yes"):
        command.run(asked)
    assert not out.exists()


def test_the_command_records_and_says_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    film = write_film(tmp_path / "film.avi", 200)
    asked = command.Record(
        subject="P01", out=tmp_path / "out", camera=film, seconds=0.4, countdown=0.0, yes=True
    )
    assert command.run(asked) == 0
    written = capsys.readouterr().out
    assert "no window: no display is connected; the prompts stand here in the terminal" in written
    assert "2 of 7: happiness\n  Cheeks up, mouth corners up (AU6+12).\n" in written
    assert written.count(": 10 frames in 0.4 s") == 7
    assert "clips of 1 people\nthree people or more are needed" in written
    assert command.run(asked) == 0
    written = capsys.readouterr().out
    assert "7 clips are there already; --repeat 2 adds a round" in written
    assert "no window" not in written
    assert len(read_rows(tmp_path / "out" / "manifest.csv")) == 7


def test_what_was_recorded_builds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    rng = np.random.default_rng(0)
    for number in range(3):
        person = make_person(0, number)
        timeline = make_timeline(rng, [0.0] * 8 + [1.0] + [0.0] * 6, 16)
        frames = list(render_clip(person, timeline, make_scene(rng, "S1"), rng))
        film = tmp_path / f"{number}.avi"
        write_avi(film, frames, RATE_HZ)
        asked = session(
            out, subject=f"P{number}", prompts=(SMILE, JAW), seconds=0.24, domain="drawn"
        )
        rehearse(asked, str(film))
    built = build_dataset(
        "manifest", source=out, out=tmp_path / "built", options=BuildOptions(clip_frames=4)
    )
    paths: list[str] = []
    for split in SPLITS:
        arrays = load_split(built, split)
        assert len(arrays.subjects) == 1
        assert arrays.domains == ("drawn",)
        for index, path in enumerate(arrays.paths):
            paths.append(path)
            smiles = path.endswith("happiness_1.mp4")
            assert arrays.emotion[index] == (1 if smiles else -1)
            assert arrays.action_units[index].tolist() == [-1] * 14 + [-1 if smiles else 1]
            assert arrays.num_frames[index] == 4
            assert arrays.success[index].any()
    assert sorted(paths) == [
        f"P{number}/{name}_1.mp4" for number in range(3) for name in ("AU26", "happiness")
    ]
