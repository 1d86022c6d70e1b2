"""Normalisation in the kernels of what comes before it, as a GPU predicts: the same answers."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from porting import draw_variables

from emojax.models import build_model, layers
from emojax.models.normalisation import BatchNorm

CASES = {
    "resnet18": {"blocks": (1, 1)},
    "resnet50": {"blocks": (1, 1)},
    "ar2": {},
}


@pytest.mark.parametrize("key", CASES)
def test_predictions_are_those_of_normalising_by_itself(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(key, 7, **CASES[key])
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2, 98, 80, 1)), jnp.float32)
    # Statistics and scales as a training leaves them, not the ones and zeros of the beginning.
    variables = draw_variables(rng, model, images)

    calls = []

    def count(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        calls.append(isinstance(context.module, BatchNorm) and context.method_name == "__call__")
        return call(*args, **kwargs)

    def predict() -> tuple[jax.Array, int]:
        calls.clear()
        with nn.intercept_methods(count):
            # A new function each time: JAX keeps what it has traced.
            call = jax.jit(lambda variables: model.apply(variables, images, train=False).logits)
            logits = call(variables)
        return logits, sum(calls)

    plain, normalised = predict()
    monkeypatch.setattr(layers, "folds_norms", lambda: True)
    folded, left = predict()
    assert (normalised > 0, left) == (True, 0)
    assert float(jnp.std(plain)) > 0
    np.testing.assert_allclose(folded, plain, rtol=2e-4, atol=2e-4 * float(jnp.abs(plain).max()))
