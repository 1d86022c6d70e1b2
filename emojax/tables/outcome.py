"""What a network answered to people it was never trained on, kept in a file of plain arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from emojax.data.shards import FaceArrays
from emojax.evaluate import Predictions
from emojax.labels import NEUTRAL, UNKNOWN
from emojax.significance import emotion_counts, unit_counts
from emojax.spec import InputSpec
from emojax.tables.kept import damaged, keep_arrays, kept_arrays

THRESHOLD = 0.5
"""Probability from which an action unit is called present; also the thesis's delta."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Labels and answers of n examples; e emotions, u action units."""

    emotion: np.ndarray  # int [n], index into emotions, -1 unknown
    emotion_scores: np.ndarray  # float32 [n, e], 0..1; the highest is the answer
    action_units: np.ndarray  # int [n, u], 1 present, 0 absent, -1 unknown
    unit_scores: np.ndarray  # float32 [n, u], 0..1
    subject: np.ndarray  # str [n]
    domain: np.ndarray  # str [n]
    path: np.ndarray  # str [n]
    emotions: tuple[str, ...]
    units: tuple[str, ...]

    @property
    def answered(self) -> np.ndarray:
        """The emotion that is answered, int [n]."""
        return self.emotion_scores.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Whether it is the right one, bool [n]; False where that is unknown."""
        return (self.answered == self.emotion) & (self.emotion != UNKNOWN)

    @property
    def people_are_known(self) -> bool:
        """Whether somebody said who they are: else each example's person is the file it is of."""
        # Of a manifest's parts of one file: `file#start-end`.
        of_file = np.char.startswith(self.path, np.char.add(self.subject, "#"))
        return not ((self.path == self.subject) | of_file).all()

    @property
    def people_are_alone(self) -> bool:
        """Whether nobody has two examples."""
        return len(np.unique(self.subject)) == len(self.subject)

    def select(self, chosen: np.ndarray) -> Outcome:
        """Return some of the examples: bool [n], or their indices."""
        columns = {
            field.name: getattr(self, field.name)[chosen]
            for field in dataclasses.fields(self)
            if field.name not in ("emotions", "units")
        }
        return dataclasses.replace(self, **columns)

    def of_domain(self, domain: str | None) -> Outcome:
        """Return the examples of a domain; None: all of them."""
        return self if domain is None else self.select(self.domain == domain)

    def emotion_counts(self) -> np.ndarray:
        """Return each person's confusion matrix, [people, e, e]."""
        names = len(self.emotions)
        return emotion_counts(self.emotion, self.answered, self.subject, names)

    def unit_counts(self) -> np.ndarray:
        """Return each person's confusion matrix of each action unit, [people, u, 2, 2]."""
        return unit_counts(self.action_units, self.unit_scores >= THRESHOLD, self.subject)


def make_outcome(arrays: FaceArrays, answers: Predictions, spec: InputSpec) -> Outcome:
    """Return a network's answers to a split.

    Args:
        arrays: the split, as the network saw it.
        answers: a row an example.
        spec: names the outputs.
    """
    return Outcome(
        emotion=arrays.emotion,
        emotion_scores=answers.emotions,
        action_units=arrays.action_units,
        unit_scores=answers.action_units,
        subject=np.array(arrays.subjects, str)[arrays.subject],
        domain=np.array(arrays.domains, str)[arrays.domain],
        path=np.array(arrays.paths, str),
        emotions=spec.emotions,
        units=spec.action_units,
    )


