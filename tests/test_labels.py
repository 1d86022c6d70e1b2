from __future__ import annotations

import re

import pytest

from emojax import labels
from emojax.errors import UserError
from emojax.labels import UNKNOWN, action_unit_index, emotion_from_action_units, emotion_index

# Typed out from the specification, so that a slip in labels.py has something to differ from.
SPECIFIED_UNITS = {
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
SEVEN = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]
SPECIFIED_SETS = {
    "seven": SEVEN,
    "crema6": ["neutral", "happiness", "sadness", "anger", "fear", "disgust"],
    "ck8": [*SEVEN, "contempt"],
    "ravdess8": [*SEVEN, "calm"],
}
SPECIFIED_PROTOTYPES = {
    "neutral": set(),
    "happiness": {6, 12},
    "sadness": {1, 4, 15},
    "surprise": {1, 2, 5, 26},
    "fear": {1, 2, 4, 5, 7, 20, 26},
    "anger": {4, 5, 7, 23},
    "disgust": {9, 15, 16},
}
# What the owners write, in their order: CK+ 0.., MMI 1.., RAVDESS 1.., FER2013 0...
CK_PLUS = ["neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"]
MMI = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
RAVDESS = ["neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"]
FER2013 = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]


def test_action_units_and_their_order() -> None:
    assert tuple(SPECIFIED_UNITS) == labels.ACTION_UNITS
    assert labels.ACTION_UNIT_NAMES == SPECIFIED_UNITS
    assert (
        *("AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10"),
        *("AU12", "AU15", "AU16", "AU17", "AU20", "AU23", "AU26"),
    ) == labels.AU_COLUMNS


def test_emotion_sets_and_their_order() -> None:
    assert {name: list(emotions) for name, emotions in labels.EMOTION_SETS.items()} == (
        SPECIFIED_SETS
    )
    assert list(labels.SEVEN) == SEVEN
    for name, emotions in SPECIFIED_SETS.items():
        assert list(labels.emotion_names(name)) == emotions


def test_prototypes() -> None:
    assert {name: set(units) for name, units in labels.PROTOTYPES.items()} == SPECIFIED_PROTOTYPES
    for units in labels.PROTOTYPES.values():
        assert len(set(units)) == len(units)
        assert set(units) <= set(SPECIFIED_UNITS)


def test_codes_of_the_data_sets() -> None:
    assert dict(enumerate(CK_PLUS)) == labels.CK_PLUS_EMOTIONS
    assert labels.CK_PLUS_EMOTIONS[7] == "surprise"
    assert dict(enumerate(MMI, start=1)) == labels.MMI_EMOTIONS
    assert dict(enumerate(RAVDESS, start=1)) == labels.RAVDESS_EMOTIONS
    assert dict(enumerate(FER2013)) == labels.FER2013_CODES
    assert labels.CREMA_D_EMOTIONS == {
        "NEU": "neutral",
        "HAP": "happiness",
        "SAD": "sadness",
        "ANG": "anger",
        "FEA": "fear",
        "DIS": "disgust",
    }
    # FER2013 as folders and FER2013 as a table are one data set.
    folders = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert [labels.FER2013_EMOTIONS[name] for name in folders] == FER2013


@pytest.mark.parametrize(
    ("codes", "emotion_set", "outside"),
    [
        (labels.CK_PLUS_EMOTIONS, "seven", {"contempt"}),
        (labels.CK_PLUS_EMOTIONS, "ck8", set()),
        (labels.MMI_EMOTIONS, "seven", set()),
        (labels.CREMA_D_EMOTIONS, "crema6", set()),
        (labels.CREMA_D_EMOTIONS, "seven", set()),
        (labels.FER2013_EMOTIONS, "seven", set()),
        (labels.FER2013_EMOTIONS, "crema6", {"surprise"}),
        (labels.RAVDESS_EMOTIONS, "ravdess8", set()),
        (labels.RAVDESS_EMOTIONS, "seven", {"calm"}),
    ],
)
def test_every_code_has_a_place_or_is_unknown(
    codes: dict, emotion_set: str, outside: set[str]
) -> None:
    places = {name: emotion_index(name, emotion_set) for name in codes.values()}
    assert {name for name, place in places.items() if place == UNKNOWN} == outside
    for name, place in places.items():
        if name not in outside:
            assert SPECIFIED_SETS[emotion_set][place] == name


