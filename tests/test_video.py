from __future__ import annotations

import errno
import io
import itertools
import os
import struct
import tracemalloc
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from emojax import video
from emojax.errors import UserError
from emojax.video import BrokenVideoError, read_frames, read_info, read_sound

NUM_FRAMES = 60
RATE_HZ = 30

# name: video codec, sound codec, options of the container
KINDS: dict[str, tuple[str, str | None, dict[str, str]]] = {
    "plain.mp4": ("libx264", None, {}),
    "indexed_first.mp4": ("libx264", None, {"movflags": "faststart"}),
    "fragmented.mp4": ("libx264", None, {"movflags": "frag_keyframe+empty_moov"}),
    "sound.mp4": ("libx264", "aac", {"movflags": "faststart"}),
    "plain.avi": ("mpeg4", None, {}),
    "sound.avi": ("mpeg4", "libmp3lame", {}),
    "plain.mkv": ("libx264", None, {}),
    "sound.mkv": ("libx264", "aac", {}),
    "plain.flv": ("flv", None, {}),
    "h264.flv": ("libx264", None, {}),
    "sound.flv": ("flv", "libmp3lame", {}),
    "plain.webm": ("libvpx", None, {}),
    "sound.webm": ("libvpx", "libopus", {}),
    "plain.ts": ("libx264", None, {}),
    "plain.mpg": ("mpeg1video", None, {}),
}
# Their header, or their own sizes, tell where they should end.
TELL_THEIR_END = [name for name in KINDS if name not in ("plain.ts", "plain.mpg")]


def gray_level(number: int) -> int:
    return 20 + 200 * number // NUM_FRAMES


def draw(number: int) -> np.ndarray:
    """A frame that says its number: as bright as it is late, left half darker, noise below."""
    frame = np.full((120, 160, 3), gray_level(number), np.uint8)
    frame[:, :80] //= 2
    # Enough to fill the containers: in flat frames the index would be most of the file.
    cells = np.random.default_rng(number // 3).integers(0, 256, (5, 20, 3), dtype=np.uint8)
    frame[80:] = cv2.resize(cells, (160, 40), interpolation=cv2.INTER_NEAREST)
    return frame


def write_video(
    path: Path,
    codec: str,
    sound: str | None = None,
    options: dict[str, str] | None = None,
    times_s: np.ndarray | None = None,
    rotation: int = 0,
    sound_s: float = NUM_FRAMES / RATE_HZ,
) -> Path:
    container = av.open(str(path), "w", options=options or {})
    stream = container.add_stream(codec, rate=RATE_HZ)
    stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
    stream.codec_context.gop_size = 12
    if times_s is not None:
        stream.codec_context.time_base = Fraction(1, 1000)
    if rotation:
        stream.set_display_rotation(rotation)
    if sound is not None:
        sound_stream = container.add_stream(sound, rate=48000)
        sound_stream.layout = "mono"
    for number in range(NUM_FRAMES):
        frame = av.VideoFrame.from_ndarray(draw(number), format="bgr24")
        frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
        if times_s is not None:
            frame.pts, frame.time_base = round(times_s[number] * 1000), Fraction(1, 1000)
        container.mux(stream.encode(frame))
        if sound is not None and number / RATE_HZ < sound_s:
            time = np.arange(number * 1600, (number + 1) * 1600) / 48000
            tone = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
            part = av.AudioFrame.from_ndarray(tone[None], format="flt", layout="mono")
            part.rate, part.pts = 48000, number * 1600
            container.mux(sound_stream.encode(part))
    container.mux(stream.encode())
    if sound is not None:
        container.mux(sound_stream.encode())
    container.close()
    return path


@pytest.fixture(scope="module")
def make(tmp_path_factory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("videos")

    def get(name: str) -> Path:
        path = folder / name
        return path if path.exists() else write_video(path, *KINDS[name])

    return get


def read_all(path: Path) -> tuple[list[video.VideoFrame], UserError | None]:
    frames: list[video.VideoFrame] = []
    try:
        frames.extend(read_frames(path))
    except UserError as error:
        return frames, error
    return frames, None


def rises(frames: list[video.VideoFrame]) -> bool:
    times = [frame.timestamp_s for frame in frames]
    return all(before < after for before, after in itertools.pairwise(times))


@pytest.mark.parametrize("name", KINDS)
def test_whole_videos_give_every_frame_with_its_time(make, name):
    frames, error = read_all(make(name))
    assert error is None
    assert [frame.number for frame in frames] == list(range(NUM_FRAMES))
    assert rises(frames)
    times = np.array([frame.timestamp_s for frame in frames])
    # Reordering and sound shift some containers' start by a few frames; steps stay,
    # but that AVI, which has no timestamps, waits for the sound with an empty frame.
    atol = 0.035 if name == "sound.avi" else 0.002
    np.testing.assert_allclose(times - times[0], np.arange(NUM_FRAMES) / RATE_HZ, atol=atol)
    assert 0 <= times[0] < 0.1


@pytest.mark.parametrize("name", ["plain.mp4", "plain.avi", "plain.webm"])
def test_frames_come_in_the_order_and_colours_that_were_drawn(make, name):
    for frame in read_frames(make(name)):
        assert frame.picture.shape == (120, 160, 3)
        assert frame.picture.dtype == np.uint8
        expected = draw(frame.number)
        assert np.abs(frame.picture.astype(int) - expected)[:70].mean() < 6
        assert np.abs(frame.picture.astype(int) - expected)[85:].mean() < 40


@pytest.mark.parametrize("name", TELL_THEIR_END)
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 0.9, 0.97])
def test_a_cut_video_gives_its_frames_and_then_says_where_it_broke(make, tmp_path, name, share):
    whole = make(name)
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    frames, error = read_all(path)
    if name == "plain.mp4":
        assert "index (moov) is missing" in str(error)
        assert frames == []
        return
    # What comes is what the whole video gives: nothing is made up, nothing left out.
    expected = {round(frame.timestamp_s, 3): frame.picture for frame in read_frames(whole)}
    for frame in frames:
        np.testing.assert_array_equal(frame.picture, expected[round(frame.timestamp_s, 3)])
    assert rises(frames)
    if error is None:
        # Only the index, which stands behind the frames, was cut.
        assert share > 0.8
        assert len(frames) == NUM_FRAMES
        return
    assert str(path) in str(error)
    if not isinstance(error, BrokenVideoError):
        # Cut so early that no stream is known.
        assert share == 0.25
        assert frames == []
        return
    assert f"broke at frame {error.index} ({error.timestamp_s:.3f} s)" in str(error)
    assert error.index <= len(frames) < NUM_FRAMES
    last_s = frames[-1].timestamp_s if frames else 0.0
    assert abs(error.timestamp_s - last_s) < 0.15


