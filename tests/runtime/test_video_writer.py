from __future__ import annotations

import contextlib
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from emojax.errors import UserError
from emojax.runtime import video_writer
from emojax.runtime.video_writer import VideoWriter
from emojax.video import BrokenVideoError, read_frames, read_info, read_sound


def draw(number: int, height: int = 64, width: int = 96) -> np.ndarray:
    return np.full((height, width, 3), 20 + 10 * number, np.uint8)


def write_tone(path: Path, seconds: float) -> Path:
    time = np.arange(int(16000 * seconds)) / 16000
    samples = (np.sin(2 * np.pi * 440 * time) * 12000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    return path


def write_programme(path: Path, layout: str, rate_hz: int, begin_s: int) -> bytes:
    """Two seconds of a tone as a broadcast has it, which can be joined to others."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mp2", rate=rate_hz)
        stream.layout = layout
        tone = np.sin(2 * np.pi * 440 * np.arange(2 * rate_hz) / rate_hz) * 12000
        channels = 2 if layout == "stereo" else 1
        samples = np.repeat(tone.astype(np.int16), channels)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = begin_s * rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_timestamps_of_any_spacing_are_kept(tmp_path, monkeypatch, codec):
    monkeypatch.setattr(video_writer, "_video_codec", lambda: codec)
    times = 0.4 + np.cumsum(np.random.default_rng(0).uniform(0.01, 0.3, 20))
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 29.97) as writer:
        for number, time in enumerate(times):
            writer.write(draw(number), float(time))
    frames = list(read_frames(path))
    np.testing.assert_allclose([frame.timestamp_s for frame in frames], times, atol=1e-4)
    for frame in frames:
        assert abs(frame.picture.mean() - draw(frame.number).mean()) < 5
    with av.open(str(path)) as container:
        wanted = "h264" if codec == "libx264" else "mpeg4"
        assert container.streams.video[0].codec_context.name == wanted


@pytest.mark.parametrize("size", [(65, 97), (64, 97), (65, 96), (1, 1)])
def test_odd_sizes_are_padded(tmp_path, size):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 10.0) as writer:
        writer.write(draw(1, *size), 0.0)
    info = read_info(path)
    assert (info.height, info.width) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


def test_times_that_round_to_the_same_tick_still_rise(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 10.0) as writer:
        for number in range(5):
            writer.write(draw(number), number * 1e-7)
    assert len(list(read_frames(path))) == 5


def test_frames_hours_apart_are_a_video(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 3 / (4 * 3600)) as writer:
        for number in range(3):
            writer.write(draw(number), number * 4800.0)
    assert [frame.timestamp_s for frame in read_frames(path)] == [0.0, 4800.0, 9600.0]


def test_sound_is_copied_along(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 10.0, sound_from=write_tone(tmp_path / "a.wav", 2.0)) as writer:
        for number in range(20):
            writer.write(draw(number), number / 10)
    sound = read_sound(path)
    assert sound is not None
    assert len(sound) / 16000 == pytest.approx(2.0, abs=0.15)
    power = np.abs(np.fft.rfft(sound[4000:28000]))
    assert np.fft.rfftfreq(24000, 1 / 16000)[power.argmax()] == pytest.approx(440, abs=2)
    assert len(list(read_frames(path))) == 20


# Two recordings that were joined: the clock of the second starts again.
@pytest.mark.parametrize(("begin_s", "heard_s"), [(2, 4.0), (0, 2.0)])
def test_sound_that_changes_its_form_costs_no_frame(tmp_path, begin_s, heard_s):
    joined = tmp_path / "joined.ts"
    first = write_programme(tmp_path / "1.ts", "mono", 48000, 0)
    second = write_programme(tmp_path / "2.ts", "stereo", 44100, begin_s)
    joined.write_bytes(first + second)
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 10.0, sound_from=joined) as writer:
        for number in range(45):
            writer.write(draw(number % 20), number / 10)
    assert len(list(read_frames(path))) == 45
    with av.open(str(path)) as container:
        *_, last = container.decode(audio=0)
    assert last.time == pytest.approx(heard_s, abs=0.3)


def test_sound_of_a_clock_that_starts_anywhere_begins_with_the_picture(tmp_path):
    write_programme(tmp_path / "late.ts", "mono", 48000, 600)
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 10.0, sound_from=tmp_path / "late.ts") as writer:
        for number in range(20):
            writer.write(draw(number), number / 10)
    with av.open(str(path)) as container:
        heard = [frame.time for frame in container.decode(audio=0)]
    assert heard[0] == pytest.approx(0, abs=0.1)
    assert heard[-1] == pytest.approx(2, abs=0.2)


def test_sound_ends_with_the_picture(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 10.0, sound_from=write_tone(tmp_path / "a.wav", 5.0)) as writer:
        for number in range(10):
            writer.write(draw(number), number / 10)
    sound = read_sound(path)
    assert sound is not None
    assert len(sound) / 16000 == pytest.approx(1.0, abs=0.2)


def test_sound_and_picture_lie_side_by_side_in_the_file(tmp_path):
    # A player that reads a long video from front to back needs both at the same place.
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 1.0, sound_from=write_tone(tmp_path / "a.wav", 40.0)) as writer:
        for number in range(40):
            writer.write(draw(number % 20), float(number))
    with av.open(str(path)) as container:
        places = {"video": {}, "audio": {}}
        for packet in container.demux():
            if packet.pts is not None:
                second = round(float(packet.pts * packet.time_base))
                places[packet.stream.type].setdefault(second, packet.pos)
    assert places["audio"][5] < places["video"][15]
    assert places["video"][5] < places["audio"][15]


def test_a_source_without_sound_is_fine(tmp_path):
    silent = tmp_path / "silent.mp4"
    with VideoWriter(silent, 10.0) as writer:
        writer.write(draw(0), 0.0)
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 10.0, sound_from=silent) as writer:
        writer.write(draw(0), 0.0)
    assert read_sound(path) is None


def test_a_video_without_a_frame_leaves_no_file(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 10.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_middle_leaves_a_video_that_plays(tmp_path):
    path = tmp_path / "a.mp4"

    def interrupted() -> None:
        with VideoWriter(path, 10.0) as writer:
            for number in range(7):
                writer.write(draw(number), number / 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(list(read_frames(path))) == 7


def test_a_name_with_a_protocols_look_is_a_file(tmp_path):
    path = tmp_path / "tcp:1.mp4"
    with VideoWriter(path, 10.0) as writer:
        writer.write(draw(0), 0.0)
    assert path.is_file()


def test_a_place_that_can_not_be_written_to_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="can't be written"):
        VideoWriter(tmp_path / "none" / "a.mp4", 10.0)


@pytest.mark.parametrize("pieces", [True, False])
def test_the_last_frame_of_uneven_ones_is_kept(tmp_path, monkeypatch, pieces):
    monkeypatch.setattr(video_writer, "_KNOWS_PIECES", pieces and video_writer._KNOWS_PIECES)
    times = [0, 0.47, 0.68, 0.96, 1.28, 1.56, 1.86, 2.19, 2.48, 2.8, 3.07, 3.25]
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 30.0) as writer:
        for time in times:
            writer.write(draw(5), time)
    shown = [frame.timestamp_s for frame in read_frames(path)]
    np.testing.assert_allclose(shown, times, atol=1e-4)


@pytest.mark.skipif(not video_writer._KNOWS_PIECES, reason="an FFmpeg before 8.1")
def test_what_a_killed_process_leaves_can_be_played(tmp_path):
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, 10.0)
    rng = np.random.default_rng(0)
    for number in range(120):
        writer.write(rng.integers(0, 200, (96, 128, 3), dtype=np.uint8), number / 10)
    left = tmp_path / "left.mp4"
    left.write_bytes(path.read_bytes())
    writer.close()
    shown = []
    # The last piece may be cut off, or not have begun.
    with contextlib.suppress(BrokenVideoError):
        for frame in read_frames(left):
            shown.append(frame.timestamp_s)
    np.testing.assert_allclose(shown, np.arange(len(shown)) / 10, atol=1e-4)
    assert len(shown) >= 50
