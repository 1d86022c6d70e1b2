"""The figures that the thesis prints, to stand beside ours. Percent, as printed.

Source: N.-C. Ristea (2019), Recunoasterea emotiilor folosind retele neurale adanci (Emotion
recognition using deep neural networks), BSc thesis, Universitatea POLITEHNICA din Bucuresti,
chapter 6. FN1 to FN4 are FotoNation's own sets, which nobody else has.
"""

from __future__ import annotations

from typing import NamedTuple

THESIS = "Ristea 2019"

CLOSED_SETS: tuple[str, ...] = ("FN1", "FN2", "FN3", "FN4")
"""FotoNation's test sets, in the order of the tables."""

STAND_INS: dict[str, str] = dict(zip(CLOSED_SETS, ("S1", "S2", "S3", "S4"), strict=True))
"""Drawn domains that stand where the thesis has a closed set."""

EMOTION_TABLES: dict[str, str] = {
    "6.1": "resnet18",
    "6.3": "inception_v4",
    "6.5": "inception_resnet",
}
"""Emotion accuracy of each network."""

UNIT_TABLES: dict[str, str] = {
    "6.2": "resnet18",
    "6.4": "inception_v4",
    "6.6": "inception_resnet",
}
"""Action-unit accuracy of each network."""

NETWORKS: tuple[str, ...] = tuple(EMOTION_TABLES.values())
"""Of experiments 1, 2 and 3."""

EXPERIMENTS: dict[str, str] = {
    "resnet18": "Experiment 1, ResNet-18",
    "inception_v4": "Experiment 2, Inception-v4",
    "inception_resnet": "Experiment 3, Inception-ResNet",
}

PROTOCOLS: dict[str, str] = {
    "E1": "seven emotions and 15 action units",
    "E2": "six emotions and 15 action units; neutral where all six are low",
}

EMOTION_ACCURACY: dict[tuple[str, str], tuple[float, ...]] = {
    ("resnet18", "E1"): (75.4, 64.79, 58.13, 65.74),
    ("resnet18", "E2"): (88.59, 65.12, 61.47, 74.92),
    ("inception_v4", "E1"): (68.47, 65.58, 56.44, 52.99),
    ("inception_v4", "E2"): (71.6, 64.79, 54.31, 70.12),
    ("inception_resnet", "E1"): (86.72, 63.95, 48.08, 78.26),
    ("inception_resnet", "E2"): (88.19, 67.91, 59.06, 74.92),
    # Table 6.7: action units first, then the perceptron.
    ("resnet18", "AU first"): (71.92, 62.72, 54.88, 67.33),
    ("inception_v4", "AU first"): (70.33, 67.41, 55.88, 61.13),
    ("inception_resnet", "AU first"): (87.46, 68.33, 57.41, 76.82),
}
"""Network and protocol: accuracy on each of `CLOSED_SETS`. Tables 6.1, 6.3, 6.5, 6.7."""

# fmt: off
UNIT_ACCURACY: dict[tuple[str, str], tuple[float, ...]] = {
    ("resnet18", "E1"): (82.93, 75.59, 75.68, 87.04, 85.7, 79.08, 99.98, 70.48, 81.6, 75.37, 77.5,
                         82.59, 65.14, 90.81, 86.77),
    ("resnet18", "E2"): (83.86, 75.18, 76.35, 84.8, 84.81, 78.34, 63.77, 77.38, 69.21, 76.2, 79.11,
                         58.76, 88.67, 85.59, 87.09),
    ("inception_v4", "E1"): (92.37, 90.52, 89.61, 94.78, 95.24, 90.07, 99.98, 90.26, 94.26, 92.51,
                             93.4, 94.24, 89.3, 97.14, 96.22),
    ("inception_v4", "E2"): (92.3, 89.94, 89.54, 94.42, 95.07, 89.62, 99.98, 89.92, 94.21, 91.54,
                             93.28, 93.75, 88.58, 96.74, 95.65),
    ("inception_resnet", "E1"): (92.11, 92.11, 89.95, 87.65, 95.59, 93.88, 91.03, 90.35, 93.11,
                                 91.55, 92.99, 93.92, 88.19, 96.52, 95.66),
    ("inception_resnet", "E2"): (89.38, 85.42, 84.54, 92.9, 91.42, 85.17, 86.24, 90.81, 87.74,
                                 89.82, 91.56, 82.77, 95.37, 93.5, 94.19),
}
# fmt: on
"""Network and protocol: accuracy of each action unit as printed. Tables 6.2, 6.4, 6.6."""

UNSURE_ROWS: tuple[tuple[str, str], ...] = (
    ("resnet18", "E2"),
    ("inception_resnet", "E1"),
    ("inception_resnet", "E2"),
)
"""Of `UNIT_ACCURACY`: a value is missing and another surplus or twice there: no mean of units."""

SHIFTED = (
    "As printed. The thesis's E2 rows of 6.2 and 6.6 look shifted one place to the left from AU9 "
    "on; E1 of 6.6 repeats its first value and looks shifted too. Of these rows no mean is shown."
)

CLIP_ACCURACY: dict[str, float] = {"video": 62.84, "both": 69.42}
"""CREMA-D, one subject left out at a time. Table 6.8."""

CREMA_D_PEOPLE = 91
"""All of CREMA-D's actors."""

HUMAN_ACCURACY: dict[str, float] = {"voice": 40.9, "face": 58.2, "both": 63.6}
"""CREMA-D, a single rater against the acted emotion, by what was given. Table 6.9."""


class Voices(NamedTuple):
    """What somebody else's network hears in voices alone."""

    percent: float
    """Unweighted average recall."""
    source: str
    people: int
    clips: int


VOICE_RECALL: dict[str, Voices] = {
    "crema_d": Voices(72.7, "HuBERT, its own folds", 91, 7_442),
    "ravdess": Voices(
        65.17,
        "ResLSTM-SA, arXiv 2606.03359, its own folds, the best of 10 runs, whose mean is 62.32",
        24,
        1_440,
    ),
}
"""By the builder's name of the data, all of its people and clips. The mean is in the README of the
authors' code, github.com/Mak-Sim/ResLSTM-SER, whose notebook chooses rate, batch, dropout and decay
by 100 trials on the people that are tested."""

TRAINING_HOURS: dict[str, float] = {"resnet18": 16.0, "inception_v4": 36.0}
"""Ten epochs, on the thesis's machine and data."""

CLAIMS_OF_TIME = (
    "Inception takes about 50% longer than ResNet in training and in use (its hours say 2.25 "
    "times); Inception-ResNet lies between the two; beyond 50 residual blocks nothing runs in "
    "real time."
)
