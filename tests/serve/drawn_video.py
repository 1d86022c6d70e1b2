"""Films of drawn people, as the fake camera of a browser plays them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import make_scene
from emojax.data.synthetic.expressions import sample_emotion
from emojax.data.synthetic.people import make_person

SEED = 20261126
WIDTH, HEIGHT, RATE_HZ = 640, 480, 30
# Whom the Haar cascade finds in every frame.
PEOPLE = (0, 1, 5)


def draw_people(count: int, frames: int, emotion: str = "happiness") -> Iterator[np.ndarray]:
    """Yield frames of people side by side who go from neutral to an emotion and back.

    uint8 [HEIGHT, WIDTH, 3], blue, green, red; without people an empty wall.
    """
    side = min(HEIGHT, WIDTH // max(count, 1))
    films = []
    for person in PEOPLE[:count]:
        rng = np.random.default_rng((SEED, person))
        peak = tuple(0.9 * (value > 0) for value in sample_emotion(rng, emotion).intensities)
        timeline = make_timeline(rng, peak, frames, returns=True)
        films.append(render_clip(make_person(SEED, person), timeline, make_scene(rng, "S1"), rng))
    for number in range(frames):
        canvas = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        for place, film in enumerate(films):
            face = cv2.resize(next(film), (side, side), interpolation=cv2.INTER_CUBIC)
            left = round((place + 0.5) * WIDTH / count - side / 2)
            top = (HEIGHT - side) // 2
            canvas[top : top + side, left : left + side] = face
        # Light comes and goes, so that something moves whatever the network.
        light = 0.75 + 0.25 * np.cos(2 * np.pi * number / frames)
        yield cv2.convertScaleAbs(canvas, alpha=light)


def write_y4m(path: Path, frames: Sequence[np.ndarray]) -> Path:
    """Write frames as `--use-file-for-fake-video-capture` takes them; it plays them in a loop."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE_HZ}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n")
            file.write(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())
    return path