@pytest.mark.parametrize("name", [name for name in TELL_THEIR_END if name != "plain.mp4"])
def test_the_last_bytes_may_go_when_no_frame_was_in_them(make, tmp_path, name):
    # Reported or not, every frame that is whole has to come.
    whole = make(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[:-8])
    frames, error = read_all(path)
    assert len(frames) >= NUM_FRAMES - 2
    assert error is None or isinstance(error, BrokenVideoError)
    if error is None:
        assert len(frames) == NUM_FRAMES


@pytest.mark.parametrize("name", ["indexed_first.mp4", "plain.avi", "plain.flv", "plain.mpg"])
def test_behind_damage_reading_goes_on(make, tmp_path, name):
    content = bytearray(make(name).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = bytes([0xAA]) * 600
    path = tmp_path / name
    path.write_bytes(content)
    frames, error = read_all(path)
    assert isinstance(error, BrokenVideoError)
    assert "damaged" in str(error)
    assert len(frames) > NUM_FRAMES * 0.8
    assert 0.2 * NUM_FRAMES < error.index < 0.8 * NUM_FRAMES
    assert rises(frames)


@pytest.mark.parametrize("name", KINDS)
def test_random_damage_never_ends_otherwise_than_in_one_line(make, tmp_path, name):
    whole = make(name).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(6):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), 12):
            content[place] = rng.integers(0, 256)
        path = tmp_path / name
        path.write_bytes(content[: int(rng.integers(100, len(content)))])
        frames, error = read_all(path)
        assert rises(frames)
        assert error is None or "\n" not in str(error)


