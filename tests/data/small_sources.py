"""A small, whole source for each builder, in its published layout, with many files to damage.

Drawing takes most of the time, so one person is drawn, made small, and copied
under the names of others.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import re
import shutil
import wave
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from emojax.audio import PRESETS
from emojax.data.build import BuildOptions, default_spec
from emojax.data.synthetic.files import write_avi, write_flv, write_wav
from emojax.data.synthetic.layouts import write_ck_plus, write_crema_d, write_disfa, write_mmi
from emojax.labels import CREMA_D_EMOTIONS
from emojax.spec import InputSpec
from emojax.video import read_frames

_WIDTH = 96
_RATE_HZ = 16_000
_HEARD = InputSpec(sound=PRESETS["log_mel"])


@dataclasses.dataclass(frozen=True)
class Layout:
    """A source, and how its files relate to the rows of a build."""

    name: str
    """The builder's."""
    write: Callable[[Path, int], None]
    """Writes the whole source, of about so many groups of files, into an empty folder."""
    group: Callable[[str], str | None]
    """By a file's path: what it shares rows with, and what the keys of those rows hold;
    None for a file that no build reads."""
    options: BuildOptions
    links_may_lead_out: bool = False
    """The list of files is its user's own (`manifest`): links are followed."""


def _shrunk(picture: np.ndarray) -> np.ndarray:
    height = 2 * round(picture.shape[0] * _WIDTH / picture.shape[1] / 2)
    return cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA)


def _shrunk_video(path: Path, frames: int | None = None) -> list[np.ndarray]:
    read = (_shrunk(frame.picture) for frame in read_frames(path))
    return list(itertools.islice(read, frames))


def _noise(rng: np.random.Generator, width: int = 48, height: int = 48) -> np.ndarray:
    small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _tone(seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * _RATE_HZ)) / _RATE_HZ
    return (8000 * np.sin(2 * np.pi * 300 * time)).astype(np.int16)


