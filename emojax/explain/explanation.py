"""A trained network's kernels, and where it looked on a few examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from emojax.errors import UserError
from emojax.explain.examples import Examples
from emojax.explain.feature_map import find_feature_map, map_owners
from emojax.explain.grad_cam import GradCam, Method, make_grad_cam, scale, spread
from emojax.explain.kernels import first_kernels
from emojax.labels import NEUTRAL, UNKNOWN
from emojax.losses import activation
from emojax.models import looks_at
from emojax.network import TrainedNetwork
from emojax.spec import InputSpec

ANSWERED, TRUE = "answered", "true"
"""Outputs that are asked about by what they are to an example: its answer, its label."""

SHOWN = 3
"""Frames of a clip that are shown: its first, middle and last."""


@dataclasses.dataclass(frozen=True)
class Side:
    """What was looked at: a face, or the sound of a clip."""

    layer: str
    """Whose map the heat is of, and the map's size."""
    kernels: np.ndarray  # float32 [kernel, time, height, width]
    pictures: np.ndarray  # uint8 [n, shown, height, width]
    given: np.ndarray  # bool [n], whether the example has it
    heat: np.ndarray  # float32 [n, asked, shown, height, width], 0..1 of its own highest


@dataclasses.dataclass(frozen=True)
class Explanation:
    """n examples, each asked about a outputs."""

    sides: dict[str, Side]
    """By what is looked at: `face`, `sound`."""
    outputs: tuple[str, ...]
    """Names of the network's."""
    asked: np.ndarray  # int [n, a], index into outputs
    scores: np.ndarray  # float32 [n, outputs], 0..1
    truth: tuple[str, ...]
    """Names of the true emotions, empty where unknown."""
    names: tuple[str, ...]


def choose_outputs(of: str, scores: np.ndarray, emotion: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return the index of the output that each example is asked about.

    Args:
        of: `answered`: the highest emotion, or of a network without any the highest action unit;
            `true`: the labelled emotion, and the answer where that is none of the network's; or
            the name of an output, such as `AU12` or `fear`.
        scores: example output.
        emotion: labels.
        spec: names the outputs.

    Raises:
        UserError: no output has that name.
    """
    units, outputs = len(spec.action_units), (*spec.action_units, *spec.emotions)
    answered = scores[:, units:].argmax(axis=1) + units if spec.emotions else scores.argmax(axis=1)
    if of == ANSWERED:
        return answered
    if of == TRUE:
        return np.where((emotion >= 0) & (emotion < len(spec.emotions)), emotion + units, answered)
    if of not in outputs:
        raise UserError(f"output {of!r}: use {ANSWERED}, {TRUE}, or one of {', '.join(outputs)}")
    return np.full(len(scores), outputs.index(of))


def _shown(pictures: np.ndarray) -> np.ndarray:
    """Return the places of the frames that are shown, of examples of so many frames."""
    frames = pictures.shape[1]
    return np.linspace(0, frames - 1, min(SHOWN, frames)).round().astype(int)


def _spread_over(heat: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Return a map's heat at each shown frame: one map for all of them, or one with a time axis."""
    places = _shown(pictures)
    if heat.ndim == 3:
        heat = np.repeat(heat[:, None], len(places), axis=1)
    else:
        heat = heat[:, places * heat.shape[1] // pictures.shape[1]]
    return spread(scale(heat), *pictures.shape[2:])


def explain_network(
    network: TrainedNetwork,
    examples: Examples,
    of: Sequence[str] = (ANSWERED,),
    method: Method = "grad_cam",
) -> Explanation:
    """Return where a network looked, for each example and each output that is asked about.

    Args:
        network: of `experiment.load_network`.
        examples: of `examples.take_people` or `read_photographs`.
        of: as `choose_outputs` takes it.
        method: of `make_grad_cam`.

    Raises:
        UserError: an output of no such name.
    """
    model, variables, spec = network.model, network.variables, network.spec
    inputs = examples.inputs(looks_at(network.config.model), spec)
    shapes = jax.eval_shape(lambda: inputs)
    owners = map_owners(network.config.model, variables)
    layers = {
        what: find_feature_map(model, variables, shapes, owner) for what, owner in owners.items()
    }
    cams: dict[str, GradCam] = {
        what: make_grad_cam(model, layer, method) for what, layer in layers.items()
    }
    first = next(iter(cams.values()))
    # The same compiled call says what is answered: which output it is asked about does not matter.
    logits = first(variables, inputs, jnp.zeros(len(examples.names), int))[1]
    scores = np.asarray(activation(logits, spec), np.float32)
    asked = np.stack([choose_outputs(one, scores, examples.emotion, spec) for one in of], axis=1)
    given = {"face": examples.has_frames, "sound": examples.has_sound}
    looked_at = {"face": examples.frames, "sound": examples.spectrograms[:, None]}
    sides = {}
    for what, cam in cams.items():
        pictures = looked_at[what]
        heats = [
            np.asarray(cam(variables, inputs, jnp.asarray(column))[0], np.float32)
            for column in asked.T
        ]
        sides[what] = Side(
            layer=layers[what].name,
            kernels=first_kernels(model, variables, shapes, owners[what]),
            pictures=pictures[:, _shown(pictures)],
            given=given[what] > 0,
            heat=np.stack([_spread_over(heat, pictures) for heat in heats], axis=1),
        )
    labels = (*spec.emotions, NEUTRAL)
    return Explanation(
        sides=sides,
        outputs=(*spec.action_units, *spec.emotions),
        asked=asked,
        scores=scores,
        truth=tuple("" if place == UNKNOWN else labels[place] for place in examples.emotion),
        names=examples.names,
    )
