"""How often do the 95% intervals hold the truth? Simulated people whose truth is known.

Each person has clips of their own number, is hard or easy to read, and more so for one of two
networks; their answers are drawn. The truth is an integral over all such people, so that a
thousand intervals can be counted that hold it. Nothing is trained.

Examples:
  python experiments/interval_coverage.py
  python experiments/interval_coverage.py --people 24 --simulations 500
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence

import numpy as np
import tyro
from tqdm import tqdm

from emojax.cli import run_guarded
from emojax.errors import UserError
from emojax.significance import (
    Figure,
    accuracy,
    average_recall,
    compare,
    estimate,
    mean_of_units,
    unit_f1,
)

SHARED, OWN = 0.7, 0.4
"""Spread of the people, in logits: for both networks, and for each network alone."""

EMOTIONS = np.array([[1.4, 0.9, 0.6, 0.3, 1.1, 0.0], [1.1, 0.9, 0.2, 0.5, 0.8, -0.2]])
"""Logit of a right answer: network, emotion. All wrong answers are equally probable."""

UNITS = np.array([[1.5, 0.8, 0.2], [1.2, 0.9, 0.0]])
"""Logit of a right answer: network, action unit."""

PRESENT = np.array([0.4, 0.2, 0.1])
"""How often each action unit is there."""


@dataclasses.dataclass(frozen=True)
class CoverageOptions:
    """How many of what."""

    people: tuple[int, ...] = (60, 24)
    """People of a simulated set; several: one after the other."""
    simulations: int = 2000
    """Sets that are drawn."""
    replicates: int = 1000
    """Of each bootstrap."""
    seed: int = 0
    """Of all that is drawn."""
    json: bool = False
    """One line of JSON instead of a table."""


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _over_people(logits: np.ndarray) -> np.ndarray:
    """Return the mean probability over all people there could be, by Gauss and Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    spread = np.hypot(SHARED, OWN)
    return (_sigmoid(logits[..., None] + spread * nodes) * weights).sum(-1) / weights.sum()


def true_counts() -> tuple[np.ndarray, np.ndarray]:
    """Return the confusion of both networks over everybody: of the emotions, of the units."""
    right = _over_people(EMOTIONS)
    kinds = EMOTIONS.shape[1]
    wrong = (1 - right)[..., None] / (kinds - 1) * (1 - np.eye(kinds))
    emotions = wrong + right[..., None] * np.eye(kinds)
    hit = _over_people(UNITS)
    present, absent = PRESENT, 1 - PRESENT
    units = np.stack(
        [
            np.stack([absent * hit, absent * (1 - hit)], -1),
            np.stack([present * (1 - hit), present * hit], -1),
        ],
        -2,
    )
    return emotions, units


def draw_set(rng: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of a set of people: `network person 6 6` and `network person unit 2 2`."""
    clips = rng.integers(12, 37, people)
    person = np.repeat(np.arange(people), clips)
    ability = SHARED * rng.normal(size=people) + OWN * rng.normal(size=(2, people))
    kinds, examples = EMOTIONS.shape[1], len(person)
    truth = rng.integers(0, kinds, examples)
    states = (rng.random((examples, len(PRESENT))) < PRESENT).astype(int)
    emotions = np.zeros((2, people, kinds, kinds))
    units = np.zeros((2, people, len(PRESENT), 2, 2))
    for network in range(2):
        own = ability[network, person]
        right = rng.random(examples) < _sigmoid(EMOTIONS[network, truth] + own)
        # One of the others, each as probable.
        other = (truth + rng.integers(1, kinds, examples)) % kinds
        np.add.at(emotions[network], (person, truth, np.where(right, truth, other)), 1.0)
        hit = rng.random(states.shape) < _sigmoid(UNITS[network] + own[:, None])
        answer = np.where(hit, states, 1 - states)
        column = np.broadcast_to(np.arange(len(PRESENT)), states.shape)
        np.add.at(units[network], (person[:, None], column, states, answer), 1.0)
    return emotions, units


def count_covered(options: CoverageOptions, people: int) -> dict[str, float]:
    """Return the share of the intervals of each figure that hold the truth."""
    true_emotions, true_units = true_counts()
    figures: dict[str, tuple[int, Figure]] = {
        "accuracy": (0, accuracy),
        "average recall": (0, average_recall),
        "AU macro F1": (1, mean_of_units(unit_f1)),
    }
    truths = {name: figure((true_emotions, true_units)[k]) for name, (k, figure) in figures.items()}
    held = {f"{name}{more}": 0 for name in figures for more in ("", ", difference")}
    rng = np.random.default_rng((options.seed, people))
    bar = tqdm(range(options.simulations), desc=f"{people} people", unit="set", disable=None)
    for number in bar:
        sets = draw_set(rng, people)
        for name, (kind, figure) in figures.items():
            one, other = (counts[None] for counts in sets[kind])
            truth = truths[name]
            found = estimate(one, figure, options.replicates, number).interval
            held[name] += found is not None and found[0] <= truth[0] <= found[1]
            gap = compare(one, other, figure, options.replicates, number).interval
            held[f"{name}, difference"] += (
                gap is not None and gap[0] <= truth[0] - truth[1] <= gap[1]
            )
    return {name: count / options.simulations for name, count in held.items()}


def widths(options: CoverageOptions, people: int) -> tuple[float, float]:
    """Return the mean width of an accuracy's interval over people, and over pictures."""
    rng = np.random.default_rng((options.seed, people, 1))
    found = []
    for number in range(20):
        counts = draw_set(rng, people)[0][0]
        by_person = estimate(counts[None], accuracy, options.replicates, number).interval
        # Each picture as if it were a person: a share of independent draws.
        right, pictures = counts.trace(axis1=1, axis2=2).sum(), int(counts.sum())
        spread = rng.binomial(pictures, right / pictures, options.replicates) / pictures
        assert by_person is not None
        found.append(
            (by_person[1] - by_person[0], float(np.subtract(*np.quantile(spread, [0.975, 0.025]))))
        )
    return tuple(np.mean(found, axis=0).tolist())


def main(arguments: Sequence[str]) -> int:
    """Simulate, count, print; return the exit status."""
    options = tyro.cli(
        CoverageOptions, args=list(arguments), description=__doc__, prog="interval_coverage.py"
    )
    if not options.people or min(*options.people, options.simulations, options.replicates) < 2:
        raise UserError("people, simulations, replicates: wanted 2 or more of each")
    covered = {people: count_covered(options, people) for people in options.people}
    if options.json:
        print(json.dumps(covered))
        return 0
    print(f"share of {options.simulations} 95% intervals over people that hold the truth")
    names = list(next(iter(covered.values())))
    print(f"{'':28}" + "".join(f"{f'{people} people':>12}" for people in covered))
    for name in names:
        print(f"{name:28}" + "".join(f"{shares[name]:12.3f}" for shares in covered.values()))
    for people in options.people:
        by_person, by_picture = widths(options, people)
        print(
            f"width of an accuracy's interval, {people} people: {by_person:.3f} drawn by person, "
            f"{by_picture:.3f} drawn by picture"
        )
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded("interval_coverage.py", lambda: main(sys.argv[1:])))
