"""Sound on its way into shards: what is cut, what is flagged, what is counted."""

from __future__ import annotations

import csv
import shutil
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import librosa
import numpy as np
import pytest

from emojax import audio, video
from emojax.data.build import BuildOptions, build_dataset
from emojax.data.cells import Job, Reading, load_cell, read_into_cell
from emojax.data.crema_d_votes import parse_clip_name
from emojax.data.examples import Example, ReadOptions, read_example
from emojax.data.manifest import read_manifest
from emojax.data.mel import make_mel_filters
from emojax.data.rows import Row
from emojax.data.shards import dataset_info, load_split
from emojax.data.sound import read_ready_spectrogram, read_spectrogram
from emojax.data.summary import contact_sheet, counts_table
from emojax.data.synthetic.files import write_avi, write_flv
from emojax.data.tally import Tally
from emojax.errors import UserError
from emojax.labels import EMOTION_SETS
from emojax.spec import InputSpec

LOG_MEL = audio.PRESETS["log_mel"]
SPEC = InputSpec(sound=LOG_MEL)
RATE = 16_000


def tone(seconds: float, hertz: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.round(8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def write_wav(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def expected(samples: np.ndarray) -> np.ndarray:
    filters = librosa.filters.mel(sr=RATE, n_fft=LOG_MEL.fft_length, n_mels=64)
    return audio.spectrogram(samples / 32768, LOG_MEL, filters)


def test_filters_are_librosas_own_and_made_once() -> None:
    filters = make_mel_filters(LOG_MEL)
    np.testing.assert_array_equal(filters, librosa.filters.mel(sr=RATE, n_fft=512, n_mels=64))
    assert make_mel_filters(audio.PRESETS["log_mel"]) is filters
    assert make_mel_filters(audio.PRESETS["narrow"]) is None


def test_a_wav_becomes_its_spectrogram(tmp_path: Path) -> None:
    samples = np.concatenate([tone(0.7, 300), tone(0.6, 2000)])
    path = write_wav(tmp_path / "a.wav", samples)
    sound = read_spectrogram(path, None, None, LOG_MEL)
    assert (sound.has_sound, sound.problem) == (True, "")
    assert sound.spectrogram.dtype == np.uint8
    np.testing.assert_allclose(sound.spectrogram / 255, expected(samples), atol=0.6 / 255)
    assert sound.spectrogram.std() > 20


def test_only_the_part_that_counts_is_heard(tmp_path: Path) -> None:
    samples = np.concatenate([tone(0.5, 300), tone(0.5, 1200), tone(0.5, 4000)])
    path = write_wav(tmp_path / "a.wav", samples)
    found = read_spectrogram(path, 0.5, 1.0, LOG_MEL).spectrogram
    alone = write_wav(tmp_path / "b.wav", samples[8000:16000])
    np.testing.assert_array_equal(found, read_spectrogram(alone, None, None, LOG_MEL).spectrogram)
    late = read_spectrogram(path, 2.0, 3.0, LOG_MEL)
    assert not late.has_sound
    assert "no sound in the part" in late.problem


def test_what_can_t_be_heard_is_silence_with_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF1234WAVE")
    for path in (tmp_path / "missing.wav", broken):
        sound = read_spectrogram(path, None, None, LOG_MEL)
        assert (sound.has_sound, sound.spectrogram.max()) == (False, 0)
        assert str(path) in sound.problem
    assert read_spectrogram(None, None, None, LOG_MEL)[1:] == (False, "", False, False)
    silent = tmp_path / "silent.avi"
    write_avi(silent, [np.zeros((64, 64, 3), np.uint8)] * 3, 25)
    assert read_spectrogram(silent, None, None, LOG_MEL)[1:] == (False, "", False, False)


def test_a_sound_that_is_silent_is_not_heard(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.concatenate([tone(0, 1), np.zeros(RATE, np.int16)]))
    sound = read_spectrogram(path, None, None, LOG_MEL)
    assert sound[1:] == (False, f"{path}: is silent throughout: leave the sound out", False, False)
    # What comes after the part that is kept can't be heard either.
    path = write_wav(path, np.concatenate([np.zeros(4 * RATE, np.int16), tone(1.0, 500)]))
    sound = read_spectrogram(path, None, None, LOG_MEL)
    assert (sound.has_sound, sound.spectrogram.max()) == (False, 0)
    assert sound.problem == f"{path}: is silent in its first 3 s: leave the sound out"
    assert read_spectrogram(path, 3.5, None, LOG_MEL).has_sound


def test_a_sound_that_goes_on_says_so(tmp_path: Path) -> None:
    for seconds, goes_on in ((2.0, False), (3.0, False), (3.05, False), (3.2, True), (10.0, True)):
        path = write_wav(tmp_path / "a.wav", tone(seconds, 500))
        assert read_spectrogram(path, None, None, LOG_MEL).goes_on == goes_on
    assert not read_spectrogram(path, 5.0, 8.0, LOG_MEL).goes_on
    assert not read_spectrogram(path, 8.0, None, LOG_MEL).goes_on
    assert read_spectrogram(path, 5.0, 9.0, LOG_MEL).goes_on
    assert not read_spectrogram(path, None, None, audio.PRESETS["thesis"]).goes_on


def test_a_build_counts_the_sounds_that_go_on(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(4.0, 500))
    row = Row(key="a.wav", path=None, subject="Ada", audio_path=path)
    reading, job = Reading(tmp_path, SPEC, ReadOptions()), Job("a", (row,))
    read_into_cell(reading, job)
    tally = Tally(SPEC, {"Ada": "train"})
    for result in load_cell(reading, job):
        tally.add(result)
    assert tally.report()["notes"] == [
        "1 sounds are longer than 3 s: their first 3 s are kept",
    ]


@pytest.mark.parametrize(
    ("name", "codec", "all_of_it"),
    [("a.wav", "pcm_s16le", False), ("a.mp3", "libmp3lame", False), ("a.flac", "flac", True)],
)
def test_of_a_long_recording_no_more_is_read_and_held_than_is_kept(
    name: str, codec: str, all_of_it: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sound(tmp_path / name, codec, 60.0)
    whole = video.read_sound(path, RATE)
    assert whole is not None
    decoded: list[int] = []
    shown: list[int] = []
    read, show = video.sound_pieces, audio.stored_spectrogram

    def read_and_count(*arguments: Any) -> Iterator[np.ndarray]:
        for piece in read(*arguments):
            decoded.append(piece.size)
            yield piece

    def show_and_count(samples: np.ndarray, *arguments: Any) -> np.ndarray:
        shown.append(samples.size)
        return show(samples, *arguments)

    monkeypatch.setattr(video, "sound_pieces", read_and_count)
    monkeypatch.setattr(audio, "stored_spectrogram", show_and_count)
    sound = read_spectrogram(path, 5.0, 20.0, LOG_MEL)
    assert sound.goes_on
    part = show(whole[5 * RATE : 20 * RATE], LOG_MEL, make_mel_filters(LOG_MEL))
    np.testing.assert_array_equal(sound.spectrogram, part)
    assert shown[0] < 3.2 * RATE
    # Whether a FLAC is whole as far as it counts has to be seen.
    assert (sum(decoded) > 19 * RATE) == all_of_it
    assert sum(decoded) < 22 * RATE


def write_sound(
    path: Path, codec: str, seconds: float = 1.0, options: dict[str, str] | None = None
) -> Path:
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.layout = "mono"
        # Of a pure tone FLAC makes next to nothing, all of it in one block.
        samples = np.random.default_rng(0).integers(-8000, 8000, round(seconds * RATE), np.int16)
        block = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = RATE, 0, Fraction(1, RATE)
        resampler = av.AudioResampler(stream.format, "mono", RATE, stream.frame_size or 1024)
        for part in [*resampler.resample(block), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "tells"),
    [
        ("a.wav", "pcm_s16le", True),
        ("a.aiff", "pcm_s16be", True),
        ("a.flac", "flac", True),
        ("a.m4a", "aac", True),
        ("a.mp4", "aac", True),
        # Their headers don't say how long they are.
        ("a.mp3", "libmp3lame", False),
        ("a.ogg", "libopus", False),
    ],
)
def test_a_sound_that_ends_before_its_header_says_so_is_cut_off(
    name: str, codec: str, tells: bool, tmp_path: Path
) -> None:
    for seconds in (0.05, 0.5, 3.0):
        # The index of an MP4 before its data, or nothing of one that is cut off can be read.
        path = write_sound(tmp_path / name, codec, seconds, {"movflags": "faststart"})
        assert read_spectrogram(path, None, None, LOG_MEL)[1:] == (True, "", False, False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    sound = read_spectrogram(path, None, None, LOG_MEL)
    assert (sound.has_sound, sound.is_cut_off) == (not tells, tells)
    assert sound.spectrogram.any() == (not tells)
    assert ("its header names 3.00 s of sound" in sound.problem) == tells


def test_an_mp4_that_is_cut_off_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.m4a", "aac", 3.0, {"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 8 // 10])
    # Of the first second nothing is missing.
    assert read_spectrogram(path, 0.0, 1.0, LOG_MEL)[1:] == (True, "", False, False)
    assert read_spectrogram(path, 0.0, 3.0, LOG_MEL).is_cut_off
    # Without its last few bytes all of the sound may be there.
    path.write_bytes(content[:-2])
    assert read_spectrogram(path, None, None, LOG_MEL)[1:] == (True, "", False, False)
    # In fragments: no header knows how long all of them are.
    live = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
    path = write_sound(tmp_path / "b.mp4", "aac", 3.0, live)
    assert read_spectrogram(path, None, None, LOG_MEL)[1:] == (True, "", False, False)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    sound = read_spectrogram(path, None, None, LOG_MEL)
    assert sound.is_cut_off
    assert "its header names more sound, 1." in sound.problem


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_that_names_no_size_is_whole(size: int, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(0.5, 300))
    content = path.read_bytes()
    path.write_bytes(content[:40] + size.to_bytes(4, "little") + content[44:])
    assert not read_spectrogram(path, None, None, LOG_MEL).is_cut_off


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def test_a_ready_spectrogram_of_the_right_size_is_taken_as_it_is(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (64, 96), dtype=np.uint8)
    sound = read_ready_spectrogram(save(tmp_path / "a.npy", array), LOG_MEL)
    assert (sound.has_sound, sound.problem) == (True, "")
    np.testing.assert_array_equal(sound.spectrogram, array)
    # Of 0..1 in any precision, either way in memory; 0.25 * 255 is 63.75.
    for dtype in (np.float16, np.float32, np.float64, ">f4"):
        shares = np.asfortranarray(np.full((64, 96), 0.25, dtype))
        shares[0, 0], shares[1, 0] = 1.0, 0.5
        found = read_ready_spectrogram(save(tmp_path / "b.npy", shares), LOG_MEL).spectrogram
        assert (found.dtype, found[0, 0], found[0, 1], found[1, 0]) == (np.uint8, 255, 64, 128)


def test_a_ready_spectrogram_of_another_size_is_resized(tmp_path: Path) -> None:
    array = np.zeros((128, 48), np.uint8)
    array[:2], array[-1] = 200, 100
    found = read_ready_spectrogram(save(tmp_path / "a.npy", array), LOG_MEL).spectrogram
    assert found.shape == (64, 96)
    # Row 0 stays on top; two rows become one by their mean.
    assert set(found[0]) == {200}
    assert set(found[-1]) == {50}
    assert found[1:-1].max() == 0


def hostile_header(shape: str, descr: str = "|u1") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


NOT_SPECTROGRAMS: dict[str, tuple[np.ndarray | bytes, str]] = {
    "empty": (b"", "is empty"),
    "text": (b"path,subject\n", "no .npy of numbers"),
    "cut short": (hostile_header("(64, 96)") + bytes(100), "names 6144 bytes, 100 follow"),
    "too long": (hostile_header("(2, 2)") + bytes(100), "names 4 bytes, 100 follow"),
    "huge": (hostile_header("(1000000, 1000000)") + b"x", "shape 1000000x1000000"),
    "negative": (hostile_header("(-2, -2)") + bytes(4), "shape -2x-2"),
    "nested": (hostile_header("(" * 900), "no .npy of numbers"),
    "pickled": (np.array([[{}]], object), "holds object"),
    "records": (np.zeros((2, 2), [("a", "u1")]), "holds [('a', 'u1')]"),
    "text array": (np.array([["a"]]), "holds <U1"),
    "whole numbers": (np.zeros((2, 2), np.int64), "holds int64"),
    "three axes": (np.zeros((1, 64, 96), np.uint8), "shape 1x64x96"),
    "one number": (np.array(0.5), "shape one number"),
    "no column": (np.zeros((64, 0), np.uint8), "shape 64x0"),
    "nan": (np.array([[0.5, np.nan]]), "values from nan"),
    "infinite": (np.array([[0.5, np.inf]]), "values from 0.5 to inf"),
    "decibels": (np.array([[-80.0, 0.0]]), "values from -80 to 0: wanted uint8 0..255"),
    "bytes as floats": (np.array([[0.0, 255.0]]), "values from 0 to 255"),
    "silent": (np.zeros((64, 96), np.uint8), "is silent throughout"),
}


@pytest.mark.parametrize("kind", NOT_SPECTROGRAMS)
def test_what_is_no_spectrogram_is_silence_with_a_reason(tmp_path: Path, kind: str) -> None:
    content, problem = NOT_SPECTROGRAMS[kind]
    path = tmp_path / "a.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        # An array of objects is one of them: written as a pickle, which must not be loaded.
        np.save(path, content, allow_pickle=True)
    sound = read_ready_spectrogram(path, LOG_MEL)
    assert (sound.has_sound, sound.spectrogram.shape) == (False, (64, 96))
    assert sound.spectrogram.max() == 0
    assert str(path) in sound.problem
    assert problem in sound.problem
    assert "\n" not in sound.problem


def test_a_ready_spectrogram_that_is_not_there(tmp_path: Path) -> None:
    sound = read_ready_spectrogram(tmp_path / "a.npy", LOG_MEL)
    assert (sound.has_sound, sound.spectrogram.max()) == (False, 0)
    assert "a.npy: no such file" in sound.problem


def test_published_spectrograms_become_a_manifest(shared_data: Path, tmp_path: Path) -> None:
    """The way in for spectrograms in one archive: a `.npy` each, and a line of the manifest."""
    with np.load(shared_data / "crema_d" / "log_mel.npz", allow_pickle=False) as archive:
        stems, pictures = archive["clip"], archive["log_mel"]
    assert (len(stems), len({stem[:4] for stem in stems.tolist()})) == (5802, 71)
    # Every 116th, to see all people and emotions.
    chosen = range(0, len(stems), 116)
    lines = ["spectrogram_path,subject,emotion,level"]
    for index in chosen:
        name = parse_clip_name(str(stems[index]))
        assert name is not None
        np.save(tmp_path / f"{stems[index]}.npy", pictures[index])
        lines.append(f"{stems[index]}.npy,{name.actor},{name.emotion},{name.level}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    rows = read_manifest(tmp_path).rows
    assert len(rows) == 51
    assert {row.emotion for row in rows} == set(EMOTION_SETS["crema6"])
    options = ReadOptions()
    for index, row in zip(chosen, rows, strict=True):
        example = read_example(row, SPEC, options)
        assert isinstance(example, Example)
        assert example.sound is not None
        assert (example.sound.has_sound, len(example.faces)) == (True, 0)
        np.testing.assert_array_equal(example.sound.spectrogram, pictures[index])


def write_set(folder: Path) -> Path:
    """Three people: a clip with a file of sound, one with sound of its own, one that is mute."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (98, 80, 3), dtype=np.uint8) for _ in range(25)]
    rows = []
    for split in ("train", "validation", "test"):
        for person, kind in enumerate(("file", "own", "mute", "picture", "lost")):
            stem = f"{split}_{kind}"
            row = {"subject": stem, "emotion": "fear", "split": split, "path": f"{stem}.avi"}
            if kind == "own":
                row["path"] = f"{stem}.flv"
                write_flv(folder / row["path"], frames, Fraction(25), tone(1.0, 500), RATE)
            elif kind == "picture":
                row["path"] = f"{stem}.png"
                cv2.imwrite(str(folder / row["path"]), frames[0])
            else:
                write_avi(folder / row["path"], frames, 25)
            if kind == "file":
                write_wav(folder / f"{stem}.wav", tone(1.0, 300 + 100 * person))
                row["audio_path"] = f"{stem}.wav"
            if kind == "lost":
                row["audio_path"] = "nowhere.wav"
            rows.append(row)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "subject", "emotion", "split", "audio_path"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("talking"))


def build(manifest: Path, out: Path, spec: InputSpec = SPEC, workers: int = 1) -> Path:
    options = BuildOptions(input_spec=spec, faces="ready", workers=workers, clip_frames=8)
    return build_dataset(
        "manifest", source=manifest, out=out, options=options, say=lambda line: None
    )


@pytest.fixture(scope="module")
def shards(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(manifest, tmp_path_factory.mktemp("built") / "shards")


def test_shards_hold_sound_and_say_where_there_is_none(shards: Path, manifest: Path) -> None:
    arrays = load_split(shards, "train")
    by_path = dict(zip(arrays.paths, range(len(arrays.paths)), strict=True))
    assert arrays.spectrograms.shape == (5, 64, 96)
    assert (arrays.spectrograms.dtype, arrays.has_sound.dtype) == (np.uint8, np.uint8)
    heard = {path: int(arrays.has_sound[row]) for path, row in by_path.items()}
    assert heard == {
        "train_file.avi": 1,
        "train_own.flv": 1,
        "train_mute.avi": 0,
        "train_picture.png": 0,
        "train_lost.avi": 0,
    }
    file = arrays.spectrograms[by_path["train_file.avi"]]
    np.testing.assert_allclose(file / 255, expected(tone(1.0, 300)), atol=0.6 / 255)
    samples = video.read_sound(manifest.parent / "train_own.flv", RATE)
    assert samples is not None
    own = arrays.spectrograms[by_path["train_own.flv"]]
    np.testing.assert_allclose(
        own / 255, audio.spectrogram(samples, LOG_MEL, make_mel_filters(LOG_MEL)), atol=0.6 / 255
    )
    assert arrays.spectrograms[by_path["train_mute.avi"]].max() == 0
    assert arrays.faces.shape == (5, 8, 98, 80)


def test_the_report_counts_what_is_heard_and_names_what_is_lost(shards: Path) -> None:
    report = dataset_info(shards).report
    assert report["examples_kept"] == 15
    assert report["examples_with_sound"] == 6
    assert len(report["unheard"]) == 3
    assert all("nowhere.wav" in entry["detail"] for entry in report["unheard"])
    assert any("3 examples are kept without their sound" in note for note in report["notes"])
    table = counts_table(dataset_info(shards))
    assert [line.split()[2:] for line in table.splitlines() if "with sound" in line] == [["2"] * 3]


def test_the_sheet_shows_sound(shards: Path, manifest: Path, tmp_path: Path) -> None:
    silent = build(manifest, tmp_path / "silent", InputSpec())
    with_sound, without = (contact_sheet(dataset_info(place)) for place in (shards, silent))
    assert with_sound.shape[0] - without.shape[0] == 98 + 2
    # Two spectrograms of each split, one beside the other.
    row = with_sound[-98:, 150:]
    assert [int(row[:, 82 * place : 82 * place + 80].std() > 10) for place in range(8)] == (
        [1] * 6 + [0] * 2
    )


def test_a_set_without_sound_is_as_it_was(manifest: Path, tmp_path: Path) -> None:
    out = build(manifest, tmp_path / "silent", InputSpec())
    arrays = load_split(out, "train")
    assert arrays.spectrograms.shape == (5, 0, 0)
    assert arrays.has_sound.tolist() == [0] * 5
    assert (
        "sound is named and not kept: --sound=log_mel keeps it" in dataset_info(out).report["notes"]
    )
    with pytest.raises(UserError, match="built with sound=None"):
        load_split(out, "train", SPEC)


def test_workers_and_a_changed_sound_file(manifest: Path, shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(manifest.parent, folder)
    out = build(folder / "manifest.csv", tmp_path / "two", workers=2)
    for name in ("faces", "spectrograms", "has_sound"):
        np.testing.assert_array_equal(
            getattr(load_split(out, "test"), name), getattr(load_split(shards, "test"), name)
        )
    first = dataset_info(out).report["fingerprint"]
    assert first == dataset_info(shards).report["fingerprint"]
    write_wav(folder / "train_file.wav", tone(1.0, 4000))
    again = build(folder / "manifest.csv", tmp_path / "two")
    assert dataset_info(again).report["fingerprint"] != first


def test_real_clips(shared_data: Path) -> None:
    clips = sorted((shared_data / "crema_d" / "VideoFlash").glob("*.flv"))
    assert len(clips) == 6
    for clip in clips:
        own = read_spectrogram(clip, None, None, LOG_MEL)
        assert (own.has_sound, own.problem) == (True, "")
        # Neither silence nor noise: a voice leaves most of the picture dark.
        assert 20 < own.spectrogram.mean() < 140
        assert own.spectrogram.max() > 230
