"""What a training that left the finite numbers says: the step, its batch, what is still good."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax.compiler import options_to_run_once
from emojax.errors import UserError
from emojax.files import write_json

NAMED = 8
"""Examples of a batch that a message names; the file beside it has all of them."""


def is_finite(tree: Any) -> jax.Array:
    """Return whether a tree holds nothing but finite numbers, as one bool on the device."""
    return _compiled()(tree)


@functools.cache
def _compiled() -> Callable[[Any], jax.Array]:
    return jax.jit(_is_finite, compiler_options=options_to_run_once())


def _is_finite(tree: Any) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def finite_losses(
    losses: Sequence[jax.Array | float],
    norms: Sequence[jax.Array | float],
    state: Any,
    done: int,
    describe: Callable[[int], str],
) -> list[float]:
    """Return the losses of an epoch's steps on the host, having seen that all is well.

    A step's loss is that of the parameters before it: what the last step made of them shows
    in the state alone, which is therefore looked at too.

    Args:
        losses: of the steps, one or several in each item.
        norms: norms of the gradients of the newest of these steps, in the same form.
        state: after the last step.
        done: the last step.
        describe: told the first step that went wrong; says which examples it saw and what to do.

    Raises:
        UserError: a loss, or a number in the state, is not finite.
    """
    values = _joined(losses)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        step = done - values.size + int(bad[0]) + 1
        raise UserError(f"the loss became {values[bad[0]]} at step {step}; {describe(step)}")
    if not is_finite(state):
        # Large gradients overflow in the update: theirs is the step to be named.
        sizes = _joined(norms)
        bad = np.flatnonzero(~np.isfinite(sizes))
        step = done - sizes.size + int(bad[0]) + 1 if bad.size else done
        size = f" by a gradient of norm {sizes[bad[0]]}" if bad.size else ""
        raise UserError(
            f"the parameters or the optimiser's state became nan or inf at step {step}{size}; "
            f"{describe(step)}"
        )
    return values.tolist()


def _joined(parts: Sequence[jax.Array | float]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *(np.ravel(np.asarray(part)) for part in parts)])


def name_examples(examples: Sequence[str], path: Path, step: int) -> str:
    """Return which examples a step saw, as a part of a message; a file gets all of them.

    Args:
        examples: their ids: the path in the data set, and the frame or time span if any.
        path: of that file.
        step: the step.
    """
    write_json(path, {"step": step, "examples": list(examples)})
    first = ", ".join(examples[:NAMED])
    more = f" and {len(examples) - NAMED} more" if len(examples) > NAMED else ""
    return f"its batch was {first}{more} (the whole batch: {path})"
