"""A voice that babbles: pulses of the vocal folds through the formants of vowels.

No words, but what carries emotion in a voice is there: pitch and its movement,
loudness, tempo and brightness, each drawn around a person's own.

Source: Fant (1960), Acoustic theory of speech production, for source and
filter; Peterson and Barney (1952) for the vowels' formants; the directions in
which emotions move a voice follow Banse and Scherer (1996), table 2.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from emojax.data.synthetic.people import Person

SAMPLE_RATE_HZ = 16_000

# First three formants in Hz of a, e, i, o, u as an adult man speaks them.
_VOWELS_HZ = np.array(
    [[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]]
)
_BANDWIDTHS_HZ = np.array([80.0, 110.0, 160.0])


@dataclasses.dataclass(frozen=True)
class Prosody:
    """How an emotion moves a voice."""

    pitch: float
    """Factor on the person's median pitch."""
    movement: float
    """Standard deviation of the pitch over syllables, in semitones."""
    slope: float
    """Change of pitch from the first to the last syllable, in semitones."""
    level_db: float
    """Loudness against the neutral voice, in dB."""
    tempo: float
    """Syllables per second."""
    brightness: float
    """Fall of the source's spectrum, in dB per octave; nearer 0 is brighter."""
    breath: float
    """Share of breath noise in the source."""


PROSODY: dict[str, Prosody] = {
    "neutral": Prosody(1.00, 1.2, -2.0, 0.0, 4.2, -12.0, 0.03),
    "happiness": Prosody(1.30, 3.2, 1.0, 4.0, 5.0, -9.5, 0.03),
    "sadness": Prosody(0.90, 0.7, -3.0, -7.0, 2.9, -15.0, 0.10),
    "surprise": Prosody(1.45, 3.6, 6.0, 3.0, 4.6, -10.5, 0.05),
    "fear": Prosody(1.50, 2.0, 2.0, -1.0, 6.0, -12.5, 0.12),
    "disgust": Prosody(0.86, 2.2, -4.0, 0.5, 3.4, -11.0, 0.08),
    "anger": Prosody(1.22, 2.8, -1.0, 7.0, 5.2, -7.5, 0.02),
}


def _source(pitch_hz: np.ndarray, prosody: Prosody, rng: np.random.Generator) -> np.ndarray:
    """Return the sound of the vocal folds for a pitch per sample, plus breath."""
    phase = np.cumsum(pitch_hz / SAMPLE_RATE_HZ)
    # A train of pulses, one where the phase passes a whole number, placed between
    # samples so that the pitch does not jump in steps of the sampling rate.
    pulses = np.zeros(len(phase))
    at = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    late = (phase[at + 1] - np.floor(phase[at + 1])) / (pitch_hz[at + 1] / SAMPLE_RATE_HZ)
    pulses[at + 1] += 1 - late
    pulses[at] += late
    return pulses + prosody.breath * rng.normal(0, 1, len(phase)) * 0.35


def _through_tract(source: np.ndarray, formants_hz: np.ndarray, brightness: float) -> np.ndarray:
    """Return the source filtered by resonances and by the fall of its spectrum."""
    size = 1 << int(np.ceil(np.log2(len(source) + 2048)))
    frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    gain = (np.maximum(frequency, 60) / 100) ** (brightness / 6.02)
    response = gain.astype(complex)
    for centre, width in zip(formants_hz, _BANDWIDTHS_HZ, strict=True):
        pole = -np.pi * width + 2j * np.pi * centre
        s = 2j * np.pi * frequency
        response = response * (abs(pole) ** 2 / ((s - pole) * (s - np.conj(pole))))
    # What falls slower than the source does, as lips radiate sound: 6 dB an octave.
    response = response * (np.maximum(frequency, 60) / 100)
    return np.fft.irfft(np.fft.rfft(source, size) * response, size)[: len(source)]


def make_voice(
    rng: np.random.Generator, person: Person, emotion: str, seconds: float, strength: float = 1.0
) -> np.ndarray:
    """Return babble in a person's voice, int16 [seconds * 16000], mono.

    Args:
        rng: source of syllables and variation.
        person: whose voice.
        emotion: one of `labels.SEVEN`; any other name speaks as neutral.
        seconds: length of the sound.
        strength: 0 for a neutral voice, 1 for the full emotion.
    """
    calm, moved = PROSODY["neutral"], PROSODY.get(emotion, PROSODY["neutral"])
    prosody = Prosody(
        **{
            field.name: getattr(calm, field.name)
            + strength * (getattr(moved, field.name) - getattr(calm, field.name))
            for field in dataclasses.fields(Prosody)
        }
    )
    total = round(seconds * SAMPLE_RATE_HZ)
    sound = np.zeros(total)
    base_hz = person.voice_hz * prosody.pitch * 2 ** (rng.normal(0, 0.6) / 12)
    position, margin = 0.12 * seconds * rng.uniform(0.5, 1.0), 0.1 * seconds
    while position < seconds - margin:
        length = float(np.clip(rng.normal(1, 0.18), 0.6, 1.5)) / prosody.tempo
        length = min(length, seconds - margin - position + 0.08)
        start, count = round(position * SAMPLE_RATE_HZ), round(0.85 * length * SAMPLE_RATE_HZ)
        count = min(count, total - start)
        if count < 400:
            break
        place = position / seconds
        time = np.linspace(0, 1, count)
        semitones = rng.normal(0, prosody.movement) + prosody.slope * (place - 0.5)
        glide = rng.normal(0, 0.5 * prosody.movement) * (time - 0.5)
        tremor = 0.15 * np.sin(2 * np.pi * 5.5 * (position + time * length) + 1)
        pitch_hz = base_hz * 2 ** ((semitones + glide + tremor) / 12)
        formants = _VOWELS_HZ[rng.integers(len(_VOWELS_HZ))] / person.vocal_tract
        voiced = _through_tract(_source(pitch_hz, prosody, rng), formants, prosody.brightness)
        voiced /= np.sqrt(np.mean(voiced**2)) + 1e-9
        envelope = np.minimum(1, time / 0.18) * np.minimum(1, (1 - time) / 0.3)
        stress = 10 ** (rng.normal(0, 1.5) / 20)
        sound[start : start + count] += voiced * envelope * stress
        if rng.random() < 0.35:
            # A short hiss where a consonant would stand.
            hiss = rng.normal(0, 0.25, min(900, count))
            hiss = np.diff(hiss, prepend=0.0) * np.hanning(len(hiss))
            sound[start : start + len(hiss)] += hiss * stress
        position += length * (1 + 0.8 * (rng.random() < 0.08))
    level = 1600 * 10 ** (prosody.level_db / 20) * 10 ** (rng.normal(0, 1.0) / 20)
    sound = sound * level + rng.normal(0, 6, total)
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
