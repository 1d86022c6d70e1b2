"""What a network costs: parameters, multiply-accumulates, activation memory, time."""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import jaxprs_in_params

from emojax.compiler import compiler_options
from emojax.models import forward
from emojax.models.inputs import Looks, zero_inputs
from emojax.spec import InputSpec


class Cost(NamedTuple):
    """What can be known of a network without running it."""

    parameters: int
    """Trainable ones."""
    multiply_accumulates: int
    """Of convolutions and matrix products, forward, one example."""
    activation_bytes: int
    """What a training step keeps for its backward pass, one example."""


class Times(NamedTuple):
    """What a network takes on this machine, medians."""

    step_s: float
    """One training step: forward, backward, update."""
    prediction_s: float
    """One example, forward."""


def count_multiply_accumulates(graph: Any) -> int:
    """Return the multiply-accumulates of a graph's convolutions and matrix products."""
    total = 0
    for equation in graph.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            sides = equation.invars[0].aval.shape
            total += math.prod(sides[axis] for axis in contracted) * equation.outvars[0].aval.size
        elif equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            out_axis = equation.params["dimension_numbers"].rhs_spec[0]
            # Each output value sums over the kernel's window and its input channels.
            total += math.prod(kernel) // kernel[out_axis] * equation.outvars[0].aval.size
        repeats = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += repeats * sum(
            count_multiply_accumulates(inner) for inner in jaxprs_in_params(equation.params)
        )
    return total


def _shapes(model: nn.Module, looks: Looks, spec: InputSpec) -> Any:
    inputs = zero_inputs(looks, spec)
    init = functools.partial(model.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), inputs)


def _train_outputs(model: nn.Module, rest: Any, params: Any, inputs: Any, key: Any) -> Any:
    outputs, updates = model.apply(
        {**rest, "params": params},
        inputs,
        train=True,
        rngs={"dropout": key},
        mutable=["batch_stats"],
    )
    return outputs.logits, updates


def _kept_bytes(model: nn.Module, looks: Looks, spec: InputSpec, shapes: Any, batch: int) -> int:
    """Return the bytes that a backward pass needs of its forward pass, parameters included."""
    rest = {name: tree for name, tree in shapes.items() if name != "params"}
    inputs = jax.eval_shape(lambda: zero_inputs(looks, spec, batch))

    def kept(params: Any, rest: Any, inputs: Any, key: Any) -> Any:
        function = functools.partial(_train_outputs, model, rest)
        _, pull, _ = jax.vjp(lambda p: function(p, inputs, key), params, has_aux=True)
        return pull

    found = jax.eval_shape(kept, shapes["params"], rest, inputs, jax.random.key(0))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(found))


def measure_cost(model: nn.Module, looks: Looks, spec: InputSpec) -> Cost:
    """Return what a network costs, from shapes alone; nothing is computed.

    Args:
        model: the network, in its compute type.
        looks: what it looks at.
        spec: size of its input.

    Raises:
        UserError: the input is too small for the network.
    """
    shapes = _shapes(model, looks, spec)
    graph = jax.make_jaxpr(lambda variables, inputs: forward(model, variables, inputs))(
        shapes, jax.eval_shape(lambda: zero_inputs(looks, spec))
    )
    # What parameters and constants take is the same in both.
    more, less = (_kept_bytes(model, looks, spec, shapes, batch) for batch in (3, 2))
    return Cost(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])),
        multiply_accumulates=count_multiply_accumulates(graph.jaxpr),
        activation_bytes=more - less,
    )


def median_seconds(run: Callable[[], Any], rounds: int) -> float:
    """Return the median time of a call, after one that warms up and compiles."""
    jax.block_until_ready(run())
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure_times(
    model: nn.Module, looks: Looks, spec: InputSpec, batch: int, rounds: int
) -> Times:
    """Return what a training step (Adam) and a prediction take on the default device.

    Args:
        model: the network, in its compute type.
        looks: what it looks at.
        spec: size of its input.
        batch: examples of a training step.
        rounds: timed calls, of which the median is taken.
    """
    variables = jax.jit(functools.partial(model.init, train=False))(
        jax.random.key(0), zero_inputs(looks, spec)
    )
    one, many = zero_inputs(looks, spec), zero_inputs(looks, spec, batch)
    targets = jnp.asarray(np.random.default_rng(0).integers(0, 2, (batch, spec.num_outputs)))
    optimiser = optax.adam(1e-3)
    jit = functools.partial(jax.jit, compiler_options=compiler_options())

    def step(state: Any, inputs: Any, key: Any) -> Any:
        params, rest, optim = state

        def loss(params: Any) -> Any:
            logits, updates = _train_outputs(model, rest, params, inputs, key)
            return optax.sigmoid_binary_cross_entropy(logits, targets).mean(), updates

        gradients, updates = jax.grad(loss, has_aux=True)(params)
        change, optim = optimiser.update(gradients, optim, params)
        return optax.apply_updates(params, change), {**rest, **updates}, optim

    predict = jit(lambda variables, inputs: forward(model, variables, inputs).logits)
    prediction_s = median_seconds(lambda: predict(variables, one), rounds)
    rest = {name: tree for name, tree in variables.items() if name != "params"}
    held = {"state": (variables["params"], rest, optimiser.init(variables["params"]))}
    compiled = jit(step, donate_argnums=0)

    def run() -> Any:
        held["state"] = compiled(held["state"], many, jax.random.key(1))
        return held["state"]

    return Times(median_seconds(run, rounds), prediction_s)
