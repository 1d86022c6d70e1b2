"""Does a network's confidence mean what it says, before and after a temperature?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from emojax.calibration import expected_calibration_error, fit_temperature
from emojax.labels import UNKNOWN
from emojax.tables.outcome import Outcome
from emojax.tables.table import Column, Table
from emojax.tables.trained import DRAWN, PictureStudy, Trained
from emojax.temperature import scale_group


class Confidences(NamedTuple):
    """Of the emotion that is answered, on the test people."""

    temperature: float
    """Chosen on validation people."""
    before: np.ndarray
    """0..1, as the network gives them."""
    after: np.ndarray
    """At the temperature."""
    right: np.ndarray
    """Whether the answer is right; a temperature changes none."""


def _top(outcome: Outcome, activation: str, temperature: float) -> np.ndarray:
    known = outcome.emotion != UNKNOWN
    return scale_group(outcome.emotion_scores[known], activation, temperature).max(axis=1)


def confidences(trained: Trained) -> Confidences:
    """Return a network's confidences, with the temperature that validation people ask for.

    Args:
        trained: a network that answers all emotions.
    """
    validation, activation = trained.validation, trained.config.emotion_activation
    names = np.arange(len(validation.emotions))
    known = (validation.emotion != UNKNOWN)[:, None]
    one_hot = np.where(known, validation.emotion[:, None] == names, UNKNOWN).astype(int)
    temperature = fit_temperature(validation.emotion_scores, one_hot, activation)
    return Confidences(
        temperature,
        _top(trained.test, activation, 1.0),
        _top(trained.test, activation, temperature),
        trained.test.right[trained.test.emotion != UNKNOWN],
    )


def calibration_table(studies: Sequence[PictureStudy], commands: Sequence[str]) -> Table:
    """Return the expected calibration errors of all networks of E1.

    Args:
        studies: a set of pictures each.
        commands: that make it.
    """
    rows: list[dict[str, Any]] = []
    for study in studies:
        for (network, protocol), runs in study.runs.items():
            for trained in runs if protocol == "E1" else ():
                found = confidences(trained)
                rows.append(
                    {
                        "data": study.name,
                        "network": network,
                        "seed": str(trained.config.seed),
                        "temperature": found.temperature,
                        "before": expected_calibration_error(found.before, found.right),
                        "after": expected_calibration_error(found.after, found.right),
                        "people": len(np.unique(trained.test.subject))
                        if trained.test.people_are_known
                        else None,
                        "examples": len(found.right),
                    }
                )
    return Table(
        name="calibration",
        title="Calibration: does confidence mean what it says?",
        columns=(
            Column("data", "data"),
            Column("network", "network"),
            Column("seed", "seed"),
            Column("temperature", "temperature", "number"),
            Column("before", "calibration error, %", "percent"),
            Column("after", "with temperature, %", "percent"),
            Column("people", "people", "count"),
            Column("examples", "pictures", "count"),
        ),
        rows=tuple(rows),
        notes=(
            *((DRAWN,) if any(study.synthetic for study in studies) else ()),
            "E1's emotions: expected calibration error of the highest score, 15 equally wide bins, "
            "on test people; the temperature is chosen on validation people. It has no interval: "
            "people who are drawn again, some of them twice, give a larger error than they have.",
        ),
        commands=tuple(commands),
    )