def renumber(index: np.ndarray, named: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Return indices of names as those of the same names in another order; -1 where it has none.

    Args:
        index: int, into `named`, -1 unknown.
        named: what they are indices of.
        wanted: what they shall be indices of.
    """
    places = [wanted.index(name) if name in wanted else UNKNOWN for name in named]
    # Unknown is -1: the last.
    return np.array([*places, UNKNOWN])[index]


def restrict(outcome: Outcome, emotions: Sequence[str], units: Sequence[str]) -> Outcome:
    """Return an outcome as one of fewer names: others are unknown, and answers are among these.

    Args:
        outcome: of emotions and action units, all of these among them.
        emotions: in the order that is wanted.
        units: in the order that is wanted.
    """
    scores = [outcome.emotions.index(name) for name in emotions]
    columns = [outcome.units.index(name) for name in units]
    return dataclasses.replace(
        outcome,
        emotion=renumber(outcome.emotion, outcome.emotions, emotions),
        emotion_scores=outcome.emotion_scores[:, scores],
        action_units=outcome.action_units[:, columns],
        unit_scores=outcome.unit_scores[:, columns],
        emotions=tuple(emotions),
        units=tuple(units),
    )


def labelled(outcome: Outcome, kind: Literal["emotion", "units"]) -> Outcome:
    """Return the examples whose emotion, or any of whose action units, is known."""
    if kind == "emotion":
        return outcome.select(outcome.emotion != UNKNOWN)
    return outcome.select((outcome.action_units != UNKNOWN).any(axis=1))


def stack_counts(outcomes: Sequence[Outcome], kind: Literal["emotion", "units"]) -> np.ndarray:
    """Return each person's confusion matrices, [seeds, people, ...].

    Args:
        outcomes: of the same examples, one for each seed.
        kind: whose they are: [e, e] of the emotions, or [u, 2, 2] of the action units.
    """
    return np.stack(
        [out.emotion_counts() if kind == "emotion" else out.unit_counts() for out in outcomes]
    )


def common_examples(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return outcomes of the examples that all of them have, in one order.

    A network without an ear has not been asked about clips without a face.
    """
    first, *others = outcomes
    shared = set(first.path.tolist()).intersection(*(other.path.tolist() for other in others))
    return [
        outcome.select(order[np.isin(outcome.path[order], list(shared))])
        for outcome in outcomes
        for order in (np.argsort(outcome.path, kind="stable"),)
    ]


def choose_neutral_threshold(outcome: Outcome) -> float:
    """Return the score below which all emotions are low, so that a face is called neutral.

    The one with the most right answers, in the middle between two scores that were seen; of
    several equally good ones the lowest. Source: the thesis's second experiment, which does not
    say how it chose.

    Args:
        outcome: of validation people, by a network that does not answer neutral; a neutral face
            has the index after its last emotion.
    """
    known = outcome.emotion != UNKNOWN
    scores, truth = outcome.emotion_scores[known].astype(np.float64), outcome.emotion[known]
    if not len(truth):
        return 0.5
    highest = scores.max(axis=1)
    order = np.argsort(highest, kind="stable")
    neutral = (truth == scores.shape[1])[order]
    right = (scores.argmax(axis=1) == truth)[order]
    # With the first k faces called neutral.
    hits = np.concatenate([[0], np.cumsum(neutral)]) + right.sum()
    hits = hits - np.concatenate([[0], np.cumsum(right)])
    ends = np.concatenate([[0.0], highest[order], [1.0]])
    # Faces of one score are called neutral together.
    able = ends[1:] > ends[:-1]
    best = int(np.argmax(np.where(able, hits, -1)))
    return float((ends[best] + ends[best + 1]) / 2)


def answer_neutral(outcome: Outcome, threshold: float, emotions: Sequence[str]) -> Outcome:
    """Return the outcome of a network without neutral as one of all emotions.

    Neutral scores what the threshold is: it is the highest where all others are below.

    Args:
        outcome: of a network without neutral; a neutral face has the index after its last emotion.
        threshold: from `choose_neutral_threshold`, of other people.
        emotions: names in the order that is wanted, neutral among them.
    """
    order = [*outcome.emotions, NEUTRAL]
    column = np.full((len(outcome.emotion), 1), threshold, np.float32)
    scores = np.concatenate([outcome.emotion_scores, column], axis=1)
    places = np.array([*(emotions.index(name) for name in order), UNKNOWN])
    return dataclasses.replace(
        outcome,
        emotion=places[outcome.emotion],
        emotion_scores=scores[:, [order.index(name) for name in emotions]],
        emotions=tuple(emotions),
    )


def save_outcomes(path: Path, outcomes: dict[str, Outcome], about: dict[str, Any]) -> None:
    """Write outcomes by name; the file is there whole or not at all.

    Args:
        path: of the file, `.npz`.
        outcomes: to be kept.
        about: what they come from, as JSON holds it; `load_outcomes` compares it.
    """
    columns = {
        f"{name}/{field.name}": getattr(outcome, field.name)
        for name, outcome in outcomes.items()
        for field in dataclasses.fields(outcome)
    }
    keep_arrays(path, columns, about)


def load_outcomes(path: Path, about: dict[str, Any]) -> dict[str, Outcome] | None:
    """Return what `save_outcomes` wrote, None where nothing was.

    Raises:
        UserError: the file is damaged, or of something else.
    """
    columns = kept_arrays(path, about)
    if columns is None:
        return None
    parts: dict[str, dict[str, Any]] = {}
    for name, values in columns.items():
        outcome, _, field = name.partition("/")
        names = field in ("emotions", "units")
        parts.setdefault(outcome, {})[field] = tuple(values.tolist()) if names else values
    try:
        return {name: Outcome(**fields) for name, fields in parts.items()}
    except TypeError as error:
        raise damaged(path, error) from None