def test_unknown_is_neither_absent_nor_a_class() -> None:
    assert UNKNOWN == -1
    assert emotion_index("contempt") == emotion_index("contempt", "seven") == UNKNOWN
    assert emotion_index("surprise", "crema6") == UNKNOWN


def test_unknown_emotion_is_refused_with_what_is_known() -> None:
    with pytest.raises(UserError, match=re.escape("emotion 'joy' is not known")) as refusal:
        emotion_index("joy")
    for emotion in ("happiness", "contempt", "calm", "neutral"):
        assert emotion in str(refusal.value)
    with pytest.raises(UserError, match="emotion 'Happiness' is not known"):
        emotion_index("Happiness")


@pytest.mark.parametrize("function", [labels.emotion_names, lambda s: emotion_index("fear", s)])
def test_unknown_emotion_set_is_refused_with_the_sets(function) -> None:
    with pytest.raises(UserError, match=re.escape("emotion set 'six' is not known")) as refusal:
        function("six")
    for name in SPECIFIED_SETS:
        assert name in str(refusal.value)


def test_places_of_action_units() -> None:
    for place, number in enumerate(SPECIFIED_UNITS):
        assert action_unit_index(number) == place
    # What CK+, DISFA and FACS hold beside the 15; 27 is not 26.
    for number in (0, 3, 8, 11, 13, 14, 18, 24, 25, 27, 28, 43, -1):
        assert action_unit_index(number) is None


def test_disfa_codes_eleven_of_ours() -> None:
    placed = {
        number for number in labels.DISFA_ACTION_UNITS if action_unit_index(number) is not None
    }
    assert len(labels.DISFA_ACTION_UNITS) == 12
    assert set(labels.DISFA_ACTION_UNITS) - placed == {25}
    assert set(SPECIFIED_UNITS) - placed == {7, 10, 16, 23}
    assert labels.DISFA_PRESENT_FROM == 2


def test_action_unit_vector() -> None:
    looked_at_all = labels.action_unit_vector({12: 1.0, 1: 0.5, 25: 1.0, 27: 1.0}, absent=0.0)
    assert looked_at_all == [0.5, *[0.0] * 7, 1.0, *[0.0] * 6]
    some = labels.action_unit_vector({26: 1.0, 4: 0.0}, absent=float(UNKNOWN))
    assert some == [-1.0, -1.0, 0.0, *[-1.0] * 11, 1.0]


@pytest.mark.parametrize("emotion", SEVEN)
def test_a_prototype_is_its_emotion(emotion: str) -> None:
    units = sorted(SPECIFIED_PROTOTYPES[emotion])
    assert emotion_from_action_units(units) == emotion
    assert emotion_from_action_units(units[::-1] + units) == emotion


@pytest.mark.parametrize(
    ("units", "emotion"),
    [
        ([12], "happiness"),  # 1 of 2
        ([4, 5, 7], "anger"),  # 3 of 4, against 3 of 7 for fear
        ([6, 12, 26], "happiness"),  # 2 of 3, against 1 of 6
        ([1, 2, 5, 26, 12], "surprise"),  # 4 of 5, against 4 of 8 for fear
        ([1, 2, 4, 5, 20, 26], "fear"),  # 6 of 7, against 4 of 6 for surprise
        ([10, 17], "neutral"),  # in no prototype
        ([27], "neutral"),
    ],
)
def test_incomplete_and_mixed_prototypes(units: list[int], emotion: str) -> None:
    assert emotion_from_action_units(units) == emotion
