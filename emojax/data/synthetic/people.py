"""Who is drawn: one frozen record of looks and voice per person."""

from __future__ import annotations

import dataclasses

import numpy as np

Colour = tuple[int, int, int]
"""Blue, green, red, 0..255."""

HAIR_STYLES: tuple[str, ...] = ("cropped", "parted", "fringe", "long", "receding")

# From light to dark. The drawing shades them by multiplication, so a furrow is
# the same share of the light on each.
_SKINS: tuple[Colour, ...] = (
    (188, 206, 238),
    (168, 194, 232),
    (150, 178, 220),
    (132, 164, 208),
    (112, 144, 192),
    (92, 124, 172),
    (78, 106, 150),
)
_HAIRS: tuple[Colour, ...] = (
    (24, 22, 26),
    (30, 38, 52),
    (36, 54, 84),
    (44, 74, 112),
    (70, 104, 140),
    (92, 96, 104),
)
_IRISES: tuple[Colour, ...] = ((34, 48, 66), (40, 62, 84), (96, 84, 62), (70, 86, 70))


@dataclasses.dataclass(frozen=True)
class Person:
    """Looks and voice of one drawn person; sizes are factors around 1 unless said otherwise."""

    index: int
    """Number of the person in the set."""
    skin: Colour
    hair: Colour
    iris: Colour
    clothes: Colour
    redness: float
    """How far the lips are redder than the skin, 0..1."""
    face_width: float
    face_height: float
    jaw_width: float
    eye_spacing: float
    eye_width: float
    eye_height: float
    brow_lift: float
    """Height of the neutral brows above the usual, in canvas units."""
    brow_thickness: float
    brow_arch: float
    """How far the middle of the brow stands above its ends, in canvas units."""
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_drop: float
    """Distance of the neutral mouth below the usual, in canvas units."""
    mouth_tilt: float
    """Distance of the neutral lip corners below the lips' middle, in canvas units."""
    upper_lip: float
    lower_lip: float
    hair_style: str
    hairline: float
    """Distance of the hairline below the usual, in canvas units."""
    beard: float
    """0: none; up to 1: a short full beard."""
    glasses: bool
    age: float
    """0: smooth skin; 1: all furrows faintly there at rest."""
    crease: float
    """How deep the furrows of a moving face are, 0.5..1."""
    lopsided: float
    """Left brow and lip corner above the right ones, in canvas units."""
    texture: int
    """Seed of the skin's texture."""
    voice_hz: float
    """Median pitch of the neutral voice, in Hz."""
    vocal_tract: float
    """Length of the vocal tract, a factor around 1; formants are divided by it."""

    @property
    def name(self) -> str:
        """The subject's name in tables: `P000`, `P001` and so on."""
        return f"P{self.index:03d}"


def _mix(colours: tuple[Colour, ...], place: float, jitter: np.ndarray) -> Colour:
    """Return a colour between two neighbours of a scale, moved by `jitter` (3 gray levels)."""
    lower = min(int(place), len(colours) - 2)
    start, end = np.array(colours[lower], float), np.array(colours[lower + 1], float)
    mixed = np.clip(start + (end - start) * (place - lower) + jitter, 8, 250)
    return (int(mixed[0]), int(mixed[1]), int(mixed[2]))


def make_person(seed: int, index: int) -> Person:
    """Return the person with that number in the set drawn from a seed.

    Args:
        seed: seed of the whole set.
        index: number of the person, 0 or more; the others do not matter.
    """
    rng = np.random.default_rng([seed, 1, index])

    def factor(spread: float) -> float:
        """A factor around 1, never further than twice the spread."""
        return float(1 + spread * np.clip(rng.normal(), -2, 2))

    deep_voice = rng.random() < 0.5
    return Person(
        index=index,
        skin=_mix(_SKINS, rng.random() * (len(_SKINS) - 1), rng.normal(0, 3, 3)),
        hair=_mix(_HAIRS, rng.random() ** 1.4 * (len(_HAIRS) - 1), rng.normal(0, 3, 3)),
        iris=_IRISES[rng.integers(len(_IRISES))],
        clothes=_mix(((70, 60, 50), (190, 190, 185)), rng.random(), rng.normal(0, 22, 3)),
        redness=float(rng.uniform(0.35, 0.9)),
        face_width=factor(0.035),
        face_height=factor(0.03),
        jaw_width=factor(0.06),
        eye_spacing=factor(0.03),
        eye_width=factor(0.05),
        eye_height=factor(0.1),
        brow_lift=float(np.clip(rng.normal(0, 1.8), -3.6, 3.6)),
        brow_thickness=factor(0.2),
        brow_arch=float(rng.uniform(1.5, 6.5)),
        nose_width=factor(0.09),
        nose_length=factor(0.04),
        mouth_width=factor(0.07),
        mouth_drop=float(np.clip(rng.normal(0, 1.8), -3.6, 3.6)),
        mouth_tilt=float(np.clip(rng.normal(0, 1.0), -2, 2)),
        upper_lip=factor(0.2),
        lower_lip=factor(0.2),
        hair_style=HAIR_STYLES[rng.integers(len(HAIR_STYLES))],
        hairline=float(rng.uniform(-3, 3)),
        beard=float(rng.uniform(0.3, 1.0)) if deep_voice and rng.random() < 0.3 else 0.0,
        glasses=bool(rng.random() < 0.15),
        age=float(rng.random() ** 1.5),
        crease=float(rng.uniform(0.5, 1.0)),
        lopsided=float(np.clip(rng.normal(0, 0.5), -1, 1)),
        texture=int(rng.integers(2**31)),
        voice_hz=float(rng.normal(118, 12) if deep_voice else rng.normal(205, 18)),
        vocal_tract=float(rng.normal(1.0 if deep_voice else 0.87, 0.03)),
    )
