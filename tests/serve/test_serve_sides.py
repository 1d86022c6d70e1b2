from __future__ import annotations

import json
import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from emojax.data.synthetic.files import write_wav
from emojax.runtime import ClipPredictor, load_artifact
from emojax.serve.limits import Limits
from emojax.serve.predict import Asked, check_asked
from emojax.serve.refusal import RefusedError
from emojax.serve.sides import OneSided, draw_spectrogram
from emojax.serve.uploaded import Uploaded, look_at_video
from emojax.shipped import find_model
from emojax.video import read_sound

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def voices() -> ClipPredictor:
    return ClipPredictor(load_artifact(find_model("voices")))


def record(path: Path, seconds: float) -> Path:
    """Noise that is faint in the first half, and a tone in the second."""
    count = round(seconds * RATE_HZ)
    samples = np.random.default_rng(0).normal(0, 20, count)
    samples[count // 2 :] += 9000 * np.sin(np.arange(count - count // 2) / 3)
    write_wav(path, samples.astype(np.int16), RATE_HZ)
    return path


def drawn(path: Path, voices: ClipPredictor) -> np.ndarray:
    content = np.frombuffer(draw_spectrogram(path, voices, path.name, Limits()), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return picture


@pytest.mark.parametrize(("seconds", "columns"), [(0.2, 16), (1.5, 48), (3.0, 96), (10.0, 320)])
def test_a_sound_is_drawn_from_its_beginning_to_its_end(
    voices: ClipPredictor, tmp_path: Path, seconds: float, columns: int
) -> None:
    picture = drawn(record(tmp_path / "sound.wav", seconds), voices)
    assert picture.shape == (64, columns)
    # Where the tone is, whatever the length.
    row = picture[:, -columns // 4].argmax()
    loud = picture[row] > 0.8 * float(picture[row].max())
    assert abs(int(loud.argmax()) - columns / 2) <= 0.04 * columns + 1
    assert loud[-2]


def test_of_one_look_the_drawing_is_what_the_network_hears(
    voices: ClipPredictor, tmp_path: Path
) -> None:
    path = record(tmp_path / "sound.wav", 3.0)
    samples = read_sound(path, RATE_HZ)
    assert samples is not None
    heard = voices.listen(samples)
    assert heard is not None
    assert np.abs(drawn(path, voices).astype(int) - heard).max() <= 1


def test_a_sound_that_is_too_long_is_not_read_to_its_end(
    voices: ClipPredictor, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError, match="wanted 2 s at most") as refused:
        draw_spectrogram(record(tmp_path / "a.wav", 4.0), voices, "a.wav", Limits(video_seconds=2))
    assert refused.value.status == 413


def test_a_side_that_is_not_there_is_refused(voices: ClipPredictor) -> None:
    with pytest.raises(RefusedError, match="no branch for it"):
        OneSided(voices, "frames")
    assert OneSided(voices, "sound").predict_clip(None, None) is None


def test_heat_of_a_sound_is_not_of_frames_alone(voices: ClipPredictor) -> None:
    artifact = voices.artifact
    with pytest.raises(RefusedError, match="leave only=frames out") as refused:
        check_asked(Asked("heat", "frames"), "video", artifact, "a.wav")
    assert refused.value.status == 400
    check_asked(Asked("heat", "sound"), "video", artifact, "a.wav")
    check_asked(Asked("json", "frames"), "video", artifact, "a.wav")
    check_asked(Asked("heat"), "picture", load_artifact(find_model("faces")), "a.png")


def write_song(path: Path, seconds: float) -> Path:
    """An MP3 with a picture of its cover, as shops sell them."""
    with av.open(str(path), "w", format="mp3", options={"id3v2_version": "0"}) as target:
        stream = target.add_stream("mp3", rate=RATE_HZ)
        noise = np.random.default_rng(0).normal(0, 3000, (1, round(seconds * RATE_HZ)))
        frame = av.AudioFrame.from_ndarray(noise.astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        target.mux(stream.encode(frame))
        target.mux(stream.encode())
    cover = cv2.imencode(".jpg", np.full((300, 300, 3), 90, np.uint8))[1].tobytes()
    attached = b"\0image/jpeg\0\x03\0" + cover
    tag = b"APIC" + struct.pack(">I2x", len(attached)) + attached
    # Seven bits a byte.
    size = bytes(len(tag) >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + tag + path.read_bytes())
    return path


def test_a_song_with_a_cover_is_a_sound(voices: ClipPredictor, tmp_path: Path) -> None:
    path, found = write_song(tmp_path / "song.mp3", 4.0), Uploaded("song.mp3")
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    for _ in look_at_video(path, found, voices, Limits()):
        pass
    assert len(found.rows) > 1
    assert {json.loads(row)["success"] for row in found.rows} == {0}
    assert drawn(path, voices).shape[0] == 64
