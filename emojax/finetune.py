"""Training that starts from a trained network: what is taken over, held still, or slowed down."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from emojax.errors import UserError
from emojax.spec import InputSpec

_ANSWER = ("action_units", "emotions", "emotion_activation")
_PICTURE = ("offset", "scale", "frames", "sound")


def is_head(stage: str) -> bool:
    """Return whether a part of a network, by its top name, ends in the labels' own outputs."""
    return stage == "head" or stage.endswith("_logits")


def take_over(
    trained: Mapping[str, Any], had: InputSpec, fresh: Mapping[str, Any], wants: InputSpec, run: str
) -> dict[str, dict[str, Any]]:
    """Return the variables to start from, by collection and top name; a new head is left out.

    The head is taken over too where both networks answer the same in the same way.

    Args:
        trained: variables of the trained network.
        had: what it saw and answered.
        fresh: variables of the new one, or their shapes.
        wants: what that one sees and answers.
        run: where the trained one comes from, for messages.

    Raises:
        UserError: they don't see the same, or aren't the same network.
    """
    for name in _PICTURE:
        found, wanted = getattr(had, name), getattr(wants, name)
        if found != wanted:
            raise UserError(
                f"{run}: was trained with {name}={found!r}, the data set has {wanted!r}: "
                "build the data set as that run's was, or start without --init"
            )
    new_head = any(getattr(had, name) != getattr(wants, name) for name in _ANSWER)
    taken: dict[str, dict[str, Any]] = {}
    for collection, parts in fresh.items():
        taken[collection] = {}
        for stage, wanted in parts.items():
            if new_head and is_head(stage):
                continue
            found = trained.get(collection, {}).get(stage)
            if found is None or _shapes(found) != _shapes(wanted):
                raise UserError(
                    f"{run}: its {stage} has not the shape that this network's has: "
                    "use the same --model and the same settings of it"
                )
            taken[collection][stage] = found
    return taken


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: tuple(leaf.shape), tree)


def read_rates(rates: Sequence[str]) -> dict[str, float]:
    """Return `NAME=FACTOR` texts as a dictionary, in their order; of one name the last text.

    Raises:
        UserError: one is no such text, or its factor no number of 0 or more.
    """
    read = {}
    for text in rates:
        name, _, factor = text.rpartition("=")
        # A dictionary would leave it where the name stood first, and the last that fits holds.
        read.pop(name, None)
        try:
            read[name] = float(factor)
        except ValueError:
            read[name] = -1.0
        if not name or not 0.0 <= read[name] < float("inf"):
            raise UserError(f"stage_rates {text!r}: wanted NAME=FACTOR, as stem=0.1")
    return read


def stage_factors(
    stages: Sequence[str], frozen: Sequence[str], rates: Mapping[str, float]
) -> dict[str, float]:
    """Return what each stage's learning rate is multiplied with; 0 where it is held still.

    Args:
        stages: top names of a network's parameters.
        frozen: names, or patterns as `stage[12]_*`, of those that are held still, whatever rate
            fits them.
        rates: factors by name or pattern; the last one that fits a stage holds.

    Raises:
        UserError: a name that fits no stage, or nothing is left to train.
    """
    asked = [*rates.items(), *((pattern, 0.0) for pattern in frozen)]
    for pattern, _ in asked:
        if not fnmatch.filter(stages, pattern):
            raise UserError(f"no stage is called {pattern!r}: this network has {', '.join(stages)}")
    factors = dict.fromkeys(stages, 1.0)
    for pattern, factor in asked:
        factors |= dict.fromkeys(fnmatch.filter(stages, pattern), factor)
    if not any(factors.values()):
        raise UserError("every stage is frozen: leave one of them to train")
    return factors


def scale_stages(factors: Mapping[str, float]) -> optax.GradientTransformation:
    """Return a transformation that multiplies each stage's updates, by its top name.

    Args:
        factors: from `stage_factors`.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        scaled = {
            stage: jax.tree.map(lambda leaf, factor=factors[stage]: factor * leaf, tree)
            for stage, tree in updates.items()
        }
        return scaled, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