def test_a_long_video_takes_no_more_memory_the_longer_it_is_read(tmp_path):
    with av.open(str(tmp_path / "long.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        gray = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")
        for _ in range(3000):
            container.mux(stream.encode(gray))
        container.mux(stream.encode())
    held: list[int] = []
    tracemalloc.start()
    try:
        for frame in read_frames(tmp_path / "long.avi"):
            if frame.number in (999, 2999):
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # A number a frame would be 64 kB.
    assert held[1] - held[0] < 8_000


def test_reading_can_stop_early(make):
    frames = read_frames(make("sound.mp4"))
    assert next(frames).number == 0
    frames.close()


@pytest.mark.parametrize("name", ["indexed_first.mp4", "plain.mkv", "plain.ts", "sound.webm"])
def test_a_disk_that_is_pulled_out_keeps_the_frames_up_to_there(make, monkeypatch, capfd, name):
    path = make(name)
    end = path.stat().st_size // 2

    class PulledOut(io.FileIO):
        def readinto(self, buffer):
            if self.tell() >= end:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().readinto(memoryview(buffer)[: end - self.tell()])

    monkeypatch.setattr(io, "FileIO", PulledOut)
    frames, error = read_all(path)
    assert 10 < len(frames) < NUM_FRAMES
    assert rises(frames)
    assert error is not None
    assert str(error).startswith(f"{path}: ")
    assert capfd.readouterr().err == ""
    # What of it does not tell where it ends would be taken for whole.
    if name == "plain.ts":
        assert "can't be read (Input/output error): check the disk, copy it again" in str(error)
    end = 0
    for read in (read_info, read_sound, lambda path: next(read_frames(path))):
        with pytest.raises(UserError, match=r"can't be read \(Input/output error\)"):
            read(path)


def test_a_form_that_nobody_decodes_is_told(make, tmp_path):
    content = make("sound.mkv").read_bytes()
    assert content.count(b"V_MPEG4/ISO/AVC") == 1
    path = tmp_path / "a.mkv"
    path.write_bytes(content.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XXX"))
    told = r"a\.mkv: its video is in a form that this FFmpeg can't decode: save it as H\.264 MP4"
    with pytest.raises(UserError, match=told):
        read_info(path)
    with pytest.raises(UserError, match=told):
        next(read_frames(path))
    assert read_sound(path) is not None


def test_variable_frame_rate_keeps_its_times(tmp_path):
    steps = np.random.default_rng(0).uniform(0.01, 0.2, NUM_FRAMES)
    times = np.round(np.cumsum(steps), 3)
    path = write_video(tmp_path / "vfr.mkv", "mpeg4", times_s=times)
    frames, error = read_all(path)
    assert error is None
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], times, atol=1e-3)


def test_frames_without_timestamps_come_one_frame_apart(make, tmp_path):
    # Raw H.264 has none at all.
    source = av.open(str(make("plain.mp4")))
    path = tmp_path / "raw.h264"
    with av.open(str(path), "w", format="h264") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    source.close()
    frames, error = read_all(path)
    assert error is None
    assert len(frames) == NUM_FRAMES
    assert rises(frames)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_of_the_container_is_applied(tmp_path, rotation):
    path = write_video(tmp_path / "turned.mov", "libx264", rotation=rotation)
    picture = next(iter(read_frames(path))).picture
    # The display matrix turns counterclockwise; the left half of a frame is the darker one.
    turns = {
        90: cv2.ROTATE_90_COUNTERCLOCKWISE,
        -90: cv2.ROTATE_90_CLOCKWISE,
        180: cv2.ROTATE_180,
    }
    expected = cv2.rotate(draw(0), turns[rotation])
    assert picture.shape == expected.shape
    assert np.abs(picture.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".txt", ".m3u8", ".png"])
@pytest.mark.parametrize(
    "content",
    [
        b"just words\n",
        b"#EXTM3U\n#EXTINF:1,\nother.mp4\n",
        b"ffconcat version 1.0\nfile 'other.mp4'\n",
        b"\0" * 5000,
        b"RIFF\x10\0\0\0AVI LIST",
    ],
)
def test_what_is_no_video_is_refused_at_once(tmp_path, suffix, content):
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(content)
    frames, error = read_all(path)
    assert frames == []
    assert str(path) in str(error)
    assert not isinstance(error, BrokenVideoError)


