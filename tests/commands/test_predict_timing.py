"""Rows against packets: one for each frame, at its packet's time, whatever headers say."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

# Codec, whether frames come out of order, and the clock's ticks a second.
WAYS = {
    "h264.mp4": ("libx264", 3, 90_000),
    "h264.mov": ("libx264", 0, 90_000),
    "h264.mkv": ("libx264", 3, 1_000),
    "vp8.webm": ("libvpx", 0, 1_000),
    "mpeg2.ts": ("mpeg2video", 2, 90_000),
    "flv1.flv": ("flv", 0, 1_000),
}


def write_uneven(path: Path, codec: str, out_of_order: int, ticks: int, late_s: float) -> int:
    """Write frames at uneven times, some with sound; the header tells of 10 frames a second."""
    rng = np.random.default_rng(0)
    gaps = rng.choice([1 / 60, 1 / 30, 1 / 24, 0.1, 0.35], 90)
    times = late_s + np.cumsum(gaps)
    with av.open(str(path), "w") as container:
        # MPEG-2 knows a few rates only.
        stream: Any = container.add_stream(codec, rate=25 if codec == "mpeg2video" else 10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25 if codec == "mpeg2video" else ticks)
        stream.codec_context.max_b_frames = out_of_order
        sound: Any = None
        if path.suffix in (".mp4", ".mov", ".mkv"):
            sound = container.add_stream("aac", rate=48000)
        for number, time in enumerate(times):
            picture = np.full((64, 96, 3), 2 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            base = stream.codec_context.time_base
            frame.pts, frame.time_base = round(time / base), base
            if codec == "mpeg2video":
                frame.pts = number + number // 7
            container.mux(stream.encode(frame))
        if sound is not None:
            # Longer than the picture.
            for number in range(int(times[-1] * 50) + 25):
                noise = rng.normal(0, 0.01, (2, 960)).astype(np.float32)
                heard = av.AudioFrame.from_ndarray(noise, format="fltp", layout="stereo")
                heard.sample_rate, heard.pts = 48000, number * 960
                heard.time_base = Fraction(1, 48000)
                container.mux(sound.encode(heard))
            container.mux(sound.encode())
        container.mux(stream.encode())
    return len(times)


@pytest.mark.parametrize("late_s", [0.0, 1.4])
def test_uneven_frames_have_their_rows_at_their_times(tmp_path, artifact_folder, late_s):
    paths = [tmp_path / name for name in WAYS]
    counts = [write_uneven(path, *WAYS[path.name], late_s) for path in paths]
    words = [ROOT / "experiments" / "frame_counts.py", *paths, "--model", artifact_folder]
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if "." in line}
    for path, count in zip(paths, counts, strict=True):
        header, packets, frames, rows, without, _ = lines[path.name]
        assert [int(packets), int(frames), int(rows), int(without)] == [count] * 4
        # What is told is often wrong, or there would be nothing to show.
        assert path.suffix in (".mp4", ".mov") or int(header) != count, path.name