def _write_clip(path: Path, frames: Sequence[np.ndarray], video: str, sound: str | None) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
        if sound is not None:
            heard = container.add_stream(sound, rate=48_000)
            heard.layout = "mono"
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            # Silence would count as no sound.
            time = np.arange(48_000 * len(frames) // 25, dtype=np.float32) / 48_000
            tone = 0.25 * np.sin(2 * np.pi * 300 * time)
            block = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            block.sample_rate, block.pts = 48_000, 0
            block.time_base = Fraction(1, 48_000)
            resampler = av.AudioResampler(heard.format, "mono", 48_000, heard.frame_size or 1024)
            for part in [*resampler.resample(block), *resampler.resample(None)]:
                container.mux(heard.encode(part))
            container.mux(heard.encode(None))


# manifest

_CLIPS = {
    "avi": ("mjpeg", None),
    "mp4": ("libx264", "aac"),
    "mov": ("libx264", "aac"),
    "mkv": ("libx264", "libopus"),
    "webm": ("libvpx", "libopus"),
    "flv": ("flv", "libmp3lame"),
    "ts": ("libx264", "mp2"),
    "mpg": ("mpeg1video", "mp2"),
}
_PICTURES = ("png", "jpg", "bmp", "gif", "webp", "tif", "pgm", "ppm")
_COLUMNS = ("path", "subject", "emotion", "AU12", "audio_path", "spectrogram_path")


def write_manifest_rows(folder: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write the CSV of a manifest; cells may hold anything that UTF-8 can."""
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(rows)


def read_manifest_rows(folder: Path) -> list[list[str]]:
    """Return the rows below the header."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def _write_manifest(folder: Path, groups: int) -> None:
    rng = np.random.default_rng(1)
    rows: list[tuple[str, ...]] = []

    def add(name: str, sound: str = "", spectrogram: str = "") -> None:
        rows.append((name, f"P{len(rows) % 7}", "happiness", "1", sound, spectrogram))

    for number in range(max(1, round(groups / 23))):
        for suffix in _PICTURES:
            add(f"p{number}.{suffix}")
            picture = _noise(rng)
            # PGM is gray by its name.
            picture = picture[..., 0] if suffix == "pgm" else picture
            assert cv2.imwrite(str(folder / rows[-1][0]), picture)
        for suffix, (video, sound) in _CLIPS.items():
            add(f"c{number}.{suffix}")
            _write_clip(folder / rows[-1][0], [_noise(rng) for _ in range(10)], video, sound)
        for item in range(3):
            add(f"s{number}{item}.png", sound=f"s{number}{item}.wav")
            assert cv2.imwrite(str(folder / rows[-1][0]), _noise(rng))
            write_wav(folder / rows[-1][4], _tone(0.3), _RATE_HZ)
        for item in range(4):
            add(f"a{number}{item}.png", spectrogram=f"a{number}{item}.npy")
            assert cv2.imwrite(str(folder / rows[-1][0]), _noise(rng))
            values = rng.random((64, 96)).astype(np.float32)
            np.save(folder / rows[-1][5], values if item % 2 else np.uint8(values * 255))
    write_manifest_rows(folder, rows)


def _manifest_group(path: str) -> str | None:
    if path == "manifest.csv":
        return None
    stem, suffix = path.rsplit(".", 1)
    return f"{stem}." if suffix in ("wav", "npy") or path[0] in "sa" else path


# fer2013


def _write_fer2013_folders(folder: Path, groups: int) -> None:
    rng = np.random.default_rng(2)
    emotions = itertools.cycle(("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"))
    for usage, share in (("Training", 0.5), ("PublicTest", 0.25), ("PrivateTest", 0.25)):
        for number in range(round(groups * share)):
            part = folder / ("train" if usage == "Training" else "test") / next(emotions)
            part.mkdir(parents=True, exist_ok=True)
            gray = cv2.cvtColor(_noise(rng), cv2.COLOR_BGR2GRAY)
            assert cv2.imwrite(str(part / f"{usage}_{number:08d}.jpg"), gray)


VOTES_HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)


def fer2013_lines(count: int) -> list[bytes]:
    """Return the lines of a small `fer2013.csv`, the header first."""
    rng = np.random.default_rng(3)
    usages = ("Training", "Training", "PublicTest", "PrivateTest")
    lines = [b"emotion,pixels,Usage"]
    for number in range(count):
        pixels = " ".join(map(str, rng.integers(0, 256, 48 * 48)))
        lines.append(f"{number % 7},{pixels},{usages[number % 4]}".encode())
    return lines


def _write_fer2013_table(folder: Path, groups: int) -> None:
    lines = fer2013_lines(groups)
    (folder / "fer2013.csv").write_bytes(b"\n".join(lines) + b"\n")
    votes = [VOTES_HEADER]
    for number, line in enumerate(lines[1:]):
        usage = line.rsplit(b",", 1)[1].decode()
        votes.append(f"{usage},fer{number:07d}.png,1,2,0,0,0,4,0,0,3,0")
    (folder / "fer2013new.csv").write_text("\n".join(votes) + "\n")


# ck_plus


def _write_ck_plus(folder: Path, groups: int) -> None:
    drawn = write_ck_plus(folder / "drawn", seed=4, people=1, sequences=2, progress=False)
    for number in range(groups):
        subject, sequence = f"S{100 + number % 8:03d}", f"{number // 8 + 1:03d}"
        old = f"{number % 2 + 1:03d}"
        pictures = sorted((drawn / "cohn-kanade-images" / "S005" / old).iterdir())
        images = folder / "cohn-kanade-images" / subject / sequence
        images.mkdir(parents=True)
        stem = f"{subject}_{sequence}"
        for place, picture in enumerate((pictures[0], *pictures[-3:]), 1):
            small = _shrunk(cv2.imread(str(picture)))
            assert cv2.imwrite(str(images / f"{stem}_{place:08d}.png"), small)
        for kind in ("Emotion", "FACS"):
            part = folder / kind / subject / sequence
            part.mkdir(parents=True)
            for file in (drawn / kind / "S005" / old).iterdir():
                shutil.copyfile(file, part / f"{stem}_00000004_{kind.lower()}.txt")
    shutil.rmtree(drawn)


def _ck_plus_group(path: str) -> str | None:
    return "/".join(path.split("/")[1:3])


# mmi


def _write_mmi(folder: Path, groups: int) -> None:
    drawn = write_mmi(folder / "drawn", seed=5, people=1, clips=2, progress=False)
    small = {
        session: _shrunk_video(next((drawn / "Sessions" / session).glob("*.avi")))
        for session in ("1", "2")
    }
    for number in range(1, groups + 1):
        old = "1" if number % 2 else "2"
        session = folder / "Sessions" / str(number)
        session.mkdir(parents=True)
        stem, person = f"S{number % 6 + 1:03d}-{number:03d}", number % 6 + 1
        write_avi(session / f"{stem}.avi", small[old], frames_per_second=24)
        for file in (drawn / "Sessions" / old).glob("*.xml"):
            name = re.sub(r"^S001-00[0-9]", stem, file.name)
            text = re.sub(r"S001-00[0-9]", stem, file.read_text())
            (session / name).write_text(re.sub(r'id="1"', f'id="{person}"', text))
    shutil.rmtree(drawn)


def _mmi_group(path: str) -> str | None:
    return "/".join(path.split("/")[:2]) + "/"


# disfa


def _write_disfa(folder: Path, groups: int) -> None:
    drawn = write_disfa(folder / "drawn", seed=6, people=1, expressions=1, progress=False)
    small = _shrunk_video(drawn / "Video_LeftCamera" / "LeftVideoSN001_comp.avi", frames=12)
    (folder / "Video_LeftCamera").mkdir()
    for number in range(1, groups + 1):
        person = f"SN{number:03d}"
        video = folder / "Video_LeftCamera" / f"LeftVideo{person}_comp.avi"
        write_avi(video, small, frames_per_second=20)
        coded = folder / "ActionUnit_Labels" / person
        coded.mkdir(parents=True)
        for file in (drawn / "ActionUnit_Labels" / "SN001").iterdir():
            lines = file.read_text().splitlines(keepends=True)[:12]
            (coded / file.name.replace("SN001", person)).write_text("".join(lines))
    shutil.rmtree(drawn)


def _disfa_group(path: str) -> str | None:
    match = re.search(r"SN[0-9]{3}", path)
    return match[0] if match else None


# crema_d


def _write_crema_d(folder: Path, groups: int) -> None:
    drawn = write_crema_d(folder / "drawn", seed=7, people=1, clips=1, progress=False)
    clip = next((drawn / "VideoFlash").iterdir())
    frames, samples = _shrunk_video(clip, frames=6), _tone(0.3)
    for part in ("VideoFlash", "AudioWAV", "processedResults"):
        (folder / part).mkdir()
    names = [
        f"{1001 + number // 6}_DFA_{list(CREMA_D_EMOTIONS)[number % 6]}_XX"
        for number in range(groups)
    ]
    for name in names:
        video = folder / "VideoFlash" / f"{name}.flv"
        write_flv(video, frames, Fraction(30_000, 1001), samples, _RATE_HZ)
        write_wav(folder / "AudioWAV" / f"{name}.wav", samples, _RATE_HZ)
    for table, old, copies in (
        ("VideoDemographics.csv", "1001", sorted({name[:4] for name in names})),
        ("processedResults/tabulatedVotes.csv", clip.stem, names),
    ):
        header, *lines = (drawn / table).read_text().splitlines()
        rows = [line.replace(old, copy) for copy in copies for line in lines]
        (folder / table).write_text("\n".join([header, *rows]) + "\n")
    named = ["Stimulus_Number,Filename", *(f"{i},{name}" for i, name in enumerate(names, 1))]
    (folder / "SentenceFilenames.csv").write_text("\n".join(named) + "\n")
    shutil.rmtree(drawn)


def _crema_d_group(path: str) -> str | None:
    return Path(path).stem


# ravdess


def _write_ravdess(folder: Path, groups: int) -> None:
    rng = np.random.default_rng(8)
    frames = [_noise(rng) for _ in range(10)]
    for actor in range(1, round(groups / 9) + 1):
        part = folder / f"Actor_{actor:02d}"
        part.mkdir()
        for emotion in range(1, 9):
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            with wave.open(str(part / name), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(48_000)
                file.writeframes(np.repeat(_tone(0.3), 3).tobytes())
        name = f"01-01-03-02-02-02-{actor:02d}.mp4"
        _write_clip(part / name, frames, "libx264", "aac")


def _ravdess_group(path: str) -> str | None:
    return Path(path).stem


def _itself(path: str) -> str | None:
    return path if path.endswith(".jpg") else None


LAYOUTS: dict[str, Layout] = {
    "manifest": Layout(
        "manifest",
        _write_manifest,
        _manifest_group,
        BuildOptions(input_spec=_HEARD, faces="ready"),
        links_may_lead_out=True,
    ),
    "fer2013": Layout("fer2013", _write_fer2013_folders, _itself, BuildOptions()),
    "fer2013.csv": Layout("fer2013", _write_fer2013_table, lambda path: None, BuildOptions()),
    "ck_plus": Layout("ck_plus", _write_ck_plus, _ck_plus_group, BuildOptions()),
    "mmi": Layout("mmi", _write_mmi, _mmi_group, BuildOptions()),
    "disfa": Layout("disfa", _write_disfa, _disfa_group, BuildOptions()),
    "crema_d": Layout(
        "crema_d",
        _write_crema_d,
        _crema_d_group,
        BuildOptions(input_spec=default_spec("crema_d"), clip_frames=6),
    ),
    "ravdess": Layout(
        "ravdess",
        _write_ravdess,
        _ravdess_group,
        BuildOptions(input_spec=default_spec("ravdess"), faces="ready", clip_frames=10),
    ),
}
"""The sources by name; `fer2013` has two."""