def test_a_picture_is_no_video(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(cv2.imencode(".png", draw(3))[1].tobytes())
    _, error = read_all(path)
    assert "no container" in str(error)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_a_photo_in_a_container_for_videos_is_refused(tmp_path, brand):
    path = tmp_path / "photo.heic"
    path.write_bytes(struct.pack(">I4s4sI4s", 20, b"ftyp", brand, 0, b"mif1") + bytes(2000))
    for read in (read_info, read_sound, lambda path: next(read_frames(path))):
        with pytest.raises(UserError, match=r"photo\.heic: a HEIF/AVIF photo, .* as JPEG or PNG"):
            read(path)


def test_a_video_that_photo_readers_may_open_too_is_a_video(make, tmp_path):
    content = make("plain.mp4").read_bytes()
    assert content[4:8] == b"ftyp"
    assert content.count(b"iso2") == 1
    path = tmp_path / "plain.mp4"
    path.write_bytes(content.replace(b"iso2", b"mif1"))
    assert len(read_all(path)[0]) == NUM_FRAMES


def test_words_that_outlast_the_picture_are_no_missing_frames(make, tmp_path):
    words, path = tmp_path / "words.srt", tmp_path / "told.mkv"
    words.write_text("1\n00:00:00,500 --> 00:00:09,000\nwords\n\n")
    with (
        av.open(str(make("plain.mp4"))) as film,
        av.open(str(words)) as told,
        av.open(str(path), "w") as target,
    ):
        sources = (film.streams.video[0], told.streams.subtitles[0])
        streams = [target.add_stream_from_template(stream) for stream in sources]
        for source, stream in zip((film, told), streams, strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    frames, error = read_all(path)
    assert (len(frames), error) == (NUM_FRAMES, None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames, error = read_all(path)
    assert len(frames) < NUM_FRAMES
    assert isinstance(error, BrokenVideoError)


def test_paths_that_lead_to_nothing(tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, found in [
        (tmp_path / "none.mp4", "no such file"),
        (empty, "is empty"),
        (tmp_path, "is a folder"),
        (Path("http://localhost/a.mp4"), "no such file"),
        (Path("concat:a.mp4"), "no such file"),
    ]:
        for read in (read_info, read_sound, lambda path: next(read_frames(path))):
            with pytest.raises(UserError, match=found):
                read(path)


def test_names_in_any_script_and_with_a_protocols_look(make, tmp_path):
    path = tmp_path / "file:клип 顔.mp4"
    path.write_bytes(make("plain.mp4").read_bytes())
    assert len(read_all(path)[0]) == NUM_FRAMES


def test_info_is_what_the_header_says(make):
    info = read_info(make("sound.mp4"))
    assert (info.width, info.height) == (160, 120)
    assert info.rate_hz == pytest.approx(RATE_HZ)
    assert info.duration_s == pytest.approx(2, abs=0.1)
    assert info.num_frames == pytest.approx(NUM_FRAMES, abs=3)
    assert info.has_sound
    assert not read_info(make("plain.mp4")).has_sound


def write_wave(path: Path, samples: np.ndarray, rate_hz: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def test_sound_at_its_own_rate_comes_back_as_it_is(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (16000, 1))
    found = read_sound(write_wave(tmp_path / "a.wav", samples, 16000))
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, samples[:, 0], atol=2 / 32767)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_sound_is_resampled_and_mixed_to_one_channel(tmp_path, rate_hz):
    time = np.arange(rate_hz) / rate_hz
    left, right = np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 1000 * time)
    path = write_wave(tmp_path / "a.wav", np.stack([left, right], axis=1) * 0.5, rate_hz)
    found = read_sound(path)
    assert found is not None
    assert len(found) == pytest.approx(16000, abs=40)
    power = np.abs(np.fft.rfft(found[2000:14000] * np.hanning(12000)))
    frequencies = np.fft.rfftfreq(12000, 1 / 16000)
    loudest = sorted(frequencies[np.argsort(power)[-1:]])
    assert loudest[0] in (pytest.approx(440, abs=2), pytest.approx(1000, abs=2))
    both = [power[np.abs(frequencies - tone) < 3].max() for tone in (440, 1000)]
    assert both[0] == pytest.approx(both[1], rel=0.05)
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize("name", ["sound.mp4", "sound.avi", "sound.mkv", "sound.flv", "sound.webm"])
def test_sound_of_videos(make, name):
    found = read_sound(make(name))
    assert found is not None
    assert len(found) == pytest.approx(32000, rel=0.05)
    power = np.abs(np.fft.rfft(found[4000:28000]))
    assert np.fft.rfftfreq(24000, 1 / 16000)[power.argmax()] == pytest.approx(440, abs=2)


def test_no_sound_stream_is_none(make):
    assert read_sound(make("plain.mp4")) is None


def test_sound_that_starts_late_is_preceded_by_silence(make, tmp_path):
    path = tmp_path / "late.mkv"
    with av.open(str(make("sound.mkv"))) as source, av.open(str(path), "w") as target:
        streams = {
            stream.index: target.add_stream_from_template(stream) for stream in source.streams
        }
        for packet in source.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                packet.pts += 500
                packet.dts += 500
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    found = read_sound(path)
    assert found is not None
    assert np.abs(found[:7000]).max() < 1e-3
    assert np.abs(found[9000:]).max() > 0.3


def test_cut_sound_comes_back_up_to_the_cut(make, tmp_path):
    content = make("sound.flv").read_bytes()
    path = tmp_path / "cut.flv"
    path.write_bytes(content[: len(content) // 2])
    found = read_sound(path)
    assert found is not None
    assert 8000 < len(found) < 24000


def test_real_clips_have_the_published_frames_and_times(shared_data):
    counts = {"ANG": 67, "DIS": 70, "FEA": 65, "HAP": 56, "NEU": 61, "SAD": 60}
    for emotion, count in counts.items():
        path = shared_data / "crema_d" / "VideoFlash" / f"1001_DFA_{emotion}_XX.flv"
        frames, error = read_all(path)
        assert error is None
        assert len(frames) == count
        assert rises(frames)
        duration_s = read_info(path).duration_s
        assert duration_s is not None
        assert abs(frames[-1].timestamp_s - duration_s) <= 1 / 29.97
        sound = read_sound(path)
        assert sound is not None
        assert len(sound) / 16000 == pytest.approx(duration_s, abs=0.1)


def test_real_sound_files_are_read(shared_data):
    paths = sorted((shared_data / "crema_d").glob("Audio*/*"))
    assert len(paths) == 19
    for path in paths:
        sound = read_sound(path)
        assert sound is not None
        assert 1 < len(sound) / 16000 < 6
        assert 0.01 < np.abs(sound).max() <= 1
        if path.suffix == ".wav":
            with wave.open(str(path)) as file:
                expected = np.frombuffer(file.readframes(-1), "<i2") / 32768
                assert file.getframerate() == 16000
            np.testing.assert_allclose(sound, expected, atol=1e-4)


def write_float_wave(path: Path, samples: np.ndarray, rate_hz: int, channels: int = 1) -> Path:
    """Write 32-bit samples under a header that says what it is told."""
    content = samples.astype("<f4").tobytes()
    width = 4 * channels
    head = struct.pack("<HHIIHH", 3, channels, rate_hz, rate_hz * width % 2**32, width, 32)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(content))
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + len(content)) + body + content)
    return path


@pytest.mark.parametrize(
    ("rate_hz", "channels", "value", "message"),
    [
        # Four hours at 16 kHz, for 64 KB.
        (1, 1, 0.1, "1 samples a second, wanted 1000 to 1000000"),
        (2**31 - 1, 1, 0.1, "2147483647 samples a second"),
        (16000, 200, 0.1, "its sound can't be converted"),
        (16000, 1, np.nan, "sample 7000 of its sound is no number"),
        (16000, 1, -np.inf, "sample 7000 of its sound is no number"),
    ],
)
def test_absurd_sound_is_refused_and_named(tmp_path, rate_hz, channels, value, message):
    samples = np.full(16000, 0.1)
    samples[7000:] = value
    path = write_float_wave(tmp_path / "a.wav", samples, rate_hz, channels)
    with pytest.raises(UserError, match=rf"a\.wav: {message}"):
        read_sound(path)


def test_sound_beyond_all_measure_is_refused(make, monkeypatch):
    monkeypatch.setattr(video, "LONGEST_SOUND_S", 1.5)
    with pytest.raises(UserError, match="hours of sound: cut it into shorter files"):
        read_sound(make("sound.mp4"))


def test_frames_too_large_to_hold_are_not_decoded(make, monkeypatch):
    assert video.MAX_PIXELS >= 7680 * 4320
    monkeypatch.setattr(video, "MAX_PIXELS", 160 * 120 - 1)
    frames, error = read_all(make("plain.avi"))
    assert frames == []
    assert isinstance(error, UserError)
    # FFmpeg counts the margins around a frame too.
    monkeypatch.setattr(video, "MAX_PIXELS", 640 * 480)
    assert len(read_all(make("plain.avi"))[0]) == NUM_FRAMES


def test_a_frame_that_can_t_be_converted_is_an_error_with_the_file_s_name(make, monkeypatch):
    def fail(frame):
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr(video, "_upright", fail)
    with pytest.raises(UserError, match=r"plain\.avi: frame 0 can't be converted"):
        list(read_frames(make("plain.avi")))


def test_a_title_that_is_no_utf8_does_not_matter(make, tmp_path):
    path = tmp_path / "titled.avi"
    with av.open(str(make("plain.avi"))) as source, av.open(str(path), "w") as target:
        target.metadata["title"] = "Cafe au lait"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = path.read_bytes()
    assert content.count(b"Cafe au") == 1
    path.write_bytes(content.replace(b"Cafe au", b"Caf\xe9 au"))
    assert len(read_all(path)[0]) == NUM_FRAMES
