"""Drawn people for an artifact's recorded answers: nobody who sat for a data set travels."""

from __future__ import annotations

import itertools

import numpy as np

from emojax.audio import stored_spectrogram
from emojax.data.mel import make_mel_filters
from emojax.data.synthetic.clips import make_timeline, render_clip
from emojax.data.synthetic.domains import DOMAINS, make_scene
from emojax.data.synthetic.expressions import sample_emotion
from emojax.data.synthetic.people import make_person
from emojax.data.synthetic.voice import make_voice
from emojax.face import HaarDetector, crop_face, crop_ready, largest, to_gray
from emojax.golden import Recorded
from emojax.labels import SEVEN
from emojax.models.inputs import Looks
from emojax.spec import InputSpec

SEED = 20190619
"""Of the drawings; no set that is trained on is drawn from it."""


def draw_examples(looks: Looks, spec: InputSpec, wanted: int) -> Recorded:
    """Return drawn people of all emotions and domains, as a network looks at them.

    Of clips, each third is given without its sound and the next without its frames.

    Args:
        looks: what the network looks at.
        spec: how faces and sound become its input.
        wanted: how many.
    """
    crops = np.empty((wanted, spec.frames, spec.height, spec.width), np.uint8)
    high, wide = (spec.sound.height, spec.sound.width) if spec.sound else (0, 0)
    spectrograms = np.zeros((wanted, high, wide), np.uint8)
    domains = itertools.cycle(DOMAINS)
    for index, emotion in zip(range(wanted), itertools.cycle(SEVEN), strict=False):
        rng = np.random.default_rng([SEED, index])
        person, expression = make_person(SEED, index), sample_emotion(rng, emotion)
        timeline = make_timeline(rng, expression.intensities, max(spec.frames, 6))
        scene = make_scene(rng, next(domains))
        # Of a picture the last frame, at its peak; of a clip all.
        frames = list(render_clip(person, timeline, scene, rng))[-spec.frames :]
        box = largest(HaarDetector()(to_gray(frames[0])))
        for number, frame in enumerate(frames):
            gray = to_gray(frame)
            cut = crop_ready(gray, spec) if box is None else crop_face(gray, box, spec)
            crops[index, number] = cut
        if spec.sound is not None:
            voice = make_voice(rng, person, emotion, 2.0) / 32768
            filters = make_mel_filters(spec.sound)
            spectrograms[index] = stored_spectrogram(voice, spec.sound, filters)
    turn = np.arange(wanted) % 3
    hidden = turn if looks == "clip" and spec.sound is not None else np.zeros_like(turn)
    return Recorded(
        crops=crops,
        spectrograms=spectrograms,
        has_frames=(hidden != 1).astype(np.float32),
        has_sound=((hidden != 2) * (spec.sound is not None)).astype(np.float32),
    )
