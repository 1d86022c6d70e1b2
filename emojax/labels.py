"""The vocabulary: action units, emotions, prototypes and every data set's codes.

Order matters here and nowhere else: the index of an action unit or an emotion
in these tuples is its index in labels, logits, spec.json and every table.

Source: Ekman, Friesen and Hager (2002), Facial Action Coding System, for the
names; EMFACS for the prototypes; the data sets' own documentation for codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emojax.errors import UserError

UNKNOWN = -1
"""A label nobody gave. Masked out of losses and metrics, never read as absent."""

NEUTRAL = "neutral"
"""The emotion of a face that shows none."""

ACTION_UNITS: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 16, 17, 20, 23, 26)
"""FACS numbers of the 15 action units, in output order."""

ACTION_UNIT_NAMES: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    26: "jaw drop",
}

AU_COLUMNS: tuple[str, ...] = tuple(f"AU{number:02d}" for number in ACTION_UNITS)
"""`AU01` .. `AU26`: the names of outputs and of table columns."""

SEVEN: tuple[str, ...] = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
)

EMOTION_SETS: dict[str, tuple[str, ...]] = {
    "seven": SEVEN,
    "crema6": ("neutral", "happiness", "sadness", "anger", "fear", "disgust"),
    "ck8": (*SEVEN, "contempt"),
    "ravdess8": (*SEVEN, "calm"),
}
"""Emotion names in output order, by the name of the set. `seven` is the default."""

PROTOTYPES: dict[str, tuple[int, ...]] = {
    "neutral": (),
    "happiness": (6, 12),
    "sadness": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
    "fear": (1, 2, 4, 5, 7, 20, 26),
    "disgust": (9, 15, 16),
    "anger": (4, 5, 7, 23),
}
"""EMFACS: the action units that make up each of the seven emotions."""

MODALITIES: tuple[str, ...] = ("voice", "face", "both")
"""What raters were given: the sound alone, the picture alone, the clip as it is."""

# One map per data set, from what its owner writes to an emotion's name. `None`
# is a code that the owner defines and that is no emotion of ours.
CK_PLUS_EMOTIONS: dict[int, str] = {
    0: "neutral",
    1: "anger",
    2: "contempt",
    3: "disgust",
    4: "fear",
    5: "happiness",
    6: "sadness",
    7: "surprise",
}
MMI_EMOTIONS: dict[int, str] = {
    1: "anger",
    2: "disgust",
    3: "fear",
    4: "happiness",
    5: "sadness",
    6: "surprise",
}
CREMA_D_EMOTIONS: dict[str, str] = {
    "NEU": "neutral",
    "HAP": "happiness",
    "SAD": "sadness",
    "ANG": "anger",
    "FEA": "fear",
    "DIS": "disgust",
}
FER2013_EMOTIONS: dict[str, str] = {
    "neutral": "neutral",
    "happy": "happiness",
    "sad": "sadness",
    "surprise": "surprise",
    "fear": "fear",
    "disgust": "disgust",
    "angry": "anger",
}
FER2013_CODES: dict[int, str] = {
    0: "anger",
    1: "disgust",
    2: "fear",
    3: "happiness",
    4: "sadness",
    5: "surprise",
    6: "neutral",
}
RAVDESS_EMOTIONS: dict[int, str] = {
    1: "neutral",
    2: "calm",
    3: "happiness",
    4: "sadness",
    5: "anger",
    6: "fear",
    7: "disgust",
    8: "surprise",
}
DISFA_ACTION_UNITS: tuple[int, ...] = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
"""The 12 action units that DISFA codes; 25 is none of ours, 7, 10, 16, 23 are unknown there."""

DISFA_PRESENT_FROM = 2
"""DISFA's intensity (0..5) from which the field counts an action unit as present."""


def emotion_names(emotion_set: str) -> tuple[str, ...]:
    """Return the emotions of a set, in output order.

    Raises:
        UserError: no set has that name.
    """
    if emotion_set not in EMOTION_SETS:
        known = ", ".join(sorted(EMOTION_SETS))
        raise UserError(f"emotion set {emotion_set!r} is not known: use one of {known}")
    return EMOTION_SETS[emotion_set]


def emotion_index(name: str, emotion_set: str = "seven") -> int:
    """Return the place of an emotion in a set, `UNKNOWN` where the set does not hold it.

    Raises:
        UserError: no set holds an emotion of that name.
    """
    names = emotion_names(emotion_set)
    if name in names:
        return names.index(name)
    if any(name in others for others in EMOTION_SETS.values()):
        return UNKNOWN
    every = sorted({emotion for others in EMOTION_SETS.values() for emotion in others})
    raise UserError(f"emotion {name!r} is not known: use one of {', '.join(every)}")


def action_unit_index(number: int) -> int | None:
    """Return the place of a FACS number in `ACTION_UNITS`, None for any other unit.

    AU27 (mouth stretch) is not AU26 (jaw drop): it has no place.
    """
    return ACTION_UNITS.index(number) if number in ACTION_UNITS else None


def action_unit_vector(values: Mapping[int, float], absent: float) -> list[float]:
    """Return one value per action unit, in output order.

    Args:
        values: what is known, by FACS number; units outside the 15 are dropped.
        absent: the value of a unit that is not named: 0 where the coder looked
            at all of them, `UNKNOWN` where they did not.
    """
    return [float(values.get(number, absent)) for number in ACTION_UNITS]


def emotion_from_action_units(present: Sequence[int]) -> str:
    """Return the emotion whose prototype fits best (Jaccard index), neutral for no unit."""
    units = set(present)
    if not units:
        return "neutral"
    scores = {
        emotion: len(units & set(prototype)) / len(units | set(prototype))
        for emotion, prototype in PROTOTYPES.items()
        if prototype
    }
    best = max(scores, key=lambda emotion: scores[emotion])
    return best if scores[best] > 0 else "neutral"
